//! All columns of a decoder: filled record by record, cut back as one when a record is refused.
//!
//! Invariant: between two records every column has as many values as `rows` has entries. What a payload means is
//! not known here.

use std::ops::Range;

use arrow_array::{RecordBatch, RecordBatchOptions};
use arrow_schema::SchemaRef;
use weir_stream::{Reject, Rejects, SourceRecords};

use crate::codec::{CodecError, Decoded, MAX_DECODE_BYTES, reject_code};
use crate::column::{Column, Refused};
use crate::source::ColumnSource;

/// Longest part of a refused value that a reason quotes, in bytes.
const MAX_QUOTED_BYTES: usize = 64;

/// Why a record was refused.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Fault {
    pub code: &'static str,
    pub reason: String,
}

impl Fault {
    /// A column's refusal, told with the field's name and what was found there.
    pub(crate) fn refused(refused: Refused, field: &str, type_name: &str, found: &str) -> Self {
        let found = quoted(found);
        let (code, reason) = match refused {
            Refused::WrongType => {
                (reject_code::WRONG_TYPE, format!("field `{field}`: expected {type_name}, found {found}"))
            }
            Refused::OutOfRange => {
                (reject_code::OUT_OF_RANGE, format!("field `{field}`: {found} does not fit {type_name}"))
            }
            Refused::NotUtf8 => (reject_code::NOT_UTF8, format!("field `{field}`: not UTF-8")),
            Refused::Null => (reject_code::MISSING_FIELD, format!("field `{field}`: {found}, but it must not be null")),
        };
        Self { code, reason }
    }
}

/// The start of a value, marked where it was cut.
fn quoted(found: &str) -> String {
    match found.len() {
        0..=MAX_QUOTED_BYTES => found.to_owned(),
        length => format!("{}... ({length} bytes)", &found[..found.floor_char_boundary(MAX_QUOTED_BYTES)]),
    }
}

pub(crate) struct ColumnSet {
    pub schema: SchemaRef,
    pub columns: Vec<Column>,
    /// Columns that are read from the record around the payload.
    metadata: Vec<(usize, ColumnSource)>,
    rows: Vec<u32>,
    rejects: Rejects,
    /// Bytes per row that each column had in the batch before: what is reserved for the next one.
    bytes_per_row: Vec<usize>,
}

impl ColumnSet {
    pub(crate) fn new(schema: SchemaRef, sources: &[ColumnSource], format: &'static str) -> Result<Self, CodecError> {
        if schema.fields().len() != sources.len() {
            return Err(CodecError::SourceCount { columns: schema.fields().len(), sources: sources.len() });
        }
        let mut columns = Vec::with_capacity(sources.len());
        let mut metadata = Vec::new();
        for (index, (field, source)) in schema.fields().iter().zip(sources).enumerate() {
            columns.push(Column::new(field, format)?);
            source.check(field)?;
            if source.field_path(field.name()).is_none() {
                metadata.push((index, source.clone()));
            }
        }
        let bytes_per_row = vec![0; columns.len()];
        Ok(Self { schema, columns, metadata, rows: Vec::new(), rejects: Vec::new(), bytes_per_row })
    }

    /// Makes room for the records of a range.
    ///
    /// # Panics
    /// As [`crate::Decoder::decode`].
    pub(crate) fn begin(&mut self, records: &SourceRecords, range: &Range<usize>) {
        assert!(range.end <= records.len(), "the range is within the records");
        let bytes = if range.is_empty() { 0 } else { span(records, range).len() };
        assert!(bytes <= MAX_DECODE_BYTES, "one call decodes at most {MAX_DECODE_BYTES} payload bytes");
        self.rows.reserve(range.len());
        for (column, bytes_per_row) in self.columns.iter_mut().zip(&self.bytes_per_row) {
            column.reserve(range.len(), range.len() * bytes_per_row);
        }
    }

    /// Forgets what was put since the last record ended.
    pub(crate) fn abandon(&mut self) {
        let rows = self.rows.len();
        self.columns.iter_mut().for_each(|column| column.truncate(rows));
    }

    /// Ends a record whose payload columns were filled, or were not because of a fault.
    pub(crate) fn end_record(&mut self, records: &SourceRecords, record: usize, payload: Result<(), Fault>) {
        match payload.and_then(|()| self.read_metadata(records, record)) {
            Ok(()) => self.rows.push(record as u32),
            Err(Fault { code, reason }) => {
                self.abandon();
                self.rejects.push(Reject::new(record as u32, code, reason));
            }
        }
    }

    fn read_metadata(&mut self, records: &SourceRecords, record: usize) -> Result<(), Fault> {
        for (index, source) in &self.metadata {
            let column = &mut self.columns[*index];
            source.read(records, record, column).map_err(|refused| {
                let found = if refused == Refused::Null { "the record has none" } else { "the record's value" };
                Fault::refused(refused, self.schema.field(*index).name(), &column.type_name(), found)
            })?;
        }
        Ok(())
    }

    pub(crate) fn finish(&mut self) -> Decoded {
        let rows = std::mem::take(&mut self.rows);
        for (column, bytes_per_row) in self.columns.iter().zip(&mut self.bytes_per_row) {
            *bytes_per_row = column.var_bytes().div_ceil(rows.len().max(1));
        }
        let columns = self.columns.iter_mut().map(Column::finish).collect();
        let options = RecordBatchOptions::new().with_row_count(Some(rows.len()));
        let columns = RecordBatch::try_new_with_options(self.schema.clone(), columns, &options)
            .expect("columns are built from this schema and end at the same row");
        Decoded { columns, rows, rejects: std::mem::take(&mut self.rejects) }
    }
}

/// The part of the payload arena that holds a range of records that is not empty, NULs included.
pub(crate) fn span<'a>(records: &'a SourceRecords, range: &Range<usize>) -> &'a [u8] {
    &records.values.arena()[records.values.start(range.start)..records.values.start(range.end)]
}
