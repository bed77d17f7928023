//! One column's values as JSON text, row by row.
//!
//! Invariant: what a writer appends is one valid JSON value that the decoder reads back as the same value, except
//! that floats that JSON cannot write become null.

use std::ops::Range;
use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::{
    ArrowPrimitiveType, Date32Type, Decimal128Type, Float32Type, Float64Type, Int8Type, Int16Type, Int32Type,
    Int64Type, TimestampMicrosecondType, TimestampMillisecondType, TimestampNanosecondType, TimestampSecondType,
    UInt8Type, UInt16Type, UInt32Type, UInt64Type,
};
use arrow_array::{Array, ArrayRef, BooleanArray};
use arrow_buffer::NullBuffer;
use arrow_schema::{DataType, Field, TimeUnit};
use base64::Engine as _;

use crate::civil::{self, TimestampWriter};
use crate::decimal;

/// The values of one column of one batch.
pub(crate) enum Writer<'a> {
    Boolean(&'a BooleanArray),
    Int8(&'a [i8]),
    Int16(&'a [i16]),
    Int32(&'a [i32]),
    Int64(&'a [i64]),
    UInt8(&'a [u8]),
    UInt16(&'a [u16]),
    UInt32(&'a [u32]),
    UInt64(&'a [u64]),
    Float32(&'a [f32]),
    Float64(&'a [f64]),
    Date(&'a [i32]),
    Timestamp(&'a [i64], TimestampWriter),
    Decimal(&'a [i128], i8),
    Utf8(&'a [i32], &'a [u8]),
    Binary(&'a [i32], &'a [u8]),
    List(&'a [i32], Box<Part<'a>>),
    /// With each part's `,"name":`; the first one's comma becomes the brace.
    Struct(Vec<(Vec<u8>, Part<'a>)>),
}

/// A column inside another.
pub(crate) struct Part<'a> {
    nulls: Option<&'a NullBuffer>,
    writer: Writer<'a>,
}

impl<'a> Part<'a> {
    fn new(array: &'a ArrayRef) -> Option<Self> {
        Some(Self { nulls: array.nulls(), writer: Writer::new(array)? })
    }

    fn write(&mut self, row: usize, out: &mut Vec<u8>) {
        if self.nulls.is_some_and(|nulls| nulls.is_null(row)) {
            out.extend_from_slice(b"null");
        } else {
            self.writer.write(row, out);
        }
    }
}

fn values<T: ArrowPrimitiveType>(array: &dyn Array) -> &[T::Native] {
    array.as_primitive::<T>().values()
}

impl<'a> Writer<'a> {
    /// `None` for a type that JSON encoding does not support.
    pub(crate) fn new(array: &'a dyn Array) -> Option<Self> {
        Some(match array.data_type() {
            DataType::Boolean => Self::Boolean(array.as_boolean()),
            DataType::Int8 => Self::Int8(values::<Int8Type>(array)),
            DataType::Int16 => Self::Int16(values::<Int16Type>(array)),
            DataType::Int32 => Self::Int32(values::<Int32Type>(array)),
            DataType::Int64 => Self::Int64(values::<Int64Type>(array)),
            DataType::UInt8 => Self::UInt8(values::<UInt8Type>(array)),
            DataType::UInt16 => Self::UInt16(values::<UInt16Type>(array)),
            DataType::UInt32 => Self::UInt32(values::<UInt32Type>(array)),
            DataType::UInt64 => Self::UInt64(values::<UInt64Type>(array)),
            DataType::Float32 => Self::Float32(values::<Float32Type>(array)),
            DataType::Float64 => Self::Float64(values::<Float64Type>(array)),
            DataType::Date32 => Self::Date(values::<Date32Type>(array)),
            DataType::Timestamp(unit, zone) => {
                Self::Timestamp(timestamps(array, *unit), TimestampWriter::new(*unit, zone.is_some()))
            }
            DataType::Decimal128(_, scale) => Self::Decimal(values::<Decimal128Type>(array), *scale),
            DataType::Utf8 => {
                let array = array.as_string::<i32>();
                Self::Utf8(array.value_offsets(), array.value_data())
            }
            DataType::Binary => {
                let array = array.as_binary::<i32>();
                Self::Binary(array.value_offsets(), array.value_data())
            }
            DataType::List(_) => {
                let array = array.as_list::<i32>();
                Self::List(array.value_offsets(), Box::new(Part::new(array.values())?))
            }
            DataType::Struct(fields) => {
                let parts = fields.iter().zip(array.as_struct().columns());
                let part = |(field, array): (&Arc<Field>, &'a ArrayRef)| {
                    let mut key = vec![b','];
                    string(field.name().as_bytes(), &mut key);
                    key.push(b':');
                    Some((key, Part::new(array)?))
                };
                Self::Struct(parts.map(part).collect::<Option<_>>()?)
            }
            _ => return None,
        })
    }

    #[inline]
    pub(crate) fn write(&mut self, row: usize, out: &mut Vec<u8>) {
        match self {
            Self::Int64(values) => integer(values[row], out),
            Self::Utf8(offsets, bytes) => string(slice(offsets, bytes, row), out),
            Self::Float64(values) => float(values[row], values[row].is_finite(), out),
            Self::Timestamp(values, writer) => {
                out.push(b'"');
                writer.write(values[row], out);
                out.push(b'"');
            }
            Self::Decimal(values, scale) => {
                out.push(b'"');
                decimal::write(values[row], *scale, out);
                out.push(b'"');
            }
            Self::Boolean(array) => out.extend_from_slice(if array.value(row) { b"true" } else { b"false" }),
            Self::Int8(values) => integer(values[row], out),
            Self::Int16(values) => integer(values[row], out),
            Self::Int32(values) => integer(values[row], out),
            Self::UInt8(values) => integer(values[row], out),
            Self::UInt16(values) => integer(values[row], out),
            Self::UInt32(values) => integer(values[row], out),
            Self::UInt64(values) => integer(values[row], out),
            Self::Float32(values) => float(values[row], values[row].is_finite(), out),
            Self::Date(values) => {
                out.push(b'"');
                civil::write_date(i64::from(values[row]), out);
                out.push(b'"');
            }
            Self::Binary(offsets, bytes) => base64(slice(offsets, bytes, row), out),
            Self::List(offsets, items) => list(offsets[row] as usize..offsets[row + 1] as usize, items, out),
            Self::Struct(parts) => structure(parts, row, out),
        }
    }
}

fn list(range: Range<usize>, items: &mut Part<'_>, out: &mut Vec<u8>) {
    out.push(b'[');
    for item in range.clone() {
        if item > range.start {
            out.push(b',');
        }
        items.write(item, out);
    }
    out.push(b']');
}

fn structure(parts: &mut [(Vec<u8>, Part<'_>)], row: usize, out: &mut Vec<u8>) {
    let start = out.len();
    for (key, part) in parts {
        out.extend_from_slice(key);
        part.write(row, out);
    }
    match out.get_mut(start) {
        Some(comma) => *comma = b'{',
        None => out.push(b'{'),
    }
    out.push(b'}');
}

fn timestamps(array: &dyn Array, unit: TimeUnit) -> &[i64] {
    match unit {
        TimeUnit::Second => values::<TimestampSecondType>(array),
        TimeUnit::Millisecond => values::<TimestampMillisecondType>(array),
        TimeUnit::Microsecond => values::<TimestampMicrosecondType>(array),
        TimeUnit::Nanosecond => values::<TimestampNanosecondType>(array),
    }
}

#[inline]
fn slice<'a>(offsets: &[i32], bytes: &'a [u8], row: usize) -> &'a [u8] {
    &bytes[offsets[row] as usize..offsets[row + 1] as usize]
}

#[inline]
fn integer<I: itoa::Integer>(value: I, out: &mut Vec<u8>) {
    out.extend_from_slice(itoa::Buffer::new().format(value).as_bytes());
}

fn float<F: zmij::Float>(value: F, finite: bool, out: &mut Vec<u8>) {
    if finite {
        out.extend_from_slice(zmij::Buffer::new().format_finite(value).as_bytes());
    } else {
        out.extend_from_slice(b"null");
    }
}

fn base64(bytes: &[u8], out: &mut Vec<u8>) {
    out.push(b'"');
    let start = out.len();
    out.resize(start + bytes.len().div_ceil(3) * 4, 0);
    let written = base64::engine::general_purpose::STANDARD.encode_slice(bytes, &mut out[start..]);
    debug_assert_eq!(written, Ok(out.len() - start));
    out.push(b'"');
}

/// Whether a byte of a string must be escaped.
#[inline]
fn is_special(byte: u8) -> bool {
    byte < 0x20 || byte == b'"' || byte == b'\\'
}

/// Appends a JSON string.
#[inline]
pub(crate) fn string(text: &[u8], out: &mut Vec<u8>) {
    out.push(b'"');
    // Without a branch per byte, so that the compiler can look at whole vector registers.
    if text.iter().fold(false, |any, byte| any | is_special(*byte)) {
        escape(text, out);
    } else {
        out.extend_from_slice(text);
    }
    out.push(b'"');
}

#[cold]
fn escape(text: &[u8], out: &mut Vec<u8>) {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    for byte in text {
        match byte {
            b'"' | b'\\' => out.extend_from_slice(&[b'\\', *byte]),
            b'\n' => out.extend_from_slice(b"\\n"),
            b'\r' => out.extend_from_slice(b"\\r"),
            b'\t' => out.extend_from_slice(b"\\t"),
            0x08 => out.extend_from_slice(b"\\b"),
            0x0c => out.extend_from_slice(b"\\f"),
            0..=0x1f => {
                out.extend_from_slice(b"\\u00");
                out.extend_from_slice(&[HEX[usize::from(byte >> 4)], HEX[usize::from(byte & 15)]]);
            }
            _ => out.push(*byte),
        }
    }
}
