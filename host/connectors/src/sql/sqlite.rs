//! SQLite: one connection in WAL mode, statements of many rows.
//!
//! `synchronous = FULL`: in WAL mode `NORMAL` does not sync at the commit, so that an epoch already answered for could
//! be gone after a power cut, and the store, which then believes it exposed, would refuse the target. One sync an
//! epoch is what the promise costs.

mod reader;

use std::future::Future;
use std::path::{Path, PathBuf};
use std::time::Duration;

use arrow_array::cast::AsArray;
use arrow_array::types::{Float32Type, Float64Type, UInt64Type};
use arrow_array::{Array, RecordBatch};
use arrow_schema::DataType;
use sqlx::sqlite::{SqliteArguments, SqliteConnectOptions, SqliteJournalMode, SqliteRow, SqliteSynchronous};
use sqlx::{Arguments, AssertSqlSafe, ConnectOptions, Connection, Row, SqliteConnection};
use weir_stream::{ExposeOutcome, Held, Sink, SinkEpoch, SinkError, SinkPosition, SinkReject};

pub use reader::SqliteReader;

use super::SqlTarget;
use super::database::{Database, DatabaseError, Dialect, Kind, Operation, Value};
use super::sink::SqlSink;
use super::table::Table;
use crate::identity::fatal;
use crate::{durable, row};

/// How long another process may hold the write lock before this one answers `Retry`.
const LOCK_PATIENCE: Duration = Duration::from_secs(10);

/// Parameters of one statement: well below SQLite's own 32 766.
const MAX_PARAMETERS: usize = 16_384;

/// Rows of one statement; a power of two, so that pieces and halves share a few prepared statements.
const MAX_ROWS: usize = 256;

const DIALECT: Dialect = Dialect {
    begin: &["BEGIN IMMEDIATE"],
    for_update: "",
    lock_tables: None,
    table_exists: "SELECT count(*) FROM sqlite_master WHERE type IN ('table', 'view') AND name = $1 COLLATE NOCASE",
    quoted_name: false,
    bytes_type: "BLOB",
};

/// Rows into a SQLite table, exactly once: see [`crate::sql`].
pub struct SqliteSink(SqlSink<Sqlite>);

impl SqliteSink {
    /// Nothing is opened yet.
    ///
    /// # Errors
    /// `Fatal` when a name, a key or a column type cannot be used.
    pub fn new(target: &SqlTarget, path: impl Into<PathBuf>) -> Result<Self, SinkError> {
        let table = Table::new(target, false, sql_type)?;
        Ok(Self(SqlSink::new(Sqlite::new(path.into())?, table, target)))
    }
}

impl Sink for SqliteSink {
    fn recover(&mut self, acked: u64) -> Result<SinkPosition, SinkError> {
        self.0.recover(acked)
    }

    fn held(&mut self) -> Result<Option<Held>, SinkError> {
        self.0.held()
    }

    fn expose(&mut self, entry: &SinkEpoch) -> Result<ExposeOutcome, SinkError> {
        self.0.expose(entry)
    }

    fn remembered_rejects(&mut self) -> Result<Vec<SinkReject>, SinkError> {
        self.0.remembered_rejects()
    }

    fn forget_rejects(&mut self, through_epoch: u64) -> Result<(), SinkError> {
        self.0.forget_rejects(through_epoch)
    }
}

/// The column type of the table in [`crate::sql`]; `None`: not supported.
fn sql_type(data_type: &DataType) -> Option<String> {
    let name = match data_type {
        DataType::Boolean | DataType::UInt64 => "INTEGER",
        integer if integer.is_integer() => "INTEGER",
        DataType::Float32 | DataType::Float64 => "REAL",
        DataType::Binary | DataType::LargeBinary | DataType::BinaryView => "BLOB",
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => "TEXT",
        DataType::Decimal128(..) | DataType::Date32 | DataType::Timestamp(..) => "TEXT",
        _ => return None,
    };
    Some(name.to_owned())
}

/// A connection and the small runtime that drives it.
pub(crate) struct Sqlite {
    connection: Option<SqliteConnection>,
    path: PathBuf,
    target: String,
    runtime: tokio::runtime::Runtime,
}

impl Sqlite {
    pub(crate) fn new(path: PathBuf) -> Result<Self, SinkError> {
        let target = format!("SQLite {}", path.display());
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime =
            runtime.map_err(|error| fatal(format!("no I/O runtime: {error}"), "free memory and file handles"))?;
        Ok(Self { connection: None, path, target, runtime })
    }

    fn answer<'a, T, F>(&'a mut self, exchange: impl FnOnce(&'a mut SqliteConnection) -> F) -> Result<T, DatabaseError>
    where
        F: Future<Output = Result<T, sqlx::Error>> + 'a,
    {
        let Self { connection, target, runtime, .. } = self;
        let Some(connection) = connection.as_mut() else {
            return Err(SinkError::Retry(format!("{target} is not connected")).into());
        };
        runtime.block_on(exchange(connection)).map_err(|error| classify(target, &error))
    }

    fn write_piece(
        &mut self,
        sql: String,
        columns: &[usize],
        rows: &RecordBatch,
        numbers: &[u32],
    ) -> Result<(), DatabaseError> {
        let mut arguments = SqliteArguments::default();
        arguments.reserve(columns.len() * numbers.len(), 0);
        for row in numbers {
            for column in columns {
                add(&mut arguments, rows.column(*column), *row as usize).map_err(|error| {
                    fatal(format!("a value cannot be sent: {error}"), "report it with the manifest")
                })?;
            }
        }
        self.answer(|connection| sqlx::query_with(AssertSqlSafe(sql), arguments).execute(connection)).map(drop)
    }
}

fn put_statement(table: &Table, rows: usize) -> String {
    let one = format!("({})", vec!["?"; table.columns.len()].join(", "));
    let values = vec![one.as_str(); rows].join(", ");
    format!("INSERT INTO {} ({}) VALUES {values}{}", table.name, table.column_list(), table.on_conflict())
}

fn delete_statement(table: &Table, rows: usize) -> String {
    let columns = table.key.iter().map(|column| table.columns[*column].as_str()).collect::<Vec<_>>().join(", ");
    let one = format!("({})", vec!["?"; table.key.len()].join(", "));
    let keys = vec![one.as_str(); rows].join(", ");
    format!("DELETE FROM {} WHERE ({columns}) IN (VALUES {keys})", table.name)
}

impl Database for Sqlite {
    fn dialect(&self) -> &'static Dialect {
        &DIALECT
    }

    fn target(&self) -> &str {
        &self.target
    }

    fn connect(&mut self, create: bool) -> Result<bool, SinkError> {
        let found = self.path.try_exists().map_err(|error| durable::sink_error("look for", &self.path, &error))?;
        if !found {
            if !create {
                return Ok(false);
            }
            let folder = self.path.parent().unwrap_or(Path::new(""));
            durable::create_folders(folder).map_err(|error| durable::sink_error("create", folder, &error))?;
        }
        let options = SqliteConnectOptions::new()
            .filename(&self.path)
            .create_if_missing(create)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Full)
            .busy_timeout(LOCK_PATIENCE)
            .disable_statement_logging();
        let connected = self.runtime.block_on(SqliteConnection::connect_with(&options));
        self.connection = Some(connected.map_err(|error| classify(&self.target, &error).into_sink_error())?);
        Ok(true)
    }

    fn disconnect(&mut self) {
        // Closed, not only dropped: what was rolled back must not hold the write lock against the next connection.
        if let Some(connection) = self.connection.take() {
            let _ = self.runtime.block_on(connection.close());
        }
    }

    fn is_connected(&self) -> bool {
        self.connection.is_some()
    }

    fn execute(&mut self, sql: &str, values: &[Value]) -> Result<u64, DatabaseError> {
        let arguments = arguments(values)?;
        let sql = AssertSqlSafe(sql.to_owned());
        self.answer(|connection| sqlx::query_with(sql, arguments).execute(connection)).map(|done| done.rows_affected())
    }

    fn query(&mut self, sql: &str, values: &[Value], columns: &[Kind]) -> Result<Vec<Vec<Value>>, DatabaseError> {
        let arguments = arguments(values)?;
        let sql = AssertSqlSafe(sql.to_owned());
        let rows = self.answer(|connection| sqlx::query_with(sql, arguments).fetch_all(connection))?;
        let read = |row: &SqliteRow, column: usize, kind: Kind| match kind {
            Kind::Int => row.try_get(column).map(Value::Int),
            Kind::Text => row.try_get(column).map(|text: Option<String>| text.map_or(Value::Null, Value::Text)),
            Kind::Bytes => row.try_get(column).map(Value::Bytes),
        };
        let read_row =
            |row: &SqliteRow| columns.iter().enumerate().map(|(column, kind)| read(row, column, *kind)).collect();
        rows.iter().map(read_row).collect::<Result<_, _>>().map_err(|error| classify(&self.target, &error))
    }

    fn rows_per_statement(&self, table: &Table) -> usize {
        let fitting = (MAX_PARAMETERS / table.columns.len()).clamp(1, MAX_ROWS);
        1 << fitting.ilog2()
    }

    fn write(
        &mut self,
        operation: Operation,
        table: &Table,
        rows: &RecordBatch,
        numbers: &[u32],
    ) -> Result<(), DatabaseError> {
        // A statement that SQLite refuses takes back its own rows and no others; pieces of a call are told apart by
        // the caller, which halves: so a call must be one statement.
        let all: Vec<usize> = (0..table.columns.len()).collect();
        match operation {
            Operation::Put => self.write_piece(put_statement(table, numbers.len()), &all, rows, numbers),
            Operation::Delete => self.write_piece(delete_statement(table, numbers.len()), &table.key, rows, numbers),
        }
    }

    fn rehearse(&mut self, table: &Table) -> Result<(), DatabaseError> {
        let statements = [Some(put_statement(table, 1)), (!table.key.is_empty()).then(|| delete_statement(table, 1))];
        for statement in statements.into_iter().flatten() {
            // Compiles the statement against the table; runs nothing.
            let explained = AssertSqlSafe(format!("EXPLAIN {statement}"));
            self.answer(|connection| sqlx::query(explained).fetch_all(connection))?;
        }
        Ok(())
    }

    fn unfit(&self, rows: &RecordBatch, column: usize, row: usize) -> Option<(&'static str, String)> {
        let array = rows.column(column);
        let name = rows.schema_ref().field(column).name();
        let nan = match array.data_type() {
            DataType::Float32 => array.as_primitive::<Float32Type>().value(row).is_nan(),
            DataType::Float64 => array.as_primitive::<Float64Type>().value(row).is_nan(),
            DataType::UInt64 => {
                let value = array.as_primitive::<UInt64Type>().value(row);
                let out = i64::try_from(value).is_err();
                return out
                    .then(|| ("sql-range", format!("column `{name}`: {value} is above SQLite's largest integer")));
            }
            DataType::Date32 | DataType::Timestamp(..) => {
                let out = row::exact_text(array, row).is_none();
                return out.then(|| ("sql-range", format!("column `{name}`: outside of the years -9999 to 9999")));
            }
            _ => false,
        };
        nan.then(|| ("sql-nan", format!("column `{name}`: SQLite cannot hold NaN")))
    }

    fn may_be_unfit(&self, rows: &RecordBatch, column: usize) -> bool {
        use DataType::{Date32, Float32, Float64, Timestamp, UInt64};
        matches!(rows.column(column).data_type(), Float32 | Float64 | UInt64 | Date32 | Timestamp(..))
    }
}

fn arguments(values: &[Value]) -> Result<SqliteArguments, DatabaseError> {
    let mut arguments = SqliteArguments::default();
    for value in values {
        let added = match value {
            Value::Null => arguments.add(None::<i64>),
            Value::Int(value) => arguments.add(*value),
            Value::Text(value) => arguments.add(value.clone()),
            Value::Bytes(value) => arguments.add(value.clone()),
        };
        added.map_err(|error| fatal(format!("a value cannot be sent: {error}"), "report it with the manifest"))?;
    }
    Ok(arguments)
}

fn add(arguments: &mut SqliteArguments, column: &dyn Array, row: usize) -> Result<(), sqlx::error::BoxDynError> {
    if column.is_null(row) {
        return arguments.add(None::<i64>);
    }
    match column.data_type() {
        DataType::Boolean => arguments.add(column.as_boolean().value(row)),
        DataType::UInt64 => arguments.add(i64::try_from(column.as_primitive::<UInt64Type>().value(row))?),
        DataType::Float32 => arguments.add(f64::from(column.as_primitive::<Float32Type>().value(row))),
        DataType::Float64 => arguments.add(column.as_primitive::<Float64Type>().value(row)),
        DataType::Utf8 => arguments.add(column.as_string::<i32>().value(row).to_owned()),
        DataType::Binary => arguments.add(column.as_binary::<i32>().value(row).to_vec()),
        other => match row::integer(column, row) {
            Some(value) => arguments.add(value),
            None => {
                arguments.add(row::exact_text(column, row).ok_or_else(|| format!("type {other} is not supported"))?)
            }
        },
    }
}

/// Sorts an error by what happens next. Codes: SQLite, "Result and Error Codes".
fn classify(target: &str, error: &sqlx::Error) -> DatabaseError {
    let sqlx::Error::Database(database) = error else {
        return SinkError::Retry(format!("{target}: {error}")).into();
    };
    let code: i32 = database.code().and_then(|code| code.parse().ok()).unwrap_or_default();
    let message = format!("{target}: {} (code {code})", database.message());
    let refused = |code| DatabaseError::Rows { code, reason: database.message().to_owned() };
    match code & 0xff {
        19 => refused("sql-constraint"),
        18 | 20 => refused("sql-value"),
        1 | 25 => fatal(
            message,
            "let the table's columns, and a sink's unique key, be those that are named here, or choose another `table`",
        )
        .into(),
        3 | 8 | 14 | 23 => {
            fatal(message, "give a `path` that this user may read, and a sink one that it may write to").into()
        }
        11 | 26 => fatal(message, "the file is no intact SQLite database: restore it, or choose another `path`").into(),
        _ => SinkError::Retry(message).into(),
    }
}
