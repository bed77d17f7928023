//! `split`: sends each row to the first of several outputs whose condition holds for it, or to the rest.
//!
//! A row for which a condition fails that is tried for it is a reject. Of a table that is kept up to date by key a row may
//! move from one output to another: the output that has it gets the row, every other one a delete of its key.

use arrow_array::Array;
use arrow_array::cast::AsArray;
use weir_stream::{Batch, Reject};

use crate::expression::Predicate;
use crate::filter::{with_deletes, without_deletes};
use crate::operator::{Operator, Outputs, StepFault};

/// The stage of its rejects.
pub const STAGE: &str = "split";

/// Conditions in their order; output `conditions.len()` is the rest.
#[derive(Debug, Clone)]
pub struct Route {
    conditions: Vec<Predicate>,
    is_upsert: bool,
}

impl Route {
    /// `is_upsert`: rows stand for the rows of a table with a key.
    pub fn new(conditions: Vec<Predicate>, is_upsert: bool) -> Self {
        Self { conditions, is_upsert }
    }

    /// The output of each row; none for those that are refused.
    fn outputs(&self, batch: &Batch) -> (Vec<Option<usize>>, Vec<Reject>) {
        let rest = self.conditions.len();
        let mut outputs = vec![Some(rest); batch.rows()];
        let mut refused: Vec<Reject> = Vec::new();
        for (number, condition) in self.conditions.iter().enumerate() {
            let evaluated = condition.evaluate(batch);
            let open = |output: Option<usize>| output == Some(rest);
            let rejects =
                if self.is_upsert { without_deletes(&batch.changes, evaluated.rejects) } else { evaluated.rejects };
            for reject in rejects {
                if open(outputs[reject.row as usize]) {
                    outputs[reject.row as usize] = None;
                    refused.push(reject);
                }
            }
            let matches = evaluated.array.as_boolean();
            for (row, output) in outputs.iter_mut().enumerate() {
                if open(*output) && matches.is_valid(row) && matches.value(row) {
                    *output = Some(number);
                }
            }
        }
        refused.sort_by_key(|reject| reject.row);
        (outputs, refused)
    }
}

impl Operator for Route {
    fn process(&mut self, batch: Batch, out: &mut Outputs) -> Result<(), StepFault> {
        let (outputs, refused) = self.outputs(&batch);
        out.reject(STAGE, &batch, refused)?;
        for output in 0..=self.conditions.len() {
            if self.is_upsert {
                out.push(output, upserts(&batch, &outputs, output)?);
                continue;
            }
            let rows = outputs.iter().zip(0u32..).filter(|(of, _)| **of == Some(output));
            let rows: Vec<u32> = rows.map(|(_, row)| row).collect();
            out.push(output, if rows.len() == batch.rows() { batch.clone() } else { batch.take(&rows)? });
        }
        Ok(())
    }
}

/// What one output gets of a table's changes.
fn upserts(batch: &Batch, outputs: &[Option<usize>], output: usize) -> Result<Batch, StepFault> {
    let rows: Vec<u32> = (0..batch.rows() as u32).filter(|row| outputs[*row as usize].is_some()).collect();
    let mut part = batch.take(&rows)?;
    part.changes = with_deletes(&part.changes, rows.iter().map(|row| outputs[*row as usize] == Some(output)));
    Ok(part)
}
