//! PostgreSQL: one connection, arrays of columns through `UNNEST`, savepoints around each statement with rows.
//!
//! An answered epoch survives a crash of the server: `synchronous_commit` is put back on where a server has it off.
//! A server that does not answer within [`ANSWER_PATIENCE`] counts as lost.

mod reader;
mod values;

use std::future::Future;
use std::str::FromStr;
use std::time::Duration;

use arrow_array::RecordBatch;
use sqlx::postgres::{PgConnectOptions, PgConnection, PgRow};
use sqlx::{Arguments, AssertSqlSafe, ConnectOptions, Connection, Row};
use weir_stream::{ExposeOutcome, Held, Sink, SinkEpoch, SinkError, SinkPosition, SinkReject};

pub use reader::PostgresReader;

use super::SqlTarget;
use super::database::{Database, DatabaseError, Dialect, Kind, Operation, Value};
use super::sink::SqlSink;
use super::table::Table;
use crate::identity::fatal;

/// How long a connection may take to open.
const CONNECT_PATIENCE: Duration = Duration::from_secs(10);

/// How long one statement may take.
const ANSWER_PATIENCE: Duration = Duration::from_secs(60);

/// Rows of one statement: enough that the round trip does not count.
const ROWS_PER_STATEMENT: usize = 10_000;

const DIALECT: Dialect = Dialect {
    // A deferred constraint would speak up only at the commit, when no row can be singled out any more.
    begin: &["BEGIN", "SET CONSTRAINTS ALL IMMEDIATE"],
    for_update: " FOR UPDATE",
    lock_tables: Some("SELECT pg_advisory_xact_lock(5727438812047)"),
    table_exists: "SELECT (to_regclass($1) IS NOT NULL)::int::bigint",
    quoted_name: true,
    bytes_type: "BYTEA",
};

/// Sent once a connection, outside of any transaction.
const SETTINGS: [&str; 2] = [
    "SET lock_timeout = '10s'",
    "SELECT set_config('synchronous_commit', 'on', false) WHERE current_setting('synchronous_commit') = 'off'",
];

/// Rows into a PostgreSQL table, exactly once: see [`crate::sql`].
pub struct PostgresSink(SqlSink<Postgres>);

impl PostgresSink {
    /// `url`: `postgres://user:password@host:port/database`, with libpq's parameters such as `sslmode`. Nothing
    /// is connected yet.
    ///
    /// # Errors
    /// `Fatal` when the URL, a name, a key or a column type cannot be used.
    pub fn new(target: &SqlTarget, url: &str) -> Result<Self, SinkError> {
        let table = Table::new(target, true, values::sql_type)?;
        Ok(Self(SqlSink::new(Postgres::new(url)?, table, target)))
    }
}

impl Sink for PostgresSink {
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

/// A connection and the small runtime that drives it.
pub(crate) struct Postgres {
    connection: Option<PgConnection>,
    options: PgConnectOptions,
    target: String,
    runtime: tokio::runtime::Runtime,
}

impl Postgres {
    /// # Errors
    /// `Fatal` when the URL cannot be used. The text does not repeat it: it may hold a password.
    pub(crate) fn new(url: &str) -> Result<Self, SinkError> {
        let options = PgConnectOptions::from_str(url).map_err(|_| {
            let next = "write it as postgres://user:password@host:port/database, special characters percent-encoded";
            fatal("the URL of the PostgreSQL sink cannot be read", next)
        })?;
        let database = options.get_database().unwrap_or(options.get_username());
        let target = format!("PostgreSQL {}:{}/{database}", options.get_host(), options.get_port());
        let options = options.application_name("weir").disable_statement_logging();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime =
            runtime.map_err(|error| fatal(format!("no I/O runtime: {error}"), "free memory and file handles"))?;
        Ok(Self { connection: None, options, target, runtime })
    }

    /// Drives one exchange with the server to its end.
    fn answer<'a, T, F>(&'a mut self, exchange: impl FnOnce(&'a mut PgConnection) -> F) -> Result<T, DatabaseError>
    where
        F: Future<Output = Result<T, sqlx::Error>> + 'a,
    {
        let Self { connection, target, runtime, .. } = self;
        let Some(connection) = connection.as_mut() else {
            return Err(SinkError::Retry(format!("{target} is not connected")).into());
        };
        let answer = runtime.block_on(async { tokio::time::timeout(ANSWER_PATIENCE, exchange(connection)).await });
        match answer {
            Ok(answer) => answer.map_err(|error| classify(target, &error)),
            Err(_) => {
                let seconds = ANSWER_PATIENCE.as_secs();
                Err(SinkError::Retry(format!("{target} did not answer within {seconds} s")).into())
            }
        }
    }

    fn write_rows(
        &mut self,
        sql: String,
        table: &Table,
        columns: &[usize],
        rows: &RecordBatch,
        numbers: &[u32],
    ) -> Result<(), DatabaseError> {
        let mut arguments = sqlx::postgres::PgArguments::default();
        for column in columns {
            values::add(&mut arguments, rows.column(*column), numbers).map_err(|error| {
                fatal(
                    format!("column {} cannot be sent: {error}", table.columns[*column]),
                    "report it with the manifest",
                )
            })?;
        }
        self.answer(|connection| sqlx::query_with(AssertSqlSafe(sql), arguments).execute(connection)).map(drop)
    }

    fn write_unguarded(
        &mut self,
        operation: Operation,
        table: &Table,
        rows: &RecordBatch,
        numbers: &[u32],
    ) -> Result<(), DatabaseError> {
        let all: Vec<usize> = (0..table.columns.len()).collect();
        match operation {
            Operation::Put => self.write_rows(put_statement(table), table, &all, rows, numbers),
            Operation::Delete => self.write_rows(delete_statement(table), table, &table.key, rows, numbers),
        }
    }
}

fn parameters(count: usize) -> String {
    (1..=count).map(|number| format!("${number}")).collect::<Vec<_>>().join(", ")
}

fn put_statement(table: &Table) -> String {
    let Table { name, columns, .. } = table;
    let (list, parameters) = (table.column_list(), parameters(columns.len()));
    format!("INSERT INTO {name} ({list}) SELECT * FROM UNNEST({parameters}){}", table.on_conflict())
}

fn delete_statement(table: &Table) -> String {
    let names: Vec<String> = (1..=table.key.len()).map(|number| format!("k{number}")).collect();
    let same = table.key.iter().zip(&names).map(|(column, name)| format!("t.{} = k.{name}", table.columns[*column]));
    let same = same.collect::<Vec<_>>().join(" AND ");
    let parameters = parameters(names.len());
    format!("DELETE FROM {} AS t USING UNNEST({parameters}) AS k({}) WHERE {same}", table.name, names.join(", "))
}

impl Database for Postgres {
    fn dialect(&self) -> &'static Dialect {
        &DIALECT
    }

    fn target(&self) -> &str {
        &self.target
    }

    fn connect(&mut self, _create: bool) -> Result<bool, SinkError> {
        let connecting =
            async { tokio::time::timeout(CONNECT_PATIENCE, PgConnection::connect_with(&self.options)).await };
        let connection = match self.runtime.block_on(connecting) {
            Ok(connected) => connected.map_err(|error| classify(&self.target, &error).into_sink_error())?,
            Err(_) => {
                let seconds = CONNECT_PATIENCE.as_secs();
                return Err(SinkError::Retry(format!("{} did not accept within {seconds} s", self.target)));
            }
        };
        self.connection = Some(connection);
        for setting in SETTINGS {
            self.answer(|connection| sqlx::query(setting).execute(connection))
                .map_err(DatabaseError::into_sink_error)?;
        }
        Ok(true)
    }

    fn disconnect(&mut self) {
        self.connection = None;
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
        let read = |row: &PgRow, column: usize, kind: Kind| match kind {
            Kind::Int => row.try_get(column).map(Value::Int),
            Kind::Text => row.try_get(column).map(|text: Option<String>| text.map_or(Value::Null, Value::Text)),
            Kind::Bytes => row.try_get(column).map(Value::Bytes),
        };
        let read_row =
            |row: &PgRow| columns.iter().enumerate().map(|(column, kind)| read(row, column, *kind)).collect();
        rows.iter().map(read_row).collect::<Result<_, _>>().map_err(|error| classify(&self.target, &error))
    }

    fn rows_per_statement(&self, _table: &Table) -> usize {
        ROWS_PER_STATEMENT
    }

    fn write(
        &mut self,
        operation: Operation,
        table: &Table,
        rows: &RecordBatch,
        numbers: &[u32],
    ) -> Result<(), DatabaseError> {
        self.execute("SAVEPOINT weir_rows", &[])?;
        match self.write_unguarded(operation, table, rows, numbers) {
            Ok(()) => self.execute("RELEASE SAVEPOINT weir_rows", &[]).map(drop),
            Err(refused @ DatabaseError::Rows { .. }) => {
                self.execute("ROLLBACK TO SAVEPOINT weir_rows", &[])?;
                Err(refused)
            }
            Err(stop) => Err(stop),
        }
    }

    fn rehearse(&mut self, table: &Table) -> Result<(), DatabaseError> {
        let columns = table.schema.fields().iter().map(|field| values::plain_type(field.data_type()));
        let fields = table.schema.fields().iter().zip(columns);
        let fields = fields.map(|(field, plain)| field.as_ref().clone().with_data_type(plain));
        let nothing =
            RecordBatch::new_empty(std::sync::Arc::new(arrow_schema::Schema::new(fields.collect::<Vec<_>>())));
        self.write_unguarded(Operation::Put, table, &nothing, &[])?;
        if !table.key.is_empty() {
            self.write_unguarded(Operation::Delete, table, &nothing, &[])?;
        }
        Ok(())
    }

    fn unfit(&self, rows: &RecordBatch, column: usize, row: usize) -> Option<(&'static str, String)> {
        let field = rows.schema_ref().field(column).name();
        values::unfit(rows.column(column), row).map(|(code, reason)| (code, format!("column `{field}`: {reason}")))
    }

    fn may_be_unfit(&self, rows: &RecordBatch, column: usize) -> bool {
        values::may_be_unfit(rows.column(column))
    }
}

fn arguments(values: &[Value]) -> Result<sqlx::postgres::PgArguments, DatabaseError> {
    let mut arguments = sqlx::postgres::PgArguments::default();
    for value in values {
        let added = match value {
            Value::Null => arguments.add(None::<i64>),
            Value::Int(value) => arguments.add(*value),
            Value::Text(value) => arguments.add(value.as_str()),
            Value::Bytes(value) => arguments.add(value.as_slice()),
        };
        added.map_err(|error| fatal(format!("a value cannot be sent: {error}"), "report it with the manifest"))?;
    }
    Ok(arguments)
}

/// Sorts an error by what happens next. SQLSTATE classes: PostgreSQL manual, appendix A.
fn classify(target: &str, error: &sqlx::Error) -> DatabaseError {
    let sqlx::Error::Database(database) = error else {
        return match error {
            sqlx::Error::Tls(_) | sqlx::Error::Configuration(_) => {
                fatal(format!("{target}: {error}"), "check the `sslmode` of the URL and the server's certificate")
                    .into()
            }
            sqlx::Error::Encode(_) | sqlx::Error::Decode(_) | sqlx::Error::ColumnDecode { .. } => {
                fatal(format!("{target}: {error}"), "report it with the manifest").into()
            }
            _ => SinkError::Retry(format!("{target}: {error}")).into(),
        };
    };
    let code = database.code().unwrap_or_default();
    let message = format!("{target}: {} (SQLSTATE {code})", database.message());
    match &*code {
        "P0001" | "54000" => return refused("sql-refused", database.as_ref()),
        "57P04" | "3D000" => return fatal(message, "create the database, or correct its name in the URL").into(),
        "3F000" => return fatal(message, "create the schema, or correct `table`").into(),
        "42501" => {
            return fatal(message, "grant the user SELECT on the table, and a sink's also INSERT, UPDATE and DELETE")
                .into();
        }
        "42P10" => {
            return fatal(message, "give the table a unique index or primary key on the `upsert` columns").into();
        }
        _ => {}
    }
    match code.get(..2).unwrap_or_default() {
        "22" => refused("sql-value", database.as_ref()),
        "23" => refused("sql-constraint", database.as_ref()),
        // Two rows of one statement met in one row of the table: apart they are fine.
        "21" | "44" => refused("sql-refused", database.as_ref()),
        "08" | "25" | "40" | "53" | "55" | "57" | "58" => SinkError::Retry(message).into(),
        "28" => fatal(message, "correct the user and the password's secret").into(),
        "42" => {
            fatal(message, "let the table's columns be those that are named here, or choose another `table`").into()
        }
        _ => fatal(message, "look at the server's log").into(),
    }
}

fn refused(code: &'static str, error: &dyn sqlx::error::DatabaseError) -> DatabaseError {
    let state = error.code().unwrap_or_default();
    let detail = error.try_downcast_ref::<sqlx::postgres::PgDatabaseError>().and_then(|error| error.detail());
    let detail = detail.map(|detail| format!(": {detail}")).unwrap_or_default();
    DatabaseError::Rows { code, reason: format!("{}{detail} (SQLSTATE {state})", error.message()) }
}
