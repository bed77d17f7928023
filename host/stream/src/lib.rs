//! What flows through a pipeline, and the seams that the other crates meet at.
//!
//! A [`Batch`] is the unit of work: Arrow columns plus, per row, event time, watermark, origin and change
//! kind. Connectors turn bytes into [`SourceRecords`]; codecs turn those into batches; operators
//! and plugins turn batches into batches; sinks take [`SinkEpoch`]s. Nothing here does I/O, reads a clock or
//! knows Kafka, Wasm or tokio.
//!
//! Times are `i64` microseconds since the Unix epoch everywhere (`*_us`).

pub mod aggregate_function;
pub mod batch;
pub mod bug;
pub mod change;
pub mod fetch;
pub mod function;
pub mod key;
pub mod keyed_function;
pub mod pairs;
pub mod payload;
pub mod record;
pub mod reject;
pub mod sink;
pub mod source;
pub mod tables;
pub mod time;

pub use aggregate_function::{
    Accumulated, AggregateContract, AggregateFactory, AggregateFunction, GroupAccumulators, GroupRows,
};
pub use batch::{Batch, Origin};
pub use bug::Bug;
pub use change::{ChangeKind, ChangeMode, Changes};
pub use fetch::{Fetch, FetchBudget, FetchError, FetchMethod, FetchRequest, FetchResponse, Fetched};
pub use function::{
    Cardinality, FunctionFault, OutputContract, OutputRows, Selection, Transform, TransformContract, TransformFactory,
    Transformed,
};
pub use keyed_function::{
    CallKeys, Firings, Keeps, KeyedContract, KeyedFunction, KeyedFunctionFactory, KeyedOutput, Processed, StateChange,
    StateContract, StateEntries, StateKind, TimeDomain, TimerAction, TimerChange, TimerContract,
};
pub use payload::{PayloadBuilder, Payloads};
pub use record::{SourceRecords, TimestampType};
pub use reject::{DeadLetter, Reject, Rejects};
pub use sink::{
    ExposeOutcome, Held, PayloadBlock, RowBlock, Sink, SinkData, SinkEpoch, SinkError, SinkPosition, SinkReject,
};
pub use source::{PartitionReader, Poll, Position, Source, SourceError};
pub use tables::{KeyedTable, TableAnswer, TableFault};
