//! `latest`: the newest row of each key, as a table that is kept up to date.
//!
//! Newest by event time; among rows of one time the one with the larger stored bytes, so that the table at the end does
//! not depend on the order of arrival. A row that is newer than what is held comes out as an update; an older one changes
//! nothing. With a TTL, a key whose newest row the watermark has left behind by that much comes out as a delete; a row
//! that is as old itself is late. The end of a bounded input deletes nothing.
//!
//! Stored per key: version u8 (1), event time i64, length u32, row.

use std::sync::Arc;

use arrow_schema::FieldRef;
use weir_stream::{ChangeKind, Changes};

use crate::by_key::{Held, Made, PerKey, TimedRow, VALUE_VERSION};
use crate::held_key::{DueAt, HeldEntry};
use crate::key::{KeyedBatch, layout_of};
use crate::operator::{Outputs, StepFault};
use crate::row::RowFormat;

/// Name of the step in dead letters.
pub const STAGE: &str = "latest";

/// Holds the newest row of each key.
#[derive(Debug, Clone)]
pub struct Latest {
    ttl_us: Option<i64>,
    format: RowFormat,
    made: Made,
    layout: Arc<str>,
}

impl Latest {
    pub fn new(step: &Arc<str>, key: &[FieldRef], format: RowFormat, ttl_us: Option<i64>) -> Self {
        let layout = format!("latest/{VALUE_VERSION} {} {}", layout_of(key), format.layout());
        Self { ttl_us, made: Made::new(step, &format, None), format, layout: layout.into() }
    }
}

impl PerKey for Latest {
    type Value = TimedRow;

    fn take_in(
        &mut self,
        held: &mut Held<'_, TimedRow>,
        rows: &KeyedBatch,
        out: &mut Outputs,
    ) -> Result<(), StepFault> {
        let KeyedBatch { batch, keys } = rows;
        let writer = self.format.writer(&batch.columns);
        let (mut newer, mut late, mut bytes) = (Vec::new(), Vec::new(), Vec::new());
        for row in 0..batch.rows() {
            let (time_us, key, key_group) = (batch.event_times_us[row], keys.key(row), keys.key_groups()[row]);
            let watermark_us = held.watermark_us(batch.watermarks_us[row]);
            if self.ttl_us.is_some_and(|ttl_us| time_us.saturating_add(ttl_us) <= watermark_us) {
                late.push(row as u32);
                continue;
            }
            bytes.clear();
            writer.write(row, &mut bytes);
            let is_newer = |old: &TimedRow| (old.time_us, &*old.row) < (time_us, bytes.as_slice());
            if held.get(key_group, key).is_none_or(is_newer) {
                let new = TimedRow { time_us, row: bytes.as_slice().into() };
                held.update(self, key_group, key, |value| *value = Some(new))?;
                newer.push(row as u32);
            }
        }
        out.push_late(0, batch.take(&late)?);
        let mut newer = batch.take(&newer)?;
        newer.changes = Changes::PerRow(vec![ChangeKind::UpdateAfter as u8; newer.rows()].into());
        out.push(0, newer);
        Ok(())
    }

    fn due_us(&self, value: &TimedRow) -> Option<i64> {
        Some(value.time_us.saturating_add(self.ttl_us?))
    }

    fn expire(&mut self, value: &mut Option<TimedRow>, _watermark_us: i64) -> Result<(), StepFault> {
        if let Some(old) = value.take() {
            self.made.push(old, ChangeKind::Delete, 0);
        }
        Ok(())
    }

    fn held(&self, value: &TimedRow) -> HeldEntry {
        let due = self.due_us(value).map(|at_us| DueAt::watermark(at_us, "comes out as a delete"));
        HeldEntry::new("newest row").span(value.time_us, value.time_us).due(due)
    }

    fn give_out(&mut self, out: &mut Outputs) -> Result<(), StepFault> {
        out.push(0, self.made.take()?);
        Ok(())
    }

    fn late_because(&self) -> (&'static str, &'static str) {
        (STAGE, "its key's time to live was over")
    }

    fn layout(&self) -> &str {
        &self.layout
    }
}
