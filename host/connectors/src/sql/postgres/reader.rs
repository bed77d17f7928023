//! Rows of a PostgreSQL table by key: keys as arrays through `UNNEST`, rows as JSON.

use arrow_array::{Array, ArrayRef};
use arrow_schema::DataType;
use sqlx::postgres::PgArguments;
use sqlx::{AssertSqlSafe, Row};
use weir_stream::SourceError;

use super::super::database::{Database, DatabaseError};
use super::super::question::{AnsweredRow, Question, Quoted, TableReader, as_source};
use super::{Postgres, classify, values};
use crate::identity::fatal;

/// Keeps whoever made a view out of rows in check: a look-up writes nothing.
const READ_ONLY: &str = "SET default_transaction_read_only = on";

/// Asks a PostgreSQL table.
pub struct PostgresReader {
    database: Postgres,
    sql: String,
}

impl PostgresReader {
    /// Nothing is connected yet.
    ///
    /// # Errors
    /// `Fatal` when the URL or a name cannot be used.
    pub fn new(question: &Question, url: &str) -> Result<Self, SourceError> {
        let sql = statement(&question.quoted(true)?);
        Ok(Self { database: Postgres::new(url).map_err(as_source)?, sql })
    }

    /// Whether a column of this type can be asked with.
    pub fn takes(data_type: &DataType) -> bool {
        values::sql_type(data_type).is_some()
    }

    fn answer(&mut self, keys: &[ArrayRef], rows: &[u32]) -> Result<Vec<AnsweredRow>, DatabaseError> {
        let mut arguments = PgArguments::default();
        for column in keys {
            values::add(&mut arguments, column, rows)
                .map_err(|error| fatal(format!("a key cannot be sent: {error}"), "report it with the manifest"))?;
        }
        let sql = AssertSqlSafe(self.sql.clone());
        let found = self.database.answer(|connection| sqlx::query_with(sql, arguments).fetch_all(connection))?;
        let row = |row: &sqlx::postgres::PgRow| -> Result<AnsweredRow, sqlx::Error> {
            let number = usize::try_from(row.try_get::<i64, _>(0)?).unwrap_or_default();
            let key = rows.get(number.wrapping_sub(1)).ok_or(sqlx::Error::RowNotFound)?;
            Ok(AnsweredRow { key: *key as usize, row: row.try_get(1)? })
        };
        let answered: Result<Vec<_>, _> = found.iter().map(row).collect();
        answered.map_err(|error| classify(self.database.target(), &error))
    }
}

impl TableReader for PostgresReader {
    fn ask(&mut self, keys: &[ArrayRef]) -> Result<Vec<AnsweredRow>, SourceError> {
        // What PostgreSQL has no room for is in none of its tables.
        let count = keys.first().map_or(0, |column| column.len());
        let fits = |row: &u32| keys.iter().all(|column| values::unfit(column, *row as usize).is_none());
        let rows: Vec<u32> = (0..count as u32).filter(fits).collect();
        if !self.database.is_connected() {
            self.database.connect(false).map_err(as_source)?;
            self.database.execute(READ_ONLY, &[]).map_err(|error| as_source(error.into_sink_error()))?;
        }
        self.answer(keys, &rows).map_err(|error| {
            self.database.disconnect();
            as_source(error.into_sink_error())
        })
    }

    fn target(&self) -> &str {
        self.database.target()
    }
}

fn statement(question: &Quoted) -> String {
    let Quoted { table, key, values, rows_per_key } = question;
    let columns = values.iter().map(|(column, data_type)| match data_type {
        // `encode` breaks lines.
        DataType::Binary => format!("translate(encode(t.{column}, 'base64'), E'\\n', '') AS {column}"),
        _ => format!("t.{column}"),
    });
    let columns: Vec<String> = columns.collect();
    let columns = if columns.is_empty() { "true AS found".to_owned() } else { columns.join(", ") };
    let parameters = (1..=key.len()).map(|number| format!("${number}")).collect::<Vec<_>>().join(", ");
    format!(
        "SELECT k.n, row_to_json(c)::text FROM UNNEST({parameters}) WITH ORDINALITY AS k({}, n), \
         LATERAL (SELECT {columns} FROM {table} AS t WHERE {} LIMIT {rows_per_key}) AS c",
        question.key_names(),
        question.same_key()
    )
}
