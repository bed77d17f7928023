//! Columns of an answer: every length, offset, character and digit checked, then handed to Arrow uncopied. Lists and
//! structs are put together in [`nested`].
//!
//! Invariant: `build` never panics and never makes an array that breaks Arrow's rules, whatever the buffers hold.
//! The fast checks only say whether all is well; the row to blame is looked for when it is not.

mod nested;
mod wrong;

use std::sync::Arc;

use arrow_array::types::{
    ArrowPrimitiveType, ArrowTimestampType, Date32Type, Decimal128Type, Float32Type, Float64Type, Int8Type, Int16Type,
    Int32Type, Int64Type, TimestampMicrosecondType, TimestampMillisecondType, TimestampNanosecondType,
    TimestampSecondType, UInt8Type, UInt16Type, UInt32Type, UInt64Type,
};
use arrow_array::{ArrayRef, BinaryArray, BooleanArray, PrimitiveArray, StringArray};
use arrow_buffer::{BooleanBuffer, Buffer, NullBuffer, OffsetBuffer, ScalarBuffer};
use arrow_schema::{DataType, Field, FieldRef, TimeUnit};
use weir_stream::FunctionFault;

use crate::fault::malformed;
use crate::types;
use crate::wire::{OwnedColumn, OwnedValues, OwnedVarBytes};
use wrong::{Cause, Wrong};

/// The arrays of `fields`, with `rows` rows each. `place` says whose columns they are, `said` what the contract does with
/// them.
pub(super) fn build_all(
    columns: Vec<OwnedColumn>,
    fields: &[FieldRef],
    rows: usize,
    said: &str,
    place: impl Fn() -> String,
) -> Result<Vec<ArrayRef>, FunctionFault> {
    let expected: usize = fields.iter().map(|field| types::columns_of(field.data_type())).sum();
    let given = columns.len();
    if given != expected {
        let all = if expected == fields.len() { "" } else { " with those in them" };
        return Err(malformed(place(), format!("{given} columns, {said} {expected}{all}")));
    }
    let mut columns = columns.into_iter();
    let build = |field: &FieldRef| {
        let built = build(&mut columns, field, rows, None);
        built.map_err(|wrong| wrong.into_fault(&format!("{} column ", place()), field.name()))
    };
    fields.iter().map(build).collect()
}

/// The array of one flat field that has no column name of its own.
pub(super) fn build_only(
    column: OwnedColumn,
    field: &Field,
    rows: usize,
    name: &str,
) -> Result<ArrayRef, FunctionFault> {
    let built = build(&mut vec![column].into_iter(), field, rows, None);
    built.map_err(|wrong| wrong.into_fault("", name))
}

/// Builds the array of `field` with `rows` rows from the columns that come next. `around` are the nulls of the struct that
/// it stands in: below them a null is none of its own.
fn build(
    columns: &mut std::vec::IntoIter<OwnedColumn>,
    field: &Field,
    rows: usize,
    around: Option<&NullBuffer>,
) -> Result<ArrayRef, Wrong> {
    let OwnedColumn { validity, values } = columns.next().ok_or_else(|| Cause::whole("its buffers are missing"))?;
    let nulls = nulls(validity, field, rows, around)?;
    match (field.data_type(), values) {
        (DataType::List(item), OwnedValues::ListOffsets(offsets)) => nested::list(columns, item, offsets, nulls, rows),
        (DataType::Struct(fields), OwnedValues::Nothing) => nested::structure(columns, fields, nulls, rows),
        (data_type, values) => Ok(flat(data_type, values, nulls, rows)?),
    }
}

fn flat(data_type: &DataType, values: OwnedValues, nulls: Option<NullBuffer>, rows: usize) -> Result<ArrayRef, Cause> {
    Ok(match (data_type, values) {
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
        (data_type, other) => {
            let writes = match data_type {
                DataType::List(_) => "a list".to_owned(),
                DataType::Struct(_) => "a struct".to_owned(),
                flat => flat.to_string(),
            };
            return Err(Cause::whole(format!("buffers of {}, writes {writes}", case(&other))));
        }
    })
}

fn nulls(
    validity: Option<Vec<u8>>,
    field: &Field,
    rows: usize,
    around: Option<&NullBuffer>,
) -> Result<Option<NullBuffer>, Cause> {
    let Some(validity) = validity else { return Ok(None) };
    check_length("bytes of validity", validity.len(), rows.div_ceil(8), rows)?;
    let nulls = NullBuffer::new(BooleanBuffer::new(Buffer::from_vec(validity), 0, rows));
    if nulls.null_count() == 0 {
        return Ok(None);
    }
    let own = |row: &usize| nulls.is_null(*row) && around.is_none_or(|around| around.is_valid(*row));
    if !field.is_nullable()
        && let Some(row) = (0..rows).find(own)
    {
        return Err(Cause::at(row, "null, though the column is declared not null"));
    }
    Ok(Some(nulls))
}

fn check_length(what: &'static str, found: usize, expected: usize, rows: usize) -> Result<(), Cause> {
    if found == expected { Ok(()) } else { Err(Cause::Length { what, found, expected, rows }) }
}

fn primitive<T: ArrowPrimitiveType>(
    values: Vec<T::Native>,
    nulls: Option<NullBuffer>,
    rows: usize,
) -> Result<ArrayRef, Cause> {
    check_length("values", values.len(), rows, rows)?;
    Ok(Arc::new(PrimitiveArray::<T>::new(ScalarBuffer::from(values), nulls)))
}

fn timestamp<T: ArrowTimestampType>(
    values: Vec<i64>,
    zone: &Option<Arc<str>>,
    nulls: Option<NullBuffer>,
    rows: usize,
) -> Result<ArrayRef, Cause> {
    check_length("values", values.len(), rows, rows)?;
    Ok(Arc::new(PrimitiveArray::<T>::new(ScalarBuffer::from(values), nulls).with_timezone_opt(zone.clone())))
}

fn decimal(
    halves: &[u64],
    precision: u8,
    scale: i8,
    nulls: Option<NullBuffer>,
    rows: usize,
) -> Result<ArrayRef, Cause> {
    let (pairs, odd) = halves.as_chunks::<2>();
    check_length("64-bit halves", pairs.len() * 2 + odd.len(), rows * 2, rows)?;
    let values: Vec<i128> =
        pairs.iter().map(|[low, high]| (u128::from(*high) << 64 | u128::from(*low)) as i128).collect();
    let bound = 10_u128.pow(u32::from(precision));
    let fits =
        |row: usize, value: &i128| value.unsigned_abs() < bound || nulls.as_ref().is_some_and(|n| n.is_null(row));
    if let Some(row) = values.iter().enumerate().position(|(row, value)| !fits(row, value)) {
        let what = format!("{} has more digits than decimal({precision}, {scale})", values[row]);
        return Err(Cause::at(row, what));
    }
    let array = PrimitiveArray::<Decimal128Type>::new(ScalarBuffer::from(values), nulls);
    Ok(Arc::new(array.with_data_type(DataType::Decimal128(precision, scale))))
}

fn utf8(bytes: OwnedVarBytes, nulls: Option<NullBuffer>, rows: usize) -> Result<ArrayRef, Cause> {
    let OwnedVarBytes { offsets, data } = bytes;
    let offsets = checked_offsets(offsets, data.len(), rows)?;
    // The whole is UTF-8 and every offset is at a character's begin: then so is every value.
    let inside = |offset: &i32| data.get(*offset as usize).is_some_and(|byte| byte & 0xc0 == 0x80);
    let cuts = offsets.iter().fold(false, |cuts, offset| cuts | inside(offset));
    if cuts || simdutf8::basic::from_utf8(&data).is_err() {
        let value = |row: usize| &data[offsets[row] as usize..offsets[row + 1] as usize];
        let row = (0..rows).find(|row| std::str::from_utf8(value(*row)).is_err()).unwrap_or_default();
        return Err(Cause::at(row, "not UTF-8"));
    }
    // SAFETY: `checked_offsets` made the offsets rise from 0 to the data's length, `nulls` has the array's
    // length, and every value was found to be UTF-8 just above.
    Ok(Arc::new(unsafe { StringArray::new_unchecked(offsets, Buffer::from_vec(data), nulls) }))
}

/// Offsets that begin at 0, never fall and end at the data's length.
fn checked_offsets(offsets: Vec<i32>, bytes: usize, rows: usize) -> Result<OffsetBuffer<i32>, Cause> {
    let offsets = rising_offsets(offsets, rows)?;
    if offsets[rows] as usize != bytes {
        let what = format!("the last offset is {}, the data has {bytes} bytes", offsets[rows]);
        return Err(Cause::whole(what));
    }
    Ok(offsets)
}

/// Offsets that begin at 0 and never fall.
fn rising_offsets(offsets: Vec<i32>, rows: usize) -> Result<OffsetBuffer<i32>, Cause> {
    check_length("offsets", offsets.len(), rows + 1, rows)?;
    if offsets[0] != 0 {
        return Err(Cause::at(0, format!("begins at offset {}, not at 0", offsets[0])));
    }
    let next = &offsets[1..];
    let rises = offsets.iter().zip(next).fold(true, |rises, (begin, end)| rises & (begin <= end));
    if !rises {
        let row = offsets.iter().zip(next).position(|(begin, end)| begin > end).unwrap_or_default();
        let what = format!("ends at offset {}, before its begin at {}", offsets[row + 1], offsets[row]);
        return Err(Cause::at(row, what));
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
