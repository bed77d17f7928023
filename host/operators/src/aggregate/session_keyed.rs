//! Sessions as a keyed step.

use std::ops::Range;
use std::sync::Arc;

use weir_state::Spill;
use weir_state::table::{DeltaWriter, TableError};
use weir_stream::FunctionFault;
use weir_stream::time::{END_OF_TIME, NO_WATERMARK};

use super::WindowTime;
use super::plugin;
use super::session::SessionAggregate;
use super::spans::{Session, SpanTable, Spans};
use crate::held_key::{self, HeldEntry};
use crate::key::KeyedBatch;
use crate::keyed::{KeyedOperator, NextFunction, same};
use crate::operator::{Outputs, StepFault};

impl KeyedOperator for SessionAggregate {
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
        self.key_groups.clone().zip(&mut self.tables).for_each(|(key_group, table)| table.seal(key_group, delta));
    }

    fn for_each(&self, key_group: u16, entry: &mut dyn FnMut(&[u8], &[u8])) -> Result<(), TableError> {
        if let Some(number) = key_group.checked_sub(self.key_groups.start)
            && let Some(table) = self.tables.get(usize::from(number))
        {
            table.for_each(key_group, entry)?;
        }
        Ok(())
    }

    fn restore_put(&mut self, key_group: u16, key: &[u8], value: &[u8]) -> Result<(), TableError> {
        self.table(key_group)?.restore_put(key_group, key, value)?;
        self.watch(key_group, key)
    }

    fn restore_delete(&mut self, key_group: u16, key: &[u8]) -> Result<(), TableError> {
        self.table(key_group)?.restore_delete(key_group, key)
    }

    fn part(&self, key_groups: Range<u16>) -> Box<dyn KeyedOperator> {
        Box::new(self.empty_twin(key_groups))
    }

    fn absorb(&mut self, part: Box<dyn KeyedOperator>) -> Result<(), TableError> {
        let Self { tables, key_groups, .. } = same::<Self>(part);
        for (key_group, table) in key_groups.zip(tables).filter(|(_, table)| table.sessions() > 0) {
            let keys: Vec<Box<[u8]>> = table.keys().map(|(key, _)| key.into()).collect();
            *self.table(key_group)? = table;
            for key in keys {
                self.watch(key_group, &key)?;
            }
        }
        Ok(())
    }

    fn state_layout(&self) -> &str {
        &self.layout
    }

    fn keys(&self) -> usize {
        self.tables.iter().map(SpanTable::sessions).sum()
    }

    fn byte_size(&self) -> usize {
        self.tables.iter().map(SpanTable::byte_size).sum()
    }

    fn evict(&mut self, bytes: usize, spill: &Spill) -> std::io::Result<usize> {
        let Self { tables, timers, pending, hand, .. } = self;
        // What is to be shown stays: that it is, is not stored.
        let stays = |key_group, key: &[u8]| !pending.is_empty() && pending.contains(&(key_group, key.into()));
        Spans { tables, first: self.key_groups.start, timers }.evict(hand, bytes, spill, stays)
    }

    fn held(&self, key_group: u16, key: &[u8]) -> Result<Vec<HeldEntry>, TableError> {
        let number = key_group.checked_sub(self.key_groups.start).map(usize::from);
        let Some(table) = number.and_then(|number| self.tables.get(number)) else { return Ok(Vec::new()) };
        let time = (self.watermark_us, self.showing.lateness_us, self.time == WindowTime::Processing);
        let entry =
            |session: &Session| held_key::window("session", (session.start, session.end), time).rows(session.rows);
        Ok(table.sessions_of(key_group, key)?.iter().map(entry).collect())
    }

    fn cold_bytes(&self) -> u64 {
        self.tables.iter().map(SpanTable::cold_bytes).sum()
    }
}
