//! A frame: one epoch's part of a log or outbox segment, with a header that is checked apart from what it heads.
//!
//! Invariant: checksums are seeded with the segment's salt, so bytes of another segment never pass for a frame.
//! A frame begins at a page boundary and is padded with zeros to the next.

use std::io;

use crate::disk::DiskFile;
use crate::format::{Fields, PAGE, hash, page_up};

/// Length of a frame's header in bytes.
pub(crate) const FRAME_HEADER: usize = 80;

const FRAME_MAGIC_BYTES: &[u8; 4] = b"WFRM";
const FRAME_MAGIC: u32 = u32::from_le_bytes(*FRAME_MAGIC_BYTES);

/// What is behind the last frame is searched in portions of this size.
const SCAN_BYTES: u64 = 1 << 20;

/// Where a log record's outbox is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct OutboxRef {
    /// First epoch of the outbox segment; never 0.
    pub segment: u64,
    pub offset: u64,
    /// The header checksum of the outbox frame, which covers its lengths and hashes.
    pub check: u64,
}

/// What a frame's header says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct FrameHeader {
    pub epoch: u64,
    pub head_len: u64,
    pub body_len: u64,
    pub outbox: Option<OutboxRef>,
    pub head_hash: u64,
    pub body_hash: u64,
    /// The header's own checksum.
    pub check: u64,
}

impl FrameHeader {
    /// Bytes on disk with padding; `None` for lengths that no file has.
    pub(crate) fn size(&self) -> Option<u64> {
        let content = self.head_len.checked_add(self.body_len)?.checked_add(FRAME_HEADER as u64)?;
        content.checked_next_multiple_of(PAGE)
    }

    pub(crate) fn decode(bytes: &[u8], salt: u64) -> Option<Self> {
        let (said, _) = bytes.split_at_checked(FRAME_HEADER - 8)?;
        let mut fields = Fields::new(bytes);
        let magic = fields.u32()?;
        fields.u32()?;
        let epoch = fields.u64()?;
        let (head_len, body_len) = (fields.u64()?, fields.u64()?);
        let outbox = OutboxRef { segment: fields.u64()?, offset: fields.u64()?, check: fields.u64()? };
        let (head_hash, body_hash) = (fields.u64()?, fields.u64()?);
        let check = fields.u64()?;
        if magic != FRAME_MAGIC || check != hash(salt, said) {
            return None;
        }
        let outbox = (outbox.segment != 0).then_some(outbox);
        let header = Self { epoch, head_len, body_len, outbox, head_hash, body_hash, check };
        header.size().map(|_| header)
    }

    /// Writes the header with its checksum, which is noted here too.
    fn encode(&mut self, bytes: &mut [u8], salt: u64) {
        let outbox = self.outbox.unwrap_or(OutboxRef { segment: 0, offset: 0, check: 0 });
        bytes[0..4].copy_from_slice(&FRAME_MAGIC.to_le_bytes());
        bytes[4..8].fill(0);
        let fields = [
            self.epoch,
            self.head_len,
            self.body_len,
            outbox.segment,
            outbox.offset,
            outbox.check,
            self.head_hash,
            self.body_hash,
        ];
        for (place, field) in bytes[8..72].chunks_exact_mut(8).zip(fields) {
            place.copy_from_slice(&field.to_le_bytes());
        }
        self.check = hash(salt, &bytes[..FRAME_HEADER - 8]);
        bytes[72..80].copy_from_slice(&self.check.to_le_bytes());
    }
}

/// Clears `buffer` for a frame's head, which is then appended to it.
pub(crate) fn begin(buffer: &mut Vec<u8>) {
    buffer.clear();
    buffer.resize(FRAME_HEADER, 0);
}

/// Completes a frame whose head ends at `head_end` and whose body is the rest.
pub(crate) fn finish(
    buffer: &mut Vec<u8>,
    head_end: usize,
    epoch: u64,
    outbox: Option<OutboxRef>,
    salt: u64,
) -> FrameHeader {
    let mut header = FrameHeader {
        epoch,
        head_len: (head_end - FRAME_HEADER) as u64,
        body_len: (buffer.len() - head_end) as u64,
        outbox,
        head_hash: hash(salt, &buffer[FRAME_HEADER..head_end]),
        body_hash: hash(salt, &buffer[head_end..]),
        check: 0,
    };
    header.encode(&mut buffer[..FRAME_HEADER], salt);
    buffer.resize(page_up(buffer.len() as u64) as usize, 0);
    header
}

/// A frame and its place in its file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct FrameAt {
    pub offset: u64,
    pub header: FrameHeader,
}

impl FrameAt {
    pub(crate) fn head_offset(&self) -> u64 {
        self.offset + FRAME_HEADER as u64
    }

    pub(crate) fn body_offset(&self) -> u64 {
        self.head_offset() + self.header.head_len
    }

    pub(crate) fn size(&self) -> u64 {
        self.header.size().expect("a decoded header has a size")
    }

    pub(crate) fn end(&self) -> u64 {
        self.offset.saturating_add(self.size())
    }

    /// The head's bytes, or `None` when they are not what was written or the file ends before.
    pub(crate) fn read_head(&self, file: &dyn DiskFile, salt: u64) -> io::Result<Option<Vec<u8>>> {
        let mut head = Vec::new();
        let good = read_part(file, self.head_offset(), self.header.head_len, &mut head)?;
        Ok((good && hash(salt, &head) == self.header.head_hash).then_some(head))
    }

    /// Appends the body to `into`; `false` when it is not what was written or the file ends before.
    pub(crate) fn read_body(&self, file: &dyn DiskFile, salt: u64, into: &mut Vec<u8>) -> io::Result<bool> {
        let start = into.len();
        let good = read_part(file, self.body_offset(), self.header.body_len, into)?;
        Ok(good && hash(salt, &into[start..]) == self.header.body_hash)
    }
}

fn read_part(file: &dyn DiskFile, offset: u64, length: u64, into: &mut Vec<u8>) -> io::Result<bool> {
    // Asked first, so that a wrong length never becomes an allocation.
    let file_len = file.len()?;
    if offset.checked_add(length).is_none_or(|end| end > file_len) {
        return Ok(false);
    }
    let start = into.len();
    into.resize(start + length as usize, 0);
    file.read_at(&mut into[start..], offset).map(|()| true)
}

/// The header at `offset`, or `None` when there is no good one.
pub(crate) fn read_header(file: &dyn DiskFile, offset: u64, length: u64, salt: u64) -> io::Result<Option<FrameHeader>> {
    if offset.saturating_add(FRAME_HEADER as u64) > length {
        return Ok(None);
    }
    let mut bytes = [0; FRAME_HEADER];
    file.read_at(&mut bytes, offset)?;
    Ok(FrameHeader::decode(&bytes, salt))
}

/// Good headers from `offset` on, each where the one before ends, until there is none.
pub(crate) fn walk(file: &dyn DiskFile, mut offset: u64, length: u64, salt: u64) -> io::Result<Vec<FrameAt>> {
    let mut frames = Vec::new();
    while let Some(header) = read_header(file, offset, length, salt)? {
        let frame = FrameAt { offset, header };
        offset = frame.end();
        frames.push(frame);
    }
    Ok(frames)
}

/// The first page boundary after `offset` with a good header.
pub(crate) fn find_later(file: &dyn DiskFile, offset: u64, length: u64, salt: u64) -> io::Result<Option<u64>> {
    let mut at = offset + PAGE;
    let mut buffer = vec![0; SCAN_BYTES.min(length.saturating_sub(at)) as usize];
    while at < length {
        let portion = &mut buffer[..SCAN_BYTES.min(length - at) as usize];
        file.read_at(portion, at)?;
        let pages = portion.chunks(PAGE as usize);
        let header = |page: &&[u8]| page.starts_with(FRAME_MAGIC_BYTES) && FrameHeader::decode(page, salt).is_some();
        if let Some(page) = (0u64..).zip(pages).find_map(|(number, page)| header(&page).then_some(number)) {
            return Ok(Some(at + page * PAGE));
        }
        at += SCAN_BYTES;
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_passes_only_whole_and_only_under_its_own_salt() {
        let mut buffer = Vec::new();
        begin(&mut buffer);
        buffer.extend_from_slice(b"head");
        let head_end = buffer.len();
        buffer.extend_from_slice(b"body");
        let outbox = Some(OutboxRef { segment: 3, offset: 4096, check: 99 });
        let written = finish(&mut buffer, head_end, 7, outbox, 42);
        assert_eq!(buffer.len() as u64, PAGE);
        let header = FrameHeader::decode(&buffer, 42).unwrap();
        assert_eq!((header.epoch, header.head_len, header.body_len, header.outbox), (7, 4, 4, outbox));
        assert_eq!(header, written);
        assert_eq!(FrameHeader::decode(&buffer, 43), None);
        for bit in 0..FRAME_HEADER * 8 {
            let mut flipped = buffer.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(FrameHeader::decode(&flipped, 42), None, "bit {bit}");
        }
    }
}
