//! One column of an answer: every length, offset, character and digit checked, then handed to Arrow uncopied.
//!
//! Invariant: `build` never panics and never makes an array that breaks Arrow's rules, whatever the buffers hold.
//! The fast checks only say whether all is well; the row to blame is looked for when it is not.

use std::sync::Arc;

use arrow_array::types::{
    ArrowPrimitiveType, ArrowTimestampType, Date32Type, Decimal128Type, Float32Type, Float64Type, Int8Type, Int16Type,
    Int32Type, Int64Type, TimestampMicrosecondType, TimestampMillisecondType, TimestampNanosecondType,
    TimestampSecondType, UInt8Type, UInt16Type, UInt32Type, UInt64Type,
};
use arrow_array::{ArrayRef, BinaryArray, BooleanArray, PrimitiveArray, StringArray};
use arrow_buffer::{BooleanBuffer, Buffer, NullBuffer, OffsetBuffer, ScalarBuffer};
use arrow_schema::{DataType, Field, TimeUnit};

use crate::wire::{OwnedColumn, OwnedValues, OwnedVarBytes};

/// What is wrong with a column, to stand behind its name: ` row 3: not UTF-8`, or `: 3 values for 4 rows`.
type Wrong = String;

/// Builds the array of `field` with `rows` rows.
pub(super) fn build(column: OwnedColumn, field: &Field, rows: usize) -> Result<ArrayRef, Wrong> {
    let nulls = nulls(column.validity, field, rows)?;
    Ok(match (field.data_type(), column.values) {
        (DataType::Boolean, OwnedValues::Bits(bits)) => {
            check_length("bytes of bits", bits.len(), rows.div_ceil(8), rows)?;
            Arc::new(BooleanArray::new(BooleanBuffer::new(Buffer::from_vec(bits), 0, rows), nulls))
        }
        (DataType::Int8, OwnedValues::Int8(values)) => primitive::<Int8Type>(values, nulls, rows)?,
        (DataType::Int16, OwnedValues::Int16(values)) => primitive::<Int16Type>(values, nulls, rows)?,
        (DataType::Int32, OwnedValues::Int32(values)) => primitive::<Int32Type>(values, nulls, rows)?,
        (DataType::Int64, OwnedValues::Int64(values)) => primitive::<Int64Type>(values, nulls, rows)?,
        (DataType::UInt8, OwnedValues::Uint8(values)) => primitive::<UInt8Type>(values, nulls, rows)?,
        (DataType::UInt16, OwnedValues::Uint16(values)) => primitive::<UInt16Type>(values, nulls, rows)?,
        (DataType::UInt32, OwnedValues::Uint32(values)) => primitive::<UInt32Type>(values, nulls, rows)?,
        (DataType::UInt64, OwnedValues::Uint64(values)) => primitive::<UInt64Type>(values, nulls, rows)?,
        (DataType::Float32, OwnedValues::Float32(values)) => primitive::<Float32Type>(values, nulls, rows)?,
        (DataType::Float64, OwnedValues::Float64(values)) => primitive::<Float64Type>(values, nulls, rows)?,
        (DataType::Date32, OwnedValues::Int32(values)) => primitive::<Date32Type>(values, nulls, rows)?,
        (DataType::Timestamp(unit, zone), OwnedValues::Int64(values)) => match unit {
            TimeUnit::Second => timestamp::<TimestampSecondType>(values, zone, nulls, rows)?,
            TimeUnit::Millisecond => timestamp::<TimestampMillisecondType>(values, zone, nulls, rows)?,
            TimeUnit::Microsecond => timestamp::<TimestampMicrosecondType>(values, zone, nulls, rows)?,
            TimeUnit::Nanosecond => timestamp::<TimestampNanosecondType>(values, zone, nulls, rows)?,
        },
        (DataType::Decimal128(precision, scale), OwnedValues::Decimal128(halves)) => {
            decimal(&halves, *precision, *scale, nulls, rows)?
        }
        (DataType::Utf8, OwnedValues::Bytes(bytes)) => utf8(bytes, nulls, rows)?,
        (DataType::Binary, OwnedValues::Bytes(OwnedVarBytes { offsets, data })) => {
            let offsets = checked_offsets(offsets, data.len(), rows)?;
            Arc::new(BinaryArray::new(offsets, Buffer::from_vec(data), nulls))
        }
        (data_type, other) => return Err(format!(": buffers of {}, writes {data_type}", case(&other))),
    })
}

fn nulls(validity: Option<Vec<u8>>, field: &Field, rows: usize) -> Result<Option<NullBuffer>, Wrong> {
    let Some(validity) = validity else { return Ok(None) };
    check_length("bytes of validity", validity.len(), rows.div_ceil(8), rows)?;
    let nulls = NullBuffer::new(BooleanBuffer::new(Buffer::from_vec(validity), 0, rows));
    if nulls.null_count() == 0 {
        return Ok(None);
    }
    if !field.is_nullable() {
        let row = (0..rows).find(|row| nulls.is_null(*row)).unwrap_or_default();
        return Err(format!(" row {row}: null, though the column is declared not null"));
    }
    Ok(Some(nulls))
}

fn check_length(what: &str, found: usize, expected: usize, rows: usize) -> Result<(), Wrong> {
    if found == expected { Ok(()) } else { Err(format!(": {found} {what} for {rows} rows, not {expected}")) }
}

fn primitive<T: ArrowPrimitiveType>(
    values: Vec<T::Native>,
    nulls: Option<NullBuffer>,
    rows: usize,
) -> Result<ArrayRef, Wrong> {
    check_length("values", values.len(), rows, rows)?;
    Ok(Arc::new(PrimitiveArray::<T>::new(ScalarBuffer::from(values), nulls)))
}

fn timestamp<T: ArrowTimestampType>(
    values: Vec<i64>,
    zone: &Option<Arc<str>>,
    nulls: Option<NullBuffer>,
    rows: usize,
) -> Result<ArrayRef, Wrong> {
    check_length("values", values.len(), rows, rows)?;
    Ok(Arc::new(PrimitiveArray::<T>::new(ScalarBuffer::from(values), nulls).with_timezone_opt(zone.clone())))
}

fn decimal(
    halves: &[u64],
    precision: u8,
    scale: i8,
    nulls: Option<NullBuffer>,
    rows: usize,
) -> Result<ArrayRef, Wrong> {
    let (pairs, odd) = halves.as_chunks::<2>();
    check_length("64-bit halves", pairs.len() * 2 + odd.len(), rows * 2, rows)?;
    let values: Vec<i128> =
        pairs.iter().map(|[low, high]| (u128::from(*high) << 64 | u128::from(*low)) as i128).collect();
    let bound = 10_u128.pow(u32::from(precision));
    let fits =
        |row: usize, value: &i128| value.unsigned_abs() < bound || nulls.as_ref().is_some_and(|n| n.is_null(row));
    if let Some(row) = values.iter().enumerate().position(|(row, value)| !fits(row, value)) {
        return Err(format!(" row {row}: {} has more digits than decimal({precision}, {scale})", values[row]));
    }
    let array = PrimitiveArray::<Decimal128Type>::new(ScalarBuffer::from(values), nulls);
    Ok(Arc::new(array.with_data_type(DataType::Decimal128(precision, scale))))
}

fn utf8(bytes: OwnedVarBytes, nulls: Option<NullBuffer>, rows: usize) -> Result<ArrayRef, Wrong> {
    let OwnedVarBytes { offsets, data } = bytes;
    let offsets = checked_offsets(offsets, data.len(), rows)?;
    // The whole is UTF-8 and every offset is at a character's begin: then so is every value.
    let inside = |offset: &i32| data.get(*offset as usize).is_some_and(|byte| byte & 0xc0 == 0x80);
    let cuts = offsets.iter().fold(false, |cuts, offset| cuts | inside(offset));
    if cuts || simdutf8::basic::from_utf8(&data).is_err() {
        let value = |row: usize| &data[offsets[row] as usize..offsets[row + 1] as usize];
        let row = (0..rows).find(|row| std::str::from_utf8(value(*row)).is_err()).unwrap_or_default();
        return Err(format!(" row {row}: not UTF-8"));
    }
    // SAFETY: `checked_offsets` made the offsets rise from 0 to the data's length, `nulls` has the array's
    // length, and every value was found to be UTF-8 just above.
    Ok(Arc::new(unsafe { StringArray::new_unchecked(offsets, Buffer::from_vec(data), nulls) }))
}

/// Offsets that begin at 0, never fall and end at the data's length.
fn checked_offsets(offsets: Vec<i32>, bytes: usize, rows: usize) -> Result<OffsetBuffer<i32>, Wrong> {
    check_length("offsets", offsets.len(), rows + 1, rows)?;
    if offsets[0] != 0 {
        return Err(format!(" row 0: begins at offset {}, not at 0", offsets[0]));
    }
    let next = &offsets[1..];
    let rises = offsets.iter().zip(next).fold(true, |rises, (begin, end)| rises & (begin <= end));
    if !rises {
        let row = offsets.iter().zip(next).position(|(begin, end)| begin > end).unwrap_or_default();
        return Err(format!(" row {row}: ends at offset {}, before its begin at {}", offsets[row + 1], offsets[row]));
    }
    if offsets[rows] as usize != bytes {
        return Err(format!(": the last offset is {}, the data has {bytes} bytes", offsets[rows]));
    }
    // SAFETY: not empty, not negative and never falling, as checked above.
    Ok(unsafe { OffsetBuffer::new_unchecked(ScalarBuffer::from(offsets)) })
}

fn case(values: &OwnedValues) -> &'static str {
    match values {
        OwnedValues::Bits(_) => "bits",
        OwnedValues::Int8(_) => "int8",
        OwnedValues::Int16(_) => "int16",
        OwnedValues::Int32(_) => "int32",
        OwnedValues::Int64(_) => "int64",
        OwnedValues::Uint8(_) => "uint8",
        OwnedValues::Uint16(_) => "uint16",
        OwnedValues::Uint32(_) => "uint32",
        OwnedValues::Uint64(_) => "uint64",
        OwnedValues::Float32(_) => "float32",
        OwnedValues::Float64(_) => "float64",
        OwnedValues::Decimal128(_) => "decimal128",
        OwnedValues::Bytes(_) => "bytes",
        OwnedValues::ListOffsets(_) => "list-offsets",
        OwnedValues::Nothing => "nothing",
    }
}

#[cfg(test)]
mod tests;
