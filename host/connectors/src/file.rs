//! Files of lines: a source that reads them record by record, and a sink that appends to one exactly once.
//!
//! A line is a record; neither side looks into it.

pub mod sink;
pub mod source;

pub use sink::JsonLinesSink;
pub use source::{FileSource, FileSourceConfig};
