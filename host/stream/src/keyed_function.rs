//! The trait behind which a user's keyed logic runs: rows with state by key, and timers. `sandbox` implements it for Wasm
//! components, `operators` calls it and keeps the state; a native implementation serves tests.
//!
//! Invariant: a call gets all state of its keys and answers everything that is to change, so that its effects can hold
//! together or not at all. The function keeps nothing between calls.

use std::sync::Arc;

use arrow_array::ArrayRef;
use arrow_schema::{FieldRef, SchemaRef};

use crate::batch::Batch;
use crate::function::{FunctionFault, OutputContract, OutputRows};
use crate::reject::Rejects;

/// How the entries of one key's state hang together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StateKind {
    /// At most one entry.
    Value,
    /// Entries in their order.
    List,
    /// Entries told apart by their key columns.
    Map,
}

impl StateKind {
    pub fn name(self) -> &'static str {
        match self {
            Self::Value => "value",
            Self::List => "list",
            Self::Map => "map",
        }
    }
}

/// One named state that every key has of its own.
#[derive(Debug, Clone, PartialEq)]
pub struct StateContract {
    pub name: String,
    pub kind: StateKind,
    /// How many of the first fields tell a map's entries apart; 0 for other kinds.
    pub map_key: usize,
    /// The entries' columns.
    pub fields: Vec<FieldRef>,
    /// Forgotten so long after the key's newest row or timer, in event time.
    pub ttl_us: Option<i64>,
}

/// Which clock a timer waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum TimeDomain {
    Event,
    Processing,
}

impl TimeDomain {
    pub fn name(self) -> &'static str {
        match self {
            Self::Event => "event",
            Self::Processing => "processing",
        }
    }
}

/// A kind of timer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TimerContract {
    pub name: String,
    pub domain: TimeDomain,
}

/// What the rows of an output keep of what brought them about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Keeps {
    /// The input row.
    Row,
    /// The key alone.
    Key,
}

/// One named output of a keyed function.
#[derive(Debug, Clone, PartialEq)]
pub struct KeyedOutput {
    pub keeps: Keeps,
    pub output: OutputContract,
}

/// What a keyed function promised for one configuration and one input schema.
#[derive(Debug, Clone, PartialEq)]
pub struct KeyedContract {
    pub name: String,
    pub version: String,
    /// Input columns that calls receive, in this order.
    pub reads: Vec<String>,
    pub outputs: Vec<KeyedOutput>,
    pub states: Vec<StateContract>,
    pub timers: Vec<TimerContract>,
    pub deterministic: bool,
}

impl KeyedContract {
    /// The schema of output number `output`: of the input's columns or of the key's, as the output keeps them.
    pub fn output_schema(&self, output: usize, input: &SchemaRef, key: &SchemaRef) -> SchemaRef {
        let KeyedOutput { keeps, output } = &self.outputs[output];
        output.schema(if *keeps == Keeps::Row { input } else { key })
    }

    pub fn uses(&self, domain: TimeDomain) -> bool {
        self.timers.iter().any(|timer| timer.domain == domain)
    }
}

/// Entries of one state for several keys.
#[derive(Debug, Clone, PartialEq)]
pub struct StateEntries {
    /// Where each key's entries begin, and where the last one's end: one number more than keys.
    pub offsets: Vec<u32>,
    pub columns: Vec<ArrayRef>,
}

/// The keys of one call with all of their state; keys are numbered from 0.
#[derive(Debug, Clone)]
pub struct CallKeys {
    pub count: usize,
    /// By number of the state.
    pub states: Vec<StateEntries>,
    /// The clock, for functions with a timer of processing time.
    pub now_us: Option<i64>,
}

/// Timers that fire, each key at most once.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Firings {
    /// Number of the timer in the contract.
    pub timers: Vec<u32>,
    pub keys: Vec<u32>,
    /// What each was set to.
    pub times_us: Vec<i64>,
}

/// The new entries of one state for the keys whose state changed.
#[derive(Debug, Clone, PartialEq)]
pub struct StateChange {
    pub state: usize,
    /// Ascending.
    pub keys: Vec<u32>,
    pub entries: StateEntries,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TimerAction {
    Set(i64),
    Clear(i64),
    ClearAll,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TimerChange {
    pub key: u32,
    /// Number of the timer in the contract.
    pub timer: u32,
    pub action: TimerAction,
}

/// What one call made of its rows or firings, which the row numbers in it count.
#[derive(Debug, Clone, Default)]
pub struct Processed {
    pub outputs: Vec<OutputRows>,
    pub rejects: Rejects,
    pub states: Vec<StateChange>,
    /// Done in this order.
    pub timers: Vec<TimerChange>,
}

/// A function over rows by key. One instance serves one task.
pub trait KeyedFunction: Send {
    /// Rows of several keys; `row_keys` has the number of each row's key. Never called concurrently.
    ///
    /// # Errors
    /// A [`FunctionFault`] when the function gave no usable result; the caller may call again with fewer rows.
    fn process(&mut self, keys: &CallKeys, rows: &Batch, row_keys: &[u32]) -> Result<Processed, FunctionFault>;

    /// Timers whose time has come.
    ///
    /// # Errors
    /// As [`KeyedFunction::process`].
    fn fire(&mut self, keys: &CallKeys, firings: &Firings) -> Result<Processed, FunctionFault>;
}

/// A loaded and checked keyed function: makes one [`KeyedFunction`] per task. Swapping a plugin swaps this.
pub trait KeyedFunctionFactory: Send + Sync {
    fn contract(&self) -> &KeyedContract;

    /// `sha256:<hex>` of the component.
    fn digest(&self) -> &Arc<str>;

    /// # Errors
    /// A [`FunctionFault`] when an instance cannot be made or refuses its configuration.
    fn instantiate(&self) -> Result<Box<dyn KeyedFunction>, FunctionFault>;
}
