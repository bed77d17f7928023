//! Segments: files of frames, opened by a page that names the store, the first epoch and the incarnation.
//!
//! Invariant: a segment gets its name only when its header is durable, so one without a good header is damaged, never
//! torn. The salt is another one for every incarnation, so that a segment file is used again without its old frames ever
//! passing for new ones.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use xxhash_rust::xxh3::xxh3_64;

use crate::disk::{Disk, DiskFile};
use crate::error::{OpenError, WriteError};
use crate::format::{self, Fields, Magic, PAGE, PROLOGUE, check_prologue};
use crate::names;

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
    /// Makes a segment out of a spare one, or a new file, and syncs its header before it gets its name; the name is
    /// durable only after the folder's sync. When it fails, neither file nor spare is left.
    pub(crate) fn create(
        disk: &dyn Disk,
        path: PathBuf,
        spare: Option<&Path>,
        magic: Magic,
        store_id: u64,
        incarnation: u64,
        first_epoch: u64,
    ) -> Result<Self, WriteError> {
        let mut header = header_bytes(magic, store_id, incarnation, first_epoch);
        let salt = salt(&header);
        header.resize(PAGE as usize, 0);
        let made = spare.map_or_else(|| names::temporary(&path), Path::to_owned);
        let file = match spare {
            Some(spare) => disk.open(spare),
            None => disk.create(&made),
        };
        let file = file.map_err(|error| WriteError::write(&made, error))?;
        let give_up = |error| match disk.remove(&made) {
            Ok(()) => WriteError::write(&path, error),
            Err(source) => WriteError::Io { path: made.clone(), source },
        };
        file.write_at(&header, 0).map_err(give_up)?;
        file.sync_data().map_err(|error| WriteError::sync(&made, error))?;
        disk.rename(&made, &path).map_err(give_up)?;
        Ok(Self { path, file, first_epoch, incarnation, salt })
    }

    /// What a spare segment's header says was its incarnation; 0 without a good header.
    pub(crate) fn incarnation_of(disk: &dyn Disk, path: &Path) -> io::Result<u64> {
        let file = disk.open(path)?;
        let mut header = vec![0; HEADER.min(file.len()? as usize)];
        file.read_at(&mut header, 0)?;
        let good = header.len() == HEADER && format::has_good_check(&header);
        Ok(Fields::new(header.get(PROLOGUE + 8..).unwrap_or_default()).u64().filter(|_| good).unwrap_or(0))
    }

    /// Opens a segment.
    pub(crate) fn open(
        disk: &dyn Disk,
        path: &Path,
        magic: Magic,
        store_id: u64,
        first_epoch: u64,
    ) -> Result<Self, OpenError> {
        let io = |error: io::Error| OpenError::io(path, error);
        let file = disk.open(path).map_err(io)?;
        let length = file.len().map_err(io)?;
        let mut header = vec![0; HEADER.min(length as usize)];
        file.read_at(&mut header, 0).map_err(io)?;
        let good = header.len() == HEADER && format::has_good_check(&header);
        check_prologue(path, &header, magic)?;
        let corrupt = |what: &str| Err(OpenError::corrupt(path, PROLOGUE as u64, what));
        if !good {
            return corrupt("the segment's header does not match its checksum");
        }
        let mut fields = Fields::new(&header[PROLOGUE..]);
        match (fields.u64(), fields.u64(), fields.u64()) {
            (Some(id), _, _) if id != store_id => corrupt("the segment is of another state folder"),
            (_, Some(incarnation), Some(first)) if first == first_epoch => {
                Ok(Self { path: path.to_owned(), file, first_epoch, incarnation, salt: salt(&header) })
            }
            _ => corrupt("the segment's header names another first epoch than its file name"),
        }
    }
}
