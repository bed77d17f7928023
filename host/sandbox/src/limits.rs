//! Every limit of a plugin: its default, its hard maximum, and the one check that holds the two together.
//!
//! Invariant: [`Limits`] that passed [`Limits::validate`] are within their hard maxima; the engine is sized by
//! the maxima, never by a manifest. What enforces a limit is said at its field.

use std::time::Duration;

const MIB: usize = 1 << 20;

/// The most memory that a manifest may grant one instance: the engine's pool reserves slots of this size.
pub const MAX_MEMORY_BYTES: usize = 1 << 30;
/// The longest time that a manifest may grant one batch.
pub const MAX_TIME_PER_BATCH_MS: u64 = 5_000;
/// The most output bytes that a manifest may grant one batch.
pub const MAX_OUTPUT_BYTES: usize = 64 * MIB;
/// The most output rows that a manifest may grant one batch.
pub const MAX_OUTPUT_ROWS: usize = 4 << 20;
/// The largest component that a manifest may admit.
pub const MAX_COMPONENT_BYTES: usize = 64 * MIB;
/// The longest time that a manifest may grant the compiler.
pub const MAX_COMPILE_MS: u64 = 300_000;
/// The longest time that a manifest may grant instantiation, `describe` and `open`.
pub const MAX_SETUP_MS: u64 = 30_000;
/// The most log bytes a second that a manifest may grant.
pub const MAX_LOG_BYTES_PER_S: usize = 16 * MIB;
/// The longest log line that a manifest may grant.
pub const MAX_LOG_LINE_BYTES: usize = 64 << 10;

/// Stack of a plugin, host calls included: a recursion without end traps here.
pub const STACK_BYTES: usize = 512 << 10;
/// Elements of a plugin's function tables.
pub const TABLE_ELEMENTS: usize = 20_000;
/// Core instances, memories and tables of one plugin.
pub const CORE_INSTANCES: u32 = 32;
pub const MEMORIES: u32 = 4;
pub const TABLES: u32 = 16;
/// Lists and structs in each other, as deep as a manifest can write them.
pub const TYPE_DEPTH: usize = 8;
/// Items of all lists of one column in one answer: what stands packed in few bytes may become as many rows.
pub const LIST_ITEMS: usize = MAX_OUTPUT_ROWS;
/// Outputs, columns of an output, and faults of one contract.
pub const CONTRACT_ITEMS: usize = 4_096;
/// States and kinds of timers of a keyed plugin.
pub const CONTRACT_STATES: usize = 64;
pub const CONTRACT_TIMERS: usize = 64;
/// Bytes that one `describe` may return.
pub const CONTRACT_BYTES: usize = MIB;
/// Requests that a plugin may make at once.
pub const FETCH_REQUESTS: usize = 16_384;
/// Keys that a plugin may look up at once.
pub const LOOK_UP_KEYS: usize = 65_536;
/// Bytes that the answer to one look-up may have.
pub const LOOK_UP_BYTES: usize = 16 * MIB;
/// A reject's code.
pub const REJECT_CODE_BYTES: usize = 64;

/// A call ends after this many times its limit on the wall clock, but not before [`MIN_WALL_TIME`], whatever the
/// thread's CPU time says: a bound for a machine that is stuck, not a limit of plugins.
pub const WALL_TIME_FACTOR: u32 = 20;
pub const MIN_WALL_TIME: Duration = Duration::from_secs(10);

/// What one plugin may use.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Linear memory of one instance, all memories together. Enforced when the guest grows it.
    pub memory_bytes: usize,
    /// CPU time of one `process` call. Enforced by epoch interruption, with the precision of a tick.
    pub time_per_batch_ms: u64,
    /// Rows in all outputs of one call. Enforced before any array is built.
    pub output_rows: usize,
    /// Bytes that one call returns. Enforced before they are copied out of the sandbox.
    pub output_bytes: usize,
    /// Log bytes a second, over all instances of one step. What is over is dropped and counted.
    pub log_bytes_per_s: usize,
    /// A longer line is cut.
    pub log_line_bytes: usize,
    /// Size of the component. Enforced before it is parsed.
    pub component_bytes: usize,
    /// Time of one compilation. Enforced by the wall clock.
    pub compile_ms: u64,
    /// CPU time of each of: instantiate, `describe`, `open`.
    pub setup_ms: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            memory_bytes: 64 * MIB,
            time_per_batch_ms: 200,
            output_rows: 1 << 20,
            output_bytes: 16 * MIB,
            log_bytes_per_s: 64 << 10,
            log_line_bytes: 1 << 10,
            component_bytes: 16 * MIB,
            compile_ms: 30_000,
            setup_ms: 2_000,
        }
    }
}

/// A limit outside its bounds.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("limit {name} is {value}, must be 1 to {max}")]
pub struct LimitOutOfBounds {
    /// Field of [`Limits`].
    pub name: &'static str,
    pub value: u64,
    pub max: u64,
}

impl Limits {
    /// # Errors
    /// Every limit that is zero or over its hard maximum.
    pub fn validate(&self) -> Result<(), Vec<LimitOutOfBounds>> {
        let faults: Vec<_> = [
            ("memory_bytes", self.memory_bytes as u64, MAX_MEMORY_BYTES as u64),
            ("time_per_batch_ms", self.time_per_batch_ms, MAX_TIME_PER_BATCH_MS),
            ("output_rows", self.output_rows as u64, MAX_OUTPUT_ROWS as u64),
            ("output_bytes", self.output_bytes as u64, MAX_OUTPUT_BYTES as u64),
            ("log_bytes_per_s", self.log_bytes_per_s as u64, MAX_LOG_BYTES_PER_S as u64),
            ("log_line_bytes", self.log_line_bytes as u64, MAX_LOG_LINE_BYTES as u64),
            ("component_bytes", self.component_bytes as u64, MAX_COMPONENT_BYTES as u64),
            ("compile_ms", self.compile_ms, MAX_COMPILE_MS),
            ("setup_ms", self.setup_ms, MAX_SETUP_MS),
        ]
        .into_iter()
        .filter(|(_, value, max)| *value == 0 || value > max)
        .map(|(name, value, max)| LimitOutOfBounds { name, value, max })
        .collect();
        if faults.is_empty() { Ok(()) } else { Err(faults) }
    }

    pub(crate) fn compile_time(&self) -> Duration {
        Duration::from_millis(self.compile_ms)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_are_within_the_hard_maxima() {
        assert_eq!(Limits::default().validate(), Ok(()));
    }

    #[test]
    fn every_limit_out_of_bounds_is_reported_at_once() {
        let limits = Limits { memory_bytes: MAX_MEMORY_BYTES + 1, compile_ms: 0, ..Limits::default() };
        let faults: Vec<String> = limits.validate().unwrap_err().iter().map(ToString::to_string).collect();
        assert_eq!(
            faults,
            ["limit memory_bytes is 1073741825, must be 1 to 1073741824", "limit compile_ms is 0, must be 1 to 300000"]
        );
    }
}
