//! Where bytes come from and where rows go: sources, sinks, and what plugins ask of services; nothing in between.
//!
//! A source hands on payloads and positions and never looks into them; a sink takes what an epoch owes it, applies
//! it once and remembers the epoch in the target itself. Only `runtime` calls them.

pub mod cassandra;
pub mod clock;
mod durable;
pub mod file;
pub mod generate;
pub mod http;
mod identity;
pub mod kafka;
pub mod parquet;
mod row;
pub mod sql;
pub mod stdout;
pub mod tls;

pub use identity::SinkIdentity;
