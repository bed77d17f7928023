//! What a keyed step shows: how far it is in time, who it waits for, and the size of its state.

use std::ops::Range;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use crossbeam_channel::{Sender, bounded};
use serde::{Deserialize, Serialize};
use weir_operators::{KeyEncoder, KeyedOperator};
use weir_stream::time::NO_WATERMARK;

use super::StatusBoard;
use crate::held_key::{KeyQuestion, KeyReport};

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
    /// Of the step's keys, as rows of its first input have them.
    pub keys: KeyEncoder,
    /// The key groups of each task, and where questions about them go.
    pub owners: Vec<(Range<u16>, Sender<KeyQuestion>)>,
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

impl StatusBoard {
    /// A keyed step's place in time, if there is such a step.
    pub fn stage(&self, step: &str) -> Option<Stage> {
        let stages = self.stages.lock().unwrap_or_else(PoisonError::into_inner);
        stages.iter().find(|stage| *stage.step == *step).cloned()
    }
}

impl Stage {
    /// Asks the task that owns a key what it holds for it.
    ///
    /// # Errors
    /// For people: a text that is no such key; a task that does not answer.
    pub fn ask(&self, texts: &[String], patience: Duration) -> Result<KeyReport, String> {
        let keys = self.keys.of_text(texts)?;
        let key_group = keys.key_groups()[0];
        let owner = self.owners.iter().position(|(key_groups, _)| key_groups.contains(&key_group));
        let owner = owner.ok_or("no task owns the key; the pipeline is starting")?;
        let (reply, answer) = bounded(1);
        let question = KeyQuestion { key_group, key: keys.key(0).to_vec(), reply };
        self.owners[owner].1.send(question).map_err(|_| "the task that owns the key has ended")?;
        let entries =
            answer.recv_timeout(patience).map_err(|_| "the task that owns the key has ended, or is busy")??;
        let watermark_us = self.tasks[owner].watermark_us.load(Relaxed);
        Ok(KeyReport {
            step: self.step.to_string(),
            key: texts.to_vec(),
            key_group,
            watermark_us: Some(watermark_us).filter(|watermark| *watermark != NO_WATERMARK),
            entries: entries.into_iter().map(Into::into).collect(),
        })
    }

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
