//! Keys of one key group that are not in memory: of each, where its entry is on disk.
//!
//! Keys leave memory in pieces, those whose time comes at about the same moment together, so that a piece comes back
//! whole when its time has come; before that a key comes back alone, when somebody asks for it. A piece is a cache: what
//! is in it is in snapshots and log too.
//!
//! Invariant: a key is either here or in the table that owns this, never in both. An entry is handed out only if its bytes
//! are those that were written.
//!
//! An entry: checksum u64 (xxh3 of all behind it, seeded with its place), length of the key u32, of the value u32, key,
//! value; little-endian. A piece is entries, one behind the other.

use std::collections::{BTreeMap, BTreeSet};
use std::io;

use hashbrown::HashTable;
use weir_stream::key;

use super::TableError;
use crate::format::hash;
use crate::spill::{Spill, Spilled};

/// A piece is closed once it is this long: what comes back together is read in one go.
const PIECE_BYTES: usize = 256 << 10;

/// Most entries are shorter, and come with one read.
const FIRST_READ_BYTES: u64 = 512;

const HEAD_BYTES: usize = 16;

/// Lets key groups write keys away, each after the one of the time before, until `bytes` are out of memory: first what
/// nothing touched lately, then, if that is not enough, anything. `evict` gets the group's number and whether recent keys
/// leave too; it answers the bytes that are out of memory. Answers their sum.
///
/// # Errors
/// The first that `evict` gives.
pub fn evict_around(
    hand: &mut usize,
    groups: usize,
    bytes: usize,
    mut evict: impl FnMut(usize, bool) -> io::Result<usize>,
) -> io::Result<usize> {
    let mut evicted = 0;
    for recent_too in [false, true] {
        for _ in 0..groups {
            if evicted >= bytes {
                return Ok(evicted);
            }
            evicted += evict(*hand % groups, recent_too)?;
            *hand = (*hand + 1) % groups;
        }
    }
    Ok(evicted)
}

/// The cold keys of one key group.
#[derive(Debug, Clone, Default)]
pub struct ColdKeys {
    index: HashTable<Entry>,
    pieces: BTreeMap<u32, Piece>,
    /// When time asks for a piece.
    due: BTreeSet<(i64, u32)>,
    next: u32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Entry {
    tag: u32,
    piece: u32,
    offset: u32,
}

#[derive(Debug, Clone)]
struct Piece {
    spilled: Spilled,
    entries: u32,
    /// Entries that were not taken back.
    left: u32,
    due_us: Option<i64>,
}

/// A key that came back, with its value as it was stored.
pub type Thawed = (Box<[u8]>, Vec<u8>);

/// A piece on its way out.
#[derive(Debug, Default)]
pub struct PieceWriter {
    bytes: Vec<u8>,
    entries: Vec<(u32, u32)>,
    due_us: Option<i64>,
}

impl PieceWriter {
    /// `due_us`: when time asks for the key, if it does.
    pub fn put(&mut self, key: &[u8], due_us: Option<i64>, write: impl FnOnce(&mut Vec<u8>)) {
        let start = self.bytes.len();
        self.entries.push((tag(key::hash(key)), start as u32));
        self.bytes.extend_from_slice(&[0; HEAD_BYTES]);
        self.bytes.extend_from_slice(key);
        let value = self.bytes.len();
        write(&mut self.bytes);
        let lengths = [key.len() as u32, (self.bytes.len() - value) as u32];
        for (number, length) in lengths.into_iter().enumerate() {
            self.bytes[start + 8 + number * 4..][..4].copy_from_slice(&length.to_le_bytes());
        }
        let check = hash(start as u64, &self.bytes[start + 8..]);
        self.bytes[start..start + 8].copy_from_slice(&check.to_le_bytes());
        self.due_us = self.due_us.into_iter().chain(due_us).min();
    }

    pub fn is_full(&self) -> bool {
        self.bytes.len() >= PIECE_BYTES
    }
}

impl ColdKeys {
    pub fn len(&self) -> usize {
        self.index.len()
    }

    pub fn is_empty(&self) -> bool {
        self.index.is_empty()
    }

    /// Bytes on disk.
    pub fn bytes(&self) -> u64 {
        self.pieces.values().map(|piece| piece.spilled.bytes()).sum()
    }

    /// Bytes in memory.
    pub fn byte_size(&self) -> usize {
        self.index.allocation_size() + self.pieces.len() * (size_of::<Piece>() + size_of::<(i64, u32)>())
    }

    /// Writes a piece, whose keys the owner lets go of then.
    ///
    /// # Errors
    /// The disk's; the keys are not here then.
    pub fn add(&mut self, piece: PieceWriter, spill: &Spill) -> io::Result<()> {
        let PieceWriter { bytes, entries, due_us } = piece;
        if entries.is_empty() {
            return Ok(());
        }
        let (number, count) = (self.next, entries.len() as u32);
        let piece = Piece { spilled: spill.write(&bytes)?, entries: count, left: count, due_us };
        self.next = self.next.checked_add(1).ok_or_else(|| io::Error::other("more pieces than can be told apart"))?;
        self.due.extend(due_us.map(|due_us| (due_us, number)));
        self.pieces.insert(number, piece);
        for (tag, offset) in entries {
            let entry = Entry { tag, piece: number, offset };
            self.index.insert_unique(place(tag), entry, |entry| place(entry.tag));
        }
        Ok(())
    }

    /// Takes a key, whose hash is `hash` (`weir_stream::key::hash`), out and answers its value, if it is here.
    ///
    /// # Errors
    /// When it cannot be read back.
    pub fn take(&mut self, key_group: u16, hash: u64, key: &[u8]) -> Result<Option<Vec<u8>>, TableError> {
        let Some((entry, value)) = self.find(key_group, hash, key)? else { return Ok(None) };
        self.forget(entry);
        Ok(Some(value))
    }

    /// A key's value, which stays here.
    ///
    /// # Errors
    /// When it cannot be read back.
    pub fn get(&self, key_group: u16, hash: u64, key: &[u8]) -> Result<Option<Vec<u8>>, TableError> {
        Ok(self.find(key_group, hash, key)?.map(|(_, value)| value))
    }

    fn find(&self, key_group: u16, hash: u64, key: &[u8]) -> Result<Option<(Entry, Vec<u8>)>, TableError> {
        let tag = tag(hash);
        let (mut found, mut fault) = (None, None);
        self.index.find(place(tag), |entry| {
            if entry.tag != tag || fault.is_some() {
                return false;
            }
            match self.pieces[&entry.piece].read(entry.offset) {
                Ok((held, value)) if *held == *key => found = Some((*entry, value)),
                Ok(_) => {}
                Err(reason) => fault = Some(reason),
            }
            found.is_some()
        });
        match fault {
            Some(reason) => Err(TableError::Cold { key_group, reason }),
            None => Ok(found),
        }
    }

    fn forget(&mut self, entry: Entry) {
        if let Ok(held) = self.index.find_entry(place(entry.tag), |held| *held == entry) {
            held.remove();
        }
        let piece = self.pieces.get_mut(&entry.piece).expect("an entry's piece is held");
        piece.left -= 1;
        if piece.left == 0 {
            self.drop_piece(entry.piece);
        }
    }

    fn drop_piece(&mut self, number: u32) {
        if let Some(due_us) = self.pieces.remove(&number).and_then(|piece| piece.due_us) {
            self.due.remove(&(due_us, number));
        }
        if self.pieces.is_empty() {
            self.index = HashTable::new();
        }
    }

    /// Takes out the next piece whose time has come at `until_us`.
    ///
    /// # Errors
    /// When it cannot be read back.
    pub fn take_due(&mut self, key_group: u16, until_us: i64) -> Result<Option<Vec<Thawed>>, TableError> {
        match self.due.first() {
            Some((due_us, number)) if *due_us <= until_us => self.take_piece(key_group, *number).map(Some),
            _ => Ok(None),
        }
    }

    fn take_piece(&mut self, key_group: u16, number: u32) -> Result<Vec<Thawed>, TableError> {
        let mut thawed = Vec::new();
        self.each_left(key_group, number, |entry, key, value| thawed.push((entry, key.into(), value.to_vec())))?;
        let forget = |(entry, key, value)| {
            self.forget(entry);
            (key, value)
        };
        Ok(thawed.into_iter().map(forget).collect())
    }

    /// Every key with its value.
    ///
    /// # Errors
    /// When one cannot be read back: what was given out then is not the whole.
    pub fn for_each(&self, key_group: u16, entry: &mut dyn FnMut(&[u8], &[u8])) -> Result<(), TableError> {
        self.pieces.keys().try_for_each(|number| self.each_left(key_group, *number, |_, key, value| entry(key, value)))
    }

    /// Writes pieces of which most is gone anew, without what is gone: so the files hold no more than twice of what is
    /// here, and a file is not held for a few keys.
    ///
    /// # Errors
    /// The disk's; nothing is lost then.
    pub fn tidy(&mut self, key_group: u16, spill: &Spill) -> io::Result<()> {
        let sparse = |(number, piece): (&u32, &Piece)| (piece.left * 2 < piece.entries).then_some(*number);
        let sparse: Vec<u32> = self.pieces.iter().filter_map(sparse).collect();
        for number in sparse {
            let due_us = self.pieces[&number].due_us;
            let mut piece = PieceWriter::default();
            let mut entries = Vec::new();
            let read = self.each_left(key_group, number, |entry, key, value| {
                entries.push(entry);
                piece.put(key, due_us, |bytes| bytes.extend_from_slice(value));
            });
            // Who asks for one of its keys hears of it then.
            if read.is_ok() {
                self.add(piece, spill)?;
                entries.into_iter().for_each(|entry| self.forget(entry));
            }
        }
        Ok(())
    }

    /// What is left of a piece, read in one go.
    fn each_left(
        &self,
        key_group: u16,
        number: u32,
        mut each: impl FnMut(Entry, &[u8], &[u8]),
    ) -> Result<(), TableError> {
        let bytes = self.pieces[&number].spilled.read();
        let bytes = bytes.map_err(|reason| TableError::Cold { key_group, reason })?;
        let mut offset = 0;
        while let Some((key, value)) = split(&bytes[offset..]) {
            let entry = Entry { tag: tag(key::hash(key)), piece: number, offset: offset as u32 };
            if self.index.find(place(entry.tag), |held| *held == entry).is_some() {
                each(entry, key, value);
            }
            offset += HEAD_BYTES + key.len() + value.len();
        }
        Ok(())
    }
}

impl Piece {
    /// One entry, checked: its key and its value.
    fn read(&self, offset: u32) -> Result<(Vec<u8>, Vec<u8>), String> {
        let (start, damaged) = (u64::from(offset), || "an entry does not match its checksum; start again".to_owned());
        let left = self.spilled.bytes() - start;
        let mut bytes = self.spilled.read_part(start, left.min(FIRST_READ_BYTES))?;
        let [key, value] = lengths(&bytes).ok_or_else(damaged)?;
        let length = HEAD_BYTES as u64 + u64::from(key) + u64::from(value);
        if length > left {
            return Err(damaged());
        }
        if length > bytes.len() as u64 {
            bytes = self.spilled.read_part(start, length)?;
        }
        bytes.truncate(length as usize);
        let check = bytes.first_chunk().map(|check| u64::from_le_bytes(*check));
        if check != Some(hash(start, &bytes[8..])) {
            return Err(damaged());
        }
        let value = bytes.split_off(HEAD_BYTES + key as usize);
        bytes.drain(..HEAD_BYTES);
        Ok((bytes, value))
    }
}

fn lengths(entry: &[u8]) -> Option<[u32; 2]> {
    let (lengths, _) = entry.get(8..)?.split_first_chunk::<8>()?;
    let [a, b, c, d, e, f, g, h] = *lengths;
    Some([u32::from_le_bytes([a, b, c, d]), u32::from_le_bytes([e, f, g, h])])
}

/// The entry at the front of a piece whose checksum held.
fn split(piece: &[u8]) -> Option<(&[u8], &[u8])> {
    let [key, value] = lengths(piece)?;
    let (key, rest) = piece.get(HEAD_BYTES..)?.split_at_checked(key as usize)?;
    Some((key, rest.get(..value as usize)?))
}

/// Half of a key's hash: what is kept of it.
fn tag(hash: u64) -> u32 {
    (hash >> 32) as u32
}

/// Where an entry stands in the index: hashbrown looks at the lowest and the highest bits.
fn place(tag: u32) -> u64 {
    u64::from(tag).wrapping_mul(0x9e37_79b9_7f4a_7c15)
}

#[cfg(test)]
mod tests;
