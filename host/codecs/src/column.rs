//! One column while it is being filled, value by value, and cut back when a record turns out bad.
//!
//! Invariant: a refused value leaves the column as long as it was, and [`Column::truncate`] restores any earlier
//! length exactly. Nulls are a list of row numbers, so that valid values pay nothing for them.

mod nested;

use std::sync::Arc;

use arrow_array::types::{
    ArrowPrimitiveType, ArrowTimestampType, Date32Type, Decimal128Type, Float32Type, Float64Type, Int8Type, Int16Type,
    Int32Type, Int64Type, TimestampMicrosecondType, TimestampMillisecondType, TimestampNanosecondType,
    TimestampSecondType, UInt8Type, UInt16Type, UInt32Type, UInt64Type,
};
use arrow_array::{ArrayRef, BinaryArray, BooleanArray, PrimitiveArray, StringArray};
use arrow_buffer::{BooleanBuffer, Buffer, NullBuffer, OffsetBuffer, ScalarBuffer};
use arrow_schema::{DataType, Field, TimeUnit};
use base64::Engine as _;

use crate::civil::{self, TimeError};
use crate::codec::{CodecError, type_name};
use crate::decimal::{self, DecimalError};

pub(crate) use nested::Nested;

/// Standard alphabet; padding may be left out.
const BASE64: base64::engine::GeneralPurpose = base64::engine::GeneralPurpose::new(
    &base64::alphabet::STANDARD,
    base64::engine::GeneralPurposeConfig::new()
        .with_decode_padding_mode(base64::engine::DecodePaddingMode::Indifferent),
);

/// Why a column did not take a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Refused {
    WrongType,
    OutOfRange,
    NotUtf8,
    /// Null, or nothing at all, in a column that is not nullable.
    Null,
}

impl From<TimeError> for Refused {
    fn from(error: TimeError) -> Self {
        match error {
            TimeError::Malformed => Self::WrongType,
            TimeError::OutOfRange => Self::OutOfRange,
        }
    }
}

impl From<DecimalError> for Refused {
    fn from(error: DecimalError) -> Self {
        match error {
            DecimalError::Malformed => Self::WrongType,
            DecimalError::OutOfRange => Self::OutOfRange,
        }
    }
}

/// Values of variable length. `offsets` has one entry more than there are values.
struct VarBytes {
    offsets: Vec<i32>,
    bytes: Vec<u8>,
}

impl VarBytes {
    fn end_value(&mut self) {
        let end = i32::try_from(self.bytes.len()).expect("a batch holds far less than 2 GiB in one column");
        self.offsets.push(end);
    }

    fn truncate(&mut self, rows: usize) {
        self.offsets.truncate(rows + 1);
        let end = self.offsets.last().copied().expect("offsets start with one entry");
        self.bytes.truncate(end as usize);
    }

    fn take(&mut self) -> (OffsetBuffer<i32>, Buffer) {
        let offsets = std::mem::replace(&mut self.offsets, vec![0]);
        (OffsetBuffer::new(offsets.into()), Buffer::from_vec(std::mem::take(&mut self.bytes)))
    }
}

enum Values {
    Boolean(Vec<bool>),
    Int8(Vec<i8>),
    Int16(Vec<i16>),
    Int32(Vec<i32>),
    Int64(Vec<i64>),
    UInt8(Vec<u8>),
    UInt16(Vec<u16>),
    UInt32(Vec<u32>),
    UInt64(Vec<u64>),
    Float32(Vec<f32>),
    Float64(Vec<f64>),
    Date(Vec<i32>),
    Timestamp { values: Vec<i64>, unit: TimeUnit, zoned: bool },
    Decimal { values: Vec<i128>, precision: u8, scale: i8 },
    Utf8(VarBytes),
    Binary(VarBytes),
    Nested(Box<Nested>),
}

/// The same expression for every kind of fixed width, another for variable length, another for columns of columns.
macro_rules! each_kind {
    ($on:expr, $fixed:ident => $fixed_do:expr, $var:ident => $var_do:expr, $nested:ident => $nested_do:expr) => {
        match $on {
            Values::Boolean($fixed) => $fixed_do,
            Values::Int8($fixed) => $fixed_do,
            Values::Int16($fixed) => $fixed_do,
            Values::Int32($fixed) | Values::Date($fixed) => $fixed_do,
            Values::Int64($fixed) | Values::Timestamp { values: $fixed, .. } => $fixed_do,
            Values::UInt8($fixed) => $fixed_do,
            Values::UInt16($fixed) => $fixed_do,
            Values::UInt32($fixed) => $fixed_do,
            Values::UInt64($fixed) => $fixed_do,
            Values::Float32($fixed) => $fixed_do,
            Values::Float64($fixed) => $fixed_do,
            Values::Decimal { values: $fixed, .. } => $fixed_do,
            Values::Utf8($var) | Values::Binary($var) => $var_do,
            Values::Nested($nested) => $nested_do,
        }
    };
}

/// An integer of any width into whatever column takes integers.
macro_rules! put_integer {
    ($column:expr, $value:ident) => {
        match &mut $column.values {
            Values::Int64(values) | Values::Timestamp { values, .. } => push(values, $value.try_into()),
            Values::Int32(values) => push(values, $value.try_into()),
            Values::Int16(values) => push(values, $value.try_into()),
            Values::Int8(values) => push(values, $value.try_into()),
            Values::UInt64(values) => push(values, $value.try_into()),
            Values::UInt32(values) => push(values, $value.try_into()),
            Values::UInt16(values) => push(values, $value.try_into()),
            Values::UInt8(values) => push(values, $value.try_into()),
            Values::Float64(values) => {
                values.push($value as f64);
                Ok(())
            }
            _ => Err(Refused::WrongType),
        }
    };
}

fn push<T, E>(values: &mut Vec<T>, value: Result<T, E>) -> Result<(), Refused> {
    values.push(value.map_err(|_| Refused::OutOfRange)?);
    Ok(())
}

impl Values {
    /// Zero, the empty text or list: what stands where a value is null.
    fn push_default(&mut self) {
        each_kind!(self, values => values.push(Default::default()), var => var.end_value(), nested => nested.push_default());
    }
}

/// A growing column of one of the supported types.
pub(crate) struct Column {
    values: Values,
    /// Row numbers, ascending.
    nulls: Vec<u32>,
    nullable: bool,
    data_type: DataType,
}

impl Column {
    pub(crate) fn new(field: &Field, format: &'static str) -> Result<Self, CodecError> {
        let data_type = field.data_type().clone();
        let var_bytes = || VarBytes { offsets: vec![0], bytes: Vec::new() };
        let values = match &data_type {
            DataType::Boolean => Values::Boolean(Vec::new()),
            DataType::Int8 => Values::Int8(Vec::new()),
            DataType::Int16 => Values::Int16(Vec::new()),
            DataType::Int32 => Values::Int32(Vec::new()),
            DataType::Int64 => Values::Int64(Vec::new()),
            DataType::UInt8 => Values::UInt8(Vec::new()),
            DataType::UInt16 => Values::UInt16(Vec::new()),
            DataType::UInt32 => Values::UInt32(Vec::new()),
            DataType::UInt64 => Values::UInt64(Vec::new()),
            DataType::Float32 => Values::Float32(Vec::new()),
            DataType::Float64 => Values::Float64(Vec::new()),
            DataType::Date32 => Values::Date(Vec::new()),
            DataType::Timestamp(unit, zone) => {
                Values::Timestamp { values: Vec::new(), unit: *unit, zoned: zone.is_some() }
            }
            DataType::Decimal128(precision, scale) => {
                Values::Decimal { values: Vec::new(), precision: *precision, scale: *scale }
            }
            DataType::Utf8 => Values::Utf8(var_bytes()),
            DataType::Binary => Values::Binary(var_bytes()),
            other => match Nested::new(other, format) {
                Some(nested) => Values::Nested(Box::new(nested?)),
                None => {
                    let (column, data_type) = (field.name().clone(), type_name(other));
                    return Err(CodecError::UnsupportedType { column, format, data_type });
                }
            },
        };
        Ok(Self { values, nulls: Vec::new(), nullable: field.is_nullable(), data_type })
    }

    /// Room for `rows` values more, of `bytes` together where their length varies.
    pub(crate) fn reserve(&mut self, rows: usize, bytes: usize) {
        each_kind!(&mut self.values, values => values.reserve(rows), var => {
            var.offsets.reserve(rows);
            var.bytes.reserve(bytes);
        }, _nested => ());
    }

    pub(crate) fn len(&self) -> usize {
        each_kind!(&self.values, values => values.len(), var => var.offsets.len() - 1, nested => nested.len())
    }

    /// Bytes of variable-length values.
    pub(crate) fn var_bytes(&self) -> usize {
        match &self.values {
            Values::Utf8(var) | Values::Binary(var) => var.bytes.len(),
            _ => 0,
        }
    }

    pub(crate) fn truncate(&mut self, rows: usize) {
        each_kind!(&mut self.values, values => values.truncate(rows), var => var.truncate(rows), nested => nested.truncate(rows));
        while self.nulls.last().is_some_and(|row| *row as usize >= rows) {
            self.nulls.pop();
        }
    }

    /// Whether numbers must reach this column as their text, because a number type would round them.
    pub(crate) fn wants_number_text(&self) -> bool {
        matches!(self.values, Values::Decimal { .. } | Values::Float32(_))
    }

    fn takes_integers(&self) -> bool {
        use Values::{Binary, Boolean, Date, Nested, Utf8};
        !matches!(self.values, Boolean(_) | Date(_) | Utf8(_) | Binary(_) | Nested(_))
    }

    /// The column's type as manifests write it.
    pub(crate) fn type_name(&self) -> String {
        type_name(&self.data_type)
    }

    pub(crate) fn put_null(&mut self) -> Result<(), Refused> {
        if !self.nullable {
            return Err(Refused::Null);
        }
        self.nulls.push(self.len() as u32);
        self.values.push_default();
        Ok(())
    }

    pub(crate) fn put_bool(&mut self, value: bool) -> Result<(), Refused> {
        match &mut self.values {
            Values::Boolean(values) => values.push(value),
            _ => return Err(Refused::WrongType),
        }
        Ok(())
    }

    pub(crate) fn put_i64(&mut self, value: i64) -> Result<(), Refused> {
        put_integer!(self, value)
    }

    pub(crate) fn put_u64(&mut self, value: u64) -> Result<(), Refused> {
        put_integer!(self, value)
    }

    pub(crate) fn put_f64(&mut self, value: f64) -> Result<(), Refused> {
        match &mut self.values {
            Values::Float64(values) => values.push(value),
            _ => return Err(Refused::WrongType),
        }
        Ok(())
    }

    /// A number as its JSON text, exactly.
    pub(crate) fn put_number_text(&mut self, text: &str) -> Result<(), Refused> {
        match &mut self.values {
            Values::Decimal { values, precision, scale } => values.push(decimal::parse(text, *precision, *scale)?),
            Values::Float32(values) => values.push(finite(text.parse::<f32>().ok(), f32::is_finite)?),
            Values::Float64(values) => values.push(finite(text.parse::<f64>().ok(), f64::is_finite)?),
            _ if text.contains(['.', 'e', 'E']) => return Err(Refused::WrongType),
            _ => match text.parse::<i128>() {
                Ok(value) => return put_integer!(self, value),
                Err(_) if self.takes_integers() => return Err(Refused::OutOfRange),
                Err(_) => return Err(Refused::WrongType),
            },
        }
        Ok(())
    }

    /// The content of a JSON string.
    pub(crate) fn put_text(&mut self, text: &str) -> Result<(), Refused> {
        match &mut self.values {
            Values::Utf8(var) => {
                var.bytes.extend_from_slice(text.as_bytes());
                var.end_value();
            }
            Values::Timestamp { values, unit, zoned } => values.push(civil::parse_timestamp(text, *unit, *zoned)?),
            Values::Decimal { values, precision, scale } => values.push(decimal::parse(text, *precision, *scale)?),
            Values::Date(values) => values.push(civil::parse_date(text)?),
            Values::Binary(var) => {
                let start = var.bytes.len();
                if BASE64.decode_vec(text, &mut var.bytes).is_err() {
                    var.bytes.truncate(start);
                    return Err(Refused::WrongType);
                }
                var.end_value();
            }
            _ => return Err(Refused::WrongType),
        }
        Ok(())
    }

    /// Text of a value whose type only the column knows, as in CSV.
    pub(crate) fn put_plain_text(&mut self, text: &str) -> Result<(), Refused> {
        use Values::{Binary, Boolean, Date, Decimal, Timestamp, Utf8};
        let is_integer = || text.strip_prefix('-').unwrap_or(text).bytes().all(|byte| byte.is_ascii_digit());
        match &self.values {
            Boolean(_) => self.put_bool(text.parse().map_err(|_| Refused::WrongType)?),
            Timestamp { .. } if is_integer() => self.put_number_text(text),
            Utf8(_) | Binary(_) | Date(_) | Decimal { .. } | Timestamp { .. } => self.put_text(text),
            _ if is_number(text) => self.put_number_text(text),
            _ => Err(Refused::WrongType),
        }
    }

    /// Bytes as they are, into a binary or utf8 column.
    pub(crate) fn put_bytes(&mut self, bytes: &[u8]) -> Result<(), Refused> {
        match &mut self.values {
            Values::Utf8(_) if simdutf8::basic::from_utf8(bytes).is_err() => return Err(Refused::NotUtf8),
            Values::Utf8(var) | Values::Binary(var) => {
                var.bytes.extend_from_slice(bytes);
                var.end_value();
            }
            _ => return Err(Refused::WrongType),
        }
        Ok(())
    }

    pub(crate) fn put_timestamp_us(&mut self, value_us: i64) -> Result<(), Refused> {
        let Values::Timestamp { values, unit, .. } = &mut self.values else { return Err(Refused::WrongType) };
        let value = match unit {
            TimeUnit::Second => value_us.div_euclid(1_000_000),
            TimeUnit::Millisecond => value_us.div_euclid(1_000),
            TimeUnit::Microsecond => value_us,
            TimeUnit::Nanosecond => value_us.checked_mul(1_000).ok_or(Refused::OutOfRange)?,
        };
        values.push(value);
        Ok(())
    }

    /// The filled column; this one starts over empty.
    pub(crate) fn finish(&mut self) -> ArrayRef {
        let rows = self.len();
        let nulls = take_nulls(&mut self.nulls, rows);
        match &mut self.values {
            Values::Boolean(values) => {
                let values = std::mem::take(values);
                Arc::new(BooleanArray::new(BooleanBuffer::from(values), nulls))
            }
            Values::Int8(values) => primitive::<Int8Type>(values, nulls),
            Values::Int16(values) => primitive::<Int16Type>(values, nulls),
            Values::Int32(values) => primitive::<Int32Type>(values, nulls),
            Values::Int64(values) => primitive::<Int64Type>(values, nulls),
            Values::UInt8(values) => primitive::<UInt8Type>(values, nulls),
            Values::UInt16(values) => primitive::<UInt16Type>(values, nulls),
            Values::UInt32(values) => primitive::<UInt32Type>(values, nulls),
            Values::UInt64(values) => primitive::<UInt64Type>(values, nulls),
            Values::Float32(values) => primitive::<Float32Type>(values, nulls),
            Values::Float64(values) => primitive::<Float64Type>(values, nulls),
            Values::Date(values) => primitive::<Date32Type>(values, nulls),
            Values::Timestamp { values, unit, .. } => match unit {
                TimeUnit::Second => timestamp::<TimestampSecondType>(values, nulls, &self.data_type),
                TimeUnit::Millisecond => timestamp::<TimestampMillisecondType>(values, nulls, &self.data_type),
                TimeUnit::Microsecond => timestamp::<TimestampMicrosecondType>(values, nulls, &self.data_type),
                TimeUnit::Nanosecond => timestamp::<TimestampNanosecondType>(values, nulls, &self.data_type),
            },
            Values::Decimal { values, .. } => {
                let array = PrimitiveArray::<Decimal128Type>::new(std::mem::take(values).into(), nulls);
                Arc::new(array.with_data_type(self.data_type.clone()))
            }
            Values::Utf8(var) => {
                let (offsets, bytes) = var.take();
                Arc::new(StringArray::try_new(offsets, bytes, nulls).expect("only UTF-8 is put into a utf8 column"))
            }
            Values::Binary(var) => {
                let (offsets, bytes) = var.take();
                Arc::new(BinaryArray::new(offsets, bytes, nulls))
            }
            Values::Nested(nested) => nested.finish(&self.data_type, nulls),
        }
    }
}

/// Whether text is a decimal number: no names such as `inf`, no spaces.
fn is_number(text: &str) -> bool {
    text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'+' | b'-' | b'.' | b'e' | b'E'))
        && text.parse::<f64>().is_ok()
}

fn finite<T: Copy>(value: Option<T>, is_finite: fn(T) -> bool) -> Result<T, Refused> {
    value.filter(|value| is_finite(*value)).ok_or(Refused::OutOfRange)
}

fn primitive<T: ArrowPrimitiveType>(values: &mut Vec<T::Native>, nulls: Option<NullBuffer>) -> ArrayRef {
    Arc::new(PrimitiveArray::<T>::new(ScalarBuffer::from(std::mem::take(values)), nulls))
}

fn timestamp<T: ArrowTimestampType>(
    values: &mut Vec<i64>,
    nulls: Option<NullBuffer>,
    data_type: &DataType,
) -> ArrayRef {
    let array = PrimitiveArray::<T>::new(ScalarBuffer::from(std::mem::take(values)), nulls);
    Arc::new(array.with_data_type(data_type.clone()))
}

fn take_nulls(nulls: &mut Vec<u32>, rows: usize) -> Option<NullBuffer> {
    if nulls.is_empty() {
        return None;
    }
    let mut validity = vec![0xffu8; rows.div_ceil(8)];
    for row in nulls.drain(..) {
        validity[row as usize / 8] &= !(1 << (row % 8));
    }
    Some(NullBuffer::new(BooleanBuffer::new(Buffer::from_vec(validity), 0, rows)))
}
