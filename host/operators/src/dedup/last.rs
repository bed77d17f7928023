//! `dedup`, last kept: of rows of one key that follow each other within the TTL, the newest, once no more can follow.
//!
//! Rows of a key hang together when the next one's event time is less than `ttl` after the one before. The newest of them
//! (ties: the larger by its stored bytes) comes out when the watermark has come to its event time plus `ttl`, as a new
//! row with its own event time. Which rows come out depends on the set of rows alone. A row behind the watermark is late:
//! what it might hang together with may be out.
//!
//! Stored per key: version u8 (1), count u32, then for each run of rows, oldest first: its first event time i64, its
//! newest row (event time i64, length u32, row).

use std::sync::Arc;

use arrow_schema::FieldRef;
use weir_state::table::StateValue;
use weir_stream::ChangeKind;
use weir_stream::time::NO_WATERMARK;

use super::STAGE;
use crate::by_key::{Held, Made, PerKey, Reader, TimedRow, VALUE_VERSION};
use crate::held_key::{DueAt, HeldEntry};
use crate::key::{KeyedBatch, layout_of};
use crate::operator::{Outputs, StepFault};
use crate::row::RowFormat;

/// Gives out the last row of each key.
#[derive(Debug, Clone)]
pub struct DedupLast {
    ttl_us: i64,
    format: RowFormat,
    made: Made,
    layout: Arc<str>,
}

impl DedupLast {
    pub fn new(step: &Arc<str>, key: &[FieldRef], format: RowFormat, ttl_us: i64) -> Self {
        let layout = format!("dedup-last/{VALUE_VERSION} {} {}", layout_of(key), format.layout());
        Self { ttl_us, made: Made::new(step, &format, None), format, layout: layout.into() }
    }
}

/// Rows of a key that hang together.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Run {
    start_us: i64,
    newest: TimedRow,
}

/// The runs of one key, apart from each other, oldest first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Runs(Vec<Run>);

impl Runs {
    fn add(&mut self, row: TimedRow, ttl_us: i64) {
        let mut run = Run { start_us: row.time_us, newest: row };
        self.0.retain(|other| {
            let apart = other.start_us.saturating_sub(ttl_us) >= run.newest.time_us
                || run.start_us.saturating_sub(ttl_us) >= other.newest.time_us;
            if !apart {
                run.start_us = run.start_us.min(other.start_us);
                run.newest = run.newest.clone().max(other.newest.clone());
            }
            apart
        });
        let at = self.0.partition_point(|other| other.start_us < run.start_us);
        self.0.insert(at, run);
    }
}

impl StateValue for Runs {
    fn write(&self, bytes: &mut Vec<u8>) {
        bytes.push(VALUE_VERSION);
        bytes.extend_from_slice(&(self.0.len() as u32).to_le_bytes());
        for run in &self.0 {
            bytes.extend_from_slice(&run.start_us.to_le_bytes());
            run.newest.write_plain(bytes);
        }
    }

    fn read(bytes: &[u8]) -> Result<Self, String> {
        let mut reader = Reader::new(bytes)?;
        let runs = (0..reader.u32()?).map(|_| Ok(Run { start_us: reader.i64()?, newest: reader.row()? }));
        let runs = runs.collect::<Result<_, String>>()?;
        reader.end()?;
        Ok(Self(runs))
    }

    fn heap_bytes(&self) -> usize {
        self.0.capacity() * size_of::<Run>() + self.0.iter().map(|run| run.newest.heap_bytes()).sum::<usize>()
    }
}

impl PerKey for DedupLast {
    type Value = Runs;
    const ENDS_WITH_INPUT: bool = true;

    fn take_in(&mut self, held: &mut Held<'_, Runs>, rows: &KeyedBatch, out: &mut Outputs) -> Result<(), StepFault> {
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
            held.update(self, keys.key_groups()[row], keys.key(row), |runs| {
                runs.get_or_insert(Runs(Vec::new())).add(new, self.ttl_us);
            })?;
        }
        out.push_late(0, batch.take(&late)?);
        Ok(())
    }

    fn due_us(&self, runs: &Runs) -> Option<i64> {
        runs.0.first().map(|run| run.newest.time_us.saturating_add(self.ttl_us))
    }

    fn expire(&mut self, value: &mut Option<Runs>, watermark_us: i64) -> Result<(), StepFault> {
        let Some(Runs(runs)) = value else { return Ok(()) };
        let due = runs.partition_point(|run| run.newest.time_us.saturating_add(self.ttl_us) <= watermark_us);
        runs.drain(..due).for_each(|run| self.made.push(run.newest, ChangeKind::Insert, 0));
        if runs.is_empty() {
            *value = None;
        }
        Ok(())
    }

    fn held(&self, runs: &Runs) -> HeldEntry {
        let due = self.due_us(runs).map(|at_us| DueAt::watermark(at_us, "comes out"));
        let (first_us, newest_us) =
            runs.0.first().map_or((NO_WATERMARK, NO_WATERMARK), |run| (run.start_us, run.newest.time_us));
        HeldEntry::new("rows that hang together, the newest").span(first_us, newest_us).due(due)
    }

    fn give_out(&mut self, out: &mut Outputs) -> Result<(), StepFault> {
        self.made.sort_by_time();
        out.push(0, self.made.take()?);
        Ok(())
    }

    fn output_watermark(&self, watermark_us: i64) -> i64 {
        watermark_us.saturating_sub(self.ttl_us)
    }

    fn late_because(&self) -> (&'static str, &'static str) {
        (STAGE, "the rows around it may be out")
    }

    fn layout(&self) -> &str {
        &self.layout
    }
}
