//! Key bytes to dense slot numbers.
//!
//! Invariant: slots are given in order of first appearance and never reused; `key(slot)` is the key that was
//! given the slot. Keys are compared by their bytes, so equal bytes are one key and nothing else is.

use weir_stream::key;

use super::buckets::Buckets;
use super::growth;
use super::prefetch;

/// A smaller index is in the cache anyway: hundreds of its neighbours fit there.
const PREFETCH_KEYS: usize = 256;

/// Where keys end in the arena. Keys of one width, the common case, need no offsets.
#[derive(Debug, Clone)]
enum Ends {
    Fixed(usize),
    Variable(Vec<u64>),
}

/// A set of keys, each with a slot.
#[derive(Debug, Clone)]
pub struct KeyIndex {
    buckets: Buckets,
    arena: Vec<u8>,
    ends: Ends,
    len: usize,
}

impl Default for KeyIndex {
    fn default() -> Self {
        Self { buckets: Buckets::default(), arena: Vec::new(), ends: Ends::Fixed(0), len: 0 }
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
        self.buckets.find(hash, |slot| equal(self.key(slot), key))
    }

    /// Asks for what look-ups of keys of these hashes will read, all of it side by side: one after the other each look-up
    /// would wait for memory several times. `also` gets the slot of most of those that are known.
    #[inline]
    pub fn prefetch(&self, hashes: impl Iterator<Item = u64> + Clone, mut also: impl FnMut(u32)) {
        if !self.is_large() {
            return;
        }
        hashes.clone().for_each(|hash| self.buckets.prefetch(hash));
        for slot in hashes.filter_map(|hash| self.buckets.likely(hash)) {
            self.prefetch_key(slot);
            also(slot);
        }
    }

    /// Whether it is worth while to prefetch.
    #[inline]
    pub fn is_large(&self) -> bool {
        self.len >= PREFETCH_KEYS
    }

    /// Asks for the key's memory.
    #[inline]
    pub fn prefetch_key(&self, slot: u32) {
        if let Some(byte) = self.key(slot).first() {
            prefetch::line(byte);
        }
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
        let Self { buckets, arena, ends, .. } = self;
        buckets.insert(hash, slot, |slot| key::hash(key_at(arena, ends, slot as usize)));
        slot
    }

    /// Lets [`KeyIndex::find`] no longer find the key of `slot`; the slot keeps its key.
    pub(super) fn forget(&mut self, slot: u32) {
        let Self { buckets, arena, ends, .. } = self;
        let hash_of = |slot: u32| key::hash(key_at(arena, ends, slot as usize));
        buckets.remove(hash_of(slot), slot, hash_of);
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
        self.buckets.byte_size() + self.arena.capacity() + ends
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
