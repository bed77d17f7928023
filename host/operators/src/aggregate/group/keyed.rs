//! The group-by as a keyed step.

use std::ops::Range;
use std::sync::Arc;

use weir_state::Spill;
use weir_state::table::{DeltaWriter, TableError};
use weir_stream::FunctionFault;

use super::state::GroupState;
use super::{Expiry, GroupAggregate};
use crate::aggregate::plugin;
use crate::held_key::{DueAt, HeldEntry};
use crate::key::KeyedBatch;
use crate::keyed::{KeyedOperator, NextFunction, same};
use crate::operator::{Outputs, StepFault};

impl KeyedOperator for GroupAggregate {
    fn process(&mut self, _port: usize, rows: &KeyedBatch, out: &mut Outputs) -> Result<(), StepFault> {
        self.take_in(rows, out)
    }

    fn advance(&mut self, watermark_us: i64, _out: &mut Outputs) -> Result<(), StepFault> {
        self.forget(watermark_us).map_err(|error| StepFault::Internal(error.to_string()))
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
        self.table.seal(delta);
    }

    fn for_each(&self, key_group: u16, entry: &mut dyn FnMut(&[u8], &[u8])) -> Result<(), TableError> {
        self.table.for_each(key_group, entry)
    }

    fn restore_put(&mut self, key_group: u16, key: &[u8], value: &[u8]) -> Result<(), TableError> {
        let before = self.table.group(key_group)?.len();
        let slot = self.table.restore_put(key_group, key, value)?;
        let number = usize::from(key_group - self.table.key_groups().start);
        let group = &self.table.groups()[number];
        if group.len() > before {
            self.expiry[number].note(slot, group.slots().last_us[slot as usize]);
        }
        Ok(())
    }

    fn restore_delete(&mut self, key_group: u16, key: &[u8]) -> Result<(), TableError> {
        self.table.restore_delete(key_group, key)
    }

    fn part(&self, key_groups: Range<u16>) -> Box<dyn KeyedOperator> {
        Box::new(self.empty_twin(key_groups))
    }

    fn absorb(&mut self, part: Box<dyn KeyedOperator>) -> Result<(), TableError> {
        let part = same::<Self>(part);
        let start = self.table.key_groups().start;
        for (key_group, expiry) in part.table.key_groups().zip(part.expiry) {
            self.table.group(key_group)?;
            self.expiry[usize::from(key_group - start)] = expiry;
        }
        self.table.absorb(part.table)
    }

    fn state_layout(&self) -> &str {
        &self.layout
    }

    fn keys(&self) -> usize {
        self.table.len()
    }

    fn byte_size(&self) -> usize {
        self.table.byte_size() + self.expiry.iter().map(Expiry::byte_size).sum::<usize>()
    }

    fn evict(&mut self, bytes: usize, spill: &Spill) -> std::io::Result<usize> {
        self.write_away(bytes, spill)
    }

    fn held(&self, key_group: u16, key: &[u8]) -> Result<Vec<HeldEntry>, TableError> {
        let held = self.table.peek(key_group, key)?;
        let entry = |state: GroupState| {
            let last_us = state.last_us[0];
            let over_us = self.ttl_us.map(|ttl_us| last_us.saturating_add(ttl_us));
            let due = over_us.map(|at_us| DueAt::watermark(at_us, "is forgotten"));
            HeldEntry::new("result, newest row").span(last_us, last_us).due(due)
        };
        Ok(held.into_iter().map(entry).collect())
    }

    fn cold_bytes(&self) -> u64 {
        self.table.cold_bytes()
    }
}
