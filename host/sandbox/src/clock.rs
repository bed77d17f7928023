//! The time that a call has used: the CPU time of its thread, so that a host that is busy elsewhere does not
//! make a plugin slow.
//!
//! Invariant: a plugin is interrupted only after its thread spent the limit in it, or after the wall-clock bound
//! ([`WALL_TIME_FACTOR`] limits, at least [`MIN_WALL_TIME`]). A call that ends within its first tick reads no clock
//! at all; the time up to that tick is the plugin's gain.

use std::time::{Duration, Instant};

use crate::engine::TICK;
use crate::limits::{MIN_WALL_TIME, WALL_TIME_FACTOR};

/// CPU time of the calling thread.
#[cfg(unix)]
pub fn thread_cpu_time() -> Duration {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `time` is a valid timespec that the call fills.
    let status = unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &raw mut time) };
    assert_eq!(status, 0, "every thread has a CPU clock");
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

/// What to do when a tick finds the call still running.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Look again after so many ticks.
    GoOn(u64),
    Expired,
}

/// The deadline of one call. It is told at ticks what the clocks say and reads none itself.
#[derive(Debug)]
pub(crate) struct Deadline {
    limit: Duration,
    first_tick: Option<(Duration, Instant)>,
    expired: bool,
}

impl Deadline {
    pub(crate) fn new(limit: Duration) -> Self {
        Self { limit, first_tick: None, expired: false }
    }

    pub(crate) fn limit(&self) -> Duration {
        self.limit
    }

    pub(crate) fn expired(&self) -> bool {
        self.expired
    }

    fn wall_bound(&self) -> Duration {
        (self.limit * WALL_TIME_FACTOR).max(MIN_WALL_TIME)
    }

    /// The host worked or waited for the plugin: not its time.
    pub(crate) fn pause(&mut self, cpu: Duration, wall: Duration) {
        // Before the first tick nothing counts yet.
        if let Some((first_cpu, first)) = &mut self.first_tick {
            *first_cpu += cpu;
            *first += wall;
        }
    }

    pub(crate) fn tick(&mut self, cpu: Duration, now: Instant) -> Verdict {
        let (first_cpu, first) = *self.first_tick.get_or_insert((cpu, now));
        let used = cpu.saturating_sub(first_cpu);
        let elapsed = now.saturating_duration_since(first);
        if used >= self.limit || elapsed >= self.wall_bound() {
            self.expired = true;
            return Verdict::Expired;
        }
        let left = (self.limit - used).as_micros().div_ceil(TICK.as_micros());
        Verdict::GoOn(u64::try_from(left).unwrap_or(u64::MAX).max(1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn only_cpu_time_counts_towards_the_limit() {
        let start = Instant::now();
        let mut deadline = Deadline::new(100 * MS);
        assert_eq!(deadline.tick(7 * MS, start), Verdict::GoOn(20));
        assert_eq!(deadline.tick(8 * MS, start + 500 * MS), Verdict::GoOn(20));
        assert_eq!(deadline.tick(97 * MS, start + 600 * MS), Verdict::GoOn(2));
        assert_eq!(deadline.tick(107 * MS, start + 610 * MS), Verdict::Expired);
        assert!(deadline.expired());
    }

    #[test]
    fn a_thread_that_never_runs_ends_at_the_wall_clock_bound() {
        let start = Instant::now();
        let mut deadline = Deadline::new(10 * MS);
        assert_eq!(deadline.tick(Duration::ZERO, start), Verdict::GoOn(2));
        assert_eq!(deadline.tick(Duration::ZERO, start + MIN_WALL_TIME - MS), Verdict::GoOn(2));
        assert_eq!(deadline.tick(Duration::ZERO, start + MIN_WALL_TIME), Verdict::Expired);
        let mut slow = Deadline::new(1000 * MS);
        assert_eq!(slow.tick(Duration::ZERO, start), Verdict::GoOn(200));
        assert_eq!(slow.tick(Duration::ZERO, start + MIN_WALL_TIME), Verdict::GoOn(200));
        assert_eq!(slow.tick(Duration::ZERO, start + 20 * MIN_WALL_TIME / 10), Verdict::Expired);
    }

    #[test]
    fn what_the_host_does_meanwhile_does_not_count() {
        let start = Instant::now();
        let mut deadline = Deadline::new(100 * MS);
        deadline.pause(Duration::ZERO, 3600 * 1000 * MS);
        assert_eq!(deadline.tick(10 * MS, start), Verdict::GoOn(20));
        deadline.pause(500 * MS, 2 * MIN_WALL_TIME);
        assert_eq!(deadline.tick(515 * MS, start + 2 * MIN_WALL_TIME + 5 * MS), Verdict::GoOn(19));
        assert_eq!(deadline.tick(610 * MS, start + 2 * MIN_WALL_TIME + 100 * MS), Verdict::Expired);
    }

    #[test]
    fn the_thread_clock_counts_work() {
        let before = thread_cpu_time();
        let mut spent = 0u64;
        while thread_cpu_time() == before {
            spent = std::hint::black_box(spent + 1);
        }
        assert!(thread_cpu_time() > before);
    }
}
