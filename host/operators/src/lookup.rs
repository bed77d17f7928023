//! Look-ups: each row gets the rows of a table that have its key, as the table is when the row comes.
//!
//! Invariant: a row's time, origin and kind of change stay its own. A key with a null in it matches nothing; other keys
//! compare as everywhere ([`crate::key`]). The rows of the input keep their order, a row's matches that of the table.
//!
//! The table stands in a [`TableSlot`] that others fill and fill anew; it is looked at once a batch. So rows of one batch
//! see one table, and what was given out stands, whatever the table becomes. Nothing here knows where tables come from.

mod cache;
mod questions;
mod remote;
mod rows;
mod table;

use std::sync::{Arc, PoisonError, RwLock};

use arrow_schema::{FieldRef, Schema, SchemaRef};
use weir_stream::Batch;

use crate::expression::ExpressionError;
use crate::filter::without_deletes;
use crate::key::{KeyBatch, KeyEncoder, has_null};
use crate::operator::{Operator, Outputs, StepFault};

pub use cache::{AnswerCache, MAX_CACHE_BYTES};
pub use questions::{KeyAnswer, Questions, RemoteTable};
pub use remote::{Pending, RemoteLookup};
use rows::Matches;
pub use table::{LookupTable, MAX_KEY_BYTES, MAX_ROWS_PER_KEY, TableFault};

/// The stage of its rejects.
pub const STAGE: &str = "lookup";

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LookupKind {
    /// Rows without a match are left out.
    Inner,
    /// They come with nulls for the table's columns.
    Left,
}

/// The table's side of a look-up.
#[derive(Debug, Clone)]
pub struct TableShape {
    /// All columns of the table.
    pub schema: SchemaRef,
    /// Numbers of those that are the key.
    pub key: Vec<usize>,
    /// Whether a key may have several rows, each of which then is a match.
    pub several: bool,
}

impl TableShape {
    /// Numbers of the columns that come out: the key's do not, the row has it.
    pub fn values(&self) -> Vec<usize> {
        (0..self.schema.fields().len()).filter(|column| !self.key.contains(column)).collect()
    }
}

/// The columns of the input, then the table's without its key, with a prefix.
///
/// # Errors
/// The name of a column that both sides have.
pub fn lookup_schema(
    kind: LookupKind,
    prefix: &str,
    input: &SchemaRef,
    shape: &TableShape,
) -> Result<SchemaRef, String> {
    let mut fields: Vec<FieldRef> = input.fields().iter().cloned().collect();
    for column in shape.values() {
        let field = shape.schema.field(column);
        let name = format!("{prefix}{}", field.name());
        if fields.iter().any(|earlier| *earlier.name() == name) {
            return Err(name);
        }
        let nullable = field.is_nullable() || kind == LookupKind::Left;
        fields.push(Arc::new(field.clone().with_name(name).with_nullable(nullable)));
    }
    Ok(Arc::new(Schema::new(fields)))
}

/// The table that is looked up in, empty until the first one is there.
#[derive(Debug, Default)]
pub struct TableSlot(RwLock<Option<Arc<LookupTable>>>);

impl TableSlot {
    pub fn get(&self) -> Option<Arc<LookupTable>> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// From the next batch of every task on.
    pub fn put(&self, table: LookupTable) {
        let before = self.0.write().unwrap_or_else(PoisonError::into_inner).replace(Arc::new(table));
        // A large table is taken apart here, outside of the lock.
        drop(before);
    }
}

/// A look-up in a table that is held whole.
#[derive(Debug, Clone)]
pub struct Lookup {
    keys: KeyEncoder,
    kind: LookupKind,
    output: SchemaRef,
    slot: Arc<TableSlot>,
}

impl Lookup {
    /// `on`: the expressions of the input that are compared with the table's key columns, in their order.
    ///
    /// # Errors
    /// The position of a faulty expression, with its [`ExpressionError`].
    pub fn new(
        on: &[String],
        kind: LookupKind,
        input: &SchemaRef,
        output: &SchemaRef,
        slot: Arc<TableSlot>,
    ) -> Result<Self, (usize, ExpressionError)> {
        let named: Vec<(String, String)> = on.iter().enumerate().map(|(at, on)| (at.to_string(), on.clone())).collect();
        Ok(Self { keys: KeyEncoder::new(&named, input, 1)?, kind, output: Arc::clone(output), slot })
    }

    fn find(&self, table: &LookupTable, keys: &KeyBatch, refused: &[weir_stream::Reject]) -> Matches {
        let mut matches = Matches::with_capacity(keys.len());
        let mut refused = refused.iter().map(|reject| reject.row).peekable();
        for row in 0..keys.len() as u32 {
            if refused.next_if_eq(&row).is_some() {
                continue;
            }
            let key = keys.key(row as usize);
            let found = if has_null(key) { None } else { table.find(keys.hashes()[row as usize], key) };
            match found {
                Some(first) => table.rows_from(first).for_each(|of_table| matches.push(row, Some(of_table))),
                None if self.kind == LookupKind::Left => matches.push(row, None),
                None => {}
            }
        }
        matches
    }
}

impl Operator for Lookup {
    fn process(&mut self, batch: Batch, out: &mut Outputs) -> Result<(), StepFault> {
        let table = self.slot.get().ok_or_else(|| StepFault::Internal("no table was loaded".into()))?;
        let (keys, rejects) = self.keys.keys_of(&batch)?;
        // The row that a delete takes back needs no match, and its key may be what failed.
        let rejects = without_deletes(&batch.changes, rejects);
        let matches = self.find(&table, &keys, &rejects);
        out.reject(STAGE, &batch, rejects)?;
        matches.give_out(batch, table.values(), table.widest_row_bytes(), &self.output, out)
    }
}

#[cfg(test)]
mod tests;
