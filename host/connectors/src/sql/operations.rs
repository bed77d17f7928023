//! What an epoch's rows come down to: for each key its last operation, and the way back to the ones before it.
//!
//! The way back is needed when the target refuses the last operation on a key: then the one before it counts, as if
//! the rows had been applied one by one.

use std::collections::HashMap;
use std::sync::Arc;

use arrow_array::RecordBatch;
use arrow_row::{RowConverter, SortField};
use arrow_schema::Schema;
use arrow_select::concat::concat_batches;
use weir_stream::{ChangeKind, RowBlock, SinkError};

use super::database::Operation;
use super::table::Table;
use crate::identity::fatal;

/// No operation before this one.
const NONE: u32 = u32::MAX;

/// The rows of one epoch for one table.
pub(super) struct Operations {
    pub rows: RecordBatch,
    kinds: Vec<Operation>,
    /// Per row the operation before it on the same key.
    earlier: Vec<u32>,
    /// Rows that are the last on their key, ascending.
    last: Vec<u32>,
}

impl Operations {
    /// Gathers the blocks of an entry. `usable` says which rows may be tried at all.
    ///
    /// # Errors
    /// `Fatal` for rows of other columns, or changes on an append table.
    pub(super) fn gather(table: &Table, blocks: &[RowBlock]) -> Result<Self, SinkError> {
        let rows = concat(table, blocks)?;
        let mut kinds = Vec::with_capacity(rows.num_rows());
        for RowBlock { rows, changes } in blocks {
            for row in 0..rows.num_rows() {
                kinds.push(match changes.kind(row) {
                    ChangeKind::Insert => Operation::Put,
                    _ if table.key.is_empty() => return Err(not_append(table)),
                    ChangeKind::UpdateAfter => Operation::Put,
                    ChangeKind::Delete | ChangeKind::UpdateBefore => Operation::Delete,
                });
            }
        }
        let count = rows.num_rows() as u32;
        Ok(Self { rows, kinds, earlier: Vec::new(), last: (0..count).collect() })
    }

    /// Leaves, for each key, the last of the rows that `usable` names.
    ///
    /// # Errors
    /// `Fatal` when the key has a type without an order.
    pub(super) fn compact(&mut self, table: &Table, usable: impl Fn(u32) -> bool) -> Result<(), SinkError> {
        let count = self.rows.num_rows() as u32;
        if table.key.is_empty() {
            self.last = (0..count).filter(|row| usable(*row)).collect();
            return Ok(());
        }
        let fields = table.key.iter().map(|column| SortField::new(self.rows.column(*column).data_type().clone()));
        let columns: Vec<_> = table.key.iter().map(|column| Arc::clone(self.rows.column(*column))).collect();
        let keys = RowConverter::new(fields.collect()).and_then(|converter| converter.convert_columns(&columns));
        let keys = keys
            .map_err(|error| fatal(format!("the upsert key cannot be compared: {error}"), "upsert by other columns"))?;
        self.earlier = vec![NONE; count as usize];
        let mut last_of: HashMap<&[u8], u32> = HashMap::with_capacity(count as usize);
        for row in (0..count).filter(|row| usable(*row)) {
            if let Some(before) = last_of.insert(keys.row(row as usize).data(), row) {
                self.earlier[row as usize] = before;
            }
        }
        self.last = last_of.into_values().collect();
        self.last.sort_unstable();
        Ok(())
    }

    /// The rows whose last operation is this one.
    pub(super) fn last(&self, operation: Operation) -> Vec<u32> {
        self.last.iter().copied().filter(|row| self.kinds[*row as usize] == operation).collect()
    }

    pub(super) fn kind(&self, row: u32) -> Operation {
        self.kinds[row as usize]
    }

    /// The operation on the same key before this one.
    pub(super) fn before(&self, row: u32) -> Option<u32> {
        self.earlier.get(row as usize).copied().filter(|before| *before != NONE)
    }
}

fn concat(table: &Table, blocks: &[RowBlock]) -> Result<RecordBatch, SinkError> {
    let fault = |error: arrow_schema::ArrowError| {
        fatal(format!("the rows of an epoch cannot be put together: {error}"), "report it with the manifest")
    };
    let mut batches = Vec::with_capacity(blocks.len());
    for block in blocks {
        let columns = table.normalise(&block.rows)?;
        let fields = table.schema.fields().iter().zip(&columns);
        // Nullable throughout: what is required is the table's business, and a null there is a reject, not a fault.
        let fields = fields.map(|(field, column)| {
            field.as_ref().clone().with_data_type(column.data_type().clone()).with_nullable(true)
        });
        let schema = Arc::new(Schema::new(fields.collect::<Vec<_>>()));
        batches.push(RecordBatch::try_new(schema, columns).map_err(fault)?);
    }
    match &batches[..] {
        [] => Ok(RecordBatch::new_empty(Arc::clone(&table.schema))),
        [only] => Ok(only.clone()),
        [first, ..] => concat_batches(&first.schema(), &batches).map_err(fault),
    }
}

fn not_append(table: &Table) -> SinkError {
    fatal(
        format!("table {} is appended to, but an update or a delete came for it", table.name),
        "write `upsert: [key columns]` instead of `append` for this sink",
    )
}
