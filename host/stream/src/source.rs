//! What a source of records must do. Connectors implement it; only `runtime` calls it.
//!
//! A source never decodes and never commits: positions are given to it and live in Weir's own store.

use std::sync::Arc;
use std::time::Duration;

use crate::record::SourceRecords;

/// Where reading of a partition goes on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Position {
    /// The `next_offset` of the records that were read last.
    pub offset: i64,
    /// Where several files make up the partition: the one that the offset is in.
    pub file: Option<Arc<str>>,
}

impl Position {
    /// The offset behind a file that will not be read again, and may be gone.
    pub const END_OF_FILE: i64 = i64::MAX;
}

impl From<i64> for Position {
    fn from(offset: i64) -> Self {
        Self { offset, file: None }
    }
}

/// One look at a partition.
#[derive(Debug)]
pub enum Poll {
    /// At least one record.
    Records(SourceRecords),
    /// Nothing now. `caught_up`: read to the end, connected, queue empty - only then may the partition's idle
    /// clock run.
    Pending { caught_up: bool },
    /// The bounded run's end of this partition, told again on every later call.
    End,
}

/// Why a source cannot go on, sorted by what its reader must do.
#[derive(Debug, Clone, thiserror::Error)]
pub enum SourceError {
    /// Unreachable for now: waited for and tried again, with back-off.
    #[error("{0}")]
    Retry(String),
    /// Only an operator can help; the pipeline stops. `next` is the next act.
    #[error("{message}")]
    Fatal { message: String, next: String },
}

/// Wakes the task that reads a partition; called from any thread, cheap, may be spurious.
pub type Waker = Arc<dyn Fn() + Send + Sync>;

/// Makes readers for the partitions of one logical source.
pub trait Source: Send {
    /// Number of partitions, asked at start, and again as [`Source::refresh`] says.
    ///
    /// # Errors
    /// [`SourceError::Retry`] while the service is unreachable; `Fatal` when the topic or file is not there.
    fn partitions(&mut self) -> Result<u32, SourceError>;

    /// A reader of partition `partition` from `position`, which an earlier run came to, or from the configured start
    /// when there is none yet.
    ///
    /// # Errors
    /// As [`Source::partitions`]; also when the position is no longer held by the service.
    fn open(&mut self, partition: u32, position: Option<Position>) -> Result<Box<dyn PartitionReader>, SourceError>;

    /// A reader of a partition that was added after the others began to be read; no record of it is left out.
    ///
    /// # Errors
    /// As [`Source::open`].
    fn open_added(&mut self, partition: u32) -> Result<Box<dyn PartitionReader>, SourceError> {
        self.open(partition, None)
    }

    /// How often to look for partitions that were added while the others are read; `None`: there are none.
    fn refresh(&self) -> Option<Duration> {
        None
    }
}

/// Reads one partition in order. Owned by one task.
pub trait PartitionReader: Send {
    /// The next records, without blocking: at most about `max_bytes` of payload and `max_records` records.
    ///
    /// # Errors
    /// A [`SourceError`]; after `Retry` the reader is still good and keeps its position.
    fn poll(&mut self, max_records: usize, max_bytes: usize) -> Result<Poll, SourceError>;

    /// Where to knock when records may have come. Without one the task polls at the worker's tick.
    fn set_waker(&mut self, _waker: Waker) {}

    /// Back-pressure: stop fetching, keep what was fetched, until resumed. The service's connection stays up.
    fn pause(&mut self) {}

    fn resume(&mut self) {}

    /// Where reading goes on, known from the opening on where the service tells. A reader that started at the
    /// latest offset must go on from here after a restart even if no record came before it.
    fn position(&self) -> Option<Position> {
        None
    }

    /// Records between the position and the partition's end, if known.
    fn lag(&self) -> Option<u64> {
        None
    }
}
