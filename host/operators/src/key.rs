//! Keys: the canonical bytes of a row's key, its hash and its key group.
//!
//! Invariant: two keys have the same bytes exactly when they are the same key, whatever the width of the column or
//! the unit of the timestamp that they came from. The bytes are part of the stored state and of the key groups;
//! changing them needs a new state version. A key is the concatenation of its columns' encodings, in order:
//!
//! | value                        | bytes                                                                         |
//! | ---------------------------- | ----------------------------------------------------------------------------- |
//! | null                         | `00`                                                                          |
//! | false, true                  | `01`, `02`                                                                    |
//! | integer within i64           | `03`, then 8 bytes: the value, big-endian, sign bit flipped                    |
//! | integer above i64            | `04`, then 8 bytes: the value, big-endian                                      |
//! | float                        | `05`, then 8 bytes: f64, big-endian; all bits flipped if negative, else the sign bit |
//! | utf8                         | `06`, length as u32 big-endian, the bytes                                      |
//! | binary                       | `07`, length as u32 big-endian, the bytes                                      |
//! | date                         | `08`, days since 1970 as i32, big-endian, sign bit flipped                     |
//! | timestamp                    | `09`, seconds (floor) as i64, big-endian, sign bit flipped; nanoseconds as u32, big-endian |
//! | decimal                      | `0a`, scale as u8, the digits as i128, big-endian, sign bit flipped            |
//!
//! -0.0 is 0.0, every NaN is one NaN, and a decimal loses trailing zeros of its fraction first (1.50 is 1.5). So 1,
//! 1.0 as float and 1.0 as decimal are three keys, but 1 as int32 and as int64 are one. Time zones are no part of a
//! timestamp's key. Text is compared as bytes, without Unicode normalisation. Null is a key value like any other.
//!
//! Bytes sort as numbers and times do, null first; text sorts by length, then by bytes.

mod decode;
mod encode;

use std::sync::Arc;

use arrow_array::{Array, ArrayRef, StringArray};
use arrow_cast::cast;
use arrow_schema::{FieldRef, SchemaRef};
use weir_stream::{Batch, Reject, key};

pub use decode::KeyDecoder;
pub(crate) use decode::timestamps;

use crate::expression::{Expression, ExpressionError, type_name};
use crate::operator::{Outputs, StepFault, rows_left};

/// The stage of its rejects.
pub const STAGE: &str = "key";

mod tag {
    pub const NULL: u8 = 0x00;
    pub const FALSE: u8 = 0x01;
    pub const TRUE: u8 = 0x02;
    pub const INTEGER: u8 = 0x03;
    pub const LARGE_INTEGER: u8 = 0x04;
    pub const FLOAT: u8 = 0x05;
    pub const UTF8: u8 = 0x06;
    pub const BINARY: u8 = 0x07;
    pub const DATE: u8 = 0x08;
    pub const TIMESTAMP: u8 = 0x09;
    pub const DECIMAL: u8 = 0x0a;
}

/// The sign bit of an i64.
const SIGN: u64 = 1 << 63;

/// The keys of a batch's rows.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct KeyBatch {
    bytes: Vec<u8>,
    /// Where each row's key ends.
    ends: Vec<u32>,
    hashes: Vec<u64>,
    key_groups: Vec<u16>,
}

impl KeyBatch {
    pub fn len(&self) -> usize {
        self.hashes.len()
    }

    pub fn is_empty(&self) -> bool {
        self.hashes.is_empty()
    }

    /// The values of one column as keys, without key groups.
    ///
    /// # Errors
    /// When the column's type cannot be a key, or its values take too many bytes.
    pub(crate) fn of(column: &ArrayRef) -> Result<Self, String> {
        Self::of_columns(std::slice::from_ref(column), column.len())
    }

    /// As [`KeyBatch::of`], of several columns of `rows` values together.
    ///
    /// # Errors
    /// As [`KeyBatch::of`].
    pub(crate) fn of_columns(columns: &[ArrayRef], rows: usize) -> Result<Self, String> {
        let (bytes, ends) = encode::encode(columns, rows)?;
        let mut keys = Self { bytes, ends, ..Self::default() };
        keys.hash();
        Ok(keys)
    }

    fn hash(&mut self) {
        self.hashes.reserve(self.ends.len());
        let mut start = 0;
        for end in self.ends.iter().map(|end| *end as usize) {
            self.hashes.push(key::hash(&self.bytes[start..end]));
            start = end;
        }
    }

    /// The canonical bytes of one row's key.
    #[inline]
    pub fn key(&self, row: usize) -> &[u8] {
        let start = if row == 0 { 0 } else { self.ends[row - 1] };
        &self.bytes[start as usize..self.ends[row] as usize]
    }

    /// `weir_stream::key::hash` of each key.
    pub fn hashes(&self) -> &[u64] {
        &self.hashes
    }

    /// The key group of each key.
    pub fn key_groups(&self) -> &[u16] {
        &self.key_groups
    }

    /// Of each row: key group, hash and bytes of its key.
    pub fn iter(&self) -> impl Iterator<Item = (u16, u64, &[u8])> {
        (0..self.len()).map(|row| (self.key_groups[row], self.hashes[row], self.key(row)))
    }

    /// The keys of the named rows, in the order given.
    pub fn take(&self, rows: &[u32]) -> Self {
        let mut taken = Self::default();
        for row in rows.iter().map(|row| *row as usize) {
            taken.bytes.extend_from_slice(self.key(row));
            taken.ends.push(taken.bytes.len() as u32);
            taken.hashes.push(self.hashes[row]);
            taken.key_groups.push(self.key_groups[row]);
        }
        taken
    }

    /// Bytes held, for queues and budgets.
    pub fn byte_size(&self) -> usize {
        self.bytes.len() + self.len() * (size_of::<u32>() + size_of::<u64>() + size_of::<u16>())
    }
}

/// Whether a column of a key is null: such a key matches nothing in a join.
pub fn has_null(key: &[u8]) -> bool {
    let mut rest = key;
    while let Some((tag, value)) = rest.split_first() {
        let width = match *tag {
            tag::NULL => return true,
            tag::FALSE | tag::TRUE => 0,
            tag::DATE => 4,
            tag::TIMESTAMP => 8 + 4,
            tag::DECIMAL => 1 + 16,
            tag::UTF8 | tag::BINARY => {
                value.first_chunk().map_or(value.len(), |length| 4 + u32::from_be_bytes(*length) as usize)
            }
            _ => 8,
        };
        rest = value.get(width..).unwrap_or_default();
    }
    false
}

/// Rows with their keys: what crosses an exchange, so that keys are encoded and hashed once.
#[derive(Debug, Clone)]
pub struct KeyedBatch {
    pub batch: Batch,
    pub keys: KeyBatch,
}

impl KeyedBatch {
    pub fn byte_size(&self) -> usize {
        self.batch.byte_size() + self.keys.byte_size()
    }
}

/// Encodes the keys of one step's input.
#[derive(Debug, Clone)]
pub struct KeyEncoder {
    columns: Vec<Expression>,
    fields: Vec<FieldRef>,
    key_groups: u16,
}

impl KeyEncoder {
    /// `columns`: name and expression of each key column; none for a key that all rows share. `key_groups`: of the
    /// pipeline.
    ///
    /// # Errors
    /// The position of a faulty expression, with its [`ExpressionError`]; also for a name that is given twice.
    pub fn new(
        columns: &[(String, String)],
        input: &SchemaRef,
        key_groups: u16,
    ) -> Result<Self, (usize, ExpressionError)> {
        let mut encoder = Self { columns: Vec::new(), fields: Vec::new(), key_groups };
        for (place, (name, text)) in columns.iter().enumerate() {
            if encoder.fields.iter().any(|field| field.name() == name) {
                let message = format!("key column `{name}` is given twice");
                return Err((place, ExpressionError { message, span: None, suggestion: None }));
            }
            let expression = Expression::compile(text, input).map_err(|error| (place, error))?;
            encoder.fields.push(expression.field(name));
            encoder.columns.push(expression);
        }
        Ok(encoder)
    }

    /// The key columns as they come out of the steps behind.
    pub fn fields(&self) -> &[FieldRef] {
        &self.fields
    }

    /// Gives every row its key; rows whose key cannot be evaluated become rejects in `out`.
    ///
    /// # Errors
    /// [`StepFault::Internal`] when the batch is not of the input schema.
    pub fn encode(&self, batch: Batch, out: &mut Outputs) -> Result<KeyedBatch, StepFault> {
        let (keys, refused) = self.keys_of(&batch)?;
        if refused.is_empty() {
            return Ok(KeyedBatch { batch, keys });
        }
        let rows = rows_left(batch.rows(), &refused);
        out.reject(STAGE, &batch, refused)?;
        Ok(KeyedBatch { batch: batch.take(&rows)?, keys: keys.take(&rows) })
    }

    /// The key that people write as text, a text for each column; `null` for none.
    ///
    /// # Errors
    /// For people: too few texts or too many, or one that is no value of its column.
    pub fn of_text(&self, texts: &[String]) -> Result<KeyBatch, String> {
        let names: Vec<String> =
            self.fields.iter().map(|field| format!("{} {}", field.name(), type_name(field.data_type()))).collect();
        if texts.len() != self.fields.len() {
            return Err(format!(
                "the key is of {} columns ({}), not of {}",
                names.len(),
                names.join(", "),
                texts.len()
            ));
        }
        let mut arrays = Vec::new();
        for ((text, field), name) in texts.iter().zip(&self.fields).zip(&names) {
            let text_array: ArrayRef = Arc::new(StringArray::from(vec![Some(&**text).filter(|text| *text != "null")]));
            let cast = cast(&text_array, field.data_type()).map_err(|error| format!("{name}: `{text}`: {error}"))?;
            if cast.null_count() > text_array.null_count() {
                return Err(format!("`{text}` is no value of key column {name}"));
            }
            arrays.push(cast);
        }
        self.keys(&arrays, 1).map_err(|fault| fault.to_string())
    }

    /// The key of every row, and the rows whose key cannot be evaluated, ascending: what failed is null in theirs.
    ///
    /// # Errors
    /// As [`KeyEncoder::encode`].
    pub fn keys_of(&self, batch: &Batch) -> Result<(KeyBatch, Vec<Reject>), StepFault> {
        let (arrays, refused) = self.columns_of(batch);
        Ok((self.keys(&arrays, batch.rows())?, refused))
    }

    /// As [`KeyEncoder::keys_of`], the columns of the keys themselves.
    pub(crate) fn columns_of(&self, batch: &Batch) -> (Vec<ArrayRef>, Vec<Reject>) {
        let (mut arrays, mut refused): (Vec<ArrayRef>, Vec<Reject>) = (Vec::new(), Vec::new());
        for column in &self.columns {
            let evaluated = column.evaluate(batch);
            refused.extend(evaluated.rejects);
            arrays.push(evaluated.array);
        }
        refused.sort_by_key(|reject| reject.row);
        refused.dedup_by_key(|reject| reject.row);
        (arrays, refused)
    }

    fn keys(&self, arrays: &[ArrayRef], rows: usize) -> Result<KeyBatch, StepFault> {
        let (bytes, ends) = encode::encode(arrays, rows).map_err(StepFault::Internal)?;
        let mut keys = KeyBatch { bytes, ends, hashes: Vec::new(), key_groups: Vec::with_capacity(rows) };
        keys.hash();
        keys.key_groups.extend(keys.hashes.iter().map(|hash| key::key_group(*hash, self.key_groups)));
        Ok(keys)
    }
}

/// Names and types of key columns: what stored keys depend on.
pub(crate) fn layout_of(key: &[FieldRef]) -> String {
    let columns: Vec<String> = key.iter().map(|field| format!("{} {}", field.name(), field.data_type())).collect();
    format!("key=[{}]", columns.join(", "))
}

#[cfg(test)]
mod tests;
