//! `sum` and `avg` of exact numbers whose rows may be taken back: the sum and how many values are in it, so that a key
//! whose values have all left is null again.
//!
//! Every value is taken in, and out again, however large the sum: a value that was refused could not be told from one that
//! was not when it is taken back. Whether the sum fits its type is asked where a result is made of it.
//!
//! Stored: sum (i128), carries (i64), count (i64), as numbers.

use arrow_schema::DataType;

use super::Cell;
use crate::aggregate::argument::{Argument, Values};
use crate::aggregate::finish::decimal_mean;
use crate::aggregate::number::Number;
use crate::aggregate::value::Value;

#[derive(Debug, Clone, Copy, Default)]
pub(in crate::aggregate) struct Exact {
    /// Without the carries, each of which is 2^128.
    sum: i128,
    carries: i64,
    /// Below zero while values were taken back before they came.
    count: i64,
}

#[derive(Debug, Clone)]
pub(in crate::aggregate) struct ExactSettings {
    pub is_mean: bool,
    /// A result's sum is within these.
    pub least: i128,
    pub most: i128,
    /// A mean is at most so far from zero.
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

impl Exact {
    fn carry(&mut self, (sum, over): (i128, bool)) {
        if over {
            self.carries += if sum < 0 { 1 } else { -1 };
        }
        self.sum = sum;
    }
}

impl Cell for Exact {
    type Settings = ExactSettings;

    fn add(&mut self, _: &ExactSettings, argument: &Argument, row: usize) {
        self.carry(self.sum.overflowing_add(number(argument, row)));
        self.count += 1;
    }

    fn retract(&mut self, _: &ExactSettings, argument: &Argument, row: usize) {
        self.carry(self.sum.overflowing_sub(number(argument, row)));
        self.count -= 1;
    }

    fn merge(&mut self, _: &ExactSettings, other: &Self) {
        self.carry(self.sum.overflowing_add(other.sum));
        self.carries += other.carries;
        self.count += other.count;
    }

    fn write(&self, bytes: &mut Vec<u8>) {
        self.sum.write(bytes);
        self.carries.write(bytes);
        self.count.write(bytes);
    }

    fn read(_: &ExactSettings, rest: &mut &[u8]) -> Result<Self, String> {
        Ok(Self { sum: i128::read(rest)?, carries: i64::read(rest)?, count: i64::read(rest)? })
    }

    fn value(&self, settings: &ExactSettings) -> Value<'_> {
        let Some(count) = u64::try_from(self.count).ok().filter(|count| *count > 0) else { return Value::Null };
        if !self.has_result(settings) {
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

    fn has_result(&self, settings: &ExactSettings) -> bool {
        let Some(count) = u128::try_from(self.count).ok().filter(|count| *count > 0) else { return true };
        self.carries == 0
            && (settings.least..=settings.most).contains(&self.sum)
            && (!settings.is_mean || self.sum.unsigned_abs() / count <= settings.largest)
    }
}
