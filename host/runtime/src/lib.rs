//! Runs pipelines: joins sources, codecs, steps, plugins, state and sinks, and owns the order in which a record passes
//! them.
//!
//! | module | what |
//! | --- | --- |
//! | [`plan`] | manifest to plan: columns, expressions, plugins, faults with their place |
//! | [`pipeline`] | incarnation after incarnation, until finished, stopped or failed |
//! | `incarnation` | one life: open the state, build tasks, run, take down |
//! | `task` | the road of one record: read, decode, steps, window, encode |
//! | `worker`, `channel`, `shared` | threads, queues, and what tasks look at between batches |
//! | `coordinator` | the only place that commits; feeds the pure protocol of `weir-checkpoint` |
//! | `log_writer`, `sink_runner` | the threads behind `durable` and `expose` |
//! | `cut`, `read_until`, `renumbered` | how far a target's rows go, and making them again without giving them twice |
//! | `lookup` | tables that steps look up: loaded, watched |
//! | [`gate`], [`control`], [`admin`], `reject_watch` | swapping plugins, steering, watching |
//! | `outside`, `clock` | disk, clock and connectors, real or a test's |
//! | [`savepoint`] | what a savepoint holds, and beginning from one |
//! | [`trial`] | a pipeline's own tests on the real engine |
//!
//! No other crate knows the order; this one knows no Kafka, no Wasm and no SQL but through the traits of `weir-stream`
//! and the one module that binds them.

pub mod admin;
mod alignment;
mod barrier;
mod bind;
mod channel;
mod clock;
pub mod control;
mod coordinator;
mod cut;
pub mod function;
pub mod gate;
pub mod held_key;
mod incarnation;
mod log_writer;
mod lookup;
mod meta;
mod metrics;
mod outbox;
mod outside;
pub mod pipeline;
pub mod plan;
mod read_until;
mod reject_watch;
mod renumbered;
pub mod savepoint;
mod shared;
mod sink_runner;
pub mod state_budget;
pub mod status;
mod task;
pub mod trial;
mod worker;

pub use barrier::StepCounts;
pub use bind::{connection as kafka_connection, generator as generator_config};
pub use clock::{Clock, SimulatedClock};
pub use control::{Control, SwapError, SwapReport};
pub use coordinator::CrashPoint;
pub use held_key::{KeyEntry, KeyReport};
pub use incarnation::{Setup, StartError};
pub use outside::{Bindings, Outside};
pub use pipeline::{End, Pipeline, RunError};
pub use plan::{Plan, Purpose, plan};
pub use status::{PartitionStatus, PipelineState, StageStatus, Status};
pub use weir_state::{Disk, RealDisk};
