//! Files that survive a power cut: what these functions have answered for is on disk, name included.
//!
//! Invariant: a reader sees a file either whole or not at all. They know nothing about what the bytes mean.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use weir_stream::SinkError;

use crate::identity::fatal;

/// Makes the names in `folder` durable.
pub(crate) fn sync_folder(folder: &Path) -> io::Result<()> {
    File::open(if folder.as_os_str().is_empty() { Path::new(".") } else { folder })?.sync_all()
}

/// Makes `folder` and what is missing above it, durably.
pub(crate) fn create_folders(folder: &Path) -> io::Result<()> {
    if folder.as_os_str().is_empty() || folder.is_dir() {
        return Ok(());
    }
    let parent = folder.parent().unwrap_or(Path::new(""));
    create_folders(parent)?;
    match fs::create_dir(folder) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists || !folder.is_dir() => Err(error),
        _ => sync_folder(parent),
    }
}

/// Puts `bytes` in the place of `path`. Callers hold a lock: two at a time would share the temporary file.
pub(crate) fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let temporary = write_temporary(path, "tmp", bytes)?;
    fs::rename(&temporary, path)?;
    sync_folder(path.parent().unwrap_or(Path::new("")))
}

/// Creates `path` with `bytes`, unless it exists: then nothing changes and the answer is false. Of several callers
/// at the same time exactly one is answered true.
pub(crate) fn put_if_absent(path: &Path, bytes: &[u8]) -> io::Result<bool> {
    // The process id keeps two processes from writing to one temporary file.
    let temporary = write_temporary(path, &format!("{}.tmp", std::process::id()), bytes)?;
    let linked = fs::hard_link(&temporary, path);
    fs::remove_file(&temporary)?;
    match linked {
        Ok(()) => sync_folder(path.parent().unwrap_or(Path::new(""))).map(|()| true),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(false),
        Err(error) => Err(error),
    }
}

/// Writes and syncs `.<name>.<suffix>` beside `path`.
fn write_temporary(path: &Path, suffix: &str, bytes: &[u8]) -> io::Result<PathBuf> {
    let mut name = std::ffi::OsString::from(".");
    name.push(path.file_name().unwrap_or_default());
    name.push(format!(".{suffix}"));
    let temporary = path.with_file_name(name);
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).open(&temporary)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    Ok(temporary)
}

/// What an I/O error on `path` means for a sink: what may pass is tried again, what only an operator can mend stops.
pub(crate) fn sink_error(doing: &str, path: &Path, error: &io::Error) -> SinkError {
    use io::ErrorKind::{InvalidInput, IsADirectory, NotADirectory, PermissionDenied, ReadOnlyFilesystem};
    let message = format!("cannot {doing} {}: {error}", path.display());
    match error.kind() {
        PermissionDenied | ReadOnlyFilesystem | NotADirectory | IsADirectory | InvalidInput => {
            fatal(message, "give the sink a path that this user may write to")
        }
        _ => SinkError::Retry(message),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_first_of_two_puts_wins() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a/b/name");
        create_folders(path.parent().unwrap()).unwrap();
        assert!(put_if_absent(&path, b"first").unwrap());
        assert!(!put_if_absent(&path, b"second").unwrap());
        assert_eq!(fs::read(&path).unwrap(), b"first");
        replace(&path, b"third").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"third");
        assert_eq!(fs::read_dir(path.parent().unwrap()).unwrap().count(), 1, "no temporary file stays");
    }
}
