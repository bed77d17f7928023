//! The file source: which files are its partitions, and what is said of those that cannot be read.
//!
//! One path is one partition, in the order in which the paths are listed: a file, or the files of a folder whose names
//! fit a pattern, one after the other.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use weir_stream::{PartitionReader, Position, Source, SourceError};

use super::folder::{FolderReader, Pattern};
use super::framing::Framing;
use super::reader::FileReader;
use crate::clock::{self, Clock};

#[derive(Clone)]
pub struct FileSourceConfig {
    /// The source's name in the manifest.
    pub source: String,
    /// One partition each: a file, or a folder's files where the name has a `*` or `?` or is left out behind a `/`. Their
    /// order is part of the stored positions: add new ones at the end.
    pub paths: Vec<PathBuf>,
    /// Wait for more at the end instead of ending.
    pub follow: bool,
    pub framing: Framing,
    /// The longest record that is handed on whole.
    pub max_record_bytes: usize,
}

/// A list of files and folders.
pub struct FileSource {
    config: FileSourceConfig,
    clock: Clock,
}

impl FileSource {
    pub fn new(config: FileSourceConfig) -> Self {
        Self::with_clock(config, clock::monotonic())
    }

    /// The same, looking at its folders by another clock.
    pub fn with_clock(config: FileSourceConfig, clock: Clock) -> Self {
        Self { config, clock }
    }
}

impl Source for FileSource {
    fn partitions(&mut self) -> Result<u32, SourceError> {
        if self.config.paths.is_empty() {
            return Err(fatal("the file source lists no file".into(), "name at least one under `path`"));
        }
        for path in self.config.paths.iter().filter(|path| Pattern::of(path).is_none()) {
            open(path)?;
        }
        Ok(self.config.paths.len() as u32)
    }

    fn open(&mut self, partition: u32, position: Option<Position>) -> Result<Box<dyn PartitionReader>, SourceError> {
        let path = self.config.paths.get(partition as usize).ok_or_else(|| {
            let listed = self.config.paths.len();
            fatal(
                format!("partition {partition} is asked for, but {listed} files are listed"),
                "list the missing files again",
            )
        })?;
        if let Some(pattern) = Pattern::of(path) {
            let (config, clock) = (self.config.clone(), self.clock.clone());
            return Ok(Box::new(FolderReader::open(config, pattern, partition, position.as_ref(), clock)?));
        }
        let position = match position {
            None => 0,
            Some(Position { offset, file: None }) => u64::try_from(offset).unwrap_or(0),
            Some(Position { file: Some(file), .. }) => {
                let message = format!("{} was a folder when it was last read, up to its file {file}", path.display());
                return Err(fatal(message, "name the folder again, or start with a new state folder"));
            }
        };
        Ok(Box::new(FileReader::open(&self.config, path, partition, position)?))
    }
}

pub(super) fn open(path: &Path) -> Result<File, SourceError> {
    File::open(path).map_err(|error| unreadable(path, &error))
}

pub(super) fn unreadable(path: &Path, error: &io::Error) -> SourceError {
    let message = format!("cannot read {}: {error}", path.display());
    match error.kind() {
        io::ErrorKind::NotFound => {
            fatal(message, "check `path`; it is relative to the folder that weir was started in")
        }
        io::ErrorKind::PermissionDenied | io::ErrorKind::IsADirectory | io::ErrorKind::NotADirectory => {
            fatal(message, "give the source a file that this user may read")
        }
        _ => SourceError::Retry(message),
    }
}

pub(super) fn fatal(message: String, next: &str) -> SourceError {
    SourceError::Fatal { message, next: next.into() }
}
