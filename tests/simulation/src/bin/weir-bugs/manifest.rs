//! A manifest's own tests on the real engine, killed and resumed at every epoch.

use std::path::Path;

use weir_manifest::{ParseOptions, check};
use weir_runtime::{Plan, Purpose, plan, trial};
use weir_sandbox::SandboxEngine;

const MANIFEST: &str = include_str!("sums.yaml");

/// # Errors
/// The manifest's faults: one of the engine's bugs, or none.
pub fn planned(engine: &SandboxEngine) -> Result<Plan, String> {
    let options = ParseOptions { profile: None, environment: &|_| None, overlays: Vec::new() };
    let checked = check(Path::new("sums.yaml"), MANIFEST, &options);
    let mut plan = plan(checked, engine, Purpose::Test).map_err(|faults| faults.to_string())?;
    trial::prepare(&mut plan);
    Ok(plan)
}

pub fn run() -> Result<(), String> {
    let engine = SandboxEngine::new(None).map_err(|error| error.to_string())?;
    let plan = planned(&engine)?;
    for test in &plan.tests {
        let verdict = trial::run(&plan, test, &engine);
        if let Some(fault) = verdict.faults.first() {
            return Err(format!("{}: {fault:?}", verdict.name));
        }
    }
    Ok(())
}
