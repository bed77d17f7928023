//! The one door through which tasks look at time: the machine's clock, or one that stands still until a test moves it.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, Instant};

use weir_operators::transform::Monotonic;

/// The machine's time since now, whatever a test's clock says: for bounds on what really takes time.
pub fn monotonic() -> Monotonic {
    let start = Instant::now();
    Arc::new(move || start.elapsed().as_nanos() as u64)
}

/// CPU time of the thread that asks: a plugin is not slow because the machine is busy or a service lets it wait.
pub fn cpu_time() -> Monotonic {
    Arc::new(|| weir_sandbox::thread_cpu_time().as_nanos() as u64)
}

#[derive(Debug, Clone)]
pub enum Clock {
    Machine { start: Instant },
    Simulated(SimulatedClock),
}

impl Clock {
    pub fn machine() -> Self {
        Self::Machine { start: Instant::now() }
    }

    /// Microseconds since 1970.
    pub fn wall_us(&self) -> i64 {
        match self {
            Self::Machine { .. } => jiff::Timestamp::now().as_microsecond(),
            Self::Simulated(clock) => clock.now_us(),
        }
    }

    /// Since some fixed moment, never going back.
    pub fn monotonic(&self) -> Duration {
        match self {
            Self::Machine { start } => start.elapsed(),
            Self::Simulated(clock) => Duration::from_micros(clock.now_us().unsigned_abs()),
        }
    }
}

/// A clock that only a test moves; clones are handles to the same one. It begins after 1970.
#[derive(Debug, Clone)]
pub struct SimulatedClock(Arc<AtomicI64>);

impl SimulatedClock {
    pub fn at(wall_us: i64) -> Self {
        Self(Arc::new(AtomicI64::new(wall_us)))
    }

    pub fn now_us(&self) -> i64 {
        self.0.load(Ordering::Acquire)
    }

    pub fn advance(&self, us: i64) {
        self.0.fetch_add(us, Ordering::AcqRel);
    }
}
