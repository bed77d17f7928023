//! Reads the records of one file. A record's offset is the byte at which it begins, and a position is the byte at which
//! the next one begins.
//!
//! Invariants: memory is bounded whatever the file holds, and what is read depends on the file's bytes alone, not on
//! how they came. A record longer than `max_record_bytes` costs its first line, of which at most `max_record_bytes + 1`
//! bytes are handed on, so that the codec refuses it; reading goes on with the next line. So a quote that is never
//! closed costs one line as well. The end of line (`\n` or `\r\n`) is not part of a record; empty lines are no records.
//!
//! A bounded read ends at the end of the file, where a last record without an end of line counts. `follow` waits for
//! more instead. Files are appended to and nothing else: one that shrank, was replaced, or does not have a line's end
//! before the position, stops the source.

use std::fs::{File, Metadata};
use std::io::{Read, Seek, SeekFrom};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use weir_stream::record::NO_TIMESTAMP;
use weir_stream::{PartitionReader, PayloadBuilder, Poll, Position, SourceError, SourceRecords, TimestampType};

use super::framing::{Framer, Framing, count_lines, line_end};
use super::source::{FileSourceConfig, fatal, open, unreadable};

/// Bytes that one read asks for.
pub(super) const READ_BYTES: usize = 256 << 10;

/// The most that one poll reads, so that skipping a line without end does not hold up its task.
pub(super) const MAX_BYTES_PER_POLL: usize = 8 << 20;

const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// What was kept of a line that is too long, while its rest is skipped.
struct Cut {
    start: u64,
    kept: Vec<u8>,
}

pub(super) struct FileReader {
    source: Arc<str>,
    topic: Arc<str>,
    path: PathBuf,
    partition: u32,
    follow: bool,
    /// Its name, where it is one of several that make up the partition.
    name: Option<Arc<str>>,
    max_record_bytes: usize,
    file: File,
    framer: Framer,
    header: Option<Arc<[u8]>>,
    /// The line on which the next record begins, where lines are counted.
    line: Option<u64>,
    /// Bytes read and not yet handed on; `buffer[0]` is the file's byte `buffer_start`.
    pub(super) buffer: Vec<u8>,
    buffer_start: u64,
    /// How much of `buffer` has no end of a record for sure.
    searched: usize,
    cut: Option<Cut>,
}

impl FileReader {
    /// A file that is a partition.
    pub fn open(config: &FileSourceConfig, path: &Path, partition: u32, position: u64) -> Result<Self, SourceError> {
        Self::begin(config, path, partition, position, config.follow, None)
    }

    /// One file of several in a partition: complete from the start.
    pub fn open_whole(
        config: &FileSourceConfig,
        path: &Path,
        partition: u32,
        position: u64,
        name: &str,
    ) -> Result<Self, SourceError> {
        Self::begin(config, path, partition, position, false, Some(name.into()))
    }

    fn begin(
        config: &FileSourceConfig,
        path: &Path,
        partition: u32,
        position: u64,
        follow: bool,
        name: Option<Arc<str>>,
    ) -> Result<Self, SourceError> {
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
        let Preamble { header, end } = Preamble::read(config, &file, path, follow)?;
        let start = position.max(end);
        let counts = matches!(config.framing, Framing::Rows(_));
        let line = if counts { Some(1 + lines_before(&file, path, start)?) } else { None };
        file.seek(SeekFrom::Start(start)).map_err(|error| unreadable(path, &error))?;
        Ok(Self {
            source: config.source.as_str().into(),
            topic: path.display().to_string().into(),
            path: path.to_owned(),
            partition,
            follow,
            name,
            max_record_bytes: config.max_record_bytes,
            file,
            framer: config.framing.framer(),
            header,
            line,
            buffer: Vec::new(),
            buffer_start: start,
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

    /// Moves whole records from the buffer to `records`, as many as fit.
    fn take_records(&mut self, records: &mut Gathered, max_records: usize, max_bytes: usize) {
        let mut taken = 0;
        while !records.full(max_records, max_bytes) {
            let Some(end) = self.record_end(taken) else {
                self.searched = self.buffer.len();
                break;
            };
            self.take_record(records, taken, end);
            (taken, self.searched) = (end, end);
        }
        self.drop_front(taken);
        self.cut_long_line();
    }

    /// Where the record that begins at `start` ends in the buffer, if that is known: at its end, or, when it is too long,
    /// at that of its first line.
    fn record_end(&mut self, start: usize) -> Option<usize> {
        let from = start.max(self.searched);
        let unseen = &self.buffer[from..];
        if self.cut.is_some() {
            return line_end(unseen).map(|length| from + length);
        }
        let end = self.framer.end(unseen).map(|length| from + length);
        if !self.is_too_long(start, end) {
            return end;
        }
        let first_line = line_end(&self.buffer[start..]).map(|length| start + length);
        if first_line != end {
            self.framer.restart();
        }
        first_line
    }

    /// Whether a record has more than the limit for sure, wherever it ends.
    fn is_too_long(&self, start: usize, end: Option<usize>) -> bool {
        // A byte that is the last so far may be the `\r` of its end.
        let most = self.max_record_bytes + usize::from(end.is_none());
        content(&self.buffer[start..end.unwrap_or(self.buffer.len())]).len() > most
    }

    fn take_record(&mut self, records: &mut Gathered, start: usize, end: usize) {
        let bytes = &self.buffer[start..end];
        let next = self.buffer_start + end as u64;
        match self.cut.take() {
            Some(cut) => records.push(&cut.kept, cut.start, next, self.line),
            None => {
                records.push_content(bytes, self.buffer_start + start as u64, next, self.line, self.max_record_bytes)
            }
        }
        if let Some(line) = &mut self.line {
            *line += count_lines(bytes);
        }
    }

    fn drop_front(&mut self, bytes: usize) {
        self.buffer.drain(..bytes);
        self.buffer_start += bytes as u64;
        self.searched = self.searched.saturating_sub(bytes);
    }

    /// Keeps memory bounded: a line known to be too long leaves only its beginning behind.
    fn cut_long_line(&mut self) {
        let no_end = self.searched == self.buffer.len();
        if self.cut.is_none() && no_end && self.is_too_long(0, None) {
            let kept = self.buffer[..=self.max_record_bytes].to_vec();
            self.cut = Some(Cut { start: self.buffer_start, kept });
            self.framer.restart();
        }
        if self.cut.is_some() && no_end {
            self.drop_front(self.buffer.len());
        }
    }

    /// At the end of a bounded read: the last record needs no end of line. One that is too long or has a quote that is not
    /// closed costs its first line, and what follows is looked at anew.
    fn take_rest(&mut self, records: &mut Gathered) {
        let closed = self.cut.is_some() || self.framer.end(b"\n").is_some();
        let whole = closed && content(&self.buffer).len() <= self.max_record_bytes;
        let end = line_end(&self.buffer).filter(|_| !whole).unwrap_or(self.buffer.len());
        self.framer.restart();
        self.take_record(records, 0, end);
        self.searched = 0;
        self.drop_front(end);
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

    /// Whether a file that is complete has nothing more to give: its last record's position says so then, and the file may go.
    fn is_finished(&mut self) -> Result<bool, SourceError> {
        Ok(self.name.is_some() && self.cut.is_none() && self.buffer.is_empty() && self.fill()? == 0)
    }

    fn records(&mut self, gathered: Gathered) -> Result<Poll, SourceError> {
        let count = gathered.offsets.len();
        let next_offset = if self.is_finished()? { Position::END_OF_FILE } else { gathered.next_offset };
        Ok(Poll::Records(SourceRecords {
            source: Arc::clone(&self.source),
            topic: Arc::clone(&self.topic),
            partition: self.partition,
            offsets: gathered.offsets,
            timestamps_us: vec![NO_TIMESTAMP; count],
            timestamp_type: vec![TimestampType::None; count],
            values: gathered.values.finish(),
            next_offset,
            file: self.name.clone(),
            header: self.header.clone(),
            lines: gathered.lines,
            ..SourceRecords::default()
        }))
    }
}

impl PartitionReader for FileReader {
    fn poll(&mut self, max_records: usize, max_bytes: usize) -> Result<Poll, SourceError> {
        let mut records = Gathered::default();
        let mut read = 0;
        let mut at_end = false;
        loop {
            self.take_records(&mut records, max_records, max_bytes);
            if records.full(max_records, max_bytes) || read >= MAX_BYTES_PER_POLL {
                break;
            }
            let more = self.fill()?;
            read += more;
            if more == 0 {
                self.check_unchanged()?;
                at_end = self.follow || (self.buffer.is_empty() && self.cut.is_none());
                if at_end {
                    break;
                }
                self.take_rest(&mut records);
            }
        }
        if !records.offsets.is_empty() {
            return self.records(records);
        }
        Ok(if at_end && !self.follow { Poll::End } else { Poll::Pending { caught_up: at_end } })
    }
}

/// What stands before the first record of a file.
struct Preamble {
    header: Option<Arc<[u8]>>,
    /// Where records begin.
    end: u64,
}

impl Preamble {
    fn read(config: &FileSourceConfig, file: &File, path: &Path, follow: bool) -> Result<Self, SourceError> {
        let Framing::Rows(rows) = &config.framing else { return Ok(Self { header: None, end: 0 }) };
        let mut start = Vec::new();
        let most = config.max_record_bytes.saturating_add(BYTE_ORDER_MARK.len() + 2);
        let read = file.take(most as u64).read_to_end(&mut start);
        read.map_err(|error| unreadable(path, &error))?;
        let mark = if start.starts_with(BYTE_ORDER_MARK) { BYTE_ORDER_MARK.len() } else { 0 };
        let Some(check) = &rows.header else { return Ok(Self { header: None, end: mark as u64 }) };
        let text = &start[mark..];
        let length = match config.framing.framer().end(text) {
            Some(length) => length,
            None if follow => {
                return Err(SourceError::Retry(format!("{} has no whole header row yet", path.display())));
            }
            None if start.len() < most => text.len(),
            None => {
                let message = format!("{} has no header row within {most} bytes", path.display());
                return Err(fatal(message, "write one row with the columns' names, or say `header: false`"));
            }
        };
        let header = content(&text[..length]);
        // A file without a byte has no rows either.
        if !start.is_empty() {
            check(header).map_err(|cause| {
                fatal(format!("{}: {cause}", path.display()), "correct the file's first row or the source's columns")
            })?;
        }
        Ok(Self { header: Some(header.into()), end: (mark + length) as u64 })
    }
}

/// A record without its end of line.
fn content(bytes: &[u8]) -> &[u8] {
    let bytes = bytes.strip_suffix(b"\n").unwrap_or(bytes);
    bytes.strip_suffix(b"\r").unwrap_or(bytes)
}

/// Records being gathered for one answer.
#[derive(Default)]
struct Gathered {
    offsets: Vec<i64>,
    lines: Vec<u64>,
    values: PayloadBuilder,
    next_offset: i64,
}

impl Gathered {
    fn full(&self, max_records: usize, max_bytes: usize) -> bool {
        self.offsets.len() >= max_records.max(1) || self.values.byte_len() >= max_bytes.max(1)
    }

    fn push_content(&mut self, bytes: &[u8], start: u64, next: u64, line: Option<u64>, max_record_bytes: usize) {
        let record = content(bytes);
        if !record.is_empty() {
            self.push(&record[..record.len().min(max_record_bytes + 1)], start, next, line);
        }
    }

    fn push(&mut self, record: &[u8], start: u64, next: u64, line: Option<u64>) {
        self.values.push(record);
        self.offsets.push(start as i64);
        self.lines.extend(line);
        self.next_offset = next as i64;
    }
}

fn metadata(file: &File, path: &Path) -> Result<Metadata, SourceError> {
    let metadata = file.metadata().map_err(|error| unreadable(path, &error))?;
    if metadata.is_dir() {
        let next = "write a `/` behind it to read its files, or list them";
        return Err(fatal(format!("{} is a folder", path.display()), next));
    }
    Ok(metadata)
}

fn ends_a_line(file: &File, path: &Path, position: u64) -> Result<bool, SourceError> {
    let mut before = [0];
    file.read_exact_at(&mut before, position - 1).map_err(|error| unreadable(path, &error))?;
    Ok(before == *b"\n")
}

/// Ends of line before `position`: a restart reads so much once.
fn lines_before(file: &File, path: &Path, position: u64) -> Result<u64, SourceError> {
    let (mut at, mut lines) = (0, 0);
    let mut buffer = vec![0; READ_BYTES];
    while at < position {
        let wanted = (position - at).min(READ_BYTES as u64) as usize;
        let read = file.read_at(&mut buffer[..wanted], at).map_err(|error| unreadable(path, &error))?;
        if read == 0 {
            return Err(shrank(path, at, position));
        }
        lines += count_lines(&buffer[..read]);
        at += read as u64;
    }
    Ok(lines)
}

fn shrank(path: &Path, length: u64, position: u64) -> SourceError {
    fatal(
        format!("{} was read up to byte {position} but is now {length} bytes long", path.display()),
        "restore the file as it was, or start with a new state folder to read it from its beginning",
    )
}

#[cfg(test)]
mod tests;
