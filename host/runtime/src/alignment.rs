//! How far apart source partitions are in event time, so that a fast one waits for the slow ones instead of filling the
//! memory of the steps behind.
//!
//! Only a partition that has records to read holds the others: what is read to its end, idle, ended or not yet looked at
//! cannot catch up, so nobody waits for it. The slowest of those that hold is never held itself, hence no deadlock.

use std::sync::atomic::{AtomicI64, Ordering};

/// What a partition says that holds nobody.
const HOLDS_NOBODY: i64 = i64::MAX;

/// The watermark of each source partition that others may have to wait for.
pub struct Alignment(Vec<AtomicI64>);

impl Alignment {
    pub fn new(partitions: usize) -> Self {
        Self((0..partitions).map(|_| AtomicI64::new(HOLDS_NOBODY)).collect())
    }

    /// `None`: nobody need wait for this partition.
    pub fn say(&self, partition: usize, watermark_us: Option<i64>) {
        self.0[partition].store(watermark_us.unwrap_or(HOLDS_NOBODY), Ordering::Relaxed);
    }

    /// Whether a partition at `watermark_us` is more than `limit_us` ahead of the slowest.
    pub fn is_ahead(&self, watermark_us: i64, limit_us: i64) -> bool {
        let slowest = self.0.iter().map(|watermark| watermark.load(Ordering::Relaxed)).min().unwrap_or(HOLDS_NOBODY);
        watermark_us > slowest.saturating_add(limit_us)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_partition_waits_beyond_the_limit_for_those_that_have_records_and_for_no_other() {
        let alignment = Alignment::new(3);
        assert!(!alignment.is_ahead(1_000, 10), "nobody has said anything");
        alignment.say(0, Some(1_000));
        alignment.say(1, Some(990));
        assert!(!alignment.is_ahead(1_000, 10), "just within the limit");
        alignment.say(1, Some(989));
        assert!(alignment.is_ahead(1_000, 10));
        assert!(!alignment.is_ahead(989, 10), "the slowest is never held");
        alignment.say(1, None);
        assert!(!alignment.is_ahead(1_000, 10), "who has nothing to read cannot catch up");
    }

    #[test]
    fn the_ends_of_time_do_not_overflow() {
        let alignment = Alignment::new(1);
        alignment.say(0, Some(i64::MIN));
        assert!(alignment.is_ahead(0, 10));
        assert!(!alignment.is_ahead(i64::MIN, 10));
        alignment.say(0, Some(i64::MAX - 1));
        assert!(!alignment.is_ahead(i64::MAX, 10));
    }
}
