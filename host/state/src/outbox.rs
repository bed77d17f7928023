//! The outbox: frames of payloads in segments of their own, the index of what is still owed, and its reader.
//!
//! Invariant: the index holds exactly the durable entries that no durable record acknowledges; each frame is found
//! through its log record, whose checksum covers the frame's. It never decides what a sink needs.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::error::ReadError;
use crate::format::Fields;
use crate::frame::{self, FrameAt, OutboxRef};
use crate::log::EntryHead;
use crate::record::OutboxEntry;
use crate::recovered::PendingEntry;
use crate::segment::Segment;

/// Shorter payloads are stored as they are.
const MIN_COMPRESSED_BYTES: usize = 256;

const RAW: u8 = 0;
const LZ4: u8 = 1;

/// Writes a frame's content into `buffer` and answers where the head ends. `scratch` is kept between calls.
pub(crate) fn encode(buffer: &mut Vec<u8>, entries: &[OutboxEntry], compress: bool, scratch: &mut Vec<u8>) -> usize {
    frame::begin(buffer);
    let head_start = buffer.len();
    let count = u32::try_from(entries.len()).expect("sinks are numbered by u16");
    buffer.extend_from_slice(&count.to_le_bytes());
    let head_end = head_start + 4 + entries.len() * ENTRY_ROW;
    buffer.resize(head_end, 0);
    for (index, entry) in entries.iter().enumerate() {
        let body_start = buffer.len();
        let compression = write_payload(buffer, &entry.payload, compress, scratch);
        let stored = (buffer.len() - body_start) as u64;
        let row = head_start + 4 + index * ENTRY_ROW;
        let row = &mut buffer[row..row + ENTRY_ROW];
        row[..2].copy_from_slice(&entry.sink.to_le_bytes());
        row[2] = compression;
        let fields = [entry.previous, entry.payload.len() as u64, stored];
        for (place, field) in row[3..].chunks_exact_mut(8).zip(fields) {
            place.copy_from_slice(&field.to_le_bytes());
        }
    }
    head_end
}

/// Length of a row of the entry table in bytes.
const ENTRY_ROW: usize = 27;

fn write_payload(buffer: &mut Vec<u8>, payload: &[u8], compress: bool, scratch: &mut Vec<u8>) -> u8 {
    if compress && payload.len() >= MIN_COMPRESSED_BYTES {
        let room = lz4_flex::block::get_maximum_output_size(payload.len());
        if scratch.len() < room {
            scratch.resize(room, 0);
        }
        // Worth decompressing only if an eighth is saved.
        if let Ok(length) = lz4_flex::block::compress_into(payload, scratch)
            && length <= payload.len() / 8 * 7
        {
            buffer.extend_from_slice(&scratch[..length]);
            return LZ4;
        }
    }
    buffer.extend_from_slice(payload);
    RAW
}

/// The payload of `sink` in a frame whose hashes were good; `None` when its lengths or compression are not.
fn decode(head: &[u8], body: &[u8], sink: u16) -> Option<OutboxEntry> {
    let (mut rows, mut payloads) = (Fields::new(head), Fields::new(body));
    for _ in 0..rows.u32()? {
        let (of, compression, previous) = (rows.u16()?, rows.u8()?, rows.u64()?);
        let (bytes, stored) = (rows.u64()?, rows.u64()?);
        let stored = payloads.bytes(stored)?;
        if of != sink {
            continue;
        }
        let payload = match compression {
            RAW => stored.to_vec(),
            LZ4 => lz4_flex::block::decompress(stored, usize::try_from(bytes).ok()?).ok()?,
            _ => return None,
        };
        return (payload.len() as u64 == bytes).then_some(OutboxEntry { sink, previous, payload });
    }
    None
}

/// A durable frame and the entries in it.
#[derive(Debug, Clone)]
pub(crate) struct PendingFrame {
    pub segment: Arc<Segment>,
    pub frame: FrameAt,
    pub entries: Vec<EntryHead>,
}

impl PendingFrame {
    /// Finds and verifies the frame that a log record refers to. `None`: it is not there as it was written.
    pub(crate) fn read(
        segment: Arc<Segment>,
        epoch: u64,
        at: OutboxRef,
        entries: Vec<EntryHead>,
    ) -> std::io::Result<Option<Self>> {
        let length = segment.file.len()?;
        let Some(header) = frame::read_header(&*segment.file, at.offset, length, segment.salt)? else {
            return Ok(None);
        };
        let frame = FrameAt { offset: at.offset, header };
        if header.check != at.check || header.epoch != epoch || frame.end() > length {
            return Ok(None);
        }
        let good = frame.read_head(&*segment.file, segment.salt)?.is_some()
            && frame.read_body(&*segment.file, segment.salt, &mut Vec::new())?;
        Ok(good.then_some(Self { segment, frame, entries }))
    }

    fn read_entry(&self, sink: u16) -> Result<OutboxItem, ReadError> {
        let path = &self.segment.path;
        let io = |source| ReadError::Io { path: path.clone(), source };
        let corrupt = |offset, what: &str| ReadError::Corrupt { file: path.clone(), offset, what: what.to_owned() };
        let (file, salt) = (&*self.segment.file, self.segment.salt);
        let head = self.frame.read_head(file, salt).map_err(io)?;
        let head = head.ok_or_else(|| corrupt(self.frame.head_offset(), "the outbox entries' table is not whole"))?;
        let mut body = Vec::new();
        if !self.frame.read_body(file, salt, &mut body).map_err(io)? {
            return Err(corrupt(self.frame.body_offset(), "the outbox payloads do not match their checksum"));
        }
        let entry = decode(&head, &body, sink)
            .ok_or_else(|| corrupt(self.frame.body_offset(), "an outbox payload cannot be decompressed"))?;
        Ok(OutboxItem { epoch: self.frame.header.epoch, previous: entry.previous, payload: entry.payload })
    }

    fn entry(&self, sink: u16) -> Option<&EntryHead> {
        self.entries.iter().find(|entry| entry.sink == sink)
    }
}

/// Whether some entry of an epoch is newer than what its sink acknowledged.
pub(crate) fn is_pending(entries: &[EntryHead], epoch: u64, acked: &BTreeMap<u16, u64>) -> bool {
    entries.iter().any(|entry| acked.get(&entry.sink).is_none_or(|acked| epoch > *acked))
}

/// The frames that some sink has not durably acknowledged, by epoch.
#[derive(Debug, Default)]
pub(crate) struct Pending {
    pub frames: BTreeMap<u64, PendingFrame>,
}

impl Pending {
    pub(crate) fn retire(&mut self, acked: &BTreeMap<u16, u64>) {
        self.frames.retain(|epoch, frame| is_pending(&frame.entries, *epoch, acked));
    }

    pub(crate) fn first_epoch(&self) -> Option<u64> {
        self.frames.first_key_value().map(|(epoch, _)| *epoch)
    }

    /// The first epochs of the segments that hold pending frames.
    pub(crate) fn holds_segment(&self, first_epoch: u64) -> bool {
        self.frames.values().any(|frame| frame.segment.first_epoch == first_epoch)
    }

    pub(crate) fn entries(&self, acked: &BTreeMap<u16, u64>) -> Vec<PendingEntry> {
        let newer = |epoch: u64, sink| acked.get(&sink).is_none_or(|acked| epoch > *acked);
        let of_frame = |(epoch, frame): (&u64, &PendingFrame)| {
            let epoch = *epoch;
            let entries = frame.entries.clone().into_iter().filter(move |entry| newer(epoch, entry.sink));
            entries
                .map(move |EntryHead { sink, previous, bytes }| PendingEntry { epoch, sink, previous, bytes })
                .collect::<Vec<_>>()
        };
        self.frames.iter().flat_map(of_frame).collect()
    }
}

/// An outbox entry read back from disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OutboxItem {
    pub epoch: u64,
    /// The epoch of this sink's entry before, 0 for the first.
    pub previous: u64,
    pub payload: Vec<u8>,
}

/// Reads what sinks are still owed. A sink reads its own unacknowledged entries: what every sink has acknowledged is
/// gone.
#[derive(Debug, Clone, Default)]
pub(crate) struct OutboxReader {
    pending: Arc<Mutex<Pending>>,
}

impl OutboxReader {
    pub(crate) fn new(pending: Pending) -> Self {
        Self { pending: Arc::new(Mutex::new(pending)) }
    }

    pub(crate) fn pending(&self) -> MutexGuard<'_, Pending> {
        self.pending.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The entries of `sink` newer than `after_epoch`, in order, until their payloads pass `max_bytes`; at least
    /// one if there is any.
    ///
    /// # Errors
    /// [`ReadError::Corrupt`] when an entry is not what was written; [`ReadError::Io`].
    pub(crate) fn read(&self, sink: u16, after_epoch: u64, max_bytes: usize) -> Result<Vec<OutboxItem>, ReadError> {
        let frames = self.frames(sink, after_epoch, max_bytes as u64);
        frames.iter().map(|frame| frame.read_entry(sink)).collect()
    }

    fn frames(&self, sink: u16, after_epoch: u64, max_bytes: u64) -> Vec<PendingFrame> {
        let pending = self.pending();
        let mut frames = Vec::new();
        let mut bytes = 0u64;
        for frame in pending.frames.range(after_epoch.saturating_add(1)..).map(|(_, frame)| frame) {
            let Some(entry) = frame.entry(sink) else { continue };
            bytes = bytes.saturating_add(entry.bytes);
            if bytes > max_bytes && !frames.is_empty() {
                break;
            }
            frames.push(frame.clone());
        }
        frames
    }
}

/// The error for a frame that a start needs and that is not there.
pub(crate) fn damaged(path: &Path, at: OutboxRef, epoch: u64) -> ReadError {
    let what = format!("the outbox of epoch {epoch} is not what its log record says");
    ReadError::Corrupt { file: path.to_owned(), offset: at.offset, what }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frame::FRAME_HEADER;

    #[test]
    fn payloads_come_back_whether_compression_helped_or_not() {
        let noise: Vec<u8> = (0..2000u64).flat_map(|n| crate::format::hash(n, b"noise").to_le_bytes()).collect();
        let payloads = [b"same ".repeat(1000), noise, Vec::new(), b"short".to_vec()];
        let entries: Vec<OutboxEntry> = (0u16..)
            .zip(&payloads)
            .map(|(sink, payload)| OutboxEntry { sink, previous: 4, payload: payload.clone() })
            .collect();
        let (mut buffer, mut scratch) = (Vec::new(), Vec::new());
        let head_end = encode(&mut buffer, &entries, true, &mut scratch);
        let (head, body) = (&buffer[FRAME_HEADER..head_end], &buffer[head_end..]);
        assert!(body.len() < 16_000 + 200, "the repeated text was compressed: {}", body.len());
        for entry in &entries {
            assert_eq!(decode(head, body, entry.sink).as_ref(), Some(entry));
        }
        assert_eq!(decode(head, body, 9), None);
        let head_end = encode(&mut buffer, &entries, false, &mut scratch);
        assert_eq!(buffer.len() - head_end, payloads.iter().map(Vec::len).sum::<usize>());
    }
}
