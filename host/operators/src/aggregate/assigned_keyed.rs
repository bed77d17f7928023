//! Assigned windows as a keyed step.

use std::ops::Range;
use std::sync::Arc;

use weir_state::Spill;
use weir_state::table::{DeltaWriter, TableError, split_key};
use weir_stream::FunctionFault;
use weir_stream::time::END_OF_TIME;

use super::assigned::{AssignedAggregate, SHORTEST_ENTRY_BYTES, split_window_key};
use super::plugin;
use crate::held_key::{self, HeldEntry};
use crate::key::KeyedBatch;
use crate::keyed::{KeyedOperator, NextFunction, OpenWindows, same};
use crate::operator::{Outputs, StepFault};

impl KeyedOperator for AssignedAggregate {
    fn process(&mut self, _port: usize, rows: &KeyedBatch, out: &mut Outputs) -> Result<(), StepFault> {
        self.take_in(rows, out)?;
        // Corrections are shown at once, updates no more often than the throttle says.
        let may_show = !self.showing.updates() || self.now_us >= self.next_show_us;
        if may_show { self.show_pending(out) } else { Ok(()) }
    }

    fn advance(&mut self, watermark_us: i64, out: &mut Outputs) -> Result<(), StepFault> {
        self.advance_to(watermark_us, out)
    }

    fn tick(&mut self, now_us: i64, out: &mut Outputs) -> Result<(), StepFault> {
        self.now_us = self.now_us.max(now_us);
        if self.now_us >= self.next_show_us { self.show_pending(out) } else { Ok(()) }
    }

    fn wants_clock(&self) -> bool {
        self.showing.is_throttled()
    }

    fn output_watermark(&self, watermark_us: i64) -> i64 {
        if watermark_us == END_OF_TIME { END_OF_TIME } else { watermark_us.saturating_sub(self.showing.lateness_us) }
    }

    fn restore_watermark(&mut self, watermark_us: i64) {
        self.watermark_us = self.watermark_us.max(watermark_us);
    }

    fn begin_epoch(&mut self, function: Option<NextFunction>, watching: bool) -> Result<(), FunctionFault> {
        plugin::begin_epoch(&self.aggregates, function, watching)
    }

    fn digest(&self) -> Option<Arc<str>> {
        plugin::digest(&self.aggregates)
    }

    fn seal(&mut self, delta: &mut dyn DeltaWriter) {
        self.windows.seal(delta);
    }

    fn for_each(&self, key_group: u16, entry: &mut dyn FnMut(&[u8], &[u8])) -> Result<(), TableError> {
        self.windows.for_each(key_group, entry)
    }

    fn restore_put(&mut self, key_group: u16, key: &[u8], value: &[u8]) -> Result<(), TableError> {
        if key.len() < SHORTEST_ENTRY_BYTES {
            return Err(TableError::ShortKey { key_group, bytes: key.len() });
        }
        self.windows.restore_put(key_group, key, value)
    }

    fn restore_delete(&mut self, key_group: u16, key: &[u8]) -> Result<(), TableError> {
        self.windows.restore_delete(key_group, key)
    }

    fn part(&self, key_groups: Range<u16>) -> Box<dyn KeyedOperator> {
        Box::new(self.empty_twin(key_groups))
    }

    fn absorb(&mut self, part: Box<dyn KeyedOperator>) -> Result<(), TableError> {
        let Self { windows, .. } = same::<Self>(part);
        self.all_pending |= self.showing.is_throttled();
        self.windows.absorb(windows)
    }

    fn state_layout(&self) -> &str {
        &self.layout
    }

    fn keys(&self) -> usize {
        self.windows.keys()
    }

    fn byte_size(&self) -> usize {
        self.windows.byte_size()
    }

    fn evict(&mut self, bytes: usize, spill: &Spill) -> std::io::Result<usize> {
        self.windows.evict(bytes, spill)
    }

    fn cold_bytes(&self) -> u64 {
        self.windows.cold_bytes()
    }

    fn held(&self, key_group: u16, key: &[u8]) -> Result<Vec<HeldEntry>, TableError> {
        let time = (self.watermark_us, self.showing.lateness_us, false);
        let mut held = Vec::new();
        self.windows.for_each(key_group, |stored, _| {
            let (end, stored) = split_key(key_group, stored).expect("the table puts the bucket in front of every key");
            let (start, of) = split_window_key(stored);
            if of == key {
                held.push(held_key::window("window", (start, end), time));
            }
        })?;
        Ok(held)
    }

    fn windows(&self) -> Option<OpenWindows> {
        Some(OpenWindows { panes: self.windows.buckets().count(), next_fire_us: self.next_end() })
    }
}
