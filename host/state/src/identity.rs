//! Whose state a folder holds, and the marker of a clean end.
//!
//! Invariant: both files get their names only when they are whole and synced, so neither is ever torn.

use std::path::Path;

use xxhash_rust::xxh3::xxh3_64;

use crate::disk::Disk;
use crate::error::{OpenError, WriteError};
use crate::format::{self, Fields, Magic, PROLOGUE, check_prologue};
use crate::names;
use crate::snapshot::write_whole;

/// Whose state a folder holds, fixed when it is created.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    pub pipeline: String,
    /// At least 1. An existing folder keeps its own number.
    pub key_groups: u16,
    /// When the folder was created, in microseconds since the Unix epoch: tells folders of one name apart.
    pub created_us: i64,
    /// 1 for a new folder; each restore of a savepoint begins the next one.
    pub generation: u64,
}

impl Identity {
    /// A number that every file of the folder carries, so that another folder's files are refused.
    pub(crate) fn new_store_id(&self) -> u64 {
        let mut bytes = self.pipeline.clone().into_bytes();
        bytes.extend_from_slice(&self.created_us.to_le_bytes());
        xxh3_64(&bytes)
    }

    fn encode(&self, store_id: u64) -> Vec<u8> {
        let mut bytes = Vec::new();
        format::write_prologue(&mut bytes, format::IDENTITY);
        bytes.extend_from_slice(&store_id.to_le_bytes());
        bytes.extend_from_slice(&self.created_us.to_le_bytes());
        bytes.extend_from_slice(&self.generation.to_le_bytes());
        bytes.extend_from_slice(&self.key_groups.to_le_bytes());
        let length = u16::try_from(self.pipeline.len()).expect("pipeline names are short");
        bytes.extend_from_slice(&length.to_le_bytes());
        bytes.extend_from_slice(self.pipeline.as_bytes());
        format::write_check(&mut bytes);
        bytes
    }

    fn decode(bytes: &[u8]) -> Option<(u64, Self)> {
        let mut fields = Fields::new(bytes);
        let (store_id, created_us, generation) = (fields.u64()?, fields.u64()? as i64, fields.u64()?);
        let (key_groups, length) = (fields.u16()?, fields.u16()?);
        let pipeline = String::from_utf8(fields.bytes(u64::from(length))?.to_vec()).ok()?;
        fields.u64()?;
        let identity = Self { pipeline, key_groups, created_us, generation };
        (fields.is_empty() && key_groups > 0).then_some((store_id, identity))
    }

    pub(crate) fn write(&self, disk: &dyn Disk, dir: &Path, store_id: u64) -> Result<(), WriteError> {
        let bytes = self.encode(store_id);
        write_whole(disk, dir, &dir.join(names::IDENTITY), std::iter::once(&bytes[..]))
    }

    /// The store's number and identity as they are in the folder.
    pub(crate) fn read(disk: &dyn Disk, dir: &Path) -> Result<(u64, Self), OpenError> {
        let path = dir.join(names::IDENTITY);
        let bytes = read_checked(disk, &path, format::IDENTITY)?;
        Self::decode(&bytes[PROLOGUE..])
            .ok_or_else(|| OpenError::corrupt(&path, PROLOGUE as u64, "the fields are not an identity's"))
    }
}

/// Where a clean end left the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Closed {
    pub last_epoch: u64,
    /// Length of the newest log segment in bytes, 0 without one.
    pub log_end: u64,
}

impl Closed {
    pub(crate) fn write(&self, disk: &dyn Disk, dir: &Path, store_id: u64) -> Result<(), WriteError> {
        let mut bytes = Vec::new();
        format::write_prologue(&mut bytes, format::CLOSED);
        for field in [store_id, self.last_epoch, self.log_end] {
            bytes.extend_from_slice(&field.to_le_bytes());
        }
        format::write_check(&mut bytes);
        write_whole(disk, dir, &dir.join(names::CLOSED), std::iter::once(&bytes[..]))
    }

    pub(crate) fn read(disk: &dyn Disk, dir: &Path, store_id: u64) -> Result<Self, OpenError> {
        let path = dir.join(names::CLOSED);
        let bytes = read_checked(disk, &path, format::CLOSED)?;
        let mut fields = Fields::new(&bytes[PROLOGUE..]);
        match (fields.u64(), fields.u64(), fields.u64()) {
            (Some(id), Some(last_epoch), Some(log_end)) if id == store_id => Ok(Self { last_epoch, log_end }),
            _ => Err(OpenError::corrupt(&path, PROLOGUE as u64, "the marker is of another state folder")),
        }
    }
}

/// The bytes of a small file whose last eight are its checksum.
pub(crate) fn read_checked(disk: &dyn Disk, path: &Path, magic: Magic) -> Result<Vec<u8>, OpenError> {
    let bytes = read_file(disk, path).map_err(|error| OpenError::io(path, error))?;
    check_prologue(path, &bytes, magic)?;
    if !format::has_good_check(&bytes) {
        return Err(OpenError::corrupt(path, PROLOGUE as u64, "the content does not match its checksum"));
    }
    Ok(bytes)
}

/// All of a file.
pub(crate) fn read_file(disk: &dyn Disk, path: &Path) -> std::io::Result<Vec<u8>> {
    let file = disk.open(path)?;
    let mut bytes = vec![0; file.len()? as usize];
    file.read_at(&mut bytes, 0)?;
    Ok(bytes)
}
