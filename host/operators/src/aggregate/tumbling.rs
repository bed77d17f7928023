//! The windowed aggregation of one task: rows into panes, panes into rows when the watermark passes them.
//!
//! Invariant: a window is held exactly while it is open and has rows; its end is its timer, so timers need no store
//! of their own. Results do not depend on how rows were cut into batches, nor on the number of tasks.

use std::ops::Range;

use arrow_schema::SchemaRef;
use weir_state::table::{BucketedTable, TableError};
use weir_stream::time::NO_WATERMARK;
use weir_stream::{Batch, ChangeKind, Changes, Reject};

use super::accumulator::Accumulator;
use super::argument::Argument;
use super::fire::Firing;
use super::slots::Accumulators;
use super::update::Touched;
use super::{Aggregate, LateRows, STAGE, WindowSpec, fold};
use crate::expression::ExpressionError;
use crate::key::{KeyBatch, KeyedBatch};
use crate::operator::{Outputs, StepFault};
use crate::window::TumblingWindow;

/// A keyed aggregation over tumbling windows for a range of key groups.
#[derive(Debug, Clone)]
pub struct WindowAggregate {
    window: TumblingWindow,
    aggregates: Vec<Aggregate>,
    firing: Firing,
    pub(super) layout: String,
    /// The bucket of a pane is its window's start.
    pub(super) panes: BucketedTable<Accumulators>,
    pub(super) watermark_us: i64,
    late: LateRows,
    slots: Vec<u32>,
}

/// A row that goes into a pane.
#[derive(Debug, Clone, Copy)]
struct Placed {
    window_start_us: i64,
    key_group: u16,
    row: u32,
}

impl WindowAggregate {
    /// `key_groups`: those of this task.
    ///
    /// # Errors
    /// The position of a faulty aggregate, with what is wrong; also when two output columns share a name.
    pub fn new(spec: &WindowSpec, input: &SchemaRef, key_groups: Range<u16>) -> Result<Self, (usize, ExpressionError)> {
        let compile = |(place, spec)| Aggregate::compile(spec, input).map_err(|error| (place, error));
        let aggregates: Vec<Aggregate> = spec.aggregates.iter().enumerate().map(compile).collect::<Result<_, _>>()?;
        let firing = Firing::new(spec, &aggregates)?;
        let columns = aggregates.iter().map(Accumulator::new).collect();
        Ok(Self {
            window: spec.window,
            layout: layout(spec, &aggregates),
            aggregates,
            firing,
            panes: BucketedTable::new(Accumulators { columns }, key_groups),
            watermark_us: NO_WATERMARK,
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

    /// The end of the oldest window held: the next timer.
    pub fn next_fire_us(&self) -> Option<i64> {
        self.panes.first_bucket().map(|start| self.window.end_of(start))
    }

    pub fn open_windows(&self) -> usize {
        self.panes.buckets().count()
    }

    /// Takes rows in. Late rows and rejects go to `out`; results come from [`WindowAggregate::close`].
    ///
    /// # Errors
    /// [`StepFault::Internal`] for rows of key groups that other tasks own, or of another schema.
    pub(super) fn take_in(&mut self, keyed: &KeyedBatch, out: &mut Outputs) -> Result<(), StepFault> {
        let KeyedBatch { batch, keys } = keyed;
        let mut rejects = Vec::new();
        let mut placed = self.place(batch, keys, &mut rejects, out)?;
        let arguments = self.arguments(batch, &mut placed, &mut rejects)?;
        sort(&mut placed, self.panes.key_groups());
        let pane = |a: &Placed, b: &Placed| a.window_start_us == b.window_start_us && a.key_group == b.key_group;
        for rows in placed.chunk_by(pane) {
            self.fold(rows, keys, &arguments, &mut rejects)?;
        }
        rejects.sort_by_key(|reject| reject.row);
        out.reject(STAGE, batch, rejects)
    }

    /// Finds each row's pane; late rows leave here.
    fn place(
        &mut self,
        batch: &Batch,
        keys: &KeyBatch,
        rejects: &mut Vec<Reject>,
        out: &mut Outputs,
    ) -> Result<Vec<Placed>, StepFault> {
        let (mut placed, mut late) = (Vec::with_capacity(batch.rows()), Vec::new());
        let (mut start, mut end) = (0, 0);
        let times = batch.event_times_us.iter().zip(batch.watermarks_us.iter());
        for (row, ((time_us, watermark_us), key_group)) in (0u32..).zip(times.zip(keys.key_groups())) {
            if !(start..end).contains(time_us) {
                let Some(window) = self.window.window_of(*time_us) else {
                    rejects.push(Reject::new(row, "event-time", beyond_time(*time_us)));
                    continue;
                };
                (start, end) = window;
            }
            if let Some(refused) = not_an_insert(&batch.changes, row) {
                rejects.push(refused);
            } else if end <= *watermark_us {
                self.late.behind_watermark += 1;
                late.push(row);
            } else if end <= self.watermark_us {
                self.late.window_fired += 1;
                late.push(row);
            } else {
                placed.push(Placed { window_start_us: start, key_group: *key_group, row });
            }
        }
        if !late.is_empty() {
            out.late.push(batch.take(&late)?);
        }
        Ok(placed)
    }

    /// Evaluates the aggregates' arguments; rows that give none leave here.
    fn arguments(
        &self,
        batch: &Batch,
        placed: &mut Vec<Placed>,
        rejects: &mut Vec<Reject>,
    ) -> Result<Vec<Argument>, StepFault> {
        let rows = placed.iter().map(|placed| placed.row);
        let columns = &self.panes.empty().columns;
        let (arguments, mut refused) = fold::arguments(&self.aggregates, columns, batch, rows)?;
        if !refused.is_empty() {
            let row_of = |reject: &Reject| reject.row;
            placed.retain(|placed| refused.binary_search_by_key(&placed.row, row_of).is_err());
            rejects.append(&mut refused);
        }
        Ok(arguments)
    }

    /// Folds rows of one pane and key group into its table.
    fn fold(
        &mut self,
        placed: &[Placed],
        keys: &KeyBatch,
        arguments: &[Argument],
        rejects: &mut Vec<Reject>,
    ) -> Result<(), StepFault> {
        let Placed { window_start_us, key_group, .. } = placed[0];
        let rows: Vec<u32> = placed.iter().map(|placed| placed.row).collect();
        let table = self.panes.table(window_start_us, key_group).map_err(|error| internal(&error))?;
        self.slots.clear();
        let hashes = keys.hashes();
        table.touch(rows.iter().map(|row| (hashes[*row as usize], keys.key(*row as usize))), &mut self.slots);
        let touched = Touched { rows: &rows, slots: &self.slots };
        fold::fold(&self.aggregates, &mut table.slots_mut().columns, arguments, touched, rejects);
        Ok(())
    }

    /// Time has come to `watermark_us`: the results of all windows that end by then, oldest first, each window's
    /// rows by key. A watermark never goes back; an older one changes nothing.
    ///
    /// # Errors
    /// [`StepFault::Internal`] when a key in the state cannot be read.
    pub(super) fn close(&mut self, watermark_us: i64, out: &mut Outputs) -> Result<(), StepFault> {
        self.watermark_us = self.watermark_us.max(watermark_us);
        while let Some(start) = self.panes.first_bucket().filter(|start| self.is_closed(*start)) {
            let tables = self.panes.take_bucket(start).map_err(|error| internal(&error))?;
            self.firing.fire(start, self.window.end_of(start), &tables, out)?;
        }
        Ok(())
    }

    fn is_closed(&self, start_us: i64) -> bool {
        self.window.end_of(start_us) <= self.watermark_us
    }

    /// An empty one for some of the key groups.
    pub(super) fn empty_twin(&self, key_groups: Range<u16>) -> Self {
        Self {
            window: self.window,
            aggregates: self.aggregates.clone(),
            firing: self.firing.clone(),
            layout: self.layout.clone(),
            panes: BucketedTable::new(self.panes.empty().clone(), key_groups),
            watermark_us: self.watermark_us,
            late: LateRows::default(),
            slots: Vec::new(),
        }
    }
}

fn internal(error: &TableError) -> StepFault {
    StepFault::Internal(error.to_string())
}

fn beyond_time(time_us: i64) -> String {
    format!("the window of event time {time_us} us does not fit into 64-bit microseconds")
}

/// Windows take inserts alone; the planner sees to it, this makes a slip loud.
fn not_an_insert(changes: &Changes, row: u32) -> Option<Reject> {
    let kind = match changes {
        Changes::Inserts => return None,
        Changes::PerRow(_) => changes.kind(row as usize),
    };
    let refuse = || Reject::new(row, "change-kind", format!("a window takes new rows alone, this one is {kind:?}"));
    (kind != ChangeKind::Insert).then(refuse)
}

/// The most counters that [`sort`] spends on a batch.
const MAX_COUNTERS: usize = 1 << 16;

/// Brings rows of one pane and key group together and keeps their order: by counting where the panes are few, as
/// they are but for extreme disorder.
fn sort(placed: &mut Vec<Placed>, key_groups: Range<u16>) {
    let mut starts: Vec<i64> = placed.iter().map(|placed| placed.window_start_us).collect();
    starts.dedup();
    starts.sort_unstable();
    starts.dedup();
    let groups = usize::from(key_groups.end - key_groups.start);
    let foreign = placed.iter().any(|placed| !key_groups.contains(&placed.key_group));
    if foreign || starts.len() * groups > MAX_COUNTERS {
        placed.sort_by_key(|placed| (placed.window_start_us, placed.key_group));
        return;
    }
    let (mut last, mut number) = (i64::MIN, 0);
    let mut counter_of = |placed: &Placed| {
        if placed.window_start_us != last {
            last = placed.window_start_us;
            number = starts.binary_search(&last).expect("the start was collected from the same rows");
        }
        number * groups + usize::from(placed.key_group - key_groups.start)
    };
    let counters: Vec<usize> = placed.iter().map(&mut counter_of).collect();
    let mut next = vec![0u32; starts.len() * groups + 1];
    counters.iter().for_each(|counter| next[counter + 1] += 1);
    for counter in 1..next.len() {
        next[counter] += next[counter - 1];
    }
    let mut sorted = placed.clone();
    for (placed, counter) in placed.iter().zip(counters) {
        sorted[next[counter] as usize] = *placed;
        next[counter] += 1;
    }
    *placed = sorted;
}

fn layout(spec: &WindowSpec, aggregates: &[Aggregate]) -> String {
    let key: Vec<String> = spec.key.iter().map(|field| format!("{} {}", field.name(), field.data_type())).collect();
    let aggregates: Vec<String> = aggregates
        .iter()
        .map(|made| format!("{} {}({})", made.name, made.kind.state_name(), made.argument_type()))
        .collect();
    format!(
        "tumbling/{} size_us={} offset_us={} key=[{}] aggregates=[{}]",
        super::slots::VALUE_VERSION,
        spec.window.size_us(),
        spec.window.offset_us(),
        key.join(", "),
        aggregates.join(", ")
    )
}
