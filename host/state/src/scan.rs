//! Reads the log of a folder at start and decides where it ends, without changing anything.
//!
//! Invariant: epochs are contiguous over all segments. What is not whole is taken for the epoch that a crash cut
//! off only at the very end of the newest segment, at most one epoch deep, and never after a clean end; everything
//! else is damage.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;
use std::sync::Arc;

use crate::disk::Disk;
use crate::error::OpenError;
use crate::format::{self, PAGE};
use crate::frame::{self, FrameAt};
use crate::log::{LogHead, decode_head};
use crate::names;
use crate::outbox::{PendingFrame, damaged};
use crate::segment::Segment;

/// A log segment as it was found.
#[derive(Debug)]
pub(crate) struct LogSegment {
    pub segment: Segment,
    pub frames: Vec<FrameAt>,
    /// Length of the file in bytes; behind the last frame stands what an earlier life or a crash left there.
    pub length: u64,
}

impl LogSegment {
    /// Where the next frame goes.
    pub(crate) fn end(&self) -> u64 {
        self.frames.last().map_or(PAGE, FrameAt::end)
    }
}

/// The outbox segments with a good header, by first epoch.
pub(crate) type OutboxSegments = BTreeMap<u64, Arc<Segment>>;

/// The log up to its last durable epoch.
#[derive(Debug, Default)]
pub(crate) struct Log {
    pub segments: Vec<LogSegment>,
    /// What the last durable record says; `None` before the first.
    pub head: Option<LogHead>,
    /// The epoch that was cut off, where a header is left of it.
    pub dropped_epoch: Option<u64>,
}

fn io_error(segment: &Segment) -> impl FnOnce(io::Error) -> OpenError + '_ {
    |error| OpenError::io(&segment.path, error)
}

/// Reads the segments that begin at `first_epochs` (ascending) and settles the last durable epoch.
pub(crate) fn read_log(
    disk: &dyn Disk,
    dir: &Path,
    store_id: u64,
    first_epochs: &[u64],
    outbox: &OutboxSegments,
) -> Result<Log, OpenError> {
    let mut log = Log::default();
    let mut next_epoch = first_epochs.first().copied().unwrap_or(1);
    for &first_epoch in first_epochs {
        if first_epoch != next_epoch {
            let before = log.segments.last().expect("the first segment begins where it says");
            let what = format!("epoch {next_epoch} belongs here, but the next segment begins with {first_epoch}");
            return Err(OpenError::corrupt(&before.segment.path, before.end(), what));
        }
        let path = dir.join(names::log(first_epoch));
        let segment = Segment::open(disk, &path, format::LOG, store_id, first_epoch)?;
        let segment = read_segment(segment)?;
        next_epoch += segment.frames.len() as u64;
        log.segments.push(segment);
    }
    log.settle(outbox)?;
    Ok(log)
}

/// The frames of a segment. Where they end is known from the next segment's name, and checked there; in the newest
/// nothing may follow that is a frame.
fn read_segment(segment: Segment) -> Result<LogSegment, OpenError> {
    let length = segment.file.len().map_err(io_error(&segment))?;
    let frames = frame::walk(&*segment.file, PAGE, length, segment.salt).map_err(io_error(&segment))?;
    for (frame, epoch) in frames.iter().zip(segment.first_epoch..) {
        if frame.header.epoch != epoch {
            let what = format!("epoch {} stands where epoch {epoch} belongs", frame.header.epoch);
            return Err(OpenError::corrupt(&segment.path, frame.offset, what));
        }
    }
    let found = LogSegment { segment, frames, length };
    let end = found.end();
    let later = frame::find_later(&*found.segment.file, end, length, found.segment.salt);
    if let Some(later) = later.map_err(io_error(&found.segment))? {
        let what = format!("there is no epoch here, but one at byte {later}");
        return Err(OpenError::corrupt(&found.segment.path, end.min(length), what));
    }
    Ok(found)
}

/// A record's head, or what is wrong with the record.
type Checked = Result<LogHead, OpenError>;

impl Log {
    /// Drops a last epoch that is not whole where that is what a crash leaves behind.
    fn settle(&mut self, outbox: &OutboxSegments) -> Result<(), OpenError> {
        let Some((index, last)) = self.last_frame() else { return Ok(()) };
        let damage = match check_record(&self.segments[index].segment, &last, outbox)? {
            Ok(head) => {
                self.head = Some(head);
                return Ok(());
            }
            Err(damage) => damage,
        };
        // A segment after it means that it was durable once.
        if index + 1 < self.segments.len() {
            return Err(damage);
        }
        self.segments[index].frames.pop();
        self.dropped_epoch = Some(last.header.epoch);
        if let Some((index, before)) = self.last_frame() {
            self.head = Some(check_record(&self.segments[index].segment, &before, outbox)??);
        }
        Ok(())
    }

    /// The last frame and the index of its segment.
    pub(crate) fn last_frame(&self) -> Option<(usize, FrameAt)> {
        let segments = self.segments.iter().enumerate().rev();
        segments.into_iter().find_map(|(index, segment)| Some((index, *segment.frames.last()?)))
    }

    pub(crate) fn last_epoch(&self) -> u64 {
        self.last_frame().map_or(0, |(_, frame)| frame.header.epoch)
    }

    /// Path and length of the newest segment, for errors about the log's end.
    pub(crate) fn end(&self, dir: &Path) -> (std::path::PathBuf, u64) {
        self.segments
            .last()
            .map_or_else(|| (dir.join(names::log(1)), 0), |newest| (newest.segment.path.clone(), newest.end()))
    }

    /// The error when another file knows of a later epoch than the log.
    pub(crate) fn too_short(&self, dir: &Path, epoch: u64, witness: &str) -> OpenError {
        let (path, offset) = self.end(dir);
        let last = self.last_epoch();
        OpenError::corrupt(&path, offset, format!("the log ends with epoch {last}, but {witness} is of epoch {epoch}"))
    }
}

/// Verifies all of a record: head, body and outbox. The outer error is the operating system's.
fn check_record(segment: &Segment, at: &FrameAt, outbox: &OutboxSegments) -> Result<Checked, OpenError> {
    let epoch = at.header.epoch;
    let corrupt = |offset, what| Ok(Err(OpenError::corrupt(&segment.path, offset, format!("epoch {epoch}: {what}"))));
    let Some(head) = read_head(segment, at)? else {
        return corrupt(at.head_offset(), "offsets and meta do not match their checksum");
    };
    let body = at.read_body(&*segment.file, segment.salt, &mut Vec::new());
    let length = segment.file.len().map_err(io_error(segment))?;
    if !body.map_err(io_error(segment))? || at.end() > length {
        return corrupt(at.body_offset(), "the state changes do not match their checksum");
    }
    Ok(read_pending(segment, at, &head, outbox)?.map(|_| head))
}

/// A record's head; `None` when it is not what was written.
pub(crate) fn read_head(segment: &Segment, at: &FrameAt) -> Result<Option<LogHead>, OpenError> {
    let bytes = at.read_head(&*segment.file, segment.salt).map_err(io_error(segment))?;
    Ok(bytes.and_then(|bytes| decode_head(&bytes)))
}

/// The verified outbox of a record that has one, or what is wrong with it.
pub(crate) fn read_pending(
    segment: &Segment,
    at: &FrameAt,
    head: &LogHead,
    outbox: &OutboxSegments,
) -> Result<Result<Option<PendingFrame>, OpenError>, OpenError> {
    let Some(reference) = at.header.outbox else { return Ok(Ok(None)) };
    let name = names::outbox(reference.segment);
    let path = segment.path.with_file_name(name);
    let damage = damaged(&path, reference, at.header.epoch).into();
    let Some(found) = outbox.get(&reference.segment) else { return Ok(Err(damage)) };
    let frame = PendingFrame::read(Arc::clone(found), at.header.epoch, reference, head.outbox.clone());
    Ok(frame.map_err(|error| OpenError::io(&path, error))?.map(Some).ok_or(damage))
}
