//! Single values: those that slots keep as they came, and those that they give as their result.
//!
//! Invariant: values have one order and one form per value: NaN is the largest float, -0.0 is 0.0, text sorts by bytes.

use std::cmp::Ordering;
use std::fmt::Debug;
use std::sync::Arc;

use arrow_array::{ArrayRef, BinaryArray, Decimal128Array, Float64Array, Int64Array, UInt64Array};
use arrow_cast::cast;
use arrow_schema::{ArrowError, DataType};

use super::argument::{Lane, Values};
use super::finish::from_i64;
use super::slots::take;

/// A value that is kept: an `i64`, `u64`, `f64`, `i128` or the bytes of a text.
pub(super) trait Held: Clone + Debug + Send + Sync + 'static {
    /// The value where it stands in a batch.
    type Borrowed<'a>: Copy;

    fn at(values: &Values, row: usize) -> Self::Borrowed<'_>;
    fn held(value: Self::Borrowed<'_>) -> Self;
    fn borrowed(&self) -> Self::Borrowed<'_>;
    fn compare<'a, 'b>(left: Self::Borrowed<'a>, right: Self::Borrowed<'b>) -> Ordering;

    /// Bytes that [`Held::write`] appends.
    fn stored_bytes(value: Self::Borrowed<'_>) -> usize;
    fn write(&self, bytes: &mut Vec<u8>);
    fn read(rest: &mut &[u8]) -> Result<Self, String>;

    fn value(&self) -> Value<'_>;

    fn heap_bytes(&self) -> usize {
        0
    }
}

/// One result.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Value<'a> {
    Null,
    I64(i64),
    U64(u64),
    F64(f64),
    I128(i128),
    Bytes(&'a [u8]),
    Text(String),
}

macro_rules! held_integer {
    ($($number:ty: $variant:ident),*) => {$(
        impl Held for $number {
            type Borrowed<'a> = Self;

            fn at(values: &Values, row: usize) -> Self {
                match values {
                    Values::$variant(values) => values[row],
                    other => unreachable!("the column was made for its argument's lane, not for {other:?}"),
                }
            }
            fn held(value: Self) -> Self {
                value
            }
            fn borrowed(&self) -> Self {
                *self
            }
            fn compare(left: Self, right: Self) -> Ordering {
                left.cmp(&right)
            }
            fn stored_bytes(_: Self) -> usize {
                size_of::<Self>()
            }
            fn write(&self, bytes: &mut Vec<u8>) {
                bytes.extend_from_slice(&self.to_le_bytes());
            }
            fn read(rest: &mut &[u8]) -> Result<Self, String> {
                Ok(Self::from_le_bytes(take(rest)?))
            }
            fn value(&self) -> Value<'_> {
                Value::$variant(*self)
            }
        }
    )*};
}
held_integer!(i64: I64, u64: U64, i128: I128);

impl Held for f64 {
    type Borrowed<'a> = Self;

    fn at(values: &Values, row: usize) -> Self {
        match values {
            Values::F64(values) => one_form(values[row]),
            other => unreachable!("the column was made for its argument's lane, not for {other:?}"),
        }
    }

    fn held(value: Self) -> Self {
        value
    }

    fn borrowed(&self) -> Self {
        *self
    }

    fn compare(left: Self, right: Self) -> Ordering {
        left.total_cmp(&right)
    }

    fn stored_bytes(_: Self) -> usize {
        size_of::<Self>()
    }

    fn write(&self, bytes: &mut Vec<u8>) {
        bytes.extend_from_slice(&self.to_le_bytes());
    }

    fn read(rest: &mut &[u8]) -> Result<Self, String> {
        Ok(one_form(Self::from_le_bytes(take(rest)?)))
    }

    fn value(&self) -> Value<'_> {
        Value::F64(*self)
    }
}

impl Held for Box<[u8]> {
    type Borrowed<'a> = &'a [u8];

    fn at(values: &Values, row: usize) -> &[u8] {
        match values {
            Values::Bytes(values) => values.value(row),
            other => unreachable!("the column was made for its argument's lane, not for {other:?}"),
        }
    }

    fn held(value: &[u8]) -> Self {
        value.into()
    }

    fn borrowed(&self) -> &[u8] {
        self
    }

    fn compare(left: &[u8], right: &[u8]) -> Ordering {
        left.cmp(right)
    }

    fn stored_bytes(value: &[u8]) -> usize {
        size_of::<u32>() + value.len()
    }

    fn write(&self, bytes: &mut Vec<u8>) {
        write_bytes(self, bytes);
    }

    fn read(rest: &mut &[u8]) -> Result<Self, String> {
        Ok(read_bytes(rest)?.into())
    }

    fn value(&self) -> Value<'_> {
        Value::Bytes(self)
    }

    fn heap_bytes(&self) -> usize {
        self.len()
    }
}

/// A float of which there is one per value.
pub(super) fn one_form(value: f64) -> f64 {
    if value.is_nan() { f64::NAN.abs() } else { value + 0.0 }
}

/// A u32 length, then the bytes.
pub(super) fn write_bytes(text: &[u8], bytes: &mut Vec<u8>) {
    bytes.extend_from_slice(&(text.len() as u32).to_le_bytes());
    bytes.extend_from_slice(text);
}

pub(super) fn read_bytes<'a>(rest: &mut &'a [u8]) -> Result<&'a [u8], String> {
    let length = u32::from_le_bytes(take(rest)?) as usize;
    let (text, tail) = rest.split_at_checked(length).ok_or("it ends too early")?;
    *rest = tail;
    Ok(text)
}

/// Values of one aggregate as a column.
pub(super) fn array(values: &[Value<'_>], data_type: &DataType) -> Result<ArrayRef, ArrowError> {
    Ok(match Lane::of(data_type) {
        Lane::U64 => {
            let number = |value: &Value| if let Value::U64(number) = value { Some(*number) } else { None };
            cast(&values.iter().map(number).collect::<UInt64Array>(), data_type)?
        }
        Lane::F64 => {
            let number = |value: &Value| if let Value::F64(number) = value { Some(*number) } else { None };
            cast(&values.iter().map(number).collect::<Float64Array>(), data_type)?
        }
        Lane::I128 => {
            let digits = |value: &Value| if let Value::I128(digits) = value { Some(*digits) } else { None };
            Arc::new(values.iter().map(digits).collect::<Decimal128Array>().with_data_type(data_type.clone()))
        }
        Lane::Bytes => {
            let bytes = |value: &'_ Value<'_>| -> Option<Vec<u8>> {
                match value {
                    Value::Bytes(bytes) => Some(bytes.to_vec()),
                    Value::Text(text) => Some(text.as_bytes().to_vec()),
                    _ => None,
                }
            };
            cast(&values.iter().map(bytes).collect::<BinaryArray>(), data_type)?
        }
        Lane::I64 | Lane::Rows | Lane::Canonical => {
            let number = |value: &Value| if let Value::I64(number) = value { Some(*number) } else { None };
            from_i64(&values.iter().map(number).collect::<Int64Array>(), data_type)?
        }
    })
}
