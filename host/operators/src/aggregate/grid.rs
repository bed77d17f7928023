//! The windowed aggregation of one task over windows aligned with the clock: rows into panes, panes into windows when
//! the watermark passes these.
//!
//! Invariant: a pane is held exactly while a window that needs it is open or may still be corrected; a window's end is
//! its timer, so timers need no store of their own. Results do not depend on how rows were cut into batches, nor on the
//! number of tasks: whether a row counts in a window is judged by the watermark of its own partition. So a row that is
//! late for the oldest of the windows that overlap it, but not for the newest, is kept apart, once per window that it is
//! in time for.

use std::ops::Range;

use arrow_schema::SchemaRef;
use weir_state::table::BucketedTable;
use weir_stream::time::NO_WATERMARK;
use weir_stream::{Batch, Reject};

use super::accumulator::Accumulator;
use super::argument::Argument;
use super::fire::Firing;
use super::pending::Pending;
use super::place::{Placed, arguments, beyond_time, not_an_insert, sort};
use super::slots::Accumulators;
use super::update::Touched;
use super::{Aggregate, LateRows, STAGE, Showing, WindowSpec, WindowTime, fold, internal};
use crate::expression::ExpressionError;
use crate::key::{KeyBatch, KeyedBatch};
use crate::operator::{Outputs, StepFault};
use crate::window::WindowGrid;

/// A keyed aggregation over tumbling or hopping windows for a range of key groups.
#[derive(Debug, Clone)]
pub struct WindowAggregate {
    pub(super) grid: WindowGrid,
    pub(super) aggregates: Vec<Aggregate>,
    pub(super) firing: Firing,
    pub(super) showing: Showing,
    pub(super) time: WindowTime,
    pub(super) layout: String,
    /// The bucket is the pane's start.
    pub(super) panes: BucketedTable<Accumulators>,
    /// Rows that only some windows of their pane may count; the bucket is the window's start.
    pub(super) apart: BucketedTable<Accumulators>,
    /// Windows that end by then are closed.
    pub(super) watermark_us: i64,
    /// The wall clock, as last told.
    pub(super) now_us: i64,
    /// When updates may be shown again.
    pub(super) next_show_us: i64,
    pub(super) pending: Pending,
    late: LateRows,
    slots: Vec<u32>,
}

/// Where a batch's rows go.
#[derive(Default)]
struct Places {
    panes: Vec<Placed>,
    /// Once per window.
    apart: Vec<Placed>,
    late: Vec<u32>,
}

impl WindowAggregate {
    /// `key_groups`: those of this task.
    ///
    /// # Errors
    /// The position of a faulty aggregate, with what is wrong; also when two output columns share a name.
    pub fn new(
        spec: &WindowSpec,
        grid: &WindowGrid,
        input: &SchemaRef,
        key_groups: Range<u16>,
    ) -> Result<Self, (usize, ExpressionError)> {
        let aggregates = spec.compile(input)?;
        let kind = if grid.is_tumbling() { "tumbling" } else { "hopping" };
        let columns = aggregates.iter().map(Accumulator::new).collect();
        let empty = Accumulators { columns };
        Ok(Self {
            grid: grid.clone(),
            firing: Firing::new(spec, &aggregates)?,
            showing: spec.showing,
            time: spec.time,
            layout: spec.layout(kind, &grid.layout(), &aggregates),
            aggregates,
            panes: BucketedTable::new(empty.clone(), key_groups.clone()),
            apart: BucketedTable::new(empty, key_groups),
            watermark_us: NO_WATERMARK,
            now_us: NO_WATERMARK,
            next_show_us: NO_WATERMARK,
            pending: Pending::default(),
            late: LateRows::default(),
            slots: Vec::new(),
        })
    }

    /// `window_start`, `window_end` (timestamps in UTC), the key columns, the aggregates.
    pub fn output_schema(&self) -> &SchemaRef {
        self.firing.schema()
    }

    /// Late rows since this task was made.
    pub fn late_rows(&self) -> LateRows {
        self.late
    }

    pub fn watermark_us(&self) -> i64 {
        self.watermark_us
    }

    /// The end of the oldest open window that has rows: the next timer.
    pub fn next_fire_us(&self) -> Option<i64> {
        self.next_window().map(|(_, end)| end)
    }

    /// Panes held.
    pub fn panes(&self) -> usize {
        self.panes.buckets().count()
    }

    /// Takes rows in. Late rows and rejects go to `out`; results come when time goes on.
    pub(super) fn take_in(&mut self, keyed: &KeyedBatch, out: &mut Outputs) -> Result<(), StepFault> {
        let clocked = (self.time == WindowTime::Processing).then(|| self.clocked(&keyed.batch));
        let (batch, keys) = (clocked.as_ref().unwrap_or(&keyed.batch), &keyed.keys);
        let mut rejects = Vec::new();
        let Places { mut panes, mut apart, late } = self.place(batch, keys, &mut rejects);
        if !late.is_empty() {
            out.push_late(0, batch.take(&late)?);
        }
        let columns = &self.panes.empty().columns;
        let values = if apart.is_empty() {
            arguments(&self.aggregates, columns, batch, &mut panes, &mut rejects)?
        } else {
            let mut all: Vec<Placed> = panes.iter().chain(&apart).copied().collect();
            all.sort_by_key(|placed| placed.row);
            let values = arguments(&self.aggregates, columns, batch, &mut all, &mut rejects)?;
            let sound = |placed: &Placed| all.binary_search_by_key(&placed.row, |placed| placed.row).is_ok();
            panes.retain(sound);
            apart.retain(sound);
            values
        };
        for (mut placed, is_apart) in [(panes, false), (apart, true)] {
            sort(&mut placed, self.panes.key_groups());
            for rows in placed.chunk_by(Placed::is_beside) {
                self.fold(rows, is_apart, keys, &values, &mut rejects)?;
            }
        }
        rejects.sort_by_key(|reject| reject.row);
        rejects.dedup_by_key(|reject| reject.row);
        out.reject(STAGE, batch, rejects)
    }

    /// The rows at the time at which they came.
    fn clocked(&self, batch: &Batch) -> Batch {
        let rows = batch.rows();
        Batch {
            event_times_us: vec![self.now_us; rows].into(),
            watermarks_us: vec![NO_WATERMARK; rows].into(),
            ..batch.clone()
        }
    }

    /// Finds each row's pane.
    fn place(&mut self, batch: &Batch, keys: &KeyBatch, rejects: &mut Vec<Reject>) -> Places {
        let mut places = Places { panes: Vec::with_capacity(batch.rows()), ..Places::default() };
        let (mut start, mut end) = (0, 0);
        // The watermarks from which on the pane's oldest and newest window take no more rows.
        let (mut oldest_us, mut newest_us) = (0, 0);
        let times = batch.event_times_us.iter().zip(batch.watermarks_us.iter());
        for (row, ((time_us, watermark_us), key_group)) in (0u32..).zip(times.zip(keys.key_groups())) {
            if !(start..end).contains(time_us) {
                let Some(pane) = self.grid.pane_of(*time_us) else {
                    rejects.push(beyond_time(row, *time_us));
                    continue;
                };
                (start, end) = pane;
                oldest_us = self.kept_until(self.grid.oldest_start(start));
                newest_us = self.kept_until(self.grid.newest_start(start));
            }
            if let Some(refused) = not_an_insert(&batch.changes, row) {
                rejects.push(refused);
            } else if newest_us <= *watermark_us {
                self.late.behind_watermark += 1;
                places.late.push(row);
            } else if newest_us <= self.watermark_us {
                self.late.window_fired += 1;
                places.late.push(row);
            } else if oldest_us <= *watermark_us && self.is_divided(start, *watermark_us) {
                let in_time = |(start, _): &(i64, i64)| self.kept_until(*start) > *watermark_us;
                let windows = self.grid.windows_of(start).filter(in_time);
                places.apart.extend(windows.map(|(bucket, _)| Placed { bucket, key_group: *key_group, row }));
            } else {
                places.panes.push(Placed { bucket: start, key_group: *key_group, row });
            }
        }
        places
    }

    /// The watermark from which on a window takes no more rows.
    fn kept_until(&self, start_us: i64) -> i64 {
        self.grid.end_of(start_us).saturating_add(self.showing.lateness_us)
    }

    /// Whether a row of that watermark is late for a window of the pane that is still held.
    fn is_divided(&self, pane: i64, watermark_us: i64) -> bool {
        let held = self.grid.first_open(self.watermark_us.saturating_sub(self.showing.lateness_us));
        self.kept_until(held.max(self.grid.oldest_start(pane))) <= watermark_us
    }

    /// Folds rows of one bucket and key group into its table.
    fn fold(
        &mut self,
        placed: &[Placed],
        is_apart: bool,
        keys: &KeyBatch,
        arguments: &[Argument],
        rejects: &mut Vec<Reject>,
    ) -> Result<(), StepFault> {
        let Placed { bucket, key_group, .. } = placed[0];
        let oldest = if is_apart { bucket } else { self.grid.oldest_start(bucket) };
        let shows = self.showing.updates() || self.grid.end_of(oldest) <= self.watermark_us;
        let rows: Vec<u32> = placed.iter().map(|placed| placed.row).collect();
        let tables = if is_apart { &mut self.apart } else { &mut self.panes };
        let table = tables.table(bucket, key_group).map_err(|error| internal(&error))?;
        self.slots.clear();
        let hashes = keys.hashes();
        table.touch(rows.iter().map(|row| (hashes[*row as usize], keys.key(*row as usize))), &mut self.slots);
        let touched = Touched { rows: &rows, slots: &self.slots };
        fold::fold(&self.aggregates, &mut table.slots_mut().columns, arguments, touched, rejects)?;
        if shows {
            self.pending.note(is_apart, bucket, key_group, &self.slots, table.len());
        }
        Ok(())
    }

    /// An empty one for some of the key groups.
    pub(super) fn empty_twin(&self, key_groups: Range<u16>) -> Self {
        let empty = self.panes.empty();
        Self {
            grid: self.grid.clone(),
            aggregates: self.aggregates.clone(),
            firing: self.firing.clone(),
            showing: self.showing,
            time: self.time,
            layout: self.layout.clone(),
            panes: BucketedTable::new(empty.clone(), key_groups.clone()),
            apart: BucketedTable::new(empty.clone(), key_groups),
            watermark_us: self.watermark_us,
            now_us: self.now_us,
            next_show_us: self.next_show_us,
            pending: Pending::default(),
            late: LateRows::default(),
            slots: Vec::new(),
        }
    }
}
