//! Key bytes to dense slot numbers.
//!
//! Invariant: slots are given in order of first appearance and never reused; `key(slot)` is the key that was
//! given the slot. Keys are compared by their bytes, so equal bytes are one key and nothing else is.

use hashbrown::HashTable;
use weir_stream::key;

use super::growth;

/// Where keys end in the arena. Keys of one width, the common case, need no offsets.
#[derive(Debug, Clone)]
enum Ends {
    Fixed(usize),
    Variable(Vec<u64>),
}

/// A set of keys, each with a slot.
#[derive(Debug, Clone)]
pub struct KeyIndex {
    /// Slots by the hash of their key. Of a hash hashbrown keeps 7 bits: few keys are compared in vain.
    table: HashTable<u32>,
    arena: Vec<u8>,
    ends: Ends,
    len: usize,
}

impl Default for KeyIndex {
    fn default() -> Self {
        Self { table: HashTable::new(), arena: Vec::new(), ends: Ends::Fixed(0), len: 0 }
    }
}

impl KeyIndex {
    pub fn len(&self) -> usize {
        self.len
    }

    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The bytes of the key in `slot`.
    #[inline]
    pub fn key(&self, slot: u32) -> &[u8] {
        key_at(&self.arena, &self.ends, slot as usize)
    }

    /// The slot of `key`, whose hash is `hash` (`weir_stream::key::hash`), if the key is known.
    #[inline]
    pub fn find(&self, hash: u64, key: &[u8]) -> Option<u32> {
        self.table.find(spread(hash), |slot| equal(self.key(*slot), key)).copied()
    }

    /// The slot of `key`, given now if the key is new.
    #[inline]
    pub fn find_or_insert(&mut self, hash: u64, key: &[u8]) -> u32 {
        match self.find(hash, key) {
            Some(slot) => slot,
            None => self.insert(hash, key),
        }
    }

    #[cold]
    fn insert(&mut self, hash: u64, key: &[u8]) -> u32 {
        let slot = u32::try_from(self.len).expect("a bucket of one key group holds fewer than 2^32 keys");
        self.push_key(key);
        let Self { table, arena, ends, .. } = self;
        let rehash = |slot: &u32| spread(key::hash(key_at(arena, ends, *slot as usize)));
        table.insert_unique(spread(hash), slot, rehash);
        slot
    }

    /// Lets [`KeyIndex::find`] no longer find the key of `slot`; the slot keeps its key.
    pub(super) fn forget(&mut self, slot: u32) {
        let hash = key::hash(self.key(slot));
        if let Ok(entry) = self.table.find_entry(spread(hash), |other| *other == slot) {
            entry.remove();
        }
    }

    fn push_key(&mut self, key: &[u8]) {
        if self.len == 0 {
            self.ends = Ends::Fixed(key.len());
        }
        if let Ends::Fixed(width) = self.ends
            && width != key.len()
        {
            self.ends = Ends::Variable((1..=self.len).map(|keys| (keys * width) as u64).collect());
        }
        growth::reserve(&mut self.arena, key.len());
        self.arena.extend_from_slice(key);
        if let Ends::Variable(ends) = &mut self.ends {
            growth::reserve(ends, 1);
            ends.push(self.arena.len() as u64);
        }
        self.len += 1;
    }

    /// Bytes held.
    pub fn byte_size(&self) -> usize {
        let ends = match &self.ends {
            Ends::Fixed(_) => 0,
            Ends::Variable(ends) => ends.capacity() * size_of::<u64>(),
        };
        self.table.allocation_size() + self.arena.capacity() + ends
    }
}

#[inline]
fn key_at<'a>(arena: &'a [u8], ends: &Ends, slot: usize) -> &'a [u8] {
    match ends {
        Ends::Fixed(width) => &arena[slot * width..(slot + 1) * width],
        Ends::Variable(ends) => {
            let start = if slot == 0 { 0 } else { ends[slot - 1] };
            &arena[start as usize..ends[slot] as usize]
        }
    }
}

/// All keys of one table share a key group and so, with a power of two of them, the hash's low bits; hashbrown
/// picks its bucket by exactly those. Turned, the bucket comes from bits that differ.
#[inline]
pub(super) fn spread(hash: u64) -> u64 {
    hash.rotate_right(16)
}

/// Compares keys; those of 8 to 16 bytes (one number, one timestamp) without a call.
#[inline]
fn equal(left: &[u8], right: &[u8]) -> bool {
    if left.len() != right.len() {
        return false;
    }
    match (left.first_chunk::<8>(), left.last_chunk::<8>(), right.first_chunk::<8>(), right.last_chunk::<8>()) {
        (Some(a), Some(b), Some(c), Some(d)) if left.len() <= 16 => a == c && b == d,
        _ => left == right,
    }
}
