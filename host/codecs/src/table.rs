//! Whole files as tables: every record is a row, or the file is refused with the line of the first one that is not.
//!
//! A table is looked up in, so half of one would give wrong answers where none is better.

mod csv;

use arrow_array::RecordBatch;
use arrow_schema::SchemaRef;
use weir_stream::record::NO_TIMESTAMP;
use weir_stream::{PayloadBuilder, SourceRecords, TimestampType};

use crate::codec::{Decoded, Decoder, MAX_DECODE_BYTES};
use crate::json::{JsonDecoder, JsonLimits};
use crate::source::ColumnSource;

/// The largest file that is read as a table: a column's offsets are `i32`.
pub const MAX_TABLE_BYTES: usize = 1 << 30;

const _: () = assert!(2 * MAX_TABLE_BYTES <= MAX_DECODE_BYTES + 1);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TableFormat {
    /// RFC 4180, UTF-8, commas; the first line names the columns, an empty field is null. Values as CSV sources read them.
    Csv,
    /// One JSON object a line, as sources read it.
    JsonLines,
}

/// A table and where its rows stand in the file.
#[derive(Debug, Clone, PartialEq)]
pub struct TableRows {
    pub columns: RecordBatch,
    /// The line on which each row begins, from 1.
    pub lines: Vec<u64>,
}

/// Why a file is no table.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {message}")]
pub struct TableError {
    /// From 1.
    pub line: u64,
    pub message: String,
}

impl TableError {
    fn new(line: u64, message: impl Into<String>) -> Self {
        Self { line, message: message.into() }
    }
}

/// Reads a whole file. Columns of the file that the schema does not name are passed over.
///
/// # Errors
/// [`TableError`] for the first record that is no row.
///
/// # Panics
/// For more than [`MAX_TABLE_BYTES`]; callers bound what they read.
pub fn read_table(format: TableFormat, bytes: &[u8], schema: &SchemaRef) -> Result<TableRows, TableError> {
    assert!(bytes.len() <= MAX_TABLE_BYTES, "a table of {} bytes", bytes.len());
    match format {
        TableFormat::Csv => csv::read(bytes, schema),
        TableFormat::JsonLines => json_lines(bytes, schema),
    }
}

fn json_lines(bytes: &[u8], schema: &SchemaRef) -> Result<TableRows, TableError> {
    let (mut values, mut lines) = (PayloadBuilder::default(), Vec::new());
    for (number, line) in (1..).zip(bytes.split(|byte| *byte == b'\n')) {
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        if !line.trim_ascii().is_empty() {
            values.push(line);
            lines.push(number);
        }
    }
    let records = SourceRecords {
        offsets: vec![0; lines.len()],
        timestamps_us: vec![NO_TIMESTAMP; lines.len()],
        timestamp_type: vec![TimestampType::None; lines.len()],
        values: values.finish(),
        ..SourceRecords::default()
    };
    let limits = JsonLimits { max_record_bytes: MAX_TABLE_BYTES, ..JsonLimits::default() };
    let sources = vec![ColumnSource::Field; schema.fields().len()];
    let decoder = JsonDecoder::new(schema.clone(), sources, limits);
    let mut decoder = decoder.map_err(|error| TableError::new(1, error.to_string()))?;
    let Decoded { columns, rejects, .. } = decoder.decode(&records, 0..lines.len());
    match rejects.first() {
        Some(reject) => Err(TableError::new(lines[reject.row as usize], &*reject.reason)),
        None => Ok(TableRows { columns, lines }),
    }
}

#[cfg(test)]
mod tests;
