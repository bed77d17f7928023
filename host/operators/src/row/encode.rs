//! Columns to the bytes of single rows.

use arrow_array::cast::AsArray;
use arrow_array::{Array, RecordBatch};
use arrow_buffer::{BooleanBuffer, Buffer, NullBuffer, OffsetBuffer};
use arrow_schema::DataType;

use super::RowFormat;

/// Writes rows of one batch.
#[derive(Debug)]
pub struct RowWriter {
    columns: Vec<(Option<NullBuffer>, Column)>,
    validity_bytes: usize,
}

#[derive(Debug)]
enum Column {
    Bits(BooleanBuffer),
    /// Values of one width, from the batch's first row.
    Fixed(Buffer, usize),
    Bytes(OffsetBuffer<i32>, Buffer),
}

impl RowFormat {
    /// For rows of a batch of this format's columns.
    pub fn writer(&self, batch: &RecordBatch) -> RowWriter {
        let columns = batch.columns().iter().map(|column| {
            let nulls = column.nulls().filter(|nulls| nulls.null_count() > 0).cloned();
            let values = match column.data_type() {
                DataType::Boolean => Column::Bits(column.as_boolean().values().clone()),
                DataType::Utf8 => {
                    let text = column.as_string::<i32>();
                    Column::Bytes(text.offsets().clone(), text.values().clone())
                }
                DataType::Binary => {
                    let bytes = column.as_binary::<i32>();
                    Column::Bytes(bytes.offsets().clone(), bytes.values().clone())
                }
                other => {
                    let width = other.primitive_width().expect("a row format takes only types that it can write");
                    let data = column.to_data();
                    Column::Fixed(data.buffers()[0].slice(data.offset() * width), width)
                }
            };
            (nulls, values)
        });
        RowWriter { columns: columns.collect(), validity_bytes: self.validity_bytes() }
    }
}

impl RowWriter {
    /// Appends one row.
    pub fn write(&self, row: usize, bytes: &mut Vec<u8>) {
        let start = bytes.len();
        bytes.resize(start + self.validity_bytes, 0);
        for (number, (nulls, column)) in self.columns.iter().enumerate() {
            if nulls.as_ref().is_some_and(|nulls| nulls.is_null(row)) {
                continue;
            }
            bytes[start + number / 8] |= 1 << (number % 8);
            match column {
                Column::Bits(bits) => bytes.push(u8::from(bits.value(row))),
                Column::Fixed(values, width) => {
                    bytes.extend_from_slice(&values.as_slice()[row * width..(row + 1) * width])
                }
                Column::Bytes(offsets, values) => {
                    let value = &values.as_slice()[offsets[row] as usize..offsets[row + 1] as usize];
                    bytes.extend_from_slice(&(value.len() as u32).to_le_bytes());
                    bytes.extend_from_slice(value);
                }
            }
        }
    }
}

// Arrow's buffers hold values as the machine does, and rows are stored little-endian.
#[cfg(target_endian = "big")]
compile_error!("stored rows are little-endian; write values byte by byte on this machine");
