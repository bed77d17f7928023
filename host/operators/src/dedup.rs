//! `dedup`, first kept: of the rows of one key, the first to come passes at once; the others are dropped for a time.
//!
//! A row of event time `t` is dropped if a row of its key passed with event time `p`, `t` is less than `p + ttl`, and the
//! watermark has not come to `p + ttl`. So a key's memory is gone when the watermark passes `p + ttl`. A row is late when
//! the watermark has come to `t + ttl`: whether one like it passed is no longer known. A copy with the event time of the
//! row that passed is therefore dropped or late, and never passes.
//!
//! Rows pass as they are, with their origin. Stored per key: version u8 (1), `p` as i64, little-endian.

mod last;

use std::sync::Arc;

use arrow_schema::FieldRef;
use weir_state::table::StateValue;

use crate::by_key::{Held, PerKey, Reader, VALUE_VERSION};
use crate::held_key::{DueAt, HeldEntry};
use crate::key::{KeyedBatch, layout_of};
use crate::operator::{Outputs, StepFault};

pub use last::DedupLast;

/// Name of the step in dead letters.
pub const STAGE: &str = "dedup";

/// Lets the first row of each key pass.
#[derive(Debug, Clone)]
pub struct DedupFirst {
    ttl_us: i64,
    layout: Arc<str>,
}

impl DedupFirst {
    pub fn new(key: &[FieldRef], ttl_us: i64) -> Self {
        Self { ttl_us, layout: format!("dedup-first/{VALUE_VERSION} {}", layout_of(key)).into() }
    }
}

/// Event time of the row that passed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Passed(i64);

impl StateValue for Passed {
    fn write(&self, bytes: &mut Vec<u8>) {
        bytes.push(VALUE_VERSION);
        bytes.extend_from_slice(&self.0.to_le_bytes());
    }

    fn read(bytes: &[u8]) -> Result<Self, String> {
        let mut reader = Reader::new(bytes)?;
        let passed = Self(reader.i64()?);
        reader.end()?;
        Ok(passed)
    }
}

impl PerKey for DedupFirst {
    type Value = Passed;

    fn take_in(&mut self, held: &mut Held<'_, Passed>, rows: &KeyedBatch, out: &mut Outputs) -> Result<(), StepFault> {
        let KeyedBatch { batch, keys } = rows;
        let (mut passing, mut late) = (Vec::new(), Vec::new());
        for row in 0..batch.rows() {
            let (time_us, key, key_group) = (batch.event_times_us[row], keys.key(row), keys.key_groups()[row]);
            let watermark_us = held.watermark_us(batch.watermarks_us[row]);
            if time_us.saturating_add(self.ttl_us) <= watermark_us {
                late.push(row as u32);
                continue;
            }
            let remembered = held.get(key_group, key).map(|Passed(passed)| *passed);
            let until = remembered.map(|passed| passed.saturating_add(self.ttl_us));
            if until.is_some_and(|until| until > time_us.max(watermark_us)) {
                continue;
            }
            passing.push(row as u32);
            let newest = remembered.map_or(time_us, |passed| passed.max(time_us));
            held.update(self, key_group, key, |value| *value = Some(Passed(newest)))?;
        }
        out.push_late(0, batch.take(&late)?);
        out.push(0, if passing.len() == batch.rows() { batch.clone() } else { batch.take(&passing)? });
        Ok(())
    }

    fn due_us(&self, Passed(passed): &Passed) -> Option<i64> {
        Some(passed.saturating_add(self.ttl_us))
    }

    fn expire(&mut self, value: &mut Option<Passed>, _watermark_us: i64) -> Result<(), StepFault> {
        *value = None;
        Ok(())
    }

    fn held(&self, value: &Passed) -> HeldEntry {
        let due = self.due_us(value).map(|at_us| DueAt::watermark(at_us, "is forgotten"));
        HeldEntry::new("row that passed").span(value.0, value.0).due(due)
    }

    fn give_out(&mut self, _out: &mut Outputs) -> Result<(), StepFault> {
        Ok(())
    }

    fn late_because(&self) -> (&'static str, &'static str) {
        (STAGE, "rows like it are no longer remembered")
    }

    fn layout(&self) -> &str {
        &self.layout
    }
}
