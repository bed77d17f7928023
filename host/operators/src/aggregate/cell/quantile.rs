//! `median` and `percentile`: a histogram with logarithmic bins (DDSketch) whose bins are paired when there are too many
//! (UDDSketch: Epicoco et al., "UDDSketch: accurate tracking of quantiles in data streams", 2020).
//!
//! The answer is within 1 % of the value of that rank, as long as the key's values need no more than [`BINS_MAX`] bins:
//! within a factor of 10^17 from the nearest to the furthest from zero. Each pairing beyond that doubles the error. When
//! bins are paired depends on the set of values alone, so sketches that were merged in any order are equal. Zero,
//! infinities and NaN (the largest of all) are counted exactly, and an answer is never outside of the values' range.
//!
//! Stored: level (u8), least and most (f64), number of bins (u32), and per bin its number (i32) and count (u64).

use super::Cell;
use crate::aggregate::argument::{Argument, Values};
use crate::aggregate::slots::take;
use crate::aggregate::value::{Value, one_form};

/// Relative error before bins are paired.
const ERROR: f64 = 0.01;

/// Bins of one key.
const BINS_MAX: usize = 2048;

/// After so many pairings all floats fit.
const LEVEL_MAX: u8 = 8;

/// Keeps the numbers of bins of positive values above zero, those of negative values below.
const OFFSET: i32 = 1 << 17;

const NEGATIVE_INFINITY: i32 = i32::MIN;
const INFINITY: i32 = i32::MAX - 1;
const NAN: i32 = i32::MAX;

#[derive(Debug, Clone)]
pub(in crate::aggregate) struct Quantile {
    /// How often bins were paired.
    level: u8,
    /// Of the finite values.
    least: f64,
    most: f64,
    /// Number and count, ascending: the order of the bins is that of the values.
    bins: Vec<(i32, u64)>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::aggregate) struct QuantileSettings {
    /// 950,000 is the 95th percentile.
    pub millionths: u32,
}

impl Default for Quantile {
    fn default() -> Self {
        Self { level: 0, least: f64::INFINITY, most: f64::NEG_INFINITY, bins: Vec::new() }
    }
}

/// The logarithm of the ratio between the bounds of a bin of level 0.
fn width() -> f64 {
    ((1.0 + ERROR) / (1.0 - ERROR)).ln()
}

/// Bin `i` of level 0 holds what is above `ratio^(i - 1)` and at most `ratio^i`.
fn bin(value: f64, level: u8) -> i32 {
    if value.is_nan() {
        return NAN;
    }
    if value.is_infinite() {
        return if value > 0.0 { INFINITY } else { NEGATIVE_INFINITY };
    }
    if value == 0.0 {
        return 0;
    }
    let exponent = (value.abs().ln() / width()).ceil() as i32;
    let number = paired(exponent, level) + OFFSET;
    if value > 0.0 { number } else { -number }
}

/// The exponent after `level` pairings.
fn paired(exponent: i32, level: u8) -> i32 {
    (exponent + (1 << level) - 1) >> level
}

fn is_finite(number: i32) -> bool {
    !matches!(number, NEGATIVE_INFINITY | INFINITY | NAN)
}

impl Quantile {
    pub(super) fn add_value(&mut self, value: f64) {
        if value.is_finite() {
            self.least = self.least.min(value + 0.0);
            self.most = self.most.max(value + 0.0);
        }
        self.count(bin(value, self.level), 1);
        self.shrink();
    }

    fn count(&mut self, number: i32, count: u64) {
        match self.bins.binary_search_by_key(&number, |(held, _)| *held) {
            Ok(at) => self.bins[at].1 += count,
            Err(at) => self.bins.insert(at, (number, count)),
        }
    }

    fn shrink(&mut self) {
        while self.bins.len() > BINS_MAX {
            self.pair();
        }
    }

    fn pair(&mut self) {
        self.level += 1;
        for (number, _) in self.bins.iter_mut().filter(|(number, _)| is_finite(*number) && *number != 0) {
            *number = number.signum() * (paired(number.abs() - OFFSET, 1) + OFFSET);
        }
        self.bins.dedup_by(|later, kept| {
            let same = later.0 == kept.0;
            if same {
                kept.1 += later.1;
            }
            same
        });
    }

    pub(super) fn at(&self, millionths: u32) -> Option<f64> {
        let total: u64 = self.bins.iter().map(|(_, count)| count).sum();
        let rank = (u128::from(total) * u128::from(millionths)).div_ceil(1_000_000).max(1);
        let mut seen = 0u128;
        let (number, _) = self.bins.iter().find(|(_, count)| {
            seen += u128::from(*count);
            seen >= rank
        })?;
        Some(match *number {
            NEGATIVE_INFINITY => f64::NEG_INFINITY,
            INFINITY => f64::INFINITY,
            NAN => f64::NAN,
            0 => 0.0,
            number => self.middle(number).clamp(self.least, self.most),
        })
    }

    /// The value that is as far, in proportion, from either end of the bin.
    fn middle(&self, number: i32) -> f64 {
        let width = width() * f64::from(1u32 << self.level);
        let middle = (width * f64::from(number.abs() - OFFSET)).exp() * 2.0 / (1.0 + width.exp());
        f64::from(number.signum()) * middle
    }
}

impl Cell for Quantile {
    type Settings = QuantileSettings;

    fn add(&mut self, _: &QuantileSettings, argument: &Argument, row: usize) {
        let Values::F64(values) = &argument.values else {
            unreachable!("quantiles of any number are taken as float64")
        };
        self.add_value(values[row]);
    }

    fn merge(&mut self, _: &QuantileSettings, other: &Self) {
        self.least = self.least.min(other.least);
        self.most = self.most.max(other.most);
        while self.level < other.level {
            self.pair();
        }
        for (number, count) in &other.bins {
            let number = match *number {
                number if number == 0 || !is_finite(number) => number,
                number => number.signum() * (paired(number.abs() - OFFSET, self.level - other.level) + OFFSET),
            };
            self.count(number, *count);
        }
        self.shrink();
    }

    fn write(&self, bytes: &mut Vec<u8>) {
        bytes.push(self.level);
        bytes.extend_from_slice(&self.least.to_le_bytes());
        bytes.extend_from_slice(&self.most.to_le_bytes());
        bytes.extend_from_slice(&(self.bins.len() as u32).to_le_bytes());
        for (number, count) in &self.bins {
            bytes.extend_from_slice(&number.to_le_bytes());
            bytes.extend_from_slice(&count.to_le_bytes());
        }
    }

    fn read(_: &QuantileSettings, rest: &mut &[u8]) -> Result<Self, String> {
        let [level] = take(rest)?;
        let (least, most) = (f64::from_le_bytes(take(rest)?), f64::from_le_bytes(take(rest)?));
        let mut read = Self { level, least, most, bins: Vec::new() };
        for _ in 0..u32::from_le_bytes(take(rest)?) {
            read.bins.push((i32::from_le_bytes(take(rest)?), u64::from_le_bytes(take(rest)?)));
        }
        let ascending = read.bins.is_sorted_by(|(left, _), (right, _)| left < right);
        let has_range = least <= most || !read.bins.iter().any(|(number, _)| is_finite(*number));
        if level > LEVEL_MAX || !ascending || read.bins.len() > BINS_MAX || !has_range {
            return Err("it is no sketch of quantiles".to_owned());
        }
        Ok(read)
    }

    fn value(&self, settings: &QuantileSettings) -> Value<'_> {
        self.at(settings.millionths).map_or(Value::Null, |value| Value::F64(one_form(value)))
    }

    fn heap_bytes(&self) -> usize {
        self.bins.capacity() * size_of::<(i32, u64)>()
    }
}
