//! Canonical key bytes back to columns, for the rows that a stateful step gives out.
//!
//! What comes out is the canonical value: -0.0 has become 0.0.

use std::sync::Arc;

use arrow_array::builder::{
    BinaryBuilder, BooleanBuilder, Date32Builder, Decimal128Builder, Float64Builder, Int64Builder, StringBuilder,
    UInt64Builder,
};
use arrow_array::types::{
    ArrowTimestampType, TimestampMicrosecondType, TimestampMillisecondType, TimestampNanosecondType,
    TimestampSecondType,
};
use arrow_array::{Array, ArrayRef, Int64Array};
use arrow_cast::cast;
use arrow_schema::{DataType, FieldRef, TimeUnit};

use super::encode::per_second;
use super::{SIGN, tag};

/// Decodes keys of known column types.
#[derive(Debug, Clone)]
pub struct KeyDecoder {
    types: Vec<DataType>,
}

impl KeyDecoder {
    pub fn new(fields: &[FieldRef]) -> Self {
        Self { types: fields.iter().map(|field| field.data_type().clone()).collect() }
    }

    /// One array per key column.
    ///
    /// # Errors
    /// What is wrong with a key that no encoder of these types wrote.
    pub fn decode<'k>(&self, keys: impl Iterator<Item = &'k [u8]>) -> Result<Vec<ArrayRef>, String> {
        let mut columns: Vec<Column> = self.types.iter().map(Column::new).collect();
        for key in keys {
            let mut rest = key;
            for column in &mut columns {
                column.push(&mut rest).ok_or_else(|| format!("a key of {} bytes is malformed", key.len()))?;
            }
            if !rest.is_empty() {
                return Err(format!("a key has {} bytes too many", rest.len()));
            }
        }
        columns.into_iter().zip(&self.types).map(|(column, data_type)| column.finish(data_type)).collect()
    }
}

enum Column {
    Boolean(BooleanBuilder),
    Integer(Int64Builder),
    Unsigned(UInt64Builder),
    Float(Float64Builder),
    Utf8(StringBuilder),
    Binary(BinaryBuilder),
    Date(Date32Builder),
    Timestamp(Int64Builder, i64),
    Decimal(Decimal128Builder, i8),
}

impl Column {
    fn new(data_type: &DataType) -> Self {
        match data_type {
            DataType::Boolean => Self::Boolean(BooleanBuilder::new()),
            DataType::UInt64 => Self::Unsigned(UInt64Builder::new()),
            DataType::Float32 | DataType::Float64 => Self::Float(Float64Builder::new()),
            DataType::Utf8 => Self::Utf8(StringBuilder::new()),
            DataType::Binary => Self::Binary(BinaryBuilder::new()),
            DataType::Date32 => Self::Date(Date32Builder::new()),
            DataType::Timestamp(unit, _) => Self::Timestamp(Int64Builder::new(), per_second(*unit)),
            DataType::Decimal128(_, scale) => {
                Self::Decimal(Decimal128Builder::new().with_data_type(data_type.clone()), *scale)
            }
            _ => Self::Integer(Int64Builder::new()),
        }
    }

    /// Reads one value off the front of `rest`; nothing where the bytes are not of this column.
    fn push(&mut self, rest: &mut &[u8]) -> Option<()> {
        let tag = *rest.split_off_first()?;
        match (self, tag) {
            (Self::Boolean(values), tag::TRUE | tag::FALSE) => values.append_value(tag == tag::TRUE),
            (Self::Integer(values), tag::INTEGER) => values.append_value(signed(rest)?),
            (Self::Unsigned(values), tag::INTEGER) => values.append_value(u64::try_from(signed(rest)?).ok()?),
            (Self::Unsigned(values), tag::LARGE_INTEGER) => values.append_value(u64::from_be_bytes(take(rest)?)),
            (Self::Float(values), tag::FLOAT) => values.append_value(float(u64::from_be_bytes(take(rest)?))),
            (Self::Utf8(values), tag::UTF8) => values.append_value(std::str::from_utf8(text(rest)?).ok()?),
            (Self::Binary(values), tag::BINARY) => values.append_value(text(rest)?),
            (Self::Date(values), tag::DATE) => {
                values.append_value((u32::from_be_bytes(take(rest)?) ^ (1 << 31)) as i32);
            }
            (Self::Timestamp(values, per_second), tag::TIMESTAMP) => {
                let (seconds, nanoseconds) = (signed(rest)?, u32::from_be_bytes(take(rest)?));
                // In i128: the seconds of the earliest times, times the unit, lie below i64 before the rest is added.
                let whole = i128::from(seconds) * i128::from(*per_second);
                let part = i128::from(nanoseconds) * i128::from(*per_second) / 1_000_000_000;
                values.append_value(i64::try_from(whole + part).ok()?);
            }
            (Self::Decimal(values, scale), tag::DECIMAL) => values.append_value(decimal(rest, *scale)?),
            (column, tag::NULL) => column.push_null(),
            _ => return None,
        }
        Some(())
    }

    fn push_null(&mut self) {
        match self {
            Self::Boolean(values) => values.append_null(),
            Self::Integer(values) | Self::Timestamp(values, _) => values.append_null(),
            Self::Unsigned(values) => values.append_null(),
            Self::Float(values) => values.append_null(),
            Self::Utf8(values) => values.append_null(),
            Self::Binary(values) => values.append_null(),
            Self::Date(values) => values.append_null(),
            Self::Decimal(values, _) => values.append_null(),
        }
    }

    fn finish(self, data_type: &DataType) -> Result<ArrayRef, String> {
        let array: ArrayRef = match self {
            Self::Boolean(mut values) => Arc::new(values.finish()),
            Self::Integer(mut values) => narrow(&values.finish(), data_type)?,
            Self::Unsigned(mut values) => Arc::new(values.finish()),
            Self::Float(mut values) => narrow(&values.finish(), data_type)?,
            Self::Utf8(mut values) => Arc::new(values.finish()),
            Self::Binary(mut values) => Arc::new(values.finish()),
            Self::Date(mut values) => Arc::new(values.finish()),
            Self::Timestamp(mut values, _) => timestamps(&values.finish(), data_type),
            Self::Decimal(mut values, _) => Arc::new(values.finish()),
        };
        Ok(array)
    }
}

fn narrow(array: &dyn Array, data_type: &DataType) -> Result<ArrayRef, String> {
    cast(array, data_type).map_err(|error| error.to_string())
}

/// Numbers as timestamps of the given type.
pub(crate) fn timestamps(values: &Int64Array, data_type: &DataType) -> ArrayRef {
    fn of<T: ArrowTimestampType>(values: &Int64Array, zone: &Option<Arc<str>>) -> ArrayRef {
        Arc::new(values.reinterpret_cast::<T>().with_timezone_opt(zone.clone()))
    }
    match data_type {
        DataType::Timestamp(TimeUnit::Second, zone) => of::<TimestampSecondType>(values, zone),
        DataType::Timestamp(TimeUnit::Millisecond, zone) => of::<TimestampMillisecondType>(values, zone),
        DataType::Timestamp(TimeUnit::Nanosecond, zone) => of::<TimestampNanosecondType>(values, zone),
        DataType::Timestamp(TimeUnit::Microsecond, zone) => of::<TimestampMicrosecondType>(values, zone),
        _ => Arc::new(values.clone()),
    }
}

fn take<const N: usize>(rest: &mut &[u8]) -> Option<[u8; N]> {
    let (head, tail) = rest.split_first_chunk::<N>()?;
    *rest = tail;
    Some(*head)
}

fn signed(rest: &mut &[u8]) -> Option<i64> {
    Some((u64::from_be_bytes(take(rest)?) ^ SIGN) as i64)
}

fn float(sorted: u64) -> f64 {
    f64::from_bits(if sorted & SIGN == 0 { !sorted } else { sorted ^ SIGN })
}

fn text<'k>(rest: &mut &'k [u8]) -> Option<&'k [u8]> {
    let length = u32::from_be_bytes(take(rest)?) as usize;
    let (text, tail) = rest.split_at_checked(length)?;
    *rest = tail;
    Some(text)
}

fn decimal(rest: &mut &[u8], scale: i8) -> Option<i128> {
    let stored = i8::try_from(take::<1>(rest)?[0]).ok()?;
    let digits = (u128::from_be_bytes(take(rest)?) ^ (1 << 127)) as i128;
    let zeros = u32::try_from(scale.checked_sub(stored)?).ok()?;
    digits.checked_mul(10i128.checked_pow(zeros)?)
}
