//! Aggregates by key without a window: a table of results, told row by row as it changes.
//!
//! Each batch gives out the new row of every key that it touched, as an update (`update-after`; who reads the table takes
//! the first one of a key as an insert), or as a delete once all rows of the key have been taken back. The row's event
//! time is the newest of its key.
//!
//! A key that saw no row for the time to live is forgotten: its next row, if it is that much newer than the newest before,
//! begins anew, and once the watermark (of the row's partition) has passed that point any row does. Nothing is told when a key is forgotten: the
//! last row stands. A row that is itself so old when it is read (by the watermark of its own partition or of the task)
//! goes to the late output, and so does a row that is taken back from a key that is not held.
//!
//! Invariant: a key is held exactly while it has rows and is not forgotten; what a key's rows give depends on their order
//! only where they are further apart than the time to live.

mod expiry;
mod keyed;
mod state;
mod tell;

use std::ops::Range;
use std::sync::Arc;

use arrow_schema::{FieldRef, Schema, SchemaRef};
use weir_state::Spill;
use weir_state::table::{Leaving, SlotTable, TableError};
use weir_stream::time::NO_WATERMARK;
use weir_stream::{Batch, ChangeKind, Reject};

use super::accumulator::{Accumulator, added_scale};
use super::argument::Argument;
use super::finish::Place;
use super::slots::Accumulators;
use super::update::Touched;
use super::{Aggregate, AggregateSpec, STAGE, fold, internal};
use crate::expression::ExpressionError;
use crate::key::{KeyBatch, KeyDecoder, KeyedBatch};
use crate::operator::{Outputs, StepFault};
use expiry::Expiry;
use state::{GROUP_VERSION, GroupState};

/// A group-by without a window as the manifest describes it.
#[derive(Debug, Clone)]
pub struct GroupSpec {
    /// Id of the step: the origin of its rows.
    pub step: Arc<str>,
    /// The key columns, as [`crate::KeyEncoder::fields`] gives them.
    pub key: Vec<FieldRef>,
    pub aggregates: Vec<AggregateSpec>,
    /// How long a key without rows is held, in event time; none: for ever.
    pub ttl_us: Option<i64>,
    /// Whether the rows that come in may be taken back.
    pub retracts: bool,
}

/// An aggregation by key for a range of key groups.
#[derive(Debug, Clone)]
pub struct GroupAggregate {
    step: Arc<str>,
    schema: SchemaRef,
    keys: KeyDecoder,
    aggregates: Vec<Aggregate>,
    added_scale: Vec<u32>,
    layout: String,
    ttl_us: Option<i64>,
    retracts: bool,
    table: SlotTable<GroupState>,
    /// One per key group of the table.
    expiry: Vec<Expiry>,
    watermark_us: i64,
    late_rows: u64,
}

/// A row that is taken in.
#[derive(Debug, Clone, Copy)]
struct Taken {
    key_group: u16,
    row: u32,
    /// Whether it is taken back.
    back: bool,
}

/// What one batch did.
#[derive(Default)]
struct Work {
    touched: Vec<Place>,
    late: Vec<u32>,
    rejects: Vec<Reject>,
}

impl GroupAggregate {
    /// `key_groups`: those of this task.
    ///
    /// # Errors
    /// The position of a faulty aggregate, with what is wrong; also when two output columns share a name, or when rows are
    /// taken back from an aggregate that cannot let them go.
    pub fn new(spec: &GroupSpec, input: &SchemaRef, key_groups: Range<u16>) -> Result<Self, (usize, ExpressionError)> {
        let (mut aggregates, mut columns) = (Vec::new(), Vec::new());
        let mut fields: Vec<FieldRef> = spec.key.clone();
        for (place, aggregate) in spec.aggregates.iter().enumerate() {
            let at = |error: ExpressionError| (place, error);
            let refused = |message| at(ExpressionError { message, span: None, suggestion: None });
            let aggregate = Aggregate::compile(aggregate, input).map_err(at)?;
            let mut field = aggregate.field().map_err(at)?;
            if fields.iter().any(|earlier| earlier.name() == field.name()) {
                return Err(refused(format!("the output has two columns named `{}`; rename one", field.name())));
            }
            if spec.retracts {
                columns.push(Accumulator::retractable(&aggregate).map_err(refused)?);
                // The row of a key whose rows were all taken back has no sum.
                let nullable = field.is_nullable() || !aggregate.kind.counts();
                field = Arc::new(field.as_ref().clone().with_nullable(nullable));
            } else {
                columns.push(Accumulator::new(&aggregate));
            }
            fields.push(field);
            aggregates.push(aggregate);
        }
        let added_scale = aggregates
            .iter()
            .zip(&fields[spec.key.len()..])
            .map(|(aggregate, field)| added_scale(&aggregate.argument_type(), field.data_type()));
        let added_scale = added_scale.collect();
        let empty = GroupState::new(Accumulators { columns }, spec.retracts);
        Ok(Self {
            step: Arc::clone(&spec.step),
            schema: Arc::new(Schema::new(fields)),
            keys: KeyDecoder::new(&spec.key),
            layout: layout(spec, &aggregates),
            aggregates,
            added_scale,
            ttl_us: spec.ttl_us,
            retracts: spec.retracts,
            expiry: vec![Expiry::new(spec.ttl_us); key_groups.len()],
            table: SlotTable::new(empty, key_groups),
            watermark_us: NO_WATERMARK,
            late_rows: 0,
        })
    }

    /// The key columns, the aggregates.
    pub fn output_schema(&self) -> &SchemaRef {
        &self.schema
    }

    /// Late rows since this task was made.
    pub fn late_rows(&self) -> u64 {
        self.late_rows
    }

    /// An empty one for some of the key groups.
    fn empty_twin(&self, key_groups: Range<u16>) -> Self {
        Self {
            step: Arc::clone(&self.step),
            schema: Arc::clone(&self.schema),
            keys: self.keys.clone(),
            aggregates: self.aggregates.clone(),
            added_scale: self.added_scale.clone(),
            layout: self.layout.clone(),
            ttl_us: self.ttl_us,
            retracts: self.retracts,
            expiry: vec![Expiry::new(self.ttl_us); key_groups.len()],
            table: SlotTable::new(self.table.empty().clone(), key_groups),
            watermark_us: self.watermark_us,
            late_rows: 0,
        }
    }

    fn take_in(&mut self, keyed: &KeyedBatch, out: &mut Outputs) -> Result<(), StepFault> {
        let KeyedBatch { batch, keys } = keyed;
        self.warm(keys).map_err(|error| internal(&error))?;
        let mut work = Work::default();
        let mut taken = self.timely(batch, keys, &mut work);
        let rows = taken.iter().map(|taken| taken.row);
        let columns = &self.table.empty().accumulators.columns;
        let (arguments, refused) = fold::arguments(&self.aggregates, columns, batch, rows)?;
        if !refused.is_empty() {
            taken.retain(|taken| refused.binary_search_by_key(&taken.row, |reject| reject.row).is_err());
            work.rejects.extend(refused);
        }
        // Stable: rows of one key stay in order.
        taken.sort_by_key(|taken| taken.key_group);
        for rows in taken.chunk_by(|a, b| a.key_group == b.key_group) {
            self.fold(rows, batch, keys, &arguments, &mut work)?;
        }
        self.tell(&work.touched, out)?;
        self.late_rows += work.late.len() as u64;
        if !work.late.is_empty() {
            work.late.sort_unstable();
            out.late.push((0, batch.take(&work.late)?));
        }
        work.rejects.sort_by_key(|reject| reject.row);
        out.reject(STAGE, batch, work.rejects)
    }

    /// Leaves out late rows and those of a kind that this step does not take.
    fn timely(&self, batch: &Batch, keys: &KeyBatch, work: &mut Work) -> Vec<Taken> {
        let mut taken = Vec::with_capacity(batch.rows());
        let times = batch.event_times_us.iter().zip(batch.watermarks_us.iter());
        for (row, ((time_us, watermark_us), key_group)) in (0u32..).zip(times.zip(keys.key_groups())) {
            let kind = batch.changes.kind(row as usize);
            let back = matches!(kind, ChangeKind::UpdateBefore | ChangeKind::Delete);
            if kind != ChangeKind::Insert && !self.retracts {
                let reason = format!("this step takes new rows alone, this one is {kind:?}");
                work.rejects.push(Reject::new(row, "change-kind", reason));
            } else if !back && self.is_over(*time_us, self.watermark_us.max(*watermark_us)) {
                work.late.push(row);
            } else {
                taken.push(Taken { key_group: *key_group, row, back });
            }
        }
        taken
    }

    /// Whether the time to live of what happened at `since_us` is over at `now_us`.
    fn is_over(&self, since_us: i64, now_us: i64) -> bool {
        self.ttl_us.is_some_and(|ttl_us| since_us.saturating_add(ttl_us) <= now_us)
    }

    /// Folds rows of one key group.
    fn fold(
        &mut self,
        taken: &[Taken],
        batch: &Batch,
        keys: &KeyBatch,
        arguments: &[Argument],
        work: &mut Work,
    ) -> Result<(), StepFault> {
        let number = usize::from(taken[0].key_group.wrapping_sub(self.table.key_groups().start));
        // A key group of another task is refused here, before it is an index.
        self.table.group(taken[0].key_group).map_err(|error| internal(&error))?;
        let hashes = taken.iter().map(|taken| keys.hashes()[taken.row as usize]);
        self.table.groups()[number].prefetch(hashes);
        let (mut rows, mut slots) = ([Vec::new(), Vec::new()], [Vec::new(), Vec::new()]);
        for taken in taken {
            let Some(slot) = self.slot(number, batch, keys, taken) else {
                work.late.push(taken.row);
                continue;
            };
            rows[usize::from(taken.back)].push(taken.row);
            slots[usize::from(taken.back)].push(slot);
        }
        let state = self.table.groups_mut()[number].slots_mut();
        let columns = &mut state.accumulators.columns;
        let touched = |back: usize| Touched { rows: &rows[back], slots: &slots[back] };
        let refused = work.rejects.len();
        fold::fold(&self.aggregates, columns, arguments, touched(0), &mut work.rejects)?;
        let refused_back = work.rejects.len();
        fold::take_back(&self.aggregates, columns, arguments, touched(1), &mut work.rejects)?;
        for (number, reject) in work.rejects.iter().enumerate().skip(refused) {
            let back = usize::from(number >= refused_back);
            let at = rows[back].binary_search(&reject.row).expect("a reject is of a row that was given");
            state.count(slots[back][at], back == 0);
        }
        let [mut added, back] = slots;
        added.extend(back);
        added.sort_unstable();
        added.dedup();
        work.touched.extend(added.into_iter().map(|slot| Place { table: number as u32, slot }));
        Ok(())
    }

    /// The slot that a row goes into; none for a row taken back whose key is not held.
    fn slot(&mut self, number: usize, batch: &Batch, keys: &KeyBatch, taken: &Taken) -> Option<u32> {
        let (row, back) = (taken.row as usize, taken.back);
        let time_us = batch.event_times_us[row];
        // The row's own watermark, so that it makes no difference how far the task's has come by now.
        let now_us = time_us.max(batch.watermarks_us[row]).max(self.watermark_us);
        let group = &mut self.table.groups_mut()[number];
        let (hash, key) = (keys.hashes()[row], keys.key(row));
        let mut found = group.find(hash, key);
        if let (Some(slot), Some(ttl_us)) = (found, self.ttl_us) {
            let over_us = group.slots().last_us[slot as usize].saturating_add(ttl_us);
            if over_us <= now_us {
                group.remove(slot);
                found = None;
            }
        }
        let slot = match found {
            Some(slot) => slot,
            None if back => return None,
            None => {
                let slot = group.insert(hash, key);
                self.expiry[number].note(slot, time_us);
                slot
            }
        };
        group.mark(slot);
        let state = group.slots_mut();
        let last_us = &mut state.last_us[slot as usize];
        *last_us = time_us.max(*last_us);
        state.count(slot, back);
        Some(slot)
    }

    /// Brings the keys of a batch into memory.
    fn warm(&mut self, keys: &KeyBatch) -> Result<(), TableError> {
        if !self.table.has_cold() {
            return Ok(());
        }
        let start = self.table.key_groups().start;
        for (key_group, hash, key) in keys.iter() {
            if let Some(slot) = self.table.warm(key_group, hash, key)? {
                let number = usize::from(key_group - start);
                self.expiry[number].note(slot, self.table.groups()[number].slots().last_us[slot as usize]);
            }
        }
        Ok(())
    }

    /// Event time has come to `watermark_us`: forgets the keys whose time to live is over.
    fn forget(&mut self, watermark_us: i64) -> Result<(), TableError> {
        self.watermark_us = self.watermark_us.max(watermark_us);
        let Self { table, expiry, .. } = self;
        table.warm_due(self.watermark_us, |number, state, slot| {
            expiry[number].note(slot, state.last_us[slot as usize]);
        })?;
        for (group, expiry) in self.table.groups_mut().iter_mut().zip(&mut self.expiry) {
            expiry
                .advance(self.watermark_us, |slot| group.is_held(slot).then(|| group.slots().last_us[slot as usize]))
                .into_iter()
                .for_each(|slot| group.remove(slot));
        }
        self.compact();
        Ok(())
    }

    fn compact(&mut self) {
        for (group, expiry) in self.table.groups_mut().iter_mut().zip(&mut self.expiry) {
            if group.compact() {
                expiry.renew(group.held().map(|slot| (slot, group.slots().last_us[slot as usize])));
            }
        }
    }

    /// See [`KeyedOperator::evict`](crate::KeyedOperator::evict).
    fn write_away(&mut self, bytes: usize, spill: &Spill) -> std::io::Result<usize> {
        let ttl_us = self.ttl_us;
        let over_us = |state: &GroupState, slot: u32| Some(state.last_us[slot as usize].saturating_add(ttl_us?));
        let evicted = self.table.evict(bytes, spill, |state, slot| Leaving::at(over_us(state, slot)));
        for (group, expiry) in self.table.groups().iter().zip(&mut self.expiry) {
            expiry.renew(group.held().map(|slot| (slot, group.slots().last_us[slot as usize])));
        }
        evicted
    }
}

fn layout(spec: &GroupSpec, aggregates: &[Aggregate]) -> String {
    let key: Vec<String> = spec.key.iter().map(|field| format!("{} {}", field.name(), field.data_type())).collect();
    // The 2 is of the form that exact sums have behind rows that change.
    let retracts = if spec.retracts { " retracts/2" } else { "" };
    format!("group/{GROUP_VERSION}{retracts} key=[{}] aggregates=[{}]", key.join(", "), super::layout(aggregates))
}

#[cfg(test)]
mod tests;
