//! Tables that a user's function may look keys up in: what a sandbox hands on and the runtime answers.

use arrow_array::ArrayRef;
use arrow_schema::FieldRef;

/// A table as a function sees it, and the answers to its questions.
pub trait KeyedTable: Send + Sync {
    /// As the manifest names it.
    fn name(&self) -> &str;

    /// The columns that rows are found by.
    fn key(&self) -> &[FieldRef];

    /// The others.
    fn columns(&self) -> &[FieldRef];

    /// The row of each key, as the table is now; a key with a null in it has none. Waits for a table that is away as long
    /// as somebody waits for the answer.
    ///
    /// # Errors
    /// A [`TableFault`] when there will be no answer.
    fn look_up(&self, keys: &[ArrayRef], rows: usize) -> Result<TableAnswer, TableFault>;
}

/// What a table has for the keys of one question.
#[derive(Debug, Clone, Default)]
pub struct TableAnswer {
    /// Numbers of the keys that have a row, ascending.
    pub keys: Vec<u32>,
    /// All of [`KeyedTable::columns`], an entry for each of `keys`.
    pub columns: Vec<ArrayRef>,
    /// Keys whose row cannot be used, ascending, and why, for people.
    pub refused: Vec<(u32, String)>,
}

/// Why there is no answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TableFault {
    pub message: String,
    /// The next act.
    pub next: String,
}
