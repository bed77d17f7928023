//! State by key whose keys come and go one by one and whose values lie in columns: accumulators without a window.
//!
//! Invariant: between two seals the table knows exactly the keys that were touched or removed since the first one, so
//! that a delta is proportional to them. The slot of a key that left is never given to another key; when most slots of a
//! key group are empty, [`SlotGroup::compact`] numbers the rest anew.
//!
//! Stored per key: the key as it is, and the value in the owner's versioned encoding. A delta puts a key's whole value
//! or deletes the key; it may delete a key that was never put.
//!
//! Keys may leave memory ([`SlotTable::evict`]); who looks for one brings it there first ([`SlotTable::warm`]).

mod cold;

use std::ops::Range;

use weir_stream::key;

use super::cold_keys::ColdKeys;
use super::marks::Marks;
use super::{DeltaWriter, KeyIndex, Slots, TableError, read_ahead};

/// Fewer empty slots than this are not worth the work.
const COMPACT_MIN: usize = 64;

/// Columns whose slots can be numbered anew.
pub trait CompactSlots: Slots {
    /// Keeps the values of these slots (ascending) as slots `0..`, and nothing else, nor memory for it.
    fn keep(&mut self, slots: &[u32]);
}

/// All keys of one step in one task.
#[derive(Debug, Clone)]
pub struct SlotTable<S> {
    /// The columns of a key group without keys.
    empty: S,
    key_groups: Range<u16>,
    /// One per key group of the range.
    groups: Vec<SlotGroup<S>>,
    /// The group that keys leave from next.
    hand: usize,
}

/// The keys of one key group.
#[derive(Debug, Clone)]
pub struct SlotGroup<S> {
    index: KeyIndex,
    slots: S,
    /// Touched since the last seal.
    marks: Marks,
    /// Slots whose key has left.
    empty: Bits,
    empty_count: usize,
    /// Keys that left since the last seal.
    removed: Vec<Box<[u8]>>,
    /// Slots that were asked for since keys were written away for the last time.
    recent: Bits,
    /// Keys that are not in memory.
    cold: ColdKeys,
}

/// One bit per slot; those never set need no room.
#[derive(Debug, Clone, Default)]
struct Bits(Vec<u64>);

impl Bits {
    fn get(&self, slot: u32) -> bool {
        self.0.get(slot as usize / 64).is_some_and(|word| word >> (slot % 64) & 1 == 1)
    }

    /// Answers what the bit was.
    fn set(&mut self, slot: u32) -> bool {
        let (word, bit) = (slot as usize / 64, 1u64 << (slot % 64));
        if word >= self.0.len() {
            self.0.resize(word + 1, 0);
        }
        let was = self.0[word] & bit != 0;
        self.0[word] |= bit;
        was
    }
}

impl<S: CompactSlots + Clone> SlotTable<S> {
    pub fn new(empty: S, key_groups: Range<u16>) -> Self {
        let groups = key_groups.clone().map(|_| SlotGroup::new(empty.clone())).collect();
        Self { empty, key_groups, groups, hand: 0 }
    }

    pub fn key_groups(&self) -> Range<u16> {
        self.key_groups.clone()
    }

    /// The columns of a key group without keys.
    pub fn empty(&self) -> &S {
        &self.empty
    }

    /// # Errors
    /// When the key group is not of this task.
    pub fn group(&mut self, key_group: u16) -> Result<&mut SlotGroup<S>, TableError> {
        let Range { start: first, end } = self.key_groups;
        if !self.key_groups.contains(&key_group) {
            return Err(TableError::ForeignKeyGroup { key_group, first, end });
        }
        Ok(&mut self.groups[usize::from(key_group - first)])
    }

    /// In order of key group, from the first of the range on.
    pub fn groups(&self) -> &[SlotGroup<S>] {
        &self.groups
    }

    /// In order of key group, from the first of the range on.
    pub fn groups_mut(&mut self) -> &mut [SlotGroup<S>] {
        &mut self.groups
    }

    /// Writes what changed since the last seal and starts anew.
    pub fn seal(&mut self, delta: &mut dyn DeltaWriter) {
        let mut value = Vec::new();
        for (key_group, group) in self.key_groups.clone().zip(&mut self.groups) {
            group.seal(key_group, &mut value, delta);
        }
    }

    /// Puts a stored entry back; it counts as durable and unchanged. Answers its slot.
    ///
    /// # Errors
    /// When the entry cannot have been written by such a table.
    pub fn restore_put(&mut self, key_group: u16, key: &[u8], value: &[u8]) -> Result<u32, TableError> {
        let group = self.group(key_group)?;
        let hash = key::hash(key);
        group.warm(key_group, hash, key)?;
        let slot = group.find_or_insert(hash, key);
        group.slots.read(slot as usize, value).map_err(|reason| TableError::Value { key_group, reason })?;
        Ok(slot)
    }

    /// Replays a stored deletion.
    ///
    /// # Errors
    /// When the key group is not of this task.
    pub fn restore_delete(&mut self, key_group: u16, key: &[u8]) -> Result<(), TableError> {
        let group = self.group(key_group)?;
        let hash = key::hash(key);
        group.warm(key_group, hash, key)?;
        if let Some(slot) = group.index.find(hash, key) {
            group.remove(slot);
            group.removed.pop();
        }
        Ok(())
    }

    /// Moves in the keys of `part`, loaded apart for some of this table's key groups.
    ///
    /// # Errors
    /// When a key group of the part is not of this task.
    pub fn absorb(&mut self, part: Self) -> Result<(), TableError> {
        for (key_group, group) in part.key_groups.zip(part.groups) {
            *self.group(key_group)? = group;
        }
        Ok(())
    }

    /// Every entry of one key group as a delta would put it. Meant for the moment after a seal.
    ///
    /// # Errors
    /// When keys cannot be read back: what was given out then is not the whole.
    pub fn for_each(&self, key_group: u16, entry: &mut dyn FnMut(&[u8], &[u8])) -> Result<(), TableError> {
        let group = key_group.checked_sub(self.key_groups.start).map(usize::from);
        let Some(group) = group.and_then(|group| self.groups.get(group)) else { return Ok(()) };
        let mut value = Vec::new();
        for slot in group.held() {
            value.clear();
            group.slots.write(slot as usize, &mut value);
            entry(group.key(slot), &value);
        }
        group.cold.for_each(key_group, entry)
    }

    /// Keys held, also those that are not in memory.
    pub fn len(&self) -> usize {
        self.groups.iter().map(|group| group.len() + group.cold.len()).sum()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Bytes held.
    pub fn byte_size(&self) -> usize {
        self.groups.iter().map(SlotGroup::byte_size).sum()
    }
}

impl<S: CompactSlots> SlotGroup<S> {
    fn new(slots: S) -> Self {
        let [empty, recent] = [const { Bits(Vec::new()) }; 2];
        let (index, marks, cold) = (KeyIndex::default(), Marks::default(), ColdKeys::default());
        Self { index, slots, marks, empty, empty_count: 0, removed: Vec::new(), recent, cold }
    }

    /// Keys in memory.
    pub fn len(&self) -> usize {
        self.index.len() - self.empty_count
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub fn key(&self, slot: u32) -> &[u8] {
        self.index.key(slot)
    }

    pub fn slots(&self) -> &S {
        &self.slots
    }

    pub fn slots_mut(&mut self) -> &mut S {
        &mut self.slots
    }

    /// Whether a key is in the slot still.
    pub fn is_held(&self, slot: u32) -> bool {
        (slot as usize) < self.index.len() && !self.empty.get(slot)
    }

    /// The slots that hold a key, ascending.
    pub fn held(&self) -> impl Iterator<Item = u32> {
        (0..self.index.len() as u32).filter(|slot| !self.empty.get(*slot))
    }

    /// The slot of a key, whose hash is `hash` (`weir_stream::key::hash`), if it is held.
    #[inline]
    pub fn find(&self, hash: u64, key: &[u8]) -> Option<u32> {
        self.index.find(hash, key)
    }

    /// Asks for what [`SlotGroup::find`] of keys of these hashes will read, and for their values (see [`KeyIndex::prefetch`]).
    #[inline]
    pub fn prefetch(&self, hashes: impl Iterator<Item = u64> + Clone) {
        self.index.prefetch(hashes, |slot| {
            self.marks.prefetch(slot);
            self.slots.prefetch(slot as usize);
        });
    }

    /// The slot of a key that is not held yet, with the value of a key without rows.
    pub fn insert(&mut self, hash: u64, key: &[u8]) -> u32 {
        let slot = self.index.find_or_insert(hash, key);
        self.slots.resize(self.index.len());
        slot
    }

    fn find_or_insert(&mut self, hash: u64, key: &[u8]) -> u32 {
        self.find(hash, key).unwrap_or_else(|| self.insert(hash, key))
    }

    /// Notes that the caller changes the slot's value.
    #[inline]
    pub fn mark(&mut self, slot: u32) {
        self.marks.set(slot);
    }

    /// Lets the slot's key go.
    pub fn remove(&mut self, slot: u32) {
        if self.empty.set(slot) {
            return;
        }
        self.empty_count += 1;
        self.marks.clear(slot);
        self.index.forget(slot);
        self.removed.push(self.index.key(slot).into());
    }

    /// Numbers the slots anew if most are empty, and answers whether it did: then no slot number from before holds.
    pub fn compact(&mut self) -> bool {
        if self.empty_count < COMPACT_MIN || self.empty_count * 2 < self.index.len() {
            return false;
        }
        self.renumber();
        true
    }

    fn renumber(&mut self) {
        let held: Vec<u32> = self.held().collect();
        let mut index = KeyIndex::default();
        let (mut marks, mut recent) = (Marks::default(), Bits::default());
        for (to, from) in (0u32..).zip(&held) {
            let key = self.index.key(*from);
            index.find_or_insert(key::hash(key), key);
            if self.marks.get(*from) {
                marks.set(to);
            }
            if self.recent.get(*from) {
                recent.set(to);
            }
        }
        self.slots.keep(&held);
        (self.index, self.marks, self.recent) = (index, marks, recent);
        (self.empty, self.empty_count) = (Bits::default(), 0);
    }

    fn seal(&mut self, key_group: u16, value: &mut Vec<u8>, delta: &mut dyn DeltaWriter) {
        // An epoch in which most keys left is no measure for those behind it.
        self.removed.shrink_to(2 * self.removed.len());
        // Before the puts: a key that left may have come back since.
        for key in self.removed.drain(..) {
            delta.delete(key_group, &key);
        }
        let Self { index, slots: values, marks, recent, .. } = self;
        marks.drain(|slots| {
            read_ahead(index, values, slots);
            for slot in slots {
                recent.set(*slot);
                value.clear();
                values.write(*slot as usize, value);
                delta.put(key_group, index.key(*slot), value);
            }
        });
    }

    /// Bytes held in memory.
    pub fn byte_size(&self) -> usize {
        let bits = [&self.empty, &self.recent].map(|bits| bits.0.capacity() * size_of::<u64>());
        let removed: usize = self.removed.iter().map(|key| key.len() + size_of::<Box<[u8]>>()).sum();
        let (marks, cold) = (self.marks.byte_size(), self.cold.byte_size());
        let held = self.index.byte_size() + self.slots.byte_size();
        size_of::<Self>() + held + marks + bits.iter().sum::<usize>() + removed + cold
    }
}

#[cfg(test)]
mod tests;
