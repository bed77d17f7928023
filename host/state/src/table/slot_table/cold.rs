//! How the keys of a slot table leave memory and come back.
//!
//! Those go first that nothing touched since keys left for the last time; of one key group, in the order in which time
//! will ask for them.

use std::io;

use weir_stream::key;

use super::{Bits, CompactSlots, SlotGroup, SlotTable};
use crate::spill::Spill;
use crate::table::{Leaving, PieceWriter, TableError, evict_around};

impl<S: CompactSlots + Clone> SlotTable<S> {
    /// Brings a key into memory; answers its slot if it was cold.
    ///
    /// # Errors
    /// When the key group is not of this task, or the key cannot be read back.
    pub fn warm(&mut self, key_group: u16, hash: u64, key: &[u8]) -> Result<Option<u32>, TableError> {
        self.group(key_group)?.warm(key_group, hash, key)
    }

    /// Brings the keys into memory that time asks for by `until_us`; `warmed` gets the group's number and the slot of each.
    ///
    /// # Errors
    /// When a key cannot be read back.
    pub fn warm_due(&mut self, until_us: i64, mut warmed: impl FnMut(usize, &S, u32)) -> Result<(), TableError> {
        for ((number, key_group), group) in self.key_groups.clone().enumerate().zip(&mut self.groups) {
            while let Some(thawed) = group.cold.take_due(key_group, until_us)? {
                for (key, value) in thawed {
                    let slot = group.thaw(key_group, key::hash(&key), &key, &value)?;
                    warmed(number, &group.slots, slot);
                }
            }
        }
        Ok(())
    }

    /// Writes unchanged keys away until `bytes` are out of memory; answers how many are. Then no slot number from before
    /// holds. Meant for the moment after a seal: what changed since the last one stays.
    ///
    /// # Errors
    /// The disk's; what was not written away is still in memory.
    pub fn evict(&mut self, bytes: usize, spill: &Spill, leaving: impl Fn(&S, u32) -> Leaving) -> io::Result<usize> {
        let Self { key_groups, groups, hand, .. } = self;
        evict_around(hand, groups.len(), bytes, |number, recent_too| {
            let group = &mut groups[number];
            let before = group.byte_size();
            group.evict(key_groups.start + number as u16, recent_too, spill, &leaving)?;
            Ok(before.saturating_sub(group.byte_size()))
        })
    }

    /// A key's value alone, in slot 0, wherever it is; it stays there.
    ///
    /// # Errors
    /// When the key cannot be read back.
    pub fn peek(&self, key_group: u16, key: &[u8]) -> Result<Option<S>, TableError> {
        let group = key_group.checked_sub(self.key_groups.start).map(usize::from);
        let Some(group) = group.and_then(|group| self.groups.get(group)) else { return Ok(None) };
        let (hash, mut stored) = (key::hash(key), Vec::new());
        match group.find(hash, key) {
            Some(slot) => group.slots.write(slot as usize, &mut stored),
            None => match group.cold.get(key_group, hash, key)? {
                Some(cold) => stored = cold,
                None => return Ok(None),
            },
        }
        let mut alone = self.empty.clone();
        alone.resize(1);
        alone.read(0, &stored).map_err(|reason| TableError::Value { key_group, reason })?;
        Ok(Some(alone))
    }

    /// Whether keys are not in memory.
    pub fn has_cold(&self) -> bool {
        self.groups.iter().any(|group| !group.cold.is_empty())
    }

    /// Bytes of cold keys, on disk.
    pub fn cold_bytes(&self) -> u64 {
        self.groups.iter().map(|group| group.cold.bytes()).sum()
    }
}

impl<S: CompactSlots> SlotGroup<S> {
    pub(super) fn warm(&mut self, key_group: u16, hash: u64, key: &[u8]) -> Result<Option<u32>, TableError> {
        if self.cold.is_empty() {
            return Ok(None);
        }
        let Some(value) = self.cold.take(key_group, hash, key)? else { return Ok(None) };
        self.thaw(key_group, hash, key, &value).map(Some)
    }

    fn thaw(&mut self, key_group: u16, hash: u64, key: &[u8], value: &[u8]) -> Result<u32, TableError> {
        let slot = self.insert(hash, key);
        self.slots.read(slot as usize, value).map_err(|reason| TableError::Value { key_group, reason })?;
        self.recent.set(slot);
        Ok(slot)
    }

    fn evict(
        &mut self,
        key_group: u16,
        recent_too: bool,
        spill: &Spill,
        leaving: &impl Fn(&S, u32) -> Leaving,
    ) -> io::Result<()> {
        self.cold.tidy(key_group, spill)?;
        let recent = std::mem::replace(&mut self.recent, Bits(Vec::new()));
        let may_leave = |slot: &u32| !self.marks.get(*slot) && (recent_too || !recent.get(*slot));
        let due = |slot: u32| match leaving(&self.slots, slot) {
            Leaving::Stays => None,
            Leaving::UntilAsked => Some((None, slot)),
            Leaving::Until(due_us) => Some((Some(due_us), slot)),
        };
        let mut chosen: Vec<(Option<i64>, u32)> = self.held().filter(may_leave).filter_map(due).collect();
        if chosen.is_empty() {
            return Ok(());
        }
        chosen.sort_unstable();
        let written = self.write_away(&chosen, spill);
        self.renumber();
        written
    }

    /// The slots of what was written away are empty then, but their keys are still found: to be numbered anew.
    fn write_away(&mut self, chosen: &[(Option<i64>, u32)], spill: &Spill) -> io::Result<()> {
        let mut rest = chosen;
        while !rest.is_empty() {
            let (mut piece, mut count) = (PieceWriter::default(), 0);
            while let Some((due_us, slot)) = rest.get(count).filter(|_| !piece.is_full()) {
                piece.put(self.index.key(*slot), *due_us, |bytes| self.slots.write(*slot as usize, bytes));
                count += 1;
            }
            self.cold.add(piece, spill)?;
            let (written, left) = rest.split_at(count);
            for (_, slot) in written {
                self.empty.set(*slot);
                self.empty_count += 1;
            }
            rest = left;
        }
        Ok(())
    }
}
