//! What a keyed step shows: how far it is in time, who it waits for, and the size of its state.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering::Relaxed};

use serde::{Deserialize, Serialize};
use weir_operators::KeyedOperator;
use weir_stream::time::NO_WATERMARK;

/// Nothing fires by itself.
const NEVER: i64 = i64::MAX;

/// Live state of one keyed task. Its size is that of the last barrier.
#[derive(Debug)]
pub struct StageMeter {
    watermark_us: AtomicI64,
    keys: AtomicU64,
    bytes: AtomicU64,
    panes: AtomicU64,
    next_fire_us: AtomicI64,
}

impl StageMeter {
    pub fn new(watermark_us: i64) -> Self {
        let zero = || AtomicU64::new(0);
        let (watermark_us, next_fire_us) = (AtomicI64::new(watermark_us), AtomicI64::new(NEVER));
        Self { watermark_us, keys: zero(), bytes: zero(), panes: zero(), next_fire_us }
    }

    pub fn set_watermark(&self, watermark_us: i64) {
        self.watermark_us.store(watermark_us, Relaxed);
    }

    pub fn look(&self, operator: &dyn KeyedOperator) {
        self.keys.store(operator.keys() as u64, Relaxed);
        self.bytes.store(operator.byte_size() as u64, Relaxed);
        let windows = operator.windows().unwrap_or_default();
        self.panes.store(windows.panes as u64, Relaxed);
        self.next_fire_us.store(windows.next_fire_us.unwrap_or(NEVER), Relaxed);
    }
}

/// One keyed step of the plan and its tasks.
#[derive(Debug, Clone)]
pub struct Stage {
    pub step: Arc<str>,
    /// Sources whose partitions it hears of directly.
    pub sources: Vec<Arc<str>>,
    /// Keyed steps before it.
    pub stages: Vec<Arc<str>>,
    /// See [`crate::plan::PlannedStep::put_in`].
    pub put_in: Option<String>,
    pub tasks: Vec<Arc<StageMeter>>,
}

/// A keyed step at one moment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StageStatus {
    /// The least of its tasks'.
    pub watermark_us: Option<i64>,
    pub sources: Vec<String>,
    pub stages: Vec<String>,
    /// Why it is there, of a step that is not in the manifest.
    pub put_in: Option<String>,
    pub keys: u64,
    pub bytes: u64,
    pub panes: u64,
    /// The watermark at which the next window fires.
    pub next_fire_us: Option<i64>,
}

impl Stage {
    pub fn status(&self) -> StageStatus {
        let least = |of: fn(&StageMeter) -> &AtomicI64| self.tasks.iter().map(|task| of(task).load(Relaxed)).min();
        let sum = |of: fn(&StageMeter) -> &AtomicU64| self.tasks.iter().map(|task| of(task).load(Relaxed)).sum();
        let names = |names: &[Arc<str>]| names.iter().map(|name| name.to_string()).collect();
        StageStatus {
            watermark_us: least(|task| &task.watermark_us).filter(|watermark| *watermark != NO_WATERMARK),
            sources: names(&self.sources),
            stages: names(&self.stages),
            put_in: self.put_in.clone(),
            keys: sum(|task| &task.keys),
            bytes: sum(|task| &task.bytes),
            panes: sum(|task| &task.panes),
            next_fire_us: least(|task| &task.next_fire_us).filter(|next| *next != NEVER),
        }
    }
}
