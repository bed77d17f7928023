//! `weir savepoint`: create one of a running or stopped pipeline, look into it, begin from it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::{Args, Subcommand};
use weir_runtime::savepoint::{self, Description, SavepointError, SinkChoice};
use weir_runtime::{Disk, Outside, Purpose, RealDisk};

use crate::client::Server;
use crate::load::{self, ManifestArgs};
use crate::output::{self, FAILED, Failure, Format};
use crate::run::grouped;

#[derive(Subcommand)]
pub enum SavepointCommand {
    /// Copy a pipeline's state into a new folder that can be carried away.
    #[command(
        after_help = "Examples:\n  weir savepoint create savepoints/monday\n  weir savepoint create savepoints/monday --state .weir/ecommerce"
    )]
    Create {
        /// The folder to make.
        folder: PathBuf,
        /// The state folder of a pipeline that is not running; without it a running one is asked.
        #[arg(long, value_name = "FOLDER")]
        state: Option<PathBuf>,
        #[command(flatten)]
        server: Server,
    },
    /// Check a savepoint and say what it holds.
    #[command(after_help = "Examples:\n  weir savepoint inspect savepoints/monday")]
    Inspect { folder: PathBuf },
    /// Make a new state folder of a savepoint, in a new generation.
    #[command(
        after_help = "Examples:\n  weir savepoint restore savepoints/monday pipeline.yaml --state .weir/again --sink sales=overwrite --sink raw=fresh\n  weir savepoint restore savepoints/monday pipeline.yaml --sink sales=keep-from-epoch --drop-state-of sales_per_minute"
    )]
    Restore(RestoreArgs),
}

impl SavepointCommand {
    /// Whether it looks and prints, and nothing else.
    pub fn only_prints(&self) -> bool {
        matches!(self, Self::Inspect { .. })
    }
}

#[derive(Args)]
pub struct RestoreArgs {
    /// The savepoint.
    folder: PathBuf,
    #[command(flatten)]
    manifest: ManifestArgs,
    /// The state folder to make [default: .weir/<pipeline>].
    #[arg(long)]
    state: Option<PathBuf>,
    /// What becomes of a sink: overwrite (an upsert is written over), fresh (the target is new), keep-from-epoch (the
    /// target stays: rows that it holds are made again and kept back). Each sink of the savepoint needs one.
    #[arg(long = "sink", value_name = "NAME=CHOICE", value_parser = sink_choice)]
    sinks: Vec<(String, SinkChoice)>,
    /// Let go of the stored state of a step; it begins empty. May be given several times.
    #[arg(long, value_name = "STEP")]
    drop_state_of: Vec<String>,
}

fn sink_choice(text: &str) -> Result<(String, SinkChoice), String> {
    let (name, choice) = text.split_once('=').ok_or("say which sink and what: sales=overwrite")?;
    let choice = match choice {
        "overwrite" => SinkChoice::Overwrite,
        "fresh" => SinkChoice::Fresh,
        "keep-from-epoch" => SinkChoice::KeepFromEpoch,
        other => return Err(format!("no choice `{other}`; there are overwrite, fresh, keep-from-epoch")),
    };
    Ok((name.to_owned(), choice))
}

pub fn run(command: &SavepointCommand, format: Format) -> Result<(), Failure> {
    match command {
        SavepointCommand::Create { folder, state, server } => {
            let folder = std::path::absolute(folder).map_err(|error| Failure::new(FAILED, error.to_string()))?;
            let made = match state {
                Some(state) => create_stopped(state, &folder)?,
                None => server.savepoint(&folder)?,
            };
            show(&made, &folder, format)
        }
        SavepointCommand::Inspect { folder } => {
            show(&savepoint::describe(&RealDisk, folder).map_err(|error| failure(&error))?, folder, format)
        }
        SavepointCommand::Restore(args) => restore(args, format),
    }
}

fn create_stopped(state: &Path, folder: &Path) -> Result<Description, Failure> {
    let disk: Arc<dyn Disk> = Arc::new(RealDisk);
    savepoint::create_stopped(&disk, state, folder).map_err(|error| failure(&error))
}

fn restore(args: &RestoreArgs, format: Format) -> Result<(), Failure> {
    let plan = load::plan(&args.manifest, &load::engine()?, Purpose::Run)?;
    let state = args.state.clone().unwrap_or_else(|| crate::default_state_dir(&plan.pipeline));
    let sinks: BTreeMap<String, SinkChoice> = args.sinks.iter().cloned().collect();
    let disk: Arc<dyn Disk> = Arc::new(RealDisk);
    let bindings = Outside::default().bindings;
    let restored = savepoint::restore(&disk, (&plan, &*bindings), &args.folder, &state, &sinks, &args.drop_state_of);
    let restored = restored.map_err(|error| failure(&error))?;
    if format == Format::Json {
        return output::print_json(&restored);
    }
    println!(
        "{} · epoch {} of generation {} restored into {} as generation {}",
        restored.pipeline,
        grouped(restored.epoch),
        restored.generation,
        state.display(),
        restored.generation + 1
    );
    Ok(())
}

fn failure(error: &SavepointError) -> Failure {
    let failure = Failure::new(FAILED, error.to_string()).details(error.faults().to_vec());
    match error {
        SavepointError::Unfit(_) => failure.next("nothing was written; correct each line and restore again"),
        _ => failure,
    }
}

fn show(held: &Description, folder: &Path, format: Format) -> Result<(), Failure> {
    if format == Format::Json {
        return output::print_json(held);
    }
    println!(
        "{} · epoch {} of generation {} · {} files, {} KiB, whole · {}",
        held.pipeline,
        grouped(held.epoch),
        held.generation,
        held.files,
        grouped(held.bytes.div_ceil(1024)),
        folder.display()
    );
    let positions = held.positions.iter();
    for (place, offset) in positions {
        println!("  {place:<24} next offset {}", offset.map_or("none".to_owned(), |offset| offset.to_string()));
    }
    held.steps.iter().for_each(|(step, layout)| println!("  {step:<24} {layout}"));
    held.plugins.iter().for_each(|(step, digest)| println!("  {step:<24} {digest}"));
    held.sinks.iter().for_each(|(sink, acked)| println!("  {sink:<24} has epoch {}", grouped(*acked)));
    Ok(())
}
