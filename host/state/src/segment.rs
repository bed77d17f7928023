//! Segments: files of frames, opened by a page that names the store, the first epoch and the incarnation.
//!
//! Invariant: the header is durable before the first frame is written, so a segment with frames and without a good
//! header is damaged, never torn. The salt is another one for every incarnation, so that a segment file can be
//! used again without its old frames ever passing for new ones.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use xxhash_rust::xxh3::xxh3_64;

use crate::disk::{Disk, DiskFile};
use crate::error::{OpenError, WriteError};
use crate::format::{self, Fields, Magic, PAGE, PROLOGUE, Prologue, check_prologue};

/// Bytes of a header that are checked; zeros fill its page.
const HEADER: usize = PROLOGUE + 32;

/// An open segment file with a good header.
#[derive(Clone)]
pub(crate) struct Segment {
    pub path: PathBuf,
    pub file: Arc<dyn DiskFile>,
    pub first_epoch: u64,
    pub incarnation: u64,
    /// Seeds the checksums of its frames.
    pub salt: u64,
}

impl std::fmt::Debug for Segment {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Segment").field("path", &self.path).field("incarnation", &self.incarnation).finish()
    }
}

fn header_bytes(magic: Magic, store_id: u64, incarnation: u64, first_epoch: u64) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(PAGE as usize);
    format::write_prologue(&mut bytes, magic);
    for field in [store_id, incarnation, first_epoch] {
        bytes.extend_from_slice(&field.to_le_bytes());
    }
    format::write_check(&mut bytes);
    bytes
}

/// The salt is the hash of the whole header: it differs with kind, store, incarnation and first epoch.
fn salt(header: &[u8]) -> u64 {
    xxh3_64(&header[..HEADER])
}

impl Segment {
    /// Makes a segment and syncs its header; its name is durable only after the folder's sync.
    pub(crate) fn create(
        disk: &dyn Disk,
        path: PathBuf,
        magic: Magic,
        store_id: u64,
        incarnation: u64,
        first_epoch: u64,
    ) -> Result<Self, WriteError> {
        let mut header = header_bytes(magic, store_id, incarnation, first_epoch);
        let salt = salt(&header);
        header.resize(PAGE as usize, 0);
        let file = disk.create(&path).map_err(|error| WriteError::write(&path, error))?;
        if let Err(error) = file.write_at(&header, 0) {
            // The half-made file has no good header: a start would remove it, and so does the next attempt.
            disk.remove(&path).map_err(|error| WriteError::Io { path: path.clone(), source: error })?;
            return Err(WriteError::write(&path, error));
        }
        file.sync_data().map_err(|error| WriteError::sync(&path, error))?;
        Ok(Self { path, file, first_epoch, incarnation, salt })
    }

    /// Opens a segment, or answers `None` when its header was torn at its creation.
    pub(crate) fn open(
        disk: &dyn Disk,
        path: &Path,
        magic: Magic,
        store_id: u64,
        first_epoch: u64,
    ) -> Result<Option<Self>, OpenError> {
        let io = |error: io::Error| OpenError::io(path, error);
        let file = disk.open(path).map_err(io)?;
        let length = file.len().map_err(io)?;
        let mut header = vec![0; HEADER.min(length as usize)];
        file.read_at(&mut header, 0).map_err(io)?;
        let good = header.len() == HEADER && format::has_good_check(&header);
        if length <= PAGE && (!good || format::read_prologue(&header, magic) == Prologue::Bad) {
            return Ok(None);
        }
        check_prologue(path, &header, magic)?;
        let corrupt = |what: &str| Err(OpenError::corrupt(path, PROLOGUE as u64, what));
        if !good {
            return corrupt("the segment's header does not match its checksum");
        }
        let mut fields = Fields::new(&header[PROLOGUE..]);
        match (fields.u64(), fields.u64(), fields.u64()) {
            (Some(id), _, _) if id != store_id => corrupt("the segment is of another state folder"),
            (_, Some(incarnation), Some(first)) if first == first_epoch => {
                Ok(Some(Self { path: path.to_owned(), file, first_epoch, incarnation, salt: salt(&header) }))
            }
            _ => corrupt("the segment's header names another first epoch than its file name"),
        }
    }
}
