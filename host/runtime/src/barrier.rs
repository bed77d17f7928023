//! The marker that runs through all tasks between two epochs, and what tasks hand in when they pass it.

use std::sync::{Arc, Mutex, PoisonError};

use weir_operators::NextFunction;
use weir_state::StateDelta;
use weir_stream::time::InputTime;
use weir_stream::{DeadLetter, Position, SinkData, Transform, TransformFactory};

use crate::cut::Cut;
use crate::function::{Function, Instance};
use crate::reject_watch::Judged;

/// One marker. Everything before it belongs to the epoch that it seals, everything behind to the next.
#[derive(Debug)]
pub struct Barrier {
    pub id: u64,
    /// No rows follow: tasks end behind it.
    pub last: bool,
    /// The key group whose whole state goes into the parts, for its next snapshot.
    pub snapshot: Option<u16>,
    /// Plugins that change behind this marker.
    pub swaps: Vec<Arc<SwapOrder>>,
    /// Steps whose version is watched behind this marker, those of `swaps` among them, and what the version before made
    /// of its newest rows.
    pub watched: Vec<(Arc<str>, Judged)>,
    /// How far event time was once before this marker, by keyed step, where a run makes again what targets hold.
    pub reach: Option<Arc<Cut>>,
}

impl Barrier {
    /// The version that a step changes to.
    pub fn order(&self, step: &str) -> Option<&Arc<SwapOrder>> {
        self.swaps.iter().find(|order| *order.step == *step)
    }

    /// The watermark that a keyed step had come to by then.
    pub fn reach(&self, step: &str) -> Option<i64> {
        self.reach.as_ref()?.stages.get(step).copied()
    }

    /// What the version before is measured by, if the step's version is watched.
    pub fn watched(&self, step: &str) -> Option<Judged> {
        self.watched.iter().find(|(watched, _)| **watched == *step).map(|(_, before)| *before)
    }
}

/// A checked plugin on its way into the running tasks: one instance made ahead for each.
pub struct SwapOrder {
    /// Step id.
    pub step: Arc<str>,
    pub function: Function,
    instances: Mutex<Vec<Instance>>,
}

impl std::fmt::Debug for SwapOrder {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "SwapOrder({} -> {})", self.step, self.function.digest())
    }
}

impl SwapOrder {
    pub fn new(step: Arc<str>, function: Function, instances: Vec<Instance>) -> Self {
        Self { step, function, instances: Mutex::new(instances) }
    }

    /// An instance made ahead, if one is left.
    fn take_instance(&self) -> Option<Instance> {
        self.instances.lock().unwrap_or_else(PoisonError::into_inner).pop()
    }

    /// The version and an instance for a step without state.
    pub fn rows(&self) -> Option<(&Arc<dyn TransformFactory>, Option<Box<dyn Transform>>)> {
        let Function::Rows(factory) = &self.function else { return None };
        let instance = self.take_instance().and_then(|instance| match instance {
            Instance::Rows(instance) => Some(instance),
            Instance::Keyed(_) | Instance::Aggregate(_) => None,
        });
        Some((factory, instance))
    }

    /// The version and an instance for a keyed step.
    pub fn keyed(&self) -> Option<NextFunction> {
        let instance = self.take_instance();
        self.function.in_keyed_step(instance)
    }
}

/// Where a source partition stands at a barrier.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PartitionPosition {
    pub source: Arc<str>,
    pub partition: u32,
    /// `None` while nothing was ever read.
    pub position: Option<Position>,
    pub time: InputTime,
    /// Largest event time seen, for the far-future rule; `i64::MIN` for none.
    pub max_event_time_us: i64,
}

/// Rows counted between two barriers; sums go into the epoch's meta, so that they are exact across crashes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct StepCounts {
    pub rows_in: u64,
    pub rows_out: u64,
    pub rejected: u64,
    pub late: u64,
}

impl StepCounts {
    pub fn add(&mut self, other: Self) {
        self.rows_in += other.rows_in;
        self.rows_out += other.rows_out;
        self.rejected += other.rejected;
        self.late += other.late;
    }

    pub fn is_zero(&self) -> bool {
        *self == Self::default()
    }
}

/// What one task hands in for one barrier.
#[derive(Debug, Default)]
pub struct TaskPart {
    /// Number of the task among all tasks of the pipeline.
    pub task: usize,
    pub position: Option<PartitionPosition>,
    /// (stage id, combined watermark) of a keyed task.
    pub stage_watermark: Option<(Arc<str>, i64)>,
    pub deltas: Vec<StateDelta>,
    /// The whole state of the barrier's snapshot key group, puts only.
    pub snapshot: Vec<StateDelta>,
    /// (sink number, rows for it).
    pub outputs: Vec<(usize, SinkData)>,
    pub dead_letters: Vec<DeadLetter>,
    /// (step id, counts since the last barrier).
    pub counts: Vec<(Arc<str>, StepCounts)>,
}
