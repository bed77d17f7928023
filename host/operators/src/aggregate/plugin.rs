//! An aggregate by a user's function: what the step says of it, and the version that runs.
//!
//! The function folds rows into accumulators, joins accumulators and makes results of them; the accumulators are kept
//! here, by slot, as the bytes of their columns ([`column`]), and so are in the epoch like any other. A call takes the
//! rows of one table, whatever their number of keys, with the accumulators that they go into ([`fold`]); pairs of
//! accumulators ([`merge`]); or the accumulators of all keys that show a result ([`finish`]).
//!
//! Invariant: a call's effects hold together or not at all. What the function failed on is looked for by halves, and is a
//! reject alone: a row, a pair of accumulators, a key's result. While a version is watched the fault is the answer.

mod column;
mod finish;
mod fold;
mod merge;

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use arrow_array::ArrayRef;
use arrow_schema::{FieldRef, SchemaRef};
use weir_stream::{AggregateContract, AggregateFunction, Batch, FunctionFault, Reject};

use super::Aggregate;
use crate::entries::EntryCodec;
use crate::expression::{Evaluated, Expression, ExpressionError};
use crate::keyed::NextFunction;
use crate::operator::StepFault;
use crate::transform::{BisectionBudget, Monotonic};

pub(super) use column::PluginColumn;
pub(super) use fold::Folding;
pub(super) use merge::Merged;

/// Accumulators that go into one call; rows of more go in several calls.
pub const ACCUMULATOR_BYTES_PER_CALL: usize = 4 << 20;

/// An aggregate by plugin as the step describes it.
#[derive(Clone)]
pub struct PluginSpec {
    /// Of the version that the pipeline was planned with; others must have its accumulators and result.
    pub contract: Arc<AggregateContract>,
    /// A column that the plugin may read and the expression that gives it; none: the step's input columns.
    pub reads: Option<Vec<(String, String)>>,
    /// The most bytes of one accumulator, as it is stored.
    pub accumulator_bytes: usize,
    pub clock: Monotonic,
}

impl fmt::Debug for PluginSpec {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { contract, reads, accumulator_bytes, .. } = self;
        write!(formatter, "PluginSpec {{ {contract:?}, reads: {reads:?}, accumulator_bytes: {accumulator_bytes} }}")
    }
}

/// The function of one operator: shared by what folds, merges and shows.
pub(super) struct PluginAggregate {
    spec: PluginSpec,
    input: SchemaRef,
    codec: EntryCodec,
    calls: Mutex<Calls>,
}

/// How the function is called. One thread works on a step at a time, so nobody waits for it.
pub(super) struct Calls {
    running: Option<Running>,
    pub(super) budget: BisectionBudget,
}

/// The version that runs.
pub(super) struct Running {
    function: Box<dyn AggregateFunction>,
    digest: Arc<str>,
    /// What gives each column that it reads.
    arguments: Vec<Expression>,
}

impl PluginAggregate {
    pub(super) fn new(spec: &PluginSpec, input: &SchemaRef) -> Result<Self, ExpressionError> {
        let unfit = |message| ExpressionError { message, span: None, suggestion: None };
        let codec = EntryCodec::new(&spec.contract.state).map_err(unfit)?;
        let calls = Calls { running: None, budget: BisectionBudget::new(Arc::clone(&spec.clock)) };
        let plugin = Self { spec: spec.clone(), input: Arc::clone(input), codec, calls: Mutex::new(calls) };
        plugin.compile(&spec.contract)?;
        Ok(plugin)
    }

    pub(super) fn gives(&self) -> &FieldRef {
        &self.spec.contract.gives
    }

    pub(super) fn retracts(&self) -> bool {
        self.spec.contract.retracts
    }

    /// What of it stored state depends on.
    pub(super) fn state_name(&self) -> String {
        let AggregateContract { state_version, state, .. } = &*self.spec.contract;
        let field = |field: &FieldRef| {
            let required = if field.is_nullable() { "" } else { "!" };
            format!("{} {}{required}", field.name(), field.data_type())
        };
        let state: Vec<String> = state.iter().map(field).collect();
        format!("plugin {state_version}({})", state.join(", "))
    }

    /// The expressions of what a version reads.
    fn compile(&self, contract: &AggregateContract) -> Result<Vec<Expression>, ExpressionError> {
        let compile = |name: &String| {
            let text = match &self.spec.reads {
                None => format!("\"{}\"", name.replace('"', "\"\"")),
                Some(reads) => {
                    let given = reads.iter().find(|(given, _)| given == name);
                    given.map(|(_, text)| text.clone()).ok_or_else(|| ExpressionError {
                        message: format!("`reads` does not give the plugin its column `{name}`"),
                        span: None,
                        suggestion: None,
                    })?
                }
            };
            Expression::compile(&text, &self.input)
        };
        contract.reads.iter().map(compile).collect()
    }

    fn start(&self, next: NextFunction) -> Result<(), FunctionFault> {
        let NextFunction::Aggregate { factory, instance } = next else {
            unreachable!("the gate lets in what has the step's world")
        };
        let function = instance.map_or_else(|| factory.instantiate(), Ok)?;
        let arguments = self.compile(factory.contract());
        let arguments = arguments.map_err(|error| FunctionFault::Malformed(error.message))?;
        self.calls().running = Some(Running { function, digest: Arc::clone(factory.digest()), arguments });
        Ok(())
    }

    pub(super) fn calls(&self) -> MutexGuard<'_, Calls> {
        // Nothing panics with half of it changed: a call's result is put into tables, not in here.
        self.calls.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The columns that the running version reads, and a reject for each row that does not give one.
    pub(super) fn arguments(&self, batch: &Batch) -> (Vec<ArrayRef>, Vec<Reject>) {
        let (mut columns, mut refused) = (Vec::new(), Vec::new());
        for argument in &self.calls().running().arguments {
            let Evaluated { array, rejects } = argument.evaluate(batch);
            columns.push(array);
            refused.extend(rejects);
        }
        (columns, refused)
    }
}

impl Calls {
    fn running(&mut self) -> &mut Running {
        self.running.as_mut().expect("a step has its function before its first row")
    }

    /// What the function failed on is to be looked for.
    ///
    /// # Errors
    /// When it is not to be, or for too long.
    fn search(&mut self, started_ns: &mut Option<u64>, fault: &FunctionFault) -> Result<(), StepFault> {
        if self.budget.is_watching() {
            return Err(StepFault::Function(fault.clone()));
        }
        let started_ns = *started_ns.get_or_insert_with(|| self.budget.start());
        self.budget.check_time(started_ns, fault)
    }

    fn end_search(&mut self, started_ns: Option<u64>) {
        started_ns.into_iter().for_each(|started_ns| self.budget.stop(started_ns));
    }
}

impl fmt::Debug for PluginAggregate {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "PluginAggregate({:?})", self.spec)
    }
}

/// The step's aggregate by plugin, of which it has at most one, with its number.
pub(super) fn of(aggregates: &[Aggregate]) -> Option<(usize, &Arc<PluginAggregate>)> {
    aggregates.iter().enumerate().find_map(|(number, aggregate)| Some((number, aggregate.plugin.as_ref()?)))
}

/// See [`crate::KeyedOperator::begin_epoch`].
pub(super) fn begin_epoch(
    aggregates: &[Aggregate],
    function: Option<NextFunction>,
    watching: bool,
) -> Result<(), FunctionFault> {
    let Some((_, plugin)) = of(aggregates) else { return Ok(()) };
    function.map_or(Ok(()), |next| plugin.start(next))?;
    let mut calls = plugin.calls();
    calls.budget.renew();
    calls.budget.set_watching(watching);
    Ok(())
}

/// See [`crate::KeyedOperator::digest`].
pub(super) fn digest(aggregates: &[Aggregate]) -> Option<Arc<str>> {
    let (_, plugin) = of(aggregates)?;
    plugin.calls().running.as_ref().map(|running| Arc::clone(&running.digest))
}

/// What a key is told whose accumulator the function failed on.
pub(super) fn failed_on(name: &str, fault: &FunctionFault) -> String {
    format!("`{name}`: the plugin {fault}")
}
