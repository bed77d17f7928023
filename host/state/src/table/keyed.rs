//! The keys of one key group in one bucket, with their values and the marks of what changed.
//!
//! Invariant: the value columns have one slot per key, and a slot is marked exactly when it was touched since the last seal.

use super::index::KeyIndex;
use super::marks::Marks;
use super::{DeltaWriter, Slots, TableError, read_ahead};

/// Keys, values by slot, and the slots touched since the last seal. Keys never leave one by one.
#[derive(Debug, Clone)]
pub struct KeyTable<S> {
    index: KeyIndex,
    slots: S,
    /// Touched since the last seal.
    marks: Marks,
    /// Whether a seal has written any of these keys: only then must a delta delete them.
    durable: bool,
    /// The seal before the last touch.
    pub(super) touched_at: u64,
}

impl<S: Slots> KeyTable<S> {
    pub fn new(slots: S) -> Self {
        Self { index: KeyIndex::default(), slots, marks: Marks::default(), durable: false, touched_at: 0 }
    }

    pub fn len(&self) -> usize {
        self.index.len()
    }

    pub fn is_empty(&self) -> bool {
        self.index.is_empty()
    }

    pub fn key(&self, slot: u32) -> &[u8] {
        self.index.key(slot)
    }

    /// The slot of `key`, whose hash is `hash`, if the key is held.
    pub fn find(&self, hash: u64, key: &[u8]) -> Option<u32> {
        self.index.find(hash, key)
    }

    pub fn slots(&self) -> &S {
        &self.slots
    }

    pub fn slots_mut(&mut self) -> &mut S {
        &mut self.slots
    }

    pub fn is_durable(&self) -> bool {
        self.durable
    }

    /// Whether a snapshot and the deltas so far hold all of it.
    pub(super) fn is_unchanged(&self) -> bool {
        self.durable && self.marks.is_empty()
    }

    /// Appends to `found` the slot of every key, new keys included, and marks them as touched. The caller then
    /// updates the values of those slots.
    pub fn touch<'k>(&mut self, keys: impl Iterator<Item = (u64, &'k [u8])> + Clone, found: &mut Vec<u32>) {
        self.index.prefetch(keys.clone().map(|(hash, _)| hash), |_| {});
        for (hash, key) in keys {
            let slot = self.index.find_or_insert(hash, key);
            self.marks.set(slot);
            found.push(slot);
        }
        self.slots.resize(self.index.len());
    }

    /// Writes the touched keys and forgets that they were touched. `scratch` is the bucket's bytes.
    pub(super) fn seal(
        &mut self,
        key_group: u16,
        stored: &mut Vec<u8>,
        value: &mut Vec<u8>,
        delta: &mut dyn DeltaWriter,
    ) {
        let prefix = stored.len();
        let Self { index, slots: values, marks, durable, .. } = self;
        marks.drain(|slots| {
            read_ahead(index, values, slots);
            for slot in slots {
                stored.truncate(prefix);
                stored.extend_from_slice(index.key(*slot));
                value.clear();
                values.write(*slot as usize, value);
                delta.put(key_group, stored, value);
                *durable = true;
            }
        });
        stored.truncate(prefix);
    }

    pub(super) fn restore(&mut self, key_group: u16, hash: u64, key: &[u8], value: &[u8]) -> Result<(), TableError> {
        let slot = self.index.find_or_insert(hash, key);
        self.slots.resize(self.index.len());
        self.durable = true;
        self.slots.read(slot as usize, value).map_err(|reason| TableError::Value { key_group, reason })
    }

    /// Bytes held.
    pub fn byte_size(&self) -> usize {
        size_of::<Self>() + self.index.byte_size() + self.slots.byte_size() + self.marks.byte_size()
    }
}
