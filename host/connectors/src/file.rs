//! Files: a source that reads them record by record, and a sink that appends lines to one exactly once. And whole
//! files that others replace.
//!
//! A record is a line or a row of CSV; neither side looks into it.

mod folder;
mod framing;
mod reader;
pub mod sink;
pub mod source;
mod whole;

pub use framing::{Framing, HeaderCheck, RowFraming};
pub use sink::JsonLinesSink;
pub use source::{FileSource, FileSourceConfig};
pub use whole::{FileStamp, WholeFileError, read_whole};
