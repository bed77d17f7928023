//! What a source partition shows: how far it is, in records and in time, and whether it holds others back.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering::Relaxed};

use serde::{Deserialize, Serialize};
use weir_stream::time::NO_WATERMARK;

/// Live state of one source partition.
#[derive(Debug)]
pub struct PartitionMeter {
    pub source: Arc<str>,
    pub partition: u32,
    pub watermark_us: AtomicI64,
    pub idle: AtomicBool,
    pub ended: AtomicBool,
    /// -1 while unknown.
    pub lag: AtomicI64,
    pub next_offset: AtomicI64,
    /// Since it was last found with records, or not read to its end.
    pub quiet_ms: AtomicU64,
    pub idle_after_ms: Option<u64>,
    /// It is ahead of slower partitions and not read.
    pub waits: AtomicBool,
}

impl PartitionMeter {
    pub fn new(source: Arc<str>, partition: u32, idle_after_ms: Option<u64>) -> Self {
        Self {
            source,
            idle_after_ms,
            partition,
            watermark_us: AtomicI64::new(NO_WATERMARK),
            idle: AtomicBool::new(false),
            ended: AtomicBool::new(false),
            lag: AtomicI64::new(-1),
            next_offset: AtomicI64::new(-1),
            quiet_ms: AtomicU64::new(0),
            waits: AtomicBool::new(false),
        }
    }

    pub fn status(&self) -> PartitionStatus {
        let known = |value: i64, unknown: i64| Some(value).filter(|value| *value != unknown);
        PartitionStatus {
            partition: self.partition,
            next_offset: known(self.next_offset.load(Relaxed), -1),
            watermark_us: known(self.watermark_us.load(Relaxed), NO_WATERMARK),
            idle: self.idle.load(Relaxed),
            ended: self.ended.load(Relaxed),
            lag: u64::try_from(self.lag.load(Relaxed)).ok(),
            quiet_ms: self.quiet_ms.load(Relaxed),
            idle_after_ms: self.idle_after_ms,
            waits: self.waits.load(Relaxed),
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PartitionStatus {
    pub partition: u32,
    pub next_offset: Option<i64>,
    pub watermark_us: Option<i64>,
    pub idle: bool,
    pub ended: bool,
    pub lag: Option<u64>,
    /// Since the last record; 0 while it is not read to its end.
    pub quiet_ms: u64,
    /// After so long it counts as idle.
    pub idle_after_ms: Option<u64>,
    /// It is further ahead than `alignment` lets it be.
    pub waits: bool,
}
