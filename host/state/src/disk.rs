//! The door through which the store reaches a disk, and the real one behind it.
//!
//! Invariant: nothing is durable before `sync_data` of the file and, for a name, `sync_dir` of its folder. The
//! trait holds what the store needs and no more; paths are never interpreted.

use std::io;
use std::path::Path;
use std::sync::Arc;

mod real;

pub use real::RealDisk;

/// A file system. Calls may come from several threads.
pub trait Disk: Send + Sync {
    /// Makes a folder and its parents; a folder that is there already is no error.
    ///
    /// # Errors
    /// The operating system's.
    fn create_dir(&self, dir: &Path) -> io::Result<()>;

    /// Makes a new empty file, for reading and writing.
    ///
    /// # Errors
    /// `AlreadyExists` when the name is taken; otherwise the operating system's.
    fn create(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>>;

    /// Opens an existing file for reading and writing.
    ///
    /// # Errors
    /// `NotFound`; otherwise the operating system's.
    fn open(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>>;

    /// Gives a file another name in the same folder, atomically, in place of what had the name before.
    ///
    /// # Errors
    /// The operating system's.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;

    /// Gives a file a second name.
    ///
    /// # Errors
    /// `CrossesDevices` when the names are on two disks; `AlreadyExists`; otherwise the operating system's.
    fn link(&self, from: &Path, to: &Path) -> io::Result<()>;

    /// Whether the file has another name too.
    ///
    /// # Errors
    /// `NotFound`; otherwise the operating system's.
    fn is_linked(&self, path: &Path) -> io::Result<bool>;

    /// Removes a name. Handles that are open keep their file.
    ///
    /// # Errors
    /// `NotFound`; otherwise the operating system's.
    fn remove(&self, path: &Path) -> io::Result<()>;

    /// Makes names made, changed and removed in `dir` durable.
    ///
    /// # Errors
    /// The operating system's. Never call again after one.
    fn sync_dir(&self, dir: &Path) -> io::Result<()>;

    /// Names of the files in `dir`, sorted; folders in it are left out.
    ///
    /// # Errors
    /// `NotFound`; otherwise the operating system's.
    fn list(&self, dir: &Path) -> io::Result<Vec<String>>;

    /// Takes the lock file `path`, making it if needed, for as long as the answer lives.
    ///
    /// # Errors
    /// [`LockError::Held`] when another owner has it.
    fn lock(&self, path: &Path) -> Result<Box<dyn DiskLock>, LockError>;
}

/// An open file.
pub trait DiskFile: Send + Sync {
    /// Fills `buffer` from `offset`.
    ///
    /// # Errors
    /// `UnexpectedEof` when the file ends before; otherwise the operating system's.
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()>;

    /// Writes all of `bytes` at `offset`, growing the file. On an error any part may have been written.
    ///
    /// # Errors
    /// `StorageFull` and its kin when there is no space; otherwise the operating system's.
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()>;

    /// Cuts the file, or grows it with zeros.
    ///
    /// # Errors
    /// The operating system's.
    fn set_len(&self, length: u64) -> io::Result<()>;

    /// The file's length in bytes.
    ///
    /// # Errors
    /// The operating system's.
    fn len(&self) -> io::Result<u64>;

    /// Whether the file has no bytes.
    ///
    /// # Errors
    /// As [`DiskFile::len`].
    fn is_empty(&self) -> io::Result<bool> {
        Ok(self.len()? == 0)
    }

    /// Makes the file's bytes and length durable.
    ///
    /// # Errors
    /// The operating system's. Never call again after one: the pages may be marked clean though they were lost.
    fn sync_data(&self) -> io::Result<()>;
}

/// Holds a lock until dropped.
pub trait DiskLock: Send + Sync {}

/// Why a lock was not taken.
#[derive(Debug, thiserror::Error)]
pub enum LockError {
    /// `pid`: what the owner wrote into the file, where it can be read.
    #[error("held by another owner")]
    Held { pid: Option<u32> },
    #[error(transparent)]
    Io(#[from] io::Error),
}
