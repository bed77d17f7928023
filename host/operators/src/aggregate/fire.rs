//! Closed panes to rows: keys decoded, aggregates finished, in the order of the keys.

use std::sync::Arc;

use arrow_array::{ArrayRef, Int64Array, RecordBatch};
use arrow_schema::{DataType, Field, FieldRef, Schema, SchemaRef, TimeUnit};
use weir_state::table::KeyTable;
use weir_stream::time::NO_WATERMARK;
use weir_stream::{Batch, Changes, Origin};

use super::finish::{Finish, Place};
use super::slots::Accumulators;
use super::{Aggregate, WindowSpec};
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
    /// Per aggregate: digits that its result has behind the point beyond its argument's.
    added_scale: Vec<u32>,
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
        let added_scale = aggregates.iter().zip(&fields[2 + spec.key.len()..]).map(added_scale).collect();
        let keys = KeyDecoder::new(&spec.key);
        Ok(Self { step: Arc::clone(&spec.step), schema: Arc::new(Schema::new(fields)), keys, added_scale })
    }

    pub(super) fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    /// Appends the rows of one window.
    pub(super) fn fire(
        &self,
        start_us: i64,
        end_us: i64,
        tables: &[KeyTable<Accumulators>],
        out: &mut Outputs,
    ) -> Result<(), StepFault> {
        let accumulators: Vec<&Accumulators> = tables.iter().map(KeyTable::slots).collect();
        for places in sorted(tables).chunks(FIRED_BATCH_ROWS) {
            let rows = places.len();
            let mut columns = vec![self.time(start_us, rows), self.time(end_us, rows)];
            let keys = places.iter().map(|place| tables[place.table as usize].key(place.slot));
            columns.extend(self.keys.decode(keys).map_err(StepFault::Internal)?);
            for (number, added_scale) in self.added_scale.iter().enumerate() {
                let data_type = self.schema.field(columns.len()).data_type();
                let finish = Finish { tables: &accumulators, places, number, added_scale: *added_scale };
                columns.push(finish.column(data_type)?);
            }
            let fired = Batch {
                columns: RecordBatch::try_new(Arc::clone(&self.schema), columns)?,
                event_times_us: vec![end_us - 1; rows].into(),
                watermarks_us: vec![NO_WATERMARK; rows].into(),
                origin: Origin::Step(Arc::clone(&self.step)),
                changes: Changes::Inserts,
            };
            out.push(0, fired);
        }
        Ok(())
    }

    fn time(&self, time_us: i64, rows: usize) -> ArrayRef {
        timestamps(&Int64Array::from(vec![time_us; rows]), self.schema.field(0).data_type())
    }
}

fn added_scale((aggregate, result): (&Aggregate, &FieldRef)) -> u32 {
    match (aggregate.argument_type(), result.data_type()) {
        (DataType::Decimal128(_, argument), DataType::Decimal128(_, result)) => (result - argument) as u32,
        _ => 0,
    }
}

/// All keys by their bytes. Most comparisons are between the 8 bytes behind the part that all keys share.
fn sorted(tables: &[KeyTable<Accumulators>]) -> Vec<Place> {
    let key = |entry: &Entry| tables[entry.place.table as usize].key(entry.place.slot);
    let mut entries: Vec<Entry> = Vec::with_capacity(tables.iter().map(KeyTable::len).sum());
    for (number, table) in (0..).zip(tables) {
        let places = (0..table.len() as u32).map(|slot| Place { table: number, slot });
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
