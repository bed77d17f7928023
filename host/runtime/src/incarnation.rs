//! One life of a pipeline between two starts: opens the state, builds tasks and threads, runs the coordinator, takes
//! everything down. Crash-only: what a clean end needs and what a crash leaves behind are the same.

mod assemble;
mod plugins;
mod restore;

use std::path::PathBuf;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender, unbounded};
use weir_checkpoint::Limits;
use weir_sandbox::SandboxEngine;
use weir_state::{Identity, OpenError, RealDisk, Recovered, Store};
use weir_stream::{Source, SourceError};

use crate::bind;
use crate::channel::Wake;
use crate::control::Control;
use crate::coordinator::{
    Command, Coordinator, CrashPoint, DeadLetterSink, Outcome, RecoveredSink, Recovery, SinkWiring, Wiring,
};
use crate::log_writer;
use crate::meta::{EpochMeta, MetaError};
use crate::plan::Plan;
use crate::shared::{Shared, TaskFault};
use crate::sink_runner::{self, SinkCommand};
use crate::status::PipelineState;
use crate::worker;

pub use plugins::Overrides;

/// How long threads that may hang in a network call are waited for.
const THREAD_GRACE: Duration = Duration::from_millis(500);

/// Settings of a run that are not the manifest's.
#[derive(Debug, Clone)]
pub struct Setup {
    pub state_dir: PathBuf,
    /// Threads that run tasks; default: the cores.
    pub workers: usize,
    /// How long a new plugin version is watched.
    pub watch: Duration,
    /// For tests of recovery: the process aborts at this point.
    pub crash_at: Option<CrashPoint>,
}

/// Why an incarnation did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    #[error(transparent)]
    State(#[from] OpenError),
    #[error("{}: {cause}", dir.display())]
    Meta { dir: PathBuf, cause: MetaError },
    #[error(
        "step `{step}` keeps state of another shape: stored `{stored}`, the manifest now means `{wanted}`; \
         give the step another id, or start with an empty state folder"
    )]
    StateLayout { step: String, stored: String, wanted: String },
    #[error("stored state of step `{step}` cannot be read: {cause}")]
    StateEntry { step: String, cause: String },
    #[error("{message}")]
    Source { message: String, next: String },
    #[error("{message}")]
    Sink { message: String, next: String },
    #[error("{0}")]
    Plugin(String),
    #[error("{0}")]
    Task(#[from] TaskFault),
    #[error("no thread: {0}")]
    Thread(#[from] std::io::Error),
    #[error("internal: {0}")]
    Internal(String),
    /// Told to end while it waited for a source.
    #[error("stopped")]
    Stopped,
}

/// Runs one incarnation to its end.
///
/// # Errors
/// See [`StartError`]; nothing was read or written then.
pub fn run(
    plan: &Plan,
    setup: &Setup,
    engine: &SandboxEngine,
    overrides: &Overrides,
    control: &Arc<Control>,
    commands: &Receiver<Command>,
) -> Result<Outcome, StartError> {
    let status = control.status();
    let (store, recovered, mut meta) = open_state(plan, setup)?;
    let mut sources = open_sources(plan, control, commands)?;
    let key_groups = store.identity().key_groups;
    let plugins = plugins::resolve(plan, engine, &store.plugins(), overrides, &mut meta)?;

    let (task_events, task_events_in) = unbounded();
    let wakes: Vec<Wake> = (0..setup.workers).map(|_| Wake::default()).collect();
    let shared = Arc::new(Shared::new(wakes.clone(), task_events));
    let assembled =
        assemble::Assembly { plan, setup, key_groups, plugins: &plugins, status, wakes: &wakes, meta: &mut meta }
            .build(&mut sources, recovered.state)?;

    let sinks = recover_sinks(plan, &mut meta, &store, &recovered.outbox)?;
    status.restore(&meta, recovered.last_epoch);
    plugins::open_gate(plan, setup, engine, &plugins, store.plugins(), &assembled.instances, control);
    let recovery = Recovery {
        last_epoch: recovered.last_epoch,
        sinks,
        snapshot_due: store.snapshot_due(),
        watch: plugins::watches(&meta, setup.watch),
        meta,
    };

    let (log, log_in) = unbounded();
    let (log_events, log_events_in) = unbounded();
    let log_thread = log_writer::spawn(store, log_in, log_events)?;
    let (sink_events, sink_events_in) = unbounded();
    let (sink_wirings, sink_threads) = start_sinks(plan, &sink_events)?;
    let wiring = Wiring {
        shared: Arc::clone(&shared),
        tasks: assembled.tasks,
        source_tasks: assembled.source_tasks,
        task_events: task_events_in,
        log,
        log_events: log_events_in,
        sinks: sink_wirings,
        sink_events: sink_events_in,
        commands: commands.clone(),
        dead_letters: plan.dead_letters.map(|number| DeadLetterSink { number }),
        status: Arc::clone(status),
        pipeline: Arc::clone(&plan.pipeline),
        crash_at: setup.crash_at,
    };
    let coordinator = Coordinator::new(wiring, limits(plan), recovery);
    let mut workers = Vec::new();
    for ((number, tasks), wake) in assembled.workers.into_iter().enumerate().zip(wakes) {
        workers.push(worker::spawn(number, tasks, wake, Arc::clone(&shared))?);
    }
    status.state(PipelineState::Running);
    plugins::request_manifest_swaps(&plugins, control);
    // Dropping the coordinator drops its senders: log and sink threads end by that.
    let outcome = coordinator.run();
    take_down(workers, log_thread, sink_threads);
    Ok(outcome)
}

/// Opens the state first: another process in the folder is refused at once, whatever the sources do.
fn open_state(plan: &Plan, setup: &Setup) -> Result<(Store, Recovered, EpochMeta), StartError> {
    let identity = Identity {
        pipeline: plan.pipeline.to_string(),
        key_groups: plan.key_groups,
        created_us: jiff::Timestamp::now().as_microsecond(),
        generation: 1,
    };
    let (store, recovered) = Store::open(Arc::new(RealDisk), &setup.state_dir, &identity)?;
    let meta = recovered.meta.as_deref().map_or_else(|| Ok(EpochMeta::default()), EpochMeta::decode);
    let meta = meta.map_err(|cause| StartError::Meta { dir: setup.state_dir.clone(), cause })?;
    Ok((store, recovered, meta))
}

fn limits(plan: &Plan) -> Limits {
    let epoch = &plan.manifest.state.epoch;
    Limits {
        epoch_interval_us: epoch.interval.as_us().unsigned_abs(),
        epoch_rows: epoch.max_rows,
        epoch_bytes: epoch.max_bytes.bytes(),
        unexposed_bytes: plan.manifest.limits.outbox.bytes(),
        ..Limits::default()
    }
}

/// Connects to every source and learns its partitions; waits for those that are away.
fn open_sources(
    plan: &Plan,
    control: &Arc<Control>,
    commands: &Receiver<Command>,
) -> Result<Vec<(Box<dyn Source>, u32)>, StartError> {
    let mut sources = Vec::new();
    for planned in &plan.sources {
        let fatal = |error: SourceError| match error {
            SourceError::Fatal { message, next } => StartError::Source { message, next },
            SourceError::Retry(message) => StartError::Source { message, next: "try again".into() },
        };
        let mut source = bind::source(planned, &plan.manifest, plan.until_end).map_err(fatal)?;
        let mut back_off = Duration::from_millis(200);
        let partitions = loop {
            match source.partitions() {
                Ok(partitions) => break partitions,
                Err(SourceError::Retry(message)) => {
                    let waiting = format!("source `{}`: {message}; waiting for it", planned.id);
                    tracing::warn!("{waiting}");
                    control.status().stuck(PipelineState::Starting, waiting);
                    match commands.recv_timeout(back_off) {
                        Ok(Command::Stop { .. } | Command::Abort) => return Err(StartError::Stopped),
                        // Nothing runs yet that could be swapped; the dropped reply says so.
                        Ok(Command::Swap(_)) | Err(_) => {}
                    }
                    back_off = (back_off * 2).min(Duration::from_secs(5));
                }
                Err(error) => return Err(fatal(error)),
            }
        };
        sources.push((source, partitions));
    }
    Ok(sources)
}

/// Gives every sink of the plan its number in the outbox and what it is still owed.
fn recover_sinks(
    plan: &Plan,
    meta: &mut EpochMeta,
    store: &Store,
    pending: &[weir_state::PendingEntry],
) -> Result<Vec<RecoveredSink>, StartError> {
    let mut sinks = Vec::new();
    for planned in &plan.sinks {
        let number = meta.sink_number(&planned.id);
        let stored = meta.sinks.get(&*planned.id).copied().unwrap_or_default();
        let mut owed = Vec::new();
        if pending.iter().any(|entry| entry.sink == number && entry.epoch > stored.acked) {
            let items = store.read_outbox(number, stored.acked, usize::MAX);
            for item in items.map_err(|error| StartError::State(error.into()))? {
                let data = crate::outbox::decode(&item.payload);
                let data = data.map_err(|error| StartError::Internal(format!("sink `{}`: {error}", planned.id)))?;
                owed.push(weir_stream::SinkEpoch { epoch: item.epoch, previous: item.previous, data: Arc::new(data) });
            }
        }
        sinks.push(RecoveredSink { acked: stored.acked, owed });
    }
    Ok(sinks)
}

type SinkThreads = Vec<JoinHandle<()>>;

fn start_sinks(
    plan: &Plan,
    events: &Sender<(usize, sink_runner::SinkEvent)>,
) -> Result<(Vec<SinkWiring>, SinkThreads), StartError> {
    let (mut wirings, mut threads) = (Vec::new(), Vec::new());
    for (number, planned) in plan.sinks.iter().enumerate() {
        let sink = bind::sink(planned, &plan.manifest).map_err(|error| match error {
            weir_stream::SinkError::Fatal { message, next } => StartError::Sink { message, next },
            other => StartError::Sink { message: other.to_string(), next: "try again".into() },
        })?;
        let (commands, commands_in) = unbounded::<SinkCommand>();
        let events = events.clone();
        // The coordinator may be gone already; then nobody needs to know.
        let report = move |event| drop(events.send((number, event)));
        threads.push(sink_runner::spawn(&planned.id, sink, commands_in, report)?);
        wirings.push(SinkWiring { name: Arc::clone(&planned.id), commands });
    }
    Ok((wirings, threads))
}

/// Waits for the threads. Workers and log end by themselves; a sink may hang in its target and is then left behind:
/// what it still does there is fenced by the next start.
fn take_down(workers: Vec<JoinHandle<()>>, log: JoinHandle<()>, sinks: SinkThreads) {
    for thread in workers.into_iter().chain([log]) {
        if thread.join().is_err() {
            tracing::error!("a thread panicked; the next start recovers from the last durable epoch");
        }
    }
    let until = Instant::now() + THREAD_GRACE;
    while Instant::now() < until && sinks.iter().any(|thread| !thread.is_finished()) {
        std::thread::sleep(Duration::from_millis(2));
    }
}
