//! The join of two streams in one task: each row meets what the other side holds, then waits for what is still to come.
//!
//! Invariant: of two rows that match, the later one to come finds the earlier one, whatever the batches and tasks. A row is
//! held as long as a row that is on time may match it, and leaves with its bucket. When an outer row comes out follows from
//! its time and the watermark alone, so timers need no store of their own: what is older than the restored watermark was
//! given out.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::ops::{Range, RangeInclusive};

use arrow_array::cast::AsArray;
use arrow_array::{Array, BooleanArray};
use arrow_schema::SchemaRef;
use weir_state::table::{NewRow, RowId, RowsTable, TableError};
use weir_stream::time::{END_OF_TIME, NO_WATERMARK};
use weir_stream::{Batch, ChangeKind, Reject};

use super::pairs::{Pairs, SideRows};
use super::{Bounds, JoinKind, JoinSpec, LEFT, RIGHT, STAGE};
use crate::expression::{ExpressionError, Predicate};
use crate::key::{KeyBatch, KeyedBatch, has_null};
use crate::operator::{Outputs, StepFault};
use crate::window::WindowGrid;

/// Pairs that are looked at together, and rows of one batch given out.
pub const PAIRS_AT_ONCE: usize = 8192;

/// A join of two streams for a range of key groups.
#[derive(Debug, Clone)]
pub struct StreamJoin {
    pub(super) kind: JoinKind,
    /// Pairs wait for the end of their left row's time.
    pub(super) gathers: bool,
    pub(super) bounds: Bounds,
    pub(super) buckets: WindowGrid,
    pub(super) filter: Option<Predicate>,
    pub(super) pairs: Pairs,
    pub(super) layout: String,
    pub(super) sides: [RowsTable; 2],
    /// Rows that come out unless something matches them, by time.
    pub(super) waiting: [BinaryHeap<Reverse<(i64, RowId)>>; 2],
    pub(super) watermark_us: i64,
}

/// Rows of a batch that may match, with what is known of them so far.
struct Arriving<'a> {
    port: usize,
    batch: &'a Batch,
    keys: &'a KeyBatch,
    /// By row of the batch.
    matched: Vec<bool>,
}

/// A row of the batch and a row of the other side with its time.
#[derive(Clone, Copy)]
struct Candidate {
    row: u32,
    other: RowId,
    other_time_us: i64,
}

/// Why there is no such join.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum JoinError {
    /// For people: columns that do not go together.
    Columns(String),
    Filter(ExpressionError),
}

impl StreamJoin {
    /// `sides`: the columns of either; `key_groups`: those of this task.
    ///
    /// # Errors
    /// See [`JoinError`].
    pub fn new(spec: &JoinSpec, sides: [&SchemaRef; 2], key_groups: Range<u16>) -> Result<Self, JoinError> {
        let makes_pairs = spec.kind.gives_pairs() || spec.filter.is_some();
        let pairs = Pairs::new(&spec.step, spec.kind, &spec.prefix, makes_pairs, sides);
        let pairs = pairs.map_err(JoinError::Columns)?;
        let pairs = if spec.gathers { pairs.by_group() } else { pairs };
        let filter = spec.filter.as_deref().map(|text| Predicate::compile(text, pairs.schema()));
        let filter = filter.transpose().map_err(JoinError::Filter)?;
        let [left, right] = [LEFT, RIGHT].map(|side| pairs.formats[side].layout());
        let (kind, bounds, gathers) = (spec.kind, spec.bounds.clone(), spec.gathers);
        let gathered = if gathers { "gathered " } else { "" };
        Ok(Self {
            kind,
            gathers,
            buckets: bounds.buckets(),
            filter,
            layout: format!("join/1 {gathered}{} {} left {left} right {right}", kind.name(), bounds.layout()),
            bounds,
            pairs,
            sides: [LEFT, RIGHT].map(|side| RowsTable::new(side as u8, key_groups.clone())),
            waiting: Default::default(),
            watermark_us: NO_WATERMARK,
        })
    }

    pub fn output_schema(&self) -> &SchemaRef {
        self.pairs.output()
    }

    pub(super) fn empty_twin(&self, key_groups: Range<u16>) -> Self {
        Self {
            sides: [LEFT, RIGHT].map(|side| RowsTable::new(side as u8, key_groups.clone())),
            waiting: Default::default(),
            pairs: self.pairs.clone(),
            filter: self.filter.clone(),
            layout: self.layout.clone(),
            bounds: self.bounds.clone(),
            buckets: self.buckets.clone(),
            ..*self
        }
    }

    pub(super) fn take_in(&mut self, port: usize, keyed: &KeyedBatch, out: &mut Outputs) -> Result<(), StepFault> {
        let KeyedBatch { batch, keys } = keyed;
        let live = self.place(port, batch, keys, out)?;
        let mut arriving = Arriving { port, batch, keys, matched: vec![false; batch.rows()] };
        let mut candidates = Vec::new();
        let meeting = if self.gathers { &[] } else { live.as_slice() };
        for row in meeting {
            self.candidates(&mut arriving, *row, &mut candidates, out)?;
        }
        self.meet(&mut arriving, &mut candidates, out)?;
        self.hold(&arriving, &live)
    }

    /// The rows that may match; late ones, refused ones and those without a key leave here.
    fn place(&self, port: usize, batch: &Batch, keys: &KeyBatch, out: &mut Outputs) -> Result<Vec<u32>, StepFault> {
        let (mut live, mut late, mut alone, mut rejects) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        let times = batch.event_times_us.iter().zip(batch.watermarks_us.iter());
        for (row, (time_us, row_watermark_us)) in (0u32..).zip(times) {
            let kind = batch.changes.kind(row as usize);
            if kind != ChangeKind::Insert {
                rejects.push(Reject::new(
                    row,
                    "change-kind",
                    format!("a join takes new rows alone, this one is {kind:?}"),
                ));
            } else if self.buckets.pane_of(*time_us).is_none() {
                let reason = format!("nothing can be held for event time {time_us} us in 64-bit microseconds");
                rejects.push(Reject::new(row, "event-time", reason));
            } else if self.bounds.on_time_until(*time_us) < (*row_watermark_us).max(self.watermark_us) {
                late.push(row);
            } else if has_null(keys.key(row as usize)) {
                alone.push(row);
            } else {
                live.push(row);
            }
        }
        out.reject(STAGE, batch, rejects)?;
        if !late.is_empty() {
            out.push_late(port, batch.take(&late)?);
        }
        if !alone.is_empty() && self.kind.gives_unmatched(port) {
            let times = alone.iter().map(|row| batch.event_times_us[*row as usize]).collect();
            self.give_alone(port, SideRows::Incoming(&batch.columns, alone), times, out)?;
        }
        Ok(live)
    }

    /// Gives out rows of one side without a match.
    fn give_alone(&self, side: usize, rows: SideRows, times_us: Vec<i64>, out: &mut Outputs) -> Result<(), StepFault> {
        if self.gathers {
            return self.give_groups_of_one(&rows, times_us, out);
        }
        let absent = SideRows::Absent(times_us.len());
        let batch = match (self.kind.gives_pairs(), side) {
            (false, _) => self.pairs.left(&rows, times_us)?,
            (true, LEFT) => self.pairs.beside(&rows, &absent, times_us)?,
            (true, _) => self.pairs.beside(&absent, &rows, times_us)?,
        };
        out.push(0, batch);
        Ok(())
    }

    /// Finds what a row may match; looks at the pairs when there are enough.
    fn candidates(
        &mut self,
        arriving: &mut Arriving,
        row: u32,
        candidates: &mut Vec<Candidate>,
        out: &mut Outputs,
    ) -> Result<(), StepFault> {
        let number = row as usize;
        let other = 1 - arriving.port;
        let meets = self.bounds.meets(arriving.port, arriving.batch.event_times_us[number]);
        let buckets = self.buckets_of(&meets);
        let (group, hash) = (arriving.keys.key_groups()[number], arriving.keys.hashes()[number]);
        self.sides[other].warm(buckets.clone(), group, hash).map_err(|error| internal(&error))?;
        let found = self.sides[other].find(buckets, group, hash, arriving.keys.key(number));
        for id in found {
            let time_us = self.sides[other].time_us(id).unwrap_or(NO_WATERMARK);
            if meets.contains(&time_us) && !(other == LEFT && self.is_done(id)) {
                candidates.push(Candidate { row, other: id, other_time_us: time_us });
            }
        }
        // A hot key may have more matches than should be looked at together.
        while candidates.len() >= PAIRS_AT_ONCE {
            let mut rest = candidates.split_off(PAIRS_AT_ONCE);
            self.meet(arriving, candidates, out)?;
            candidates.append(&mut rest);
        }
        Ok(())
    }

    /// Where rows of these times are held.
    pub(super) fn buckets_of(&self, times_us: &RangeInclusive<i64>) -> RangeInclusive<i64> {
        let bucket = |time_us: i64, beyond: i64| self.buckets.pane_of(time_us).map_or(beyond, |(start, _)| start);
        bucket(*times_us.start(), i64::MIN)..=bucket(*times_us.end(), i64::MAX)
    }

    /// Whether a left row has said all that it will: it is given out, or never will be.
    fn is_done(&self, id: RowId) -> bool {
        !self.kind.gives_pairs() && self.sides[LEFT].is_marked(id)
    }

    /// Judges pairs, gives out what comes of them, and notes who has a match. Leaves `candidates` empty.
    fn meet(
        &mut self,
        arriving: &mut Arriving,
        candidates: &mut Vec<Candidate>,
        out: &mut Outputs,
    ) -> Result<(), StepFault> {
        let matches = self.judge(arriving, std::mem::take(candidates), out)?;
        if matches.is_empty() {
            return Ok(());
        }
        let other = 1 - arriving.port;
        if !self.kind.gives_pairs() {
            return self.meet_left(arriving, &matches, out);
        }
        if self.filter.is_none() {
            out.push(0, self.pair(arriving, &matches)?);
        }
        for candidate in &matches {
            arriving.matched[candidate.row as usize] = true;
            if self.kind.gives_unmatched(other) {
                self.sides[other].mark(candidate.other);
            }
        }
        Ok(())
    }

    /// The left rows that have found their first match: `semi` gives them out, `anti` forgets them.
    fn meet_left(
        &mut self,
        arriving: &mut Arriving,
        matches: &[Candidate],
        out: &mut Outputs,
    ) -> Result<(), StepFault> {
        let times = &arriving.batch.event_times_us;
        let (mut rows, mut stored, mut times_us) = (Vec::new(), Vec::new(), Vec::new());
        for candidate in matches {
            if arriving.port == LEFT {
                if !std::mem::replace(&mut arriving.matched[candidate.row as usize], true) {
                    rows.push(candidate.row);
                    times_us.push(times[candidate.row as usize]);
                }
            } else if !self.sides[LEFT].is_marked(candidate.other) {
                self.sides[LEFT].mark(candidate.other);
                stored.push(candidate.other);
                times_us.push(candidate.other_time_us);
            }
        }
        if self.kind == JoinKind::Semi && !times_us.is_empty() {
            let stored = stored.iter().map(|id| self.sides[LEFT].row(*id)).collect();
            let side = match arriving.port {
                LEFT => SideRows::Incoming(&arriving.batch.columns, rows),
                _ => SideRows::Stored(stored),
            };
            out.push(0, self.pairs.left(&side, times_us)?);
        }
        Ok(())
    }

    /// Those of the candidates that fulfil the condition. Where pairs come out they are given out on the way, as they have
    /// been made for the condition already.
    fn judge(
        &self,
        arriving: &Arriving,
        candidates: Vec<Candidate>,
        out: &mut Outputs,
    ) -> Result<Vec<Candidate>, StepFault> {
        let Some(filter) = self.filter.as_ref().filter(|_| !candidates.is_empty()) else { return Ok(candidates) };
        let batch = self.pair(arriving, &candidates)?;
        let evaluated = filter.evaluate(&batch);
        out.reject(STAGE, &batch, evaluated.rejects)?;
        let rows = true_rows(evaluated.array.as_boolean());
        if self.kind.gives_pairs() {
            out.push(0, if rows.len() == batch.rows() { batch } else { batch.take(&rows)? });
        }
        Ok(rows.iter().map(|row| candidates[*row as usize]).collect())
    }

    fn pair(&self, arriving: &Arriving, pairs: &[Candidate]) -> Result<Batch, StepFault> {
        let incoming = pairs.iter().map(|pair| pair.row).collect();
        let incoming = SideRows::Incoming(&arriving.batch.columns, incoming);
        let other = &self.sides[1 - arriving.port];
        let stored = SideRows::Stored(pairs.iter().map(|pair| other.row(pair.other)).collect());
        let times = &arriving.batch.event_times_us;
        let times_us = pairs.iter().map(|pair| times[pair.row as usize].max(pair.other_time_us)).collect();
        match arriving.port {
            LEFT => self.pairs.beside(&incoming, &stored, times_us),
            _ => self.pairs.beside(&stored, &incoming, times_us),
        }
    }

    /// Puts the batch's rows where the other side's will find them.
    fn hold(&mut self, arriving: &Arriving, live: &[u32]) -> Result<(), StepFault> {
        let Arriving { port, batch, keys, matched } = arriving;
        let writer = self.pairs.formats[*port].writer(&batch.columns);
        let mut bytes = Vec::new();
        for row in live.iter().map(|row| *row as usize) {
            let (time_us, is_marked) = (batch.event_times_us[row], matched[row]);
            if *port == LEFT && is_marked && !self.kind.gives_pairs() {
                continue;
            }
            bytes.clear();
            writer.write(row, &mut bytes);
            let (bucket, _) = self.buckets.pane_of(time_us).expect("rows without a bucket were refused");
            let row_of = NewRow { time_us, is_marked, hash: keys.hashes()[row], key: keys.key(row), row: &bytes };
            let id =
                self.sides[*port].insert(bucket, keys.key_groups()[row], row_of).map_err(|error| internal(&error))?;
            self.wait(*port, id, time_us, is_marked);
        }
        Ok(())
    }

    /// Lets a row of the state wait for its match or for the watermark.
    pub(super) fn wait(&mut self, side: usize, id: RowId, time_us: i64, is_marked: bool) {
        if !is_marked && self.waits(side) {
            self.waiting[side].push(Reverse((time_us, id)));
        }
    }

    /// Whether rows of a side wait for the end of their time.
    fn waits(&self, side: usize) -> bool {
        self.kind.gives_unmatched(side) || (self.gathers && side == LEFT)
    }

    pub(super) fn pass(&mut self, watermark_us: i64, out: &mut Outputs) -> Result<(), StepFault> {
        if watermark_us <= self.watermark_us {
            return Ok(());
        }
        self.watermark_us = watermark_us;
        if self.gathers {
            let due = self.due(LEFT)?;
            self.gather(due, out)?;
        } else {
            self.give_unmatched(out)?;
        }
        for side in [LEFT, RIGHT] {
            while let Some(bucket) = self.sides[side].first_bucket().filter(|bucket| self.is_over(side, *bucket)) {
                self.sides[side].drop_bucket(bucket);
            }
        }
        Ok(())
    }

    /// Gives out the rows that nothing can match any more and nothing has.
    fn give_unmatched(&mut self, out: &mut Outputs) -> Result<(), StepFault> {
        let mut due: Vec<(i64, usize, RowId)> = Vec::new();
        for side in [LEFT, RIGHT] {
            let unmatched = self.due(side)?.into_iter().filter(|(_, id)| !self.sides[side].is_marked(*id));
            due.extend(unmatched.map(|(time_us, id)| (time_us, side, id)));
        }
        due.sort_unstable();
        for rows in due.chunk_by(|a, b| a.1 == b.1).flat_map(|run| run.chunks(PAIRS_AT_ONCE)) {
            let side = rows[0].1;
            let stored = rows.iter().map(|(_, _, id)| self.sides[side].row(*id)).collect();
            let times_us = rows.iter().map(|(time_us, _, _)| *time_us).collect();
            self.give_alone(side, SideRows::Stored(stored), times_us, out)?;
        }
        Ok(())
    }

    /// As [`StreamJoin::take_due`], in memory and each once. After a restart rows may wait that had been let go, and others
    /// be in their place.
    fn due(&mut self, side: usize) -> Result<Vec<(i64, RowId)>, StepFault> {
        let mut due = self.take_due(side);
        due.dedup();
        for (_, id) in &due {
            self.sides[side].warm_row(*id).map_err(|error| internal(&error))?;
        }
        due.retain(|(time_us, id)| self.sides[side].time_us(*id) == Some(*time_us));
        Ok(due)
    }

    /// The rows of a side that nothing can match any more, by time; something may have matched them, or they are gone.
    pub(super) fn take_due(&mut self, side: usize) -> Vec<(i64, RowId)> {
        let mut due = Vec::new();
        while let Some(Reverse((time_us, id))) = self.waiting[side].peek().copied() {
            if !self.is_past(self.kept_until(side, time_us)) {
                break;
            }
            self.waiting[side].pop();
            due.push((time_us, id));
        }
        due
    }

    /// The last watermark at which a row must be there: for a match, or to be gathered with the last left row that it meets.
    pub(super) fn kept_until(&self, side: usize, time_us: i64) -> i64 {
        match (self.gathers, side) {
            (true, RIGHT) => self.bounds.kept_until(LEFT, *self.bounds.meets(RIGHT, time_us).end()),
            _ => self.bounds.kept_until(side, time_us),
        }
    }

    fn is_past(&self, last_watermark_us: i64) -> bool {
        self.watermark_us > last_watermark_us || self.watermark_us == END_OF_TIME
    }

    /// Whether no row of a bucket can find a match any more.
    fn is_over(&self, side: usize, bucket: i64) -> bool {
        self.is_past(self.kept_until(side, self.buckets.end_of(bucket).saturating_sub(1)))
    }

    /// The time of what may still be given out.
    pub(super) fn held_back(&self, watermark_us: i64) -> i64 {
        if watermark_us == END_OF_TIME || watermark_us == NO_WATERMARK {
            return watermark_us;
        }
        let waiting = [self.waits(LEFT) || self.kind == JoinKind::Semi, self.waits(RIGHT)];
        watermark_us.saturating_sub(self.bounds.held_back_us(waiting))
    }
}

pub(super) fn true_rows(mask: &BooleanArray) -> Vec<u32> {
    (0..mask.len() as u32).filter(|row| mask.is_valid(*row as usize) && mask.value(*row as usize)).collect()
}

pub(super) fn internal(error: &TableError) -> StepFault {
    StepFault::Internal(error.to_string())
}
