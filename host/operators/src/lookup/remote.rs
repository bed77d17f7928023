//! A look-up in a table that is elsewhere, as a step: which keys its rows have, and what comes of the answers.
//!
//! Invariant: a row comes out with what was answered for its key, or is a reject that says why there is no such answer;
//! nothing is made up. What is asked, and what is kept, is in [`super::questions`].

use arrow_schema::SchemaRef;
use weir_stream::{Batch, Reject};

use super::questions::{Answered, KeyAnswer, Questions, RemoteTable};
use super::rows::Matches;
use super::{LookupKind, STAGE};
use crate::expression::ExpressionError;
use crate::filter::without_deletes;
use crate::key::KeyEncoder;
use crate::operator::{Outputs, StepFault};

/// Code of the rejects of rows whose key has an answer that is none.
pub const REJECT_CODE: &str = "lookup";

/// A look-up in a table that is elsewhere.
#[derive(Debug)]
pub struct RemoteLookup {
    keys: KeyEncoder,
    kind: LookupKind,
    output: SchemaRef,
}

/// A batch of which some keys may have no answer yet.
#[derive(Debug)]
pub struct Pending {
    batch: Batch,
    rejects: Vec<Reject>,
    pub questions: Questions,
}

impl RemoteLookup {
    /// `on`: the expressions of the input that are the key.
    ///
    /// # Errors
    /// The position of a faulty expression, with its [`ExpressionError`].
    pub fn new(
        on: &[String],
        kind: LookupKind,
        input: &SchemaRef,
        output: &SchemaRef,
    ) -> Result<Self, (usize, ExpressionError)> {
        let named: Vec<(String, String)> = on.iter().enumerate().map(|(at, on)| (at.to_string(), on.clone())).collect();
        Ok(Self { keys: KeyEncoder::new(&named, input, 1)?, kind, output: SchemaRef::clone(output) })
    }

    /// Looks what is known of a batch's keys at `now_ns`.
    ///
    /// # Errors
    /// [`StepFault::Internal`] when the batch is not of the input schema.
    pub fn begin(&self, table: &mut RemoteTable, batch: Batch, now_ns: u64) -> Result<Pending, StepFault> {
        let (arrays, rejects) = self.keys.columns_of(&batch);
        let questions = table.begin(&arrays, batch.rows(), &rejects, now_ns).map_err(StepFault::Internal)?;
        let rejects = without_deletes(&batch.changes, rejects);
        Ok(Pending { batch, rejects, questions })
    }

    /// Gives out a batch of which every key has its answer.
    ///
    /// # Errors
    /// [`StepFault::Internal`] for a key without one.
    pub fn finish(&self, table: &RemoteTable, pending: Pending, out: &mut Outputs) -> Result<(), StepFault> {
        let Pending { batch, mut rejects, questions } = pending;
        let (key_of, answers) = questions.into_answers();
        let answered = table.answered(answers).map_err(StepFault::Internal)?;
        let Answered { answers, firsts, values, widest_row_bytes } = answered;
        let mut refused: Vec<u32> = rejects.iter().map(|reject| reject.row).collect();
        let mut matches = Matches::with_capacity(batch.rows());
        refused.reverse();
        for (row, key) in (0..batch.rows() as u32).zip(&key_of) {
            if refused.pop_if(|refused| *refused == row).is_some() {
                continue;
            }
            match key.map(|number| (number, answers[number as usize].as_ref())) {
                Some((_, KeyAnswer::Unusable(reason))) => rejects.push(Reject::new(row, REJECT_CODE, reason.clone())),
                Some((number, KeyAnswer::Rows(of_key))) if !of_key.is_empty() => {
                    let first = firsts[number as usize];
                    (0..of_key.len() as u32).for_each(|place| matches.push(row, Some(first + place)));
                }
                _ if self.kind == LookupKind::Left => matches.push(row, None),
                _ => {}
            }
        }
        rejects.sort_by_key(|reject| reject.row);
        out.reject(STAGE, &batch, rejects)?;
        matches.give_out(batch, &values, widest_row_bytes, &self.output, out)
    }
}

#[cfg(test)]
mod tests;
