//! The windowed aggregation as a keyed step.

use std::ops::Range;

use weir_state::Spill;
use weir_state::table::{DeltaWriter, TableError};

use super::WindowAggregate;
use crate::key::KeyedBatch;
use crate::keyed::{KeyedOperator, same};
use crate::operator::{Outputs, StepFault};

impl KeyedOperator for WindowAggregate {
    fn process(&mut self, _port: usize, rows: &KeyedBatch, out: &mut Outputs) -> Result<(), StepFault> {
        self.take_in(rows, out)
    }

    fn advance(&mut self, watermark_us: i64, out: &mut Outputs) -> Result<(), StepFault> {
        self.close(watermark_us, out)
    }

    fn restore_watermark(&mut self, watermark_us: i64) {
        self.watermark_us = self.watermark_us.max(watermark_us);
    }

    fn seal(&mut self, delta: &mut dyn DeltaWriter) {
        self.panes.seal(delta);
    }

    fn for_each(&self, key_group: u16, entry: &mut dyn FnMut(&[u8], &[u8])) -> Result<(), TableError> {
        self.panes.for_each(key_group, entry)
    }

    fn restore_put(&mut self, key_group: u16, key: &[u8], value: &[u8]) -> Result<(), TableError> {
        self.panes.restore_put(key_group, key, value)
    }

    fn restore_delete(&mut self, key_group: u16, key: &[u8]) -> Result<(), TableError> {
        self.panes.restore_delete(key_group, key)
    }

    fn part(&self, key_groups: Range<u16>) -> Box<dyn KeyedOperator> {
        Box::new(self.empty_twin(key_groups))
    }

    fn absorb(&mut self, part: Box<dyn KeyedOperator>) -> Result<(), TableError> {
        self.panes.absorb(same::<Self>(part).panes)
    }

    fn state_layout(&self) -> &str {
        &self.layout
    }

    fn keys(&self) -> usize {
        self.panes.keys()
    }

    fn byte_size(&self) -> usize {
        self.panes.byte_size()
    }

    fn evict(&mut self, bytes: usize, spill: &Spill) -> std::io::Result<usize> {
        self.panes.evict(bytes, spill)
    }

    fn cold_bytes(&self) -> u64 {
        self.panes.cold_bytes()
    }
}
