//! Closed panes to rows: keys decoded, aggregates finished, in the order of the keys.

use std::sync::Arc;

use arrow_array::types::{Decimal128Type, Float64Type, Int64Type, UInt64Type};
use arrow_array::{
    ArrayRef, ArrowPrimitiveType, BinaryArray, Int64Array, PrimitiveArray, RecordBatch, new_empty_array,
};
use arrow_cast::cast;
use arrow_schema::{DataType, Field, FieldRef, Schema, SchemaRef, TimeUnit};
use weir_state::table::KeyTable;
use weir_stream::time::NO_WATERMARK;
use weir_stream::{Batch, Changes, Origin};

use super::accumulator::{Accumulator, Sum};
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
    table: u16,
    slot: u32,
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
        for entries in sorted(tables).chunks(FIRED_BATCH_ROWS) {
            let rows = entries.len();
            let mut columns = vec![self.time(start_us, rows), self.time(end_us, rows)];
            let keys = entries.iter().map(|entry| tables[usize::from(entry.table)].key(entry.slot));
            columns.extend(self.keys.decode(keys).map_err(StepFault::Internal)?);
            for (number, added_scale) in self.added_scale.iter().enumerate() {
                let data_type = self.schema.field(columns.len()).data_type();
                columns.push(Finish { tables, entries, number, added_scale: *added_scale }.column(data_type)?);
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
fn sorted(tables: &[KeyTable<Accumulators>]) -> Vec<Entry> {
    let key = |entry: &Entry| tables[usize::from(entry.table)].key(entry.slot);
    let mut entries: Vec<Entry> = Vec::with_capacity(tables.iter().map(KeyTable::len).sum());
    for (number, table) in (0u16..).zip(tables) {
        entries.extend((0..table.len() as u32).map(|slot| Entry { prefix: 0, table: number, slot }));
    }
    let Some(first) = entries.first().map(&key) else { return entries };
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
    entries
}

/// One aggregate of some keys.
struct Finish<'a> {
    tables: &'a [KeyTable<Accumulators>],
    entries: &'a [Entry],
    number: usize,
    added_scale: u32,
}

impl<'a> Finish<'a> {
    fn column(&self, data_type: &DataType) -> Result<ArrayRef, StepFault> {
        use Accumulator as A;
        let Some((kind, _)) = self.slots().next() else { return Ok(new_empty_array(data_type)) };
        Ok(match kind {
            A::Count(_) | A::SumI64(_) | A::ExtremeI64(_, _) => from_i64(&self.gather::<Int64Type>(i64_at), data_type)?,
            A::SumU64(_) | A::ExtremeU64(_, _) => cast(&self.gather::<UInt64Type>(u64_at), data_type)?,
            A::SumF64(_) | A::MeanInteger(_) | A::MeanF64(_) | A::ExtremeF64(_, _) => {
                cast(&self.gather::<Float64Type>(f64_at), data_type)?
            }
            A::SumI128(_) | A::MeanI128 { .. } | A::ExtremeI128(_, _) => {
                let digits = self.gather::<Decimal128Type>(|column, slot| i128_at(column, slot, self.added_scale));
                Arc::new(digits.with_data_type(data_type.clone()))
            }
            A::ExtremeBytes { .. } => {
                let values = self.slots().map(|(column, slot)| match column {
                    A::ExtremeBytes { values, .. } => values[slot].as_deref(),
                    _ => None,
                });
                cast(&values.collect::<BinaryArray>(), data_type)?
            }
        })
    }

    /// Every key's accumulator; all tables of a step hold the same kinds.
    fn slots(&self) -> impl Iterator<Item = (&'a Accumulator, usize)> {
        let Self { tables, entries, number, .. } = *self;
        let slot = move |entry: &Entry| {
            let columns = &tables[usize::from(entry.table)].slots().columns;
            (&columns[number], entry.slot as usize)
        };
        entries.iter().map(slot)
    }

    fn gather<T: ArrowPrimitiveType>(
        &self,
        value: impl Fn(&Accumulator, usize) -> Option<T::Native>,
    ) -> PrimitiveArray<T> {
        self.slots().map(|(column, slot)| value(column, slot)).collect()
    }
}

fn i64_at(column: &Accumulator, slot: usize) -> Option<i64> {
    match column {
        Accumulator::Count(counts) => Some(counts[slot]),
        Accumulator::SumI64(Sum { fold, .. }) | Accumulator::ExtremeI64(fold, _) => fold.get(slot),
        _ => None,
    }
}

fn u64_at(column: &Accumulator, slot: usize) -> Option<u64> {
    match column {
        Accumulator::SumU64(Sum { fold, .. }) | Accumulator::ExtremeU64(fold, _) => fold.get(slot),
        _ => None,
    }
}

fn f64_at(column: &Accumulator, slot: usize) -> Option<f64> {
    let value = match column {
        Accumulator::SumF64(fold) | Accumulator::ExtremeF64(fold, _) => fold.get(slot),
        Accumulator::MeanInteger(mean) => mean.sum.fold.get(slot).map(|sum| sum as f64 / mean.counts[slot] as f64),
        Accumulator::MeanF64(mean) => mean.sum.fold.get(slot).map(|sum| sum / mean.counts[slot] as f64),
        _ => None,
    };
    value.map(|value| if value.is_nan() { f64::NAN } else { value })
}

fn i128_at(column: &Accumulator, slot: usize, added_scale: u32) -> Option<i128> {
    match column {
        Accumulator::SumI128(Sum { fold, .. }) | Accumulator::ExtremeI128(fold, _) => fold.get(slot),
        Accumulator::MeanI128 { mean, .. } => {
            mean.sum.fold.get(slot).map(|sum| decimal_mean(sum, mean.counts[slot], added_scale))
        }
        _ => None,
    }
}

/// `sum / count` with `added_scale` more digits behind the point, halves away from zero. No step overflows: the
/// quotient is no larger than the largest value, which was let in only if it fits the result.
fn decimal_mean(sum: i128, count: u64, added_scale: u32) -> i128 {
    let (count, scale) = (i128::from(count), 10i128.pow(added_scale));
    let part = sum % count * scale;
    let rounding = if part % count * 2 >= count {
        1
    } else if part % count * 2 <= -count {
        -1
    } else {
        0
    };
    sum / count * scale + part / count + rounding
}

fn from_i64(values: &Int64Array, data_type: &DataType) -> Result<ArrayRef, StepFault> {
    Ok(match data_type {
        DataType::Timestamp(_, _) => timestamps(values, data_type),
        DataType::Date32 => cast(&cast(values, &DataType::Int32)?, data_type)?,
        _ => cast(values, data_type)?,
    })
}

#[cfg(test)]
mod tests {
    use super::decimal_mean;

    #[test]
    fn a_decimal_average_rounds_halves_away_from_zero() {
        assert_eq!(decimal_mean(10, 4, 0), 3);
        assert_eq!(decimal_mean(-10, 4, 0), -3);
        assert_eq!(decimal_mean(10, 3, 4), 33333);
        assert_eq!(decimal_mean(20, 3, 4), 66667);
        assert_eq!(decimal_mean(-20, 3, 4), -66667);
        assert_eq!(decimal_mean(i128::from(u64::MAX) * 7, u64::MAX, 4), 70000);
    }
}
