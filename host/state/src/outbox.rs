//! Outbox.
use crate::error::ReadError;

/// An outbox entry read back from disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OutboxItem {
    pub epoch: u64,
    pub previous: u64,
    pub payload: Vec<u8>,
}

/// Reads what sinks are still owed; clones may go to other threads.
#[derive(Clone)]
pub struct OutboxReader {}

impl OutboxReader {
    /// The entries of `sink` newer than `after_epoch`, in order, until their payloads pass `max_bytes`; at least
    /// one if there is any.
    ///
    /// # Errors
    /// A [`ReadError`].
    pub fn read(&self, _sink: u16, _after_epoch: u64, _max_bytes: usize) -> Result<Vec<OutboxItem>, ReadError> {
        unimplemented!()
    }
}
