//! State by key whose keys come and go one by one: latest rows, accumulators without a window, join rows, lists.
//!
//! Invariant: between two seals the table knows exactly the keys that were written or removed since the first one, so
//! that a delta is proportional to the keys touched. A key that came and went between two seals leaves no trace.
//!
//! Stored per key: the key as it is, and the value in the owner's versioned encoding. A delta puts a key's whole value
//! or deletes the key. Owners that keep several tables in one step set them apart by the key's first byte.
//!
//! Keys may leave memory ([`MapTable::evict`]). Who changes a key has it in memory again; who only reads brings it there
//! first ([`MapTable::warm`]).

mod cold;

use std::ops::Range;

use weir_stream::key;

use super::buckets::Buckets;
use super::cold_keys::ColdKeys;
use super::{DeltaWriter, TableError};

/// What is stored per key.
pub trait StateValue: Sized {
    /// Appends the value in the owner's versioned encoding.
    fn write(&self, bytes: &mut Vec<u8>);

    /// # Errors
    /// What is wrong with the bytes, when they are not a value that [`StateValue::write`] made.
    fn read(bytes: &[u8]) -> Result<Self, String>;

    /// Bytes held on the heap.
    fn heap_bytes(&self) -> usize {
        0
    }
}

/// A map from key to value for a range of key groups.
#[derive(Debug, Clone)]
pub struct MapTable<V> {
    key_groups: Range<u16>,
    /// One per key group of the range.
    maps: Vec<KeyMap<V>>,
    /// The map that keys leave from next.
    hand: usize,
}

#[derive(Debug, Clone)]
struct KeyMap<V> {
    /// Slots by the hash of their key.
    table: Buckets,
    slots: Vec<Slot<V>>,
    /// Slots without a key.
    free: Vec<u32>,
    /// Slots written since the last seal.
    dirty: Vec<u32>,
    /// Durable keys removed since the last seal.
    removed: Vec<Box<[u8]>>,
    heap_bytes: usize,
    /// Keys that are not in memory.
    cold: ColdKeys,
}

#[derive(Debug, Clone)]
struct Slot<V> {
    key: Box<[u8]>,
    value: Option<V>,
    is_dirty: bool,
    is_durable: bool,
    /// Whether it was asked for since keys left its map for the last time.
    is_recent: bool,
}

impl<V> Default for KeyMap<V> {
    fn default() -> Self {
        let (table, slots, cold) = (Buckets::default(), Vec::new(), ColdKeys::default());
        Self { table, slots, free: Vec::new(), dirty: Vec::new(), removed: Vec::new(), heap_bytes: 0, cold }
    }
}

impl<V: StateValue> MapTable<V> {
    pub fn new(key_groups: Range<u16>) -> Self {
        let maps = key_groups.clone().map(|_| KeyMap::default()).collect();
        Self { key_groups, maps, hand: 0 }
    }

    pub fn key_groups(&self) -> Range<u16> {
        self.key_groups.clone()
    }

    fn map(&mut self, key_group: u16) -> Result<&mut KeyMap<V>, TableError> {
        let Range { start: first, end } = self.key_groups;
        if !self.key_groups.contains(&key_group) {
            return Err(TableError::ForeignKeyGroup { key_group, first, end });
        }
        Ok(&mut self.maps[usize::from(key_group - first)])
    }

    /// The value of a key that is in memory; see [`MapTable::warm`].
    pub fn get(&self, key_group: u16, key: &[u8]) -> Option<&V> {
        let map = self.maps.get(usize::from(key_group.checked_sub(self.key_groups.start)?))?;
        map.slots[map.find(key::hash(key), key)? as usize].value.as_ref()
    }

    /// Changes the value of a key, which counts as touched; `change` gets `None` for a key that is not held and answers
    /// what is to be held from now on, `None` for nothing.
    ///
    /// # Errors
    /// When the key group is not of this task, or the key cannot be read back.
    pub fn update<R>(
        &mut self,
        key_group: u16,
        key: &[u8],
        change: impl FnOnce(&mut Option<V>) -> R,
    ) -> Result<R, TableError> {
        let map = self.map(key_group)?;
        map.warm(key_group, key)?;
        Ok(map.update(key, change))
    }

    /// Holds `value` under a key.
    ///
    /// # Errors
    /// As [`MapTable::update`].
    pub fn put(&mut self, key_group: u16, key: &[u8], value: V) -> Result<Option<V>, TableError> {
        self.update(key_group, key, |held| held.replace(value))
    }

    /// Lets go of a key and answers its value.
    ///
    /// # Errors
    /// As [`MapTable::update`].
    pub fn remove(&mut self, key_group: u16, key: &[u8]) -> Result<Option<V>, TableError> {
        self.update(key_group, key, Option::take)
    }

    /// All keys in memory with their values, by key group; in no order within one.
    pub fn iter(&self) -> impl Iterator<Item = (u16, &[u8], &V)> {
        let numbered = self.key_groups.clone().zip(&self.maps);
        numbered.flat_map(|(key_group, map)| map.iter().map(move |(key, value)| (key_group, key, value)))
    }

    /// Writes what changed since the last seal and starts anew.
    pub fn seal(&mut self, delta: &mut dyn DeltaWriter) {
        let mut value = Vec::new();
        for (key_group, map) in self.key_groups.clone().zip(&mut self.maps) {
            map.seal(key_group, &mut value, delta);
        }
    }

    /// Puts a stored entry back; it counts as durable and unchanged.
    ///
    /// # Errors
    /// When the value cannot have been written by such a table.
    pub fn restore_put(&mut self, key_group: u16, key: &[u8], value: &[u8]) -> Result<(), TableError> {
        let value = V::read(value).map_err(|reason| TableError::Value { key_group, reason })?;
        let map = self.map(key_group)?;
        map.warm(key_group, key)?;
        map.restore(key, Some(value));
        Ok(())
    }

    /// Replays a stored deletion.
    ///
    /// # Errors
    /// When the key group is not of this task.
    pub fn restore_delete(&mut self, key_group: u16, key: &[u8]) -> Result<(), TableError> {
        let map = self.map(key_group)?;
        map.warm(key_group, key)?;
        map.restore(key, None);
        Ok(())
    }

    /// Moves in the maps of `part`, loaded apart for some of this table's key groups.
    ///
    /// # Errors
    /// When a key group of the part is not of this task.
    pub fn absorb(&mut self, part: Self) -> Result<(), TableError> {
        for (key_group, map) in part.key_groups.zip(part.maps) {
            *self.map(key_group)? = map;
        }
        Ok(())
    }

    /// Every entry of one key group as a delta would put it: what a snapshot of the key group holds. Meant for the
    /// moment after a seal.
    ///
    /// # Errors
    /// When keys cannot be read back: what was given out then is not the whole.
    pub fn for_each(&self, key_group: u16, entry: &mut dyn FnMut(&[u8], &[u8])) -> Result<(), TableError> {
        let group = key_group.checked_sub(self.key_groups.start).map(usize::from);
        let Some(map) = group.and_then(|group| self.maps.get(group)) else { return Ok(()) };
        let mut bytes = Vec::new();
        for (key, value) in map.iter() {
            bytes.clear();
            value.write(&mut bytes);
            entry(key, &bytes);
        }
        map.cold.for_each(key_group, entry)
    }

    /// Keys held, also those that are not in memory.
    pub fn len(&self) -> usize {
        self.maps.iter().map(|map| map.table.len() + map.cold.len()).sum()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Bytes held in memory.
    pub fn byte_size(&self) -> usize {
        self.maps.iter().map(KeyMap::byte_size).sum()
    }
}

impl<V: StateValue> KeyMap<V> {
    fn find(&self, hash: u64, key: &[u8]) -> Option<u32> {
        self.table.find(hash, |slot| &*self.slots[slot as usize].key == key)
    }

    fn iter(&self) -> impl Iterator<Item = (&[u8], &V)> {
        self.slots.iter().filter_map(|slot| Some((&*slot.key, slot.value.as_ref()?)))
    }

    fn update<R>(&mut self, key: &[u8], change: impl FnOnce(&mut Option<V>) -> R) -> R {
        let hash = key::hash(key);
        let Some(number) = self.find(hash, key) else {
            let mut value = None;
            let result = change(&mut value);
            if let Some(value) = value {
                let number = self.insert(hash, key, value);
                self.mark(number);
            }
            return result;
        };
        let slot = &mut self.slots[number as usize];
        self.heap_bytes -= slot.value.as_ref().map_or(0, StateValue::heap_bytes);
        let result = change(&mut slot.value);
        match &slot.value {
            Some(value) => {
                self.heap_bytes += value.heap_bytes();
                self.mark(number);
            }
            None => self.take_out(hash, number, true),
        }
        result
    }

    fn mark(&mut self, number: u32) {
        let slot = &mut self.slots[number as usize];
        if !std::mem::replace(&mut slot.is_dirty, true) {
            self.dirty.push(number);
        }
    }

    fn insert(&mut self, hash: u64, key: &[u8], value: V) -> u32 {
        self.heap_bytes += key.len() + value.heap_bytes();
        let slot = Slot { key: key.into(), value: Some(value), is_dirty: false, is_durable: false, is_recent: false };
        let number = match self.free.pop() {
            Some(number) => {
                self.slots[number as usize] = slot;
                number
            }
            None => {
                self.slots.push(slot);
                u32::try_from(self.slots.len() - 1).expect("a key group of one step holds fewer than 2^32 keys")
            }
        };
        let Self { table, slots, .. } = self;
        table.insert(hash, number, |slot| key::hash(&slots[slot as usize].key));
        number
    }

    /// The slot's value is gone already, and its bytes are no longer counted.
    fn take_out(&mut self, hash: u64, number: u32, note: bool) {
        let Self { table, slots, .. } = self;
        table.remove(hash, number, |slot| key::hash(&slots[slot as usize].key));
        let slot = &mut slots[number as usize];
        let key = std::mem::take(&mut slot.key);
        self.heap_bytes -= key.len();
        // Its number may stay in the dirty list: without the mark it is passed over.
        slot.is_dirty = false;
        if note && slot.is_durable {
            self.removed.push(key);
        }
        self.free.push(number);
    }

    fn seal(&mut self, key_group: u16, value: &mut Vec<u8>, delta: &mut dyn DeltaWriter) {
        // Before the puts: a key that was removed may have come back since.
        for key in self.removed.drain(..) {
            delta.delete(key_group, &key);
        }
        for number in self.dirty.drain(..) {
            let slot = &mut self.slots[number as usize];
            if !std::mem::take(&mut slot.is_dirty) {
                continue;
            }
            (slot.is_durable, slot.is_recent) = (true, true);
            value.clear();
            if let Some(held) = &slot.value {
                held.write(value);
                delta.put(key_group, &slot.key, value);
            }
        }
    }

    fn restore(&mut self, key: &[u8], value: Option<V>) {
        let hash = key::hash(key);
        if let Some(number) = self.find(hash, key) {
            let old = self.slots[number as usize].value.take();
            self.heap_bytes -= old.map_or(0, |old| old.heap_bytes());
            self.take_out(hash, number, false);
        }
        if let Some(value) = value {
            let number = self.insert(hash, key, value);
            self.slots[number as usize].is_durable = true;
        }
    }

    fn byte_size(&self) -> usize {
        let lists = (self.free.capacity() + self.dirty.capacity()) * size_of::<u32>();
        let slots = self.slots.capacity() * size_of::<Slot<V>>();
        self.table.byte_size() + slots + lists + self.heap_bytes + self.cold.byte_size()
    }
}

impl StateValue for Vec<u8> {
    fn write(&self, bytes: &mut Vec<u8>) {
        bytes.extend_from_slice(self);
    }

    fn read(bytes: &[u8]) -> Result<Self, String> {
        Ok(bytes.to_vec())
    }

    fn heap_bytes(&self) -> usize {
        self.capacity()
    }
}

#[cfg(test)]
mod tests;
