//! Sessions: rows of a key with less than a gap between them, whatever their order.
//!
//! A row at `t` with the gap `g` spans `[t, t + g)`; spans that overlap are one session, so rows exactly a gap apart are
//! in two. A session closes when the watermark passes its end.
//!
//! Invariant: the final table depends on which rows are in time, and not on their order, batches or tasks. So a row is
//! late when its own time is behind the watermark of its partition by more than the lateness: only then no row that
//! counts can reach a session that is gone. (By the end of its span, as windows of a fixed length judge, a row could
//! still extend a session that was closed just before it.) Give `lateness`, or more `disorder`, for rows that come later.
//!
//! Where results replace each other a session is known by its key and its start. One that grows to the left, or is
//! swallowed by another, leaves with a delete.

use std::cmp::Reverse;
use std::collections::BTreeSet;
use std::collections::binary_heap::PeekMut;
use std::ops::Range;

use arrow_array::cast::AsArray;
use arrow_array::types::Int64Type;
use arrow_array::{Array, Int64Array};
use arrow_cast::cast;
use arrow_schema::{DataType, SchemaRef};
use weir_state::table::TableError;
use weir_stream::time::{END_OF_TIME, NO_WATERMARK};
use weir_stream::{Batch, ChangeKind, Reject};

use super::accumulator::Accumulator;
use super::argument::Argument;
use super::finish::Place;
use super::fire::{FIRED_BATCH_ROWS, Firing};
use super::place::{Placed, arguments, beyond_time, not_an_insert, sort};
use super::slots::Accumulators;
use super::spans::{Joined, Session, SpanTable, Spans, Timers};
use super::update::Touched;
use super::{Aggregate, Emit, LateRows, STAGE, Showing, WindowSpec, WindowTime, fold};
use crate::expression::{Expression, ExpressionError, type_name};
use crate::key::{KeyBatch, KeyedBatch};
use crate::operator::{Outputs, StepFault};

/// The longest gap: a session must end some day.
pub const MAX_GAP_US: i64 = 366 * 86_400_000_000;

/// How far apart rows of one session may be.
#[derive(Debug, Clone)]
pub enum SessionGap {
    Fixed {
        gap_us: i64,
    },
    /// Milliseconds, by row.
    By(Expression),
}

impl SessionGap {
    /// Compiles a gap that depends on the row.
    ///
    /// # Errors
    /// An [`ExpressionError`], also when it does not give whole numbers.
    pub fn by(text: &str, input: &SchemaRef) -> Result<Self, ExpressionError> {
        let gap = Expression::compile(text, input)?;
        if gap.data_type().is_integer() {
            return Ok(Self::By(gap));
        }
        let message = format!("a gap is a whole number of milliseconds, this gives {}", type_name(gap.data_type()));
        Err(ExpressionError { message, span: Some(0..text.len()), suggestion: None })
    }
}

/// A keyed aggregation over sessions for a range of key groups.
#[derive(Debug, Clone)]
pub struct SessionAggregate {
    gap: SessionGap,
    pub(super) aggregates: Vec<Aggregate>,
    firing: Firing,
    pub(super) showing: Showing,
    pub(super) time: WindowTime,
    pub(super) layout: String,
    pub(super) key_groups: Range<u16>,
    /// By key group of the range.
    pub(super) tables: Vec<SpanTable>,
    /// When which key is to be looked at.
    pub(super) timers: Timers,
    /// The key group that keys leave memory from next.
    pub(super) hand: usize,
    /// Keys with sessions that changed since they were shown.
    pub(super) pending: BTreeSet<(u16, Box<[u8]>)>,
    pub(super) watermark_us: i64,
    pub(super) now_us: i64,
    pub(super) next_show_us: i64,
    late: LateRows,
}

/// A session and its key.
pub(super) type Keyed = (u16, Box<[u8]>, Session);

impl SessionAggregate {
    /// `key_groups`: those of this task.
    ///
    /// # Errors
    /// The position of a faulty aggregate, with what is wrong; also when two output columns share a name.
    pub fn new(
        spec: &WindowSpec,
        gap: &SessionGap,
        input: &SchemaRef,
        key_groups: Range<u16>,
    ) -> Result<Self, (usize, ExpressionError)> {
        let aggregates = spec.compile(input)?;
        let columns = aggregates.iter().map(Accumulator::new).collect();
        let table = SpanTable::new(Accumulators { columns });
        let shape = match gap {
            SessionGap::Fixed { gap_us } => format!("spans={} gap_us={gap_us}", super::spans::SPANS_VERSION),
            SessionGap::By(gap) => format!("spans={} gap_by={}", super::spans::SPANS_VERSION, gap.text()),
        };
        Ok(Self {
            gap: gap.clone(),
            firing: Firing::new(spec, &aggregates)?,
            showing: spec.showing,
            time: spec.time,
            layout: spec.layout("session", &shape, &aggregates),
            aggregates,
            tables: key_groups.clone().map(|_| table.clone()).collect(),
            key_groups,
            timers: Timers::new(),
            hand: 0,
            pending: BTreeSet::new(),
            watermark_us: NO_WATERMARK,
            now_us: NO_WATERMARK,
            next_show_us: NO_WATERMARK,
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

    pub(super) fn table(&mut self, key_group: u16) -> Result<&mut SpanTable, TableError> {
        let Range { start: first, end } = self.key_groups;
        if !self.key_groups.contains(&key_group) {
            return Err(TableError::ForeignKeyGroup { key_group, first, end });
        }
        Ok(&mut self.tables[usize::from(key_group - first)])
    }

    /// Takes rows in: late rows and rejects go to `out`, and sessions that were shown and are no more.
    pub(super) fn take_in(&mut self, keyed: &KeyedBatch, out: &mut Outputs) -> Result<(), StepFault> {
        let (batch, keys) = (&keyed.batch, &keyed.keys);
        let (watermark_us, lateness_us) = (self.watermark_us, self.showing.lateness_us);
        let warmed = self.spans().warm(keys, |held| due(&held.sessions, watermark_us, lateness_us));
        warmed.map_err(|error| super::internal(&error))?;
        let mut rejects = Vec::new();
        let gaps = self.gaps(batch, &mut rejects)?;
        let mut spans = vec![(0, 0); batch.rows()];
        let mut placed = self.place(keyed, gaps.as_ref(), &mut spans, &mut rejects, out)?;
        let columns = &self.tables[0].accumulators.columns;
        let values = arguments(&self.aggregates, columns, batch, &mut placed, &mut rejects)?;
        sort(&mut placed, self.key_groups.clone());
        for rows in placed.chunk_by(Placed::is_beside) {
            self.fold(rows, &spans, keys, &values, &mut rejects, out)?;
        }
        rejects.sort_by_key(|reject| reject.row);
        rejects.dedup_by_key(|reject| reject.row);
        out.reject(STAGE, batch, rejects)
    }

    fn time_of(&self, batch: &Batch, row: u32) -> i64 {
        match self.time {
            WindowTime::Event => batch.event_times_us[row as usize],
            WindowTime::Processing => self.now_us,
        }
    }

    /// The gap of each row, in milliseconds; none where it is the same for all.
    fn gaps(&self, batch: &Batch, rejects: &mut Vec<Reject>) -> Result<Option<Int64Array>, StepFault> {
        let SessionGap::By(expression) = &self.gap else { return Ok(None) };
        let evaluated = expression.evaluate(batch);
        rejects.extend(evaluated.rejects);
        Ok(Some(cast(&evaluated.array, &DataType::Int64)?.as_primitive::<Int64Type>().clone()))
    }

    fn gap_us(&self, gaps: Option<&Int64Array>, row: u32) -> Result<i64, String> {
        let SessionGap::Fixed { gap_us } = &self.gap else {
            let gaps = gaps.expect("gaps by row were evaluated");
            let gap_ms = gaps.is_valid(row as usize).then(|| gaps.value(row as usize));
            let gap_us = gap_ms.and_then(|gap| gap.checked_mul(1000)).filter(|gap| (1..=MAX_GAP_US).contains(gap));
            let told = gap_ms.map_or("null".to_owned(), |gap| format!("{gap} ms"));
            return gap_us.ok_or_else(|| format!("a session's gap is from 1 ms to 366 days, this row's is {told}"));
        };
        Ok(*gap_us)
    }

    /// Finds each row's span; late rows leave here.
    fn place(
        &mut self,
        KeyedBatch { batch, keys }: &KeyedBatch,
        gaps: Option<&Int64Array>,
        spans: &mut [(i64, i64)],
        rejects: &mut Vec<Reject>,
        out: &mut Outputs,
    ) -> Result<Vec<Placed>, StepFault> {
        let (mut placed, mut late) = (Vec::with_capacity(batch.rows()), Vec::new());
        let refused: BTreeSet<u32> = rejects.iter().map(|reject| reject.row).collect();
        for (row, key_group) in (0u32..).zip(keys.key_groups()).filter(|(row, _)| !refused.contains(row)) {
            let time_us = self.time_of(batch, row);
            let kept_until = time_us.saturating_add(self.showing.lateness_us);
            let is_event = self.time == WindowTime::Event;
            if let Some(refused) = not_an_insert(&batch.changes, row) {
                rejects.push(refused);
            } else if is_event && kept_until < batch.watermarks_us[row as usize] {
                self.late.behind_watermark += 1;
                late.push(row);
            } else if is_event && kept_until < self.watermark_us {
                self.late.window_fired += 1;
                late.push(row);
            } else {
                match self.gap_us(gaps, row).map(|gap_us| time_us.checked_add(gap_us)) {
                    Err(reason) => rejects.push(Reject::new(row, "gap", reason)),
                    Ok(None) => rejects.push(beyond_time(row, time_us)),
                    Ok(Some(end)) => {
                        spans[row as usize] = (time_us, end);
                        placed.push(Placed { bucket: 0, key_group: *key_group, row });
                    }
                }
            }
        }
        if !late.is_empty() {
            out.push_late(0, batch.take(&late)?);
        }
        Ok(placed)
    }

    /// Puts rows of one key group into their sessions.
    fn fold(
        &mut self,
        placed: &[Placed],
        spans: &[(i64, i64)],
        keys: &KeyBatch,
        values: &[Argument],
        rejects: &mut Vec<Reject>,
        out: &mut Outputs,
    ) -> Result<(), StepFault> {
        let key_group = placed[0].key_group;
        let rows: Vec<u32> = placed.iter().map(|placed| placed.row).collect();
        let table = self.table(key_group).map_err(|error| super::internal(&error))?;
        let (mut slots, mut joined) = (Vec::with_capacity(rows.len()), Joined::default());
        for row in &rows {
            slots.push(table.join(keys.key(*row as usize), spans[*row as usize], &mut joined));
        }
        table.grow();
        let retired = joined.retired.drain(..).map(|(key, session)| (key_group, key, session)).collect();
        self.give_out(retired, ChangeKind::Delete, out)?;
        let number = usize::from(key_group - self.key_groups.start);
        let table = &mut self.tables[number];
        let touched = Touched { rows: &rows, slots: &slots };
        fold::fold(&self.aggregates, &mut table.accumulators.columns, values, touched, rejects)?;
        let overflows = table.merge(&self.aggregates, &joined.pairs)?;
        for row in rows {
            let key = keys.key(row as usize);
            let held = table.get(key).expect("the row has just been put in");
            if let Some(overflow) =
                overflows.iter().find(|overflow| held.sessions.iter().any(|held| held.slot == overflow.pair.to))
            {
                rejects.push(overflow.joining(row, &self.aggregates[overflow.aggregate].name));
            }
            let due_us = due(&held.sessions, self.watermark_us, self.showing.lateness_us);
            if due_us < held.due_us {
                held.due_us = due_us;
                self.timers.push(Reverse((due_us, key_group, key.into())));
            }
            let is_closed = |session: &Session| session.changed && session.end <= self.watermark_us;
            if self.showing.updates() || held.sessions.iter().any(is_closed) {
                self.pending.insert((key_group, key.into()));
            }
        }
        Ok(())
    }

    /// Shows sessions that changed: open ones where updates are shown, and closed ones.
    pub(super) fn show_pending(&mut self, out: &mut Outputs) -> Result<(), StepFault> {
        if self.pending.is_empty() {
            return Ok(());
        }
        let (watermark_us, updates) = (self.watermark_us, self.showing.updates());
        let shows = |session: &Session| session.changed && (updates || session.end <= watermark_us);
        let shown = self.take_changed(shows);
        self.next_show_us = self.now_us.saturating_add(self.showing.throttle_us);
        self.give_out(shown, ChangeKind::UpdateAfter, out)
    }

    fn take_changed(&mut self, shows: impl Fn(&Session) -> bool) -> Vec<Keyed> {
        let mut shown = Vec::new();
        for (key_group, key) in std::mem::take(&mut self.pending) {
            let table = &mut self.tables[usize::from(key_group - self.key_groups.start)];
            let Some(held) = table.get(&key) else { continue };
            for session in held.sessions.iter_mut().filter(|session| shows(session)) {
                (session.changed, session.shown) = (false, true);
                shown.push((key_group, key.clone(), *session));
            }
            table.touch(&key);
        }
        shown
    }

    /// Time has come to `watermark_us`: gives out the sessions that end by then, oldest first, and lets go of those that
    /// take no more rows. The end of time closes everything, but what a later run may still correct is kept.
    ///
    /// # Errors
    /// [`StepFault::Internal`] when a key in the state cannot be read.
    pub(super) fn advance_to(&mut self, watermark_us: i64, out: &mut Outputs) -> Result<(), StepFault> {
        let (before_us, lateness_us) = (self.watermark_us, self.showing.lateness_us);
        let warmed = self.spans().warm_due(watermark_us, |held| due(&held.sessions, before_us, lateness_us));
        warmed.map_err(|error| super::internal(&error))?;
        self.show_pending_before(watermark_us, out)?;
        let (mut looked_at, mut closing, mut last_end) = (Vec::new(), Vec::new(), NO_WATERMARK);
        while let Some(timer) = self.timers.peek_mut().filter(|timer| timer.0.0 <= watermark_us) {
            let Reverse((due_us, key_group, key)) = PeekMut::pop(timer);
            let table = &mut self.tables[usize::from(key_group - self.key_groups.start)];
            let Some(held) = table.get(&key).filter(|held| held.due_us == due_us) else { continue };
            held.due_us = i64::MAX;
            let closes = |session: &&mut Session| session.end > self.watermark_us && session.end <= watermark_us;
            let mut closed = false;
            for session in held.sessions.iter_mut().filter(closes) {
                (closed, last_end) = (true, last_end.max(session.end));
                if self.showing.emit != Emit::OnUpdate || session.changed {
                    (session.changed, session.shown) = (false, true);
                    closing.push((key_group, key.clone(), *session));
                }
            }
            if closed {
                table.touch(&key);
            }
            looked_at.push((key_group, key));
        }
        let kind = if self.showing.is_upsert() { ChangeKind::UpdateAfter } else { ChangeKind::Insert };
        self.give_out(closing, kind, out)?;
        let reached_us = if watermark_us == END_OF_TIME { last_end } else { watermark_us };
        self.watermark_us = self.watermark_us.max(reached_us);
        self.let_go(looked_at);
        Ok(())
    }

    /// What is about to close, to go, or to wait for another run is shown whatever the throttle says.
    fn show_pending_before(&mut self, watermark_us: i64, out: &mut Outputs) -> Result<(), StepFault> {
        let due = self.timers.peek().is_some_and(|Reverse((due_us, _, _))| *due_us <= watermark_us);
        if due || watermark_us == END_OF_TIME { self.show_pending(out) } else { Ok(()) }
    }

    fn let_go(&mut self, looked_at: Vec<(u16, Box<[u8]>)>) {
        let (watermark_us, lateness_us) = (self.watermark_us, self.showing.lateness_us);
        let gone = |session: &Session| session.end.saturating_add(lateness_us) <= watermark_us;
        for (key_group, key) in looked_at {
            let table = &mut self.tables[usize::from(key_group - self.key_groups.start)];
            if let Some(held) = table.let_go(&key, gone) {
                held.due_us = due(&held.sessions, watermark_us, lateness_us);
                self.timers.push(Reverse((held.due_us, key_group, key)));
            }
        }
        self.tables.iter_mut().for_each(SpanTable::sweep);
    }

    fn give_out(&self, sessions: Vec<Keyed>, kind: ChangeKind, out: &mut Outputs) -> Result<(), StepFault> {
        give_out(&self.firing, &self.tables, self.key_groups.start, sessions, kind, out)
    }

    fn spans(&mut self) -> Spans<'_> {
        Spans { tables: &mut self.tables, first: self.key_groups.start, timers: &mut self.timers }
    }

    /// Sets the timer of a key that was put back.
    pub(super) fn watch(&mut self, key_group: u16, key: &[u8]) -> Result<(), TableError> {
        let throttled = self.showing.is_throttled();
        let Some(held) = self.table(key_group)?.get(key) else { return Ok(()) };
        let due_us = held.sessions.first().map_or(i64::MAX, |session| session.end);
        held.due_us = due_us;
        if throttled {
            // Nobody knows which changes were shown before the restart.
            held.sessions.iter_mut().for_each(|session| session.changed = true);
            self.pending.insert((key_group, key.into()));
        }
        self.timers.push(Reverse((due_us, key_group, key.into())));
        Ok(())
    }

    /// An empty one for some of the key groups.
    pub(super) fn empty_twin(&self, key_groups: Range<u16>) -> Self {
        let columns = self.aggregates.iter().map(Accumulator::new).collect();
        let table = SpanTable::new(Accumulators { columns });
        Self {
            tables: key_groups.clone().map(|_| table.clone()).collect(),
            key_groups,
            timers: Timers::new(),
            hand: 0,
            pending: BTreeSet::new(),
            late: LateRows::default(),
            layout: self.layout.clone(),
            gap: self.gap.clone(),
            aggregates: self.aggregates.clone(),
            firing: self.firing.clone(),
            ..*self
        }
    }
}

/// Results out of the tables of the key groups from `first_group` on, oldest first.
pub(super) fn give_out(
    firing: &Firing,
    tables: &[SpanTable],
    first_group: u16,
    mut sessions: Vec<Keyed>,
    kind: ChangeKind,
    out: &mut Outputs,
) -> Result<(), StepFault> {
    sessions.sort_by(|(_, a, one), (_, b, other)| (one.end, one.start, a).cmp(&(other.end, other.start, b)));
    let accumulators: Vec<&Accumulators> = tables.iter().map(|table| &table.accumulators).collect();
    for sessions in sessions.chunks(FIRED_BATCH_ROWS) {
        let spans: Vec<(i64, i64)> = sessions.iter().map(|(_, _, session)| (session.start, session.end)).collect();
        let place =
            |(key_group, _, session): &Keyed| Place { table: u32::from(*key_group - first_group), slot: session.slot };
        let places: Vec<Place> = sessions.iter().map(place).collect();
        let keys: Vec<&[u8]> = sessions.iter().map(|(_, key, _)| &**key).collect();
        firing.give_out(&spans, &keys, &accumulators, &places, kind, out)?;
    }
    Ok(())
}

/// When the first of some sessions closes, or, closed, takes no more rows.
fn due(sessions: &[Session], watermark_us: i64, lateness_us: i64) -> i64 {
    let due = |session: &Session| match session.end <= watermark_us {
        true => session.end.saturating_add(lateness_us),
        false => session.end,
    };
    sessions.iter().map(due).min().unwrap_or(i64::MAX)
}
