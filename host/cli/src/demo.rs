//! `weir demo`: a bounded run of a pipeline, its plugin swapped halfway, and a reconciliation from what the targets hold.
//!
//! Invariant: nothing on the screen is assumed. Counters come from the pipeline, the other side of every comparison is
//! read back from SQLite, Parquet and the dead letters after the end; one difference and the command fails.
//!
//! Not a general tool: it wants a pipeline of the shape in [`shape`].

mod reconcile;
mod shape;
mod tables;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use clap::Args;
use weir_runtime::plan::component_path;
use weir_runtime::{Control, End, Outside, Pipeline, PipelineState, Purpose, RunError, Setup, SwapReport};

use crate::load::{self, ManifestArgs};
use crate::output::{self, FAILED, Failure, Format};
use crate::run::{self, grouped, progress, signals};
use crate::swap;
use shape::Shape;

/// How often the demo looks whether it is time to swap.
const LOOK: Duration = Duration::from_millis(50);

/// The overlay beside the manifest that bounds the run.
const OVERLAY: &str = "demo.yaml";

pub const EXAMPLES: &str = "Examples:\n  weir demo pipelines/ecommerce/pipeline.yaml";

#[derive(Args)]
pub struct DemoArgs {
    /// The pipeline's manifest; `demo.yaml` beside it is laid over it.
    pub manifest: PathBuf,
    /// What is swapped in halfway [default: the folder of the running plugin with -next behind its name].
    #[arg(long)]
    pub next: Option<PathBuf>,
}

pub fn demo(args: &DemoArgs, format: Format) -> Result<(), Failure> {
    run::start_log("warn");
    let engine = load::engine()?;
    let overlay = args.manifest.with_file_name(OVERLAY);
    let named = ManifestArgs {
        manifest: args.manifest.clone(),
        profile: Some("embedded".into()),
        overlays: vec![overlay.clone()],
    };
    let plan = load::plan(&named, &engine, Purpose::Run)?;
    let shape = Shape::of(&plan).map_err(|why| {
        Failure::new(output::CONFIG, format!("{}: {why}", args.manifest.display()))
            .next("run it with `weir run`; the demo needs a pipeline like pipelines/ecommerce")
    })?;
    let next = args.next.clone().unwrap_or_else(|| shape.next_plugin.clone());
    let component = component(&next)?;
    start_fresh(&shape.folder)?;
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let setup = Setup {
        state_dir: shape.folder.join("state"),
        workers: cores,
        watch: Some(Duration::from_secs(5)),
        crash_at: None,
        outside: Outside::default(),
        evict_always: false,
    };
    let shown = |text: String| {
        if format == Format::Text {
            println!("{text}");
        }
    };
    shown(headline(&shape));
    let pipeline = Pipeline::new(plan, setup, engine);
    let control = Arc::clone(pipeline.control());
    signals::handle(Arc::clone(&control)).map_err(|error| Failure::new(output::INTERNAL, error.to_string()))?;
    let running = std::thread::spawn(move || pipeline.run());
    let report = swap_halfway(&control, &shape, &component, format);
    let display = progress::start(Arc::clone(&control));
    let ended = running.join().map_err(|_| Failure::new(output::INTERNAL, "the pipeline's thread panicked"))?;
    display.finish();
    finished(ended)?;
    let report = report?;
    let status = control.status().status();
    let sums = reconcile::reconcile(&shape, &status, &report)?;
    if format == Format::Json {
        output::print_json(&serde_json::json!({ "swap": report, "status": status, "reconciliation": sums.to_json() }))?;
    } else {
        tables::show(&shape, &sums)?;
        sums.show();
    }
    match sums.wrong() {
        0 => Ok(()),
        wrong => Err(Failure::new(FAILED, format!("{wrong} of the sums are wrong"))
            .next(format!("look into {} and report it", shape.folder.display()))),
    }
}

fn headline(shape: &Shape) -> String {
    let Shape { source, plugin, filtered, window, .. } = shape;
    let (events, table, folder) = (grouped(shape.events), &shape.table_name, shape.folder.display());
    format!(
        "{events} made-up events\n\
         {source} -> {plugin} (sandboxed plugin) -> {filtered} (where) -> {window} (window)\n\
         {table} in SQLite, accepted events in Parquet, dead letters in a file,\n\
         all in {folder}\n"
    )
}

/// The bytes of the version that comes halfway.
fn component(next: &Path) -> Result<Vec<u8>, Failure> {
    let build = format!("weir plugin build {}", next.display());
    let path = component_path(next).map_err(|message| Failure::new(FAILED, message).next(build.clone()))?;
    std::fs::read(&path).map_err(|error| Failure::new(FAILED, format!("{}: {error}", path.display())).next(build))
}

/// Removes what an earlier demo left. `folder` is named `demo` (see [`Shape`]), so nobody else's work is in it.
fn start_fresh(folder: &Path) -> Result<(), Failure> {
    let failed = |error: std::io::Error| Failure::new(FAILED, format!("{}: {error}", folder.display()));
    match std::fs::remove_dir_all(folder) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(failed(error)),
        _ => {}
    }
    std::fs::create_dir_all(folder).map_err(failed)
}

/// Shows the pipeline until half of the events are read, then puts the next version in.
fn swap_halfway(
    control: &Arc<Control>,
    shape: &Shape,
    component: &[u8],
    format: Format,
) -> Result<SwapReport, Failure> {
    let display = progress::start(Arc::clone(control));
    let read = loop {
        let status = control.status().status();
        let read = status.steps.get(&shape.source).map_or(0, |counts| counts.rows_in);
        let ended = matches!(status.state, PipelineState::Finished | PipelineState::Failed | PipelineState::Stopping);
        if ended || read >= shape.events / 2 {
            break read;
        }
        std::thread::sleep(LOOK);
    };
    display.finish();
    let asked = Instant::now();
    let report = control
        .swap(&shape.plugin, component)
        .map_err(|error| Failure::new(FAILED, error.to_string()).details(error.faults().to_vec()).next(error.next()))?;
    if format == Format::Text {
        println!("\nafter {} events, in the running pipeline:", grouped(read));
        swap::show(&report);
        println!("  {} ms from asking to swapped\n", asked.elapsed().as_millis());
    }
    Ok(report)
}

fn finished(ended: Result<End, RunError>) -> Result<(), Failure> {
    match ended {
        Ok(End::Finished) => Ok(()),
        Ok(End::Stopped { .. } | End::Aborted) => {
            Err(Failure::new(FAILED, "stopped before all events were read").next("run it again"))
        }
        Err(error) => Err(run::failure(&error)),
    }
}
