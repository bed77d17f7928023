//! Folds rows into slots: one tight loop per aggregate, over rows whose slots are known.
//!
//! Sums are checked by a bound over the whole table first; only when that could pass the limit is each row looked
//! at on its own ([`Accumulator::fits`]).

use super::accumulator::{Accumulator, Fold, Keep, Mean, Sum};
use super::argument::{Argument, Values};

/// Rows of a batch and, for each, its slot.
#[derive(Clone, Copy)]
pub(super) struct Touched<'a> {
    pub rows: &'a [u32],
    pub slots: &'a [u32],
}

impl<'a> Touched<'a> {
    pub(super) fn part(self, offset: usize, length: usize) -> Self {
        Self { rows: &self.rows[offset..offset + length], slots: &self.slots[offset..offset + length] }
    }

    #[inline]
    pub(super) fn each(self, argument: &Argument, mut value: impl FnMut(usize, u32)) {
        let pairs = self.rows.iter().zip(self.slots);
        if argument.has_nulls() {
            let valid = pairs.filter(|(row, _)| !argument.is_null(**row));
            valid.for_each(|(row, slot)| value(*row as usize, *slot));
        } else {
            pairs.for_each(|(row, slot)| value(*row as usize, *slot));
        }
    }

    #[inline]
    fn fold<T: Copy>(self, argument: &Argument, values: &[T], fold: &mut Fold<T>, combine: impl Fn(T, T) -> T) {
        let Fold { values: folded, seen, .. } = fold;
        self.each(argument, |row, slot| {
            let folded = &mut folded[slot as usize];
            *folded = combine(*folded, values[row]);
            seen.set(slot);
        });
    }

    #[inline]
    fn mean<V: Copy, T: Copy>(self, argument: &Argument, values: &[V], mean: &mut Mean<T>, add: impl Fn(T, V) -> T) {
        let Mean { sum: Sum { fold: Fold { values: sums, seen, .. }, .. }, counts } = mean;
        self.each(argument, |row, slot| {
            let sum = &mut sums[slot as usize];
            *sum = add(*sum, values[row]);
            counts[slot as usize] += 1;
            seen.set(slot);
        });
    }
}

impl<T> Sum<T> {
    /// Whether `rows` values of at most `largest` can be added to any slots without passing the limit; if so the
    /// bound grows by them.
    fn reserve(&mut self, largest: u128, rows: usize) -> bool {
        let bound = self.bound.saturating_add(largest.saturating_mul(rows as u128));
        if bound > self.limit {
            return false;
        }
        self.bound = bound;
        true
    }

    pub(super) fn note(&mut self, magnitude: u128) {
        self.bound = self.bound.max(magnitude);
    }
}

impl Accumulator {
    /// Whether the rows surely fit, so that none needs to be looked at on its own.
    pub(super) fn reserve(&mut self, argument: &Argument, touched: Touched) -> bool {
        let rows = touched.rows.len();
        match self {
            Self::SumI64(sum) => sum.reserve(argument.largest, rows),
            Self::SumU64(sum) => sum.reserve(argument.largest, rows),
            Self::SumI128(sum) | Self::MeanI128 { mean: Mean { sum, .. }, .. } => sum.reserve(argument.largest, rows),
            Self::Cells(column) => column.surely_fits(argument, touched),
            _ => true,
        }
    }

    /// Whether the row's value, whatever the key, is within what the aggregate can take.
    pub(super) fn takes(&self, argument: &Argument, row: u32) -> bool {
        if argument.is_null(row) {
            return true;
        }
        match (self, &argument.values) {
            (Self::MeanI128 { largest, .. }, Values::I128(values)) => values[row as usize].unsigned_abs() <= *largest,
            (Self::Cells(column), _) => column.takes(argument, row as usize),
            _ => true,
        }
    }

    /// Whether the row's value can be added to the slot.
    pub(super) fn fits(&self, argument: &Argument, row: u32, slot: u32) -> bool {
        let (row_index, slot) = (row as usize, slot as usize);
        if argument.is_null(row) {
            return true;
        }
        match (self, &argument.values) {
            (Self::SumI64(sum), Values::I64(values)) => sum.fold.values[slot].checked_add(values[row_index]).is_some(),
            (Self::SumU64(sum), Values::U64(values)) => sum.fold.values[slot].checked_add(values[row_index]).is_some(),
            (Self::SumI128(sum) | Self::MeanI128 { mean: Mean { sum, .. }, .. }, Values::I128(values)) => {
                let sum_then = sum.fold.values[slot].checked_add(values[row_index]);
                sum_then.is_some_and(|then| then.unsigned_abs() <= sum.limit)
            }
            (Self::Cells(column), _) => column.fits(argument, row_index, slot),
            _ => true,
        }
    }

    /// Whether the slot's result is within its type.
    pub(super) fn has_result(&self, slot: u32) -> bool {
        match self {
            Self::Cells(column) => column.has_result(slot as usize),
            _ => true,
        }
    }

    /// Takes the rows back. Only accumulators that [`Accumulator::retractable`] made can.
    pub(super) fn retract(&mut self, argument: &Argument, touched: Touched) {
        match self {
            Self::Count(counts) => touched.each(argument, |_, slot| counts[slot as usize] -= 1),
            Self::Cells(column) => column.retract(argument, touched),
            other => unreachable!("{other:?} stands behind rows that change"),
        }
    }

    /// After rows were added that [`Accumulator::fits`] let through: keeps the bound true.
    pub(super) fn note_slot(&mut self, slot: u32) {
        let slot = slot as usize;
        match self {
            Self::SumI64(sum) => sum.note(sum.fold.values[slot].unsigned_abs().into()),
            Self::SumU64(sum) => sum.note(sum.fold.values[slot].into()),
            Self::SumI128(sum) | Self::MeanI128 { mean: Mean { sum, .. }, .. } => {
                sum.note(sum.fold.values[slot].unsigned_abs());
            }
            _ => {}
        }
    }

    /// Adds the rows, which are known to fit.
    pub(super) fn update(&mut self, argument: &Argument, touched: Touched) {
        match (self, &argument.values) {
            (Self::Count(counts), _) => touched.each(argument, |_, slot| counts[slot as usize] += 1),
            (Self::SumI64(sum), Values::I64(values)) => {
                touched.fold(argument, values, &mut sum.fold, i64::wrapping_add)
            }
            (Self::SumU64(sum), Values::U64(values)) => {
                touched.fold(argument, values, &mut sum.fold, u64::wrapping_add)
            }
            (Self::SumF64(fold), Values::F64(values)) => touched.fold(argument, values, fold, |sum, value| sum + value),
            (Self::SumI128(sum), Values::I128(values)) => {
                touched.fold(argument, values, &mut sum.fold, i128::wrapping_add);
            }
            (Self::MeanInteger(mean), Values::I64(values)) => {
                touched.mean(argument, values, mean, |sum, value| sum.wrapping_add(value.into()));
            }
            (Self::MeanInteger(mean), Values::U64(values)) => {
                touched.mean(argument, values, mean, |sum, value| sum.wrapping_add(value.into()));
            }
            (Self::MeanF64(mean), Values::F64(values)) => {
                touched.mean(argument, values, mean, |sum, value: f64| sum + value);
            }
            (Self::MeanI128 { mean, .. }, Values::I128(values)) => {
                touched.mean(argument, values, mean, i128::wrapping_add);
            }
            (Self::Cells(column), _) => column.update(argument, touched),
            (extreme, _) => extreme.update_extreme(argument, touched),
        }
    }

    fn update_extreme(&mut self, argument: &Argument, touched: Touched) {
        match (self, &argument.values) {
            (Self::ExtremeI64(fold, keep), Values::I64(values)) => extreme(touched, argument, values, fold, *keep),
            (Self::ExtremeU64(fold, keep), Values::U64(values)) => extreme(touched, argument, values, fold, *keep),
            (Self::ExtremeI128(fold, keep), Values::I128(values)) => extreme(touched, argument, values, fold, *keep),
            (Self::ExtremeF64(fold, Keep::Smaller), Values::F64(values)) => {
                touched.fold(argument, values, fold, |kept, value| Keep::Smaller.of_floats(kept, value));
            }
            (Self::ExtremeF64(fold, Keep::Larger), Values::F64(values)) => {
                touched.fold(argument, values, fold, |kept, value| Keep::Larger.of_floats(kept, value));
            }
            (Self::ExtremeBytes { values, keep, bytes }, Values::Bytes(array)) => {
                touched.each(argument, |row, slot| {
                    let (kept, value) = (&mut values[slot as usize], array.value(row));
                    if kept.as_deref().is_none_or(|kept| keep.replaces(kept, value)) {
                        *bytes = *bytes + value.len() - kept.as_ref().map_or(0, |kept| kept.len());
                        *kept = Some(value.into());
                    }
                });
            }
            (accumulator, values) => {
                unreachable!("the lane of {accumulator:?} was chosen from its argument's type, not {values:?}")
            }
        }
    }
}

fn extreme<T: Copy + Ord>(touched: Touched, argument: &Argument, values: &[T], fold: &mut Fold<T>, keep: Keep) {
    match keep {
        Keep::Smaller => touched.fold(argument, values, fold, T::min),
        Keep::Larger => touched.fold(argument, values, fold, T::max),
    }
}
