//! Cold state on disk, so that more than fits into memory can be held: a cache that the next start builds anew from
//! snapshots and log, never a second truth.
//!
//! Invariant: what is read back is what was written, or an error. Its files have no names from the moment after they are
//! made, so nothing of it outlives the process; a file goes when the last that was written to it is let go. Nothing here
//! is synced.

use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use crate::disk::{Disk, DiskFile};
use crate::format::hash;
use crate::names;

/// A file is left for a new one once it is this long. What goes out together comes back or goes together, mostly.
const FILE_BYTES: u64 = 64 << 20;

/// Where cold state goes; clones write to the same files.
#[derive(Clone)]
pub struct Spill(Arc<Shared>);

struct Shared {
    disk: Arc<dyn Disk>,
    dir: PathBuf,
    files: Mutex<Files>,
}

#[derive(Default)]
struct Files {
    current: Option<Arc<dyn DiskFile>>,
    end: u64,
    made: u64,
}

/// Bytes that were written; letting go of it frees them.
#[derive(Clone)]
pub struct Spilled {
    file: Arc<dyn DiskFile>,
    offset: u64,
    bytes: u64,
    check: u64,
}

impl std::fmt::Debug for Spill {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Spill").field("dir", &self.0.dir).finish()
    }
}

impl std::fmt::Debug for Spilled {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Spilled").field("bytes", &self.bytes).finish()
    }
}

impl Spill {
    /// `dir`: a state folder that is open.
    pub fn new(disk: Arc<dyn Disk>, dir: PathBuf) -> Self {
        Self(Arc::new(Shared { disk, dir, files: Mutex::default() }))
    }

    /// Writes bytes away.
    ///
    /// # Errors
    /// The disk's, above all when it is full; nothing is kept then.
    pub fn write(&self, bytes: &[u8]) -> io::Result<Spilled> {
        let mut files = self.0.files.lock().unwrap_or_else(PoisonError::into_inner);
        let file = match files.current.clone().filter(|_| files.end < FILE_BYTES) {
            Some(file) => file,
            None => self.make_file(&mut files)?,
        };
        let offset = files.end;
        file.write_at(bytes, offset)?;
        files.end += bytes.len() as u64;
        Ok(Spilled { file, offset, bytes: bytes.len() as u64, check: hash(offset, bytes) })
    }

    fn make_file(&self, files: &mut Files) -> io::Result<Arc<dyn DiskFile>> {
        let path = self.0.dir.join(format!("spill-{}{}", files.made, names::TEMPORARY));
        files.made += 1;
        let file = self.0.disk.create(&path)?;
        // A process that is killed between these two leaves a temporary file, which the next start removes.
        self.0.disk.remove(&path)?;
        (files.current, files.end) = (Some(Arc::clone(&file)), 0);
        Ok(file)
    }
}

impl Spilled {
    /// What was written.
    ///
    /// # Errors
    /// What is wrong, when the bytes cannot be read or are not those that were written.
    pub fn read(&self) -> Result<Vec<u8>, String> {
        let mut bytes = vec![0; self.bytes as usize];
        self.file.read_at(&mut bytes, self.offset).map_err(|error| error.to_string())?;
        if hash(self.offset, &bytes) == self.check {
            Ok(bytes)
        } else {
            Err("it does not match its checksum; start again, which reads it from snapshots and log".to_owned())
        }
    }

    /// Some of the bytes; whether they are those that were written, the caller must be able to tell.
    ///
    /// # Errors
    /// The disk's.
    pub(crate) fn read_part(&self, start: u64, bytes: u64) -> Result<Vec<u8>, String> {
        debug_assert!(start + bytes <= self.bytes, "a part of what was written");
        let mut part = vec![0; bytes as usize];
        self.file.read_at(&mut part, self.offset + start).map_err(|error| error.to_string())?;
        Ok(part)
    }

    /// Bytes on disk.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::sim::SimDisk;

    impl Spilled {
        /// Changes one byte of what was written.
        pub(crate) fn damage(&self, at: u64) {
            let byte = self.read_part(at, 1).unwrap()[0];
            self.file.write_at(&[byte ^ 0x10], self.offset + at).unwrap();
        }
    }

    #[test]
    fn what_is_written_comes_back_and_leaves_no_name() {
        let disk = SimDisk::new();
        let spill = Spill::new(Arc::new(disk.clone()), "/state".into());
        let written: Vec<Spilled> = (0..20u8).map(|number| spill.write(&[number; 1000]).unwrap()).collect();
        for (number, spilled) in (0..20u8).zip(&written) {
            assert_eq!(spilled.read().unwrap(), [number; 1000]);
        }
        assert!(disk.paths().is_empty(), "{:?}", disk.paths());
    }

    #[test]
    fn a_changed_byte_is_found() {
        let disk = SimDisk::new();
        let spill = Spill::new(Arc::new(disk), "/state".into());
        let spilled = spill.write(b"cold state").unwrap();
        spilled.file.write_at(b"C", spilled.offset).unwrap();
        assert!(spilled.read().unwrap_err().contains("checksum"));
    }

    #[test]
    fn a_real_file_is_gone_with_the_last_that_was_written_to_it() {
        let dir = tempfile::tempdir().unwrap();
        let spill = Spill::new(Arc::new(crate::RealDisk), dir.path().to_owned());
        let spilled = spill.write(&[7; 5000]).unwrap();
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
        assert_eq!(spilled.read().unwrap(), [7; 5000]);
        assert!(Path::new(dir.path()).exists());
    }
}
