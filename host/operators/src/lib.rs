//! What a step does to rows: expressions, the call of user transforms, keys, exchange and windows.
//!
//! Everything here is a pure function of batches, watermarks and state: no I/O, no clock (time budgets get theirs as
//! a closure), no knowledge of Kafka, Wasm or tokio. A row that cannot be processed costs only itself: it becomes a
//! [`RejectedRow`] that names its origin.

pub mod aggregate;
pub mod exchange;
pub mod expression;
pub mod filter;
pub mod key;
pub mod keyed;
pub mod operator;
pub mod process;
pub mod row;
pub mod select;
pub mod transform;
pub mod window;

pub use aggregate::{
    AggregateKind, AggregateSpec, Emit, GlobalAggregate, GlobalTrigger, GroupAggregate, GroupSpec, LateRows,
    SessionAggregate, SessionGap, Showing, WindowAggregate, WindowSpec, WindowTime,
};
pub use exchange::split;
pub use expression::{Evaluated, Expression, ExpressionError, Predicate};
pub use filter::Where;
pub use key::{KeyBatch, KeyDecoder, KeyEncoder, KeyedBatch};
pub use keyed::{KeyedOperator, NextFunction};
pub use operator::{Operator, Outputs, RejectedRow, RowOrigin, StepFault};
pub use process::{ProcessLimits, ProcessSpec, ProcessStep};
pub use row::{RowFormat, RowWriter};
pub use select::Select;
pub use transform::{BisectionBudget, TransformStep};
pub use window::{WindowError, WindowGrid};
