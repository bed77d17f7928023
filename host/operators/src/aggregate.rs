//! Keyed aggregates: over windows, and without ([`group`]).
//!
//! Result types, for every aggregate there is (`state` is what a key costs in memory, less one bit for "seen"):
//!
//! | aggregate | argument                        | result                                   | state | what is left out, what is refused |
//! | --------- | ------------------------------- | ---------------------------------------- | ----- | --------------------------------- |
//! | `count()` | none                            | int64                                    | 8     | counts rows |
//! | `count`   | any                             | int64                                    | 8     | counts values that are not null |
//! | `sum`     | int8 to int64                   | int64                                    | 8     | a row that would overflow the sum is a reject |
//! | `sum`     | uint8 to uint64                 | uint64                                   | 8     | the same |
//! | `sum`     | float32, float64                | float64                                  | 8     | IEEE 754: NaN and infinities stay |
//! | `sum`     | decimal(p, s)                   | decimal(min(38, p + 10), s)              | 16    | exact; a row that would overflow is a reject |
//! | `avg`     | any integer                     | float64                                  | 24    | the exact sum, divided once |
//! | `avg`     | float32, float64                | float64                                  | 16    | IEEE 754 |
//! | `avg`     | decimal(p, s)                   | decimal(min(38, p + 4), min(38, s + 4))  | 24    | exact sum, divided once, halves away from zero |
//! | `min, max`| integers, floats, decimals, date, timestamps, bool, utf8, binary | the argument's | width | NaN is the largest float; -0.0 is 0.0; text by bytes |
//!
//! | `count_distinct` | any that can be a key     | int64                                    | its values | a value that would pass 4 MiB a key is a reject (`too-large`) |
//! | `approx_count_distinct` | the same             | int64                                    | to 4 KiB | within 1.6 % (one standard error) |
//! | `first, last` | any                         | the argument's                           | 24, 48 with decimals | by event time; of one time `first` keeps the smallest value, `last` the largest |
//! | `min_by(x, y), max_by(x, y)` | any, ordered by any | the argument's     | 24 and more | of the row with the smallest, largest `y`; of one `y` the smallest, the largest `x` |
//! | `variance, stddev` | any number             | float64                                  | 24    | of a sample: null for a single value; infinities and NaN give NaN |
//! | `var_pop, stddev_pop` | the same            | float64                                  | 24    | of all values; decimals are taken as float64 |
//! | `median`, `percentile(x, 0.95)` | the same  | float64                                  | to 32 KiB | the value of that rank (nearest rank) within 1 %, see [`cell`]'s `quantile` |
//! | `top(x, 5)` | any but binary                | utf8: a JSON array                       | its values | the largest, largest first; 1 MiB a key as below |
//! | `collect(x)`, `collect(x, 5)` | the same    | utf8: a JSON array                       | its values | by event time, of one time the smallest first; a value that would pass 1 MiB a key is a reject (`too-large`) |
//! | `bool_and, bool_or` | bool                  | bool                                     | 8     | |
//!
//! An aggregate by a user's function ([`plugin`]) gives what its contract says, of rows as they are, nulls too; what it keeps
//! of a key is bounded by the step.
//!
//! All but `count()` leave nulls out; what counts is 0 and everything else is null when there is nothing but nulls. A
//! reject (code `overflow` or `too-large`) leaves all aggregates of its row as they were. A row that an aggregate's filter
//! leaves out is a null to that aggregate, and its argument is not asked for. Sums, averages and variances of
//! floats depend on the order of the rows in the last bits; every other result depends on the set of rows alone.
//!
//! A row is late when its newest window was gone before it was read (its end plus the lateness is not after the watermark
//! of its source partition just before it), or when it was still in time there but the step has let go of the window
//! already, which happens after an idle partition comes back. Both go to the late output, counted apart. A row whose
//! window would not fit into i64 microseconds is a reject (code `event-time`). A result that its type cannot hold, though
//! the rows of every pane could be added, is a reject (code `overflow`) that names window and key.

mod accumulator;
mod argument;
mod assigned;
mod assigned_keyed;
mod cell;
mod finish;
mod fire;
mod fold;
mod gather;
mod global;
mod grid;
mod group;
mod keyed;
mod kind;
mod merge;
mod number;
mod pending;
mod place;
mod plugin;
mod session;
mod session_keyed;
mod show;
mod slots;
mod spans;
mod spec;
mod update;
mod value;

use std::sync::Arc;

use arrow_schema::{DataType, Field, FieldRef, SchemaRef};

use argument::{Lane, RankLane};
use plugin::PluginAggregate;

use weir_state::table::TableError;

use crate::expression::{Expression, ExpressionError, Predicate};
use crate::operator::StepFault;

pub use assigned::AssignedAggregate;
pub use cell::{DISTINCT_BYTES_MAX, LIST_BYTES_MAX};
pub use global::{GlobalAggregate, GlobalTrigger};
pub use grid::WindowAggregate;
pub use group::{GroupAggregate, GroupSpec};
pub use kind::{AggregateKind, LISTED_MAX, result_type};
pub(crate) use place::beyond_time;
pub use plugin::{ACCUMULATOR_BYTES_PER_CALL, PluginSpec};
pub use session::{SessionAggregate, SessionGap};
pub use spec::{Emit, LateRows, Showing, WindowSpec, WindowTime};

/// The stage of its rejects.
pub const STAGE: &str = "aggregate";

/// Most digits of a decimal.
const MAX_DIGITS: u8 = 38;

/// Digits that a decimal sum gains before its point, and an average behind it.
const SUM_DIGITS: u8 = 10;
const AVG_DIGITS: u8 = 4;

/// One aggregate of a step.
#[derive(Debug, Clone)]
pub struct AggregateSpec {
    /// Name of the output column.
    pub name: String,
    pub kind: AggregateKind,
    /// The expression aggregated; none only for `count()`.
    pub argument: Option<String>,
    /// What rows are ordered by; of the kinds that are ranked.
    pub order: Option<String>,
    /// Only rows for which this condition is true are aggregated; none: all.
    pub filter: Option<String>,
    /// Of [`AggregateKind::Plugin`]; a step has one at most.
    pub plugin: Option<PluginSpec>,
}

impl AggregateSpec {
    /// One of all rows.
    pub fn new(name: &str, kind: AggregateKind, argument: Option<&str>) -> Self {
        let (name, argument) = (name.to_owned(), argument.map(str::to_owned));
        Self { name, kind, argument, order: None, filter: None, plugin: None }
    }

    /// One by a user's function, of all rows.
    pub fn by_plugin(name: &str, plugin: PluginSpec) -> Self {
        Self { plugin: Some(plugin), ..Self::new(name, AggregateKind::Plugin, None) }
    }
}

/// The keys of one bucket with their accumulators.
type KeyTable = weir_state::table::KeyTable<slots::Accumulators>;

/// One aggregate, compiled.
#[derive(Debug, Clone)]
struct Aggregate {
    name: String,
    kind: AggregateKind,
    argument: Option<Expression>,
    order: Option<Expression>,
    filter: Option<Predicate>,
    plugin: Option<Arc<PluginAggregate>>,
}

impl Aggregate {
    fn compile(spec: &AggregateSpec, input: &SchemaRef) -> Result<Self, ExpressionError> {
        let compile = |text: &Option<String>| text.as_deref().map(|text| Expression::compile(text, input)).transpose();
        let (argument, order) = (compile(&spec.argument)?, compile(&spec.order)?);
        let filter = spec.filter.as_deref().map(|text| Predicate::compile(text, input)).transpose()?;
        let plugin = spec.plugin.as_ref().map(|plugin| PluginAggregate::new(plugin, input)).transpose()?;
        let plugin = plugin.map(Arc::new);
        let made = Self { name: spec.name.clone(), kind: spec.kind, argument, order, filter, plugin };
        made.result_type()?;
        Ok(made)
    }

    fn argument_type(&self) -> DataType {
        self.argument.as_ref().map_or(DataType::Null, |argument| argument.data_type().clone())
    }

    /// How its rows are ordered: by their times unless it says otherwise.
    fn rank_lane(&self) -> RankLane {
        self.order.as_ref().map_or(RankLane::I64, |order| RankLane::of(order.data_type()))
    }

    /// The width in which its values come: `count` needs to know only which are null.
    fn lane(&self) -> Lane {
        self.kind.lane(&self.argument_type())
    }

    fn result_type(&self) -> Result<DataType, ExpressionError> {
        if let Some(plugin) = &self.plugin {
            return Ok(plugin.gives().data_type().clone());
        }
        result_type(self.kind, &self.argument_type()).map_err(|message| {
            let span = self.argument.as_ref().map(|argument| 0..argument.text().len());
            ExpressionError { message, span, suggestion: None }
        })
    }

    fn field(&self) -> Result<FieldRef, ExpressionError> {
        // A sample of one value has no variance.
        let can_be_null = matches!(self.kind, AggregateKind::Stddev | AggregateKind::Variance);
        let can_be = |expression: &Option<Expression>| expression.as_ref().is_some_and(Expression::is_nullable);
        let of_nulls = self.filter.is_some() || can_be(&self.argument) || can_be(&self.order);
        let nullable = match &self.plugin {
            Some(plugin) => plugin.gives().is_nullable(),
            None => !self.kind.counts() && (can_be_null || of_nulls),
        };
        Ok(Arc::new(Field::new(&self.name, self.result_type()?, nullable)))
    }
}

fn internal(error: &TableError) -> StepFault {
    StepFault::Internal(error.to_string())
}

/// What of the aggregates stored state depends on.
fn layout(aggregates: &[Aggregate]) -> String {
    let text = |made: &Aggregate| {
        if let Some(plugin) = &made.plugin {
            return format!("{} {}", made.name, plugin.state_name());
        }
        let order = made.order.as_ref().map_or(String::new(), |order| format!(" by {}", order.data_type()));
        format!("{} {}({}{order})", made.name, made.kind.state_name(), made.argument_type())
    };
    aggregates.iter().map(text).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests;
