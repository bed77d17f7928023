//! Snapshot files: the whole state of one key group as of the end of one epoch.
//!
//! Invariant: a snapshot gets its name only when it is whole and synced, so one that does not check is damaged,
//! never torn. Its sections are deltas of puts. It does not choose when to write or what to remove.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::disk::{Disk, DiskFile};
use crate::error::{OpenError, WriteError};
use crate::format::{self, Fields, PROLOGUE, check_prologue, hash};
use crate::names;
use crate::record::StateDelta;

/// Length of the fixed part of the header in bytes.
const HEADER: usize = PROLOGUE + 40;

/// Length of a row of the section table in bytes.
const SECTION_ROW: usize = 32;

/// A snapshot file and what its name says.
#[derive(Debug, Clone)]
pub(crate) struct Snapshot {
    pub path: PathBuf,
    pub key_group: u16,
    pub epoch: u64,
    pub bytes: u64,
}

fn salt(store_id: u64, key_group: u16, epoch: u64) -> u64 {
    hash(store_id ^ u64::from(key_group), &epoch.to_le_bytes())
}

/// The header and section table of a snapshot of `sections`.
fn encode_header(store_id: u64, key_group: u16, epoch: u64, sections: &[&StateDelta]) -> Vec<u8> {
    let salt = salt(store_id, key_group, epoch);
    let mut table = Vec::with_capacity(sections.len() * SECTION_ROW);
    for section in sections {
        table.extend_from_slice(&u64::from(section.step).to_le_bytes());
        for field in [section.puts, section.bytes.len() as u64, hash(salt, &section.bytes)] {
            table.extend_from_slice(&field.to_le_bytes());
        }
    }
    let mut header = Vec::with_capacity(HEADER + table.len());
    format::write_prologue(&mut header, format::SNAPSHOT);
    header.extend_from_slice(&store_id.to_le_bytes());
    header.extend_from_slice(&epoch.to_le_bytes());
    header.extend_from_slice(&u32::from(key_group).to_le_bytes());
    let count = u32::try_from(sections.len()).expect("steps are numbered by u16");
    header.extend_from_slice(&count.to_le_bytes());
    header.extend_from_slice(&hash(salt, &table).to_le_bytes());
    format::write_check(&mut header);
    header.extend_from_slice(&table);
    header
}

/// A snapshot on its way to the disk. Another thread may write it while epochs go on; the store learns of it by
/// [`crate::Store::finish_snapshot`].
pub struct SnapshotJob {
    disk: Arc<dyn Disk>,
    dir: PathBuf,
    store_id: u64,
    key_group: u16,
    epoch: u64,
    sections: Vec<StateDelta>,
}

/// A snapshot that is durable under its name.
#[derive(Debug)]
pub struct WrittenSnapshot(pub(crate) Snapshot);

impl std::fmt::Debug for SnapshotJob {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SnapshotJob").field("key_group", &self.key_group).field("epoch", &self.epoch).finish()
    }
}

impl SnapshotJob {
    pub(crate) fn new(
        (disk, dir, store_id): (Arc<dyn Disk>, PathBuf, u64),
        (key_group, epoch): (u16, u64),
        sections: Vec<StateDelta>,
    ) -> Self {
        Self { disk, dir, store_id, key_group, epoch, sections }
    }

    pub fn key_group(&self) -> u16 {
        self.key_group
    }

    /// Writes and names the snapshot.
    ///
    /// # Errors
    /// As [`SnapshotJob::write_temporary`] and [`SnapshotJob::publish`].
    pub fn write(&self) -> Result<WrittenSnapshot, WriteError> {
        let bytes = self.write_temporary()?;
        self.publish(bytes)
    }

    /// Writes and syncs the snapshot under a temporary name and answers its length.
    ///
    /// # Errors
    /// [`WriteError::Full`]: nothing of it is left, it may be written again. Otherwise the process must end.
    pub fn write_temporary(&self) -> Result<u64, WriteError> {
        let sections: Vec<&StateDelta> = self.sections.iter().filter(|section| !section.is_empty()).collect();
        let header = encode_header(self.store_id, self.key_group, self.epoch, &sections);
        let parts = std::iter::once(&header[..]).chain(sections.iter().map(|section| &section.bytes[..]));
        write_temporary(&*self.disk, &self.path(), parts)?;
        Ok(sections.iter().map(|section| section.bytes.len() as u64).sum::<u64>() + header.len() as u64)
    }

    /// Gives the written snapshot its name, durably.
    ///
    /// # Errors
    /// As [`SnapshotJob::write_temporary`].
    pub fn publish(&self, bytes: u64) -> Result<WrittenSnapshot, WriteError> {
        let path = self.path();
        publish(&*self.disk, &self.dir, &path)?;
        Ok(WrittenSnapshot(Snapshot { path, key_group: self.key_group, epoch: self.epoch, bytes }))
    }

    fn path(&self) -> PathBuf {
        self.dir.join(names::snapshot(self.key_group, self.epoch))
    }
}

/// Makes `path` hold `parts`, durably and all at once: temporary file, sync, rename, sync of the folder.
pub(crate) fn write_whole<'a>(
    disk: &dyn Disk,
    dir: &Path,
    path: &Path,
    parts: impl Iterator<Item = &'a [u8]>,
) -> Result<(), WriteError> {
    write_temporary(disk, path, parts)?;
    publish(disk, dir, path)
}

/// The file under its temporary name, synced. When it fails nothing of it is left.
fn write_temporary<'a>(disk: &dyn Disk, path: &Path, parts: impl Iterator<Item = &'a [u8]>) -> Result<(), WriteError> {
    let temporary = names::temporary(path);
    let file = disk.create(&temporary).map_err(|error| WriteError::write(&temporary, error))?;
    write_parts(&*file, parts).map_err(|error| give_up(disk, &temporary, error))?;
    file.sync_data().map_err(|error| WriteError::sync(&temporary, error))
}

fn publish(disk: &dyn Disk, dir: &Path, path: &Path) -> Result<(), WriteError> {
    let temporary = names::temporary(path);
    disk.rename(&temporary, path).map_err(|error| give_up(disk, &temporary, error))?;
    disk.sync_dir(dir).map_err(|error| WriteError::sync(dir, error))
}

fn give_up(disk: &dyn Disk, temporary: &Path, error: std::io::Error) -> WriteError {
    match disk.remove(temporary) {
        Ok(()) => WriteError::write(temporary, error),
        Err(source) => WriteError::Io { path: temporary.to_owned(), source },
    }
}

fn write_parts<'a>(file: &dyn DiskFile, parts: impl Iterator<Item = &'a [u8]>) -> std::io::Result<()> {
    let mut offset = 0;
    for part in parts {
        file.write_at(part, offset)?;
        offset += part.len() as u64;
    }
    Ok(())
}

/// One step's part of a snapshot, in the loader's buffer.
pub(crate) struct Section<'a> {
    pub step: u16,
    pub puts: u64,
    /// Where it begins in the file.
    pub offset: u64,
    pub bytes: &'a [u8],
}

impl Snapshot {
    /// Checks the header against the file's name and length.
    pub(crate) fn check(&self, disk: &dyn Disk, store_id: u64) -> Result<(), OpenError> {
        let file = self.open(disk)?;
        let mut header = vec![0; HEADER.min(self.bytes as usize)];
        file.read_at(&mut header, 0).map_err(|error| OpenError::io(&self.path, error))?;
        self.decode_header(&header, store_id).map(|_| ())
    }

    fn open(&self, disk: &dyn Disk) -> Result<std::sync::Arc<dyn DiskFile>, OpenError> {
        disk.open(&self.path).map_err(|error| OpenError::io(&self.path, error))
    }

    fn corrupt(&self, offset: usize, what: &str) -> OpenError {
        OpenError::corrupt(&self.path, offset as u64, what)
    }

    /// The number of sections and the hash of their table.
    fn decode_header(&self, bytes: &[u8], store_id: u64) -> Result<(u32, u64), OpenError> {
        check_prologue(&self.path, bytes, format::SNAPSHOT)?;
        let header = bytes.get(..HEADER).filter(|header| format::has_good_check(header));
        let header = header.ok_or_else(|| self.corrupt(PROLOGUE, "the header does not match its checksum"))?;
        let mut fields = Fields::new(&header[PROLOGUE..]);
        let mut read = || Some((fields.u64()?, fields.u64()?, fields.u32()?, fields.u32()?, fields.u64()?));
        let (id, epoch, key_group, sections, table_hash) = read().expect("the header's length was checked");
        if id != store_id {
            return Err(self.corrupt(PROLOGUE, "the snapshot is of another state folder"));
        }
        if (epoch, key_group) != (self.epoch, u32::from(self.key_group)) {
            return Err(self.corrupt(PROLOGUE + 8, "the header names another key group or epoch than the file name"));
        }
        Ok((sections, table_hash))
    }

    /// Reads the file into `buffer` and answers its sections, verified.
    pub(crate) fn read<'a>(
        &self,
        disk: &dyn Disk,
        store_id: u64,
        buffer: &'a mut Vec<u8>,
    ) -> Result<Vec<Section<'a>>, OpenError> {
        let file = self.open(disk)?;
        buffer.clear();
        buffer.resize(self.bytes as usize, 0);
        file.read_at(buffer, 0).map_err(|error| OpenError::io(&self.path, error))?;
        let (count, table_hash) = self.decode_header(buffer, store_id)?;
        let salt = salt(store_id, self.key_group, self.epoch);
        let table_end = HEADER + count as usize * SECTION_ROW;
        let table = buffer.get(HEADER..table_end).filter(|table| hash(salt, table) == table_hash);
        let table = table.ok_or_else(|| self.corrupt(HEADER, "the table of steps does not match its checksum"))?;
        let (mut fields, mut offset) = (Fields::new(table), table_end);
        let mut sections = Vec::new();
        for _ in 0..count {
            let mut read = || Some((fields.u64()? as u16, fields.u64()?, fields.u64()?, fields.u64()?));
            let (step, puts, length, section_hash) = read().expect("the table's length was checked");
            let end = offset.saturating_add(length as usize);
            let bytes = buffer.get(offset..end).filter(|bytes| hash(salt, bytes) == section_hash);
            let what = format!("the state of step {step} does not match its checksum");
            let bytes = bytes.ok_or_else(|| self.corrupt(offset, &what))?;
            sections.push(Section { step, puts, offset: offset as u64, bytes });
            offset = end;
        }
        if offset != buffer.len() {
            return Err(self.corrupt(offset, "there are bytes behind the last step's state"));
        }
        Ok(sections)
    }
}
