//! `top`: the first rows of each group in a given order, as a table by group and rank (of one row: by group) that is kept
//! up to date.
//!
//! The order is total: the `by` expressions, then event time, then the rows' stored bytes; so the table at the end does
//! not depend on the order of arrival. After every batch each rank that has another row comes out as an update. With a
//! TTL, a group whose ranked rows are all older than the watermark by that much comes out as deletes; a row that is as
//! old itself is late. The end of a bounded input deletes nothing.
//!
//! Stored per group: version u8 (1), the ranked rows in their order, as a list.

mod order;
mod windowed;

use std::collections::HashMap;
use std::sync::Arc;

use arrow_row::Rows;
use arrow_schema::{FieldRef, SchemaRef};
use weir_state::table::StateValue;
use weir_stream::{Batch, ChangeKind};

use crate::by_key::{Held, Made, PerKey, Reader, TimedRow, TimedRows, VALUE_VERSION};
use crate::held_key::{DueAt, HeldEntry};
use crate::key::{KeyBatch, KeyedBatch, layout_of};
use crate::operator::{Outputs, StepFault, rows_left};
use crate::row::RowFormat;

pub use order::Order;
pub use windowed::{Ranks, WindowTop};

/// Name of the step in dead letters.
pub const STAGE: &str = "top";

/// The most rows of a group: each one's change may move all those behind it.
pub const MAX_ROWS: u64 = 10_000;

/// Ranks the rows of each group.
#[derive(Debug, Clone)]
pub struct Top {
    rows: usize,
    order: Order,
    ttl_us: Option<i64>,
    format: RowFormat,
    made: Made,
    layout: Arc<str>,
}

impl Top {
    /// `rank`: name of the rank's column, behind the others, if there is one; ranks count from 1.
    pub fn new(
        step: &Arc<str>,
        key: &[FieldRef],
        format: RowFormat,
        (rows, order): (usize, Order),
        ttl_us: Option<i64>,
        rank: Option<&str>,
    ) -> Self {
        let layout =
            format!("top/{VALUE_VERSION} rows={rows} by=[{}] {} {}", order.text(), layout_of(key), format.layout());
        Self { rows, order, ttl_us, made: Made::new(step, &format, rank), format, layout: layout.into() }
    }

    pub fn output_schema(&self) -> &SchemaRef {
        self.made.schema()
    }

    fn expires_us(&self, time_us: i64) -> Option<i64> {
        Some(time_us.saturating_add(self.ttl_us?))
    }

    /// Puts a row where it belongs, if that is among the first.
    fn place(&self, value: &mut Option<Group>, new: Ranked, watermark_us: i64) -> Result<(), StepFault> {
        if value.as_ref().and_then(|group| self.due_us(group)).is_some_and(|due| due <= watermark_us) {
            *value = None;
        }
        let group = value.get_or_insert_default();
        fill(&self.order, &self.format, &mut group.0)?;
        let at = group.0.partition_point(|ranked| *ranked <= new);
        if at < self.rows {
            group.0.insert(at, new);
            group.0.truncate(self.rows);
        }
        Ok(())
    }

    /// What of a group's ranks is not as it was.
    fn tell(&mut self, before: &[TimedRow], now: &[Ranked]) {
        for rank in 0..before.len().max(now.len()) {
            let number = rank as i64 + 1;
            match (before.get(rank), now.get(rank)) {
                (Some(old), None) => self.made.push(old.clone(), ChangeKind::Delete, number),
                (old, Some(new)) if old != Some(&new.row) => {
                    self.made.push(new.row.clone(), ChangeKind::UpdateAfter, number);
                }
                _ => {}
            }
        }
    }
}

/// A row in its place.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Ranked {
    /// Bytes that compare as the `by` expressions order; empty while they have not been computed.
    sort: Box<[u8]>,
    row: TimedRow,
}

/// Sort keys of rows that came back from the store, which keeps none.
fn fill(order: &Order, format: &RowFormat, rows: &mut [Ranked]) -> Result<(), StepFault> {
    if rows.iter().all(|ranked| !ranked.sort.is_empty()) {
        return Ok(());
    }
    let mut held = Made::new(&"".into(), format, None);
    rows.iter().for_each(|ranked| held.push(ranked.row.clone(), ChangeKind::Insert, 0));
    let (sorts, _) = order.keys(&held.take()?)?;
    rows.iter_mut().zip(&sorts).for_each(|(ranked, sort)| ranked.sort = sort.as_ref().into());
    Ok(())
}

fn held_bytes(rows: &Vec<Ranked>) -> usize {
    let of = |ranked: &Ranked| ranked.sort.len() + ranked.row.heap_bytes();
    rows.capacity() * size_of::<Ranked>() + rows.iter().map(of).sum::<usize>()
}

/// The ranked rows of one group.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Group(Vec<Ranked>);

impl Group {
    fn rows(&self) -> Vec<TimedRow> {
        self.0.iter().map(|ranked| ranked.row.clone()).collect()
    }
}

impl StateValue for Group {
    fn write(&self, bytes: &mut Vec<u8>) {
        bytes.push(VALUE_VERSION);
        TimedRows(self.rows()).write_plain(bytes);
    }

    fn read(bytes: &[u8]) -> Result<Self, String> {
        let mut reader = Reader::new(bytes)?;
        let rows = reader.rows()?;
        reader.end()?;
        Ok(Self(rows.into_iter().map(|row| Ranked { sort: Box::default(), row }).collect()))
    }

    fn heap_bytes(&self) -> usize {
        held_bytes(&self.0)
    }
}

/// The groups that a batch touches, in the order in which it does, with their rows before it.
#[derive(Default)]
struct Touched {
    groups: Vec<(u16, Box<[u8]>, Vec<TimedRow>)>,
    seen: HashMap<(u16, Box<[u8]>), ()>,
}

impl Touched {
    fn note(&mut self, key_group: u16, key: &[u8], before: Option<&Group>) {
        if self.seen.insert((key_group, key.into()), ()).is_none() {
            self.groups.push((key_group, key.into(), before.map(Group::rows).unwrap_or_default()));
        }
    }
}

impl Top {
    fn take_row(
        &mut self,
        held: &mut Held<'_, Group>,
        (batch, keys, row): (&Batch, &KeyBatch, usize),
        new: impl FnOnce() -> Ranked,
        (sorts, touched): (&Rows, &mut Touched),
    ) -> Result<bool, StepFault> {
        let (key, key_group) = (keys.key(row), keys.key_groups()[row]);
        let watermark_us = held.watermark_us(batch.watermarks_us[row]);
        if self.expires_us(batch.event_times_us[row]).is_some_and(|due| due <= watermark_us) {
            return Ok(false);
        }
        let group = held.get(key_group, key);
        let last = group.filter(|group| group.0.len() == self.rows).and_then(|group| group.0.last());
        let behind = last.is_some_and(|last| !last.sort.is_empty() && *last.sort < *sorts.row(row).as_ref());
        let expired = group.and_then(|group| self.due_us(group)).is_some_and(|due| due <= watermark_us);
        if behind && !expired {
            return Ok(true);
        }
        touched.note(key_group, key, group);
        let new = new();
        held.update(self, key_group, key, |value| self.place(value, new, watermark_us))??;
        Ok(true)
    }
}

impl PerKey for Top {
    type Value = Group;

    fn take_in(&mut self, held: &mut Held<'_, Group>, rows: &KeyedBatch, out: &mut Outputs) -> Result<(), StepFault> {
        let KeyedBatch { batch, keys } = rows;
        let (sorts, rejects) = self.order.keys(batch)?;
        let taken = rows_left(batch.rows(), &rejects);
        out.reject(STAGE, batch, rejects)?;
        let writer = self.format.writer(&batch.columns);
        let (mut touched, mut late) = (Touched::default(), Vec::new());
        for number in taken {
            let row = number as usize;
            let new = || {
                let mut bytes = Vec::new();
                writer.write(row, &mut bytes);
                let row_held = TimedRow { time_us: batch.event_times_us[row], row: bytes.into() };
                Ranked { sort: sorts.row(row).as_ref().into(), row: row_held }
            };
            if !self.take_row(held, (batch, keys, row), new, (&sorts, &mut touched))? {
                late.push(number);
            }
        }
        out.push_late(0, batch.take(&late)?);
        for (key_group, key, before) in touched.groups {
            self.tell(&before, held.get(key_group, &key).map_or(&[], |group| &group.0));
        }
        self.give_out(out)
    }

    fn due_us(&self, group: &Group) -> Option<i64> {
        self.expires_us(group.0.iter().map(|ranked| ranked.row.time_us).max()?)
    }

    fn expire(&mut self, value: &mut Option<Group>, _watermark_us: i64) -> Result<(), StepFault> {
        if let Some(group) = value.take() {
            self.tell(&group.rows(), &[]);
        }
        Ok(())
    }

    fn held(&self, group: &Group) -> HeldEntry {
        let due = self.due_us(group).map(|at_us| DueAt::watermark(at_us, "comes out as deletes"));
        HeldEntry::new("ranked rows").rows(group.0.len() as u64).due(due)
    }

    fn give_out(&mut self, out: &mut Outputs) -> Result<(), StepFault> {
        out.push(0, self.made.take()?);
        Ok(())
    }

    fn late_because(&self) -> (&'static str, &'static str) {
        (STAGE, "its group's time to live was over")
    }

    fn layout(&self) -> &str {
        &self.layout
    }
}
