//! Arrays to canonical key bytes, a column at a time.

use arrow_array::cast::AsArray;
use arrow_array::types::{
    Date32Type, Decimal128Type, Float64Type, Int64Type, TimestampMicrosecondType, TimestampMillisecondType,
    TimestampNanosecondType, TimestampSecondType, UInt64Type,
};
use arrow_array::{Array, ArrayRef};
use arrow_buffer::NullBuffer;
use arrow_cast::cast;
use arrow_schema::{DataType, TimeUnit};

use super::{SIGN, tag};

/// The keys of `rows` rows: their bytes, and where each ends.
pub(super) fn encode(columns: &[ArrayRef], rows: usize) -> Result<(Vec<u8>, Vec<u32>), String> {
    let mut ends = vec![0u32; rows];
    for column in columns {
        add_lengths(column, &mut ends)?;
    }
    let mut total = 0u64;
    let mut starts = Vec::with_capacity(rows);
    for end in &mut ends {
        starts.push(total as u32);
        total += u64::from(*end);
        *end = total as u32;
    }
    if total > u64::from(u32::MAX) {
        return Err(format!("the keys of one batch take {total} bytes"));
    }
    let mut bytes = vec![0; total as usize];
    for column in columns {
        write(column, &mut Writer { bytes: &mut bytes, starts: &mut starts })?;
    }
    Ok((bytes, ends))
}

fn unsupported(data_type: &DataType) -> String {
    format!("a column of type {data_type} cannot be a key")
}

/// Bytes of a value that is not null, where all values of the type take the same.
fn width(data_type: &DataType) -> Option<u32> {
    match data_type {
        DataType::Boolean => Some(1),
        DataType::Date32 => Some(1 + 4),
        DataType::Timestamp(_, _) => Some(1 + 8 + 4),
        DataType::Decimal128(_, _) => Some(1 + 1 + 16),
        other if other.is_integer() || other.is_floating() => Some(1 + 8),
        _ => None,
    }
}

fn add_lengths(column: &ArrayRef, lengths: &mut [u32]) -> Result<(), String> {
    let nulls = column.nulls();
    let length_of: &dyn Fn(usize) -> u32 = match column.data_type() {
        DataType::Utf8 => &|row| 5 + column.as_string::<i32>().value_length(row) as u32,
        DataType::Binary => &|row| 5 + column.as_binary::<i32>().value_length(row) as u32,
        other => {
            let width = width(other).ok_or_else(|| unsupported(other))?;
            if nulls.is_none() {
                lengths.iter_mut().for_each(|length| *length += width);
                return Ok(());
            }
            &move |_| width
        }
    };
    for (row, length) in lengths.iter_mut().enumerate() {
        *length += if nulls.is_some_and(|nulls| nulls.is_null(row)) { 1 } else { length_of(row) };
    }
    Ok(())
}

/// Fills the gaps that the lengths left: `starts` holds where each row's next column goes.
struct Writer<'a> {
    bytes: &'a mut [u8],
    starts: &'a mut [u32],
}

impl Writer<'_> {
    /// Writes a column of values that take `N` bytes each, and `00` for nulls.
    fn fixed<const N: usize>(&mut self, nulls: Option<&NullBuffer>, value: impl Fn(usize) -> [u8; N]) {
        let nulls = nulls.filter(|nulls| nulls.null_count() > 0);
        for (row, start) in self.starts.iter_mut().enumerate() {
            let at = *start as usize;
            if nulls.is_some_and(|nulls| nulls.is_null(row)) {
                self.bytes[at] = tag::NULL;
                *start += 1;
            } else {
                self.bytes[at..at + N].copy_from_slice(&value(row));
                *start += N as u32;
            }
        }
    }

    fn text<'v>(&mut self, tag: u8, nulls: Option<&NullBuffer>, value: impl Fn(usize) -> &'v [u8]) {
        for (row, start) in self.starts.iter_mut().enumerate() {
            let at = *start as usize;
            if nulls.is_some_and(|nulls| nulls.is_null(row)) {
                self.bytes[at] = tag::NULL;
                *start += 1;
                continue;
            }
            let value = value(row);
            self.bytes[at] = tag;
            self.bytes[at + 1..at + 5].copy_from_slice(&(value.len() as u32).to_be_bytes());
            self.bytes[at + 5..at + 5 + value.len()].copy_from_slice(value);
            *start += 5 + value.len() as u32;
        }
    }
}

fn write(column: &ArrayRef, writer: &mut Writer) -> Result<(), String> {
    let nulls = column.nulls();
    match column.data_type() {
        DataType::Boolean => {
            let values = column.as_boolean();
            writer.fixed(nulls, |row| [if values.value(row) { tag::TRUE } else { tag::FALSE }]);
        }
        DataType::UInt64 => {
            let values = column.as_primitive::<UInt64Type>().values();
            writer.fixed(nulls, |row| unsigned(values[row]));
        }
        other if other.is_integer() => {
            let wide = cast(column, &DataType::Int64).map_err(|error| error.to_string())?;
            let values = wide.as_primitive::<Int64Type>().values();
            writer.fixed(nulls, |row| integer(values[row]));
        }
        other if other.is_floating() => {
            let wide = cast(column, &DataType::Float64).map_err(|error| error.to_string())?;
            let values = wide.as_primitive::<Float64Type>().values();
            writer.fixed(nulls, |row| float(values[row]));
        }
        DataType::Utf8 => {
            let values = column.as_string::<i32>();
            writer.text(tag::UTF8, nulls, |row| values.value(row).as_bytes());
        }
        DataType::Binary => {
            let values = column.as_binary::<i32>();
            writer.text(tag::BINARY, nulls, |row| values.value(row));
        }
        DataType::Date32 => {
            let values = column.as_primitive::<Date32Type>().values();
            writer.fixed(nulls, |row| date(values[row]));
        }
        DataType::Timestamp(unit, _) => write_timestamps(column, *unit, writer),
        DataType::Decimal128(_, scale) => {
            let values = column.as_primitive::<Decimal128Type>().values();
            writer.fixed(nulls, |row| decimal(values[row], *scale));
        }
        other => return Err(unsupported(other)),
    }
    Ok(())
}

fn write_timestamps(column: &ArrayRef, unit: TimeUnit, writer: &mut Writer) {
    let nulls = column.nulls();
    let values = match unit {
        TimeUnit::Second => column.as_primitive::<TimestampSecondType>().values(),
        TimeUnit::Millisecond => column.as_primitive::<TimestampMillisecondType>().values(),
        TimeUnit::Microsecond => column.as_primitive::<TimestampMicrosecondType>().values(),
        TimeUnit::Nanosecond => column.as_primitive::<TimestampNanosecondType>().values(),
    };
    let per_second = per_second(unit);
    writer.fixed(nulls, |row| timestamp(values[row], per_second));
}

/// Units in a second.
pub(super) fn per_second(unit: TimeUnit) -> i64 {
    match unit {
        TimeUnit::Second => 1,
        TimeUnit::Millisecond => 1_000,
        TimeUnit::Microsecond => 1_000_000,
        TimeUnit::Nanosecond => 1_000_000_000,
    }
}

/// `rest` behind its tag; `N` is one more than `M`.
fn tagged<const M: usize, const N: usize>(tag: u8, rest: [u8; M]) -> [u8; N] {
    let mut bytes = [0; N];
    bytes[0] = tag;
    bytes[1..].copy_from_slice(&rest);
    bytes
}

#[inline]
fn integer(value: i64) -> [u8; 9] {
    tagged(tag::INTEGER, (value as u64 ^ SIGN).to_be_bytes())
}

fn unsigned(value: u64) -> [u8; 9] {
    match i64::try_from(value) {
        Ok(value) => integer(value),
        Err(_) => tagged(tag::LARGE_INTEGER, value.to_be_bytes()),
    }
}

fn float(value: f64) -> [u8; 9] {
    let value = if value.is_nan() { f64::NAN.abs() } else { value + 0.0 };
    let bits = value.to_bits();
    let sorted = if bits & SIGN == 0 { bits ^ SIGN } else { !bits };
    tagged(tag::FLOAT, sorted.to_be_bytes())
}

fn date(days: i32) -> [u8; 5] {
    tagged(tag::DATE, (days as u32 ^ (1 << 31)).to_be_bytes())
}

fn timestamp(value: i64, per_second: i64) -> [u8; 13] {
    let seconds = value.div_euclid(per_second);
    let nanoseconds = value.rem_euclid(per_second) * (1_000_000_000 / per_second);
    let mut bytes = [0; 13];
    bytes[0] = tag::TIMESTAMP;
    bytes[1..9].copy_from_slice(&(seconds as u64 ^ SIGN).to_be_bytes());
    bytes[9..].copy_from_slice(&(nanoseconds as u32).to_be_bytes());
    bytes
}

fn decimal(mut value: i128, mut scale: i8) -> [u8; 18] {
    while scale > 0 && value % 10 == 0 {
        value /= 10;
        scale -= 1;
    }
    let mut bytes = [0; 18];
    bytes[0] = tag::DECIMAL;
    bytes[1] = scale as u8;
    bytes[2..].copy_from_slice(&(value as u128 ^ (1 << 127)).to_be_bytes());
    bytes
}
