//! Reads files of one folder, in the order of their names, as one partition.
//!
//! The rule: a file counts from the moment that its name fits the pattern, and is complete then; write it under a name
//! that does not fit (names with a dot in front never do) and rename it. Files are read once, in the order of their
//! names; one that comes with a name before that of the file that was read last is not read, and a warning says so.
//!
//! Invariant: a position is a file and an offset in it. A file that was read to its end may go; one that goes, or
//! shrinks, before that stops the source.

use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use weir_stream::{PartitionReader, Poll, Position, SourceError};

use super::reader::FileReader;
use super::source::{FileSourceConfig, fatal, unreadable};
use crate::clock::Clock;

/// How often a folder that was read to its end is looked at again.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);

/// File names that one look keeps; the others are found by a later look.
const MAX_NAMES: usize = 10_000;

/// Files of a folder by their names, where `*` stands for any letters and `?` for one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Pattern {
    pub folder: PathBuf,
    name: String,
}

/// What a look into the folder found.
struct Listing {
    /// Names behind the one asked for, the first ones in order.
    names: BTreeSet<String>,
    /// How many stand before it.
    earlier: usize,
    /// The last of all.
    last: Option<String>,
}

impl Pattern {
    /// `None` for a path that names one file.
    pub fn of(path: &Path) -> Option<Self> {
        if path.as_os_str().as_encoded_bytes().ends_with(b"/") {
            return Some(Self { folder: path.to_owned(), name: "*".into() });
        }
        let name = path.file_name()?.to_str().filter(|name| name.contains(['*', '?']))?;
        Some(Self { folder: path.parent()?.to_owned(), name: name.to_owned() })
    }

    fn fits(&self, name: &str) -> bool {
        !name.starts_with('.') && matches(self.name.as_bytes(), name.as_bytes())
    }

    fn look(&self, after: Option<&str>) -> Result<Listing, SourceError> {
        let failed = |error: io::Error| unreadable(&self.folder, &error);
        let mut listing = Listing { names: BTreeSet::new(), earlier: 0, last: None };
        for entry in std::fs::read_dir(&self.folder).map_err(failed)? {
            let entry = entry.map_err(failed)?;
            let Ok(name) = entry.file_name().into_string() else { continue };
            if !self.fits(&name) || entry.path().is_dir() {
                continue;
            }
            listing.last = listing.last.take().max(Some(name.clone()));
            match after {
                Some(after) if *name < *after => listing.earlier += 1,
                Some(after) if *name == *after => {}
                _ => {
                    listing.names.insert(name);
                    if listing.names.len() > MAX_NAMES {
                        listing.names.pop_last();
                    }
                }
            }
        }
        Ok(listing)
    }
}

/// Whether a name fits a pattern. Goes back to the last `*` only, so the cost is bounded by the product of the lengths.
fn matches(pattern: &[u8], name: &[u8]) -> bool {
    let (mut p, mut n) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    while n < name.len() {
        match pattern.get(p) {
            Some(b'*') => {
                star = Some((p, n));
                p += 1;
            }
            Some(byte) if *byte == b'?' || *byte == name[n] => (p, n) = (p + 1, n + 1),
            _ => {
                let Some((at, from)) = star else { return false };
                star = Some((at, from + 1));
                (p, n) = (at + 1, from + 1);
            }
        }
    }
    pattern[p..].iter().all(|byte| *byte == b'*')
}

/// Reads one file after the other.
pub(super) struct FolderReader {
    config: FileSourceConfig,
    pattern: Pattern,
    partition: u32,
    clock: Clock,
    current: Option<FileReader>,
    /// The file that is read, or was read last.
    name: Option<String>,
    /// Behind it, from the last look.
    waiting: BTreeSet<String>,
    /// Bounded reads: the last file that was there at the start.
    last: Option<String>,
    /// Names before `name` that are known.
    earlier: usize,
    looked_at: Option<Duration>,
}

impl FolderReader {
    pub fn open(
        config: FileSourceConfig,
        pattern: Pattern,
        partition: u32,
        position: Option<&Position>,
        clock: Clock,
    ) -> Result<Self, SourceError> {
        let name = match position {
            None => None,
            Some(Position { file: Some(file), .. }) => Some(file.to_string()),
            Some(Position { file: None, .. }) => {
                let message = format!("{} was one file when it was last read", pattern.folder.display());
                return Err(fatal(message, "name the file again, or start with a new state folder"));
            }
        };
        let listing = pattern.look(name.as_deref())?;
        let (waiting, last, earlier) = (listing.names, listing.last, listing.earlier);
        let looked_at = None;
        let mut reader =
            Self { config, pattern, partition, clock, current: None, name, waiting, last, earlier, looked_at };
        match position {
            Some(position) if position.offset != Position::END_OF_FILE => reader.resume(position.offset)?,
            Some(_) => {}
            // The first file is opened at once, so that what is wrong with it is said at the start.
            None => drop(reader.next()?),
        }
        Ok(reader)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.pattern.folder.join(name)
    }

    fn resume(&mut self, offset: i64) -> Result<(), SourceError> {
        let name = self.name.clone().unwrap_or_default();
        let path = self.path(&name);
        if !path.exists() {
            let message = format!("{} was read up to byte {offset} and is gone", path.display());
            return Err(fatal(message, "put it back, or start with a new state folder"));
        }
        let offset = u64::try_from(offset).unwrap_or(0);
        self.current = Some(FileReader::open_whole(&self.config, &path, self.partition, offset, &name)?);
        Ok(())
    }

    /// Goes on to the next file; false when there is none.
    fn next(&mut self) -> Result<bool, SourceError> {
        loop {
            let Some(name) = self.next_name()? else { return Ok(false) };
            let path = self.path(&name);
            self.earlier += usize::from(self.name.is_some());
            self.name = Some(name.clone());
            if !path.exists() {
                tracing::warn!("source {}: {} went before it was read", self.config.source, path.display());
                continue;
            }
            self.current = Some(FileReader::open_whole(&self.config, &path, self.partition, 0, &name)?);
            return Ok(true);
        }
    }

    fn next_name(&mut self) -> Result<Option<String>, SourceError> {
        let due = self.looked_at.is_none_or(|at| (self.clock)() >= at + LOOK_INTERVAL);
        if self.waiting.is_empty() && due {
            self.look()?;
        }
        let bounded = !self.config.follow;
        let ended = |name: &String| bounded && Some(name) > self.last.as_ref();
        Ok(self.waiting.pop_first().filter(|name| !ended(name)))
    }

    fn look(&mut self) -> Result<(), SourceError> {
        self.looked_at = Some((self.clock)());
        let listing = self.pattern.look(self.name.as_deref())?;
        if listing.earlier > self.earlier {
            let (source, more) = (&self.config.source, listing.earlier - self.earlier);
            let last = self.name.as_deref().unwrap_or_default();
            tracing::warn!(
                "source {source}: {more} files have come with names before {last} and are not read; \
                 give files names that sort behind it"
            );
        }
        (self.waiting, self.earlier) = (listing.names, listing.earlier);
        Ok(())
    }
}

impl PartitionReader for FolderReader {
    fn poll(&mut self, max_records: usize, max_bytes: usize) -> Result<Poll, SourceError> {
        loop {
            if let Some(reader) = &mut self.current {
                match reader.poll(max_records, max_bytes)? {
                    Poll::End => self.current = None,
                    other => return Ok(other),
                }
            }
            if !self.next()? {
                return Ok(if self.config.follow { Poll::Pending { caught_up: true } } else { Poll::End });
            }
        }
    }
}

#[cfg(test)]
mod tests;
