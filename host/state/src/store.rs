//! The epoch store.
use std::path::Path;
use std::sync::Arc;

use crate::disk::Disk;
use crate::error::{OpenError, ReadError, WriteError};
use crate::identity::Identity;
use crate::outbox::{OutboxItem, OutboxReader};
use crate::plugins::PluginFolder;
use crate::record::{EpochRecord, StateDelta};
use crate::recovered::Recovered;

/// Sizes that tests and operators may change; the defaults suit a pipeline of any size.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Options {
    /// A log segment is left for a new one once it is this long.
    pub log_segment_bytes: u64,
    /// The same for outbox segments.
    pub outbox_segment_bytes: u64,
    /// The log may grow to this size however small the state is.
    pub min_log_bytes: u64,
    /// From this size of an epoch's outbox on, log and outbox are synced in parallel.
    pub parallel_sync_bytes: u64,
}

/// Bytes and counts for metrics.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Sizes {
    pub log_bytes: u64,
    pub log_segments: u64,
    pub outbox_bytes: u64,
    pub outbox_segments: u64,
    pub snapshot_bytes: u64,
    /// Epochs whose outbox some sink has not durably acknowledged.
    pub pending_epochs: u64,
    /// Their bytes on disk.
    pub pending_bytes: u64,
}

/// A pipeline's open state folder. One writer thread owns it; calls block.
pub struct Store {}

impl Store {
    /// Opens the folder of a pipeline, making it if it is not there.
    ///
    /// # Errors
    /// See [`OpenError`]; the folder is then as it was.
    pub fn open(_disk: Arc<dyn Disk>, _dir: &Path, _identity: &Identity) -> Result<(Self, Recovered), OpenError> {
        unimplemented!()
    }

    /// As [`Store::open`] with other sizes.
    ///
    /// # Errors
    /// As [`Store::open`].
    pub fn open_with(
        _disk: Arc<dyn Disk>,
        _dir: &Path,
        _identity: &Identity,
        _options: Options,
    ) -> Result<(Self, Recovered), OpenError> {
        unimplemented!()
    }

    pub fn identity(&self) -> &Identity {
        unimplemented!()
    }

    /// The last durable epoch, 0 for none.
    pub fn last_epoch(&self) -> u64 {
        unimplemented!()
    }

    /// Makes an epoch durable; when it returns `Ok` the epoch survives any crash.
    ///
    /// # Errors
    /// [`WriteError::Full`]: nothing happened, the same record may be given again. Otherwise the process must end.
    ///
    /// # Panics
    /// When the epoch is not one more than the last, or a key group is not the pipeline's.
    pub fn append(&mut self, _record: &EpochRecord) -> Result<(), WriteError> {
        unimplemented!()
    }

    /// Notes that `sink` has exposed everything through `epoch`. Durable with the next append; only then is the
    /// outbox freed.
    pub fn acknowledge(&mut self, _sink: u16, _epoch: u64) {
        unimplemented!()
    }

    /// The key group whose snapshot should be written now, if any: ask after each append.
    pub fn snapshot_due(&self) -> Option<u16> {
        unimplemented!()
    }

    /// Makes `sections` (puts only: the whole state of the key group's steps as of the end of `epoch`) the
    /// snapshot of `key_group`, and frees what it makes needless. An empty key group is written too.
    ///
    /// # Errors
    /// As [`Store::append`].
    ///
    /// # Panics
    /// When `epoch` is not durable yet, or is older than the snapshot there is, or a section is not of the key
    /// group or holds a delete.
    pub fn write_snapshot(&mut self, _key_group: u16, _epoch: u64, _sections: &[StateDelta]) -> Result<(), WriteError> {
        unimplemented!()
    }

    /// See [`OutboxReader::read`].
    ///
    /// # Errors
    /// A [`ReadError`].
    pub fn read_outbox(&self, _sink: u16, _after_epoch: u64, _max_bytes: usize) -> Result<Vec<OutboxItem>, ReadError> {
        unimplemented!()
    }

    /// A reader for sinks on threads of their own.
    pub fn outbox_reader(&self) -> OutboxReader {
        unimplemented!()
    }

    pub fn plugins(&self) -> PluginFolder {
        unimplemented!()
    }

    pub fn sizes(&self) -> Sizes {
        unimplemented!()
    }

    /// Ends the run: the next start will know that nothing was being written.
    ///
    /// # Errors
    /// As [`Store::append`]; the store is good without the marker.
    pub fn close(self) -> Result<(), WriteError> {
        unimplemented!()
    }
}
