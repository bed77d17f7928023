//! The join of two streams as a keyed step.

use std::ops::Range;

use weir_state::Spill;
use weir_state::table::{DeltaWriter, TableError};

use super::{LEFT, RIGHT, STAGE, StreamJoin};
use crate::held_key::{DueAt, HeldEntry};
use crate::key::KeyedBatch;
use crate::keyed::{KeyedOperator, same};
use crate::operator::{Outputs, StepFault};

impl StreamJoin {
    /// The side that a stored entry is of.
    fn side_of(&self, key_group: u16, stored: &[u8]) -> Result<usize, TableError> {
        let side = [LEFT, RIGHT].into_iter().find(|side| self.sides[*side].owns(stored));
        side.ok_or_else(|| TableError::Value { key_group, reason: "it is of neither side".into() })
    }
}

impl KeyedOperator for StreamJoin {
    fn process(&mut self, port: usize, rows: &KeyedBatch, out: &mut Outputs) -> Result<(), StepFault> {
        self.take_in(port, rows, out)
    }

    fn advance(&mut self, watermark_us: i64, out: &mut Outputs) -> Result<(), StepFault> {
        self.pass(watermark_us, out)
    }

    fn output_watermark(&self, watermark_us: i64) -> i64 {
        self.held_back(watermark_us)
    }

    fn restore_watermark(&mut self, watermark_us: i64) {
        self.watermark_us = self.watermark_us.max(watermark_us);
        // These were given out before the watermark was stored.
        for side in [LEFT, RIGHT] {
            self.take_due(side);
        }
    }

    fn seal(&mut self, delta: &mut dyn DeltaWriter) {
        self.sides.iter_mut().for_each(|side| side.seal(delta));
    }

    fn for_each(&self, key_group: u16, entry: &mut dyn FnMut(&[u8], &[u8])) -> Result<(), TableError> {
        self.sides.iter().try_for_each(|side| side.for_each(key_group, entry))
    }

    fn restore_put(&mut self, key_group: u16, key: &[u8], value: &[u8]) -> Result<(), TableError> {
        let side = self.side_of(key_group, key)?;
        let id = self.sides[side].restore_put(key_group, key, value)?;
        let time_us = self.sides[side].time_us(id).unwrap_or_default();
        // A row that a later entry marks is passed over when its time comes.
        self.wait(side, id, time_us, self.sides[side].is_marked(id));
        Ok(())
    }

    fn restore_delete(&mut self, key_group: u16, key: &[u8]) -> Result<(), TableError> {
        let side = self.side_of(key_group, key)?;
        self.sides[side].restore_delete(key_group, key)
    }

    fn part(&self, key_groups: Range<u16>) -> Box<dyn KeyedOperator> {
        Box::new(self.empty_twin(key_groups))
    }

    fn absorb(&mut self, part: Box<dyn KeyedOperator>) -> Result<(), TableError> {
        let Self { sides: [left, right], waiting, .. } = same::<Self>(part);
        self.sides[LEFT].absorb(left)?;
        self.sides[RIGHT].absorb(right)?;
        for (mine, mut theirs) in self.waiting.iter_mut().zip(waiting) {
            mine.append(&mut theirs);
        }
        Ok(())
    }

    fn state_layout(&self) -> &str {
        &self.layout
    }

    fn late_because(&self) -> (&'static str, &'static str) {
        (STAGE, "what it could meet was let go")
    }

    fn keys(&self) -> usize {
        self.sides.iter().map(weir_state::table::RowsTable::keys).sum()
    }

    fn byte_size(&self) -> usize {
        let waiting: usize = self.waiting.iter().map(std::collections::BinaryHeap::capacity).sum();
        let sides: usize = self.sides.iter().map(weir_state::table::RowsTable::byte_size).sum();
        sides + waiting * size_of::<(i64, weir_state::table::RowId)>()
    }

    fn evict(&mut self, bytes: usize, spill: &Spill) -> std::io::Result<usize> {
        let mut evicted = 0;
        for side in &mut self.sides {
            evicted += side.evict(bytes.saturating_sub(evicted), spill)?;
        }
        Ok(evicted)
    }

    fn held(&self, key_group: u16, key: &[u8]) -> Result<Vec<HeldEntry>, TableError> {
        let mut held = Vec::new();
        for (side, what) in [(LEFT, "left row"), (RIGHT, "right row")] {
            for (time_us, is_marked) in self.sides[side].rows_of(key_group, weir_stream::key::hash(key), key)? {
                let waits = self.kind.gives_unmatched(side) && !is_marked;
                let then = match (self.gathers, side) {
                    (true, LEFT) => "comes out with all that it meets",
                    _ if waits => "comes out without a match",
                    _ => "is let go",
                };
                let due = DueAt::watermark(self.kept_until(side, time_us).saturating_add(1), then);
                held.push(HeldEntry::new(what).span(time_us, time_us).due(Some(due)));
            }
        }
        Ok(held)
    }

    fn cold_bytes(&self) -> u64 {
        self.sides.iter().map(weir_state::table::RowsTable::cold_bytes).sum()
    }
}
