//! Where a pipeline's state lives: keyed tables in memory, and their only durable home, the epoch store.
//!
//! The store is an epoch log with outbox segments and rolling key-group snapshots; `FORMAT.md` beside this crate
//! gives every byte. Invariant: after any crash, [`Store::open`] gives back exactly the state, meta and outbox of
//! the last durable epoch, or refuses with file and offset. It does not know what steps, sinks or meta mean, and
//! it never reads a clock.
//!
//! All I/O goes through [`disk::Disk`], so that the same code runs on [`disk::RealDisk`] and, under test, on
//! [`sim::SimDisk`], which loses what was not synced.

pub mod disk;
pub mod error;

mod format;
mod frame;
mod identity;
mod log;
mod names;

mod outbox;
pub mod plugins;
pub mod record;
mod recovered;
pub mod savepoint;
mod scan;
mod segment;
mod segment_writer;
pub mod sim;
mod snapshot;
pub mod spill;

pub mod store;
pub mod table;
mod varint;

pub use disk::{Disk, RealDisk};
pub use error::{OpenError, ReadError, WriteError};
pub use identity::Identity;
pub use outbox::OutboxItem;
pub use plugins::PluginFolder;
pub use record::{DeltaBuilder, EpochRecord, Op, OutboxEntry, StateDelta};
pub use recovered::{KeyGroupEntries, KeyGroupTarget, PendingEntry, Recovered, RecoveredState};
pub use snapshot::{SnapshotJob, WrittenSnapshot};
pub use spill::Spill;
pub use store::{Options, Sizes, Store};
pub use varint::Varint;
