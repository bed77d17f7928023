//! Windows that were assigned to rows before they came here: each row says the window that it is in.
//!
//! A window is known by its key, start and end, and its end is its timer. The bucket of the state is the window's end, and
//! the stored key begins with the window's start: 8 bytes, big-endian, sign bit flipped, so that keys sort by it.
//!
//! Invariant: as for windows aligned with the clock, whether a row counts depends on the watermark of its own partition
//! just before it, so results depend neither on how rows were cut into batches nor on the number of tasks.

use std::collections::BTreeMap;
use std::ops::Range;

use arrow_array::cast::AsArray;
use arrow_array::types::TimestampMicrosecondType;
use arrow_schema::SchemaRef;
use weir_state::table::{BUCKET_BYTES, BucketedTable, TableError};
use weir_stream::key::hash;
use weir_stream::time::{END_OF_TIME, NO_WATERMARK};
use weir_stream::{Batch, ChangeKind, Reject};

use super::accumulator::Accumulator;
use super::argument::Argument;
use super::finish::Place;
use super::fire::{FIRED_BATCH_ROWS, Firing};
use super::place::{Placed, arguments, not_an_insert, sort};
use super::slots::Accumulators;
use super::update::Touched;
use super::{Aggregate, Emit, KeyTable, LateRows, STAGE, Showing, WindowSpec, fold, internal};
use crate::assign::ASSIGNED_COLUMNS;
use crate::expression::ExpressionError;
use crate::key::{KeyBatch, KeyedBatch};
use crate::operator::{Outputs, StepFault};

const START_BYTES: usize = 8;

/// What every stored entry begins with.
pub(super) const SHORTEST_ENTRY_BYTES: usize = BUCKET_BYTES + START_BYTES;

/// A keyed aggregation over assigned windows for a range of key groups.
#[derive(Debug, Clone)]
pub struct AssignedAggregate {
    pub(super) aggregates: Vec<Aggregate>,
    pub(super) firing: Firing,
    pub(super) showing: Showing,
    pub(super) layout: String,
    /// The bucket is the window's end.
    pub(super) windows: BucketedTable<Accumulators>,
    /// Places of the input's columns with the window's start and end.
    pub(super) bounds: [usize; 2],
    /// Windows that end by then are closed.
    pub(super) watermark_us: i64,
    pub(super) now_us: i64,
    pub(super) next_show_us: i64,
    /// Slots that changed since they were shown, by end of the window and key group.
    pub(super) pending: BTreeMap<(i64, u16), Vec<u32>>,
    /// Nobody knows what was shown before a restart.
    pub(super) all_pending: bool,
    late: LateRows,
}

impl AssignedAggregate {
    /// `key_groups`: those of this task.
    ///
    /// # Errors
    /// The position of a faulty aggregate, with what is wrong; also when two output columns share a name.
    pub fn new(spec: &WindowSpec, input: &SchemaRef, key_groups: Range<u16>) -> Result<Self, (usize, ExpressionError)> {
        let aggregates = spec.compile(input)?;
        let columns = aggregates.iter().map(Accumulator::new).collect();
        let place = |name| input.index_of(name).expect("the planner puts the columns of an assigned window in front");
        Ok(Self {
            firing: Firing::new(spec, &aggregates)?,
            showing: spec.showing,
            layout: spec.layout("assigned", "key=start+key bucket=end", &aggregates),
            aggregates,
            windows: BucketedTable::new(Accumulators { columns }, key_groups),
            bounds: ASSIGNED_COLUMNS.map(place),
            watermark_us: NO_WATERMARK,
            now_us: NO_WATERMARK,
            next_show_us: NO_WATERMARK,
            pending: BTreeMap::new(),
            all_pending: false,
            late: LateRows::default(),
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

    /// Takes rows in. Late rows and rejects go to `out`; results come when time goes on.
    pub(super) fn take_in(
        &mut self,
        KeyedBatch { batch, keys }: &KeyedBatch,
        out: &mut Outputs,
    ) -> Result<(), StepFault> {
        let mut rejects = Vec::new();
        let (mut placed, late) = self.place(batch, keys, &mut rejects);
        if !late.is_empty() {
            out.push_late(0, batch.take(&late)?);
        }
        let columns = &self.windows.empty().columns;
        let values = arguments(&self.aggregates, columns, batch, &mut placed, &mut rejects)?;
        sort(&mut placed, self.windows.key_groups());
        let starts = times(batch, self.bounds[0]);
        for rows in placed.chunk_by(Placed::is_beside) {
            self.fold(rows, starts, keys, &values, &mut rejects)?;
        }
        rejects.sort_by_key(|reject| reject.row);
        rejects.dedup_by_key(|reject| reject.row);
        out.reject(STAGE, batch, rejects)
    }

    /// Finds each row's bucket, and the rows that come too late for it.
    fn place(&mut self, batch: &Batch, keys: &KeyBatch, rejects: &mut Vec<Reject>) -> (Vec<Placed>, Vec<u32>) {
        let (mut placed, mut late) = (Vec::with_capacity(batch.rows()), Vec::new());
        let rows = times(batch, self.bounds[1]).iter().zip(batch.watermarks_us.iter()).zip(keys.key_groups());
        for (row, ((end, watermark_us), key_group)) in (0u32..).zip(rows) {
            let kept_until = end.saturating_add(self.showing.lateness_us);
            if let Some(refused) = not_an_insert(&batch.changes, row) {
                rejects.push(refused);
            } else if kept_until <= *watermark_us {
                self.late.behind_watermark += 1;
                late.push(row);
            } else if kept_until <= self.watermark_us {
                self.late.window_fired += 1;
                late.push(row);
            } else {
                placed.push(Placed { bucket: *end, key_group: *key_group, row });
            }
        }
        (placed, late)
    }

    /// Folds rows of one bucket and key group into its table.
    fn fold(
        &mut self,
        placed: &[Placed],
        starts: &[i64],
        keys: &KeyBatch,
        values: &[Argument],
        rejects: &mut Vec<Reject>,
    ) -> Result<(), StepFault> {
        let Placed { bucket: end, key_group, .. } = placed[0];
        let rows: Vec<u32> = placed.iter().map(|placed| placed.row).collect();
        let key = |row: &u32| window_key(starts[*row as usize], keys.key(*row as usize));
        let stored: Vec<Vec<u8>> = rows.iter().map(key).collect();
        let table = self.windows.table(end, key_group).map_err(|error| internal(&error))?;
        let mut slots = Vec::with_capacity(rows.len());
        table.touch(stored.iter().map(|key| (hash(key), key.as_slice())), &mut slots);
        let touched = Touched { rows: &rows, slots: &slots };
        fold::fold(&self.aggregates, &mut table.slots_mut().columns, values, touched, rejects)?;
        if self.showing.updates() || end <= self.watermark_us {
            let pending = self.pending.entry((end, key_group)).or_default();
            pending.extend_from_slice(&slots);
            // A throttled key may change any number of times before it is shown.
            if pending.len() > 2 * table.len() {
                pending.sort_unstable();
                pending.dedup();
            }
        }
        Ok(())
    }

    /// Time has come to `watermark_us`: closes all windows that end by then, oldest first, and lets go of those that take no
    /// more rows. The end of time closes everything, but what a later run may still correct is kept.
    ///
    /// # Errors
    /// [`StepFault::Internal`] when the state cannot be read.
    pub(super) fn advance_to(&mut self, watermark_us: i64, out: &mut Outputs) -> Result<(), StepFault> {
        while let Some(end) = self.next_end().filter(|end| *end <= watermark_us) {
            self.show_pending(out)?;
            if self.showing.emit != Emit::OnUpdate {
                self.give_out(end, None, out)?;
            }
            self.watermark_us = end;
        }
        let ended = watermark_us == END_OF_TIME;
        let reached_us = if ended { self.watermark_us } else { self.watermark_us.max(watermark_us) };
        let gone_us = reached_us.saturating_sub(self.showing.lateness_us);
        // What is about to go, or to wait for another run, is shown whatever the throttle says.
        if ended || self.windows.first_bucket().is_some_and(|end| end <= gone_us) {
            self.show_pending(out)?;
        }
        self.watermark_us = reached_us;
        while let Some(end) = self.windows.first_bucket().filter(|end| *end <= gone_us) {
            self.windows.take_bucket(end).map_err(|error| internal(&error))?;
        }
        Ok(())
    }

    /// The end of the first window that is open and has rows.
    pub(super) fn next_end(&self) -> Option<i64> {
        self.windows.first_bucket_from(self.watermark_us.saturating_add(1))
    }

    /// Shows what changed in open windows, where they show updates, and in closed ones that are kept for corrections.
    pub(super) fn show_pending(&mut self, out: &mut Outputs) -> Result<(), StepFault> {
        self.resolve_pending().map_err(|error| internal(&error))?;
        if self.pending.is_empty() {
            return Ok(());
        }
        let mut changed = BTreeMap::<i64, Vec<(u16, u32)>>::new();
        for ((end, key_group), mut slots) in std::mem::take(&mut self.pending) {
            slots.sort_unstable();
            slots.dedup();
            changed.entry(end).or_default().extend(slots.into_iter().map(|slot| (key_group, slot)));
        }
        for (end, slots) in changed {
            if end <= self.watermark_us || self.showing.updates() {
                self.give_out(end, Some(&slots), out)?;
            }
        }
        self.next_show_us = self.now_us.saturating_add(self.showing.throttle_us);
        Ok(())
    }

    /// Notes all that is held if that was put off until now.
    fn resolve_pending(&mut self) -> Result<(), TableError> {
        if !std::mem::take(&mut self.all_pending) {
            return Ok(());
        }
        for end in self.windows.buckets().collect::<Vec<_>>() {
            for (key_group, table) in self.windows.bucket(end)? {
                self.pending.insert((end, key_group), (0..table.len() as u32).collect());
            }
        }
        Ok(())
    }

    /// Gives out the windows with one end, or of them the slots (key group, slot), by start and key.
    fn give_out(&mut self, end: i64, only: Option<&[(u16, u32)]>, out: &mut Outputs) -> Result<(), StepFault> {
        let tables: Vec<(u16, &KeyTable)> = self.windows.bucket(end).map_err(|error| internal(&error))?.collect();
        let mut places = Vec::new();
        for (number, (key_group, table)) in (0..).zip(&tables) {
            let place = |slot| Place { table: number, slot };
            match only {
                None => places.extend((0..table.len() as u32).map(place)),
                Some(only) => {
                    places.extend(only.iter().filter(|(of, _)| of == key_group).map(|(_, slot)| place(*slot)))
                }
            }
        }
        let key = |place: &Place| tables[place.table as usize].1.key(place.slot);
        places.sort_unstable_by(|one, other| key(one).cmp(key(other)));
        let accumulators: Vec<&Accumulators> = tables.iter().map(|(_, table)| table.slots()).collect();
        let kind = if self.showing.is_upsert() { ChangeKind::UpdateAfter } else { ChangeKind::Insert };
        for places in places.chunks(FIRED_BATCH_ROWS) {
            let spans: Vec<(i64, i64)> = places.iter().map(|place| (split_window_key(key(place)).0, end)).collect();
            let keys: Vec<&[u8]> = places.iter().map(|place| split_window_key(key(place)).1).collect();
            self.firing.give_out(&spans, &keys, &accumulators, places, kind, out)?;
        }
        Ok(())
    }

    /// An empty one for some of the key groups.
    pub(super) fn empty_twin(&self, key_groups: Range<u16>) -> Self {
        Self {
            aggregates: self.aggregates.clone(),
            firing: self.firing.clone(),
            layout: self.layout.clone(),
            windows: BucketedTable::new(self.windows.empty().clone(), key_groups),
            pending: BTreeMap::new(),
            all_pending: false,
            late: LateRows::default(),
            ..*self
        }
    }
}

fn times(batch: &Batch, column: usize) -> &[i64] {
    batch.columns.column(column).as_primitive::<TimestampMicrosecondType>().values()
}

fn window_key(start: i64, key: &[u8]) -> Vec<u8> {
    let mut stored = Vec::with_capacity(START_BYTES + key.len());
    stored.extend_from_slice(&(start ^ i64::MIN).to_be_bytes());
    stored.extend_from_slice(key);
    stored
}

/// The window's start, and the key itself.
pub(super) fn split_window_key(stored: &[u8]) -> (i64, &[u8]) {
    let split = stored.split_first_chunk::<START_BYTES>();
    let (start, key) = split.expect("a restored key was seen to begin with a start");
    (i64::from_be_bytes(*start) ^ i64::MIN, key)
}
