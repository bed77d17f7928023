//! How people reach a running pipeline: status, swap, stop. The admin API and the command line call this and nothing
//! else.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use crossbeam_channel::Sender;
use serde::{Deserialize, Serialize};
use weir_sandbox::{PluginComponent, SandboxEngine};
use weir_state::{PluginFolder, RealDisk};

use crate::barrier::StepCounts;
use crate::coordinator::{Command, SwapRequest};
use crate::gate::{GateError, GateSite, SelfTest};
use crate::held_key::KeyReport;
use crate::reject_watch::RejectLimit;
use crate::savepoint::Description;
use crate::status::StatusBoard;

/// How long a swap may take from the barrier that it asks for to the answer.
const SWAP_TIMEOUT: Duration = Duration::from_secs(30);

/// How long the copy for a savepoint may take; most of it is linked.
const SAVEPOINT_TIMEOUT: Duration = Duration::from_secs(60);

/// How long a task may take to look at one key: it does so between two batches.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);

/// How long a stopped pipeline may take to expose what it owes.
pub const STOP_GRACE: Duration = Duration::from_secs(4);

/// What the gate needs beside the component; set once the pipeline is planned.
pub struct GateRoom {
    pub engine: SandboxEngine,
    pub sites: BTreeMap<String, Arc<GateSite>>,
    /// Instances that a step needs: tasks that run it.
    pub instances: BTreeMap<String, usize>,
    pub plugins: PluginFolder,
    pub watch: Duration,
    pub reject_limit: RejectLimit,
}

/// The handle of one pipeline.
pub struct Control {
    status: Arc<StatusBoard>,
    commands: Sender<Command>,
    gate: Mutex<Option<Arc<GateRoom>>>,
    /// One swap at a time: the order in which versions follow each other is what the log says.
    swapping: Mutex<()>,
}

/// Why a plugin was not swapped; the running version goes on.
#[derive(Debug, thiserror::Error)]
pub enum SwapError {
    #[error("the pipeline is not running yet")]
    NotStarted,
    #[error(transparent)]
    Gate(#[from] GateError),
    #[error("the component cannot be kept: {0}")]
    Keep(#[from] weir_state::WriteError),
    #[error("the new version failed before it was in place; the running version goes on")]
    RolledBack,
    #[error("no barrier within {} s; the pipeline may be waiting for a sink", SWAP_TIMEOUT.as_secs())]
    NoBarrier,
    #[error("the pipeline ended")]
    Ended,
}

impl SwapError {
    pub fn faults(&self) -> &[String] {
        match self {
            Self::Gate(error) => error.faults(),
            _ => &[],
        }
    }

    /// The next act.
    pub fn next(&self) -> &'static str {
        match self {
            Self::NotStarted | Self::NoBarrier => "look at `weir status`, then try again",
            Self::Gate(_) => "the running version goes on untouched; `weir plugin check` says the same before a swap",
            Self::Keep(_) => "free space in the state folder",
            Self::RolledBack => "look at `weir status` and the dead letters for what it failed on",
            Self::Ended => "start the pipeline again",
        }
    }
}

/// What a swap did, stage by stage.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SwapReport {
    pub step: String,
    pub name: String,
    pub version: String,
    pub digest: String,
    pub bytes: usize,
    pub reads: Vec<String>,
    pub writes: Vec<String>,
    pub self_test: Option<SelfTest>,
    /// From the request to a compiled, checked and tried plugin.
    pub gate_ms: u64,
    /// The first epoch that the new version makes.
    pub epoch: u64,
    /// From the old version's last row to the new one's first; absent while no row came.
    pub pause_us: Option<u64>,
    pub watch_s: u64,
    /// So many more rejects, in percent of the rows, bring the version before back.
    pub more_rejects_percent: f64,
    /// Sums by source and step when the old version ended; exact, since the swap stands between two epochs.
    pub counts_before: BTreeMap<String, StepCounts>,
}

impl Control {
    pub fn new(status: Arc<StatusBoard>, commands: Sender<Command>) -> Self {
        Self { status, commands, gate: Mutex::new(None), swapping: Mutex::new(()) }
    }

    pub fn status(&self) -> &Arc<StatusBoard> {
        &self.status
    }

    pub(crate) fn open_gate(&self, room: Arc<GateRoom>) {
        *self.gate.lock().unwrap_or_else(PoisonError::into_inner) = Some(room);
    }

    /// Ends the pipeline as on SIGTERM.
    pub fn stop(&self) {
        // A pipeline that has ended needs no telling.
        let _ = self.commands.send(Command::Stop { grace: STOP_GRACE });
    }

    /// Makes a savepoint of the running pipeline in `folder`, as of the last durable epoch.
    ///
    /// # Errors
    /// Why there is none; the pipeline goes on.
    pub fn savepoint(&self, folder: &Path) -> Result<Description, String> {
        let (reply, answer) = crossbeam_channel::bounded(1);
        let target = folder.to_owned();
        self.commands.send(Command::CopyState { target, reply }).map_err(|_| "the pipeline ended".to_owned())?;
        let copied = answer.recv_timeout(SAVEPOINT_TIMEOUT);
        copied.map_err(|_| "the pipeline is not running, or its disk does not answer".to_owned())??;
        weir_state::savepoint::seal(&RealDisk, folder).map_err(|error| error.to_string())?;
        crate::savepoint::describe(&RealDisk, folder).map_err(|error| error.to_string())
    }

    /// What a step holds for one key, a text for each of its columns.
    ///
    /// # Errors
    /// For people: no such step, a text that is no such key, a task that does not answer.
    pub fn held_key(&self, step: &str, key: &[String]) -> Result<KeyReport, String> {
        let stage = self.status.stage(step).ok_or_else(|| format!("no step `{step}` with state by key"))?;
        stage.ask(key, ANSWER_TIMEOUT)
    }

    /// Ends the pipeline at once; the next start recovers.
    pub fn abort(&self) {
        let _ = self.commands.send(Command::Abort);
    }

    /// Puts a component into a step of the running pipeline. Blocks until it is in place or refused.
    ///
    /// # Errors
    /// See [`SwapError`].
    pub fn swap(&self, step: &str, component: &[u8]) -> Result<SwapReport, SwapError> {
        let started = Instant::now();
        let _one = self.swapping.lock().unwrap_or_else(PoisonError::into_inner);
        let room = self.gate.lock().unwrap_or_else(PoisonError::into_inner).clone().ok_or(SwapError::NotStarted)?;
        let site = room.sites.get(step).ok_or_else(|| GateError::NoStep {
            step: step.to_owned(),
            has: room.sites.keys().map(|step| format!("`{step}`")).collect(),
        })?;
        let component = PluginComponent::load(&room.engine, component, &site.limits).map_err(GateError::Component)?;
        let passed = site.pass(&component)?;
        room.plugins.put(component.digest(), component.bytes())?;
        let contract = passed.function.contract();
        let self_test = passed.self_test;
        let instances = room.instances.get(step).copied().unwrap_or(1);
        let order = passed.into_order(Arc::clone(&site.site.step), instances);
        let order = order.map_err(|fault| GateError::SelfTest { step: step.to_owned(), fault })?;
        let gate_ms = started.elapsed().as_millis() as u64;

        let (reply, answer) = crossbeam_channel::bounded(1);
        let request = SwapRequest { order: Arc::new(order), watch: room.watch, reply };
        self.commands.send(Command::Swap(request)).map_err(|_| SwapError::Ended)?;
        let result = answer.recv_timeout(SWAP_TIMEOUT).map_err(|error| match error {
            crossbeam_channel::RecvTimeoutError::Timeout => SwapError::NoBarrier,
            crossbeam_channel::RecvTimeoutError::Disconnected => SwapError::RolledBack,
        })?;
        let mut writes: Vec<String> =
            contract.outputs().iter().flat_map(|output| &output.writes).map(|field| field.name().clone()).collect();
        writes.dedup();
        Ok(SwapReport {
            step: step.to_owned(),
            name: contract.name().to_owned(),
            version: contract.version().to_owned(),
            digest: component.digest().to_string(),
            bytes: component.bytes().len(),
            reads: contract.reads().to_vec(),
            writes,
            self_test,
            gate_ms,
            epoch: result.epoch,
            pause_us: result.pause_ns.map(|pause| pause.div_ceil(1000)),
            watch_s: room.watch.as_secs(),
            more_rejects_percent: room.reject_limit.percent(),
            counts_before: result.counts_before,
        })
    }
}
