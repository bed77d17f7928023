//! `normalise`: a table that is kept up to date, told change by change: what a row replaces is taken back first.
//!
//! Rows of such a table replace earlier ones by key or delete them, but do not say what they replace. Who adds rows up must
//! take that back, so this step holds the last row of each key and gives it out as `update-before` in front of the new one,
//! or as the delete. A row that is what is held already changes nothing. The planner puts it in where it is needed.
//!
//! Rows of a table whose rows are final some time behind their event time (the results of windows) are let go of, untold,
//! once the watermark has come to that; all others are held until they are deleted. No row is late.
//!
//! Stored per key: version u8 (1), event time i64, length u32, row.

use std::sync::Arc;

use arrow_schema::FieldRef;
use weir_stream::ChangeKind;

use crate::by_key::{Held, Made, PerKey, TimedRow, VALUE_VERSION};
use crate::held_key::{DueAt, HeldEntry};
use crate::key::{KeyedBatch, layout_of};
use crate::operator::{Outputs, StepFault};
use crate::row::RowFormat;

/// Holds the last row of each key of a table.
#[derive(Debug, Clone)]
pub struct Normalise {
    final_after_us: Option<i64>,
    format: RowFormat,
    made: Made,
    layout: Arc<str>,
}

impl Normalise {
    /// `final_after_us`: how far behind its event time a row of the table does not change any more; none: any row may.
    pub fn new(step: &Arc<str>, key: &[FieldRef], format: RowFormat, final_after_us: Option<i64>) -> Self {
        let layout = format!("normalise/{VALUE_VERSION} {} {}", layout_of(key), format.layout());
        Self { final_after_us, made: Made::new(step, &format, None), format, layout: layout.into() }
    }

    fn tell(&mut self, before: Option<TimedRow>, now: Option<TimedRow>) {
        match (before, now) {
            (None, Some(new)) => self.made.push(new, ChangeKind::Insert, 0),
            (Some(old), None) => self.made.push(old, ChangeKind::Delete, 0),
            (Some(old), Some(new)) => {
                self.made.push(old, ChangeKind::UpdateBefore, 0);
                self.made.push(new, ChangeKind::UpdateAfter, 0);
            }
            (None, None) => {}
        }
    }
}

impl PerKey for Normalise {
    type Value = TimedRow;

    const TAKES_CHANGES: bool = true;

    fn take_in(
        &mut self,
        held: &mut Held<'_, TimedRow>,
        rows: &KeyedBatch,
        out: &mut Outputs,
    ) -> Result<(), StepFault> {
        let KeyedBatch { batch, keys } = rows;
        let writer = self.format.writer(&batch.columns);
        for row in 0..batch.rows() {
            let (key, key_group) = (keys.key(row), keys.key_groups()[row]);
            let leaves = matches!(batch.changes.kind(row), ChangeKind::Delete | ChangeKind::UpdateBefore);
            let new = (!leaves).then(|| {
                let mut bytes = Vec::new();
                writer.write(row, &mut bytes);
                TimedRow { time_us: batch.event_times_us[row], row: bytes.into() }
            });
            if held.get(key_group, key) == new.as_ref() {
                continue;
            }
            let now = new.clone();
            let before = held.update(self, key_group, key, |value| std::mem::replace(value, new))?;
            self.tell(before, now);
        }
        self.give_out(out)
    }

    fn due_us(&self, value: &TimedRow) -> Option<i64> {
        Some(value.time_us.saturating_add(self.final_after_us?))
    }

    fn expire(&mut self, value: &mut Option<TimedRow>, _watermark_us: i64) -> Result<(), StepFault> {
        *value = None;
        Ok(())
    }

    fn held(&self, value: &TimedRow) -> HeldEntry {
        let due = self.due_us(value).map(|at_us| DueAt::watermark(at_us, "is let go"));
        HeldEntry::new("row of the table").span(value.time_us, value.time_us).due(due)
    }

    fn give_out(&mut self, out: &mut Outputs) -> Result<(), StepFault> {
        out.push(0, self.made.take()?);
        Ok(())
    }

    fn late_because(&self) -> (&'static str, &'static str) {
        ("normalise", "its table had let go of its key")
    }

    fn layout(&self) -> &str {
        &self.layout
    }
}
