//! Ends the process when a call into librdkafka's transactions never returns.
//!
//! Such calls take a time-out, but known faults make them hang in spite of it; they cannot be cancelled, and a sink
//! that hangs would hold every later epoch. Ending is safe: what was durable is exposed after the restart.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

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
    armed: Option<(Instant, &'static str)>,
    closed: bool,
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
        self.shared.lock().armed = Some((Instant::now() + limit, call));
        self.shared.changed.notify_one();
        let value = run();
        self.shared.lock().armed = None;
        value
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Watch> {
        self.watch.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The call that expired, or none when the watchdog was closed.
    fn wait(&self) -> Option<&'static str> {
        let mut watch = self.lock();
        while !watch.closed {
            watch = match watch.armed {
                None => self.changed.wait(watch).unwrap_or_else(PoisonError::into_inner),
                Some((deadline, call)) => {
                    let left = deadline.saturating_duration_since(Instant::now());
                    if left.is_zero() {
                        return Some(call);
                    }
                    self.changed.wait_timeout(watch, left).unwrap_or_else(PoisonError::into_inner).0
                }
            };
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
