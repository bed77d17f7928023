//! One life of a pipeline between two starts: opens the state, builds tasks and threads, runs the coordinator, takes
//! everything down. Crash-only: what a clean end needs and what a crash leaves behind are the same.

mod assemble;
mod growth;
mod plugins;
mod restore;

use std::path::PathBuf;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, unbounded};
use weir_checkpoint::Limits;
use weir_sandbox::SandboxEngine;
use weir_state::{Identity, OpenError, Recovered, Spill, Store};
use weir_stream::{PartitionReader, SinkError, Source, SourceError};

use crate::channel::Wake;
use crate::control::Control;
use crate::coordinator::{
    Command, Coordinator, CrashPoint, DeadLetterSink, Outcome, RecoveredSink, Recovery, Replay, SinkWiring, Wiring,
};
use crate::cut::logic;
use crate::log_writer;
use crate::lookup;
use crate::meta::{EpochMeta, MetaError};
use crate::outside::Outside;
use crate::plan::Plan;
use crate::renumbered::renumbered;
use crate::shared::{Shared, TaskFault};
use crate::sink_runner::{self, SinkCommand};
use crate::state_budget::StateBudget;
use crate::status::PipelineState;
use crate::worker;

pub use plugins::{Override, Overrides};

/// How long threads that may hang in a network call are waited for.
const THREAD_GRACE: Duration = Duration::from_millis(500);

/// Settings of a run that are not the manifest's.
#[derive(Debug, Clone)]
pub struct Setup {
    pub state_dir: PathBuf,
    /// Threads that run tasks; default: the cores.
    pub workers: usize,
    /// How long a new plugin version is watched, if not as the manifest says.
    pub watch: Option<Duration>,
    /// For tests of recovery: everything ends at this point.
    pub crash_at: Option<CrashPoint>,
    pub outside: Outside,
    /// For tests: state leaves memory at every barrier, wherever it can.
    pub evict_always: bool,
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
    #[error("{message}")]
    Lookup { message: String, next: String },
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
    let (mut store, recovered, mut meta) = open_state(plan, setup)?;
    let _tables = lookup::open(plan, status)?;
    let replay = Replay::next(&meta);
    let (readers, sources) = open_sources(plan, setup, (&meta, replay.as_ref()), control, commands)?;
    let key_groups = store.identity().key_groups;
    let plugins = plugins::resolve(plan, engine, &store.plugins(), overrides, &mut meta)?;

    let (task_events, task_events_in) = unbounded();
    let wakes: Vec<Wake> = (0..setup.workers).map(|_| Wake::default()).collect();
    let clock = setup.outside.clock.clone();
    let partitions = readers.iter().map(Vec::len).sum();
    let shared = Arc::new(Shared::new(wakes.clone(), task_events, clock, state_budget(plan, setup), partitions));
    let assembled =
        assemble::Assembly { plan, setup, key_groups, plugins: &plugins, status, wakes: &wakes, meta: &mut meta }
            .build(readers, recovered.state, &shared.state_budget)?;

    let sinks = recover_sinks(plan, &mut meta, &mut store, &recovered.outbox)?;
    status.restore(&meta, recovered.last_epoch);
    plugins::open_gate(plan, setup, engine, &plugins, store.plugins(), &assembled.instances, control);
    let (sinks_wired, sink_threads, sink_events) = start_sinks(plan, setup, &meta)?;
    let recovery = Recovery {
        last_epoch: recovered.last_epoch,
        sinks,
        snapshot_due: store.snapshot_due(),
        watch: plugins::watches(&meta, plugins::watch(plan, setup)),
        reject_window: u64::from(plan.manifest.swap.rows),
        generation: store.identity().generation,
        replay,
        meta,
    };

    let (log, log_in) = unbounded();
    let (log_events, log_events_in) = unbounded();
    let log_thread = log_writer::spawn(store, log_in, log_events)?;
    let wiring = Wiring {
        shared: Arc::clone(&shared),
        tasks: assembled.tasks,
        source_tasks: assembled.source_tasks,
        task_events: task_events_in,
        log,
        log_events: log_events_in,
        sinks: sinks_wired,
        sink_events,
        commands: commands.clone(),
        dead_letters: plan.dead_letters.map(|number| DeadLetterSink { number }),
        status: Arc::clone(status),
        pipeline: Arc::clone(&plan.pipeline),
        crash_at: setup.crash_at,
        crash: Arc::clone(&setup.outside.crash),
    };
    let coordinator = Coordinator::new(wiring, limits(plan), recovery);
    let _growth = growth::watch(sources, &shared)?;
    let start = |((number, tasks), wake)| worker::spawn(number, tasks, wake, Arc::clone(&shared));
    let workers = assembled.workers.into_iter().enumerate().zip(wakes).map(start).collect::<Result<_, _>>()?;
    status.state(PipelineState::Running);
    plugins::request_manifest_swaps(&plugins, control);
    // Dropping the coordinator drops its senders: log and sink threads end by that.
    let outcome = coordinator.run();
    take_down(workers, log_thread, sink_threads, outcome.goes_on());
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
    let (store, recovered) = Store::open(Arc::clone(&setup.outside.disk), &setup.state_dir, &identity)?;
    let meta = recovered.meta.as_deref().map_or_else(|| Ok(EpochMeta::default()), EpochMeta::decode);
    let meta = meta.map_err(|cause| StartError::Meta { dir: setup.state_dir.clone(), cause })?;
    Ok((store, recovered, meta))
}

fn state_budget(plan: &Plan, setup: &Setup) -> StateBudget {
    let spill = Spill::new(Arc::clone(&setup.outside.disk), setup.state_dir.clone());
    StateBudget::new(plan.manifest.state.memory.bytes(), spill, setup.evict_always)
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

/// The readers of each source, by partition.
type Readers = Vec<Vec<Box<dyn PartitionReader>>>;

/// A source that is being read, and with how many partitions.
struct OpenSource {
    id: Arc<str>,
    source: Box<dyn Source>,
    partitions: u32,
}

/// Connects to every source and opens its partitions where the last epoch left them; waits for what is away.
fn open_sources(
    plan: &Plan,
    setup: &Setup,
    (meta, replay): (&EpochMeta, Option<&Replay>),
    control: &Arc<Control>,
    commands: &Receiver<Command>,
) -> Result<(Readers, Vec<OpenSource>), StartError> {
    let (mut readers, mut sources) = (Vec::new(), Vec::new());
    for planned in &plan.sources {
        let mut source = setup.outside.bindings.source(planned, plan)?;
        let mut patience = Patience::new(&planned.id, control, commands);
        let partitions = patience.wait(|| source.partitions())?;
        let mut of_source = Vec::new();
        for partition in 0..partitions {
            let position = meta.position(&planned.id, partition).position();
            let added = position.is_none() && meta.was_read(&planned.id);
            let reader = patience.wait(|| match added {
                true => source.open_added(partition),
                false => source.open(partition, position.clone()),
            })?;
            of_source.push(match replay {
                None => reader,
                Some(replay) => replay.read(reader, &planned.id, partition, position.as_ref()),
            });
        }
        readers.push(of_source);
        sources.push(OpenSource { id: Arc::clone(&planned.id), source, partitions });
    }
    Ok((readers, sources))
}

/// Tries again, with back-off, what a source that is away could not answer, until somebody ends the pipeline.
struct Patience<'a> {
    source: &'a str,
    control: &'a Control,
    commands: &'a Receiver<Command>,
    back_off: Duration,
}

impl<'a> Patience<'a> {
    fn new(source: &'a str, control: &'a Control, commands: &'a Receiver<Command>) -> Self {
        Self { source, control, commands, back_off: Duration::from_millis(200) }
    }

    fn wait<T>(&mut self, mut attempt: impl FnMut() -> Result<T, SourceError>) -> Result<T, StartError> {
        loop {
            let message = match attempt() {
                Err(SourceError::Retry(message)) => message,
                answer => return Ok(answer?),
            };
            let waiting = format!("source `{}`: {message}; waiting for it", self.source);
            tracing::warn!("{waiting}");
            self.control.status().stuck(PipelineState::Starting, waiting);
            match self.commands.recv_timeout(self.back_off) {
                Ok(Command::Stop { .. } | Command::Abort) => return Err(StartError::Stopped),
                // Nothing runs yet that could be swapped; the dropped reply says so.
                Ok(Command::Swap(_) | Command::CopyState { .. }) | Err(_) => {}
            }
            self.back_off = (self.back_off * 2).min(Duration::from_secs(5));
        }
    }
}

impl From<SourceError> for StartError {
    fn from(error: SourceError) -> Self {
        match error {
            SourceError::Fatal { message, next } => Self::Source { message, next },
            SourceError::Retry(message) => Self::Source { message, next: "try again".into() },
        }
    }
}

impl From<SinkError> for StartError {
    fn from(error: SinkError) -> Self {
        match error {
            SinkError::Fatal { message, next } => Self::Sink { message, next },
            other => Self::Sink { message: other.to_string(), next: "try again".into() },
        }
    }
}

/// Gives every sink of the plan its number in the outbox and what it is still owed.
fn recover_sinks(
    plan: &Plan,
    meta: &mut EpochMeta,
    store: &mut Store,
    pending: &[weir_state::PendingEntry],
) -> Result<Vec<RecoveredSink>, StartError> {
    let mut sinks = Vec::new();
    retire_sinks(plan, meta, store, pending);
    for planned in &plan.sinks {
        let number = meta.sink_number(&planned.id);
        let stored = meta.sinks.get(&*planned.id).copied().unwrap_or_default();
        let mut owed = Vec::new();
        let first_owed =
            pending.iter().filter(|entry| entry.sink == number && entry.epoch > stored.acked).map(|entry| entry.epoch);
        if let Some(first) = first_owed.min() {
            let items = store.read_outbox(number, first - 1, usize::MAX);
            for item in items.map_err(|error| StartError::State(error.into()))? {
                let decoded = crate::outbox::decode(&item.payload);
                let (cut, data) =
                    decoded.map_err(|error| StartError::Internal(format!("sink `{}`: {error}", planned.id)))?;
                // A target that has nothing yet knows of no entry before its first.
                let begins = stored.acked == 0 && owed.is_empty();
                let previous = if begins { 0 } else { item.previous };
                owed.push(weir_stream::SinkEpoch { epoch: item.epoch, previous, cut, data: Arc::new(data) });
            }
        }
        sinks.push(RecoveredSink { acked: stored.acked, owed });
    }
    Ok(sinks)
}

/// Lets go of sinks that the manifest no longer has: what they may be owed would keep the outbox for ever.
fn retire_sinks(plan: &Plan, meta: &mut EpochMeta, store: &mut Store, pending: &[weir_state::PendingEntry]) {
    let last_epoch = store.last_epoch();
    meta.sinks.retain(|name, stored| {
        let kept = plan.sinks.iter().any(|planned| *planned.id == **name);
        if !kept {
            let owed = pending.iter().filter(|entry| entry.sink == stored.number).count();
            tracing::warn!("sink `{name}` is no longer in the manifest; {owed} epochs that it may miss are let go");
            store.acknowledge(stored.number, last_epoch);
        }
        kept
    });
    let EpochMeta { sinks, kept, .. } = meta;
    kept.retain(|name, _| sinks.contains_key(name));
}

type SinkThreads = Vec<JoinHandle<()>>;
type SinkEvents = Receiver<(usize, sink_runner::SinkEvent)>;

fn start_sinks(
    plan: &Plan,
    setup: &Setup,
    meta: &EpochMeta,
) -> Result<(Vec<SinkWiring>, SinkThreads, SinkEvents), StartError> {
    let (mut wirings, mut threads) = (Vec::new(), Vec::new());
    let (events, events_in) = unbounded();
    for (number, planned) in plan.sinks.iter().enumerate() {
        let (identity, renumbered_by) = meta.target(&planned.id);
        let sink = renumbered(setup.outside.bindings.sink(planned, &identity, plan)?, renumbered_by);
        let (commands, commands_in) = unbounded::<SinkCommand>();
        let events = events.clone();
        // The coordinator may be gone already; then nobody needs to know.
        let report = move |event| drop(events.send((number, event)));
        threads.push(sink_runner::spawn(&planned.id, sink, commands_in, report)?);
        let (exact, logic) = (planned.upsert.is_none(), logic::of_sink(plan, planned));
        wirings.push(SinkWiring { name: Arc::clone(&planned.id), commands, exact, logic });
    }
    Ok((wirings, threads, events_in))
}

/// Waits for the threads. Workers and log end by themselves; a sink may hang in its target and is then left behind:
/// what it still does there is fenced by the next start.
/// When this process goes on (`again`) it is waited for: it would fence its own successor.
fn take_down(workers: Vec<JoinHandle<()>>, log: JoinHandle<()>, sinks: SinkThreads, again: bool) {
    for thread in workers.into_iter().chain([log]) {
        if thread.join().is_err() {
            tracing::error!("a thread panicked; the next start recovers from the last durable epoch");
        }
    }
    let until = Instant::now() + THREAD_GRACE;
    while (again || Instant::now() < until) && sinks.iter().any(|thread| !thread.is_finished()) {
        std::thread::sleep(Duration::from_millis(2));
    }
}
