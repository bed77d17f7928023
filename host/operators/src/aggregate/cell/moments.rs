//! Variance and standard deviation: count, mean and squared distances from it, by Welford's update and Chan's merge, so
//! that a large mean costs no digits.
//!
//! Stored: count (u64), mean and sum of squared distances (f64), 8 bytes each.

use super::Cell;
use crate::aggregate::argument::{Argument, Values};
use crate::aggregate::slots::take;
use crate::aggregate::value::{Value, one_form};

#[derive(Debug, Clone, Copy, Default)]
pub(in crate::aggregate) struct Moments {
    count: u64,
    mean: f64,
    squares: f64,
}

/// Which number is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::aggregate) struct MomentsResult {
    /// Of a sample: divided by one less than the count, null for a single value.
    pub sample: bool,
    /// The root of the variance.
    pub root: bool,
}

impl Cell for Moments {
    type Settings = MomentsResult;

    fn add(&mut self, _: &MomentsResult, argument: &Argument, row: usize) {
        let Values::F64(values) = &argument.values else {
            unreachable!("the moments of any number are taken as float64")
        };
        self.count += 1;
        let distance = values[row] - self.mean;
        self.mean += distance / self.count as f64;
        self.squares += distance * (values[row] - self.mean);
    }

    fn merge(&mut self, _: &MomentsResult, other: &Self) {
        if self.count == 0 || other.count == 0 {
            if self.count == 0 {
                *self = *other;
            }
            return;
        }
        let (own, others) = (self.count as f64, other.count as f64);
        let distance = other.mean - self.mean;
        self.count += other.count;
        let share = others / self.count as f64;
        self.mean += distance * share;
        self.squares += other.squares + distance * distance * own * share;
    }

    fn write(&self, bytes: &mut Vec<u8>) {
        bytes.extend_from_slice(&self.count.to_le_bytes());
        bytes.extend_from_slice(&self.mean.to_le_bytes());
        bytes.extend_from_slice(&self.squares.to_le_bytes());
    }

    fn read(_: &MomentsResult, rest: &mut &[u8]) -> Result<Self, String> {
        Ok(Self {
            count: u64::from_le_bytes(take(rest)?),
            mean: f64::from_le_bytes(take(rest)?),
            squares: f64::from_le_bytes(take(rest)?),
        })
    }

    fn value(&self, result: &MomentsResult) -> Value<'_> {
        let divisor = self.count.saturating_sub(u64::from(result.sample));
        if divisor == 0 {
            return Value::Null;
        }
        let variance = self.squares / divisor as f64;
        Value::F64(one_form(if result.root { variance.sqrt() } else { variance }))
    }
}
