//! The windowed aggregation as a keyed step, and how its state is stored.
//!
//! Tumbling windows store their panes, which are windows, as [`weir_state::table`] says. Hopping windows put one byte in
//! front of every key: 0 for a pane, 1 for rows that were kept apart for one window.

use std::ops::Range;
use std::sync::Arc;

use weir_state::Spill;
use weir_state::table::{BucketedTable, DeltaWriter, TableError};
use weir_stream::FunctionFault;
use weir_stream::time::{END_OF_TIME, NO_WATERMARK};

use super::slots::Accumulators;
use super::{WindowAggregate, WindowTime, plugin};
use crate::held_key::{self, HeldEntry};
use crate::key::KeyedBatch;
use crate::keyed::{KeyedOperator, NextFunction, OpenWindows, same};
use crate::operator::{Outputs, StepFault};

const PANE: u8 = 0;
const APART: u8 = 1;

impl KeyedOperator for WindowAggregate {
    fn process(&mut self, _port: usize, rows: &KeyedBatch, out: &mut Outputs) -> Result<(), StepFault> {
        self.take_in(rows, out)?;
        // Corrections are shown at once, updates no more often than the throttle says.
        let may_show = !self.showing.updates() || self.now_us >= self.next_show_us;
        if may_show { self.show_pending(out) } else { Ok(()) }
    }

    fn advance(&mut self, watermark_us: i64, out: &mut Outputs) -> Result<(), StepFault> {
        match self.time {
            WindowTime::Processing if watermark_us != END_OF_TIME => Ok(()),
            _ => self.advance_to(watermark_us, out),
        }
    }

    fn tick(&mut self, now_us: i64, out: &mut Outputs) -> Result<(), StepFault> {
        self.now_us = self.now_us.max(now_us);
        if self.time == WindowTime::Processing {
            self.advance_to(self.now_us, out)?;
        }
        if self.now_us >= self.next_show_us { self.show_pending(out) } else { Ok(()) }
    }

    fn wants_clock(&self) -> bool {
        self.time == WindowTime::Processing || self.showing.is_throttled()
    }

    fn output_watermark(&self, watermark_us: i64) -> i64 {
        match self.time {
            _ if watermark_us == END_OF_TIME => END_OF_TIME,
            WindowTime::Processing => self.watermark_us,
            WindowTime::Event => watermark_us.saturating_sub(self.showing.lateness_us),
        }
    }

    /// The wall clock goes on by itself.
    fn restore_watermark(&mut self, watermark_us: i64) {
        let reached_us = if self.time == WindowTime::Processing { NO_WATERMARK } else { watermark_us };
        self.watermark_us = self.watermark_us.max(reached_us);
    }

    fn begin_epoch(&mut self, function: Option<NextFunction>, watching: bool) -> Result<(), FunctionFault> {
        plugin::begin_epoch(&self.aggregates, function, watching)
    }

    fn digest(&self) -> Option<Arc<str>> {
        plugin::digest(&self.aggregates)
    }

    fn seal(&mut self, delta: &mut dyn DeltaWriter) {
        if self.grid.is_tumbling() {
            return self.panes.seal(delta);
        }
        self.panes.seal(&mut Marked::new(PANE, delta));
        self.apart.seal(&mut Marked::new(APART, delta));
    }

    fn for_each(&self, key_group: u16, entry: &mut dyn FnMut(&[u8], &[u8])) -> Result<(), TableError> {
        if self.grid.is_tumbling() {
            return self.panes.for_each(key_group, entry);
        }
        let mut marked = Vec::new();
        for (mark, table) in [(PANE, &self.panes), (APART, &self.apart)] {
            table.for_each(key_group, |key, value| {
                marked.clear();
                marked.push(mark);
                marked.extend_from_slice(key);
                entry(&marked, value);
            })?;
        }
        Ok(())
    }

    fn restore_put(&mut self, key_group: u16, key: &[u8], value: &[u8]) -> Result<(), TableError> {
        let (table, key) = self.marked(key_group, key)?;
        table.restore_put(key_group, key, value)
    }

    fn restore_delete(&mut self, key_group: u16, key: &[u8]) -> Result<(), TableError> {
        let (table, key) = self.marked(key_group, key)?;
        table.restore_delete(key_group, key)
    }

    fn part(&self, key_groups: Range<u16>) -> Box<dyn KeyedOperator> {
        Box::new(self.empty_twin(key_groups))
    }

    fn absorb(&mut self, part: Box<dyn KeyedOperator>) -> Result<(), TableError> {
        let Self { panes, apart, .. } = same::<Self>(part);
        if self.showing.is_throttled() {
            self.pending.note_all();
        }
        self.panes.absorb(panes)?;
        self.apart.absorb(apart)
    }

    fn state_layout(&self) -> &str {
        &self.layout
    }

    fn keys(&self) -> usize {
        self.panes.keys() + self.apart.keys()
    }

    fn byte_size(&self) -> usize {
        self.panes.byte_size() + self.apart.byte_size()
    }

    fn evict(&mut self, bytes: usize, spill: &Spill) -> std::io::Result<usize> {
        let evicted = self.panes.evict(bytes, spill)?;
        Ok(evicted + self.apart.evict(bytes.saturating_sub(evicted), spill)?)
    }

    fn cold_bytes(&self) -> u64 {
        self.panes.cold_bytes() + self.apart.cold_bytes()
    }

    fn held(&self, key_group: u16, key: &[u8]) -> Result<Vec<HeldEntry>, TableError> {
        let by_clock = self.time == WindowTime::Processing;
        let time = (self.watermark_us, self.showing.lateness_us, by_clock);
        let mut starts = std::collections::BTreeSet::new();
        for pane in self.panes.buckets_of(key_group, key)? {
            starts.extend(self.grid.windows_of(pane).filter(|(start, _)| self.is_held(*start)));
        }
        for start in self.apart.buckets_of(key_group, key)? {
            starts.insert((start, self.grid.end_of(start)));
        }
        Ok(starts.into_iter().map(|span| held_key::window("window", span, time)).collect())
    }

    fn windows(&self) -> Option<OpenWindows> {
        Some(OpenWindows { panes: self.panes(), next_fire_us: self.next_fire_us() })
    }
}

impl WindowAggregate {
    /// Whether a window that starts then has not been let go of.
    fn is_held(&self, start_us: i64) -> bool {
        self.grid.end_of(start_us).saturating_add(self.showing.lateness_us) > self.watermark_us
    }

    /// The table of a stored key, and the key as the table wrote it.
    fn marked<'a, 'k>(
        &'a mut self,
        key_group: u16,
        key: &'k [u8],
    ) -> Result<(&'a mut BucketedTable<Accumulators>, &'k [u8]), TableError> {
        if self.grid.is_tumbling() {
            return Ok((&mut self.panes, key));
        }
        match key.split_first() {
            Some((&PANE, rest)) => Ok((&mut self.panes, rest)),
            Some((&APART, rest)) => Ok((&mut self.apart, rest)),
            Some((mark, _)) => Err(TableError::Value { key_group, reason: format!("no table has the mark {mark}") }),
            None => Err(TableError::ShortKey { key_group, bytes: 0 }),
        }
    }
}

/// Puts a mark in front of every key.
struct Marked<'a> {
    key: Vec<u8>,
    delta: &'a mut dyn DeltaWriter,
}

impl<'a> Marked<'a> {
    fn new(mark: u8, delta: &'a mut dyn DeltaWriter) -> Self {
        Self { key: vec![mark], delta }
    }

    fn marked(&mut self, key: &[u8]) -> &[u8] {
        self.key.truncate(1);
        self.key.extend_from_slice(key);
        &self.key
    }
}

impl DeltaWriter for Marked<'_> {
    fn put(&mut self, key_group: u16, key: &[u8], value: &[u8]) {
        self.marked(key);
        self.delta.put(key_group, &self.key, value);
    }

    fn delete(&mut self, key_group: u16, key: &[u8]) {
        self.marked(key);
        self.delta.delete(key_group, &self.key);
    }
}
