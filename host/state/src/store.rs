//! The epoch store: one writer that makes epochs durable, keeps the outbox until it is acknowledged, and rolls
//! snapshots so that the log stays about as long as the state.
//!
//! Invariant: an epoch is durable when its log frame and its outbox frame are both whole and synced, and their
//! names too; only then is anything that it makes needless removed. After a failed sync nothing is written again.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;
use std::sync::Arc;

use weir_stream::Bug;

use crate::disk::{Disk, DiskLock};
use crate::error::{OpenError, ReadError, WriteError};
use crate::format;
use crate::frame::{self, FrameAt, OutboxRef};
use crate::identity::{Closed, Identity};
use crate::log::{self, EntryHead};
use crate::names;
use crate::outbox::{self, OutboxItem, OutboxReader, PendingFrame};
use crate::plugins::PluginFolder;
use crate::record::{EpochRecord, StateDelta};
use crate::recovered::{Recovered, snapshot_epoch};
use crate::segment_writer::{Folder, SegmentWriter};
use crate::snapshot::{Snapshot, SnapshotJob, WrittenSnapshot};

mod copying;
mod open;

/// Sizes that tests and operators may change; the defaults suit pipelines of any size.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Options {
    /// A log segment is left for a new one once it is this long.
    pub log_segment_bytes: u64,
    /// The same for outbox segments.
    pub outbox_segment_bytes: u64,
    /// The log may grow to this size however small the state is.
    pub min_log_bytes: u64,
    /// From this size of an epoch's outbox on disk on, log and outbox are synced in parallel.
    pub parallel_sync_bytes: u64,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            log_segment_bytes: 32 << 20,
            outbox_segment_bytes: 64 << 20,
            min_log_bytes: 64 << 20,
            parallel_sync_bytes: 256 << 10,
        }
    }
}

/// Outbox frames that wait for a sink before the next ones are compressed. What is exposed at once is written once and
/// never read: compressing 5 MB of JSON costs twice the CPU of the rest of its epoch. What piles up behind a sink
/// that is away is kept for long.
const COMPRESS_FROM_PENDING: usize = 16;

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
pub struct Store {
    folder: Folder,
    identity: Identity,
    options: Options,
    plugins: PluginFolder,
    last_epoch: u64,
    acked: BTreeMap<u16, u64>,
    log: SegmentWriter,
    outbox: SegmentWriter,
    reader: OutboxReader,
    /// By key group.
    snapshots: Vec<Option<Snapshot>>,
    /// Bytes of log that snapshots have not answered yet.
    snapshot_debt: u64,
    /// A snapshot is being written.
    snapshotting: bool,
    next_incarnation: u64,
    log_buffer: Vec<u8>,
    outbox_buffer: Vec<u8>,
    compressed: Vec<u8>,
    /// The marker of a clean end is in the folder.
    has_marker: bool,
    failed: bool,
    /// Last, so that everything else is gone when another process may enter.
    _lock: Box<dyn DiskLock>,
}

impl std::fmt::Debug for Store {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Store").field("dir", &self.folder.dir).field("last_epoch", &self.last_epoch).finish()
    }
}

impl Store {
    /// Opens the folder of a pipeline, making it if it is not there.
    ///
    /// # Errors
    /// See [`OpenError`]; nothing of what is durable is lost then.
    pub fn open(disk: Arc<dyn Disk>, dir: &Path, identity: &Identity) -> Result<(Self, Recovered), OpenError> {
        Self::open_with(disk, dir, identity, Options::default())
    }

    /// As [`Store::open`] with other sizes.
    ///
    /// # Errors
    /// As [`Store::open`].
    pub fn open_with(
        disk: Arc<dyn Disk>,
        dir: &Path,
        identity: &Identity,
        options: Options,
    ) -> Result<(Self, Recovered), OpenError> {
        open::open(disk, dir, identity, options)
    }

    /// As stored in the folder.
    pub fn identity(&self) -> &Identity {
        &self.identity
    }

    /// The last durable epoch, 0 for none.
    pub fn last_epoch(&self) -> u64 {
        self.last_epoch
    }

    /// Makes an epoch durable; when it returns `Ok` the epoch survives any crash.
    ///
    /// # Errors
    /// [`WriteError::Full`]: nothing happened, the same record may be given again. Otherwise the process must end,
    /// and the next start finds out whether the epoch is durable.
    ///
    /// # Panics
    /// When the epoch is not one more than the last, a key group is not the pipeline's, or a sink has two entries.
    pub fn append(&mut self, record: &EpochRecord) -> Result<(), WriteError> {
        assert_eq!(record.epoch, self.last_epoch + 1, "epochs are contiguous");
        log::assert_key_groups(&record.deltas, self.identity.key_groups);
        for (index, entry) in record.outbox.iter().enumerate() {
            let before = &record.outbox[..index];
            assert!(before.iter().all(|other| other.sink != entry.sink), "sink {} has one entry", entry.sink);
        }
        if Bug::KeepNothing.is_in() {
            self.last_epoch = record.epoch;
            return Ok(());
        }
        self.guarded(|store| {
            store.write_epoch(record)?;
            store.free()
        })
    }

    /// Runs a write and remembers a failure that no later write may follow.
    fn guarded(&mut self, write: impl FnOnce(&mut Self) -> Result<(), WriteError>) -> Result<(), WriteError> {
        if self.failed {
            let source = io::Error::other("an earlier write failed and could not be undone");
            return Err(WriteError::Io { path: self.folder.dir.clone(), source });
        }
        let result = self.remove_marker().and_then(|()| write(self));
        self.failed = result.as_ref().is_err_and(|error| !error.may_retry());
        result
    }

    /// What follows is not the clean end's any more.
    fn remove_marker(&mut self) -> Result<(), WriteError> {
        if self.has_marker {
            let path = self.folder.dir.join(names::CLOSED);
            self.folder.disk.remove(&path).map_err(|source| WriteError::Io { path, source })?;
            self.sync_dir()?;
            self.has_marker = false;
        }
        Ok(())
    }

    fn write_epoch(&mut self, record: &EpochRecord) -> Result<(), WriteError> {
        match self.stage_epoch(record) {
            Ok(pending) => {
                self.sync_epoch(pending.is_some())?;
                self.commit_epoch(record.epoch, pending);
                Ok(())
            }
            Err(error) => {
                if error.may_retry() {
                    self.log.undo(&self.folder)?;
                    self.outbox.undo(&self.folder)?;
                }
                Err(error)
            }
        }
    }

    /// Writes both frames, outbox first because the log frame holds its checksum.
    fn stage_epoch(&mut self, record: &EpochRecord) -> Result<Option<PendingFrame>, WriteError> {
        let pending = if record.outbox.is_empty() { None } else { Some(self.stage_outbox(record)?) };
        let outbox = pending.as_ref().map(|pending| OutboxRef {
            segment: pending.segment.first_epoch,
            offset: pending.frame.offset,
            check: pending.frame.header.check,
        });
        let head_end = log::encode(&mut self.log_buffer, record, &self.acked);
        let (segment, _) = self.log.stage(&self.folder, record.epoch, self.next_incarnation)?;
        frame::finish(&mut self.log_buffer, head_end, record.epoch, outbox, segment.salt);
        self.log.write(&self.log_buffer)?;
        Ok(pending)
    }

    fn stage_outbox(&mut self, record: &EpochRecord) -> Result<PendingFrame, WriteError> {
        let compress = self.reader.pending().frames.len() >= COMPRESS_FROM_PENDING;
        let head_end = outbox::encode(&mut self.outbox_buffer, &record.outbox, compress, &mut self.compressed);
        let (segment, offset) = self.outbox.stage(&self.folder, record.epoch, self.next_incarnation)?;
        let header = frame::finish(&mut self.outbox_buffer, head_end, record.epoch, None, segment.salt);
        self.outbox.write(&self.outbox_buffer)?;
        let head = |entry: &crate::record::OutboxEntry| EntryHead {
            sink: entry.sink,
            previous: entry.previous,
            bytes: entry.payload.len() as u64,
        };
        let entries = record.outbox.iter().map(head).collect();
        Ok(PendingFrame { segment, frame: FrameAt { offset, header }, entries })
    }

    fn sync_epoch(&self, has_outbox: bool) -> Result<(), WriteError> {
        if has_outbox && self.outbox_buffer.len() as u64 >= self.options.parallel_sync_bytes {
            std::thread::scope(|scope| {
                let outbox = scope.spawn(|| self.outbox.sync());
                let log = self.log.sync();
                outbox.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)).and(log)
            })?;
        } else {
            if has_outbox && !Bug::SkipOutboxSync.is_in() {
                self.outbox.sync()?;
            }
            if !Bug::SkipLogSync.is_in() {
                self.log.sync()?;
            }
        }
        let new_name = self.log.has_begun_segment() || self.outbox.has_begun_segment();
        if new_name && !Bug::SkipFolderSync.is_in() {
            self.sync_dir()?;
        }
        Ok(())
    }

    fn sync_dir(&self) -> Result<(), WriteError> {
        self.folder.disk.sync_dir(&self.folder.dir).map_err(|error| WriteError::sync(&self.folder.dir, error))
    }

    fn commit_epoch(&mut self, epoch: u64, pending: Option<PendingFrame>) {
        self.next_incarnation += u64::from(self.log.has_begun_segment() || self.outbox.has_begun_segment());
        self.log.commit(epoch);
        self.outbox.commit(epoch);
        self.last_epoch = epoch;
        self.snapshot_debt += self.log_buffer.len() as u64;
        let mut frames = self.reader.pending();
        frames.frames.extend(pending.map(|pending| (epoch, pending)));
        frames.retire(&self.acked);
        if Bug::FreeOutboxEarly.is_in() {
            frames.frames.clear();
        }
    }

    /// Notes that `sink` has exposed everything through `epoch`. Durable with the next append; only then is the
    /// outbox freed. A sink that the pipeline no longer has must be acknowledged too, or its entries stay for ever.
    pub fn acknowledge(&mut self, sink: u16, epoch: u64) {
        let acked = self.acked.entry(sink).or_default();
        *acked = epoch.max(*acked);
    }

    /// The key group whose snapshot should be written now, if any: ask after each append. So often that the log
    /// stays about as long as the state, or [`Options::min_log_bytes`]. None while one is being written.
    pub fn snapshot_due(&self) -> Option<u16> {
        if self.snapshotting || self.snapshot_debt < self.snapshot_share() {
            return None;
        }
        let epochs = self.snapshots.iter().map(snapshot_epoch);
        let (oldest, key_group) = epochs.zip(0u16..).min()?;
        (oldest < self.last_epoch).then_some(key_group)
    }

    /// Bytes of log that one snapshot answers.
    fn snapshot_share(&self) -> u64 {
        self.snapshot_bytes().max(self.options.min_log_bytes) / u64::from(self.identity.key_groups)
    }

    fn snapshot_bytes(&self) -> u64 {
        self.snapshots.iter().flatten().map(|snapshot| snapshot.bytes).sum()
    }

    /// As [`Store::begin_snapshot`] and what follows, all at once.
    ///
    /// # Errors
    /// As [`Store::append`].
    pub fn write_snapshot(&mut self, key_group: u16, epoch: u64, sections: &[StateDelta]) -> Result<(), WriteError> {
        self.guarded(|_| Ok(()))?;
        let written = self.begin_snapshot(key_group, epoch, sections.to_vec()).write();
        self.finish_snapshot(written)
    }

    /// Begins to make `sections` (puts only: the whole state of the key group's steps as of the end of `epoch`) the
    /// snapshot of `key_group`. An empty key group is written too. The job is to be carried out, on any thread, and
    /// its outcome to be given to [`Store::finish_snapshot`]; until then the log keeps what the snapshot replaces.
    ///
    /// # Panics
    /// When one is begun already, `epoch` is not durable yet or not newer than the snapshot there is, or a section is
    /// not of the key group or holds a delete.
    pub fn begin_snapshot(&mut self, key_group: u16, epoch: u64, sections: Vec<StateDelta>) -> SnapshotJob {
        assert!(!self.snapshotting, "one snapshot is written at a time");
        let before = snapshot_epoch(&self.snapshots[usize::from(key_group)]);
        assert!(before < epoch && epoch <= self.last_epoch, "{before} < {epoch} <= {}", self.last_epoch);
        for section in &sections {
            assert!(section.key_group == key_group && section.deletes == 0, "a snapshot holds its key group's puts");
        }
        self.snapshotting = true;
        let Folder { disk, dir, store_id } = &self.folder;
        SnapshotJob::new((Arc::clone(disk), dir.clone(), *store_id), (key_group, epoch), sections)
    }

    pub fn is_snapshotting(&self) -> bool {
        self.snapshotting
    }

    /// Takes the outcome of a job: frees what a durable snapshot makes needless. One that found the disk full is asked
    /// for again by [`Store::snapshot_due`].
    ///
    /// # Errors
    /// The job's; otherwise as [`Store::append`].
    pub fn finish_snapshot(&mut self, written: Result<WrittenSnapshot, WriteError>) -> Result<(), WriteError> {
        self.snapshotting = false;
        self.guarded(|store| store.replace_snapshot(written?.0))
    }

    fn replace_snapshot(&mut self, snapshot: Snapshot) -> Result<(), WriteError> {
        if let Some(old) = self.snapshots[usize::from(snapshot.key_group)].replace(snapshot) {
            // One that cannot be removed now is removed at the next start.
            let _ = self.folder.disk.remove(&old.path);
        }
        // What was owed beyond one round is paid by that round.
        let round = self.snapshot_share() * u64::from(self.identity.key_groups);
        self.snapshot_debt = self.snapshot_debt.min(round).saturating_sub(self.snapshot_share());
        self.free()
    }

    /// Removes segments that no snapshot and no unacknowledged entry needs.
    fn free(&mut self) -> Result<(), WriteError> {
        let unacknowledged = self.reader.pending().first_epoch().unwrap_or(u64::MAX);
        let snapshotted = self.snapshots.iter().map(snapshot_epoch).min().unwrap_or(0);
        // The last record is always kept: it holds the meta.
        let log_needed = (snapshotted + 1).min(unacknowledged).min(self.last_epoch);
        self.outbox.free(&self.folder, unacknowledged)?;
        self.log.free(&self.folder, log_needed)
    }

    /// The entries of `sink` newer than `after_epoch`, in order, until their payloads pass `max_bytes`; at least one if
    /// there is any.
    ///
    /// # Errors
    /// [`ReadError::Corrupt`] when an entry is not what was written; [`ReadError::Io`].
    pub fn read_outbox(&self, sink: u16, after_epoch: u64, max_bytes: usize) -> Result<Vec<OutboxItem>, ReadError> {
        self.reader.read(sink, after_epoch, max_bytes)
    }

    /// The components that the folder keeps.
    pub fn plugins(&self) -> PluginFolder {
        self.plugins.clone()
    }

    pub fn sizes(&self) -> Sizes {
        let pending = self.reader.pending();
        Sizes {
            log_bytes: self.log.bytes(),
            log_segments: self.log.segments(),
            outbox_bytes: self.outbox.bytes(),
            outbox_segments: self.outbox.segments(),
            snapshot_bytes: self.snapshot_bytes(),
            pending_epochs: pending.frames.len() as u64,
            pending_bytes: pending.frames.values().map(|pending| pending.frame.size()).sum(),
        }
    }

    /// Ends the run: the next start will know that nothing was being written, and accept no torn end.
    ///
    /// # Errors
    /// As [`Store::append`]; the store is good without the marker.
    pub fn close(mut self) -> Result<(), WriteError> {
        if self.has_marker {
            return Ok(());
        }
        self.guarded(|store| {
            let closed = Closed { last_epoch: store.last_epoch, log_end: store.log.end() };
            closed.write(&*store.folder.disk, &store.folder.dir, store.folder.store_id)
        })
    }
}

/// The writers of both kinds of segments.
fn segment_writers(options: &Options) -> (SegmentWriter, SegmentWriter) {
    (
        SegmentWriter::new(format::LOG, names::log, options.log_segment_bytes),
        SegmentWriter::new(format::OUTBOX, names::outbox, options.outbox_segment_bytes),
    )
}
