//! What opening found: the last durable epoch, what the sinks are still owed, and the state, ready to be loaded.

use crate::error::OpenError;
use crate::identity::Identity;

/// The outcome of opening a folder.
#[derive(Debug)]
pub struct Recovered {
    /// As stored: the key groups and generation that count, whatever the caller asked for.
    pub identity: Identity,
    /// The last durable epoch, 0 for a new folder.
    pub last_epoch: u64,
    /// The meta of the last durable epoch.
    pub meta: Option<Vec<u8>>,
    /// Per sink the last epoch that was known to be exposed when the last epoch was written.
    pub acked: Vec<(u16, u64)>,
    /// What is newer than that, in the order of epochs. Payloads: [`crate::Store::read_outbox`].
    pub outbox: Vec<PendingEntry>,
    /// Whether the process before ended by [`crate::Store::close`].
    pub clean: bool,
    /// An epoch that was being written at the crash and is not part of the store.
    pub dropped_epoch: Option<u64>,
    pub state: RecoveredState,
}

/// An outbox entry that its sink has not acknowledged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PendingEntry {
    pub epoch: u64,
    pub sink: u16,
    /// The epoch of this sink's entry before, 0 for the first.
    pub previous: u64,
    /// Payload bytes, uncompressed.
    pub bytes: u64,
}

/// Takes in one key group's state. Calls come from one thread, in the order in which the state was written.
pub trait KeyGroupTarget: Send {
    /// About `entries` more entries of `step` are to come.
    fn reserve(&mut self, _step: u16, _entries: u64) {}

    fn put(&mut self, step: u16, key: &[u8], value: &[u8]);

    fn delete(&mut self, step: u16, key: &[u8]);
}

/// State that is still on disk: snapshots, and log records behind them.
#[derive(Debug)]
#[must_use = "damage in stored state is found by loading it"]
pub struct RecoveredState {}

impl RecoveredState {
    /// Loads every key group on `threads` threads, into what `make` gives for its number, and answers them in the
    /// order of key groups. To be called before the store's first append.
    ///
    /// # Errors
    /// [`OpenError::Corrupt`] or [`OpenError::Io`]; the targets are gone then.
    pub fn load<T: KeyGroupTarget>(
        self,
        _threads: usize,
        _make: impl Fn(u16) -> T + Sync,
    ) -> Result<Vec<T>, OpenError> {
        unimplemented!()
    }
}
