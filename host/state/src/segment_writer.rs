//! Appends frames to the newest segment of one kind, begins new ones, and removes those that nobody needs.
//!
//! Invariant: a frame is staged, then either committed or undone; undone, the files are as they were before it.
//! It syncs only when told to, and frees only what it is told is needless.

use std::collections::VecDeque;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::disk::Disk;
use crate::error::WriteError;
use crate::format::{Magic, PAGE};
use crate::segment::Segment;

/// What both kinds of segments are written with.
#[derive(Clone)]
pub(crate) struct Folder {
    pub disk: Arc<dyn Disk>,
    pub dir: PathBuf,
    pub store_id: u64,
}

/// The segment that is written to.
struct Current {
    segment: Arc<Segment>,
    /// Where the next frame goes.
    end: u64,
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
    staged: Staged,
}

impl SegmentWriter {
    pub(crate) fn new(magic: Magic, name: fn(u64) -> String, max_bytes: u64) -> Self {
        Self { magic, name, max_bytes, current: None, sealed: VecDeque::new(), staged: Staged::default() }
    }

    /// Takes over a segment of an earlier run that is complete.
    pub(crate) fn add_sealed(&mut self, path: &Path, last_epoch: u64, bytes: u64) {
        self.sealed.push_back(Sealed { path: path.to_owned(), last_epoch, bytes });
    }

    /// Goes on with a segment of an earlier run.
    pub(crate) fn resume(&mut self, segment: Segment, end: u64) {
        self.current = Some(Current { segment: Arc::new(segment), end });
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
            let segment = Segment::create(&*folder.disk, path, self.magic, folder.store_id, incarnation, epoch)?;
            let current = Current { segment: Arc::new(segment), end: PAGE };
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
        let Current { segment, end } = self.current();
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
        }
        if let Some(Some(before)) = begun {
            self.add_sealed(&before.segment.path, epoch - 1, before.end);
        }
    }

    /// Takes back what was staged.
    pub(crate) fn undo(&mut self, folder: &Folder) -> Result<(), WriteError> {
        let Staged { bytes, begun } = std::mem::take(&mut self.staged);
        let Some(Current { segment, end }) = &self.current else { return Ok(()) };
        let fail = |source| WriteError::Io { path: segment.path.clone(), source };
        if let Some(before) = begun {
            folder.disk.remove(&segment.path).map_err(fail)?;
            self.current = before;
        } else if bytes > 0 {
            segment.file.set_len(*end).map_err(fail)?;
        }
        Ok(())
    }

    /// Removes sealed segments whose epochs are all before `first_needed`, oldest first; each removal is durable
    /// before the next, so that what is left is always without a gap. What cannot be removed stays for next time.
    pub(crate) fn free(&mut self, folder: &Folder, first_needed: u64) -> Result<(), WriteError> {
        while self.sealed.front().is_some_and(|sealed| sealed.last_epoch < first_needed) {
            match folder.disk.remove(&self.sealed[0].path) {
                Ok(()) => {}
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(_) => return Ok(()),
            }
            folder.disk.sync_dir(&folder.dir).map_err(|error| WriteError::sync(&folder.dir, error))?;
            self.sealed.pop_front();
        }
        Ok(())
    }

    /// Length of the newest segment, 0 without one.
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
