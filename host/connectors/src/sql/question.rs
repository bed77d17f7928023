//! Rows of a table by key, many keys a question: what look-ups ask a database.
//!
//! The database writes each row as a JSON object, for the codec that types every other record: decimals exactly, times in
//! RFC 3339. Whether two keys are equal is the database's answer, which says by number whose row it is. Nothing is written.

use arrow_array::ArrayRef;
use arrow_schema::{DataType, FieldRef};
use weir_stream::{SinkError, SourceError};

use super::table::{quote, quote_table};
use crate::identity::fatal;

/// Most keys of one question.
pub const MAX_KEYS_PER_QUESTION: usize = 1_000;

/// Most columns of one answer: SQLite's functions take no more arguments.
const MAX_ANSWERED: usize = 60;

/// Most columns of a key: those of all keys of a question must be within SQLite's 32,766 parameters.
const MAX_KEY_COLUMNS: usize = 16;

/// What is asked of a table.
#[derive(Debug, Clone)]
pub struct Question {
    /// `table` or, in PostgreSQL, `schema.table`.
    pub table: String,
    /// The columns that are compared.
    pub key: Vec<String>,
    /// The columns that are answered.
    pub values: Vec<FieldRef>,
    /// Most rows of one key that are answered.
    pub rows_per_key: usize,
}

/// A row of a key, as a JSON object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AnsweredRow {
    /// Number of the key in the question.
    pub key: usize,
    pub row: String,
}

/// One connection that is asked; blocks.
pub trait TableReader: Send {
    /// The rows of each key, in no order of keys. `keys`: an array for each column of the key, without nulls, of at most
    /// [`MAX_KEYS_PER_QUESTION`] keys.
    ///
    /// # Errors
    /// [`SourceError::Retry`] while the database is away: the next question connects anew. `Fatal` when the table, a column
    /// or the rights are not there.
    fn ask(&mut self, keys: &[ArrayRef]) -> Result<Vec<AnsweredRow>, SourceError>;

    /// Whose answers these are, without credentials.
    fn target(&self) -> &str;
}

/// A question with every name checked and quoted.
#[derive(Debug, Clone)]
pub(super) struct Quoted {
    pub table: String,
    pub key: Vec<String>,
    /// The column, quoted, and its type.
    pub values: Vec<(String, DataType)>,
    pub rows_per_key: usize,
}

impl Question {
    /// Whether it can be asked.
    ///
    /// # Errors
    /// For people, why not.
    pub fn check(&self) -> Result<(), String> {
        match (self.key.len(), self.values.len()) {
            (0..=MAX_KEY_COLUMNS, 0..=MAX_ANSWERED) => Ok(()),
            (0..=MAX_KEY_COLUMNS, more) => Err(format!("{more} columns are looked up, at most {MAX_ANSWERED} can be")),
            (more, _) => Err(format!("the key has {more} columns, at most {MAX_KEY_COLUMNS} can be asked with")),
        }
    }

    pub(super) fn quoted(&self, schemas: bool) -> Result<Quoted, SourceError> {
        self.check().map_err(|message| as_source(fatal(message, "look up in two steps")))?;
        let column = |name: &str| quote("column", name).map_err(as_source);
        let value = |field: &FieldRef| Ok((column(field.name())?, field.data_type().clone()));
        Ok(Quoted {
            table: quote_table(&self.table, schemas).map_err(as_source)?,
            key: self.key.iter().map(|name| column(name)).collect::<Result<_, _>>()?,
            values: self.values.iter().map(value).collect::<Result<_, SourceError>>()?,
            rows_per_key: self.rows_per_key,
        })
    }
}

impl Quoted {
    /// `t."a" = k.k1 AND t."b" = k.k2`.
    pub(super) fn same_key(&self) -> String {
        let same = self.key.iter().enumerate().map(|(number, column)| format!("t.{column} = k.k{}", number + 1));
        same.collect::<Vec<_>>().join(" AND ")
    }

    /// `k1, k2`.
    pub(super) fn key_names(&self) -> String {
        (1..=self.key.len()).map(|number| format!("k{number}")).collect::<Vec<_>>().join(", ")
    }
}

pub(crate) fn as_source(error: SinkError) -> SourceError {
    match error {
        SinkError::Fatal { message, next } => SourceError::Fatal { message, next },
        other => SourceError::Retry(other.to_string()),
    }
}
