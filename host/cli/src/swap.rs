//! `weir swap` and `weir dev`: another version into the running pipeline, once or on every save.

use std::path::{Path, PathBuf};
use std::sync::mpsc::channel;
use std::time::{Duration, Instant};

use clap::Args;
use notify::{RecursiveMode, Watcher};
use weir_runtime::SwapReport;

use crate::client::Server;
use crate::output::{self, FAILED, Failure, Format};
use crate::plugin::{self, BuildOptions, CargoOutput};
use crate::status::short;

/// Editors write a file in several steps; a build starts when it was quiet for this long.
const QUIET: Duration = Duration::from_millis(80);

#[derive(Args)]
pub struct SwapArgs {
    /// The step whose plugin is replaced.
    pub step: String,
    /// A component file, or a plugin's folder, which is built first.
    pub plugin: PathBuf,
    #[command(flatten)]
    pub server: Server,
}

#[derive(Args)]
pub struct DevArgs {
    /// The plugin's folder.
    pub folder: PathBuf,
    /// The step to swap [default: the one that runs a plugin of this name].
    #[arg(long)]
    pub step: Option<String>,
    /// Build and swap once, then end.
    #[arg(long)]
    pub once: bool,
    #[command(flatten)]
    pub server: Server,
}

pub const SWAP_EXAMPLES: &str = "Examples:\n  weir swap clean plugins/clean-events-next\n  weir swap clean clean.wasm";
pub const DEV_EXAMPLES: &str = "Examples:\n  weir dev plugins/clean-events";

pub fn swap(args: &SwapArgs, format: Format) -> Result<(), Failure> {
    let path = if args.plugin.is_dir() { build(&args.plugin)? } else { args.plugin.clone() };
    let component = std::fs::read(&path).map_err(|error| {
        Failure::new(FAILED, format!("{}: {error}", path.display())).next("give a component file or a plugin's folder")
    })?;
    let report = args.server.swap(&args.step, &component)?;
    match format {
        Format::Json => output::print_json(&report),
        Format::Text => {
            show(&report);
            Ok(())
        }
    }
}

fn build(folder: &Path) -> Result<PathBuf, Failure> {
    let options = BuildOptions { cargo_output: CargoOutput::Quiet, ..BuildOptions::default() };
    let built = plugin::build(folder, &options, &mut |line| eprintln!("  {line}"));
    let built = built.map_err(|error| Failure::new(FAILED, error.to_string()))?;
    eprintln!("  {built}");
    Ok(built.path)
}

/// A swap's stages, a line each.
pub fn show(report: &SwapReport) {
    println!(
        "  gate       {} {} · {} · fits step {} · {} ms",
        report.name,
        report.version,
        short(&report.digest),
        report.step,
        report.gate_ms
    );
    println!("  reads      {}", report.reads.join(", "));
    println!("  writes     {}", report.writes.join(", "));
    if let Some(test) = &report.self_test {
        let [rows, written, rejected] =
            [test.rows, test.written, test.rejected].map(|rows| crate::run::grouped(rows as u64));
        let running = test.running_rejected.map_or(String::new(), |rejected| format!(" (running version: {rejected})"));
        println!("  self-test  {rows} live rows: {written} written, {rejected} rejected{running}");
    }
    let pause = report.pause_us.map_or("no row yet".to_owned(), |us| format!("pause {:.1} ms", us as f64 / 1000.0));
    println!("  swapped    from epoch {} · {pause}", crate::run::grouped(report.epoch));
    println!(
        "  watching   {} s; a trap, a time-out or {} % more rejects bring the version before back",
        report.watch_s, report.more_rejects_percent
    );
}

pub fn dev(args: &DevArgs) -> Result<(), Failure> {
    let (changed, changes) = channel();
    let mut watcher = notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
        if event.is_ok_and(|event| !event.kind.is_access()) {
            // The receiver lives as long as the loop below.
            let _ = changed.send(());
        }
    })
    .map_err(|error| Failure::new(FAILED, format!("cannot watch files: {error}")))?;
    for watched in ["src", "Cargo.toml"].map(|name| args.folder.join(name)) {
        watcher.watch(&watched, RecursiveMode::Recursive).map_err(|error| {
            Failure::new(FAILED, format!("{}: {error}", watched.display())).next("name a plugin's folder")
        })?;
    }
    loop {
        let saved = Instant::now();
        if let Err(failure) = round(args, saved) {
            if args.once {
                return Err(failure);
            }
            let _ = failure.report(Format::Text);
        }
        if args.once {
            return Ok(());
        }
        println!("  waiting for a change in {}", args.folder.display());
        if changes.recv().is_err() {
            return Ok(());
        }
        while changes.recv_timeout(QUIET).is_ok() {}
    }
}

fn round(args: &DevArgs, saved: Instant) -> Result<(), Failure> {
    let path = build(&args.folder)?;
    let component =
        std::fs::read(&path).map_err(|error| Failure::new(FAILED, format!("{}: {error}", path.display())))?;
    let step = match &args.step {
        Some(step) => step.clone(),
        None => step_of(&args.server, &path)?,
    };
    show(&args.server.swap(&step, &component)?);
    println!("  {:.1} s from save to swapped", saved.elapsed().as_secs_f32());
    Ok(())
}

/// The step that runs a plugin of the component's name.
fn step_of(server: &Server, component: &Path) -> Result<String, Failure> {
    let name = component.file_stem().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let status = server.status()?;
    let running: Vec<_> = status.plugins.iter().map(|(step, plugin)| (step.clone(), plugin.name.clone())).collect();
    let mut named = running.iter().filter(|(_, plugin)| *plugin == name).map(|(step, _)| step.clone());
    match (named.next(), named.next(), &running[..]) {
        (Some(step), None, _) => Ok(step),
        (None, _, [(only, _)]) => Ok(only.clone()),
        _ => {
            let has = running.iter().map(|(step, plugin)| format!("{step} ({plugin})")).collect::<Vec<_>>().join(", ");
            Err(Failure::new(FAILED, format!("which step runs `{name}`? the pipeline has {has}")).next("say --step"))
        }
    }
}
