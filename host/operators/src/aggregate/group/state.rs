//! What a group-by keeps per key, and how it is stored.
//!
//! A stored value is one byte [`GROUP_VERSION`], the event time of the key's newest row (8 bytes), behind a stream whose
//! rows are taken back the number of its rows (8 bytes), and the aggregates as [`Accumulators`] store them; numbers are
//! little-endian.

use weir_state::table::{CompactSlots, Slots, growth, prefetch};

use crate::aggregate::accumulator::keep;
use crate::aggregate::slots::{Accumulators, take};

/// Version of the stored value.
pub(super) const GROUP_VERSION: u8 = 1;

#[derive(Debug, Clone)]
pub(super) struct GroupState {
    pub accumulators: Accumulators,
    /// Event time of the newest row.
    pub last_us: Vec<i64>,
    /// Rows that came, less those that were taken back; only where rows can be.
    rows: Option<Vec<i64>>,
}

impl GroupState {
    pub(super) fn new(accumulators: Accumulators, retracts: bool) -> Self {
        Self { accumulators, last_us: Vec::new(), rows: retracts.then(Vec::new) }
    }

    /// Counts one row, or one that is taken `back`.
    pub(super) fn count(&mut self, slot: u32, back: bool) {
        if let Some(rows) = &mut self.rows {
            rows[slot as usize] += if back { -1 } else { 1 };
        }
    }

    pub(super) fn is_without_rows(&self, slot: u32) -> bool {
        self.rows.as_ref().is_some_and(|rows| rows[slot as usize] <= 0)
    }
}

impl Slots for GroupState {
    fn resize(&mut self, slots: usize) {
        self.accumulators.resize(slots);
        growth::resize(&mut self.last_us, slots, i64::MIN);
        self.rows.iter_mut().for_each(|rows| growth::resize(rows, slots, 0));
    }

    fn write(&self, slot: usize, value: &mut Vec<u8>) {
        value.push(GROUP_VERSION);
        value.extend_from_slice(&self.last_us[slot].to_le_bytes());
        self.rows.iter().for_each(|rows| value.extend_from_slice(&rows[slot].to_le_bytes()));
        self.accumulators.write(slot, value);
    }

    fn read(&mut self, slot: usize, value: &[u8]) -> Result<(), String> {
        let mut rest = value;
        match take::<1>(&mut rest)? {
            [GROUP_VERSION] => {}
            [version] => return Err(format!("it is of version {version}, this Weir reads {GROUP_VERSION}")),
        }
        self.last_us[slot] = i64::from_le_bytes(take(&mut rest)?);
        if let Some(rows) = &mut self.rows {
            rows[slot] = i64::from_le_bytes(take(&mut rest)?);
        }
        self.accumulators.read(slot, rest)
    }

    fn prefetch(&self, slot: usize) {
        prefetch::line(&self.last_us[slot]);
        self.accumulators.prefetch(slot);
    }

    fn byte_size(&self) -> usize {
        let rows = self.rows.as_ref().map_or(0, Vec::capacity);
        self.accumulators.byte_size() + (self.last_us.capacity() + rows) * size_of::<i64>()
    }
}

impl CompactSlots for GroupState {
    fn keep(&mut self, slots: &[u32]) {
        self.accumulators.columns.iter_mut().for_each(|column| column.keep(slots));
        keep(&mut self.last_us, slots);
        self.rows.iter_mut().for_each(|rows| keep(rows, slots));
    }
}
