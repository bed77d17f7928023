//! Accumulators to result columns.

use std::sync::Arc;

use arrow_array::types::{Decimal128Type, Float64Type, Int64Type, UInt64Type};
use arrow_array::{ArrayRef, ArrowPrimitiveType, BinaryArray, Int64Array, PrimitiveArray, new_empty_array};
use arrow_cast::cast;
use arrow_schema::{ArrowError, DataType};

use super::accumulator::{Accumulator, Sum};
use super::slots::Accumulators;
use super::value::{self, Value};
use crate::key::timestamps;
use crate::operator::StepFault;

/// Where a key's accumulators are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Place {
    pub table: u32,
    pub slot: u32,
}

/// One aggregate of some keys.
pub(super) struct Finish<'a> {
    /// All of one step, so of the same aggregates.
    pub tables: &'a [&'a Accumulators],
    pub places: &'a [Place],
    /// Which aggregate.
    pub number: usize,
    /// Digits that the result has behind the point beyond the argument's.
    pub added_scale: u32,
}

impl<'a> Finish<'a> {
    pub(super) fn column(&self, data_type: &DataType) -> Result<ArrayRef, StepFault> {
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
            A::Cells(_) => {
                let values = self.slots().map(|(column, slot)| match column {
                    A::Cells(column) => column.value(slot),
                    _ => Value::Null,
                });
                value::array(&values.collect::<Vec<_>>(), data_type)?
            }
            A::Plugin(_) => return Err(StepFault::Internal("a plugin's results are asked of it".to_owned())),
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
        let Self { tables, places, number, .. } = *self;
        places.iter().map(move |place| (&tables[place.table as usize].columns[number], place.slot as usize))
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
pub(super) fn decimal_mean(sum: i128, count: u64, added_scale: u32) -> i128 {
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

pub(super) fn from_i64(values: &Int64Array, data_type: &DataType) -> Result<ArrayRef, ArrowError> {
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
