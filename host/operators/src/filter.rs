//! `where`: keeps the rows for which a condition is true.
//!
//! Null counts as false; a row on which the condition cannot be evaluated is a reject, not a dropped row.
//!
//! Of a table that is kept up to date by key, a row that does not match (any more) becomes a delete of its key, whether or
//! not one that matched came before: what came before is not known here. Deletes pass untried.

use arrow_array::BooleanArray;
use arrow_buffer::BooleanBuffer;
use arrow_select::filter::FilterBuilder;
use weir_stream::{Batch, ChangeKind, Changes, Origin, Reject};

use crate::expression::Predicate;
use crate::operator::{Operator, Outputs, StepFault, rows_left};

/// The stage of its rejects.
pub const STAGE: &str = "where";

/// A filter by condition.
#[derive(Debug, Clone)]
pub struct Where {
    predicate: Predicate,
    is_upsert: bool,
}

impl Where {
    /// For rows that each stand for themselves.
    pub fn new(predicate: Predicate) -> Self {
        Self { predicate, is_upsert: false }
    }

    /// For rows that stand for the rows of a table with a key.
    pub fn of_table(predicate: Predicate) -> Self {
        Self { predicate, is_upsert: true }
    }

    pub fn predicate(&self) -> &Predicate {
        &self.predicate
    }
}

impl Operator for Where {
    fn process(&mut self, batch: Batch, out: &mut Outputs) -> Result<(), StepFault> {
        let (matches, rejects) = self.predicate.matches(&batch);
        if self.is_upsert {
            let rejects = without_deletes(&batch.changes, rejects);
            let rows = rows_left(batch.rows(), &rejects);
            let mut left = if rejects.is_empty() { batch.clone() } else { batch.take(&rows)? };
            out.reject(STAGE, &batch, rejects)?;
            let kept = rows.iter().map(|row| matches.value(*row as usize));
            left.changes = with_deletes(&left.changes, kept);
            out.push(0, left);
            return Ok(());
        }
        out.reject(STAGE, &batch, rejects)?;
        let kept = keep(batch, matches)?;
        out.push(0, kept);
        Ok(())
    }
}

/// The rejects of rows that are more than the end of their key.
pub(crate) fn without_deletes(changes: &Changes, mut rejects: Vec<Reject>) -> Vec<Reject> {
    rejects.retain(|reject| changes.kind(reject.row as usize) != ChangeKind::Delete);
    rejects
}

/// The kinds of a table's rows where those that are not `kept` become deletes.
pub(crate) fn with_deletes(changes: &Changes, kept: impl Iterator<Item = bool>) -> Changes {
    let kind = |(row, kept)| if kept { changes.kind(row) } else { ChangeKind::Delete };
    Changes::PerRow(kept.enumerate().map(|row| kind(row) as u8).collect())
}

/// The rows of `batch` at which `mask` is true.
fn keep(batch: Batch, mask: BooleanBuffer) -> Result<Batch, StepFault> {
    let kept = mask.count_set_bits();
    if kept == batch.rows() {
        return Ok(batch);
    }
    if kept == 0 {
        return Ok(batch.slice(0, 0));
    }
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
