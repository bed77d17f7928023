//! Global windows: the rows of a key in the order in which they come, cut where a trigger says.
//!
//! A trigger is a number of rows, a time since the earliest row of the window by the watermark, or both, whichever comes
//! first. Then the result is given out and the key starts anew. `window_start` and `window_end` are the time of the
//! earliest row and just behind the latest. No row is late. What the end of the input leaves short of its number stays
//! for a later run.
//!
//! Unlike other windows these depend on the order of rows, and so, where keys come from several partitions, on chance.

use std::cmp::Reverse;
use std::collections::binary_heap::PeekMut;
use std::ops::Range;
use std::sync::Arc;

use arrow_schema::SchemaRef;
use weir_state::Spill;
use weir_state::table::{DeltaWriter, TableError};
use weir_stream::time::{END_OF_TIME, NO_WATERMARK};
use weir_stream::{ChangeKind, FunctionFault};

use super::accumulator::Accumulator;
use super::argument::Argument;
use super::fire::Firing;
use super::place::{Placed, arguments, beyond_time, not_an_insert, sort};
use super::session::{Keyed, give_out};
use super::slots::Accumulators;
use super::spans::{Held, Session, SpanTable, Spans, Timers};
use super::update::Touched;
use super::{Aggregate, STAGE, WindowSpec, WindowTime, fold, internal, plugin};
use crate::expression::ExpressionError;
use crate::held_key::{DueAt, HeldEntry};
use crate::key::{KeyBatch, KeyedBatch};
use crate::keyed::{KeyedOperator, NextFunction, same};
use crate::operator::{Outputs, StepFault};

/// When a global window shows its result and starts anew. At least one is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GlobalTrigger {
    pub rows: Option<u64>,
    pub every_us: Option<i64>,
}

/// A keyed aggregation over global windows for a range of key groups.
#[derive(Debug, Clone)]
pub struct GlobalAggregate {
    trigger: GlobalTrigger,
    aggregates: Vec<Aggregate>,
    firing: Firing,
    time: WindowTime,
    layout: String,
    key_groups: Range<u16>,
    /// By key group of the range; a key has one open window.
    tables: Vec<SpanTable>,
    timers: Timers,
    /// The key group that keys leave memory from next.
    hand: usize,
    watermark_us: i64,
    now_us: i64,
}

impl GlobalAggregate {
    /// `key_groups`: those of this task.
    ///
    /// # Errors
    /// The position of a faulty aggregate, with what is wrong; also when two output columns share a name.
    pub fn new(
        spec: &WindowSpec,
        trigger: GlobalTrigger,
        input: &SchemaRef,
        key_groups: Range<u16>,
    ) -> Result<Self, (usize, ExpressionError)> {
        let aggregates = spec.compile(input)?;
        let columns = aggregates.iter().map(Accumulator::new).collect();
        let table = SpanTable::new(Accumulators { columns });
        let shape = format!("spans={}", super::spans::SPANS_VERSION);
        Ok(Self {
            trigger,
            firing: Firing::new(spec, &aggregates)?,
            time: spec.time,
            layout: spec.layout("global", &shape, &aggregates),
            aggregates,
            tables: key_groups.clone().map(|_| table.clone()).collect(),
            key_groups,
            timers: Timers::new(),
            hand: 0,
            watermark_us: NO_WATERMARK,
            now_us: NO_WATERMARK,
        })
    }

    /// `window_start`, `window_end` (timestamps in UTC), the key columns, the aggregates.
    pub fn output_schema(&self) -> &SchemaRef {
        self.firing.schema()
    }

    fn number(&self, key_group: u16) -> Result<usize, TableError> {
        let Range { start: first, end } = self.key_groups;
        if !self.key_groups.contains(&key_group) {
            return Err(TableError::ForeignKeyGroup { key_group, first, end });
        }
        Ok(usize::from(key_group - first))
    }

    fn take_in(&mut self, keyed: &KeyedBatch, out: &mut Outputs) -> Result<(), StepFault> {
        let (batch, keys) = (&keyed.batch, &keyed.keys);
        let every_us = self.trigger.every_us;
        self.spans().warm(keys, |held| due_us(held, every_us)).map_err(|error| internal(&error))?;
        let (mut rejects, mut placed) = (Vec::new(), Vec::with_capacity(batch.rows()));
        let mut times = batch.event_times_us.to_vec();
        if self.time == WindowTime::Processing {
            times.fill(self.now_us);
        }
        for (row, key_group) in (0u32..).zip(keys.key_groups()) {
            let time_us = times[row as usize];
            if let Some(refused) = not_an_insert(&batch.changes, row) {
                rejects.push(refused);
            } else if time_us == i64::MAX {
                rejects.push(beyond_time(row, time_us));
            } else {
                placed.push(Placed { bucket: 0, key_group: *key_group, row });
            }
        }
        let columns = &self.tables[0].accumulators.columns;
        let values = arguments(&self.aggregates, columns, batch, &mut placed, &mut rejects)?;
        sort(&mut placed, self.key_groups.clone());
        let mut full = Vec::new();
        for rows in placed.chunk_by(Placed::is_beside) {
            let rejects = &mut rejects;
            self.fold(rows, &times, keys, &values, rejects, &mut full)?;
        }
        give_out(&self.firing, &self.tables, self.key_groups.start, full, ChangeKind::Insert, out)?;
        self.tables.iter_mut().for_each(SpanTable::sweep);
        rejects.sort_by_key(|reject| reject.row);
        out.reject(STAGE, batch, rejects)
    }

    /// Puts rows of one key group into their windows; those that are full go to `full`.
    fn fold(
        &mut self,
        placed: &[Placed],
        times: &[i64],
        keys: &KeyBatch,
        values: &[Argument],
        rejects: &mut Vec<weir_stream::Reject>,
        full: &mut Vec<Keyed>,
    ) -> Result<(), StepFault> {
        let key_group = placed[0].key_group;
        let number = self.number(key_group).map_err(|error| internal(&error))?;
        let table = &mut self.tables[number];
        let rows: Vec<u32> = placed.iter().map(|placed| placed.row).collect();
        let mut slots = Vec::with_capacity(rows.len());
        for row in &rows {
            let key = keys.key(*row as usize);
            let window = table.gather(key, times[*row as usize]);
            slots.push(window.slot);
            if self.trigger.rows.is_some_and(|most| window.rows >= most) {
                full.extend(table.finish(key).map(|window| (key_group, key.into(), window)));
            } else if let Some(every_us) = self.trigger.every_us {
                let due_us = window.start.saturating_add(every_us);
                let held = table.get(key).expect("the row has just been put in");
                if due_us < held.due_us {
                    held.due_us = due_us;
                    self.timers.push(Reverse((due_us, key_group, key.into())));
                }
            }
        }
        table.grow();
        let touched = Touched { rows: &rows, slots: &slots };
        fold::fold(&self.aggregates, &mut table.accumulators.columns, values, touched, rejects)
    }

    fn advance_to(&mut self, watermark_us: i64, out: &mut Outputs) -> Result<(), StepFault> {
        let every_us = self.trigger.every_us;
        self.spans().warm_due(watermark_us, |held| due_us(held, every_us)).map_err(|error| internal(&error))?;
        let mut closing = Vec::new();
        while let Some(timer) = self.timers.peek_mut().filter(|timer| timer.0.0 <= watermark_us) {
            let Reverse((due_us, key_group, key)) = PeekMut::pop(timer);
            let table = &mut self.tables[usize::from(key_group - self.key_groups.start)];
            if table.get(&key).is_some_and(|held| held.due_us == due_us) {
                closing.extend(table.finish(&key).map(|window| (key_group, key, window)));
            }
        }
        if watermark_us != END_OF_TIME {
            self.watermark_us = self.watermark_us.max(watermark_us);
        }
        give_out(&self.firing, &self.tables, self.key_groups.start, closing, ChangeKind::Insert, out)?;
        self.tables.iter_mut().for_each(SpanTable::sweep);
        Ok(())
    }

    fn spans(&mut self) -> Spans<'_> {
        Spans { tables: &mut self.tables, first: self.key_groups.start, timers: &mut self.timers }
    }

    /// Sets the timer of a key that was put back.
    fn watch(&mut self, key_group: u16, key: &[u8]) -> Result<(), TableError> {
        let number = self.number(key_group)?;
        let Some(every_us) = self.trigger.every_us else { return Ok(()) };
        let Some(held) = self.tables[number].get(key) else { return Ok(()) };
        if let Some(window) = held.sessions.first() {
            held.due_us = window.start.saturating_add(every_us);
            self.timers.push(Reverse((held.due_us, key_group, key.into())));
        }
        Ok(())
    }
}

/// When a key's window is over by time.
fn due_us(held: &Held, every_us: Option<i64>) -> i64 {
    let due_us = every_us.zip(held.sessions.first()).map(|(every_us, window)| window.start.saturating_add(every_us));
    due_us.unwrap_or(i64::MAX)
}

impl KeyedOperator for GlobalAggregate {
    fn process(&mut self, _port: usize, rows: &KeyedBatch, out: &mut Outputs) -> Result<(), StepFault> {
        self.take_in(rows, out)
    }

    fn advance(&mut self, watermark_us: i64, out: &mut Outputs) -> Result<(), StepFault> {
        match self.time {
            WindowTime::Processing if watermark_us != END_OF_TIME => Ok(()),
            _ => self.advance_to(watermark_us, out),
        }
    }

    fn tick(&mut self, now_us: i64, out: &mut Outputs) -> Result<(), StepFault> {
        self.now_us = self.now_us.max(now_us);
        self.advance_to(self.now_us, out)
    }

    fn wants_clock(&self) -> bool {
        self.time == WindowTime::Processing
    }

    /// A window may have begun any time ago.
    fn output_watermark(&self, watermark_us: i64) -> i64 {
        match self.time {
            _ if watermark_us == END_OF_TIME => END_OF_TIME,
            WindowTime::Processing => self.watermark_us,
            WindowTime::Event => NO_WATERMARK,
        }
    }

    fn restore_watermark(&mut self, watermark_us: i64) {
        if self.time == WindowTime::Event {
            self.watermark_us = self.watermark_us.max(watermark_us);
        }
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
        let number = self.number(key_group)?;
        self.tables[number].for_each(key_group, entry)
    }

    fn restore_put(&mut self, key_group: u16, key: &[u8], value: &[u8]) -> Result<(), TableError> {
        let number = self.number(key_group)?;
        self.tables[number].restore_put(key_group, key, value)?;
        self.watch(key_group, key)
    }

    fn restore_delete(&mut self, key_group: u16, key: &[u8]) -> Result<(), TableError> {
        let number = self.number(key_group)?;
        self.tables[number].restore_delete(key_group, key)
    }

    fn part(&self, key_groups: Range<u16>) -> Box<dyn KeyedOperator> {
        let columns = self.aggregates.iter().map(Accumulator::new).collect();
        let table = SpanTable::new(Accumulators { columns });
        Box::new(Self {
            aggregates: self.aggregates.clone(),
            firing: self.firing.clone(),
            layout: self.layout.clone(),
            tables: key_groups.clone().map(|_| table.clone()).collect(),
            key_groups,
            timers: Timers::new(),
            hand: 0,
            ..*self
        })
    }

    fn absorb(&mut self, part: Box<dyn KeyedOperator>) -> Result<(), TableError> {
        let Self { tables, key_groups, .. } = same::<Self>(part);
        for (key_group, table) in key_groups.zip(tables).filter(|(_, table)| table.sessions() > 0) {
            let keys: Vec<Box<[u8]>> = table.keys().map(|(key, _)| key.into()).collect();
            let number = self.number(key_group)?;
            self.tables[number] = table;
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
        let mut hand = self.hand;
        let evicted = self.spans().evict(&mut hand, bytes, spill, |_, _| false);
        self.hand = hand;
        evicted
    }

    fn held(&self, key_group: u16, key: &[u8]) -> Result<Vec<HeldEntry>, TableError> {
        let by_clock = self.time == WindowTime::Processing;
        let due = |window: &Session| {
            let at_us = window.start.saturating_add(self.trigger.every_us?);
            Some(DueAt { at_us, by_clock, then: "fires" })
        };
        let what = self.trigger.rows.map_or("window".to_owned(), |rows| format!("window that fires at {rows} rows"));
        let entry =
            |window: &Session| HeldEntry::new(&*what).span(window.start, window.end).rows(window.rows).due(due(window));
        let number = self.number(key_group)?;
        Ok(self.tables[number].sessions_of(key_group, key)?.iter().map(entry).collect())
    }

    fn cold_bytes(&self) -> u64 {
        self.tables.iter().map(SpanTable::cold_bytes).sum()
    }
}
