//! Rows of a SQLite table by key: keys as a list of values, rows as JSON. The file is opened for reading alone.

use std::path::PathBuf;

use arrow_array::{Array, ArrayRef};
use arrow_schema::DataType;
use sqlx::sqlite::{SqliteArguments, SqliteConnectOptions};
use sqlx::{Arguments, AssertSqlSafe, ConnectOptions, Connection, Row, SqliteConnection};
use weir_stream::SourceError;

use super::super::database::{Database, DatabaseError};
use super::super::question::{AnsweredRow, Question, Quoted, TableReader, as_source};
use super::{LOCK_PATIENCE, Sqlite, add, classify};
use crate::identity::fatal;

/// Asks a SQLite table.
pub struct SqliteReader {
    database: Sqlite,
    question: Quoted,
}

impl SqliteReader {
    /// Nothing is opened yet.
    ///
    /// # Errors
    /// `Fatal` when a name or type cannot be used.
    pub fn new(question: &Question, path: PathBuf) -> Result<Self, SourceError> {
        let question = question.quoted(false)?;
        Ok(Self { database: Sqlite::new(path).map_err(as_source)?, question })
    }

    /// Whether a column of this type can be asked with: one of which SQLite holds equal values in one form.
    pub fn takes(data_type: &DataType) -> bool {
        let text = matches!(data_type, DataType::Utf8 | DataType::Binary | DataType::Date32);
        text || data_type.is_integer() || data_type.is_floating() || *data_type == DataType::Boolean
    }

    fn connect(&mut self) -> Result<(), SourceError> {
        let Sqlite { path, target, .. } = &self.database;
        if !path.exists() {
            return Err(SourceError::Retry(format!("{target} is not there")));
        }
        let options = SqliteConnectOptions::new().filename(path).read_only(true).busy_timeout(LOCK_PATIENCE);
        let connected =
            self.database.runtime.block_on(SqliteConnection::connect_with(&options.disable_statement_logging()));
        let connected = connected.map_err(|error| as_source(classify(target, &error).into_sink_error()))?;
        self.database.connection = Some(connected);
        Ok(())
    }

    fn answer(&mut self, keys: &[ArrayRef], count: usize) -> Result<Vec<AnsweredRow>, DatabaseError> {
        let mut arguments = SqliteArguments::default();
        for row in 0..count {
            let numbered = arguments.add(row as i64);
            let added = keys.iter().try_fold((), |(), column| add(&mut arguments, column, row));
            numbered
                .and(added)
                .map_err(|error| fatal(format!("a key cannot be sent: {error}"), "report it with the manifest"))?;
        }
        let sql = AssertSqlSafe(statement(&self.question, count));
        let found = self.database.answer(|connection| sqlx::query_with(sql, arguments).fetch_all(connection))?;
        let row = |row: &sqlx::sqlite::SqliteRow| -> Result<AnsweredRow, sqlx::Error> {
            let key = usize::try_from(row.try_get::<i64, _>(0)?).unwrap_or(usize::MAX);
            Ok(AnsweredRow { key, row: row.try_get(1)? })
        };
        let answered: Result<Vec<_>, _> = found.iter().map(row).collect();
        answered.map_err(|error| classify(self.database.target(), &error))
    }
}

impl TableReader for SqliteReader {
    fn ask(&mut self, keys: &[ArrayRef]) -> Result<Vec<AnsweredRow>, SourceError> {
        if !self.database.is_connected() {
            self.connect()?;
        }
        let count = keys.first().map_or(0, |column| column.len());
        self.answer(keys, count).map_err(|error| {
            self.database.disconnect();
            as_source(error.into_sink_error())
        })
    }

    fn target(&self) -> &str {
        self.database.target()
    }
}

fn statement(question: &Quoted, keys: usize) -> String {
    let value = |(column, data_type): &(String, DataType)| {
        let name = column.trim_matches('"');
        match data_type {
            DataType::Boolean => format!(
                "'{name}', json(CASE WHEN t.{column} THEN 'true' WHEN NOT t.{column} THEN 'false' ELSE 'null' END)"
            ),
            // Columns have no types of their own here: a blob is no JSON at all, and would fail the whole question.
            _ => format!("'{name}', CASE typeof(t.{column}) WHEN 'blob' THEN json('[]') ELSE t.{column} END"),
        }
    };
    let object = question.values.iter().map(value).collect::<Vec<_>>().join(", ");
    let one = format!("({})", vec!["?"; question.key.len() + 1].join(", "));
    let keys = vec![one.as_str(); keys].join(", ");
    format!(
        "WITH k(n, {}) AS (VALUES {keys}) SELECT n, found FROM (SELECT k.n AS n, json_object({object}) AS found, \
         row_number() OVER (PARTITION BY k.n) AS place FROM k JOIN {} AS t ON {}) WHERE place <= {}",
        question.key_names(),
        question.table,
        question.same_key(),
        question.rows_per_key
    )
}
