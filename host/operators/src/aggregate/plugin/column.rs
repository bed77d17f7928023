//! The accumulators of a user's aggregate by slot, as `crate::entries` writes them: nothing while no row has counted in the
//! slot, no entry while none of its rows was for this aggregate, one entry then.
//!
//! Stored: the length of these bytes (u32, little-endian) and they.

use weir_state::table::growth;

use super::super::merge::Pair;
use crate::aggregate::slots::take;

#[derive(Debug, Clone, Default)]
pub(in crate::aggregate) struct PluginColumn {
    cells: Vec<Box<[u8]>>,
    /// Of the cells alone.
    bytes: usize,
}

/// Rows have counted, none of them for this aggregate: the number of entries.
const NO_ENTRY: [u8; 4] = [0; 4];

/// Whether there is an accumulator.
pub(super) fn is_there(cell: &[u8]) -> bool {
    cell.len() > NO_ENTRY.len()
}

impl PluginColumn {
    /// Empty while no row has counted.
    pub(in crate::aggregate) fn get(&self, slot: u32) -> &[u8] {
        &self.cells[slot as usize]
    }

    pub(in crate::aggregate) fn set(&mut self, slot: u32, cell: Box<[u8]>) {
        let held = &mut self.cells[slot as usize];
        self.bytes = self.bytes + cell.len() - held.len();
        *held = cell;
    }

    /// A row counts in the slot.
    pub(super) fn touch(&mut self, slot: u32) {
        if self.get(slot).is_empty() {
            self.set(slot, NO_ENTRY.into());
        }
    }

    pub(in crate::aggregate) fn resize(&mut self, slots: usize) {
        growth::resize(&mut self.cells, slots, Box::default());
    }

    /// Keeps these slots (ascending) as slots `0..`.
    pub(in crate::aggregate) fn keep(&mut self, slots: &[u32]) {
        for (to, from) in slots.iter().enumerate() {
            self.cells.swap(to, *from as usize);
        }
        self.cells.truncate(slots.len());
        self.cells.shrink_to_fit();
        self.bytes = self.cells.iter().map(|cell| cell.len()).sum();
    }

    /// Puts the `from` cells of `other` (none: of this column) where there are none yet; pairs of two are left alone.
    pub(in crate::aggregate) fn fill(&mut self, pairs: &[Pair], other: Option<&Self>) {
        for Pair { to, from } in pairs {
            let cell = other.unwrap_or(self).get(*from);
            if !is_there(self.get(*to)) && cell.len() > self.get(*to).len() {
                let cell = cell.into();
                self.set(*to, cell);
            }
        }
    }

    pub(in crate::aggregate) fn write(&self, slot: usize, value: &mut Vec<u8>) {
        let cell = &self.cells[slot];
        value.extend_from_slice(&(cell.len() as u32).to_le_bytes());
        value.extend_from_slice(cell);
    }

    pub(in crate::aggregate) fn read(&mut self, slot: usize, rest: &mut &[u8]) -> Result<(), String> {
        let length = u32::from_le_bytes(take(rest)?) as usize;
        let (cell, tail) = rest.split_at_checked(length).ok_or("it ends too early")?;
        *rest = tail;
        self.set(slot as u32, cell.into());
        Ok(())
    }

    pub(in crate::aggregate) fn byte_size(&self) -> usize {
        self.cells.capacity() * size_of::<Box<[u8]>>() + self.bytes
    }
}
