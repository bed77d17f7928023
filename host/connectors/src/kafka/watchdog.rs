//! Ends the process when a call into librdkafka's transactions never returns.
//!
//! Such calls take a time-out, but known faults make them hang in spite of it; they cannot be cancelled, and a sink
//! that hangs would hold every later epoch. Ending is safe: what was durable is exposed after the restart.
//!
//! Time in which the whole process was stopped is not the call's: one that was under way when the process was stopped has
//! as much time left when it wakes, less a second, and can say itself that another instance has taken over.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// The longest wait, and so the most that a stop of the process takes from a call's time.
const SLICE: Duration = Duration::from_secs(1);

/// Watches one call at a time.
pub struct Watchdog {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

struct Shared {
    watch: Mutex<Watch>,
    changed: Condvar,
}

#[derive(Default)]
struct Watch {
    armed: Option<Armed>,
    /// Calls so far.
    calls: u64,
    closed: bool,
}

#[derive(Clone, Copy)]
struct Armed {
    /// Which call it is.
    number: u64,
    call: &'static str,
    left: Duration,
}

impl Watchdog {
    /// `expired` is called, once, on the watchdog's thread with the name of the call that did not return.
    ///
    /// # Errors
    /// When no thread can be started.
    pub fn new(expired: impl FnOnce(&'static str) + Send + 'static) -> std::io::Result<Self> {
        let shared = Arc::new(Shared { watch: Mutex::default(), changed: Condvar::new() });
        let watched = Arc::clone(&shared);
        let thread = std::thread::Builder::new().name("kafka-watchdog".into());
        let thread = thread.spawn(move || {
            if let Some(call) = watched.wait() {
                expired(call);
            }
        })?;
        Ok(Self { shared, thread: Some(thread) })
    }

    /// A watchdog that aborts the process.
    ///
    /// # Errors
    /// As [`Watchdog::new`].
    pub fn aborting() -> std::io::Result<Self> {
        Self::new(|call| {
            tracing::error!(target: "weir::kafka", "`{call}` did not return in time: ending the process");
            std::process::abort()
        })
    }

    /// Runs a call that must return within `limit`.
    pub fn watch<T>(&self, call: &'static str, limit: Duration, run: impl FnOnce() -> T) -> T {
        self.shared.arm(call, limit);
        let value = run();
        self.shared.lock().armed = None;
        value
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Watch> {
        self.watch.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn arm(&self, call: &'static str, limit: Duration) {
        let mut watch = self.lock();
        watch.calls += 1;
        watch.armed = Some(Armed { number: watch.calls, call, left: limit });
        self.changed.notify_one();
    }

    /// The call that expired, or none when the watchdog was closed.
    fn wait(&self) -> Option<&'static str> {
        let mut watch = self.lock();
        while !watch.closed {
            let Some(Armed { number, call, left }) = watch.armed else {
                watch = self.changed.wait(watch).unwrap_or_else(PoisonError::into_inner);
                continue;
            };
            if left.is_zero() {
                return Some(call);
            }
            let began = Instant::now();
            watch = self.changed.wait_timeout(watch, left.min(SLICE)).unwrap_or_else(PoisonError::into_inner).0;
            // Another call may have begun meanwhile.
            if let Some(armed) = watch.armed.as_mut().filter(|armed| armed.number == number) {
                armed.left = armed.left.saturating_sub(began.elapsed().min(SLICE));
            }
        }
        None
    }
}

impl Drop for Watchdog {
    fn drop(&mut self) {
        self.shared.lock().closed = true;
        self.shared.changed.notify_one();
        if let Some(thread) = self.thread.take() {
            // A panic there was already printed.
            let _ = thread.join();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    #[test]
    fn a_call_that_does_not_return_is_named() {
        let (sender, receiver) = mpsc::channel();
        let expired = mpsc::Sender::clone(&sender);
        let watchdog = Watchdog::new(move |call| expired.send(call).unwrap()).unwrap();
        watchdog.watch("quick", Duration::from_secs(60), || ());
        let named =
            watchdog.watch("commit", Duration::from_millis(1), || receiver.recv_timeout(Duration::from_secs(10)));
        assert_eq!(named, Ok("commit"));
    }

    #[test]
    fn a_call_that_returned_is_forgotten() {
        let (sender, receiver) = mpsc::channel();
        let watchdog = Watchdog::new(move |call| sender.send(call).unwrap()).unwrap();
        watchdog.watch("commit", Duration::from_millis(20), || ());
        assert_eq!(receiver.recv_timeout(Duration::from_millis(100)), Err(mpsc::RecvTimeoutError::Timeout));
    }
}
