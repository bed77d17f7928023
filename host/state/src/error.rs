//! The store's errors, sorted by what their reader must do next.
//!
//! Invariant: every error names the file it is about. Nothing here decides whether to retry; the variant says it.

use std::io;
use std::path::{Path, PathBuf};

/// Why a state folder was not opened. Nothing was changed in it.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Another process works in the folder: end it, or give this pipeline another folder.
    #[error("{} is in use by {}; stop it, or choose another state folder", dir.display(), owner(*pid))]
    InUse { dir: PathBuf, pid: Option<u32> },
    /// The folder holds another pipeline's state: choose another folder.
    #[error("{} holds the state of pipeline `{found}`, not of `{wanted}`; choose another state folder", dir.display())]
    OtherPipeline { dir: PathBuf, found: String, wanted: String },
    /// Written by a Weir with another format.
    #[error(
        "{} has format version {found}, this Weir reads version {supported}; run {}",
        file.display(), who_reads(*found, *supported)
    )]
    OtherVersion { file: PathBuf, found: u32, supported: u32 },
    /// Bytes are not what was written: restore the folder from a savepoint or a backup.
    #[error(
        "{} is damaged at byte {offset}: {what}; nothing was changed, restore the folder from a copy",
        file.display()
    )]
    Corrupt { file: PathBuf, offset: u64, what: String },
    /// A restore needs a folder of its own.
    #[error("{} is not empty; restore into a new folder, or remove it first", dir.display())]
    NotEmpty { dir: PathBuf },
    /// The operating system refused: see the cause.
    #[error("{}: {source}", path.display())]
    Io { path: PathBuf, source: io::Error },
}

impl From<WriteError> for OpenError {
    fn from(error: WriteError) -> Self {
        match error {
            WriteError::Full { path, source }
            | WriteError::SyncFailed { path, source }
            | WriteError::Io { path, source } => Self::Io { path, source },
        }
    }
}

fn who_reads(found: u32, supported: u32) -> &'static str {
    if found > supported { "a newer Weir" } else { "the Weir that wrote it, or begin with an empty state folder" }
}

fn owner(pid: Option<u32>) -> String {
    pid.map_or_else(|| "another process".to_owned(), |pid| format!("process {pid}"))
}

impl OpenError {
    pub(crate) fn io(path: &Path, source: io::Error) -> Self {
        Self::Io { path: path.to_owned(), source }
    }

    pub(crate) fn corrupt(file: &Path, offset: u64, what: impl Into<String>) -> Self {
        Self::Corrupt { file: file.to_owned(), offset, what: what.into() }
    }
}

/// Why nothing was made durable.
#[derive(Debug, thiserror::Error)]
pub enum WriteError {
    /// No space. The store is as it was before the call: free space and call again with the same arguments.
    #[error("{}: no space left; free some, the write will be tried again", path.display())]
    Full { path: PathBuf, source: io::Error },
    /// A sync failed. What is on disk is unknown and a second sync would lie: the process must end; the next
    /// start finds out.
    #[error("{}: sync failed ({source}); the process must end and recover from disk", path.display())]
    SyncFailed { path: PathBuf, source: io::Error },
    /// Anything else, and every write after a failed one that could not be undone. The process must end.
    #[error("{}: {source}", path.display())]
    Io { path: PathBuf, source: io::Error },
}

impl WriteError {
    /// A failed create, write or rename.
    pub(crate) fn write(path: &Path, source: io::Error) -> Self {
        let path = path.to_owned();
        // A file size limit (EFBIG) and a quota leave the disk as good as a full one does.
        match source.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge => {
                Self::Full { path, source }
            }
            _ => Self::Io { path, source },
        }
    }

    pub(crate) fn sync(path: &Path, source: io::Error) -> Self {
        Self::SyncFailed { path: path.to_owned(), source }
    }

    /// Whether the same call may succeed later.
    pub fn may_retry(&self) -> bool {
        matches!(self, Self::Full { .. })
    }
}

/// Why stored bytes could not be read back while running.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    #[error("{} is damaged at byte {offset}: {what}; restore the folder from a copy", file.display())]
    Corrupt { file: PathBuf, offset: u64, what: String },
    #[error("{}: {source}", path.display())]
    Io { path: PathBuf, source: io::Error },
}

impl From<ReadError> for OpenError {
    fn from(error: ReadError) -> Self {
        match error {
            ReadError::Corrupt { file, offset, what } => Self::Corrupt { file, offset, what },
            ReadError::Io { path, source } => Self::Io { path, source },
        }
    }
}
