//! What a sink must do. Connectors implement it; only `runtime` calls it, each sink on a thread of its own.
//!
//! The contract behind exactly-once: an entry is handed over only after it is durable in the epoch log; the sink
//! applies it idempotently and remembers its epoch in the target itself, so that after any crash
//! [`Sink::recover`] tells which entries the target already has.

use std::sync::Arc;

use arrow_array::RecordBatch;

use crate::change::Changes;
use crate::payload::Payloads;

/// Encoded rows for one destination of a sink that takes payloads.
#[derive(Debug, Clone, PartialEq)]
pub struct PayloadBlock {
    pub values: Payloads,
    /// Record keys, one a row, if the sink has a key.
    pub keys: Option<Payloads>,
    /// Event times that become record timestamps.
    pub timestamps_us: Vec<i64>,
}

/// Rows for a sink that takes columns.
#[derive(Debug, Clone, PartialEq)]
pub struct RowBlock {
    pub rows: RecordBatch,
    pub changes: Changes,
}

/// What one epoch owes one sink, in one of the two shapes that the sink declared.
#[derive(Debug, Clone, PartialEq)]
pub enum SinkData {
    Payloads(Vec<PayloadBlock>),
    Rows(Vec<RowBlock>),
}

/// One outbox entry. Epochs that owe a sink nothing have no entry, so `previous` chains the entries.
#[derive(Debug, Clone, PartialEq)]
pub struct SinkEpoch {
    pub epoch: u64,
    /// Epoch of this sink's entry before; 0 for the first. The target's guard compares with it.
    pub previous: u64,
    /// How far the sources were read by the end of the epoch, in words of the runtime: the target remembers it with the
    /// epoch. Absent where a sink is used without one.
    pub cut: Option<Arc<str>>,
    pub data: Arc<SinkData>,
}

/// What a target holds of a sink, as seen by somebody who does not take it over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Held {
    pub epoch: u64,
    /// As [`SinkEpoch::cut`] of that epoch was; absent where the target could not keep it.
    pub cut: Option<Arc<str>>,
    /// Refused rows that it remembers: maybe no dead letters yet.
    pub rejects: u64,
}

/// What the target itself says about this sink.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SinkPosition {
    /// The target has never seen this sink.
    Absent,
    /// The last epoch that the target holds.
    Epoch(u64),
}

/// A row that the target refused for good (a constraint, a value out of its range). It was recorded in the
/// target's own transaction and becomes a dead letter in a later epoch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SinkReject {
    pub epoch: u64,
    /// Number of the row among the sink's rows of that epoch.
    pub row: u64,
    pub code: String,
    pub reason: String,
    /// The row as JSON.
    pub payload: Vec<u8>,
}

/// What became of an entry.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ExposeOutcome {
    /// The newest epoch that is now visible in the target. None, or less than the entry's epoch, while the sink gathers
    /// several entries for one exposure; the outbox keeps what is not yet covered.
    pub exposed: Option<u64>,
    pub rejects: Vec<SinkReject>,
}

/// Why a sink cannot go on, sorted by what happens next.
#[derive(Debug, Clone, thiserror::Error)]
pub enum SinkError {
    /// The target is unreachable or busy. The runtime reconnects with back-off, asks [`Sink::recover`] again and
    /// sends what is missing: an ambiguous commit is decided by the target.
    #[error("{0}")]
    Retry(String),
    /// Another instance took the sink over; this one must end.
    #[error("fenced: {0}")]
    Fenced(String),
    /// Only an operator can help. `next` is the next act.
    #[error("{message}")]
    Fatal { message: String, next: String },
}

/// One sink of a pipeline. Calls may block; they come from one thread.
pub trait Sink: Send {
    /// Connects, makes what is missing in the target (tables, folders), fences older owners and answers what the
    /// target holds. Called at start and after every [`SinkError::Retry`]; forgets entries that were only gathered.
    ///
    /// `acked` is the last epoch that the store knows to be exposed, 0 for none.
    ///
    /// # Errors
    /// See [`SinkError`].
    fn recover(&mut self, acked: u64) -> Result<SinkPosition, SinkError>;

    /// Looks at what the target holds without taking it over and without changing anything; `None`: it has never seen this
    /// sink.
    ///
    /// # Errors
    /// See [`SinkError`]; `Fatal` from a target that cannot tell.
    fn held(&mut self) -> Result<Option<Held>, SinkError> {
        Err(SinkError::Fatal {
            message: "this target cannot tell what it holds".into(),
            next: "choose `fresh` or `overwrite` for it".into(),
        })
    }

    /// Applies one entry. Entries come in order, each once unless [`Sink::recover`] says otherwise.
    ///
    /// # Errors
    /// See [`SinkError`]; the entry may then be applied or not, `recover` will tell.
    fn expose(&mut self, entry: &SinkEpoch) -> Result<ExposeOutcome, SinkError>;

    /// Applies several entries in order, because the sink is behind. A sink for which one transaction over all of them is
    /// cheaper than one each does that; the outcome covers all of them.
    ///
    /// # Errors
    /// As [`Sink::expose`]: some of the entries may then be applied.
    fn expose_together(&mut self, entries: &[SinkEpoch]) -> Result<ExposeOutcome, SinkError> {
        let mut all = ExposeOutcome::default();
        for entry in entries {
            let outcome = self.expose(entry)?;
            all.exposed = outcome.exposed.or(all.exposed);
            all.rejects.extend(outcome.rejects);
        }
        Ok(all)
    }

    /// For sinks that gather: exposes what was gathered when its time has come (`force`: now, for shutdown).
    ///
    /// # Errors
    /// As [`Sink::expose`].
    fn flush(&mut self, _force: bool) -> Result<ExposeOutcome, SinkError> {
        Ok(ExposeOutcome::default())
    }

    /// The rejects that the target still remembers, asked after [`Sink::recover`]: after a crash between the target's
    /// commit and the dead letters' epoch they would otherwise be lost.
    ///
    /// # Errors
    /// As [`Sink::expose`].
    fn remembered_rejects(&mut self) -> Result<Vec<SinkReject>, SinkError> {
        Ok(Vec::new())
    }

    /// Called once the rejects of `epoch` and before are durable as dead letters: the target may forget them.
    ///
    /// # Errors
    /// As [`Sink::expose`].
    fn forget_rejects(&mut self, _through_epoch: u64) -> Result<(), SinkError> {
        Ok(())
    }
}
