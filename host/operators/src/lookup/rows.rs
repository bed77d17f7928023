//! Rows of a stream beside the rows of a table that they matched.

use arrow_array::{ArrayRef, UInt32Array};
use arrow_schema::SchemaRef;
use arrow_select::take::take;
use weir_stream::Batch;

use crate::operator::{Outputs, StepFault};

/// Rows of one batch that comes out: more are cut, so that those behind are never given one without end.
const MAX_ROWS: usize = 64 << 10;

/// Text and binary of the table in one batch that comes out.
const MAX_BYTES: usize = 64 << 20;

/// Pairs of a row of the batch and one of the table, or none.
pub(super) struct Matches {
    input: Vec<u32>,
    table: Vec<Option<u32>>,
}

impl Matches {
    pub(super) fn with_capacity(rows: usize) -> Self {
        Self { input: Vec::with_capacity(rows), table: Vec::with_capacity(rows) }
    }

    #[inline]
    pub(super) fn push(&mut self, input: u32, table: Option<u32>) {
        self.input.push(input);
        self.table.push(table);
    }

    /// Whether each row of the batch is there just once.
    fn is_whole(&self, rows: usize) -> bool {
        self.input.len() == rows && self.input.iter().enumerate().all(|(place, row)| place == *row as usize)
    }

    /// `values`: the table's columns that come out; `widest_row_bytes`: of text and binary in one of its rows.
    pub(super) fn give_out(
        &self,
        batch: Batch,
        values: &[ArrayRef],
        widest_row_bytes: usize,
        output: &SchemaRef,
        out: &mut Outputs,
    ) -> Result<(), StepFault> {
        let rows = MAX_ROWS.min(MAX_BYTES / widest_row_bytes.max(1)).max(1);
        let is_whole = self.is_whole(batch.rows());
        for (input, table) in self.input.chunks(rows).zip(self.table.chunks(rows)) {
            let taken = match is_whole && input.len() == batch.rows() {
                true => batch.clone(),
                false => batch.take(input)?,
            };
            let numbers = UInt32Array::from(table.to_vec());
            let mut columns = taken.columns.columns().to_vec();
            for value in values {
                columns.push(take(value, &numbers, None)?);
            }
            out.push(0, taken.with_columns(SchemaRef::clone(output), columns)?);
        }
        Ok(())
    }
}
