//! The unit of work: columns, and per row event time, watermark, origin and change kind.
//!
//! Invariant: every per-row part has exactly [`Batch::rows`] entries.

use std::sync::Arc;

use arrow_array::{ArrayRef, RecordBatch, RecordBatchOptions, UInt32Array};
use arrow_buffer::ScalarBuffer;
use arrow_schema::{ArrowError, SchemaRef};

use crate::change::Changes;
use crate::record::SourceRecords;

/// Where the rows of a batch come from.
#[derive(Debug, Clone)]
pub enum Origin {
    /// Up to the first stateful step: each row names its record.
    Records { records: Arc<SourceRecords>, rows: ScalarBuffer<u32> },
    /// Behind a stateful step a row has no single record; the step's name stands for it.
    Step(Arc<str>),
}

impl Origin {
    pub fn take(&self, rows: &[u32]) -> Self {
        match self {
            Self::Records { records, rows: origin } => Self::Records {
                records: Arc::clone(records),
                rows: rows.iter().map(|row| origin[*row as usize]).collect(),
            },
            Self::Step(step) => Self::Step(Arc::clone(step)),
        }
    }
}

/// Rows on their way through the steps.
#[derive(Debug, Clone)]
pub struct Batch {
    pub columns: RecordBatch,
    pub event_times_us: ScalarBuffer<i64>,
    /// The watermark of the row's source partition just before the row was read. Lateness is judged by it, so
    /// that it depends on offsets alone and never on how batches were cut. `i64::MIN`: never late.
    pub watermarks_us: ScalarBuffer<i64>,
    pub origin: Origin,
    pub changes: Changes,
}

impl Batch {
    pub fn rows(&self) -> usize {
        self.columns.num_rows()
    }

    pub fn is_empty(&self) -> bool {
        self.rows() == 0
    }

    pub fn schema(&self) -> SchemaRef {
        self.columns.schema()
    }

    /// The named rows, in the order given.
    ///
    /// # Errors
    /// None for row numbers within the batch; Arrow's own error otherwise.
    pub fn take(&self, rows: &[u32]) -> Result<Self, ArrowError> {
        let indices = UInt32Array::from(rows.to_vec());
        Ok(Self {
            columns: arrow_select::take::take_record_batch(&self.columns, &indices)?,
            event_times_us: rows.iter().map(|row| self.event_times_us[*row as usize]).collect(),
            watermarks_us: rows.iter().map(|row| self.watermarks_us[*row as usize]).collect(),
            origin: self.origin.take(rows),
            changes: self.changes.take(rows),
        })
    }

    /// The same rows with other columns.
    ///
    /// # Errors
    /// When a column's length is not the batch's or its type is not the schema's.
    pub fn with_columns(self, schema: SchemaRef, columns: Vec<ArrayRef>) -> Result<Self, ArrowError> {
        let options = RecordBatchOptions::new().with_row_count(Some(self.rows()));
        let columns = RecordBatch::try_new_with_options(schema, columns, &options)?;
        Ok(Self { columns, ..self })
    }

    /// A run of rows without copying columns.
    pub fn slice(&self, offset: usize, length: usize) -> Self {
        let origin = match &self.origin {
            Origin::Records { records, rows } => {
                Origin::Records { records: Arc::clone(records), rows: rows.slice(offset, length) }
            }
            Origin::Step(step) => Origin::Step(Arc::clone(step)),
        };
        Self {
            columns: self.columns.slice(offset, length),
            event_times_us: self.event_times_us.slice(offset, length),
            watermarks_us: self.watermarks_us.slice(offset, length),
            origin,
            changes: match &self.changes {
                Changes::Inserts => Changes::Inserts,
                Changes::PerRow(kinds) => Changes::PerRow(kinds.slice(offset, length)),
            },
        }
    }

    /// Bytes held, for queues and budgets. The shared payload arena counts where it is owned, not here.
    pub fn byte_size(&self) -> usize {
        let columns: usize = self.columns.columns().iter().map(|column| column.get_buffer_memory_size()).sum();
        columns + self.rows() * 20
    }
}

#[cfg(test)]
mod tests {
    use arrow_array::{Int64Array, cast::AsArray, types::Int64Type};
    use arrow_schema::{DataType, Field, Schema};

    use super::*;

    fn batch() -> Batch {
        let schema = Arc::new(Schema::new(vec![Field::new("n", DataType::Int64, false)]));
        let columns = RecordBatch::try_new(schema, vec![Arc::new(Int64Array::from(vec![10, 11, 12]))]).unwrap();
        let records = Arc::new(SourceRecords { offsets: vec![100, 101, 102], ..Default::default() });
        Batch {
            columns,
            event_times_us: vec![1, 2, 3].into(),
            watermarks_us: vec![0, 1, 2].into(),
            origin: Origin::Records { records, rows: vec![0, 1, 2].into() },
            changes: Changes::PerRow(vec![0, 3, 0].into()),
        }
    }

    #[test]
    fn taking_rows_takes_every_part_of_them() {
        let taken = batch().take(&[2, 1]).unwrap();
        assert_eq!(taken.columns.column(0).as_primitive::<Int64Type>().values(), &[12, 11]);
        assert_eq!(&taken.event_times_us[..], &[3, 2]);
        assert_eq!(&taken.watermarks_us[..], &[2, 1]);
        assert_eq!(taken.changes, Changes::PerRow(vec![0, 3].into()));
        let Origin::Records { rows, .. } = taken.origin else { panic!("origin was lost") };
        assert_eq!(&rows[..], &[2, 1]);
    }

    #[test]
    fn a_slice_of_a_slice_still_names_its_records() {
        let slice = batch().slice(1, 2).slice(1, 1);
        let Origin::Records { rows, .. } = &slice.origin else { panic!("origin was lost") };
        assert_eq!((&rows[..], &slice.event_times_us[..]), (&[2u32][..], &[3i64][..]));
    }
}
