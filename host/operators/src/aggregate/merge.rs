//! Adds slots to slots: panes to windows, sessions to the session that swallows them.
//!
//! Invariant: a pair of slots is merged in every aggregate or in none, and the slot added to then holds what it would
//! hold had all rows of both been folded into it. Cells that are bounded in bytes are so for rows alone: a merge of two
//! that fit is taken.

use weir_stream::{FunctionFault, Reject};

use super::Aggregate;
use super::accumulator::{Accumulator, Fold, Keep, Mean, Sum};
use super::plugin::{self, Merged, PluginColumn};
use super::slots::Accumulators;
use crate::operator::StepFault;

/// A slot and the slot that is added to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Pair {
    pub to: u32,
    pub from: u32,
}

/// A pair that was left alone: the sum of both would not fit, or a user's function failed on it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct MergeOverflow {
    pub pair: Pair,
    /// Number of the aggregate.
    pub aggregate: usize,
    pub fault: Option<FunctionFault>,
}

impl MergeOverflow {
    /// What a row is told that joins two sessions, of which the later one is lost.
    pub(super) fn joining(&self, row: u32, name: &str) -> Reject {
        let lost = format!("`{name}`: this row joins sessions, of which the later one is lost");
        match &self.fault {
            None => Reject::new(row, "overflow", format!("{lost}: they add up to more than the type can hold")),
            Some(fault) => Reject::new(row, fault.code(), format!("{lost}: the plugin {fault}")),
        }
    }
}

impl Accumulators {
    /// Adds the `from` slots of `other` (`None`: of these very columns) to the `to` slots of these. Answers the pairs
    /// that an aggregate cannot take.
    ///
    /// # Errors
    /// When a user's function is among the aggregates: see [`super::plugin`].
    pub(super) fn merge(
        &mut self,
        aggregates: &[Aggregate],
        pairs: &[Pair],
        other: Option<&Self>,
    ) -> Result<Vec<MergeOverflow>, StepFault> {
        let Some((number, plugin)) = plugin::of(aggregates) else { return Ok(self.merge_own(pairs, other)) };
        let own = of_plugin(&self.columns[number]);
        let Merged { cells, failed } =
            plugin.merge(own, pairs, other.map(|other| of_plugin(&other.columns[number])))?;
        let left: Vec<Pair> = pairs.iter().copied().filter(|pair| failed.iter().all(|(of, _)| of != pair)).collect();
        let mut overflows = self.merge_own(&left, other);
        if let Accumulator::Plugin(column) = &mut self.columns[number] {
            let fits = |pair: &Pair| overflows.iter().all(|overflow| overflow.pair != *pair);
            cells.into_iter().filter(|(pair, _)| fits(pair)).for_each(|(pair, cell)| column.set(pair.to, cell));
        }
        let failed = failed.into_iter();
        overflows.extend(failed.map(|(pair, fault)| MergeOverflow { pair, aggregate: number, fault: Some(fault) }));
        Ok(overflows)
    }

    /// As [`Accumulators::merge`] of aggregates without a user's function; of one, accumulators go where there are none yet.
    pub(super) fn merge_own(&mut self, pairs: &[Pair], other: Option<&Self>) -> Vec<MergeOverflow> {
        let column = |number: usize| other.map(|other| &other.columns[number]);
        let numbered = self.columns.iter_mut().enumerate();
        let fits = numbered.fold(true, |fits, (number, own)| own.reserve_merge(pairs, column(number)) && fits);
        if fits {
            self.columns.iter_mut().enumerate().for_each(|(number, own)| own.merge(pairs, column(number)));
            return Vec::new();
        }
        let mut overflows = Vec::new();
        for pair in pairs {
            let mut numbered = self.columns.iter().enumerate();
            if let Some((aggregate, _)) = numbered.find(|(number, own)| !own.merge_fits(*pair, column(*number))) {
                overflows.push(MergeOverflow { pair: *pair, aggregate, fault: None });
                continue;
            }
            for (number, own) in self.columns.iter_mut().enumerate() {
                own.merge(&[*pair], column(number));
                own.note_slot(pair.to);
            }
        }
        overflows
    }
}

/// The part of `$other` that `$pattern` names; both sides are of one aggregate and so of one variant.
macro_rules! part {
    ($other:expr, $pattern:pat => $part:expr) => {
        $other.map(|other| match other {
            $pattern => $part,
            different => unreachable!("{different:?} is of another aggregate"),
        })
    };
}

fn of_plugin(column: &Accumulator) -> &PluginColumn {
    match column {
        Accumulator::Plugin(column) => column,
        other => unreachable!("{other:?} is not of a plugin"),
    }
}

impl Accumulator {
    /// Whether all pairs fit, whatever their slots; if so the bound grows by them.
    fn reserve_merge(&mut self, pairs: &[Pair], other: Option<&Self>) -> bool {
        match self {
            Self::SumI64(sum) => sum.reserve_merge(pairs, part!(other, Self::SumI64(other) => other.bound)),
            Self::SumU64(sum) => sum.reserve_merge(pairs, part!(other, Self::SumU64(other) => other.bound)),
            Self::SumI128(sum) => sum.reserve_merge(pairs, part!(other, Self::SumI128(other) => other.bound)),
            Self::MeanI128 { mean, .. } => {
                mean.sum.reserve_merge(pairs, part!(other, Self::MeanI128 { mean, .. } => mean.sum.bound))
            }
            _ => true,
        }
    }

    fn merge_fits(&self, pair: Pair, other: Option<&Self>) -> bool {
        match self {
            Self::SumI64(sum) => {
                let (to, from) = values(&sum.fold, pair, part!(other, Self::SumI64(other) => &other.fold));
                to.checked_add(from).is_some()
            }
            Self::SumU64(sum) => {
                let (to, from) = values(&sum.fold, pair, part!(other, Self::SumU64(other) => &other.fold));
                to.checked_add(from).is_some()
            }
            Self::SumI128(sum) => sum.merge_fits(pair, part!(other, Self::SumI128(other) => &other.fold)),
            Self::MeanI128 { mean, .. } => {
                mean.sum.merge_fits(pair, part!(other, Self::MeanI128 { mean, .. } => &mean.sum.fold))
            }
            _ => true,
        }
    }

    /// Adds pairs that are known to fit.
    fn merge(&mut self, pairs: &[Pair], other: Option<&Self>) {
        match self {
            Self::Count(counts) => add_counts(counts, pairs, part!(other, Self::Count(other) => other)),
            Self::SumI64(sum) => {
                sum.fold.merge(pairs, part!(other, Self::SumI64(other) => &other.fold), i64::wrapping_add);
            }
            Self::SumU64(sum) => {
                sum.fold.merge(pairs, part!(other, Self::SumU64(other) => &other.fold), u64::wrapping_add);
            }
            Self::SumF64(fold) => {
                fold.merge(pairs, part!(other, Self::SumF64(other) => other), |sum, value| sum + value)
            }
            Self::SumI128(sum) => {
                sum.fold.merge(pairs, part!(other, Self::SumI128(other) => &other.fold), i128::wrapping_add);
            }
            Self::MeanInteger(mean) => {
                mean.merge(pairs, part!(other, Self::MeanInteger(other) => other), i128::wrapping_add);
            }
            Self::MeanF64(mean) => {
                mean.merge(pairs, part!(other, Self::MeanF64(other) => other), |sum, value| sum + value)
            }
            Self::MeanI128 { mean, .. } => {
                mean.merge(pairs, part!(other, Self::MeanI128 { mean, .. } => mean), i128::wrapping_add);
            }
            Self::Cells(column) => column.merge(pairs, part!(other, Self::Cells(other) => &**other)),
            Self::Plugin(column) => column.fill(pairs, part!(other, Self::Plugin(other) => other)),
            extreme => extreme.merge_extreme(pairs, other),
        }
    }

    fn merge_extreme(&mut self, pairs: &[Pair], other: Option<&Self>) {
        match self {
            Self::ExtremeI64(fold, keep) => {
                fold.merge(pairs, part!(other, Self::ExtremeI64(other, _) => other), choose(*keep));
            }
            Self::ExtremeU64(fold, keep) => {
                fold.merge(pairs, part!(other, Self::ExtremeU64(other, _) => other), choose(*keep));
            }
            Self::ExtremeI128(fold, keep) => {
                fold.merge(pairs, part!(other, Self::ExtremeI128(other, _) => other), choose(*keep));
            }
            Self::ExtremeF64(fold, keep) => {
                let keep = *keep;
                fold.merge(pairs, part!(other, Self::ExtremeF64(other, _) => other), |kept, value| {
                    keep.of_floats(kept, value)
                });
            }
            Self::ExtremeBytes { values, keep, bytes } => {
                let other = part!(other, Self::ExtremeBytes { values, .. } => values);
                for Pair { to, from } in pairs {
                    let from = other.unwrap_or(values)[*from as usize].clone();
                    let kept = &mut values[*to as usize];
                    if let Some(value) =
                        from.filter(|value| kept.as_ref().is_none_or(|kept| keep.replaces(kept, value)))
                    {
                        *bytes = *bytes + value.len() - kept.as_ref().map_or(0, |kept| kept.len());
                        *kept = Some(value);
                    }
                }
            }
            different => unreachable!("{different:?} is no extreme"),
        }
    }
}

fn values<T: Copy>(own: &Fold<T>, pair: Pair, other: Option<&Fold<T>>) -> (T, T) {
    (own.values[pair.to as usize], other.unwrap_or(own).values[pair.from as usize])
}

fn choose<T: Ord>(keep: Keep) -> fn(T, T) -> T {
    match keep {
        Keep::Smaller => T::min,
        Keep::Larger => T::max,
    }
}

fn add_counts<T: Copy + std::ops::AddAssign>(counts: &mut [T], pairs: &[Pair], other: Option<&Vec<T>>) {
    for Pair { to, from } in pairs {
        let more = other.map_or_else(|| counts[*from as usize], |other| other[*from as usize]);
        counts[*to as usize] += more;
    }
}

impl<T: Copy> Fold<T> {
    fn merge(&mut self, pairs: &[Pair], other: Option<&Self>, combine: impl Fn(T, T) -> T) {
        for Pair { to, from } in pairs {
            let value = other.unwrap_or(self).get(*from as usize);
            if let Some(value) = value {
                self.set(*to as usize, combine(self.values[*to as usize], value));
            }
        }
    }
}

impl<T: Copy> Mean<T> {
    fn merge(&mut self, pairs: &[Pair], other: Option<&Self>, add: impl Fn(T, T) -> T) {
        self.sum.fold.merge(pairs, other.map(|other| &other.sum.fold), add);
        add_counts(&mut self.counts, pairs, other.map(|other| &other.counts));
    }
}

impl<T: Copy> Sum<T> {
    /// A slot of another table is added to any slot at most once, one of this table any number of times.
    fn reserve_merge(&mut self, pairs: &[Pair], other: Option<u128>) -> bool {
        let added = other.unwrap_or_else(|| self.bound.saturating_mul(pairs.len() as u128));
        let bound = self.bound.saturating_add(added);
        if bound > self.limit {
            return false;
        }
        // Slots of this table that go into others leave behind nothing larger than what was there.
        self.bound = bound;
        true
    }
}

impl Sum<i128> {
    fn merge_fits(&self, pair: Pair, other: Option<&Fold<i128>>) -> bool {
        let (to, from) = values(&self.fold, pair, other);
        to.checked_add(from).is_some_and(|sum| sum.unsigned_abs() <= self.limit)
    }
}
