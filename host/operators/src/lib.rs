//! What a step does to rows: expressions, the call of user transforms, keys, exchange and windows.
//!
//! Everything here is a pure function of batches, watermarks and state: no I/O, no clock (time budgets get theirs as
//! a closure), no knowledge of Kafka, Wasm or tokio. A row that cannot be processed costs only itself: it becomes a
//! [`RejectedRow`] that names its origin.

pub mod aggregate;
pub mod assign;
pub mod attribute;
pub mod by_key;
pub mod dedup;
mod entries;
pub mod exchange;
pub mod expression;
pub mod filter;
pub mod flatten;
pub mod held_key;
pub mod join;
pub mod key;
pub mod keyed;
pub mod latest;
pub mod lookup;
pub mod normalise;
pub mod operator;
pub mod process;
pub mod route;
pub mod row;
pub mod sample;
pub mod select;
pub mod sessions;
pub mod top;
pub mod transform;
pub mod waiting;
pub mod window;

pub use aggregate::{
    AggregateKind, AggregateSpec, AssignedAggregate, Emit, GlobalAggregate, GlobalTrigger, GroupAggregate, GroupSpec,
    LateRows, PluginSpec, SessionAggregate, SessionGap, Showing, WindowAggregate, WindowSpec, WindowTime,
};
pub use assign::Assigner;
pub use attribute::Attribution;
pub use by_key::ByKey;
pub use dedup::{DedupFirst, DedupLast};
pub use exchange::split;
pub use expression::{Evaluated, Expression, ExpressionError, Predicate};
pub use filter::Where;
pub use flatten::Flatten;
pub use held_key::{DueAt, HeldEntry};
pub use join::{Bounds, JoinKind, JoinSpec, StreamJoin};
pub use key::{KeyBatch, KeyDecoder, KeyEncoder, KeyedBatch};
pub use keyed::{KeyedOperator, NextFunction};
pub use latest::Latest;
pub use lookup::{Lookup, LookupKind};
pub use normalise::Normalise;
pub use operator::{Operator, Outputs, RejectedRow, RowOrigin, StepFault};
pub use process::{ProcessLimits, ProcessSpec, ProcessStep};
pub use route::Route;
pub use row::{RowFormat, RowWriter};
pub use sample::Sample;
pub use select::Select;
pub use sessions::Sessions;
pub use top::{Order, Ranks, Top, WindowTop};
pub use transform::{BisectionBudget, TransformStep};
pub use waiting::{Answerer, Reply, Waiting, WaitingLimits, Wanted};
pub use window::{WindowError, WindowGrid};
