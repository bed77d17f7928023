//! The bytes that every file of the store shares: opening bytes, page size, checksums, little-endian fields.
//!
//! Invariant: reading never panics, whatever the bytes. What each file holds is its own module's; the whole
//! format is described in `FORMAT.md`.

use std::path::Path;

use xxhash_rust::xxh3::{xxh3_64, xxh3_64_with_seed};

use crate::error::OpenError;

/// The version that is read and written.
pub(crate) const FORMAT_VERSION: u32 = 2;

/// Segment headers and frames begin at multiples of this: no write ever touches a page that holds an older epoch,
/// and no damaged page holds more than one.
pub(crate) const PAGE: u64 = 4096;

/// Length of the opening bytes.
pub(crate) const PROLOGUE: usize = 16;

/// The first eight bytes of a file: what it is.
pub(crate) type Magic = [u8; 8];

pub(crate) const IDENTITY: Magic = *b"WEIRIDNT";
pub(crate) const CLOSED: Magic = *b"WEIRCLSD";
pub(crate) const LOG: Magic = *b"WEIRLOGS";
pub(crate) const OUTBOX: Magic = *b"WEIROUTB";
pub(crate) const SNAPSHOT: Magic = *b"WEIRSNAP";
pub(crate) const SAVEPOINT: Magic = *b"WEIRSAVE";
pub(crate) const PLUGIN: Magic = *b"WEIRPLUG";

pub(crate) fn hash(seed: u64, bytes: &[u8]) -> u64 {
    xxh3_64_with_seed(bytes, seed)
}

pub(crate) fn write_prologue(bytes: &mut Vec<u8>, magic: Magic) {
    let start = bytes.len();
    bytes.extend_from_slice(&magic);
    bytes.extend_from_slice(&FORMAT_VERSION.to_le_bytes());
    let check = xxh3_64(&bytes[start..]) as u32;
    bytes.extend_from_slice(&check.to_le_bytes());
}

/// What the opening bytes say.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Prologue {
    Good,
    /// Another version than this one's.
    Other(u32),
    Bad,
}

pub(crate) fn read_prologue(bytes: &[u8], magic: Magic) -> Prologue {
    let Some(bytes) = bytes.get(..PROLOGUE) else { return Prologue::Bad };
    let (said, check) = bytes.split_at(12);
    if said[..8] != magic || check != (xxh3_64(said) as u32).to_le_bytes() {
        return Prologue::Bad;
    }
    match u32::from_le_bytes([said[8], said[9], said[10], said[11]]) {
        0 => Prologue::Bad,
        FORMAT_VERSION => Prologue::Good,
        version => Prologue::Other(version),
    }
}

/// Answers an error unless the file opens as `magic` in a version that is read.
pub(crate) fn check_prologue(path: &Path, bytes: &[u8], magic: Magic) -> Result<(), OpenError> {
    match read_prologue(bytes, magic) {
        Prologue::Good => Ok(()),
        Prologue::Bad => Err(OpenError::corrupt(path, 0, "its first 16 bytes are not a Weir file's of this kind")),
        Prologue::Other(found) => {
            Err(OpenError::OtherVersion { file: path.to_owned(), found, supported: FORMAT_VERSION })
        }
    }
}

/// Appends the checksum of everything in `bytes`.
pub(crate) fn write_check(bytes: &mut Vec<u8>) {
    let check = xxh3_64(bytes);
    bytes.extend_from_slice(&check.to_le_bytes());
}

/// Whether the last eight of `bytes` are the checksum of those before.
pub(crate) fn has_good_check(bytes: &[u8]) -> bool {
    bytes.split_last_chunk::<8>().is_some_and(|(said, check)| xxh3_64(said).to_le_bytes() == *check)
}

/// The next multiple of [`PAGE`].
pub(crate) fn page_up(length: u64) -> u64 {
    length.next_multiple_of(PAGE)
}

/// Reads little-endian fields; `None` once the bytes run out.
pub(crate) struct Fields<'a> {
    rest: &'a [u8],
}

impl<'a> Fields<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    pub(crate) fn bytes(&mut self, length: u64) -> Option<&'a [u8]> {
        let (bytes, rest) = self.rest.split_at_checked(usize::try_from(length).ok()?)?;
        self.rest = rest;
        Some(bytes)
    }

    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (bytes, rest) = self.rest.split_first_chunk()?;
        self.rest = rest;
        Some(*bytes)
    }

    pub(crate) fn u8(&mut self) -> Option<u8> {
        self.array::<1>().map(|[byte]| byte)
    }

    pub(crate) fn u16(&mut self) -> Option<u16> {
        self.array().map(u16::from_le_bytes)
    }

    pub(crate) fn u32(&mut self) -> Option<u32> {
        self.array().map(u32::from_le_bytes)
    }

    pub(crate) fn u64(&mut self) -> Option<u64> {
        self.array().map(u64::from_le_bytes)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prologue_tells_its_kind_and_another_version_from_damage() {
        let mut bytes = Vec::new();
        write_prologue(&mut bytes, LOG);
        assert_eq!(read_prologue(&bytes, LOG), Prologue::Good);
        assert_eq!(read_prologue(&bytes, OUTBOX), Prologue::Bad);
        assert_eq!(read_prologue(&bytes[..15], LOG), Prologue::Bad);
        for bit in 0..128 {
            let mut flipped = bytes.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(read_prologue(&flipped, LOG), Prologue::Bad, "bit {bit}");
        }
        for version in [1, 9u32] {
            bytes[8..12].copy_from_slice(&version.to_le_bytes());
            let check = (xxh3_64(&bytes[..12]) as u32).to_le_bytes();
            bytes[12..].copy_from_slice(&check);
            assert_eq!(read_prologue(&bytes, LOG), Prologue::Other(version));
        }
    }
}
