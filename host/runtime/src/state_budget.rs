//! How much keyed state all tasks hold in memory, and what is done when it comes near `state.memory`: cold state is
//! written away, and when that does not help the sources pause and the pipeline says so.
//!
//! Invariant: nothing here changes what a step answers, only where its state is and whether more is read.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use weir_operators::KeyedOperator;
use weir_state::Spill;

use crate::status::StepMeter;

/// State is measured no more often than this: that looks at every table.
const MEASURE_EVERY_US: i64 = 200_000;

/// Eviction begins at seven eighths of the budget and ends at six.
const BEGIN_EIGHTHS: u64 = 7;
const END_EIGHTHS: u64 = 6;

/// The budget of one incarnation.
#[derive(Debug)]
pub struct StateBudget {
    limit: u64,
    held: AtomicU64,
    spill: Spill,
    /// For tests: everything that can be written away is, at every barrier.
    evict_always: bool,
}

impl StateBudget {
    pub fn new(limit: u64, spill: Spill, evict_always: bool) -> Self {
        Self { limit, held: AtomicU64::new(0), spill, evict_always }
    }

    pub fn spill(&self) -> &Spill {
        &self.spill
    }

    /// What one of `parts` equal parts of the state may hold while it is loaded.
    pub fn share(&self, parts: u16) -> u64 {
        if self.evict_always { 0 } else { self.limit / u64::from(parts.max(1)) }
    }

    pub fn is_exceeded(&self) -> bool {
        self.held.load(Relaxed) > self.limit
    }

    /// Why the sources pause.
    pub fn message(&self) -> String {
        let (held, limit) = (mib(self.held.load(Relaxed)), mib(self.limit));
        format!(
            "{held} MiB of state in memory, {limit} MiB are allowed; nothing more is read: raise state.memory and start \
             again, or keep less (ttl, lateness, window)"
        )
    }

    /// Bytes that a task with `mine` of them in memory should write away now; 0 for none.
    fn to_evict(&self, mine: u64) -> usize {
        let held = self.held.load(Relaxed);
        if self.evict_always {
            return usize::MAX;
        }
        if held <= self.limit / 8 * BEGIN_EIGHTHS {
            return 0;
        }
        let excess = held - (self.limit / 8 * END_EIGHTHS).min(held);
        usize::try_from(u128::from(excess) * u128::from(mine) / u128::from(held.max(1))).unwrap_or(usize::MAX)
    }

    fn replace(&self, before: u64, now: u64) {
        self.held.fetch_add(now, Relaxed);
        self.held.fetch_sub(before, Relaxed);
    }
}

fn mib(bytes: u64) -> u64 {
    bytes.div_ceil(1 << 20)
}

/// Keyed state of one step or task.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct StateSize {
    /// A key counts once per window or other bucket of time.
    pub keys: u64,
    /// Bytes in memory.
    pub bytes: u64,
    /// Bytes that were written away for lack of memory.
    pub cold_bytes: u64,
}

impl StateSize {
    fn of(operator: &dyn KeyedOperator) -> Self {
        Self { keys: operator.keys() as u64, bytes: operator.byte_size() as u64, cold_bytes: operator.cold_bytes() }
    }
}

/// What one task holds, as it last told.
#[derive(Debug)]
pub struct StateGauge {
    step: Arc<str>,
    meter: Arc<StepMeter>,
    told: StateSize,
    next_us: i64,
    failing: bool,
}

impl StateGauge {
    pub fn new(step: Arc<str>, meter: Arc<StepMeter>) -> Self {
        Self { step, meter, told: StateSize::default(), next_us: i64::MIN, failing: false }
    }

    /// Measures, and writes cold state away where there is too much. To be called right after a seal.
    pub fn settle(&mut self, operator: &mut dyn KeyedOperator, budget: &StateBudget, now_us: i64) {
        if now_us < self.next_us && !budget.evict_always {
            return;
        }
        self.next_us = now_us.saturating_add(MEASURE_EVERY_US);
        self.tell(StateSize::of(operator), budget);
        let wanted = budget.to_evict(self.told.bytes);
        if wanted == 0 {
            return;
        }
        match operator.evict(wanted, budget.spill()) {
            Ok(_) => self.failing = false,
            Err(error) => {
                if !std::mem::replace(&mut self.failing, true) {
                    tracing::warn!("step `{}`: its state cannot be written away: {error}", self.step);
                }
            }
        }
        self.tell(StateSize::of(operator), budget);
    }

    fn tell(&mut self, now: StateSize, budget: &StateBudget) {
        budget.replace(self.told.bytes, now.bytes);
        self.meter.replace_state(self.told, now);
        self.told = now;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn budget(limit: u64, held: u64) -> StateBudget {
        let disk: Arc<dyn weir_state::Disk> = Arc::new(weir_state::sim::SimDisk::new());
        let budget = StateBudget::new(limit, Spill::new(disk, "/state".into()), false);
        budget.replace(0, held);
        budget
    }

    #[test]
    fn eviction_begins_before_the_budget_is_reached_and_each_task_does_its_part() {
        assert_eq!(budget(800, 700).to_evict(700), 0);
        let near = budget(800, 720);
        assert_eq!((near.to_evict(720), near.to_evict(360), near.to_evict(0)), (120, 60, 0));
        assert!(!near.is_exceeded() && !budget(800, 800).is_exceeded() && budget(800, 801).is_exceeded());
    }

    #[test]
    fn the_message_names_both_sizes_and_the_next_act() {
        let message = budget(3 << 20, 5 << 20).message();
        assert!(
            message.starts_with("5 MiB of state in memory, 3 MiB are allowed; nothing more is read: raise"),
            "{message}"
        );
    }
}
