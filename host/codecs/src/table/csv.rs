//! CSV: a line of names, then a line of values a row. The `csv` crate finds the fields; what they mean is decided here, by
//! the same columns that JSON fills.

use ::csv::{ByteRecord, ReaderBuilder};
use arrow_array::{RecordBatch, RecordBatchOptions};
use arrow_schema::SchemaRef;

use super::{TableError, TableRows};
use crate::column::{Column, Refused};
use crate::column_set::Fault;

pub(super) fn read(bytes: &[u8], schema: &SchemaRef) -> Result<TableRows, TableError> {
    let mut reader = ReaderBuilder::new().has_headers(false).flexible(true).from_reader(bytes);
    let mut record = ByteRecord::new();
    let mut next = |record: &mut ByteRecord| match reader.read_byte_record(record) {
        Ok(true) => Ok(Some(record.position().map_or(0, |position| line_of(bytes, position)))),
        Ok(false) => Ok(None),
        Err(error) => Err(TableError::new(error.position().map_or(1, ::csv::Position::line), error.to_string())),
    };
    if next(&mut record)?.is_none() {
        return Err(TableError::new(1, "the file is empty; its first line names the columns"));
    }
    let places = places(&record, schema)?;
    let width = record.len();
    let columns = schema.fields().iter().map(|field| Column::new(field, "csv"));
    let mut columns: Vec<Column> =
        columns.collect::<Result<_, _>>().map_err(|error| TableError::new(1, error.to_string()))?;
    let mut lines = Vec::new();
    while let Some(line) = next(&mut record)? {
        if record.len() != width {
            let message = format!("{} fields, but the first line names {width}", record.len());
            return Err(TableError::new(line, message));
        }
        for ((column, field), place) in columns.iter_mut().zip(schema.fields()).zip(&places) {
            put(column, field.name(), &record[*place]).map_err(|fault| TableError::new(line, fault.reason))?;
        }
        lines.push(line);
    }
    if memchr::memchr_iter(b'"', bytes).count() % 2 == 1 {
        return Err(TableError::new(lines.last().copied().unwrap_or(1), "a quote that nothing closes"));
    }
    let arrays = columns.iter_mut().map(Column::finish).collect();
    let options = RecordBatchOptions::new().with_row_count(Some(lines.len()));
    let columns = RecordBatch::try_new_with_options(schema.clone(), arrays, &options)
        .expect("columns are built from this schema and end at the same row");
    Ok(TableRows { columns, lines })
}

/// The line on which a record begins: its position is before the empty lines that are passed over.
fn line_of(bytes: &[u8], position: &::csv::Position) -> u64 {
    let rest = usize::try_from(position.byte()).ok().and_then(|start| bytes.get(start..)).unwrap_or_default();
    let empty = rest.iter().take_while(|byte| matches!(byte, b'\r' | b'\n')).filter(|byte| **byte == b'\n').count();
    position.line() + empty as u64
}

/// Where each column of the schema stands in a line.
fn places(names: &ByteRecord, schema: &SchemaRef) -> Result<Vec<usize>, TableError> {
    let place = |field: &std::sync::Arc<arrow_schema::Field>| {
        let mut found = (0..names.len()).filter(|place| &names[*place] == field.name().as_bytes());
        match (found.next(), found.next()) {
            (Some(place), None) => Ok(place),
            (Some(_), Some(_)) => Err(TableError::new(1, format!("column `{}` is named twice", field.name()))),
            (None, _) => {
                let has: Vec<_> = names.iter().map(String::from_utf8_lossy).collect();
                Err(TableError::new(
                    1,
                    format!("no column `{}`; the first line names {}", field.name(), has.join(", ")),
                ))
            }
        }
    };
    schema.fields().iter().map(place).collect()
}

fn put(column: &mut Column, name: &str, field: &[u8]) -> Result<(), Fault> {
    let refused = |refused, column: &Column, found: &str| Fault::refused(refused, name, &column.type_name(), found);
    let Ok(text) = simdutf8::basic::from_utf8(field) else { return Err(refused(Refused::NotUtf8, column, "")) };
    let put = if text.is_empty() { column.put_null() } else { column.put_plain_text(text) };
    put.map_err(|why| match why {
        Refused::Null => refused(why, column, "nothing there"),
        _ => refused(why, column, &format!("`{text}`")),
    })
}
