//! Appends frames to the newest segment of one kind, begins new ones, and keeps a few of those that nobody needs to be
//! written again: overwriting blocks that a file has already costs a sync much less than new ones do.
//!
//! Invariant: a frame is staged, then either committed or undone; undone, nothing of it passes for a frame. It frees only
//! what it is told is needless. Behind the last frame a segment holds what it held in an earlier life.

use std::collections::VecDeque;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::disk::Disk;
use crate::error::WriteError;
use crate::format::{Magic, PAGE};
use crate::names;
use crate::savepoint::{copy, link};
use crate::segment::Segment;

/// What both kinds of segments are written with.
#[derive(Clone)]
pub(crate) struct Folder {
    pub disk: Arc<dyn Disk>,
    pub dir: PathBuf,
    pub store_id: u64,
}

/// Spare segments of a kind that are kept; a steady pipeline frees one about as often as it begins one.
const MAX_SPARES: usize = 2;

/// The segment that is written to.
struct Current {
    segment: Arc<Segment>,
    /// Where the next frame goes.
    end: u64,
    /// Length of the file, which may be more.
    length: u64,
}

/// A segment that nothing is added to any more.
struct Sealed {
    path: PathBuf,
    last_epoch: u64,
    bytes: u64,
}

/// What an epoch did that is not committed yet.
#[derive(Default)]
struct Staged {
    bytes: u64,
    /// A segment was begun for it; the one before, if any.
    begun: Option<Option<Current>>,
}

pub(crate) struct SegmentWriter {
    magic: Magic,
    name: fn(u64) -> String,
    max_bytes: u64,
    current: Option<Current>,
    sealed: VecDeque<Sealed>,
    spares: Vec<PathBuf>,
    staged: Staged,
}

impl SegmentWriter {
    pub(crate) fn new(magic: Magic, name: fn(u64) -> String, max_bytes: u64) -> Self {
        Self {
            magic,
            name,
            max_bytes,
            current: None,
            sealed: VecDeque::new(),
            spares: Vec::new(),
            staged: Staged::default(),
        }
    }

    /// Takes over a segment of an earlier run that is complete.
    pub(crate) fn add_sealed(&mut self, path: &Path, last_epoch: u64, bytes: u64) {
        self.sealed.push_back(Sealed { path: path.to_owned(), last_epoch, bytes });
    }

    /// Goes on with a segment of an earlier run, whose file is `length` bytes long.
    pub(crate) fn resume(&mut self, segment: Segment, end: u64, length: u64) {
        self.current = Some(Current { segment: Arc::new(segment), end, length });
    }

    /// Takes over a spare segment of an earlier run; answers whether it is wanted.
    pub(crate) fn add_spare(&mut self, path: &Path) -> bool {
        let wanted = self.spares.len() < MAX_SPARES;
        if wanted {
            self.spares.push(path.to_owned());
        }
        wanted
    }

    /// Sees to it that there is a segment for `epoch`'s frame, and answers it and the frame's offset in it.
    pub(crate) fn stage(
        &mut self,
        folder: &Folder,
        epoch: u64,
        incarnation: u64,
    ) -> Result<(Arc<Segment>, u64), WriteError> {
        if self.current.as_ref().is_none_or(|current| current.end >= self.max_bytes) {
            let path = folder.dir.join((self.name)(epoch));
            let spare = self.spares.pop();
            let (magic, store_id) = (self.magic, folder.store_id);
            let segment = Segment::create(&*folder.disk, path, spare.as_deref(), magic, store_id, incarnation, epoch)?;
            let length = segment.file.len().map_err(|error| WriteError::write(&segment.path, error))?;
            let current = Current { segment: Arc::new(segment), end: PAGE, length };
            self.staged.begun = Some(self.current.replace(current));
        }
        let current = self.current();
        Ok((Arc::clone(&current.segment), current.end))
    }

    fn current(&self) -> &Current {
        self.current.as_ref().expect("a frame is staged before it is written")
    }

    /// Writes the staged frame.
    pub(crate) fn write(&mut self, frame: &[u8]) -> Result<(), WriteError> {
        self.staged.bytes = frame.len() as u64;
        let Current { segment, end, .. } = self.current();
        segment.file.write_at(frame, *end).map_err(|error| WriteError::write(&segment.path, error))
    }

    pub(crate) fn sync(&self) -> Result<(), WriteError> {
        let segment = &self.current().segment;
        segment.file.sync_data().map_err(|error| WriteError::sync(&segment.path, error))
    }

    /// Whether the folder must be synced for the staged frame.
    pub(crate) fn has_begun_segment(&self) -> bool {
        self.staged.begun.is_some()
    }

    /// The staged frame is durable.
    pub(crate) fn commit(&mut self, epoch: u64) {
        let Staged { bytes, begun } = std::mem::take(&mut self.staged);
        if let Some(current) = &mut self.current {
            current.end += bytes;
            current.length = current.length.max(current.end);
        }
        if let Some(Some(before)) = begun {
            self.add_sealed(&before.segment.path, epoch - 1, before.end);
        }
    }

    /// Takes back what was staged.
    pub(crate) fn undo(&mut self, folder: &Folder) -> Result<(), WriteError> {
        let Staged { bytes, begun } = std::mem::take(&mut self.staged);
        let Some(Current { segment, end, length }) = &mut self.current else { return Ok(()) };
        let fail = |source| WriteError::Io { path: segment.path.clone(), source };
        if let Some(before) = begun {
            folder.disk.remove(&segment.path).map_err(fail)?;
            self.current = before;
            return Ok(());
        }
        if bytes > 0 {
            segment.file.set_len(*length).map_err(fail)?;
            *length = wipe(segment, *end, *length).map_err(|error| WriteError::sync(&segment.path, error))?;
        }
        Ok(())
    }

    /// Removes sealed segments whose epochs are all before `first_needed`, oldest first, or keeps them as spare ones;
    /// each is gone durably before the next, so that what is left is always without a gap. What cannot be removed stays
    /// for next time.
    pub(crate) fn free(&mut self, folder: &Folder, first_needed: u64) -> Result<(), WriteError> {
        while self.sealed.front().is_some_and(|sealed| sealed.last_epoch < first_needed) {
            let path = &self.sealed[0].path;
            // A segment that a savepoint holds too must stay as it is.
            let is_kept = self.spares.len() < MAX_SPARES && !folder.disk.is_linked(path).unwrap_or(true);
            let spare = names::spare(path).filter(|_| is_kept);
            let gone = match &spare {
                Some(spare) => folder.disk.rename(path, spare),
                None => folder.disk.remove(path),
            };
            match gone {
                Ok(()) => {}
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(_) => return Ok(()),
            }
            folder.disk.sync_dir(&folder.dir).map_err(|error| WriteError::sync(&folder.dir, error))?;
            self.spares.extend(spare);
            self.sealed.pop_front();
        }
        Ok(())
    }

    /// Links the sealed segments into `target` and copies the newest up to its last frame.
    pub(crate) fn copy_to(&self, folder: &Folder, target: &Path) -> Result<(), WriteError> {
        for sealed in &self.sealed {
            link(&*folder.disk, &sealed.path, &names::within(target, &sealed.path))?;
        }
        match &self.current {
            Some(Current { segment, end, .. }) => {
                copy(&*folder.disk, &segment.path, &names::within(target, &segment.path), *end)
            }
            None => Ok(()),
        }
    }

    /// Where the next frame of the newest segment goes, 0 without one.
    pub(crate) fn end(&self) -> u64 {
        self.current.as_ref().map_or(0, |current| current.end)
    }

    pub(crate) fn bytes(&self) -> u64 {
        self.end() + self.sealed.iter().map(|sealed| sealed.bytes).sum::<u64>()
    }

    pub(crate) fn segments(&self) -> u64 {
        self.sealed.len() as u64 + u64::from(self.current.is_some())
    }
}

/// Sees to it that nothing at `end` of a file of `length` bytes passes for a frame, durably; where the file must not even
/// be written to, it is cut off there. Answers how long it is then.
pub(crate) fn wipe(segment: &Segment, end: u64, length: u64) -> io::Result<u64> {
    if length > end {
        let page = &[0; PAGE as usize][..PAGE.min(length - end) as usize];
        segment.file.write_at(page, end).or_else(|_| segment.file.set_len(end))?;
    }
    segment.file.sync_data()?;
    segment.file.len()
}
