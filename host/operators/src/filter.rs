//! `where`: keeps the rows for which a condition is true.
//!
//! Null counts as false; a row on which the condition cannot be evaluated is a reject, not a dropped row.

use arrow_array::cast::AsArray;
use arrow_array::{Array, BooleanArray};
use arrow_select::filter::FilterBuilder;
use weir_stream::{Batch, Changes, Origin};

use crate::expression::Predicate;
use crate::operator::{Operator, Outputs, StepFault};

/// The stage of its rejects.
pub const STAGE: &str = "where";

/// A filter by condition.
#[derive(Debug, Clone)]
pub struct Where {
    predicate: Predicate,
}

impl Where {
    pub fn new(predicate: Predicate) -> Self {
        Self { predicate }
    }

    pub fn predicate(&self) -> &Predicate {
        &self.predicate
    }
}

impl Operator for Where {
    fn process(&mut self, batch: Batch, out: &mut Outputs) -> Result<(), StepFault> {
        let evaluated = self.predicate.evaluate(&batch);
        out.reject(STAGE, &batch, evaluated.rejects)?;
        let kept = keep(batch, evaluated.array.as_boolean())?;
        out.push(0, kept);
        Ok(())
    }
}

/// The rows of `batch` at which `mask` is true.
fn keep(batch: Batch, mask: &BooleanArray) -> Result<Batch, StepFault> {
    let kept = mask.true_count();
    if kept == batch.rows() {
        return Ok(batch);
    }
    if kept == 0 {
        return Ok(batch.slice(0, 0));
    }
    let mask = match mask.nulls() {
        Some(nulls) => mask.values() & nulls.inner(),
        None => mask.values().clone(),
    };
    let rows: Vec<u32> = mask.set_indices_u32().collect();
    let filter = FilterBuilder::new(&BooleanArray::new(mask, None)).optimize().build();
    let pick = |values: &[i64]| rows.iter().map(|row| values[*row as usize]).collect();
    Ok(Batch {
        columns: filter.filter_record_batch(&batch.columns)?,
        event_times_us: pick(&batch.event_times_us),
        watermarks_us: pick(&batch.watermarks_us),
        origin: Origin::take(&batch.origin, &rows),
        changes: Changes::take(&batch.changes, &rows),
    })
}
