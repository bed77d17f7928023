//! How long the phases of epochs take, since the process started: sealing from the barrier's start to its last part, the
//! write until it is durable, the exposure in each sink from then on.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

/// Upper bounds in milliseconds; what takes longer is counted behind the last.
pub const BOUNDS_MS: [u64; 19] = [1, 2, 3, 5, 7, 10, 15, 20, 30, 50, 70, 100, 150, 200, 300, 500, 1000, 2000, 5000];

/// Epochs whose start is remembered: a sink further behind is not timed.
const REMEMBERED: usize = 256;

/// Durations of one phase.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PhaseTimes {
    pub sum_us: u64,
    /// By [`BOUNDS_MS`], and one more.
    pub counts: Vec<u64>,
}

impl PhaseTimes {
    fn add(&mut self, took: Duration) {
        self.sum_us += took.as_micros() as u64;
        self.counts.resize(BOUNDS_MS.len() + 1, 0);
        let bucket = BOUNDS_MS.partition_point(|bound| u128::from(*bound) * 1000 < took.as_micros());
        self.counts[bucket] += 1;
    }
}

/// Marks of epochs under way.
#[derive(Debug, Default)]
pub struct EpochTimes {
    /// By barrier.
    injected: BTreeMap<u64, Instant>,
    sealed: BTreeMap<u64, Instant>,
    durable: BTreeMap<u64, Instant>,
    phases: BTreeMap<&'static str, PhaseTimes>,
}

impl EpochTimes {
    pub fn phases(&self) -> BTreeMap<String, PhaseTimes> {
        self.phases.iter().map(|(phase, times)| ((*phase).to_owned(), times.clone())).collect()
    }

    pub fn inject(&mut self, barrier: u64) {
        remember(&mut self.injected, barrier);
    }

    /// A barrier through which nothing happened makes no epoch: its mark is then overtaken and forgotten.
    pub fn seal(&mut self, barrier: u64, epoch: u64) {
        let began = self.injected.remove(&barrier);
        self.add("seal", began);
        remember(&mut self.sealed, epoch);
    }

    pub fn durable(&mut self, epoch: u64) {
        let began = self.sealed.remove(&epoch);
        self.add("durable", began);
        remember(&mut self.durable, epoch);
    }

    /// To be called once for each sink and epoch that it made visible.
    pub fn expose(&mut self, epoch: u64) {
        self.add("expose", self.durable.get(&epoch).copied());
    }

    fn add(&mut self, phase: &'static str, began: Option<Instant>) {
        if let Some(began) = began {
            self.phases.entry(phase).or_default().add(began.elapsed());
        }
    }
}

fn remember(marks: &mut BTreeMap<u64, Instant>, number: u64) {
    marks.insert(number, Instant::now());
    if marks.len() > REMEMBERED {
        marks.pop_first();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duration_is_counted_under_the_first_bound_that_holds_it() {
        let mut times = PhaseTimes::default();
        for us in [0, 1000, 1001, 5_000_000, 5_000_001] {
            times.add(Duration::from_micros(us));
        }
        assert_eq!(times.sum_us, 10_002_002);
        let counted: Vec<(usize, u64)> =
            times.counts.iter().copied().enumerate().filter(|(_, count)| *count > 0).collect();
        assert_eq!(counted, [(0, 2), (1, 1), (18, 1), (19, 1)]);
    }

    #[test]
    fn each_phase_is_counted_once_an_epoch_and_exposure_once_a_sink() {
        let mut times = EpochTimes::default();
        times.inject(7);
        times.seal(7, 1);
        times.durable(1);
        times.expose(1);
        times.expose(1);
        times.expose(2);
        let counts = |phase: &str| times.phases()[phase].counts.iter().sum::<u64>();
        assert_eq!(["seal", "durable", "expose"].map(counts), [1, 1, 2]);
    }

    #[test]
    fn marks_of_barriers_that_made_no_epoch_are_forgotten() {
        let mut times = EpochTimes::default();
        (0..10_000).for_each(|barrier| times.inject(barrier));
        assert_eq!(times.injected.len(), REMEMBERED);
    }
}
