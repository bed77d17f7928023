//! Reads a whole file that others replace: bounded, and never one that changes while it is read.
//!
//! Invariant: the bytes that come back are those of one file at one moment, as far as its length and its times tell. Best
//! is a writer that writes beside and renames; one that writes in place is waited for.

use std::fs::{File, Metadata};
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// What tells one content of a file from another without reading it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FileStamp {
    device: u64,
    inode: u64,
    pub bytes: u64,
    /// Seconds and nanoseconds; the change time too, because a writer may set the other.
    modified: (i64, i64),
    changed: (i64, i64),
}

impl FileStamp {
    /// Of the file that is at `path` now, through symbolic links.
    ///
    /// # Errors
    /// The operating system's; also for what is no plain file.
    pub fn of(path: &Path) -> io::Result<Self> {
        let metadata = std::fs::metadata(path)?;
        if !metadata.is_file() {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "no plain file"));
        }
        Ok(Self::from(&metadata))
    }
}

impl From<&Metadata> for FileStamp {
    fn from(metadata: &Metadata) -> Self {
        Self {
            device: metadata.dev(),
            inode: metadata.ino(),
            bytes: metadata.len(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
            changed: (metadata.ctime(), metadata.ctime_nsec()),
        }
    }
}

/// Why a file was not read.
#[derive(Debug, thiserror::Error)]
pub enum WholeFileError {
    #[error("{0}")]
    Io(#[from] io::Error),
    #[error("{bytes} bytes, the limit is {limit}")]
    TooLarge { bytes: u64, limit: u64 },
    #[error("it is being written")]
    Changing,
}

/// The whole file, unless it has more than `limit` bytes.
///
/// # Errors
/// See [`WholeFileError`]; [`WholeFileError::Changing`] goes away by itself.
pub fn read_whole(path: &Path, limit: u64) -> Result<(Vec<u8>, FileStamp), WholeFileError> {
    // A pipe would block when it is opened.
    FileStamp::of(path)?;
    let file = File::open(path)?;
    let before = FileStamp::from(&file.metadata()?);
    if before.bytes > limit {
        return Err(WholeFileError::TooLarge { bytes: before.bytes, limit });
    }
    let mut bytes = Vec::new();
    (&file).take(limit.saturating_add(1)).read_to_end(&mut bytes)?;
    let after = FileStamp::from(&file.metadata()?);
    if before != after || bytes.len() as u64 != before.bytes {
        return Err(WholeFileError::Changing);
    }
    Ok((bytes, before))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_comes_whole_or_not_at_all() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("rates.csv");
        assert!(
            matches!(read_whole(&path, 9), Err(WholeFileError::Io(error)) if error.kind() == io::ErrorKind::NotFound)
        );
        std::fs::write(&path, "123456789").unwrap();
        let (bytes, stamp) = read_whole(&path, 9).unwrap();
        assert_eq!((bytes.as_slice(), stamp), (b"123456789".as_slice(), FileStamp::of(&path).unwrap()));
        assert_eq!(read_whole(&path, 8).unwrap_err().to_string(), "9 bytes, the limit is 8");
        assert_eq!(read_whole(folder.path(), 9).unwrap_err().to_string(), "no plain file");
    }

    #[test]
    fn a_file_in_the_place_of_another_has_another_stamp() {
        let folder = tempfile::tempdir().unwrap();
        let (path, beside) = (folder.path().join("rates.csv"), folder.path().join("rates.new"));
        std::fs::write(&path, "one").unwrap();
        let first = FileStamp::of(&path).unwrap();
        std::fs::write(&beside, "two").unwrap();
        std::fs::rename(&beside, &path).unwrap();
        assert_ne!(FileStamp::of(&path).unwrap(), first);
    }
}
