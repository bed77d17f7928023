//! The one door through which time enters the connectors that pace or roll: a monotonic clock that tests replace.

use std::sync::Arc;
use std::time::{Duration, Instant};

/// Time since some fixed moment, never going back.
pub type Clock = Arc<dyn Fn() -> Duration + Send + Sync>;

/// The process's own monotonic clock.
pub fn monotonic() -> Clock {
    let start = Instant::now();
    Arc::new(move || start.elapsed())
}
