//! The only place that commits: feeds the epoch protocol with what tasks, log and sinks tell, and carries out what it
//! answers.
//!
//! One coordinator serves one incarnation of a pipeline: from recovered state to a clean end, or until a fault makes
//! the open epoch worthless. It never restarts anything itself; its [`Outcome`] says what should come next.

mod ending;
mod gathering;
mod pausing;
mod recovery;
mod replaying;
mod sealing;
mod swapping;

use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender, select, tick};
use weir_checkpoint::{Effect, Input, Limits, Protocol};
use weir_state::EpochRecord;
use weir_stream::SinkEpoch;

use crate::barrier::Barrier;
use crate::log_writer::{LogCommand, LogEvent, Owed};
use crate::meta::EpochMeta;
use crate::shared::{Shared, TaskEvent, TaskFault};
use crate::sink_runner::{SinkCommand, SinkEvent};
use crate::status::{PipelineState, StatusBoard};

pub use ending::{CrashPoint, Outcome};
pub use gathering::DeadLetterSink;
pub use recovery::{RecoveredSink, Recovery};
pub use replaying::Replay;
use replaying::Replaying;
pub use swapping::{SwapRequest, SwapResult, Watch};

/// How often time and progress are looked at.
const TICK: Duration = Duration::from_millis(5);

/// What people and signals want of a running pipeline.
pub enum Command {
    Swap(SwapRequest),
    /// Copy what is durable into a folder; the answer is its last epoch, or why not.
    CopyState {
        target: PathBuf,
        reply: Sender<Result<u64, String>>,
    },
    /// Seal, make durable, expose what can be exposed until the deadline.
    Stop {
        grace: Duration,
    },
    /// End now; the next start recovers.
    Abort,
}

/// How the coordinator reaches the rest of its incarnation.
pub struct Wiring {
    pub shared: Arc<Shared>,
    pub tasks: usize,
    /// Source partitions, all of which must end for a bounded run to finish.
    pub source_tasks: usize,
    pub task_events: Receiver<TaskEvent>,
    pub log: Sender<LogCommand>,
    pub log_events: Receiver<LogEvent>,
    /// By sink number.
    pub sinks: Vec<SinkWiring>,
    pub sink_events: Receiver<(usize, SinkEvent)>,
    pub commands: Receiver<Command>,
    pub dead_letters: Option<DeadLetterSink>,
    pub status: Arc<StatusBoard>,
    pub pipeline: Arc<str>,
    pub crash_at: Option<CrashPoint>,
    /// What happens there; when it returns, the run ends.
    pub crash: Arc<dyn Fn() + Send + Sync>,
}

pub struct SinkWiring {
    pub name: Arc<str>,
    pub commands: Sender<SinkCommand>,
    /// Whether the same input makes exactly as many rows for it again: they are appended.
    pub exact: bool,
    /// What makes its rows, as a [`crate::cut::Cut`] says it.
    pub logic: BTreeMap<String, String>,
}

pub struct Coordinator {
    wiring: Wiring,
    protocol: Protocol,
    meta: EpochMeta,
    gathering: gathering::Gathering,
    /// Sealed and numbered, not yet handed to the log.
    sealed: BTreeMap<u64, (EpochRecord, Vec<Owed>)>,
    /// What each sink is still owed, by epoch.
    owed: Vec<BTreeMap<u64, Arc<SinkEpoch>>>,
    /// Whole states of key groups that wait for their epoch to be durable.
    snapshots: BTreeMap<u64, LogCommand>,
    snapshot_due: Option<u16>,
    swaps: swapping::Swaps,
    rejects: gathering::SinkRejects,
    meta_at_append: HashMap<u64, EpochMeta>,
    pausing: pausing::Pausing,
    started: Instant,
    outcome: Option<Outcome>,
    stop_deadline: Option<Instant>,
    finishing: bool,
    fault: Option<Outcome>,
    grown: Option<(Arc<str>, u32)>,
    generation: u64,
    replaying: Replaying,
}

impl Coordinator {
    pub fn new(wiring: Wiring, limits: Limits, recovery: Recovery) -> Self {
        let sinks = recovery.sinks.iter().map(RecoveredSink::for_protocol).collect();
        let (protocol, effects) = Protocol::new(limits, recovery.last_epoch, sinks);
        let swaps = swapping::Swaps::new(recovery.watch, recovery.reject_window, &recovery.meta);
        let mut coordinator = Self {
            gathering: gathering::Gathering::new(wiring.tasks),
            protocol,
            meta: recovery.meta,
            sealed: BTreeMap::new(),
            owed: recovery.sinks.into_iter().map(RecoveredSink::into_owed).collect(),
            snapshots: BTreeMap::new(),
            snapshot_due: recovery.snapshot_due,
            swaps,
            rejects: gathering::SinkRejects::default(),
            meta_at_append: HashMap::new(),
            pausing: pausing::Pausing::default(),
            started: Instant::now(),
            outcome: None,
            stop_deadline: None,
            finishing: false,
            fault: None,
            grown: None,
            generation: recovery.generation,
            replaying: recovery.replay.map_or(Replaying::No, Replaying::Reading),
            wiring,
        };
        coordinator.carry_out(effects);
        coordinator
    }

    /// Runs until the incarnation ends. On return nothing more is handed to log or sinks.
    pub fn run(mut self) -> Outcome {
        let ticker = tick(TICK);
        while self.outcome.is_none() {
            select! {
                recv(self.wiring.task_events) -> event => if let Ok(event) = event { self.task_event(event) },
                recv(self.wiring.log_events) -> event => match event {
                    Ok(event) => self.log_event(event),
                    Err(_) => self.fail("the epoch log's thread ended", "see the log lines before this one"),
                },
                recv(self.wiring.sink_events) -> event => if let Ok((sink, event)) = event { self.sink_event(sink, event) },
                recv(self.wiring.commands) -> command => if let Ok(command) = command { self.command(command) },
                recv(ticker) -> _ => self.on_tick(),
            }
            self.look_for_end();
        }
        self.wiring.shared.abandon();
        self.swaps.abandon();
        self.outcome.take().unwrap_or(Outcome::Aborted)
    }

    fn input(&mut self, input: Input) {
        let effects = self.protocol.step(input);
        self.carry_out(effects);
    }

    fn carry_out(&mut self, effects: Vec<Effect>) {
        for effect in effects {
            match effect {
                Effect::InjectBarrier { barrier, last } => self.inject(barrier, last),
                Effect::Append { epoch, .. } => self.append(epoch),
                Effect::Discard { .. } => {}
                Effect::Expose { sink, through } => self.expose(sink, through),
                Effect::Recover { sink } => {
                    let acked = self.protocol.sinks()[sink].exposed();
                    self.command_sink(sink, SinkCommand::Recover { acked });
                }
                Effect::Flush { sink } => self.command_sink(sink, SinkCommand::Flush),
                Effect::PauseSources => self.pause_by_protocol(true),
                Effect::ResumeSources => self.pause_by_protocol(false),
                Effect::Refuse { sink, refusal } => self.refuse(sink, refusal),
            }
        }
    }

    fn inject(&mut self, id: u64, last: bool) {
        let swaps = self.swaps.take_waiting(id, &self.meta);
        let snapshot = self.snapshot_due.take();
        self.gathering.expect(id, snapshot);
        let watched = self.swaps.watched_behind(id);
        self.wiring.status.sealing(id);
        let reach = self.stages_to_reach(id);
        self.wiring.shared.inject(Barrier { id, last, snapshot, swaps, watched, reach });
    }

    fn task_event(&mut self, event: TaskEvent) {
        match event {
            TaskEvent::Passed { barrier, part } => {
                if self.gathering.add(barrier, *part) {
                    self.seal(barrier);
                }
            }
            TaskEvent::Swapped { step, pause_ns } => self.swaps.first_row(&step, pause_ns),
            TaskEvent::PartitionsAdded { source, partitions } => self.grow(source, partitions),
            TaskEvent::Failed(fault) => self.task_failed(fault),
        }
    }

    fn append(&mut self, epoch: u64) {
        // After a full disk the log's thread still has the record and tries again by itself.
        let (Some((mut record, outbox)), Some(mut meta)) =
            (self.sealed.remove(&epoch), self.meta_at_append.remove(&epoch))
        else {
            return;
        };
        for (sink, wiring) in self.wiring.sinks.iter().enumerate() {
            let acked = self.protocol.sinks()[sink].exposed();
            if let Some(stored) = meta.sinks.get_mut(&*wiring.name) {
                stored.acked = acked;
            }
            if let Some(stored) = self.meta.sinks.get_mut(&*wiring.name) {
                stored.acked = acked;
            }
        }
        if self.crash_if(CrashPoint::Sealed(epoch)) {
            return;
        }
        record.meta = meta.encode();
        let _ = self.wiring.log.send(LogCommand::Append { record, outbox });
    }

    fn log_event(&mut self, event: LogEvent) {
        match event {
            LogEvent::Written { epoch, snapshot_due, sizes } => {
                if self.crash_if(CrashPoint::Durable(epoch)) {
                    return;
                }
                self.snapshot_due = self.snapshot_due.or(snapshot_due.filter(|_| self.snapshots.is_empty()));
                self.wiring.status.durable(epoch, &sizes);
                if let Some(snapshot) = self.snapshots.remove(&epoch) {
                    let _ = self.wiring.log.send(snapshot);
                }
                for (sink, through) in self.rejects.durable(epoch) {
                    self.command_sink(sink, SinkCommand::ForgetRejects { through });
                }
                self.input(Input::Written { epoch });
            }
            LogEvent::Full { epoch, message } => {
                self.wiring.status.trouble("epoch log", Some(message));
                self.input(Input::LogFull { epoch });
            }
            LogEvent::Failed { message } => {
                self.fail(&message, "the process ends; start it again once the disk is sound");
            }
        }
        if !self.protocol.log_full() {
            self.wiring.status.trouble("epoch log", None);
        }
    }

    fn expose(&mut self, sink: usize, through: u64) {
        let sent = self.protocol.sinks()[sink].sent();
        let entries = self.owed[sink].range(sent + 1..=through);
        let entries = entries.map(|(_, entry)| SinkEpoch::clone(entry)).collect();
        self.command_sink(sink, SinkCommand::Expose(entries));
    }

    fn command_sink(&self, sink: usize, command: SinkCommand) {
        // A sink's thread only ends when this sender is dropped.
        let _ = self.wiring.sinks[sink].commands.send(command);
    }

    fn sink_event(&mut self, sink: usize, event: SinkEvent) {
        let name = Arc::clone(&self.wiring.sinks[sink].name);
        match event {
            SinkEvent::Recovered(position) => {
                self.wiring.status.trouble(&name, None);
                self.input(Input::Recovered { sink, position });
                self.acknowledge(sink);
            }
            SinkEvent::Accepted { through } => self.input(Input::Accepted { sink, through }),
            SinkEvent::Exposed { through } => {
                if self.crash_if(CrashPoint::Exposed(through)) {
                    return;
                }
                self.input(Input::Exposed { sink, through });
                self.acknowledge(sink);
            }
            SinkEvent::Rejected(rejects) => {
                let through = self.meta.sinks.get(&*name).map_or(0, |stored| stored.rejects_through);
                self.rejects.add(sink, rejects, through);
                self.input(Input::BarrierWanted);
            }
            SinkEvent::Lost(message) => {
                self.wiring.status.trouble(&name, Some(message));
                self.input(Input::Lost { sink });
            }
            SinkEvent::Fenced(message) => {
                self.fail(
                    &format!("sink `{name}`: {message}"),
                    "another instance runs this pipeline; stop one of them",
                );
            }
            SinkEvent::Failed { message, next } => self.fail(&format!("sink `{name}`: {message}"), &next),
        }
    }

    fn acknowledge(&mut self, sink: usize) {
        let exposed = self.protocol.sinks()[sink].exposed();
        let still_owed = self.owed[sink].split_off(&(exposed + 1));
        let now_exposed = std::mem::replace(&mut self.owed[sink], still_owed);
        let name = &self.wiring.sinks[sink].name;
        self.wiring.status.exposed(name, exposed, now_exposed.into_keys());
        if let Some(stored) = self.meta.sinks.get(&**name) {
            let _ = self.wiring.log.send(LogCommand::Acknowledge { sink: stored.number, epoch: exposed });
        }
    }

    fn command(&mut self, command: Command) {
        match command {
            Command::Swap(request) => {
                self.swaps.request(request, &self.meta);
                self.input(Input::BarrierWanted);
            }
            Command::Stop { grace } => {
                self.stop_deadline.get_or_insert(Instant::now() + grace);
                self.wiring.status.state(PipelineState::Stopping);
                self.input(Input::Stop);
            }
            Command::CopyState { target, reply } => {
                let _ = self.wiring.log.send(LogCommand::CopyState { target, reply });
            }
            Command::Abort => self.outcome = Some(Outcome::Aborted),
        }
    }

    fn on_tick(&mut self) {
        let (rows, bytes) = self.wiring.shared.take_progress();
        if rows > 0 || bytes > 0 {
            self.input(Input::Progressed { rows, bytes });
        }
        self.watch_state_budget();
        self.watch_replay();
        self.input(Input::Tick { now_us: self.started.elapsed().as_micros() as u64 });
        let ended = self.wiring.shared.ended.load(std::sync::atomic::Ordering::Acquire);
        if ended == self.wiring.source_tasks && !self.finishing && self.stop_deadline.is_none() {
            self.finishing = true;
            self.input(Input::Stop);
        }
        self.swaps.on_tick(&self.wiring.status);
        if self.swaps.has_expired() {
            self.input(Input::BarrierWanted);
        }
    }

    fn task_failed(&mut self, fault: TaskFault) {
        let outcome = match fault {
            TaskFault::Plugin { step, digest, fault } => self.version_failed(step, format!("plugin {digest} {fault}")),
            TaskFault::Rejects { step, digest, reason } => {
                self.version_failed(step, format!("plugin {digest} {reason}"))
            }
            TaskFault::Source { source_id, partition, message, next } => {
                Outcome::Failed { message: format!("source `{source_id}`, partition {partition}: {message}"), next }
            }
            TaskFault::Outside { step, message, next } => {
                Outcome::Failed { message: format!("step `{step}`: {message}"), next }
            }
            TaskFault::Internal { step, message } => {
                Outcome::Failed { message: format!("step `{step}`: {message}"), next: "report it".into() }
            }
        };
        // Epochs that are sealed stay: wait for the log before the open one is abandoned.
        self.fault.get_or_insert(outcome);
    }
}
