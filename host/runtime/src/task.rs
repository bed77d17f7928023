//! Tasks: the road of one record in code. A source task reads, decodes and runs the stateless steps of its partition; a
//! keyed task owns a range of key groups, fires windows and runs the stateless steps behind them.
//!
//! Both end in a [`TaskOutput`], which gathers what the open epoch owes until the next barrier.

pub mod chain;
pub mod event_time;
mod held_time;
pub mod keyed;
pub mod output;
mod own_thread;
pub mod plugin;
pub mod source;

pub use chain::{Chain, Node, Step, Target};
pub use event_time::{EventTimeAssigner, EventTimeSpec, TimeOrigin};
pub use keyed::{Input, KeyedTask, KeyedTaskParts, LateRows};
pub use output::{Exchange, SinkBuffer, TaskOutput};
pub use plugin::PluginStep;
pub use source::SourceTask;
