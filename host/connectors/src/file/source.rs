//! Reads files of lines. One file is one partition, in the order in which the files are listed; a record's offset
//! is the byte at which its line begins, and a position is the byte at which the next line begins.
//!
//! Invariants: memory is bounded whatever the file holds. A line longer than `max_record_bytes` is handed on cut to
//! `max_record_bytes + 1` bytes, so that the codec's own size check refuses it, and the rest is skipped. The end of
//! line (`\n` or `\r\n`) is not part of the record; empty lines are no records.
//!
//! A bounded read ends at the end of the file, where a last line without an end of line counts. `follow` waits for
//! more instead, and for the end of the line. Files are appended to and nothing else: a file that shrank, was
//! replaced, or does not have a line's end before the position, stops the source.

use std::fs::{File, Metadata};
use std::io::{self, Read, Seek, SeekFrom};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use weir_stream::record::NO_TIMESTAMP;
use weir_stream::{PartitionReader, PayloadBuilder, Poll, Source, SourceError, SourceRecords, TimestampType};

/// Bytes that one read asks for.
const READ_BYTES: usize = 256 << 10;

/// The most that one poll reads, so that skipping a line without end does not hold up its task.
const MAX_BYTES_PER_POLL: usize = 8 << 20;

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileSourceConfig {
    /// The source's name in the manifest.
    pub source: String,
    /// One partition each. Their order is part of the stored positions: add new files at the end.
    pub paths: Vec<PathBuf>,
    /// Wait for more at the end of a file instead of ending.
    pub follow: bool,
    /// The longest record that is handed on whole.
    pub max_record_bytes: usize,
}

/// A list of line files.
#[derive(Debug)]
pub struct FileSource {
    config: FileSourceConfig,
}

impl FileSource {
    pub fn new(config: FileSourceConfig) -> Self {
        Self { config }
    }
}

impl Source for FileSource {
    fn partitions(&mut self) -> Result<u32, SourceError> {
        if self.config.paths.is_empty() {
            return Err(fatal("the file source lists no file".into(), "name at least one under `path`"));
        }
        for path in &self.config.paths {
            open(path)?;
        }
        Ok(self.config.paths.len() as u32)
    }

    fn open(&mut self, partition: u32, position: Option<i64>) -> Result<Box<dyn PartitionReader>, SourceError> {
        let path = self.config.paths.get(partition as usize).ok_or_else(|| {
            let listed = self.config.paths.len();
            fatal(
                format!("partition {partition} is asked for, but {listed} files are listed"),
                "list the missing files again",
            )
        })?;
        let position = u64::try_from(position.unwrap_or(0)).unwrap_or(0);
        Ok(Box::new(FileReader::open(&self.config, path, partition, position)?))
    }
}

/// What was kept of a line that is too long, while its rest is skipped.
struct Cut {
    start: u64,
    kept: Vec<u8>,
}

struct FileReader {
    source: Arc<str>,
    topic: Arc<str>,
    path: PathBuf,
    partition: u32,
    follow: bool,
    max_record_bytes: usize,
    file: File,
    /// Bytes read and not yet handed on; `buffer[0]` is the file's byte `buffer_start`.
    buffer: Vec<u8>,
    buffer_start: u64,
    /// How much of `buffer` has no line's end for sure.
    searched: usize,
    cut: Option<Cut>,
}

impl FileReader {
    fn open(config: &FileSourceConfig, path: &Path, partition: u32, position: u64) -> Result<Self, SourceError> {
        let mut file = open(path)?;
        let length = metadata(&file, path)?.len();
        if length < position {
            return Err(shrank(path, length, position));
        }
        if position > 0 && position < length && !ends_a_line(&file, path, position)? {
            return Err(fatal(
                format!("{} was read up to byte {position}, which is now in the middle of a line", path.display()),
                "restore the file as it was: a file source may only be appended to",
            ));
        }
        file.seek(SeekFrom::Start(position)).map_err(|error| unreadable(path, &error))?;
        Ok(Self {
            source: config.source.as_str().into(),
            topic: path.display().to_string().into(),
            path: path.to_owned(),
            partition,
            follow: config.follow,
            max_record_bytes: config.max_record_bytes,
            file,
            buffer: Vec::new(),
            buffer_start: position,
            searched: 0,
            cut: None,
        })
    }

    /// Reads on; 0 at the end of the file.
    fn fill(&mut self) -> Result<usize, SourceError> {
        let before = self.buffer.len();
        self.buffer.reserve(READ_BYTES);
        let read = (&self.file).take(READ_BYTES as u64).read_to_end(&mut self.buffer);
        read.map_err(|error| unreadable(&self.path, &error))?;
        Ok(self.buffer.len() - before)
    }

    /// Moves whole lines from the buffer to `lines`, as many as fit.
    fn take_lines(&mut self, lines: &mut Lines, max_records: usize, max_bytes: usize) {
        let mut taken = 0;
        while !lines.full(max_records, max_bytes) {
            let from = taken.max(self.searched);
            let Some(end) = memchr(&self.buffer[from..]).map(|at| from + at) else {
                self.searched = self.buffer.len();
                break;
            };
            let next = self.buffer_start + end as u64 + 1;
            match self.cut.take() {
                Some(cut) => lines.push(&cut.kept, cut.start, next),
                None => lines.push_line(
                    &self.buffer[taken..end],
                    self.buffer_start + taken as u64,
                    next,
                    self.max_record_bytes,
                ),
            }
            taken = end + 1;
            self.searched = taken;
        }
        self.drop_front(taken);
        self.cut_long_line();
    }

    fn drop_front(&mut self, bytes: usize) {
        self.buffer.drain(..bytes);
        self.buffer_start += bytes as u64;
        self.searched = self.searched.saturating_sub(bytes);
    }

    /// Keeps memory bounded: a line known to be too long leaves only its beginning behind.
    fn cut_long_line(&mut self) {
        let no_end = self.searched == self.buffer.len();
        // One byte more than the cut, for a `\r` that may belong to the end of the line.
        if self.cut.is_none() && no_end && self.buffer.len() > self.max_record_bytes + 1 {
            let kept = self.buffer[..=self.max_record_bytes].to_vec();
            self.cut = Some(Cut { start: self.buffer_start, kept });
        }
        if self.cut.is_some() && no_end {
            self.drop_front(self.buffer.len());
        }
    }

    /// The last line of a bounded read needs no end of line.
    fn take_rest(&mut self, lines: &mut Lines) {
        let end = self.buffer_start + self.buffer.len() as u64;
        match self.cut.take() {
            Some(cut) => lines.push(&cut.kept, cut.start, end),
            None => lines.push_line(&self.buffer, self.buffer_start, end, self.max_record_bytes),
        }
        self.drop_front(self.buffer.len());
    }

    /// At the end of the file: is it still the file that was read?
    fn check_unchanged(&self) -> Result<(), SourceError> {
        let position = self.buffer_start + self.buffer.len() as u64;
        let held = metadata(&self.file, &self.path)?;
        if held.len() < position {
            return Err(shrank(&self.path, held.len(), position));
        }
        if !self.follow {
            return Ok(());
        }
        let named = metadata(&open(&self.path)?, &self.path)?;
        if (named.dev(), named.ino()) != (held.dev(), held.ino()) {
            return Err(fatal(
                format!("{} was replaced by another file while it was read", self.path.display()),
                "follow a file that is only appended to, or start a new pipeline on the new file",
            ));
        }
        Ok(())
    }

    fn records(&self, lines: Lines) -> Poll {
        let count = lines.offsets.len();
        Poll::Records(SourceRecords {
            source: Arc::clone(&self.source),
            topic: Arc::clone(&self.topic),
            partition: self.partition,
            offsets: lines.offsets,
            timestamps_us: vec![NO_TIMESTAMP; count],
            timestamp_type: vec![TimestampType::None; count],
            values: lines.values.finish(),
            keys: None,
            headers: None,
            next_offset: lines.next_offset,
        })
    }
}

impl PartitionReader for FileReader {
    fn poll(&mut self, max_records: usize, max_bytes: usize) -> Result<Poll, SourceError> {
        let mut lines = Lines::default();
        let mut read = 0;
        loop {
            self.take_lines(&mut lines, max_records, max_bytes);
            if lines.full(max_records, max_bytes) || read >= MAX_BYTES_PER_POLL {
                break;
            }
            let more = self.fill()?;
            if more == 0 {
                self.check_unchanged()?;
                if !self.follow {
                    self.take_rest(&mut lines);
                }
                break;
            }
            read += more;
        }
        if !lines.offsets.is_empty() {
            return Ok(self.records(lines));
        }
        let at_end = read < MAX_BYTES_PER_POLL;
        Ok(if at_end && !self.follow { Poll::End } else { Poll::Pending { caught_up: at_end } })
    }
}

/// Records being gathered for one answer.
#[derive(Default)]
struct Lines {
    offsets: Vec<i64>,
    values: PayloadBuilder,
    next_offset: i64,
}

impl Lines {
    fn full(&self, max_records: usize, max_bytes: usize) -> bool {
        self.offsets.len() >= max_records.max(1) || self.values.byte_len() >= max_bytes.max(1)
    }

    fn push_line(&mut self, line: &[u8], start: u64, next: u64, max_record_bytes: usize) {
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        if !line.is_empty() {
            self.push(&line[..line.len().min(max_record_bytes + 1)], start, next);
        }
    }

    fn push(&mut self, record: &[u8], start: u64, next: u64) {
        self.values.push(record);
        self.offsets.push(start as i64);
        self.next_offset = next as i64;
    }
}

fn memchr(bytes: &[u8]) -> Option<usize> {
    memchr::memchr(b'\n', bytes)
}

fn open(path: &Path) -> Result<File, SourceError> {
    File::open(path).map_err(|error| unreadable(path, &error))
}

fn metadata(file: &File, path: &Path) -> Result<Metadata, SourceError> {
    let metadata = file.metadata().map_err(|error| unreadable(path, &error))?;
    if metadata.is_dir() {
        return Err(fatal(format!("{} is a folder", path.display()), "list the files themselves"));
    }
    Ok(metadata)
}

fn ends_a_line(file: &File, path: &Path, position: u64) -> Result<bool, SourceError> {
    let mut before = [0];
    file.read_exact_at(&mut before, position - 1).map_err(|error| unreadable(path, &error))?;
    Ok(before == *b"\n")
}

fn shrank(path: &Path, length: u64, position: u64) -> SourceError {
    fatal(
        format!("{} was read up to byte {position} but is now {length} bytes long", path.display()),
        "restore the file as it was, or start with a new state folder to read it from its beginning",
    )
}

fn unreadable(path: &Path, error: &io::Error) -> SourceError {
    let message = format!("cannot read {}: {error}", path.display());
    match error.kind() {
        io::ErrorKind::NotFound => {
            fatal(message, "check `path`; it is relative to the folder that weir was started in")
        }
        io::ErrorKind::PermissionDenied | io::ErrorKind::IsADirectory => {
            fatal(message, "give the source a file that this user may read")
        }
        _ => SourceError::Retry(message),
    }
}

fn fatal(message: String, next: &str) -> SourceError {
    SourceError::Fatal { message, next: next.into() }
}

#[cfg(test)]
mod tests;
