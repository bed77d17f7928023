//! The JSON encoder: one loop over rows, writing into one buffer.

use std::sync::Arc;

use arrow_array::{Array, RecordBatch};
use arrow_buffer::NullBuffer;
use arrow_schema::{DataType, Schema, SchemaRef};
use weir_stream::PayloadBuilder;

use crate::codec::{CodecError, EncodeError, Encoder, type_name};
use crate::json::write::{Writer, string};
use crate::raw::check_batch;

/// How rows are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct JsonEncodeOptions {
    /// Leave out fields that are null instead of writing `null`.
    pub omit_nulls: bool,
}

/// Rows as JSON objects, one field per column, in the schema's order.
pub struct JsonEncoder {
    schema: SchemaRef,
    options: JsonEncodeOptions,
    keys: Vec<KeyText>,
}

/// A column's `,"name":`, in blocks of a fixed size: copying those and cutting the rest off is quicker than copying
/// a length that the compiler does not know. The first key's comma becomes the row's brace.
struct KeyText {
    blocks: Vec<[u8; KEY_BLOCK]>,
    length: usize,
}

const KEY_BLOCK: usize = 16;

impl KeyText {
    fn new(name: &str) -> Self {
        let mut text = vec![b','];
        string(name.as_bytes(), &mut text);
        text.push(b':');
        let length = text.len();
        text.resize(length.next_multiple_of(KEY_BLOCK), 0);
        Self { blocks: text.as_chunks().0.to_vec(), length }
    }

    #[inline]
    fn write(&self, out: &mut Vec<u8>) {
        let start = out.len();
        for block in &self.blocks {
            out.extend_from_slice(block);
        }
        out.truncate(start + self.length);
    }
}

impl JsonEncoder {
    /// # Errors
    /// [`CodecError::UnsupportedType`].
    pub fn new(schema: SchemaRef, options: JsonEncodeOptions) -> Result<Self, CodecError> {
        let mut keys = Vec::with_capacity(schema.fields().len());
        for field in schema.fields() {
            if !is_supported(field.data_type()) {
                let (column, data_type) = (field.name().clone(), type_name(field.data_type()));
                return Err(CodecError::UnsupportedType { column, format: "json", data_type });
            }
            keys.push(KeyText::new(field.name()));
        }
        Ok(Self { schema, options, keys })
    }

    fn fields<'a>(&'a self, rows: &'a RecordBatch) -> Result<Vec<RowField<'a>>, EncodeError> {
        check_batch(&self.schema, rows)?;
        let field = |(key, column): (&'a KeyText, &'a Arc<dyn Array>)| RowField {
            key,
            nulls: column.nulls(),
            writer: Writer::new(column).expect("the schema has supported types only, and the batch is of the schema"),
        };
        Ok(self.keys.iter().zip(rows.columns()).map(field).collect())
    }

    fn write_row(&self, fields: &mut [RowField<'_>], row: usize, out: &mut Vec<u8>) {
        let start = out.len();
        for field in fields {
            if field.nulls.is_some_and(|nulls| nulls.is_null(row)) {
                if !self.options.omit_nulls {
                    field.key.write(out);
                    out.extend_from_slice(b"null");
                }
                continue;
            }
            field.key.write(out);
            field.writer.write(row, out);
        }
        match out.get_mut(start) {
            Some(comma) => *comma = b'{',
            None => out.push(b'{'),
        }
        out.push(b'}');
    }
}

fn is_supported(data_type: &DataType) -> bool {
    Writer::new(&arrow_array::new_empty_array(data_type)).is_some()
}

/// One column while a batch is written.
struct RowField<'a> {
    key: &'a KeyText,
    nulls: Option<&'a NullBuffer>,
    writer: Writer<'a>,
}

impl Encoder for JsonEncoder {
    fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    fn encode(&mut self, rows: &RecordBatch, out: &mut PayloadBuilder) -> Result<(), EncodeError> {
        let mut fields = self.fields(rows)?;
        for row in 0..rows.num_rows() {
            self.write_row(&mut fields, row, out.buffer());
            out.end_payload();
        }
        Ok(())
    }
}

/// Single rows as JSON, for dead letters and sink rejects: a row that has no record of its own any more.
pub struct RowJson {
    encoder: JsonEncoder,
}

impl RowJson {
    /// # Errors
    /// [`CodecError::UnsupportedType`].
    pub fn new(schema: &Schema) -> Result<Self, CodecError> {
        let encoder = JsonEncoder::new(Arc::new(schema.clone()), JsonEncodeOptions::default())?;
        Ok(Self { encoder })
    }

    /// Row `row` of a batch of this schema.
    ///
    /// # Errors
    /// [`EncodeError`] when the batch has another schema or no such row.
    pub fn row(&self, rows: &RecordBatch, row: usize) -> Result<Vec<u8>, EncodeError> {
        if row >= rows.num_rows() {
            return Err(EncodeError::NoSuchRow { row, rows: rows.num_rows() });
        }
        let mut fields = self.encoder.fields(rows)?;
        let mut out = Vec::new();
        self.encoder.write_row(&mut fields, row, &mut out);
        Ok(out)
    }
}
