//! The raw format: the whole payload is one binary or utf8 column.
//!
//! A payload that is not there is a reject when decoding; a null is a payload that is not there when encoding, so a
//! tombstone can be written but is never read as data.

use std::ops::Range;

use arrow_array::cast::AsArray;
use arrow_array::{Array, RecordBatch};
use arrow_schema::{DataType, SchemaRef};
use weir_stream::{PayloadBuilder, SourceRecords};

use crate::codec::{CodecError, Decoded, Decoder, EncodeError, Encoder, reject_code, type_name};
use crate::column_set::{ColumnSet, Fault};
use crate::source::ColumnSource;

const FORMAT: &str = "raw";

/// Payloads as they are, with columns of the record around them.
pub struct RawDecoder {
    set: ColumnSet,
    payload: usize,
    max_record_bytes: usize,
}

impl RawDecoder {
    /// # Errors
    /// [`CodecError`] unless exactly one column is a payload column, and that one is binary or utf8.
    pub fn new(schema: SchemaRef, sources: Vec<ColumnSource>, max_record_bytes: usize) -> Result<Self, CodecError> {
        let set = ColumnSet::new(schema, &sources, FORMAT)?;
        let payloads: Vec<usize> =
            (0..sources.len()).filter(|index| sources[*index].field_path("").is_some()).collect();
        let [payload] = payloads[..] else { return Err(CodecError::RawColumns(payloads.len())) };
        check_type(&set.schema, payload)?;
        Ok(Self { set, payload, max_record_bytes })
    }

    fn decode_record(&mut self, records: &SourceRecords, record: usize) -> Result<(), Fault> {
        let payload = check_payload(records, record, self.max_record_bytes)?;
        let column = &mut self.set.columns[self.payload];
        column.put_bytes(payload).map_err(|refused| {
            Fault::refused(refused, self.set.schema.field(self.payload).name(), &column.type_name(), "the payload")
        })
    }
}

impl Decoder for RawDecoder {
    fn schema(&self) -> &SchemaRef {
        &self.set.schema
    }

    fn decode(&mut self, records: &SourceRecords, range: Range<usize>) -> Decoded {
        self.set.begin(records, &range);
        for record in range {
            let payload = self.decode_record(records, record);
            self.set.end_record(records, record, payload);
        }
        self.set.finish()
    }
}

/// The payload of a record, unless it is absent or too large.
pub(crate) fn check_payload(records: &SourceRecords, record: usize, max_bytes: usize) -> Result<&[u8], Fault> {
    let payload = records.values.get(record);
    if payload.len() > max_bytes {
        let reason = format!("payload of {} bytes, the limit is {max_bytes}", payload.len());
        return Err(Fault { code: reject_code::TOO_LARGE, reason });
    }
    if payload.is_empty() && records.values.is_absent(record) {
        return Err(Fault { code: reject_code::NULL_VALUE, reason: "the record has no payload".into() });
    }
    Ok(payload)
}

fn check_type(schema: &SchemaRef, column: usize) -> Result<(), CodecError> {
    let field = schema.field(column);
    match field.data_type() {
        DataType::Binary | DataType::Utf8 => Ok(()),
        other => {
            let (column, data_type) = (field.name().clone(), type_name(other));
            Err(CodecError::UnsupportedType { column, format: FORMAT, data_type })
        }
    }
}

/// One binary or utf8 column as payloads; a null is an absent payload.
pub struct RawEncoder {
    schema: SchemaRef,
}

impl RawEncoder {
    /// # Errors
    /// [`CodecError`] unless the schema is one binary or utf8 column.
    pub fn new(schema: SchemaRef) -> Result<Self, CodecError> {
        if schema.fields().len() != 1 {
            return Err(CodecError::RawColumns(schema.fields().len()));
        }
        check_type(&schema, 0)?;
        Ok(Self { schema })
    }
}

impl Encoder for RawEncoder {
    fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    fn encode(&mut self, rows: &RecordBatch, out: &mut PayloadBuilder) -> Result<(), EncodeError> {
        check_batch(&self.schema, rows)?;
        let column = rows.column(0);
        let bytes = |row: usize| match column.data_type() {
            DataType::Utf8 => column.as_string::<i32>().value(row).as_bytes(),
            _ => column.as_binary::<i32>().value(row),
        };
        for row in 0..rows.num_rows() {
            if column.is_null(row) { out.push_absent() } else { out.push(bytes(row)) }
        }
        Ok(())
    }
}

/// Whether a batch has the columns that an encoder was made for.
pub(crate) fn check_batch(schema: &SchemaRef, rows: &RecordBatch) -> Result<(), EncodeError> {
    if rows.num_columns() != schema.fields().len() {
        return Err(EncodeError::ColumnCount { expected: schema.fields().len(), found: rows.num_columns() });
    }
    for (field, column) in schema.fields().iter().zip(rows.columns()) {
        if field.data_type() != column.data_type() {
            let (expected, found) = (type_name(field.data_type()), type_name(column.data_type()));
            return Err(EncodeError::ColumnType { column: field.name().clone(), expected, found });
        }
    }
    Ok(())
}
