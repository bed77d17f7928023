//! `sessions`: numbers the sessions of each key; every row gets the number of the one that it is in.
//!
//! Rows of a key are of one session as long as none comes more than `gap` of event time after the one before. Sessions
//! count from 1. A row waits until the watermark is past it, so that its number depends on the rows alone and not on the
//! order in which they came; rows come out by event time. A row behind the watermark is late. With a TTL, a key that the
//! watermark has left behind by that much is forgotten, and counts from 1 again.
//!
//! Stored per key: version u8 (1), the last session's number i64 (0: none), the event time of its last row i64, then the
//! rows that wait, as a list.

use std::sync::Arc;

use arrow_schema::{FieldRef, SchemaRef};
use weir_state::table::StateValue;
use weir_stream::ChangeKind;

use crate::by_key::{Held, Made, PerKey, Reader, TimedRow, TimedRows, VALUE_VERSION};
use crate::held_key::{DueAt, HeldEntry};
use crate::key::{KeyedBatch, layout_of};
use crate::operator::{Outputs, StepFault};
use crate::row::RowFormat;

/// Name of the step in dead letters.
pub const STAGE: &str = "sessions";

/// Numbers sessions.
#[derive(Debug, Clone)]
pub struct Sessions {
    gap_us: i64,
    ttl_us: Option<i64>,
    format: RowFormat,
    made: Made,
    layout: Arc<str>,
}

impl Sessions {
    /// `column`: name of the number's column, behind the others. A TTL that is shorter than the gap counts as the gap.
    pub fn new(
        step: &Arc<str>,
        key: &[FieldRef],
        format: RowFormat,
        gap_us: i64,
        ttl_us: Option<i64>,
        column: &str,
    ) -> Self {
        let layout = format!("sessions/{VALUE_VERSION} {} {}", layout_of(key), format.layout());
        let ttl_us = ttl_us.map(|ttl_us| ttl_us.max(gap_us));
        Self { gap_us, ttl_us, made: Made::new(step, &format, Some(column)), format, layout: layout.into() }
    }

    pub fn output_schema(&self) -> &SchemaRef {
        self.made.schema()
    }
}

/// One key's last session and the rows that wait.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Waiting {
    number: i64,
    last_us: i64,
    rows: TimedRows,
}

impl StateValue for Waiting {
    fn write(&self, bytes: &mut Vec<u8>) {
        bytes.push(VALUE_VERSION);
        bytes.extend_from_slice(&self.number.to_le_bytes());
        bytes.extend_from_slice(&self.last_us.to_le_bytes());
        self.rows.write_plain(bytes);
    }

    fn read(bytes: &[u8]) -> Result<Self, String> {
        let mut reader = Reader::new(bytes)?;
        let read = Self { number: reader.i64()?, last_us: reader.i64()?, rows: TimedRows(reader.rows()?) };
        reader.end()?;
        Ok(read)
    }

    fn heap_bytes(&self) -> usize {
        self.rows.held_bytes()
    }
}

impl PerKey for Sessions {
    type Value = Waiting;
    const ENDS_WITH_INPUT: bool = true;

    fn take_in(&mut self, held: &mut Held<'_, Waiting>, rows: &KeyedBatch, out: &mut Outputs) -> Result<(), StepFault> {
        let KeyedBatch { batch, keys } = rows;
        let writer = self.format.writer(&batch.columns);
        let (mut late, mut bytes) = (Vec::new(), Vec::new());
        for row in 0..batch.rows() {
            let time_us = batch.event_times_us[row];
            if time_us < held.watermark_us(batch.watermarks_us[row]) {
                late.push(row as u32);
                continue;
            }
            bytes.clear();
            writer.write(row, &mut bytes);
            let new = TimedRow { time_us, row: bytes.as_slice().into() };
            held.update(self, keys.key_groups()[row], keys.key(row), |value| {
                let waiting = &mut value.get_or_insert_default().rows.0;
                let at = waiting.partition_point(|other| *other <= new);
                waiting.insert(at, new);
            })?;
        }
        out.push_late(0, batch.take(&late)?);
        Ok(())
    }

    fn due_us(&self, value: &Waiting) -> Option<i64> {
        match value.rows.0.first() {
            Some(row) => Some(row.time_us.saturating_add(1)),
            None => Some(value.last_us.saturating_add(self.ttl_us?)),
        }
    }

    /// The end of an input forgets no one: a later run goes on counting.
    fn ends(&self, value: &Waiting) -> bool {
        !value.rows.0.is_empty()
    }

    fn expire(&mut self, value: &mut Option<Waiting>, watermark_us: i64) -> Result<(), StepFault> {
        let Some(held) = value else { return Ok(()) };
        if held.rows.0.is_empty() {
            *value = None;
            return Ok(());
        }
        let ready = held.rows.0.partition_point(|row| row.time_us < watermark_us);
        for row in held.rows.0.drain(..ready) {
            // Judged by the rows' times, as a watermark that came in between would have: batches do not show.
            if self.ttl_us.is_some_and(|ttl_us| held.last_us.saturating_add(ttl_us) <= row.time_us) {
                held.number = 0;
            }
            if held.number == 0 || row.time_us.saturating_sub(self.gap_us) > held.last_us {
                held.number += 1;
            }
            held.last_us = row.time_us;
            self.made.push(row, ChangeKind::Insert, held.number);
        }
        Ok(())
    }

    fn held(&self, value: &Waiting) -> HeldEntry {
        let then = if value.rows.0.is_empty() { "is forgotten" } else { "the first of them comes out" };
        let due = self.due_us(value).map(|at_us| DueAt::watermark(at_us, then));
        let what = format!("last session {}, rows that wait", value.number);
        HeldEntry::new(what).rows(value.rows.0.len() as u64).due(due)
    }

    fn give_out(&mut self, out: &mut Outputs) -> Result<(), StepFault> {
        self.made.sort_by_time();
        out.push(0, self.made.take()?);
        Ok(())
    }

    fn late_because(&self) -> (&'static str, &'static str) {
        (STAGE, "later rows have their session's number")
    }

    fn layout(&self) -> &str {
        &self.layout
    }
}
