//! Calls a user's transform and builds its outputs; finds the guilty rows when it fails.
//!
//! Invariant: a row reaches each output with every column that the function does not write exactly as it came in,
//! and a row on which the function failed is quarantined alone, its neighbours unharmed. Of pairs by group
//! ([`weir_stream::pairs`]) a whole group is what a row is elsewhere, and its left row stands for it.
//!
//! The search is bounded per epoch ([`BisectionBudget`]): a function that fails on many rows is broken, and looking
//! for them one by one would only hide it. While a new version is being watched no search is made at all: the
//! fault is the answer.

mod budget;
pub(crate) mod plan;

use std::borrow::Cow;

use arrow_schema::SchemaRef;
use weir_stream::pairs::Groups;
use weir_stream::{Batch, FunctionFault, Transform, TransformContract, Transformed};

pub use budget::{BISECTION_TIME_MS, BisectionBudget, MAX_POISONED_ROWS, Monotonic};
use plan::OutputPlan;

use crate::operator::{Operator, Outputs, StepFault};

/// The stage of its rejects.
pub const STAGE: &str = "transform";

/// A user's transform as a step of one task.
pub struct TransformStep {
    transform: Box<dyn Transform>,
    plans: Vec<OutputPlan>,
    budget: BisectionBudget,
    /// The left columns of a pair, where rows are pairs by group.
    left: Option<SchemaRef>,
}

impl TransformStep {
    /// `contract` is what the transform promised for `input`.
    ///
    /// # Errors
    /// [`StepFault::Internal`] when the contract does not fit the input, which the gate should have said.
    pub fn new(
        transform: Box<dyn Transform>,
        contract: &TransformContract,
        input: &SchemaRef,
        budget: BisectionBudget,
    ) -> Result<Self, StepFault> {
        let plans = contract.outputs.iter().map(|output| OutputPlan::new(output.schema(input), output, input));
        Ok(Self { transform, plans: plans.collect::<Result<_, _>>()?, budget, left: None })
    }

    /// The step's rows are pairs by group, of which `left` are the first columns.
    #[must_use]
    pub fn by_group(self, left: Option<SchemaRef>) -> Self {
        Self { left, ..self }
    }

    /// The schema of named output number `output`.
    pub fn output_schema(&self, output: usize) -> &SchemaRef {
        self.plans[output].schema()
    }

    pub fn outputs(&self) -> usize {
        self.plans.len()
    }

    /// To be called at the start of every epoch, and when watching begins or ends.
    pub fn budget(&mut self) -> &mut BisectionBudget {
        &mut self.budget
    }

    /// CPU time of the last call, where the transform measures it, in nanoseconds.
    pub fn last_call_cpu_ns(&self) -> u64 {
        self.transform.last_call_cpu_ns()
    }

    /// One call: all its outputs and rejects, or none.
    fn call(&mut self, batch: &Batch) -> Result<Called, FunctionFault> {
        let Transformed { outputs, rejects } = self.transform.process(batch)?;
        if let Some(reject) = rejects.iter().find(|reject| reject.row as usize >= batch.rows()) {
            return Err(FunctionFault::Malformed(format!("a reject of row {}, of {}", reject.row, batch.rows())));
        }
        let mut built = Vec::with_capacity(outputs.len());
        for rows in outputs {
            let plan = self.plans.get(rows.output).ok_or_else(|| {
                FunctionFault::Malformed(format!("rows for output {} of {}", rows.output, self.plans.len()))
            })?;
            let number = rows.output;
            built.push((number, plan.build(batch, rows).map_err(FunctionFault::Malformed)?));
        }
        Ok(Called { built, rejects })
    }

    /// Runs the halves of a batch that failed whole, and their halves, down to single rows.
    fn bisect(&mut self, batch: &Batch, fault: FunctionFault, out: &mut Outputs) -> Result<(), StepFault> {
        if self.budget.is_watching() {
            return Err(StepFault::Function(fault));
        }
        let started_ns = self.budget.start();
        let mut found = Outputs::default();
        let starts = match self.left {
            None => (0..=batch.rows()).collect(),
            Some(_) => Groups::of(batch).starts(),
        };
        let units = starts.len() - 1;
        let mut open = if units == 1 { vec![(0, 1)] } else { halves(0, units) };
        while let Some((offset, length)) = open.pop() {
            self.budget.check_time(started_ns, &fault)?;
            let part = batch.slice(starts[offset], starts[offset + length] - starts[offset]);
            match self.call(&part) {
                Ok(called) => self.give(called, &part, &mut found)?,
                Err(FunctionFault::Outside { message, next }) => return Err(StepFault::Outside { message, next }),
                Err(fault) if length == 1 => {
                    self.budget.charge_row(&fault)?;
                    found.quarantine(STAGE, &*self.refusable(&part)?, 0, &fault)?;
                }
                Err(_) => open.extend(halves(offset, length)),
            }
        }
        self.budget.stop(started_ns);
        out.batches.append(&mut found.batches);
        out.rejects.append(&mut found.rejects);
        Ok(())
    }

    fn give(&self, called: Called, batch: &Batch, out: &mut Outputs) -> Result<(), StepFault> {
        if !called.rejects.is_empty() {
            out.reject(STAGE, &*self.refusable(batch)?, called.rejects)?;
        }
        called.built.into_iter().for_each(|(output, rows)| out.push(output, rows));
        Ok(())
    }

    /// A batch as its rows are refused: of pairs the left rows.
    fn refusable<'a>(&self, batch: &'a Batch) -> Result<Cow<'a, Batch>, StepFault> {
        let Some(left) = &self.left else { return Ok(Cow::Borrowed(batch)) };
        let event_times_us = Groups::of(batch).left_times_us.to_vec().into();
        let columns = batch.columns.columns()[..left.fields().len()].to_vec();
        let batch = Batch { event_times_us, ..batch.clone() };
        Ok(Cow::Owned(batch.with_columns(left.clone(), columns)?))
    }
}

/// The second half first, so that a stack gives the rows in order.
pub(crate) fn halves(offset: usize, length: usize) -> Vec<(usize, usize)> {
    let half = length / 2;
    vec![(offset + half, length - half), (offset, half)]
}

impl Operator for TransformStep {
    fn process(&mut self, batch: Batch, out: &mut Outputs) -> Result<(), StepFault> {
        if batch.is_empty() {
            return Ok(());
        }
        match self.call(&batch) {
            Ok(called) => self.give(called, &batch, out),
            Err(FunctionFault::Outside { message, next }) => Err(StepFault::Outside { message, next }),
            Err(fault) => self.bisect(&batch, fault, out),
        }
    }
}

impl std::fmt::Debug for TransformStep {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TransformStep").field("plans", &self.plans).field("budget", &self.budget).finish()
    }
}

/// What one call gave, built and checked.
struct Called {
    built: Vec<(usize, Batch)>,
    rejects: Vec<weir_stream::Reject>,
}

#[cfg(test)]
mod tests;
