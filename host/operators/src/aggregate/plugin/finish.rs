//! Accumulators of a user's aggregate to results.

use arrow_array::{Array, ArrayRef, new_empty_array};
use arrow_select::concat::concat;
use weir_stream::FunctionFault;

use super::{ACCUMULATOR_BYTES_PER_CALL, PluginAggregate};
use crate::aggregate::accumulator::Accumulator;
use crate::aggregate::finish::Place;
use crate::aggregate::slots::Accumulators;
use crate::operator::StepFault;
use crate::transform::halves;

/// The results of some places.
pub(in crate::aggregate) struct Finished {
    /// Of the places that have one, in their order.
    pub results: ArrayRef,
    /// Numbers of the places that the function failed on, ascending.
    pub failed: Vec<(usize, FunctionFault)>,
    /// Numbers of the places in which a row has counted, ascending: the rows of others were all rejected.
    counted: Vec<usize>,
}

impl Finished {
    /// Those of `all`, one for each place, that have a result.
    pub(in crate::aggregate) fn kept<T: Copy>(&self, all: &[T]) -> Vec<T> {
        let has_failed = |number: &usize| self.failed.binary_search_by_key(number, |(at, _)| *at).is_ok();
        self.counted.iter().filter(|number| !has_failed(number)).map(|number| all[*number]).collect()
    }
}

impl PluginAggregate {
    /// `number` is the aggregate's in its step.
    pub(in crate::aggregate) fn finish(
        &self,
        number: usize,
        tables: &[&Accumulators],
        places: &[Place],
    ) -> Result<Finished, StepFault> {
        let cell = |place: &Place| match &tables[place.table as usize].columns[number] {
            Accumulator::Plugin(column) => column.get(place.slot),
            other => unreachable!("{other:?} is not of a plugin"),
        };
        let counted: Vec<usize> = (0..places.len()).filter(|number| !cell(&places[*number]).is_empty()).collect();
        let mut calls = self.calls();
        let (mut open, mut searching_ns) = (vec![(0, counted.len())], None);
        let (mut results, mut failed) = (Vec::new(), Vec::new());
        while let Some((offset, length)) = open.pop().filter(|_| !counted.is_empty()) {
            let part = counted[offset..offset + length].iter().map(|number| cell(&places[*number]));
            let bytes: usize = part.clone().map(<[u8]>::len).sum();
            if length > 1 && bytes > ACCUMULATOR_BYTES_PER_CALL {
                open.extend(halves(offset, length));
                continue;
            }
            let held = self.decode(part)?;
            let finished = calls.running().function.finish(length, &held);
            match finished.and_then(|array| self.checked(array, length)) {
                Ok(array) => results.push(array),
                Err(fault) => {
                    calls.search(&mut searching_ns, &fault)?;
                    if length > 1 {
                        open.extend(halves(offset, length));
                        continue;
                    }
                    calls.budget.charge_row(&fault)?;
                    failed.push((counted[offset], fault));
                }
            }
        }
        calls.end_search(searching_ns);
        let arrays: Vec<&dyn Array> = results.iter().map(AsRef::as_ref).collect();
        let results = match arrays.as_slice() {
            [] => new_empty_array(self.gives().data_type()),
            arrays => concat(arrays)?,
        };
        Ok(Finished { results, failed, counted })
    }

    fn checked(&self, results: ArrayRef, places: usize) -> Result<ArrayRef, FunctionFault> {
        let gives = self.gives();
        let wrong = |what: String| Err(FunctionFault::Malformed(what));
        if results.len() != places {
            return wrong(format!("{} results for {places} groups", results.len()));
        }
        if results.data_type() != gives.data_type() {
            return wrong(format!("results of {} instead of {}", results.data_type(), gives.data_type()));
        }
        if results.null_count() > 0 && !gives.is_nullable() {
            return wrong("a null as a result that is declared not null".to_owned());
        }
        Ok(results)
    }
}
