//! `sum` and `avg` of exact numbers whose rows may be taken back: the sum and how many values are in it, so that a key
//! whose values have all left is null again.
//!
//! Stored: sum (i128, 16 bytes), count (i64, 8 bytes).

use arrow_schema::DataType;

use super::Cell;
use crate::aggregate::argument::{Argument, Values};
use crate::aggregate::finish::decimal_mean;
use crate::aggregate::slots::take;
use crate::aggregate::value::Value;

#[derive(Debug, Clone, Copy, Default)]
pub(in crate::aggregate) struct Exact {
    sum: i128,
    /// Below zero while values were taken back before they came.
    count: i64,
}

#[derive(Debug, Clone)]
pub(in crate::aggregate) struct ExactSettings {
    pub is_mean: bool,
    /// The sum stays within these.
    pub least: i128,
    pub most: i128,
    /// Of the mean: every value is at most so far from zero.
    pub largest: u128,
    pub result: DataType,
    /// Digits that a decimal mean gains behind the point.
    pub added_scale: u32,
}

fn number(argument: &Argument, row: usize) -> i128 {
    match &argument.values {
        Values::I64(values) => values[row].into(),
        Values::U64(values) => values[row].into(),
        Values::I128(values) => values[row],
        other => unreachable!("an exact sum is of exact numbers, not of {other:?}"),
    }
}

impl ExactSettings {
    fn holds(&self, sum: Option<i128>) -> bool {
        sum.is_some_and(|sum| (self.least..=self.most).contains(&sum))
    }
}

impl Cell for Exact {
    type Settings = ExactSettings;

    const BOUNDED: bool = true;

    fn add(&mut self, _: &ExactSettings, argument: &Argument, row: usize) {
        self.sum = self.sum.wrapping_add(number(argument, row));
        self.count += 1;
    }

    fn retract(&mut self, _: &ExactSettings, argument: &Argument, row: usize) {
        self.sum = self.sum.wrapping_sub(number(argument, row));
        self.count -= 1;
    }

    fn merge(&mut self, _: &ExactSettings, other: &Self) {
        self.sum = self.sum.wrapping_add(other.sum);
        self.count += other.count;
    }

    fn write(&self, bytes: &mut Vec<u8>) {
        bytes.extend_from_slice(&self.sum.to_le_bytes());
        bytes.extend_from_slice(&self.count.to_le_bytes());
    }

    fn read(_: &ExactSettings, rest: &mut &[u8]) -> Result<Self, String> {
        Ok(Self { sum: i128::from_le_bytes(take(rest)?), count: i64::from_le_bytes(take(rest)?) })
    }

    fn value(&self, settings: &ExactSettings) -> Value<'_> {
        let Some(count) = u64::try_from(self.count).ok().filter(|count| *count > 0) else { return Value::Null };
        // Only when values were taken back that never came.
        if settings.is_mean && self.sum.unsigned_abs() / u128::from(count) > settings.largest {
            return Value::Null;
        }
        match (settings.is_mean, &settings.result) {
            (true, DataType::Float64) => Value::F64(self.sum as f64 / count as f64),
            (true, _) => Value::I128(decimal_mean(self.sum, count, settings.added_scale)),
            (false, DataType::Int64) => Value::I64(self.sum as i64),
            (false, DataType::UInt64) => Value::U64(self.sum as u64),
            (false, _) => Value::I128(self.sum),
        }
    }

    fn takes(settings: &ExactSettings, argument: &Argument, row: usize) -> bool {
        number(argument, row).unsigned_abs() <= settings.largest
    }

    fn surely_fits(&self, settings: &ExactSettings, argument: &Argument, rows: usize) -> bool {
        let change = i128::try_from(argument.largest.saturating_mul(rows as u128)).unwrap_or(i128::MAX);
        self.sum.saturating_add(change) <= settings.most && self.sum.saturating_sub(change) >= settings.least
    }

    fn fits(&self, settings: &ExactSettings, argument: &Argument, row: usize) -> bool {
        settings.holds(self.sum.checked_add(number(argument, row)))
    }

    fn fits_back(&self, settings: &ExactSettings, argument: &Argument, row: usize) -> bool {
        settings.holds(self.sum.checked_sub(number(argument, row)))
    }
}
