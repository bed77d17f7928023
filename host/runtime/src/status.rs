//! What a running pipeline shows: one board that tasks and coordinator write and that screens, the admin API and metrics
//! read. Nothing is decided here.

mod epochs;
mod lookup;
mod partition;
mod stage;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use serde::{Deserialize, Serialize};
use weir_state::Sizes;

use crate::barrier::StepCounts;
use crate::coordinator::SwapResult;
use crate::meta::EpochMeta;
use crate::state_budget::StateSize;

use epochs::EpochTimes;

pub use epochs::{BOUNDS_MS, PhaseTimes};
pub use lookup::{LookupBoard, LookupStatus, TableSize};
pub use partition::{PartitionMeter, PartitionStatus};
pub use stage::{Stage, StageMeter, StageStatus};

/// Where a pipeline is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PipelineState {
    Starting,
    Running,
    /// A step cannot go on; waits for an operator.
    Paused,
    Stopping,
    Finished,
    Failed,
}

/// Live counters of one source or step; sums since the pipeline was created.
#[derive(Debug, Default)]
pub struct StepMeter {
    pub rows_in: AtomicU64,
    pub rows_out: AtomicU64,
    pub rejected: AtomicU64,
    pub late: AtomicU64,
    pub state: Mutex<StateSize>,
}

impl StepMeter {
    /// Starts from the sums that the last durable epoch holds.
    pub fn restore(&self, counts: StepCounts) {
        self.rows_in.store(counts.rows_in, Relaxed);
        self.rows_out.store(counts.rows_out, Relaxed);
        self.rejected.store(counts.rejected, Relaxed);
        self.late.store(counts.late, Relaxed);
        *self.state.lock().unwrap_or_else(PoisonError::into_inner) = StateSize::default();
    }

    /// Notes what one task holds now instead of `before`.
    pub fn replace_state(&self, before: StateSize, now: StateSize) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        // An earlier incarnation's tasks may tell after the sums were set back.
        let replace = |sum: u64, before: u64, now: u64| (sum + now).saturating_sub(before);
        state.keys = replace(state.keys, before.keys, now.keys);
        state.bytes = replace(state.bytes, before.bytes, now.bytes);
        state.cold_bytes = replace(state.cold_bytes, before.cold_bytes, now.cold_bytes);
    }

    fn state(&self) -> StateSize {
        *self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn add(&self, counts: StepCounts) {
        self.rows_in.fetch_add(counts.rows_in, Relaxed);
        self.rows_out.fetch_add(counts.rows_out, Relaxed);
        self.rejected.fetch_add(counts.rejected, Relaxed);
        self.late.fetch_add(counts.late, Relaxed);
    }

    pub fn counts(&self) -> StepCounts {
        StepCounts {
            rows_in: self.rows_in.load(Relaxed),
            rows_out: self.rows_out.load(Relaxed),
            rejected: self.rejected.load(Relaxed),
            late: self.late.load(Relaxed),
        }
    }
}

/// What the board shows of a plugin.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PluginStatus {
    pub name: String,
    pub version: String,
    pub running: String,
    /// What the manifest resolved to at start.
    pub manifest: String,
    pub watched: bool,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SinkStatus {
    /// Last epoch visible in the target.
    pub exposed_epoch: u64,
    /// Why it waits, if it does.
    pub trouble: Option<String>,
}

/// The last swap and what became of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SwapStatus {
    pub step: String,
    pub digest: String,
    pub epoch: u64,
    pub pause_us: Option<u64>,
    /// `watching`, `kept` or `rolled back: <reason>`.
    pub verdict: String,
}

/// Everything at one moment, as `weir status` and the admin API give it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Status {
    pub pipeline: String,
    pub profile: String,
    pub state: PipelineState,
    /// Why it is paused or failed, and the next act.
    pub reason: Option<String>,
    pub uptime_ms: u64,
    pub durable_epoch: u64,
    /// Since the last epoch became durable.
    pub durable_ago_ms: Option<u64>,
    /// How long epochs take to `seal`, to become `durable`, and sinks to `expose` them.
    pub epoch_phases: BTreeMap<String, PhaseTimes>,
    pub sources: BTreeMap<String, Vec<PartitionStatus>>,
    /// Keyed steps.
    pub stages: BTreeMap<String, StageStatus>,
    pub steps: BTreeMap<String, StepCounts>,
    /// Keyed state by step, where there is any.
    pub state_by_step: BTreeMap<String, StateSize>,
    pub plugins: BTreeMap<String, PluginStatus>,
    /// Steps that look up tables.
    pub lookups: BTreeMap<String, LookupStatus>,
    pub sinks: BTreeMap<String, SinkStatus>,
    pub dead_letters: u64,
    pub state_bytes: u64,
    pub log_bytes: u64,
    pub last_swap: Option<SwapStatus>,
    pub rollbacks: u64,
}

struct Board {
    state: PipelineState,
    reason: Option<String>,
    durable_epoch: u64,
    durable_at: Option<Instant>,
    plugins: BTreeMap<String, PluginStatus>,
    sinks: BTreeMap<String, SinkStatus>,
    log_trouble: Option<String>,
    state_trouble: Option<String>,
    state_bytes: u64,
    log_bytes: u64,
    last_swap: Option<SwapStatus>,
    rollbacks: u64,
    dead_letters: u64,
    epoch_times: EpochTimes,
}

/// The board of one pipeline; outlives incarnations.
pub struct StatusBoard {
    pipeline: Arc<str>,
    profile: Arc<str>,
    started: Instant,
    board: Mutex<Board>,
    meters: Mutex<BTreeMap<Arc<str>, Arc<StepMeter>>>,
    partitions: Mutex<Vec<Arc<PartitionMeter>>>,
    stages: Mutex<Vec<Stage>>,
    pub lookups: LookupBoard,
}

impl StatusBoard {
    pub fn new(pipeline: Arc<str>, profile: Arc<str>) -> Self {
        let board = Board {
            state: PipelineState::Starting,
            reason: None,
            durable_epoch: 0,
            durable_at: None,
            plugins: BTreeMap::new(),
            sinks: BTreeMap::new(),
            log_trouble: None,
            state_trouble: None,
            state_bytes: 0,
            log_bytes: 0,
            last_swap: None,
            rollbacks: 0,
            dead_letters: 0,
            epoch_times: EpochTimes::default(),
        };
        Self {
            pipeline,
            profile,
            started: Instant::now(),
            board: Mutex::new(board),
            meters: Mutex::default(),
            partitions: Mutex::default(),
            stages: Mutex::default(),
            lookups: LookupBoard::default(),
        }
    }

    fn board(&self) -> MutexGuard<'_, Board> {
        // Every writer leaves the board whole; a panic elsewhere does not spoil it.
        self.board.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The meter of a source or step, made at its first use.
    pub fn meter(&self, step: &Arc<str>) -> Arc<StepMeter> {
        let mut meters = self.meters.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(meters.entry(Arc::clone(step)).or_default())
    }

    /// Puts the partitions of a new incarnation in the place of the old ones'.
    pub fn set_partitions(&self, partitions: Vec<Arc<PartitionMeter>>) {
        *self.partitions.lock().unwrap_or_else(PoisonError::into_inner) = partitions;
    }

    /// The same for keyed steps.
    pub fn set_stages(&self, stages: Vec<Stage>) {
        *self.stages.lock().unwrap_or_else(PoisonError::into_inner) = stages;
    }

    /// Sets all counters back to what the last durable epoch holds.
    pub fn restore(&self, meta: &EpochMeta, last_epoch: u64) {
        let meters = self.meters.lock().unwrap_or_else(PoisonError::into_inner);
        for (step, meter) in meters.iter() {
            meter.restore(meta.counts.get(&**step).copied().unwrap_or_default());
        }
        self.board().durable_epoch = last_epoch;
    }

    pub fn state(&self, state: PipelineState) {
        let mut board = self.board();
        board.state = state;
        if state == PipelineState::Running {
            board.reason = None;
        }
    }

    pub fn stuck(&self, state: PipelineState, reason: String) {
        let mut board = self.board();
        (board.state, board.reason) = (state, Some(reason));
    }

    pub fn set_plugin(&self, step: &str, plugin: PluginStatus) {
        self.board().plugins.insert(step.to_owned(), plugin);
    }

    pub fn sealing(&self, barrier: u64) {
        self.board().epoch_times.inject(barrier);
    }

    pub fn sealed(&self, barrier: u64, epoch: u64) {
        self.board().epoch_times.seal(barrier, epoch);
    }

    pub fn durable(&self, epoch: u64, sizes: &Sizes) {
        let mut board = self.board();
        board.epoch_times.durable(epoch);
        (board.durable_epoch, board.durable_at) = (epoch, Some(Instant::now()));
        (board.state_bytes, board.log_bytes) = (sizes.snapshot_bytes, sizes.log_bytes + sizes.outbox_bytes);
    }

    /// A sink shows everything through `epoch`; `new`: the epochs that owed it something and were not exposed before.
    pub fn exposed(&self, sink: &str, epoch: u64, new: impl Iterator<Item = u64>) {
        let mut board = self.board();
        board.sinks.entry(sink.to_owned()).or_default().exposed_epoch = epoch;
        new.for_each(|epoch| board.epoch_times.expose(epoch));
    }

    /// Notes why a sink or the epoch log waits, or that it does not any more; said once in the log, not at every try.
    pub fn trouble(&self, part: &str, trouble: Option<String>) {
        let mut board = self.board();
        let slot = match part {
            "epoch log" => &mut board.log_trouble,
            "state" => &mut board.state_trouble,
            sink => &mut board.sinks.entry(sink.to_owned()).or_default().trouble,
        };
        match (&slot, &trouble) {
            (None, Some(message)) => tracing::warn!("{part} waits: {message}"),
            (Some(_), None) => tracing::info!("{part} goes on"),
            _ => {}
        }
        *slot = trouble;
    }

    pub fn dead_letters(&self, letters: u64) {
        self.board().dead_letters += letters;
    }

    pub fn swapped(&self, step: &str, plugin: &crate::function::Function, result: &SwapResult) {
        let mut board = self.board();
        let contract = plugin.contract();
        if let Some(status) = board.plugins.get_mut(step) {
            (status.name, status.version) = (contract.name().to_owned(), contract.version().to_owned());
            (status.running, status.watched) = (plugin.digest().to_string(), true);
        }
        board.last_swap = Some(SwapStatus {
            step: step.to_owned(),
            digest: plugin.digest().to_string(),
            epoch: result.epoch,
            pause_us: result.pause_ns.map(|pause| pause.div_ceil(1000)),
            verdict: "watching".into(),
        });
    }

    pub fn kept(&self, step: &str) {
        let mut board = self.board();
        if let Some(status) = board.plugins.get_mut(step) {
            status.watched = false;
        }
        if let Some(swap) = board.last_swap.as_mut().filter(|swap| swap.step == step) {
            swap.verdict = "kept".into();
        }
    }

    pub fn rolled_back(&self, step: &str, reason: &str) {
        let mut board = self.board();
        board.rollbacks += 1;
        // Until the version before runs again nothing does, and the plugins' lines are the old ones.
        (board.state, board.reason) =
            (PipelineState::Starting, Some(format!("step `{step}` returns to its version before: {reason}")));
        let verdict = format!("rolled back: {reason}");
        match board.last_swap.as_mut().filter(|swap| swap.step == step) {
            Some(swap) => swap.verdict = verdict,
            None => {
                let (step, digest) = (step.to_owned(), String::new());
                board.last_swap = Some(SwapStatus { step, digest, epoch: 0, pause_us: None, verdict });
            }
        }
    }

    /// Ready means: running, and nothing waits for an operator, a target or space.
    pub fn is_ready(&self) -> Result<(), String> {
        let board = self.board();
        if board.state != PipelineState::Running {
            return Err(board.reason.clone().unwrap_or_else(|| format!("{:?}", board.state).to_lowercase()));
        }
        if let Some(trouble) = board.log_trouble.as_ref().or(board.state_trouble.as_ref()) {
            return Err(trouble.clone());
        }
        if let Some(trouble) = self.lookups.is_waited_for() {
            return Err(trouble);
        }
        match board.sinks.iter().find_map(|(sink, status)| Some((sink, status.trouble.as_ref()?))) {
            Some((sink, trouble)) => Err(format!("sink `{sink}`: {trouble}")),
            None => Ok(()),
        }
    }

    pub fn status(&self) -> Status {
        let meters = self.meters.lock().unwrap_or_else(PoisonError::into_inner);
        let steps = meters.iter().map(|(step, meter)| (step.to_string(), meter.counts())).collect();
        let held = meters.iter().map(|(step, meter)| (step.to_string(), meter.state()));
        let state_by_step = held.filter(|(_, state)| *state != StateSize::default()).collect();
        drop(meters);
        let mut sources = BTreeMap::<String, Vec<PartitionStatus>>::new();
        for meter in self.partitions.lock().unwrap_or_else(PoisonError::into_inner).iter() {
            sources.entry(meter.source.to_string()).or_default().push(meter.status());
        }
        let stages = self.stages.lock().unwrap_or_else(PoisonError::into_inner);
        let stages = stages.iter().map(|stage| (stage.step.to_string(), stage.status())).collect();
        let board = self.board();
        Status {
            pipeline: self.pipeline.to_string(),
            profile: self.profile.to_string(),
            state: board.state,
            reason: board.reason.clone(),
            uptime_ms: self.started.elapsed().as_millis() as u64,
            durable_epoch: board.durable_epoch,
            durable_ago_ms: board.durable_at.map(|at| at.elapsed().as_millis() as u64),
            epoch_phases: board.epoch_times.phases(),
            sources,
            stages,
            steps,
            state_by_step,
            plugins: board.plugins.clone(),
            lookups: self.lookups.status(),
            sinks: board.sinks.clone(),
            dead_letters: board.dead_letters,
            state_bytes: board.state_bytes,
            log_bytes: board.log_bytes,
            last_swap: board.last_swap.clone(),
            rollbacks: board.rollbacks,
        }
    }
}
