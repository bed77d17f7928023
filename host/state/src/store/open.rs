//! Opening a folder: look at everything, decide, and only then change anything.
//!
//! Invariant: what is reported as recovered is durable before it is reported. A process that was killed may have
//! left it in the page cache only, and after a failed sync such pages count as clean, so the last epoch is written
//! and synced again unless the end was a clean one.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use super::{Options, Store, segment_writers};
use crate::disk::{Disk, DiskFile, DiskLock, LockError};
use crate::error::OpenError;
use crate::format;
use crate::frame::{self, FrameAt};
use crate::identity::{Closed, Identity};
use crate::names::{self, Name, SegmentKind};
use crate::outbox::{OutboxReader, Pending, is_pending};
use crate::plugins::PluginFolder;
use crate::recovered::{Recovered, RecoveredState, snapshot_epoch};
use crate::scan::{self, Log, LogSegment, OutboxSegments};
use crate::segment::Segment;
use crate::segment_writer::{Folder, SegmentWriter, wipe};
use crate::snapshot::Snapshot;

pub(super) fn open(
    disk: Arc<dyn Disk>,
    dir: &Path,
    wanted: &Identity,
    options: Options,
) -> Result<(Store, Recovered), OpenError> {
    assert!(wanted.key_groups > 0, "a pipeline has at least one key group");
    disk.create_dir(dir).map_err(|error| OpenError::io(dir, error))?;
    let lock = lock(&*disk, dir)?;
    let mut listing = Listing::read(&*disk, dir)?;
    let (store_id, identity) = read_identity(&*disk, dir, wanted, &mut listing)?;
    let folder = Folder { disk, dir: dir.to_owned(), store_id };
    let found = Found::read(&folder, &identity, listing)?;
    let plugins = PluginFolder::open(Arc::clone(&folder.disk), dir.join(names::PLUGINS))?;
    found.settle(&folder)?;
    Ok(found.into_store(folder, identity, plugins, options, lock))
}

fn lock(disk: &dyn Disk, dir: &Path) -> Result<Box<dyn DiskLock>, OpenError> {
    disk.lock(&dir.join(names::LOCK)).map_err(|error| match error {
        LockError::Held { pid } => OpenError::InUse { dir: dir.to_owned(), pid },
        LockError::Io(error) => OpenError::io(&dir.join(names::LOCK), error),
    })
}

/// The store's files by kind, each in order.
#[derive(Default)]
struct Listing {
    identity: bool,
    closed: bool,
    logs: Vec<u64>,
    outboxes: Vec<u64>,
    snapshots: Vec<(u16, u64)>,
    spares: Vec<(SegmentKind, String)>,
    temporary: Vec<String>,
}

impl Listing {
    fn read(disk: &dyn Disk, dir: &Path) -> Result<Self, OpenError> {
        let mut listing = Self::default();
        for name in disk.list(dir).map_err(|error| OpenError::io(dir, error))? {
            match names::parse(&name) {
                Name::Log { first_epoch } => listing.logs.push(first_epoch),
                Name::Outbox { first_epoch } => listing.outboxes.push(first_epoch),
                Name::Snapshot { key_group, epoch } => listing.snapshots.push((key_group, epoch)),
                Name::Spare(kind) => listing.spares.push((kind, name)),
                Name::Temporary => listing.temporary.push(name),
                Name::Other => {
                    listing.identity |= name == names::IDENTITY;
                    listing.closed |= name == names::CLOSED;
                }
            }
        }
        Ok(listing)
    }

    /// Gives the writers the segments that may be written again.
    fn adopt_spares(&self, folder: &Folder, log: &mut SegmentWriter, outbox: &mut SegmentWriter) {
        for (kind, name) in &self.spares {
            let path = folder.dir.join(name);
            let writer = if *kind == SegmentKind::Log { &mut *log } else { &mut *outbox };
            if !writer.add_spare(&path) {
                // One that cannot be removed now is looked at again at the next start.
                let _ = folder.disk.remove(&path);
            }
        }
    }

    fn is_new(&self) -> bool {
        self.logs.is_empty() && self.outboxes.is_empty() && self.snapshots.is_empty() && !self.closed
    }
}

fn read_identity(
    disk: &dyn Disk,
    dir: &Path,
    wanted: &Identity,
    listing: &mut Listing,
) -> Result<(u64, Identity), OpenError> {
    if listing.identity {
        let (store_id, found) = Identity::read(disk, dir)?;
        if found.pipeline != wanted.pipeline {
            let wanted = wanted.pipeline.clone();
            return Err(OpenError::OtherPipeline { dir: dir.to_owned(), found: found.pipeline, wanted });
        }
        return Ok((store_id, found));
    }
    let path = dir.join(names::IDENTITY);
    if !listing.is_new() {
        return Err(OpenError::corrupt(&path, 0, "the file is missing, though the folder holds state"));
    }
    for name in listing.temporary.drain(..) {
        disk.remove(&dir.join(&name)).map_err(|error| OpenError::io(&dir.join(name), error))?;
    }
    let store_id = wanted.new_store_id();
    wanted.write(disk, dir, store_id)?;
    sync_parent(disk, dir)?;
    Ok((store_id, wanted.clone()))
}

/// A new folder's own name must survive too.
fn sync_parent(disk: &dyn Disk, dir: &Path) -> Result<(), OpenError> {
    let parent = match dir.parent() {
        Some(parent) if parent.as_os_str().is_empty() => Path::new("."),
        Some(parent) => parent,
        None => return Ok(()),
    };
    disk.sync_dir(parent).map_err(|error| OpenError::io(parent, error))
}

/// What the folder holds and what of it counts.
struct Found {
    listing: Listing,
    log: Log,
    /// By key group.
    snapshots: Vec<Option<Snapshot>>,
    outbox: OutboxSegments,
    pending: Pending,
    clean: bool,
    /// The largest that a segment has.
    incarnation: u64,
}

impl Found {
    fn read(folder: &Folder, identity: &Identity, listing: Listing) -> Result<Self, OpenError> {
        let Folder { disk, dir, store_id } = folder;
        let outbox = read_outbox_segments(folder, &listing)?;
        let log = scan::read_log(&**disk, dir, *store_id, &listing.logs, &outbox)?;
        let snapshots = read_snapshots(folder, identity.key_groups, &listing)?;
        if listing.closed {
            check_closed(folder, &log)?;
        }
        check_witnesses(folder, &log, &snapshots, &outbox, &listing)?;
        let pending = read_pending(&log, &outbox)?;
        let clean = listing.closed;
        let incarnation = last_incarnation(folder, &log, &outbox, &listing)?;
        Ok(Self { listing, log, snapshots, outbox, pending, clean, incarnation })
    }

    /// Makes the folder hold what counts and nothing else, durably. The marker of a clean end stays: it is true
    /// until the first write.
    fn settle(&self, folder: &Folder) -> Result<(), OpenError> {
        let Folder { disk, dir, .. } = folder;
        let sync_dir = || disk.sync_dir(dir).map_err(|error| OpenError::io(dir, error));
        let remove =
            |name: String| disk.remove(&dir.join(&name)).map_err(|error| OpenError::io(&dir.join(name), error));
        // Names that were found must be durable before those that they replaced are removed.
        sync_dir()?;
        self.settle_log()?;
        self.listing.temporary.iter().cloned().try_for_each(remove)?;
        let is_kept = |(key_group, epoch): (u16, u64)| snapshot_epoch(&self.snapshots[usize::from(key_group)]) == epoch;
        for &(key_group, epoch) in self.listing.snapshots.iter().filter(|snapshot| !is_kept(**snapshot)) {
            remove(names::snapshot(key_group, epoch))?;
        }
        for &first_epoch in self.listing.outboxes.iter().filter(|first| !self.pending.holds_segment(**first)) {
            remove(names::outbox(first_epoch))?;
        }
        sync_dir()
    }

    /// Makes sure of the last epoch, and that what a crash left behind it never passes for one.
    fn settle_log(&self) -> Result<(), OpenError> {
        if self.clean {
            return Ok(());
        }
        if let Some(newest) = self.log.segments.last() {
            let io = |error| OpenError::io(&newest.segment.path, error);
            wipe(&newest.segment, newest.end(), newest.length).map_err(io)?;
            if newest.frames.is_empty() {
                rewrite(&newest.segment, 0, format::PAGE)?;
            }
        }
        let Some((index, last)) = self.log.last_frame() else { return Ok(()) };
        rewrite(&self.log.segments[index].segment, last.offset, last.size())?;
        let outbox = self.pending.frames.get(&last.header.epoch);
        outbox.map_or(Ok(()), |outbox| rewrite(&outbox.segment, outbox.frame.offset, outbox.frame.size()))
    }

    fn into_store(
        self,
        folder: Folder,
        identity: Identity,
        plugins: PluginFolder,
        options: Options,
        lock: Box<dyn DiskLock>,
    ) -> (Store, Recovered) {
        let last_epoch = self.log.last_epoch();
        let snapshot_debt = self.snapshot_debt();
        let next_incarnation = self.incarnation + 1;
        let (mut log, mut outbox) = segment_writers(&options);
        for (first_epoch, segment) in &self.outbox {
            // The newest is not written to again: what is behind its last frame is not known.
            let mut held = self.pending.frames.iter().filter(|(_, frame)| frame.segment.first_epoch == *first_epoch);
            if let Some((last_epoch, frame)) = held.next_back() {
                outbox.add_sealed(&segment.path, *last_epoch, frame.frame.end());
            }
        }
        let head = self.log.head.unwrap_or_default();
        let (mut frames, mut next_epoch) = (Vec::new(), 0);
        let count = self.log.segments.len();
        for (index, found) in self.log.segments.into_iter().enumerate() {
            next_epoch = found.frames.last().map_or(next_epoch, |frame| frame.header.epoch + 1);
            if index + 1 < count {
                log.add_sealed(&found.segment.path, next_epoch - 1, found.end());
            } else {
                log.resume(found.segment.clone(), found.end(), found.length);
            }
            frames.push((found.segment, found.frames));
        }
        self.listing.adopt_spares(&folder, &mut log, &mut outbox);
        let (disk, store_id) = (Arc::clone(&folder.disk), folder.store_id);
        let recovered = Recovered {
            identity: identity.clone(),
            last_epoch,
            meta: (last_epoch > 0).then_some(head.meta),
            acked: head.acked.iter().map(|(sink, epoch)| (*sink, *epoch)).collect(),
            outbox: self.pending.entries(&head.acked),
            clean: self.clean,
            dropped_epoch: self.log.dropped_epoch,
            state: RecoveredState { disk, store_id, snapshots: self.snapshots.clone(), log: frames },
        };
        let store = Store {
            folder,
            identity,
            options,
            plugins,
            last_epoch,
            acked: head.acked,
            log,
            outbox,
            reader: OutboxReader::new(self.pending),
            snapshots: self.snapshots,
            snapshot_debt,
            snapshotting: false,
            next_incarnation,
            log_buffer: Vec::new(),
            outbox_buffer: Vec::new(),
            compressed: Vec::new(),
            has_marker: self.clean,
            failed: false,
            _lock: lock,
        };
        (store, recovered)
    }

    /// Log bytes since the newest snapshot, so that many short runs do not let the log grow.
    fn snapshot_debt(&self) -> u64 {
        let newest = self.snapshots.iter().map(snapshot_epoch).max().unwrap_or(0);
        let frames = self.log.segments.iter().flat_map(|segment| &segment.frames);
        frames.filter(|frame| frame.header.epoch > newest).map(FrameAt::size).sum()
    }
}

/// The largest incarnation of all segments, spare ones too: frames that a crash left in one must not pass later.
fn last_incarnation(folder: &Folder, log: &Log, outbox: &OutboxSegments, listing: &Listing) -> Result<u64, OpenError> {
    let logs = log.segments.iter().map(|found| found.segment.incarnation);
    let outboxes = outbox.values().map(|segment| segment.incarnation);
    let mut last = logs.chain(outboxes).max().unwrap_or(0);
    for (_, name) in &listing.spares {
        let path = folder.dir.join(name);
        let incarnation = Segment::incarnation_of(&*folder.disk, &path);
        last = last.max(incarnation.map_err(|error| OpenError::io(&path, error))?);
    }
    Ok(last)
}

/// Writes the same bytes again where they are, and syncs them.
fn rewrite(segment: &Segment, offset: u64, length: u64) -> Result<(), OpenError> {
    let io = |error| OpenError::io(&segment.path, error);
    let mut bytes = vec![0; length as usize];
    let file: &dyn DiskFile = &*segment.file;
    file.read_at(&mut bytes, offset).map_err(io)?;
    file.write_at(&bytes, offset).map_err(io)?;
    file.sync_data().map_err(io)
}

fn read_outbox_segments(folder: &Folder, listing: &Listing) -> Result<OutboxSegments, OpenError> {
    let mut segments = BTreeMap::new();
    for &first_epoch in &listing.outboxes {
        let path = folder.dir.join(names::outbox(first_epoch));
        let segment = Segment::open(&*folder.disk, &path, format::OUTBOX, folder.store_id, first_epoch)?;
        segments.insert(first_epoch, Arc::new(segment));
    }
    Ok(segments)
}

/// The newest snapshot of each key group.
fn read_snapshots(folder: &Folder, key_groups: u16, listing: &Listing) -> Result<Vec<Option<Snapshot>>, OpenError> {
    let mut snapshots = vec![None; usize::from(key_groups)];
    // Names are in order, so a later epoch of a key group comes later.
    for &(key_group, epoch) in &listing.snapshots {
        let path = folder.dir.join(names::snapshot(key_group, epoch));
        if key_group >= key_groups {
            let what = format!("the pipeline has {key_groups} key groups, this is of number {key_group}");
            return Err(OpenError::corrupt(&path, 0, what));
        }
        let io = |error| OpenError::io(&path, error);
        let bytes = folder.disk.open(&path).and_then(|file| file.len()).map_err(io)?;
        snapshots[usize::from(key_group)] = Some(Snapshot { path, key_group, epoch, bytes });
    }
    for snapshot in snapshots.iter().flatten() {
        snapshot.check(&*folder.disk, folder.store_id)?;
    }
    Ok(snapshots)
}

/// After a clean end the log is exactly as it was left.
fn check_closed(folder: &Folder, log: &Log) -> Result<(), OpenError> {
    let closed = Closed::read(&*folder.disk, &folder.dir, folder.store_id)?;
    let found = Closed { last_epoch: log.last_epoch(), log_end: log.segments.last().map_or(0, LogSegment::end) };
    if found == closed && log.dropped_epoch.is_none() {
        return Ok(());
    }
    let (path, offset) = log.end(&folder.dir);
    let what = format!(
        "the run before ended cleanly with epoch {} and {} bytes of log, but whole are epoch {} and {} bytes",
        closed.last_epoch, closed.log_end, found.last_epoch, found.log_end
    );
    Err(OpenError::corrupt(&path, offset, what))
}

/// Every other file that names an epoch is asked whether the log is long enough, at both ends.
fn check_witnesses(
    folder: &Folder,
    log: &Log,
    snapshots: &[Option<Snapshot>],
    outbox: &OutboxSegments,
    listing: &Listing,
) -> Result<(), OpenError> {
    let last_epoch = log.last_epoch();
    for snapshot in snapshots.iter().flatten() {
        if snapshot.epoch > last_epoch {
            let witness = format!("the snapshot of key group {}", snapshot.key_group);
            return Err(log.too_short(&folder.dir, snapshot.epoch, &witness));
        }
    }
    if let Some((newest, segment)) = outbox.last_key_value() {
        let io = |error| OpenError::io(&segment.path, error);
        let length = segment.file.len().map_err(io)?;
        let frames = frame::walk(&*segment.file, format::PAGE, length, segment.salt).map_err(io)?;
        let newest = frames.last().map_or(*newest, |frame| frame.header.epoch.max(*newest));
        // The epoch that was being written is one more than the last.
        if newest > last_epoch + 1 {
            return Err(log.too_short(&folder.dir, newest, "an outbox entry"));
        }
    }
    let Some(&first) = listing.logs.first() else { return Ok(()) };
    let oldest = snapshots.iter().map(snapshot_epoch).zip(0u16..).min();
    match oldest {
        Some((epoch, key_group)) if first > epoch + 1 => {
            let what = format!("the log begins with epoch {first}, but key group {key_group} is known to {epoch} only");
            Err(OpenError::corrupt(&folder.dir.join(names::log(first)), 0, what))
        }
        _ => Ok(()),
    }
}

/// The verified outbox frames that some sink has not acknowledged.
fn read_pending(log: &Log, outbox: &OutboxSegments) -> Result<Pending, OpenError> {
    let mut pending = Pending::default();
    let Some(last) = &log.head else { return Ok(pending) };
    for found in &log.segments {
        for frame in found.frames.iter().filter(|frame| frame.header.outbox.is_some()) {
            let head = scan::read_head(&found.segment, frame)?;
            let head = head.ok_or_else(|| damaged_head(&found.segment.path, frame))?;
            if is_pending(&head.outbox, frame.header.epoch, &last.acked) {
                check_not_freed(log, frame, outbox)?;
                let read = scan::read_pending(&found.segment, frame, &head, outbox)??;
                pending.frames.extend(read.map(|read| (frame.header.epoch, read)));
            }
        }
    }
    Ok(pending)
}

/// An epoch that was cut off acknowledged nothing, so nothing that the epoch before still owes is gone.
fn check_not_freed(log: &Log, frame: &FrameAt, outbox: &OutboxSegments) -> Result<(), OpenError> {
    let freed = frame.header.outbox.is_some_and(|reference| !outbox.contains_key(&reference.segment));
    match log.segments.last() {
        Some(newest) if freed => {
            let (owed, next) = (frame.header.epoch, log.last_epoch() + 1);
            let what = format!(
                "epoch {next} is not whole, but was durable once, or a file is missing: the outbox of {owed} is gone"
            );
            Err(OpenError::corrupt(&newest.segment.path, newest.end(), what))
        }
        _ => Ok(()),
    }
}

fn damaged_head(path: &Path, frame: &FrameAt) -> OpenError {
    let what = format!("epoch {}: offsets and meta do not match their checksum", frame.header.epoch);
    OpenError::corrupt(path, frame.head_offset(), what)
}
