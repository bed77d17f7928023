//! Where each column of an output comes from, decided once.

use arrow_array::{ArrayRef, RecordBatch, RecordBatchOptions, UInt32Array};
use arrow_schema::SchemaRef;
use weir_stream::{Batch, OutputContract, OutputRows, Selection};

use crate::operator::StepFault;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum ColumnSource {
    /// Input column, untouched.
    Input(usize),
    /// Column that the call returns at this place.
    Written(usize),
}

/// The columns of one named output.
#[derive(Debug, Clone)]
pub(crate) struct OutputPlan {
    schema: SchemaRef,
    sources: Vec<ColumnSource>,
    written: usize,
}

impl OutputPlan {
    /// Rows of `schema`: each column as `output` writes it, or else the input's.
    pub(crate) fn new(schema: SchemaRef, output: &OutputContract, input: &SchemaRef) -> Result<Self, StepFault> {
        let OutputContract { name, writes, .. } = output;
        let source = |column: &str| {
            let written = writes.iter().position(|field| field.name() == column).map(ColumnSource::Written);
            written.or_else(|| input.index_of(column).ok().map(ColumnSource::Input))
        };
        let sources: Option<Vec<ColumnSource>> = schema.fields().iter().map(|field| source(field.name())).collect();
        let unfit = || StepFault::Internal(format!("output `{name}` does not fit the input"));
        let sources = sources.ok_or_else(unfit)?;
        Ok(Self { schema, sources, written: writes.len() })
    }

    pub(crate) fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    /// The output's batch; an error is what the function returned wrongly.
    pub(crate) fn build(&self, batch: &Batch, rows: OutputRows) -> Result<Batch, String> {
        let OutputRows { selection, columns, .. } = rows;
        if columns.len() != self.written {
            return Err(format!("{} columns instead of {}", columns.len(), self.written));
        }
        let count = match &selection {
            Selection::All => batch.rows(),
            Selection::Rows(rows) => rows.len(),
        };
        if let Some(short) = columns.iter().find(|column| column.len() != count) {
            return Err(format!("a column of {} values for {count} rows", short.len()));
        }
        match selection {
            Selection::All => {
                let arrays = self.arrays(&columns, |column| Ok(batch.columns.column(column).clone()))?;
                Ok(Batch { columns: self.record_batch(arrays, count)?, ..batch.clone() })
            }
            Selection::Rows(rows) => self.build_rows(batch, rows, &columns),
        }
    }

    fn build_rows(&self, batch: &Batch, rows: Vec<u32>, written: &[ArrayRef]) -> Result<Batch, String> {
        if rows.last().is_some_and(|last| *last as usize >= batch.rows()) || !rows.is_sorted() {
            return Err(format!("source rows that are not ascending rows of a batch of {}", batch.rows()));
        }
        let event_times_us = rows.iter().map(|row| batch.event_times_us[*row as usize]).collect();
        let watermarks_us = rows.iter().map(|row| batch.watermarks_us[*row as usize]).collect();
        let (origin, changes) = (batch.origin.take(&rows), batch.changes.take(&rows));
        let count = rows.len();
        let indices = UInt32Array::from(rows);
        let take = |column: usize| {
            let taken = arrow_select::take::take(batch.columns.column(column), &indices, None);
            taken.map_err(|error| error.to_string())
        };
        let columns = self.record_batch(self.arrays(written, take)?, count)?;
        Ok(Batch { columns, event_times_us, watermarks_us, origin, changes })
    }

    fn arrays(
        &self,
        written: &[ArrayRef],
        input: impl Fn(usize) -> Result<ArrayRef, String>,
    ) -> Result<Vec<ArrayRef>, String> {
        let from = |source: &ColumnSource| match source {
            ColumnSource::Input(column) => input(*column),
            ColumnSource::Written(column) => Ok(written[*column].clone()),
        };
        self.sources.iter().map(from).collect()
    }

    fn record_batch(&self, arrays: Vec<ArrayRef>, rows: usize) -> Result<RecordBatch, String> {
        let options = RecordBatchOptions::new().with_row_count(Some(rows));
        RecordBatch::try_new_with_options(self.schema.clone(), arrays, &options).map_err(|error| error.to_string())
    }
}
