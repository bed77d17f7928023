//! What the sink needs of a database: statements in the open transaction, answered with errors by what to do next.
//!
//! Implementations block, own their connection, and never put a password into a text.

use arrow_array::RecordBatch;
use weir_stream::SinkError;

use super::table::Table;

/// Why a statement failed.
#[derive(Debug)]
pub(super) enum DatabaseError {
    /// The database refused the rows themselves: with fewer rows another answer is possible. The transaction is as
    /// it was before the statement.
    Rows { code: &'static str, reason: String },
    /// The statement will not do better with other rows.
    Stop(SinkError),
}

impl From<SinkError> for DatabaseError {
    fn from(error: SinkError) -> Self {
        Self::Stop(error)
    }
}

impl DatabaseError {
    /// For statements that carry no rows of a stream.
    pub(super) fn into_sink_error(self) -> SinkError {
        match self {
            Self::Stop(error) => error,
            Self::Rows { reason, .. } => SinkError::Retry(reason),
        }
    }
}

/// A value of a bookkeeping statement.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Value {
    Int(i64),
    Text(String),
    Bytes(Vec<u8>),
    Null,
}

impl Value {
    pub(super) fn int(self) -> i64 {
        match self {
            Self::Int(value) => value,
            other => unreachable!("the statement asked for an integer, the driver gave {other:?}"),
        }
    }

    pub(super) fn text(self) -> String {
        match self {
            Self::Text(value) => value,
            other => unreachable!("the statement asked for text, the driver gave {other:?}"),
        }
    }

    pub(super) fn optional_text(self) -> Option<String> {
        match self {
            Self::Null => None,
            other => Some(other.text()),
        }
    }

    pub(super) fn bytes(self) -> Vec<u8> {
        match self {
            Self::Bytes(value) => value,
            other => unreachable!("the statement asked for bytes, the driver gave {other:?}"),
        }
    }
}

/// The type of a column of a bookkeeping query.
#[derive(Debug, Clone, Copy)]
pub(super) enum Kind {
    Int,
    Text,
    Bytes,
}

/// What is done with rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Operation {
    Put,
    Delete,
}

/// Where the two databases' SQL differs.
#[derive(Debug)]
pub(super) struct Dialect {
    pub begin: &'static [&'static str],
    /// Behind a query whose rows the transaction is about to change.
    pub for_update: &'static str,
    /// Taken before tables are made, so that two instances do not make them at once.
    pub lock_tables: Option<&'static str>,
    /// Answers 1 when the table named `$1` is there, quoted as identifiers are when `quoted_name`.
    pub table_exists: &'static str,
    pub quoted_name: bool,
    pub bytes_type: &'static str,
}

/// One connection to a database.
pub(super) trait Database: Send {
    fn dialect(&self) -> &'static Dialect;

    /// The target as error texts name it, without credentials.
    fn target(&self) -> &str;

    /// Opens a new connection in the place of the old one; false when the database is a file that is not there.
    /// `create`: then it is made.
    fn connect(&mut self, create: bool) -> Result<bool, SinkError>;

    fn disconnect(&mut self);

    fn is_connected(&self) -> bool;

    /// Runs a statement and answers the number of rows that it changed. Parameters are written `$1`, `$2` ...
    fn execute(&mut self, sql: &str, values: &[Value]) -> Result<u64, DatabaseError>;

    fn query(&mut self, sql: &str, values: &[Value], columns: &[Kind]) -> Result<Vec<Vec<Value>>, DatabaseError>;

    /// Most rows that one [`Database::write`] takes.
    fn rows_per_statement(&self, table: &Table) -> usize;

    /// Puts or deletes the rows named by `numbers`, all or none of them.
    fn write(
        &mut self,
        operation: Operation,
        table: &Table,
        rows: &RecordBatch,
        numbers: &[u32],
    ) -> Result<(), DatabaseError>;

    /// Checks, without a row, that the table takes what [`Database::write`] will send.
    fn rehearse(&mut self, table: &Table) -> Result<(), DatabaseError>;

    /// Why the target cannot hold a row's value in `column`, if so, before it is tried.
    fn unfit(&self, rows: &RecordBatch, column: usize, row: usize) -> Option<(&'static str, String)>;

    /// Whether values of this column need [`Database::unfit`] at all.
    fn may_be_unfit(&self, rows: &RecordBatch, column: usize) -> bool;
}
