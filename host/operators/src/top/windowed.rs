//! `top` with a window: the first rows of each group and tumbling window, once, when the window closes.
//!
//! The order is that of `top` without one. With `ties`, rows that the `by` expressions put level with the last rank come
//! too, and level rows share their rank; a window then holds at most [`MAX_ROWS`] of a group, more are rejects.
//! A result's event time is its window's last microsecond.
//!
//! Stored per group: version u8 (1), the number of windows u32, for each its start i64 and its ranked rows, as a list.

use std::sync::Arc;

use arrow_row::Row;
use arrow_schema::{FieldRef, SchemaRef};
use weir_state::table::StateValue;
use weir_stream::{Batch, ChangeKind, Reject};

use super::{MAX_ROWS, Order, Ranked, STAGE, fill, held_bytes};
use crate::aggregate::beyond_time;
use crate::by_key::{Held, Made, PerKey, Reader, TimedRow, TimedRows, VALUE_VERSION};
use crate::held_key::{DueAt, HeldEntry};
use crate::key::{KeyedBatch, layout_of};
use crate::operator::{Outputs, StepFault, rows_left};
use crate::row::RowFormat;
use crate::window::WindowGrid;

/// How many rows a window's group gives out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ranks {
    pub rows: usize,
    /// Rows level with the last one too.
    pub ties: bool,
}

/// Ranks the rows of each group and window.
#[derive(Debug, Clone)]
pub struct WindowTop {
    ranks: Ranks,
    order: Order,
    grid: WindowGrid,
    format: RowFormat,
    made: Made,
    layout: Arc<str>,
}

impl WindowTop {
    /// `rank`: name of the rank's column, behind the others; ranks count from 1. `None`: there is no such column.
    ///
    /// # Panics
    /// When the windows overlap.
    pub fn new(
        step: &Arc<str>,
        key: &[FieldRef],
        format: RowFormat,
        (ranks, order): (Ranks, Order),
        grid: WindowGrid,
        rank: Option<&str>,
    ) -> Self {
        assert!(grid.is_tumbling(), "a row is of one window");
        let Ranks { rows, ties } = ranks;
        let (by, key, row, window) = (order.text(), layout_of(key), format.layout(), grid.layout());
        let layout = format!("top/{VALUE_VERSION} rows={rows} ties={ties} by=[{by}] window=[{window}] {key} {row}");
        Self { ranks, order, grid, made: Made::new(step, &format, rank), format, layout: layout.into() }
    }

    pub fn output_schema(&self) -> &SchemaRef {
        self.made.schema()
    }

    /// Whether a row that sorts so can come out of a window that holds these rows.
    fn wants(&self, held: &[Ranked], sort: &[u8]) -> bool {
        let Some(last) = held.get(self.ranks.rows - 1) else { return true };
        // Without ties the rest of the order decides between level rows.
        last.sort.is_empty() || sort <= &*last.sort
    }

    /// Puts a row where it belongs; whether there was room.
    fn place(&self, windows: &mut Windows, start_us: i64, new: Ranked) -> Result<bool, StepFault> {
        let ranked = windows.at(start_us);
        fill(&self.order, &self.format, ranked)?;
        let at = ranked.partition_point(|held| *held <= new);
        if self.ranks.ties && at as u64 >= MAX_ROWS {
            return Ok(false);
        }
        ranked.insert(at, new);
        let mut kept = self.ranks.rows;
        if self.ranks.ties && ranked.len() > kept {
            let last = ranked[kept - 1].sort.clone();
            kept += ranked[kept..].iter().take_while(|held| held.sort == last).count();
        }
        ranked.truncate(kept.min(MAX_ROWS as usize));
        Ok(true)
    }

    fn close(&mut self, start_us: i64, mut ranked: Vec<Ranked>) -> Result<(), StepFault> {
        fill(&self.order, &self.format, &mut ranked)?;
        let time_us = self.grid.end_of(start_us) - 1;
        let (mut rank, mut before) = (0, None);
        for (place, Ranked { sort, row }) in (1..).zip(ranked) {
            if !self.ranks.ties || before.as_ref() != Some(&sort) {
                rank = place;
            }
            self.made.push(TimedRow { time_us, row: row.row }, ChangeKind::Insert, rank);
            before = Some(sort);
        }
        Ok(())
    }

    /// Takes in one row.
    fn take_row(
        &self,
        held: &mut Held<'_, Windows>,
        (rows, row): (&KeyedBatch, usize),
        sort: Row<'_>,
        write: impl FnOnce() -> TimedRow,
    ) -> Result<Taken, StepFault> {
        let time_us = rows.batch.event_times_us[row];
        let Some((start_us, end_us)) = self.grid.pane_of(time_us) else {
            return Ok(Taken::No(beyond_time(row as u32, time_us)));
        };
        if end_us <= held.watermark_us(rows.batch.watermarks_us[row]) {
            return Ok(Taken::Late);
        }
        let (key, key_group) = (rows.keys.key(row), rows.keys.key_groups()[row]);
        let open = held.get(key_group, key).and_then(|windows| windows.get(start_us));
        if open.is_some_and(|ranked| !self.wants(ranked, sort.as_ref())) {
            return Ok(Taken::Yes);
        }
        let new = Ranked { sort: sort.as_ref().into(), row: write() };
        let placed =
            held.update(self, key_group, key, |windows| self.place(windows.get_or_insert_default(), start_us, new))??;
        Ok(if placed {
            Taken::Yes
        } else {
            let reason = format!("its window holds {MAX_ROWS} rows that are level with it or before it");
            Taken::No(Reject::new(row as u32, "too-many-ties", reason))
        })
    }
}

/// What became of a row.
enum Taken {
    Yes,
    Late,
    No(Reject),
}

/// The open windows of one group, oldest first.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Windows(Vec<(i64, Vec<Ranked>)>);

impl Windows {
    fn get(&self, start_us: i64) -> Option<&Vec<Ranked>> {
        let at = self.0.binary_search_by_key(&start_us, |(start, _)| *start).ok()?;
        Some(&self.0[at].1)
    }

    fn at(&mut self, start_us: i64) -> &mut Vec<Ranked> {
        let at = self.0.binary_search_by_key(&start_us, |(start, _)| *start).unwrap_or_else(|at| {
            self.0.insert(at, (start_us, Vec::new()));
            at
        });
        &mut self.0[at].1
    }
}

impl StateValue for Windows {
    fn write(&self, bytes: &mut Vec<u8>) {
        bytes.push(VALUE_VERSION);
        bytes.extend_from_slice(&(self.0.len() as u32).to_le_bytes());
        for (start_us, ranked) in &self.0 {
            bytes.extend_from_slice(&start_us.to_le_bytes());
            TimedRows(ranked.iter().map(|ranked| ranked.row.clone()).collect()).write_plain(bytes);
        }
    }

    fn read(bytes: &[u8]) -> Result<Self, String> {
        let mut reader = Reader::new(bytes)?;
        let window = |reader: &mut Reader<'_>| {
            let start_us = reader.i64()?;
            let unsorted = |row| Ranked { sort: Box::default(), row };
            Ok::<_, String>((start_us, reader.rows()?.into_iter().map(unsorted).collect()))
        };
        let windows = (0..reader.u32()?).map(|_| window(&mut reader)).collect::<Result<_, _>>()?;
        reader.end()?;
        Ok(Self(windows))
    }

    fn heap_bytes(&self) -> usize {
        let of = |(_, ranked): &(i64, Vec<Ranked>)| held_bytes(ranked);
        self.0.capacity() * size_of::<(i64, Vec<Ranked>)>() + self.0.iter().map(of).sum::<usize>()
    }
}

impl PerKey for WindowTop {
    type Value = Windows;

    const ENDS_WITH_INPUT: bool = true;

    fn take_in(&mut self, held: &mut Held<'_, Windows>, rows: &KeyedBatch, out: &mut Outputs) -> Result<(), StepFault> {
        let batch: &Batch = &rows.batch;
        let (sorts, mut rejects) = self.order.keys(batch)?;
        let taken = rows_left(batch.rows(), &rejects);
        let writer = self.format.writer(&batch.columns);
        let mut late = Vec::new();
        for number in taken {
            let row = number as usize;
            let write = || {
                let mut bytes = Vec::new();
                writer.write(row, &mut bytes);
                TimedRow { time_us: batch.event_times_us[row], row: bytes.into() }
            };
            match self.take_row(held, (rows, row), sorts.row(row), write)? {
                Taken::Yes => {}
                Taken::Late => late.push(number),
                Taken::No(reject) => rejects.push(reject),
            }
        }
        rejects.sort_by_key(|reject| reject.row);
        out.reject(STAGE, batch, rejects)?;
        out.push_late(0, batch.take(&late)?);
        Ok(())
    }

    fn due_us(&self, windows: &Windows) -> Option<i64> {
        windows.0.first().map(|(start_us, _)| self.grid.end_of(*start_us))
    }

    fn held(&self, windows: &Windows) -> HeldEntry {
        let rows: usize = windows.0.iter().map(|(_, ranked)| ranked.len()).sum();
        let due = self.due_us(windows).map(|at_us| DueAt::watermark(at_us, "fires"));
        HeldEntry::new("ranked rows of windows").rows(rows as u64).due(due)
    }

    fn expire(&mut self, value: &mut Option<Windows>, watermark_us: i64) -> Result<(), StepFault> {
        let Some(windows) = value else { return Ok(()) };
        let closed = windows.0.partition_point(|(start_us, _)| self.grid.end_of(*start_us) <= watermark_us);
        for (start_us, ranked) in windows.0.drain(..closed).collect::<Vec<_>>() {
            self.close(start_us, ranked)?;
        }
        if windows.0.is_empty() {
            *value = None;
        }
        Ok(())
    }

    fn give_out(&mut self, out: &mut Outputs) -> Result<(), StepFault> {
        out.push(0, self.made.take()?);
        Ok(())
    }

    fn late_because(&self) -> (&'static str, &'static str) {
        (STAGE, "its window was closed")
    }

    fn layout(&self) -> &str {
        &self.layout
    }
}
