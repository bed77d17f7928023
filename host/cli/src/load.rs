//! From the command line to a plan: reads the manifest and its overlays, opens the sandbox, plans.

use std::path::{Path, PathBuf};

use clap::Args;
use serde_json::json;
use weir_manifest::{Checked, Manifest, ParseOptions};
use weir_runtime::{Plan, Purpose};
use weir_sandbox::SandboxEngine;

use crate::output::{self, CONFIG, Failure, Format, INTERNAL};

/// Which manifest, bound how.
#[derive(Args, Clone)]
pub struct ManifestArgs {
    /// The pipeline's manifest.
    pub manifest: PathBuf,
    /// The profile that binds sources and sinks.
    #[arg(short, long)]
    pub profile: Option<String>,
    /// A file laid over the manifest; may be given several times.
    #[arg(short = 'f', long = "overlay", value_name = "FILE")]
    pub overlays: Vec<PathBuf>,
}

/// Folder for compiled plugins, shared by all pipelines of this user.
fn cache_folder() -> Option<PathBuf> {
    let named = std::env::var_os("WEIR_CACHE").map(PathBuf::from);
    let home = || Some(PathBuf::from(std::env::var_os("HOME")?).join(".cache/weir"));
    named.or_else(home).map(|folder| folder.join("compiled"))
}

pub fn engine() -> Result<SandboxEngine, Failure> {
    SandboxEngine::new(cache_folder()).map_err(|error| Failure::new(INTERNAL, error.to_string()))
}

fn read(path: &Path) -> Result<String, Failure> {
    std::fs::read_to_string(path).map_err(|error| {
        Failure::new(CONFIG, format!("{}: {error}", path.display())).next("give the path of a pipeline's manifest")
    })
}

/// The manifest alone, checked as far as that goes without plugins.
pub fn manifest(args: &ManifestArgs) -> Result<Manifest, Failure> {
    let checked = check(args, Purpose::Run)?;
    if checked.faults.has_errors() {
        return Err(Failure::Manifest(checked.faults));
    }
    checked.manifest.ok_or(Failure::Manifest(checked.faults))
}

/// A test needs no profile: what it is fed is JSON unless a profile is named and says otherwise.
fn check(args: &ManifestArgs, purpose: Purpose) -> Result<Checked, Failure> {
    let text = read(&args.manifest)?;
    let overlays = args.overlays.iter().map(|path| Ok((path.clone(), read(path)?))).collect::<Result<_, _>>()?;
    let environment = |name: &str| std::env::var(name).ok();
    let default = || weir_manifest::default_profile(&text).filter(|_| purpose == Purpose::Run);
    let profile = args.profile.clone().or_else(default);
    let options = ParseOptions { profile: profile.as_deref(), environment: &environment, overlays };
    Ok(weir_manifest::check(&args.manifest, &text, &options))
}

/// The whole plan: columns, expressions, plugins.
pub fn plan(args: &ManifestArgs, engine: &SandboxEngine, purpose: Purpose) -> Result<Plan, Failure> {
    weir_runtime::plan(check(args, purpose)?, engine, purpose).map_err(Failure::Manifest)
}

pub fn validate(args: &ManifestArgs, format: Format) -> Result<(), Failure> {
    let plan = plan(args, &engine()?, Purpose::Run)?;
    let (sources, steps, sinks) = (plan.sources.len(), plan.steps.len(), plan.sinks.len());
    let profile = plan.manifest.profile().unwrap_or("none").to_owned();
    match format {
        Format::Json => output::print_json(&json!({ "pipeline": &*plan.pipeline, "profile": profile, "faults": [] })),
        Format::Text => {
            println!("{} is sound: {sources} sources, {steps} steps, {sinks} sinks, profile {profile}", plan.pipeline);
            Ok(())
        }
    }
}
