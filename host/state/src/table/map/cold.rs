//! How the keys of a map leave memory and come back.
//!
//! Those go first that nothing touched since keys left for the last time; of one key group, in the order in which time
//! will ask for them.

use std::io;

use weir_stream::key;

use super::{KeyMap, MapTable, StateValue};
use crate::spill::Spill;
use crate::table::buckets::Buckets;
use crate::table::{Leaving, PieceWriter, TableError, evict_around};

impl<V: StateValue> MapTable<V> {
    /// Brings a key into memory, and answers whether it was cold.
    ///
    /// # Errors
    /// When the key group is not of this task, or the key cannot be read back.
    pub fn warm(&mut self, key_group: u16, key: &[u8]) -> Result<bool, TableError> {
        self.map(key_group)?.warm(key_group, key)
    }

    /// Brings the keys into memory that time asks for by `until_us`; `warmed` is told of each.
    ///
    /// # Errors
    /// When a key cannot be read back.
    pub fn warm_due(&mut self, until_us: i64, mut warmed: impl FnMut(u16, &[u8], &V)) -> Result<(), TableError> {
        for (key_group, map) in self.key_groups.clone().zip(&mut self.maps) {
            while let Some(thawed) = map.cold.take_due(key_group, until_us)? {
                for (key, value) in thawed {
                    let number = map.thaw(key_group, &key, &value)?;
                    map.slots[number as usize].value.iter().for_each(|value| warmed(key_group, &key, value));
                }
            }
        }
        Ok(())
    }

    /// Writes unchanged keys away until `bytes` are out of memory; answers how many are. Meant for the moment after a seal:
    /// what changed since the last one stays.
    ///
    /// # Errors
    /// The disk's; what was not written away is still in memory.
    pub fn evict(&mut self, bytes: usize, spill: &Spill, leaving: impl Fn(&V) -> Leaving) -> io::Result<usize> {
        let Self { key_groups, maps, hand } = self;
        evict_around(hand, maps.len(), bytes, |number, recent_too| {
            let map = &mut maps[number];
            let before = map.byte_size();
            map.evict(key_groups.start + number as u16, recent_too, spill, &leaving)?;
            Ok(before.saturating_sub(map.byte_size()))
        })
    }

    /// Whether keys are not in memory.
    pub fn has_cold(&self) -> bool {
        self.maps.iter().any(|map| !map.cold.is_empty())
    }

    /// Bytes of cold keys, on disk.
    pub fn cold_bytes(&self) -> u64 {
        self.maps.iter().map(|map| map.cold.bytes()).sum()
    }

    /// A key's value, wherever it is; it stays there.
    ///
    /// # Errors
    /// When the key cannot be read back.
    pub fn peek(&self, key_group: u16, key: &[u8]) -> Result<Option<V>, TableError>
    where
        V: Clone,
    {
        if let Some(value) = self.get(key_group, key) {
            return Ok(Some(value.clone()));
        }
        let group = key_group.checked_sub(self.key_groups.start).map(usize::from);
        let Some(map) = group.and_then(|group| self.maps.get(group)) else { return Ok(None) };
        let stored = map.cold.get(key_group, key::hash(key), key)?;
        stored.map(|stored| V::read(&stored)).transpose().map_err(|reason| TableError::Value { key_group, reason })
    }
}

impl<V: StateValue> KeyMap<V> {
    pub(super) fn warm(&mut self, key_group: u16, key: &[u8]) -> Result<bool, TableError> {
        if self.cold.is_empty() {
            return Ok(false);
        }
        let Some(value) = self.cold.take(key_group, key::hash(key), key)? else { return Ok(false) };
        self.thaw(key_group, key, &value)?;
        Ok(true)
    }

    fn thaw(&mut self, key_group: u16, key: &[u8], value: &[u8]) -> Result<u32, TableError> {
        let value = V::read(value).map_err(|reason| TableError::Value { key_group, reason })?;
        let number = self.insert(key::hash(key), key, value);
        let slot = &mut self.slots[number as usize];
        (slot.is_durable, slot.is_recent) = (true, true);
        Ok(number)
    }

    fn evict(
        &mut self,
        key_group: u16,
        recent_too: bool,
        spill: &Spill,
        leaving: &impl Fn(&V) -> Leaving,
    ) -> io::Result<()> {
        self.cold.tidy(key_group, spill)?;
        let mut chosen = Vec::new();
        for (number, slot) in (0u32..).zip(&mut self.slots) {
            let was_recent = std::mem::take(&mut slot.is_recent);
            let Some(value) = slot.value.as_ref().filter(|_| !slot.is_dirty && (recent_too || !was_recent)) else {
                continue;
            };
            match leaving(value) {
                Leaving::Stays => {}
                Leaving::UntilAsked => chosen.push((None, number)),
                Leaving::Until(due_us) => chosen.push((Some(due_us), number)),
            }
        }
        chosen.sort_unstable();
        let written = self.write_away(&chosen, spill);
        self.pack();
        written
    }

    fn write_away(&mut self, chosen: &[(Option<i64>, u32)], spill: &Spill) -> io::Result<()> {
        let mut rest = chosen;
        while !rest.is_empty() {
            let (mut piece, mut count) = (PieceWriter::default(), 0);
            while let Some((due_us, number)) = rest.get(count).filter(|_| !piece.is_full()) {
                let slot = &self.slots[*number as usize];
                let value = slot.value.as_ref().expect("a chosen slot has a value");
                piece.put(&slot.key, *due_us, |bytes| value.write(bytes));
                count += 1;
            }
            self.cold.add(piece, spill)?;
            let (written, left) = rest.split_at(count);
            written.iter().for_each(|(_, number)| self.let_go(*number));
            rest = left;
        }
        Ok(())
    }

    fn let_go(&mut self, number: u32) {
        let slot = &mut self.slots[number as usize];
        let hash = key::hash(&slot.key);
        self.heap_bytes -= slot.value.take().map_or(0, |value| value.heap_bytes());
        self.take_out(hash, number, false);
    }

    /// Gives memory back when most slots are empty.
    fn pack(&mut self) {
        if self.free.len() * 2 < self.slots.len() || !self.dirty.is_empty() {
            return;
        }
        self.free = Vec::new();
        self.slots.retain(|slot| slot.value.is_some());
        self.slots.shrink_to_fit();
        self.table = Buckets::default();
        let Self { table, slots, .. } = self;
        let hash = |number: u32| key::hash(&slots[number as usize].key);
        for number in 0..slots.len() as u32 {
            table.insert(hash(number), number, hash);
        }
    }
}
