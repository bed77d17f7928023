//! SQL tables as exactly-once targets: SQLite and PostgreSQL behind one sink.
//!
//! The rows of an epoch and the sink's progress are one transaction of the target:
//!
//! ```text
//! weir_progress(pipeline, sink, generation, epoch)                                  one row a sink
//! weir_rejected(pipeline, sink, epoch, row_number, code, reason, payload)           rows refused for good
//! ```
//!
//! The guard `SET epoch = N WHERE epoch = <previous> AND generation = <mine>` must hit exactly one row before any
//! row is written; a new instance raises the generation, which fences the one before it. A lost connection, also in
//! the middle of a commit, is answered `Retry`: the progress row then tells whether the epoch is there.
//!
//! Column types (a type that is not listed is refused before any row flows):
//!
//! | Arrow | PostgreSQL | SQLite |
//! | --- | --- | --- |
//! | bool | boolean | INTEGER 0 or 1 |
//! | int8, int16, uint8 | smallint | INTEGER |
//! | int32, uint16 | integer | INTEGER |
//! | int64, uint32 | bigint | INTEGER |
//! | uint64 | numeric(20, 0) | INTEGER; above 2^63 - 1 the row is refused |
//! | float32, float64 | real, double precision | REAL; NaN is refused (SQLite would store null) |
//! | utf8 | text; NUL is refused | TEXT |
//! | binary | bytea | BLOB |
//! | decimal128(p, s) | numeric(p, s) | TEXT with all s digits: exact, where SQLite's own numbers are not |
//! | date32 | date | TEXT `2026-03-01` |
//! | timestamp, with zone | timestamptz | TEXT `2026-03-01T10:00:00.123Z`, digits by the unit: sorts by time |
//! | timestamp, without zone | timestamp | the same without `Z` |
//!
//! PostgreSQL keeps microseconds, so timestamps of nanoseconds are refused there.

mod apply;
mod database;
mod operations;
mod postgres;
mod question;
mod read;
mod sink;
mod sqlite;
mod table;

use arrow_schema::SchemaRef;

use crate::identity::SinkIdentity;

pub use postgres::{PostgresReader, PostgresSink};
pub(crate) use question::as_source;
pub use question::{AnsweredRow, MAX_KEYS_PER_QUESTION, Question, TableReader};
pub use read::{TableRows, read_postgres_table, read_sqlite_table};
pub use sqlite::{SqliteReader, SqliteSink};
pub(crate) use table::{quote, quote_table};

/// How rows become rows of the table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum WriteMode {
    /// Each row is inserted; only inserts may come.
    Append,
    /// Insert and update-after put the row with this key in place, delete and update-before take it away. Within an
    /// epoch only the last operation on a key is carried out.
    Upsert { key: Vec<String> },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum CreateTable {
    #[default]
    IfMissing,
    /// No DDL at all: the table, `weir_progress` and `weir_rejected` must be there.
    Never,
}

/// Where rows go and what they look like.
#[derive(Debug, Clone, PartialEq)]
pub struct SqlTarget {
    pub identity: SinkIdentity,
    /// Letters, digits and `_`, not beginning with a digit, at most 63 long; in PostgreSQL also `schema.table`.
    pub table: String,
    /// The rows that will come.
    pub schema: SchemaRef,
    pub mode: WriteMode,
    pub create: CreateTable,
}
