//! Savepoints: a folder's durable state, copied while it is written to or stopped, into a folder that can be carried
//! away, looked into, and begun from.
//!
//! Invariant: a savepoint is a state folder that ended cleanly, with a list of its files, their lengths and checksums,
//! written last; without that list, or when a file is not as listed, it is refused. A restored folder gets its identity
//! last, so that one that is torn is refused as well. Files that nothing writes to any more are linked, not copied; a
//! segment with another name is never written again.

use std::io;
use std::path::Path;

use xxhash_rust::xxh3::Xxh3;

use crate::disk::{Disk, DiskFile};
use crate::error::{OpenError, WriteError};
use crate::format::{self, Fields, PROLOGUE};
use crate::identity::{Identity, read_checked};
use crate::names::{self, Name};
use crate::scan;
use crate::segment::Segment;
use crate::snapshot::write_whole;

/// Bytes that are read or copied at once.
const PORTION: usize = 1 << 20;

/// The most files that a list may name: far more than any state has.
const MAX_FILES: u32 = 1 << 20;

/// What a savepoint holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Savepoint {
    pub identity: Identity,
    /// The last epoch in it.
    pub epoch: u64,
    /// The runtime's, of that epoch.
    pub meta: Vec<u8>,
    pub files: usize,
    pub bytes: u64,
}

#[derive(Debug, PartialEq, Eq)]
struct Listed {
    /// Below the folder; components are in a folder of their own.
    name: String,
    bytes: u64,
    check: u64,
}

/// Gives a file another name, or copies it where the target is on another disk.
pub(crate) fn link(disk: &dyn Disk, from: &Path, to: &Path) -> Result<(), WriteError> {
    match disk.link(from, to) {
        Err(error) if error.kind() == io::ErrorKind::CrossesDevices => copy(disk, from, to, u64::MAX),
        result => result.map_err(|error| WriteError::write(to, error)),
    }
}

/// Copies the first `length` bytes of a file, or all of them, durably but for the name.
pub(crate) fn copy(disk: &dyn Disk, from: &Path, to: &Path, length: u64) -> Result<(), WriteError> {
    let source = disk.open(from).map_err(|error| WriteError::write(from, error))?;
    let target = disk.create(to).map_err(|error| WriteError::write(to, error))?;
    let mut written = Ok(());
    let each = |offset, portion: &[u8]| {
        if written.is_ok() {
            written = target.write_at(portion, offset);
        }
    };
    read_through(&*source, length, each).map_err(|error| WriteError::write(from, error))?;
    written.map_err(|error| WriteError::write(to, error))?;
    target.sync_data().map_err(|error| WriteError::sync(to, error))
}

/// Hands the first `length` bytes of a file over, portion by portion.
fn read_through(file: &dyn DiskFile, length: u64, mut each: impl FnMut(u64, &[u8])) -> io::Result<u64> {
    let length = file.len()?.min(length);
    let mut buffer = vec![0; PORTION.min(length as usize)];
    let mut offset = 0;
    while offset < length {
        let portion = &mut buffer[..PORTION.min((length - offset) as usize)];
        file.read_at(portion, offset)?;
        each(offset, portion);
        offset += portion.len() as u64;
    }
    Ok(length)
}

fn listed(disk: &dyn Disk, dir: &Path, name: String) -> io::Result<Listed> {
    let file = disk.open(&dir.join(&name))?;
    let mut hash = Xxh3::new();
    let bytes = read_through(&*file, u64::MAX, |_, portion| hash.update(portion))?;
    Ok(Listed { name, bytes, check: hash.digest() })
}

/// Names of all files below a folder of state, but for the lock and the list itself.
fn names_below(disk: &dyn Disk, dir: &Path) -> io::Result<Vec<String>> {
    let mut found = disk.list(dir)?;
    match disk.list(&dir.join(names::PLUGINS)) {
        Ok(plugins) => found.extend(plugins.into_iter().map(|name| format!("{}/{name}", names::PLUGINS))),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    found.retain(|name| name != names::LOCK && name != names::SAVEPOINT);
    Ok(found)
}

/// Writes the list that makes a copied folder a savepoint. Reads every file; no part of the running store is needed.
///
/// # Errors
/// A [`WriteError`]; the folder is no savepoint then.
pub fn seal(disk: &dyn Disk, dir: &Path) -> Result<(), WriteError> {
    let io = |error| WriteError::write(dir, error);
    let names = names_below(disk, dir).map_err(io)?;
    let files = names.into_iter().map(|name| listed(disk, dir, name)).collect::<io::Result<Vec<_>>>().map_err(io)?;
    disk.sync_dir(&dir.join(names::PLUGINS)).map_err(|error| WriteError::sync(dir, error))?;
    disk.sync_dir(dir).map_err(|error| WriteError::sync(dir, error))?;
    let bytes = encode(&files);
    write_whole(disk, dir, &dir.join(names::SAVEPOINT), std::iter::once(&bytes[..]))
}

fn encode(files: &[Listed]) -> Vec<u8> {
    let mut bytes = Vec::new();
    format::write_prologue(&mut bytes, format::SAVEPOINT);
    bytes.extend_from_slice(&u32::try_from(files.len()).unwrap_or(u32::MAX).to_le_bytes());
    for Listed { name, bytes: length, check } in files {
        bytes.extend_from_slice(&u16::try_from(name.len()).unwrap_or(u16::MAX).to_le_bytes());
        bytes.extend_from_slice(name.as_bytes());
        bytes.extend_from_slice(&length.to_le_bytes());
        bytes.extend_from_slice(&check.to_le_bytes());
    }
    format::write_check(&mut bytes);
    bytes
}

fn decode(bytes: &[u8]) -> Option<Vec<Listed>> {
    let mut fields = Fields::new(bytes);
    let count = fields.u32().filter(|count| *count <= MAX_FILES)?;
    let file = |fields: &mut Fields| {
        let length = fields.u16()?;
        let name = String::from_utf8(fields.bytes(u64::from(length))?.to_vec()).ok()?;
        Some(Listed { name, bytes: fields.u64()?, check: fields.u64()? })
    };
    let files = (0..count).map(|_| file(&mut fields)).collect::<Option<Vec<_>>>()?;
    fields.u64()?;
    fields.is_empty().then_some(files)
}

/// Whose state a folder holds.
///
/// # Errors
/// [`OpenError::Io`] when it holds none; [`OpenError::Corrupt`].
pub fn identity(disk: &dyn Disk, dir: &Path) -> Result<Identity, OpenError> {
    Identity::read(disk, dir).map(|(_, identity)| identity)
}

/// Checks every file of a savepoint and answers what it holds. Changes nothing.
///
/// # Errors
/// [`OpenError::Corrupt`] naming the file that is not as listed.
pub fn inspect(disk: &dyn Disk, dir: &Path) -> Result<Savepoint, OpenError> {
    let files = verify(disk, dir)?;
    let (store_id, identity) = Identity::read(disk, dir)?;
    let (mut logs, mut outboxes) = (Vec::new(), scan::OutboxSegments::new());
    for Listed { name, .. } in &files {
        match names::parse(name) {
            Name::Log { first_epoch } => logs.push(first_epoch),
            Name::Outbox { first_epoch } => {
                let segment = Segment::open(disk, &dir.join(name), format::OUTBOX, store_id, first_epoch)?;
                outboxes.insert(first_epoch, segment.into());
            }
            _ => {}
        }
    }
    logs.sort_unstable();
    let log = scan::read_log(disk, dir, store_id, &logs, &outboxes)?;
    let epoch = log.last_epoch();
    let meta = log.head.map(|head| head.meta).unwrap_or_default();
    Ok(Savepoint { identity, epoch, meta, files: files.len(), bytes: files.iter().map(|file| file.bytes).sum() })
}

fn verify(disk: &dyn Disk, dir: &Path) -> Result<Vec<Listed>, OpenError> {
    let path = dir.join(names::SAVEPOINT);
    let list = match read_checked(disk, &path, format::SAVEPOINT) {
        Err(OpenError::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound => {
            return Err(OpenError::corrupt(
                &path,
                0,
                "the list of files is missing: no savepoint, or one that is torn",
            ));
        }
        list => list?,
    };
    let malformed = || OpenError::corrupt(&path, PROLOGUE as u64, "the list of files cannot be read");
    let files = decode(&list[PROLOGUE..]).ok_or_else(malformed)?;
    for file in &files {
        let path = dir.join(&file.name);
        let found = listed(disk, dir, file.name.clone()).map_err(|error| OpenError::io(&path, error))?;
        if found != *file {
            let what = format!("{} bytes with another checksum than the {} listed", found.bytes, file.bytes);
            return Err(OpenError::corrupt(&path, 0, what));
        }
    }
    let below = names_below(disk, dir).map_err(|error| OpenError::io(dir, error))?;
    match below.into_iter().find(|name| files.iter().all(|file| file.name != *name)) {
        Some(other) => Err(OpenError::corrupt(&dir.join(other), 0, "the savepoint's list does not name the file")),
        None => Ok(files),
    }
}

/// Makes a new state folder of a savepoint, in the generation after the savepoint's, and answers what it holds.
///
/// # Errors
/// As [`inspect`]; [`OpenError::NotEmpty`] when the folder holds something already; [`OpenError::Io`].
pub fn restore(disk: &dyn Disk, from: &Path, to: &Path) -> Result<Savepoint, OpenError> {
    let io = |error| OpenError::io(to, error);
    let savepoint = inspect(disk, from)?;
    disk.create_dir(to).map_err(io)?;
    if !disk.list(to).map_err(io)?.is_empty() {
        return Err(OpenError::NotEmpty { dir: to.to_owned() });
    }
    let plugins = to.join(names::PLUGINS);
    disk.create_dir(&plugins).map_err(io)?;
    for name in names_below(disk, from).map_err(|error| OpenError::io(from, error))? {
        if name != names::IDENTITY {
            copy(disk, &from.join(&name), &to.join(&name), u64::MAX).map_err(OpenError::from)?;
        }
    }
    disk.sync_dir(&plugins).map_err(io)?;
    disk.sync_dir(to).map_err(io)?;
    let (store_id, identity) = Identity::read(disk, from)?;
    let identity = Identity { generation: identity.generation + 1, ..identity };
    identity.write(disk, to, store_id).map_err(OpenError::from)?;
    Ok(Savepoint { identity, ..savepoint })
}
