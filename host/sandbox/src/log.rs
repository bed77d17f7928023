//! Lines that plugins write: cut, escaped, limited in rate, then handed to `tracing` and to the host's sink.
//!
//! Invariant: a flood never stops a plugin and never costs more than its limit; what is dropped is counted, and
//! the count is told with the next line that passes. The limit is shared by all instances of a step, so that a
//! trap does not refill it.

use std::fmt::Write as _;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

pub use crate::wire::LogLevel;

/// Bytes that a line costs besides its text, so that empty lines are limited too.
const LINE_OVERHEAD_BYTES: usize = 64;

/// One line of a plugin, safe to print.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogLine<'a> {
    pub plugin: &'a str,
    pub step: &'a str,
    pub level: LogLevel,
    /// One line, control characters escaped.
    pub text: &'a str,
    /// Lines that were dropped since the line before this one.
    pub dropped: u64,
}

/// Receives the lines that passed the limit; called on the thread that runs the plugin, so it must not block.
pub type LogSink = Arc<dyn Fn(&LogLine<'_>) + Send + Sync>;

/// Where the instances of one plugin in one step log to.
pub struct PluginLog {
    plugin: Arc<str>,
    step: Arc<str>,
    line_bytes: usize,
    sink: Option<LogSink>,
    bucket: Mutex<TokenBucket>,
    dropped: AtomicU64,
    dropped_untold: AtomicU64,
}

impl PluginLog {
    pub(crate) fn new(plugin: &str, step: &str, limits: &crate::Limits, sink: Option<LogSink>) -> Self {
        Self {
            plugin: plugin.into(),
            step: step.into(),
            line_bytes: limits.log_line_bytes,
            sink,
            bucket: Mutex::new(TokenBucket::new(limits.log_bytes_per_s, Instant::now())),
            dropped: AtomicU64::new(0),
            dropped_untold: AtomicU64::new(0),
        }
    }

    /// Lines dropped for their rate so far.
    pub fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }

    pub(crate) fn write(&self, level: LogLevel, message: &str) {
        let cost = message.len().min(self.line_bytes) + LINE_OVERHEAD_BYTES;
        let passes = self.bucket.lock().unwrap_or_else(PoisonError::into_inner).take(cost, Instant::now());
        if !passes {
            self.dropped.fetch_add(1, Ordering::Relaxed);
            self.dropped_untold.fetch_add(1, Ordering::Relaxed);
            return;
        }
        let text = self.printable(message);
        let dropped = self.dropped_untold.swap(0, Ordering::Relaxed);
        let line = LogLine { plugin: &self.plugin, step: &self.step, level, text: &text, dropped };
        trace(&line);
        if let Some(sink) = &self.sink {
            sink(&line);
        }
    }

    /// The message as one printable line within the limit.
    pub(crate) fn printable(&self, message: &str) -> String {
        let cut = message.len() > self.line_bytes;
        let kept = if cut { &message[..message.floor_char_boundary(self.line_bytes)] } else { message };
        let mut line = String::with_capacity(kept.len() + 3);
        for character in kept.chars() {
            if character.is_control() || is_reordering(character) {
                let _ = write!(line, "{}", character.escape_default());
            } else {
                line.push(character);
            }
        }
        if cut {
            line.push_str("...");
        }
        line
    }
}

/// Characters that change the order in which a terminal shows the ones around them.
fn is_reordering(character: char) -> bool {
    matches!(character, '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{200e}' | '\u{200f}')
}

fn trace(line: &LogLine<'_>) {
    let LogLine { plugin, step, text, dropped, .. } = *line;
    match line.level {
        LogLevel::Trace => tracing::trace!(target: "weir::plugin", plugin, step, dropped, "{text}"),
        LogLevel::Debug => tracing::debug!(target: "weir::plugin", plugin, step, dropped, "{text}"),
        LogLevel::Info => tracing::info!(target: "weir::plugin", plugin, step, dropped, "{text}"),
        LogLevel::Warn => tracing::warn!(target: "weir::plugin", plugin, step, dropped, "{text}"),
        LogLevel::Error => tracing::error!(target: "weir::plugin", plugin, step, dropped, "{text}"),
    }
}

/// A token bucket that holds one second's worth. Reads no clock: the caller says what time it is.
#[derive(Debug)]
struct TokenBucket {
    bytes_per_s: f64,
    tokens: f64,
    filled: Instant,
}

impl TokenBucket {
    fn new(bytes_per_s: usize, now: Instant) -> Self {
        Self { bytes_per_s: bytes_per_s as f64, tokens: bytes_per_s as f64, filled: now }
    }

    fn take(&mut self, bytes: usize, now: Instant) -> bool {
        let elapsed = now.saturating_duration_since(self.filled).as_secs_f64();
        self.tokens = (self.tokens + elapsed * self.bytes_per_s).min(self.bytes_per_s);
        self.filled = now;
        // A line that is dearer than a full bucket passes when the bucket is full.
        let bytes = (bytes as f64).min(self.bytes_per_s);
        let passes = self.tokens >= bytes;
        if passes {
            self.tokens -= bytes;
        }
        passes
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::Limits;

    #[test]
    fn a_bucket_refills_with_time_and_never_over_its_size() {
        let start = Instant::now();
        let mut bucket = TokenBucket::new(1000, start);
        assert!(bucket.take(600, start));
        assert!(!bucket.take(600, start));
        assert!(bucket.take(600, start + Duration::from_millis(200)));
        let later = start + Duration::from_secs(60);
        assert!(bucket.take(1000, later));
        assert!(!bucket.take(1, later));
    }

    #[test]
    fn a_line_is_cut_at_a_character_and_cannot_forge_another_line() {
        let limits = Limits { log_line_bytes: 8, ..Limits::default() };
        let log = PluginLog::new("p", "s", &limits, None);
        assert_eq!(log.printable("a\nb\x1b[0m"), "a\\nb\\u{1b}[0m");
        assert_eq!(log.printable("1234567\u{e9}"), "1234567...");
        assert_eq!(log.printable("\u{202e}evil"), "\\u{202e}evil");
    }

    #[test]
    fn a_flood_is_dropped_counted_and_told_with_the_next_line() {
        let told = Arc::new(Mutex::new(Vec::new()));
        let sink = Arc::clone(&told);
        let limits = Limits { log_bytes_per_s: 200, ..Limits::default() };
        let log =
            PluginLog::new("p", "s", &limits, Some(Arc::new(move |line| sink.lock().unwrap().push(line.dropped))));
        (0..100).for_each(|_| log.write(LogLevel::Info, "line"));
        assert!(log.dropped() >= 90, "{}", log.dropped());
        let dropped = log.dropped();
        let deadline = Instant::now() + Duration::from_secs(10);
        while told.lock().unwrap().iter().sum::<u64>() < dropped && Instant::now() < deadline {
            log.write(LogLevel::Info, "line");
            std::thread::yield_now();
        }
        assert!(told.lock().unwrap().iter().sum::<u64>() >= dropped);
    }
}
