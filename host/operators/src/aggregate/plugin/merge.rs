//! Accumulators of a user's aggregate into others: panes of a window, sessions that a row joins.

use arrow_array::ArrayRef;
use weir_stream::{FunctionFault, GroupAccumulators};

use super::column::is_there;
use super::{ACCUMULATOR_BYTES_PER_CALL, Calls, PluginAggregate, PluginColumn};
use crate::aggregate::merge::Pair;
use crate::operator::StepFault;
use crate::transform::halves;

/// What becomes of pairs that both have an accumulator; nothing is changed yet.
#[derive(Debug, Default)]
pub(in crate::aggregate) struct Merged {
    pub cells: Vec<(Pair, Box<[u8]>)>,
    /// Pairs that the function failed on.
    pub failed: Vec<(Pair, FunctionFault)>,
}

impl PluginAggregate {
    /// Merges the `from` accumulators of `other` (none: of `own`) into the `to` accumulators of `own`. A `to` stands in one
    /// pair at most.
    pub(in crate::aggregate) fn merge(
        &self,
        own: &PluginColumn,
        pairs: &[Pair],
        other: Option<&PluginColumn>,
    ) -> Result<Merged, StepFault> {
        let other = other.unwrap_or(own);
        let is_both = |pair: &Pair| is_there(own.get(pair.to)) && is_there(other.get(pair.from));
        let pairs: Vec<Pair> = pairs.iter().copied().filter(is_both).collect();
        let (mut merged, mut open, mut searching_ns) = (Merged::default(), Vec::new(), None);
        if pairs.is_empty() {
            return Ok(merged);
        }
        let mut calls = self.calls();
        open.push((0, pairs.len()));
        while let Some((offset, length)) = open.pop() {
            let part = &pairs[offset..offset + length];
            let bytes: usize = part.iter().map(|pair| own.get(pair.to).len() + other.get(pair.from).len()).sum();
            if length > 1 && bytes > ACCUMULATOR_BYTES_PER_CALL {
                open.extend(halves(offset, length));
                continue;
            }
            let into = self.decode(part.iter().map(|pair| own.get(pair.to)))?;
            let from = self.decode(part.iter().map(|pair| other.get(pair.from)))?;
            match self.merge_call(&mut calls, &into, &from) {
                Ok(cells) => merged.cells.extend(part.iter().copied().zip(cells)),
                Err(fault) => {
                    calls.search(&mut searching_ns, &fault)?;
                    if length > 1 {
                        open.extend(halves(offset, length));
                        continue;
                    }
                    calls.budget.charge_row(&fault)?;
                    merged.failed.push((part[0], fault));
                }
            }
        }
        calls.end_search(searching_ns);
        Ok(merged)
    }

    fn merge_call(
        &self,
        calls: &mut Calls,
        into: &GroupAccumulators,
        from: &GroupAccumulators,
    ) -> Result<Vec<Box<[u8]>>, FunctionFault> {
        let columns: Vec<ArrayRef> = calls.running().function.merge(&into.columns, &from.columns)?;
        self.encode(into.groups.len(), columns)
    }
}
