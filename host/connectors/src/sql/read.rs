//! Reads a whole table as text, ordered: for showing results and for tests, not for pipelines.

use std::path::Path;

use weir_stream::SinkError;

use super::database::{Database, DatabaseError, Kind, Value};
use super::postgres::Postgres;
use super::sqlite::Sqlite;
use super::table::{quote, quote_table};
use crate::identity::fatal;

/// A table's rows, every value as the database itself writes it as text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TableRows {
    pub columns: Vec<String>,
    /// One entry per column; `None` is null.
    pub rows: Vec<Vec<Option<String>>>,
}

/// The SQL that differs.
struct Reading {
    /// Names of the columns of the table named `$1`, in order.
    columns: &'static str,
    quoted_name: bool,
    /// One column, `{}`, as text.
    as_text: &'static str,
}

/// Reads a SQLite table, ordered by columns. Binary values come as hexadecimal digits.
///
/// # Errors
/// `Fatal` when the file, the table or a column is not there; `Retry` while it is locked.
pub fn read_sqlite_table(path: &Path, table: &str, order_by: &[&str]) -> Result<TableRows, SinkError> {
    let mut database = Sqlite::new(path.to_owned())?;
    if !database.connect(false)? {
        return Err(fatal(format!("{} does not exist", path.display()), "run the pipeline that writes it first"));
    }
    let reading = Reading {
        columns: "SELECT name FROM pragma_table_info($1)",
        quoted_name: false,
        as_text: "CASE typeof(t.{}) WHEN 'blob' THEN hex(t.{}) ELSE CAST(t.{} AS TEXT) END",
    };
    read(&mut database, &quote_table(table, false)?, order_by, &reading)
}

/// Reads a PostgreSQL table (`table` or `schema.table`), ordered by columns.
///
/// # Errors
/// `Fatal` when the table or a column is not there; `Retry` while the server is unreachable.
pub fn read_postgres_table(url: &str, table: &str, order_by: &[&str]) -> Result<TableRows, SinkError> {
    let mut database = Postgres::new(url)?;
    database.connect(false)?;
    let reading = Reading {
        columns: "SELECT attname::text FROM pg_attribute WHERE attrelid = to_regclass($1) AND attnum > 0 \
                  AND NOT attisdropped ORDER BY attnum",
        quoted_name: true,
        as_text: "t.{}::text",
    };
    read(&mut database, &quote_table(table, true)?, order_by, &reading)
}

fn read<D: Database>(
    database: &mut D,
    table: &str,
    order_by: &[&str],
    reading: &Reading,
) -> Result<TableRows, SinkError> {
    let name = if reading.quoted_name { table.to_owned() } else { table.replace('"', "") };
    let found = query(database, reading.columns, &[Value::Text(name)], 1)?;
    let columns: Vec<String> = found.into_iter().flatten().flatten().collect();
    if columns.is_empty() {
        let message = format!("{} has no table {table}", database.target());
        return Err(fatal(message, "run the pipeline that writes it first"));
    }
    // Columns of a table that others made may have any name: doubling the quotes keeps them names.
    let quoted = columns.iter().map(|column| format!("\"{}\"", column.replace('"', "\"\"")));
    let texts: Vec<String> = quoted.map(|column| reading.as_text.replace("{}", &column)).collect();
    let order: Result<Vec<String>, SinkError> =
        order_by.iter().map(|column| Ok(format!("t.{}", quote("column", column)?))).collect();
    let order = order?;
    let order = if order.is_empty() { String::new() } else { format!(" ORDER BY {}", order.join(", ")) };
    let sql = format!("SELECT {} FROM {table} AS t{order}", texts.join(", "));
    let rows = query(database, &sql, &[], columns.len())?;
    Ok(TableRows { columns, rows })
}

fn query<D: Database>(
    database: &mut D,
    sql: &str,
    values: &[Value],
    columns: usize,
) -> Result<Vec<Vec<Option<String>>>, SinkError> {
    let rows = database.query(sql, values, &vec![Kind::Text; columns]).map_err(DatabaseError::into_sink_error)?;
    Ok(rows.into_iter().map(|row| row.into_iter().map(Value::optional_text).collect()).collect())
}
