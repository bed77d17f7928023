//! A pipeline to the end of its input, with a bug or without. For benches alone.

use std::path::Path;

use weir_manifest::{ParseOptions, check};
use weir_runtime::{End, Outside, Pipeline, Purpose, Setup, plan};
use weir_sandbox::SandboxEngine;
use weir_stream::Bug;

/// # Errors
/// The manifest's faults, or why the run failed.
pub fn run(manifest: &Path, profile: &str, state: &Path, bug: Option<Bug>) -> Result<(), String> {
    let text = std::fs::read_to_string(manifest).map_err(|error| format!("{}: {error}", manifest.display()))?;
    let environment = |name: &str| std::env::var(name).ok();
    let options = ParseOptions { profile: Some(profile), environment: &environment, overlays: Vec::new() };
    let engine = SandboxEngine::new(None).map_err(|error| error.to_string())?;
    let checked = check(manifest, &text, &options);
    let mut plan = plan(checked, &engine, Purpose::Run).map_err(|faults| faults.to_string())?;
    plan.until_end = true;
    let setup = Setup {
        state_dir: state.to_owned(),
        workers: std::thread::available_parallelism().map_or(1, usize::from),
        watch: None,
        crash_at: None,
        outside: Outside::default(),
        evict_always: false,
    };
    Bug::put_in(bug);
    match Pipeline::new(plan, setup, engine).run().map_err(|error| error.to_string())? {
        End::Finished => Ok(()),
        end => Err(format!("ended with {end:?}")),
    }
}
