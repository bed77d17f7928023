//! One aggregate's state: columns indexed by slot.
//!
//! Invariant: a slot that no value has reached holds the fold's neutral value and is not `seen`.

use arrow_schema::DataType;
use weir_state::table::{growth, prefetch};

use super::argument::Lane;
use super::cell::{Cells, Column, Exact, ExactSettings};
use super::plugin::PluginColumn;
use super::{Aggregate, AggregateKind};

/// One bit per slot.
#[derive(Debug, Clone, Default)]
pub(super) struct Bits(Vec<u64>);

impl Bits {
    #[inline]
    pub(super) fn set(&mut self, slot: u32) {
        self.0[slot as usize / 64] |= 1 << (slot % 64);
    }

    #[inline]
    pub(super) fn get(&self, slot: usize) -> bool {
        self.0[slot / 64] >> (slot % 64) & 1 == 1
    }

    fn resize(&mut self, slots: usize) {
        self.0.resize(slots.div_ceil(64), 0);
    }
}

/// A value per slot that rows are folded into.
#[derive(Debug, Clone)]
pub(super) struct Fold<T> {
    pub values: Vec<T>,
    pub seen: Bits,
    neutral: T,
}

impl<T: Copy> Fold<T> {
    fn new(neutral: T) -> Self {
        Self { values: Vec::new(), seen: Bits::default(), neutral }
    }

    fn resize(&mut self, slots: usize) {
        growth::resize(&mut self.values, slots, self.neutral);
        self.seen.resize(slots);
    }

    /// The slot's value, if a row reached it.
    #[inline]
    pub(super) fn get(&self, slot: usize) -> Option<T> {
        self.seen.get(slot).then(|| self.values[slot])
    }

    pub(super) fn set(&mut self, slot: usize, value: T) {
        self.values[slot] = value;
        self.seen.set(slot as u32);
    }

    fn keep(&mut self, slots: &[u32]) {
        keep(&mut self.values, slots);
        let seen: Vec<bool> = slots.iter().map(|slot| self.seen.get(*slot as usize)).collect();
        self.seen = Bits::default();
        self.seen.resize(slots.len());
        (0u32..).zip(seen).filter(|(_, seen)| *seen).for_each(|(slot, _)| self.seen.set(slot));
    }

    fn byte_size(&self) -> usize {
        self.values.capacity() * size_of::<T>() + self.seen.0.capacity() * 8
    }
}

/// A sum that must stay within `limit` of zero.
#[derive(Debug, Clone)]
pub(super) struct Sum<T> {
    pub fold: Fold<T>,
    pub limit: u128,
    /// No slot is further from zero than this. While it stays under the limit no row needs to be checked.
    pub bound: u128,
}

impl<T: Copy> Sum<T> {
    fn new(zero: T, limit: u128) -> Self {
        Self { fold: Fold::new(zero), limit, bound: 0 }
    }
}

/// A sum and the number of its values.
#[derive(Debug, Clone)]
pub(super) struct Mean<T> {
    pub sum: Sum<T>,
    pub counts: Vec<u64>,
}

impl<T: Copy> Mean<T> {
    fn new(zero: T, limit: u128) -> Self {
        Self { sum: Sum::new(zero, limit), counts: Vec::new() }
    }
}

/// Which of two values stays.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Keep {
    Smaller,
    Larger,
}

impl Keep {
    /// Of floats: NaN is the largest, -0.0 is 0.0.
    #[inline]
    pub(super) fn of_floats(self, kept: f64, value: f64) -> f64 {
        let replaces = match self {
            Self::Smaller => kept.is_nan() || value < kept,
            Self::Larger => value.is_nan() || value > kept,
        };
        if replaces { value + 0.0 } else { kept }
    }

    #[inline]
    pub(super) fn replaces<T: Ord + ?Sized>(self, kept: &T, value: &T) -> bool {
        match self {
            Self::Smaller => value < kept,
            Self::Larger => value > kept,
        }
    }
}

/// The state of one aggregate, by kind and width.
#[derive(Debug, Clone)]
pub(super) enum Accumulator {
    Count(Vec<i64>),
    SumI64(Sum<i64>),
    SumU64(Sum<u64>),
    SumF64(Fold<f64>),
    SumI128(Sum<i128>),
    /// Of integers of either sign: no number of rows that fit in time overflows it.
    MeanInteger(Mean<i128>),
    MeanF64(Mean<f64>),
    /// Every value is at most `largest` from zero: then the mean fits its type.
    MeanI128 {
        mean: Mean<i128>,
        largest: u128,
    },
    ExtremeI64(Fold<i64>, Keep),
    ExtremeU64(Fold<u64>, Keep),
    ExtremeF64(Fold<f64>, Keep),
    ExtremeI128(Fold<i128>, Keep),
    ExtremeBytes {
        values: Vec<Option<Box<[u8]>>>,
        keep: Keep,
        /// Bytes of the values alone.
        bytes: usize,
    },
    /// Of the kinds whose state is more than a number.
    Cells(Box<dyn Column>),
    /// What a user's function keeps; it is asked where rows, pairs and results are at hand.
    Plugin(PluginColumn),
}

/// Keeps the values of these slots (ascending) as those of slots `0..`.
pub(super) fn keep<T: Copy>(values: &mut Vec<T>, slots: &[u32]) {
    for (to, from) in slots.iter().enumerate() {
        values[to] = values[*from as usize];
    }
    values.truncate(slots.len());
    values.shrink_to_fit();
}

/// Digits that a decimal result has behind the point beyond its argument's.
pub(super) fn added_scale(argument: &DataType, result: &DataType) -> u32 {
    match (argument, result) {
        (DataType::Decimal128(_, argument), DataType::Decimal128(_, result)) => (result - argument) as u32,
        _ => 0,
    }
}

/// The largest number of so many digits.
pub(super) fn digits(count: u8) -> u128 {
    10u128.pow(count.into()) - 1
}

impl Accumulator {
    pub(super) fn new(aggregate: &Aggregate) -> Self {
        let argument = aggregate.argument_type();
        let lane = Lane::of(&argument);
        match aggregate.kind {
            AggregateKind::Count => Self::Count(Vec::new()),
            AggregateKind::Sum => Self::sum(lane, &argument),
            AggregateKind::Avg => Self::mean(lane, &argument),
            AggregateKind::Min | AggregateKind::BoolAnd => Self::extreme(lane, Keep::Smaller),
            AggregateKind::Max | AggregateKind::BoolOr => Self::extreme(lane, Keep::Larger),
            AggregateKind::Plugin => Self::Plugin(PluginColumn::default()),
            kind => Self::Cells(kind.cells(lane, argument, aggregate.rank_lane())),
        }
    }

    /// One whose rows can be taken back.
    ///
    /// # Errors
    /// That this kind cannot, and what can.
    pub(super) fn retractable(aggregate: &Aggregate) -> Result<Self, String> {
        let name = aggregate.kind.name();
        if let Some(plugin) = &aggregate.plugin {
            let message = "the plugin cannot take rows back, and the rows that come in here change; give it `retract`";
            return if plugin.retracts() { Ok(Self::new(aggregate)) } else { Err(message.to_owned()) };
        }
        let is_mean = match aggregate.kind {
            AggregateKind::Count => return Ok(Self::Count(Vec::new())),
            AggregateKind::Sum => false,
            AggregateKind::Avg => true,
            _ => {
                let can = "the rows that come in here change; count, sum and avg can";
                return Err(format!("`{name}` cannot take rows back, and {can}"));
            }
        };
        let (least, most, largest) = match Self::new(aggregate) {
            Self::SumI64(_) => (i64::MIN.into(), i64::MAX.into(), u128::MAX),
            Self::SumU64(_) => (0, u64::MAX.into(), u128::MAX),
            Self::SumI128(sum) => (-(sum.limit as i128), sum.limit as i128, u128::MAX),
            Self::MeanInteger(_) => (i128::MIN, i128::MAX, u128::MAX),
            Self::MeanI128 { mean, largest } => (-(mean.sum.limit as i128), mean.sum.limit as i128, largest),
            _ => {
                let text = aggregate.argument.as_ref().map_or("", |argument| argument.text());
                let instead = format!("{name}(cast({text} as decimal(18, 6)))");
                return Err(format!(
                    "`{name}` of float64 cannot take rows back exactly; of a decimal it can: {instead}"
                ));
            }
        };
        let result = aggregate.result_type().map_err(|error| error.message)?;
        let added_scale = added_scale(&aggregate.argument_type(), &result);
        let settings = ExactSettings { is_mean, least, most, largest, result, added_scale };
        Ok(Self::Cells(Cells::<Exact>::boxed(settings)))
    }

    /// Keeps these slots (ascending) as slots `0..`.
    pub(super) fn keep(&mut self, slots: &[u32]) {
        match self {
            Self::Count(counts) => keep(counts, slots),
            Self::SumI64(sum) => sum.fold.keep(slots),
            Self::SumU64(sum) => sum.fold.keep(slots),
            Self::SumI128(sum) => sum.fold.keep(slots),
            Self::SumF64(fold) | Self::ExtremeF64(fold, _) => fold.keep(slots),
            Self::MeanInteger(mean) | Self::MeanI128 { mean, .. } => {
                mean.sum.fold.keep(slots);
                keep(&mut mean.counts, slots);
            }
            Self::MeanF64(mean) => {
                mean.sum.fold.keep(slots);
                keep(&mut mean.counts, slots);
            }
            Self::ExtremeI64(fold, _) => fold.keep(slots),
            Self::ExtremeU64(fold, _) => fold.keep(slots),
            Self::ExtremeI128(fold, _) => fold.keep(slots),
            Self::ExtremeBytes { values, bytes, .. } => {
                for (to, from) in slots.iter().enumerate() {
                    values.swap(to, *from as usize);
                }
                values.truncate(slots.len());
                values.shrink_to_fit();
                *bytes = values.iter().flatten().map(|value| value.len()).sum();
            }
            Self::Cells(column) => column.keep(slots),
            Self::Plugin(column) => column.keep(slots),
        }
    }

    fn sum(lane: Lane, argument: &DataType) -> Self {
        match (lane, argument) {
            (Lane::U64, _) => Self::SumU64(Sum::new(0, u64::MAX.into())),
            (Lane::F64, _) => Self::SumF64(Fold::new(0.0)),
            (_, DataType::Decimal128(precision, _)) => {
                let precision = super::MAX_DIGITS.min(precision + super::SUM_DIGITS);
                Self::SumI128(Sum::new(0, digits(precision)))
            }
            _ => Self::SumI64(Sum::new(0, i64::MAX as u128)),
        }
    }

    fn mean(lane: Lane, argument: &DataType) -> Self {
        match (lane, argument) {
            (Lane::F64, _) => Self::MeanF64(Mean::new(0.0, u128::MAX)),
            (_, DataType::Decimal128(precision, scale)) => {
                let added = (super::MAX_DIGITS as i8 - scale).min(super::AVG_DIGITS as i8) as u32;
                let result = super::MAX_DIGITS.min(precision + super::AVG_DIGITS);
                let largest = digits(result) / 10u128.pow(added);
                Self::MeanI128 { mean: Mean::new(0, digits(super::MAX_DIGITS)), largest }
            }
            _ => Self::MeanInteger(Mean::new(0, u128::MAX)),
        }
    }

    fn extreme(lane: Lane, keep: Keep) -> Self {
        let least = keep == Keep::Larger;
        match lane {
            Lane::U64 => Self::ExtremeU64(Fold::new(if least { u64::MIN } else { u64::MAX }), keep),
            Lane::F64 => Self::ExtremeF64(Fold::new(if least { f64::NEG_INFINITY } else { f64::NAN }), keep),
            Lane::I128 => Self::ExtremeI128(Fold::new(if least { i128::MIN } else { i128::MAX }), keep),
            Lane::Bytes => Self::ExtremeBytes { values: Vec::new(), keep, bytes: 0 },
            Lane::I64 | Lane::Rows | Lane::Canonical => {
                Self::ExtremeI64(Fold::new(if least { i64::MIN } else { i64::MAX }), keep)
            }
        }
    }

    /// Whether a row's value can be too much for it, so that its argument's largest value must be known.
    pub(super) fn is_bounded(&self) -> bool {
        match self {
            Self::Cells(column) => column.is_bounded(),
            other => matches!(other, Self::SumI64(_) | Self::SumU64(_) | Self::SumI128(_) | Self::MeanI128 { .. }),
        }
    }

    pub(super) fn resize(&mut self, slots: usize) {
        match self {
            Self::Count(counts) => growth::resize(counts, slots, 0),
            Self::SumI64(sum) => sum.fold.resize(slots),
            Self::SumU64(sum) => sum.fold.resize(slots),
            Self::SumI128(sum) => sum.fold.resize(slots),
            Self::SumF64(fold) | Self::ExtremeF64(fold, _) => fold.resize(slots),
            Self::MeanInteger(mean) | Self::MeanI128 { mean, .. } => {
                mean.sum.fold.resize(slots);
                growth::resize(&mut mean.counts, slots, 0);
            }
            Self::MeanF64(mean) => {
                mean.sum.fold.resize(slots);
                growth::resize(&mut mean.counts, slots, 0);
            }
            Self::ExtremeI64(fold, _) => fold.resize(slots),
            Self::ExtremeU64(fold, _) => fold.resize(slots),
            Self::ExtremeI128(fold, _) => fold.resize(slots),
            Self::ExtremeBytes { values, .. } => growth::resize(values, slots, None),
            Self::Cells(column) => column.resize(slots),
            Self::Plugin(column) => column.resize(slots),
        }
    }

    /// Asks for the slot's number.
    pub(super) fn prefetch(&self, slot: usize) {
        fn read<T: Copy>(values: &[T], slot: usize) {
            prefetch::line(&values[slot]);
        }
        match self {
            Self::Count(counts) => read(counts, slot),
            Self::SumI64(sum) => read(&sum.fold.values, slot),
            Self::SumU64(sum) => read(&sum.fold.values, slot),
            Self::SumI128(sum) => read(&sum.fold.values, slot),
            Self::SumF64(fold) | Self::ExtremeF64(fold, _) => read(&fold.values, slot),
            Self::MeanInteger(mean) | Self::MeanI128 { mean, .. } => read(&mean.sum.fold.values, slot),
            Self::MeanF64(mean) => read(&mean.sum.fold.values, slot),
            Self::ExtremeI64(fold, _) => read(&fold.values, slot),
            Self::ExtremeU64(fold, _) => read(&fold.values, slot),
            Self::ExtremeI128(fold, _) => read(&fold.values, slot),
            // What they hold lies elsewhere.
            Self::ExtremeBytes { .. } | Self::Cells(_) | Self::Plugin(_) => {}
        }
    }

    pub(super) fn byte_size(&self) -> usize {
        match self {
            Self::Count(counts) => counts.capacity() * 8,
            Self::SumI64(sum) => sum.fold.byte_size(),
            Self::SumU64(sum) => sum.fold.byte_size(),
            Self::SumI128(sum) => sum.fold.byte_size(),
            Self::SumF64(fold) | Self::ExtremeF64(fold, _) => fold.byte_size(),
            Self::MeanInteger(mean) | Self::MeanI128 { mean, .. } => {
                mean.sum.fold.byte_size() + mean.counts.capacity() * 8
            }
            Self::MeanF64(mean) => mean.sum.fold.byte_size() + mean.counts.capacity() * 8,
            Self::ExtremeI64(fold, _) => fold.byte_size(),
            Self::ExtremeU64(fold, _) => fold.byte_size(),
            Self::ExtremeI128(fold, _) => fold.byte_size(),
            Self::ExtremeBytes { values, bytes, .. } => values.capacity() * size_of::<Option<Box<[u8]>>>() + bytes,
            Self::Cells(column) => column.byte_size(),
            Self::Plugin(column) => column.byte_size(),
        }
    }
}
