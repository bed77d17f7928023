//! Windows to rows: keys decoded, aggregates finished, in the order of the keys.

use std::collections::BTreeSet;
use std::sync::Arc;

use arrow_array::{ArrayRef, Int64Array, RecordBatch};
use arrow_schema::{DataType, Field, FieldRef, Schema, SchemaRef, TimeUnit};
use weir_stream::time::NO_WATERMARK;
use weir_stream::{Batch, ChangeKind, Changes, FunctionFault, Origin, Reject};

use super::accumulator::added_scale;
use super::finish::{Finish, Place};
use super::gather::Gathered;
use super::merge::MergeOverflow;
use super::plugin::{self, PluginAggregate};
use super::slots::Accumulators;
use super::{Aggregate, KeyTable, STAGE, WindowSpec};
use crate::expression::ExpressionError;
use crate::key::{KeyDecoder, timestamps};
use crate::operator::{Outputs, StepFault};

/// Rows of one fired batch.
pub const FIRED_BATCH_ROWS: usize = 8192;

/// The columns in front of the key.
const WINDOW_COLUMNS: [&str; 2] = ["window_start", "window_end"];

/// How results become rows.
#[derive(Debug, Clone)]
pub(super) struct Firing {
    step: Arc<str>,
    schema: SchemaRef,
    keys: KeyDecoder,
    /// What its rows do: they insert, or they also replace.
    kind: ChangeKind,
    /// Per aggregate: digits that its result has behind the point beyond its argument's.
    added_scale: Vec<u32>,
    /// The user's function among the aggregates, and its number.
    plugin: Option<(usize, Arc<PluginAggregate>)>,
}

/// A key of the window: where it is, and the first bytes that tell it from others.
#[derive(Clone, Copy)]
struct Entry {
    prefix: u64,
    place: Place,
}

impl Firing {
    pub(super) fn new(spec: &WindowSpec, aggregates: &[Aggregate]) -> Result<Self, (usize, ExpressionError)> {
        let utc = DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()));
        let window = WINDOW_COLUMNS.map(|name| Arc::new(Field::new(name, utc.clone(), false)));
        let mut fields: Vec<FieldRef> = window.into_iter().chain(spec.key.iter().cloned()).collect();
        for (place, aggregate) in aggregates.iter().enumerate() {
            let field = aggregate.field().map_err(|error| (place, error))?;
            if fields.iter().any(|earlier| earlier.name() == field.name()) {
                let message = format!("the output has two columns named `{}`; rename one", field.name());
                return Err((place, ExpressionError { message, span: None, suggestion: None }));
            }
            fields.push(field);
        }
        let added_scale = aggregates
            .iter()
            .zip(&fields[2 + spec.key.len()..])
            .map(|(aggregate, field)| added_scale(&aggregate.argument_type(), field.data_type()))
            .collect();
        let keys = KeyDecoder::new(&spec.key);
        let kind = if spec.showing.is_upsert() { ChangeKind::UpdateAfter } else { ChangeKind::Insert };
        let plugin = plugin::of(aggregates).map(|(number, plugin)| (number, Arc::clone(plugin)));
        let (step, schema) = (Arc::clone(&spec.step), Arc::new(Schema::new(fields)));
        Ok(Self { step, schema, keys, kind, added_scale, plugin })
    }

    pub(super) fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    /// Gives out the rows of one window, but for the places in `without`.
    pub(super) fn fire(
        &self,
        window: (i64, i64),
        tables: &[&KeyTable],
        without: &BTreeSet<Place>,
        out: &mut Outputs,
    ) -> Result<(), StepFault> {
        let accumulators: Vec<&Accumulators> = tables.iter().map(|table| table.slots()).collect();
        for places in sorted(tables, without).chunks(FIRED_BATCH_ROWS) {
            let keys: Vec<&[u8]> = places.iter().map(|place| tables[place.table as usize].key(place.slot)).collect();
            let spans = vec![window; places.len()];
            self.give_out(&spans, &keys, &accumulators, places, self.kind, out)?;
        }
        Ok(())
    }

    /// The same for a window made of panes; keys whose panes do not fit together are rejects.
    pub(super) fn fire_gathered(
        &self,
        window: (i64, i64),
        gathered: &Gathered,
        out: &mut Outputs,
    ) -> Result<(), StepFault> {
        let tables = gathered.tables();
        for (place, MergeOverflow { aggregate, fault, .. }) in gathered.overflowed() {
            self.refuse(window, tables[place.table as usize].key(place.slot), *aggregate, fault.as_ref(), out)?;
        }
        self.fire(window, &tables, &gathered.without(), out)
    }

    /// Gives out rows of any windows, each with start and end. A key of which a user's function makes no result is a
    /// reject.
    pub(super) fn give_out(
        &self,
        spans: &[(i64, i64)],
        keys: &[&[u8]],
        tables: &[&Accumulators],
        places: &[Place],
        kind: ChangeKind,
        out: &mut Outputs,
    ) -> Result<(), StepFault> {
        let Some((number, plugin)) = &self.plugin else {
            out.push(0, self.batch(spans, keys, tables, places, None, kind)?);
            return Ok(());
        };
        let finished = plugin.finish(*number, tables, places)?;
        for (at, fault) in &finished.failed {
            self.refuse(spans[*at], keys[*at], *number, Some(fault), out)?;
        }
        let (spans, keys, places) = (finished.kept(spans), finished.kept(keys), finished.kept(places));
        out.push(0, self.batch(&spans, &keys, tables, &places, Some((*number, finished.results)), kind)?);
        Ok(())
    }

    /// `made` is the column that a user's function made, and its number.
    fn batch(
        &self,
        spans: &[(i64, i64)],
        keys: &[&[u8]],
        tables: &[&Accumulators],
        places: &[Place],
        made: Option<(usize, ArrayRef)>,
        kind: ChangeKind,
    ) -> Result<Batch, StepFault> {
        let mut columns = self.front(spans, keys.iter().copied())?;
        for (number, added_scale) in self.added_scale.iter().enumerate() {
            if let Some((_, results)) = made.as_ref().filter(|(of, _)| *of == number) {
                columns.push(Arc::clone(results));
                continue;
            }
            let data_type = self.schema.field(columns.len()).data_type();
            let finish = Finish { tables, places, number, added_scale: *added_scale };
            columns.push(finish.column(data_type)?);
        }
        let rows = spans.len();
        Ok(Batch {
            columns: RecordBatch::try_new(Arc::clone(&self.schema), columns)?,
            event_times_us: spans.iter().map(|(_, end)| end - 1).collect(),
            watermarks_us: vec![NO_WATERMARK; rows].into(),
            origin: Origin::Step(Arc::clone(&self.step)),
            changes: match kind {
                ChangeKind::Insert => Changes::Inserts,
                kind => Changes::PerRow(vec![kind as u8; rows].into()),
            },
        })
    }

    /// The window's columns and the key's.
    fn front<'k>(
        &self,
        spans: &[(i64, i64)],
        keys: impl Iterator<Item = &'k [u8]>,
    ) -> Result<Vec<ArrayRef>, StepFault> {
        let utc = self.schema.field(0).data_type();
        let starts: Int64Array = spans.iter().map(|(start, _)| *start).collect();
        let ends: Int64Array = spans.iter().map(|(_, end)| *end).collect();
        let mut columns = vec![timestamps(&starts, utc), timestamps(&ends, utc)];
        columns.extend(self.keys.decode(keys).map_err(StepFault::Internal)?);
        Ok(columns)
    }

    /// A result that its type cannot hold, or that a user's function does not make: the reject names window and key.
    fn refuse(
        &self,
        window: (i64, i64),
        key: &[u8],
        aggregate: usize,
        fault: Option<&FunctionFault>,
        out: &mut Outputs,
    ) -> Result<(), StepFault> {
        let columns = self.front(&[window], std::iter::once(key))?;
        let front: Vec<usize> = (0..columns.len()).collect();
        let name = self.schema.field(columns.len() + aggregate).name();
        let (code, reason) = match fault {
            None => ("overflow", format!("`{name}`: the rows of this window add up to more than its type can hold")),
            Some(fault) => (fault.code(), plugin::failed_on(name, fault)),
        };
        let row = Batch {
            columns: RecordBatch::try_new(Arc::new(self.schema.project(&front)?), columns)?,
            event_times_us: vec![window.1 - 1].into(),
            watermarks_us: vec![NO_WATERMARK].into(),
            origin: Origin::Step(Arc::clone(&self.step)),
            changes: Changes::Inserts,
        };
        out.reject(STAGE, &row, vec![Reject::new(0, code, reason)])
    }
}

/// All keys by their bytes. Most comparisons are between the 8 bytes behind the part that all keys share.
fn sorted(tables: &[&KeyTable], without: &BTreeSet<Place>) -> Vec<Place> {
    let key = |entry: &Entry| tables[entry.place.table as usize].key(entry.place.slot);
    let mut entries: Vec<Entry> = Vec::with_capacity(tables.iter().map(|table| table.len()).sum());
    for (number, table) in (0..).zip(tables) {
        let places = (0..table.len() as u32).map(|slot| Place { table: number, slot });
        let places = places.filter(|place| without.is_empty() || !without.contains(place));
        entries.extend(places.map(|place| Entry { prefix: 0, place }));
    }
    let Some(first) = entries.first().map(&key) else { return Vec::new() };
    let shared = entries.iter().fold(first.len(), |shared, entry| {
        first.iter().zip(key(entry)).take(shared).take_while(|(a, b)| a == b).count()
    });
    for entry in &mut entries {
        let mut bytes = [0; 8];
        let rest = &key(entry)[shared..];
        let length = rest.len().min(8);
        bytes[..length].copy_from_slice(&rest[..length]);
        entry.prefix = u64::from_be_bytes(bytes);
    }
    entries.sort_unstable_by(|a, b| a.prefix.cmp(&b.prefix).then_with(|| key(a).cmp(key(b))));
    entries.into_iter().map(|entry| entry.place).collect()
}
