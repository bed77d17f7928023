//! The trait behind which a user's aggregate runs: rows folded into accumulators. `sandbox` implements it for Wasm
//! components, `operators` calls it and keeps the accumulators; a native implementation serves tests.
//!
//! Invariant: a call gets the accumulators of its groups and answers those that are to change, so that its effects can
//! hold together or not at all. The function keeps nothing between calls, and knows neither keys nor windows.

use std::sync::Arc;

use arrow_array::ArrayRef;
use arrow_schema::FieldRef;

use crate::function::FunctionFault;
use crate::reject::Rejects;

/// What an aggregate promised for one configuration and one input schema.
#[derive(Debug, Clone, PartialEq)]
pub struct AggregateContract {
    pub name: String,
    pub version: String,
    /// Input columns that calls receive, in this order.
    pub reads: Vec<String>,
    /// What accumulators mean: those of another version are of no use.
    pub state_version: u32,
    /// The columns of an accumulator.
    pub state: Vec<FieldRef>,
    /// Type of the result, and whether it may be null.
    pub gives: FieldRef,
    pub merges: bool,
    pub retracts: bool,
    pub deterministic: bool,
}

/// Accumulators of some of a call's groups, which are numbered from 0.
#[derive(Debug, Clone, PartialEq)]
pub struct GroupAccumulators {
    /// Ascending.
    pub groups: Vec<u32>,
    /// The columns of [`AggregateContract::state`], an entry for each of `groups`.
    pub columns: Vec<ArrayRef>,
}

/// Rows of several groups.
#[derive(Debug, Clone)]
pub struct GroupRows {
    /// How many groups the call has.
    pub groups: usize,
    /// The columns of [`AggregateContract::reads`], in that order.
    pub columns: Vec<ArrayRef>,
    /// The number of each row's group.
    pub group: Vec<u32>,
    pub event_times_us: Vec<i64>,
}

/// What one call made of its rows.
#[derive(Debug, Clone)]
pub struct Accumulated {
    pub rejects: Rejects,
    /// Those that are new or different.
    pub changed: GroupAccumulators,
}

/// A user's aggregate. One instance serves one task; never called concurrently. Every call may fail with a
/// [`FunctionFault`]: then nothing of it holds, and the caller may call again with less.
pub trait AggregateFunction: Send {
    /// Adds rows to their groups; a group that is not in `held` is new.
    ///
    /// # Errors
    /// When the function gave no usable result.
    fn accumulate(&mut self, rows: &GroupRows, held: &GroupAccumulators) -> Result<Accumulated, FunctionFault>;

    /// Takes rows back from their groups. Only functions whose contract says so are asked to.
    ///
    /// # Errors
    /// As [`AggregateFunction::accumulate`].
    fn retract(&mut self, rows: &GroupRows, held: &GroupAccumulators) -> Result<Accumulated, FunctionFault>;

    /// Makes one accumulator of each entry of `into` and the same entry of `other`. Only functions whose contract says so
    /// are asked to.
    ///
    /// # Errors
    /// As [`AggregateFunction::accumulate`].
    fn merge(&mut self, into: &[ArrayRef], other: &[ArrayRef]) -> Result<Vec<ArrayRef>, FunctionFault>;

    /// The result of each of `groups` groups; one that is not in `held` has had no row.
    ///
    /// # Errors
    /// As [`AggregateFunction::accumulate`].
    fn finish(&mut self, groups: usize, held: &GroupAccumulators) -> Result<ArrayRef, FunctionFault>;
}

/// A loaded and checked aggregate: makes one [`AggregateFunction`] per task. Swapping a plugin swaps this.
pub trait AggregateFactory: Send + Sync {
    fn contract(&self) -> &AggregateContract;

    /// `sha256:<hex>` of the component.
    fn digest(&self) -> &Arc<str>;

    /// # Errors
    /// A [`FunctionFault`] when an instance cannot be made or refuses its configuration.
    fn instantiate(&self) -> Result<Box<dyn AggregateFunction>, FunctionFault>;
}
