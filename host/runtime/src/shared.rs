//! What coordinator and workers share while a pipeline runs: the current barrier, counters, and the way back.
//!
//! Tasks never wait on anything here; they look at atomics between two batches.

use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use crossbeam_channel::Sender;
use weir_stream::FunctionFault;

use crate::alignment::Alignment;
use crate::barrier::{Barrier, TaskPart};
use crate::channel::Wake;
use crate::clock::Clock;
use crate::state_budget::StateBudget;

/// What tasks tell the coordinator.
#[derive(Debug)]
pub enum TaskEvent {
    /// The task passed the barrier.
    Passed { barrier: u64, part: Box<TaskPart> },
    /// The new version of a plugin took its first row.
    Swapped { step: Arc<str>, pause_ns: u64 },
    /// A source has more partitions than are read.
    PartitionsAdded { source: Arc<str>, partitions: u32 },
    /// The task cannot go on with its open epoch.
    Failed(TaskFault),
}

/// Why a task cannot go on.
#[derive(Debug, Clone, thiserror::Error)]
pub enum TaskFault {
    /// The plugin of a step failed beyond what quarantine may cover.
    #[error("step `{step}`: plugin {digest} {fault}")]
    Plugin { step: Arc<str>, digest: Arc<str>, fault: FunctionFault },
    /// The watched version of a plugin rejects more than the one before it.
    #[error("step `{step}`: plugin {digest} {reason}")]
    Rejects { step: Arc<str>, digest: Arc<str>, reason: String },
    /// The source cannot be read; only an operator can help.
    #[error("source `{source_id}`, partition {partition}: {message}")]
    Source { source_id: Arc<str>, partition: u32, message: String, next: String },
    /// What a step asks outside cannot be had; only an operator can help.
    #[error("step `{step}`: {message}")]
    Outside { step: Arc<str>, message: String, next: String },
    /// A fault of Weir itself, or of data that passed every check.
    #[error("step `{step}`: {message}")]
    Internal { step: Arc<str>, message: String },
}

/// The control block of one incarnation of a pipeline.
pub struct Shared {
    pub clock: Clock,
    pub alignment: Alignment,
    current: AtomicU64,
    barrier: Mutex<Option<Arc<Barrier>>>,
    pub paused: AtomicBool,
    /// Workers end as soon as they see it, whatever their tasks hold.
    pub abandoned: AtomicBool,
    /// Source partitions that have ended.
    pub ended: AtomicUsize,
    rows: AtomicU64,
    bytes: AtomicU64,
    pub state_budget: StateBudget,
    wakes: Vec<Wake>,
    events: Sender<TaskEvent>,
}

impl Shared {
    pub fn new(
        wakes: Vec<Wake>,
        events: Sender<TaskEvent>,
        clock: Clock,
        state_budget: StateBudget,
        partitions: usize,
    ) -> Self {
        Self {
            clock,
            alignment: Alignment::new(partitions),
            current: AtomicU64::new(0),
            barrier: Mutex::new(None),
            paused: AtomicBool::new(false),
            abandoned: AtomicBool::new(false),
            ended: AtomicUsize::new(0),
            rows: AtomicU64::new(0),
            bytes: AtomicU64::new(0),
            state_budget,
            wakes,
            events,
        }
    }

    pub fn wake_all(&self) {
        self.wakes.iter().for_each(Wake::wake);
    }

    pub fn inject(&self, barrier: Barrier) {
        let id = barrier.id;
        *self.barrier.lock().unwrap_or_else(PoisonError::into_inner) = Some(Arc::new(barrier));
        self.current.store(id, Ordering::Release);
        self.wake_all();
    }

    /// The barrier to pass now, for a source task that has passed `passed`.
    pub fn barrier_after(&self, passed: u64) -> Option<Arc<Barrier>> {
        if self.current.load(Ordering::Acquire) == passed {
            return None;
        }
        self.barrier.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub fn set_paused(&self, paused: bool) {
        self.paused.store(paused, Ordering::Release);
        if !paused {
            self.wake_all();
        }
    }

    pub fn abandon(&self) {
        self.abandoned.store(true, Ordering::Release);
        self.wake_all();
    }

    /// Notes work that the open epoch must hold.
    pub fn progressed(&self, rows: u64, bytes: u64) {
        self.rows.fetch_add(rows, Ordering::Relaxed);
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    /// Rows and bytes since the last call.
    pub fn take_progress(&self) -> (u64, u64) {
        (self.rows.swap(0, Ordering::Relaxed), self.bytes.swap(0, Ordering::Relaxed))
    }

    pub fn tell(&self, event: TaskEvent) {
        // The coordinator outlives the workers; when it is gone nobody needs to know.
        let _ = self.events.send(event);
    }
}
