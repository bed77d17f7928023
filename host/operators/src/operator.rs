//! The seam between the steps of a task, and where a step's rows and rejects go.
//!
//! Invariant: every input row is in exactly one place after a call: in an output, filtered out on purpose, in the
//! late output, or a reject that names the record (or, behind a stateful step, holds the row) that it was.

use std::borrow::Cow;
use std::sync::Arc;

use arrow_schema::ArrowError;
use weir_stream::{Batch, FunctionFault, Origin, Reject, SourceRecords};

/// A step without state of its own between batches.
pub trait Operator: Send {
    /// Processes one batch; called from one thread at a time, in the order of the rows.
    ///
    /// # Errors
    /// A [`StepFault`]: nothing of this batch was output, and the step cannot go on.
    fn process(&mut self, batch: Batch, out: &mut Outputs) -> Result<(), StepFault>;
}

/// What one or more calls produced. The runtime empties it after each call.
#[derive(Debug, Default)]
pub struct Outputs {
    /// Rows by number of the named output, in row order; 0 is the only output of most steps.
    pub batches: Vec<(usize, Batch)>,
    /// Rows that came too late for what the step still holds, whole, by the number of the input that they came on.
    pub late: Vec<(usize, Batch)>,
    pub rejects: Vec<RejectedRow>,
}

/// A refused row with everything that its dead letter needs from the step.
#[derive(Debug, Clone)]
pub struct RejectedRow {
    /// The kind of operator that refused it: `where`, `select`, `transform`, `key`, `aggregate`.
    pub stage: &'static str,
    pub code: Cow<'static, str>,
    pub reason: String,
    pub origin: RowOrigin,
    /// Whether a function failed on the row, rather than refusing it.
    pub quarantined: bool,
}

/// The row behind a reject.
#[derive(Debug, Clone)]
pub enum RowOrigin {
    /// Up to the first stateful step: the source's record number `record`.
    Record { records: Arc<SourceRecords>, record: u32 },
    /// Behind it: the row itself.
    Row(Box<Batch>),
}

/// Why a step cannot go on. What happens next (roll back, pause, stop) is the runtime's to decide.
#[derive(Debug, Clone, thiserror::Error)]
pub enum StepFault {
    /// A function failed and its guilty rows were not to be looked for (a new version is being watched).
    #[error("the function {0}")]
    Function(FunctionFault),
    /// A function failed, and finding the guilty rows would pass the epoch's bounds.
    #[error("the function {fault}; {bound}")]
    Bounds { fault: FunctionFault, bound: String },
    /// What the step asks outside of the pipeline cannot be had; only an operator can help.
    #[error("{message}")]
    Outside { message: String, next: String },
    /// A promise between two parts of Weir was broken; no row is to blame.
    #[error("internal: {0}")]
    Internal(String),
}

impl From<ArrowError> for StepFault {
    fn from(error: ArrowError) -> Self {
        Self::Internal(error.to_string())
    }
}

impl Outputs {
    pub fn push(&mut self, output: usize, batch: Batch) {
        if !batch.is_empty() {
            self.batches.push((output, batch));
        }
    }

    /// Notes that the rows of `batch`, which came on input `port`, are late.
    pub fn push_late(&mut self, port: usize, batch: Batch) {
        if !batch.is_empty() {
            self.late.push((port, batch));
        }
    }

    /// Notes rejects whose row numbers are those of `batch`.
    ///
    /// # Errors
    /// None for row numbers within the batch.
    pub fn reject(&mut self, stage: &'static str, batch: &Batch, rejects: Vec<Reject>) -> Result<(), StepFault> {
        for reject in rejects {
            let origin = RowOrigin::of(batch, reject.row)?;
            let Reject { code, reason, .. } = reject;
            self.rejects.push(RejectedRow { stage, code, reason, origin, quarantined: false });
        }
        Ok(())
    }

    /// Notes that a function failed on row `row` of `batch`.
    ///
    /// # Errors
    /// None for a row number within the batch.
    pub fn quarantine(
        &mut self,
        stage: &'static str,
        batch: &Batch,
        row: u32,
        fault: &FunctionFault,
    ) -> Result<(), StepFault> {
        self.reject(stage, batch, vec![Reject::new(row, fault.code(), fault.to_string())])?;
        let quarantined = self.rejects.last_mut().expect("the reject was pushed just now");
        quarantined.quarantined = true;
        Ok(())
    }
}

impl RowOrigin {
    fn of(batch: &Batch, row: u32) -> Result<Self, StepFault> {
        match &batch.origin {
            _ if row as usize >= batch.rows() => {
                Err(StepFault::Internal(format!("row {row} was refused in a batch of {} rows", batch.rows())))
            }
            Origin::Records { records, rows } => {
                Ok(Self::Record { records: Arc::clone(records), record: rows[row as usize] })
            }
            Origin::Step(_) => Ok(Self::Row(Box::new(batch.take(&[row])?))),
        }
    }
}

/// The rows `0..rows` that are not rejected; rejects are ascending by row.
pub(crate) fn rows_left(rows: usize, rejects: &[Reject]) -> Vec<u32> {
    let mut refused = rejects.iter().map(|reject| reject.row).peekable();
    (0..rows as u32).filter(|row| refused.next_if_eq(row).is_none()).collect()
}
