//! How Cassandra's values meet Arrow's: which types fit a declared one, keys on their way there, values on their way back.

use arrow_array::cast::AsArray;
use arrow_array::types as ty;
use arrow_array::{Array, ArrayRef};
use arrow_schema::{DataType, TimeUnit};
use base64::Engine as _;
use jiff::civil::date;
use jiff::{Span, Timestamp};
use scylla::cluster::metadata::{ColumnType, NativeType};
use scylla::value::{CqlDate, CqlTimestamp, CqlValue};
use serde_json::Value;

/// Cassandra's day 0 is so many days before 1970.
const DAYS_BEFORE_1970: i64 = 1 << 31;

/// Whether a column of Cassandra's type can be read as the declared one.
pub(super) fn reads(declared: &DataType, has: &ColumnType<'_>) -> bool {
    use NativeType as N;
    let ColumnType::Native(has) = has else { return false };
    let is_integer = matches!(has, N::TinyInt | N::SmallInt | N::Int | N::BigInt | N::Counter | N::Varint);
    match declared {
        DataType::Boolean => matches!(has, N::Boolean),
        declared if declared.is_integer() => is_integer,
        DataType::Float32 | DataType::Float64 => matches!(has, N::Float | N::Double),
        DataType::Decimal128(..) => is_integer || matches!(has, N::Decimal),
        DataType::Utf8 => matches!(has, N::Text | N::Ascii | N::Uuid | N::Timeuuid | N::Inet),
        DataType::Binary => matches!(has, N::Blob),
        DataType::Date32 => matches!(has, N::Date),
        DataType::Timestamp(_, Some(_)) => matches!(has, N::Timestamp),
        _ => false,
    }
}

/// Whether columns declared so can be read at all, and asked with.
pub(super) fn takes(declared: &DataType, as_key: bool) -> bool {
    let flat = declared.is_integer()
        || matches!(declared, DataType::Boolean | DataType::Utf8 | DataType::Binary | DataType::Date32)
        || matches!(declared, DataType::Timestamp(_, Some(_)));
    flat || (!as_key && matches!(declared, DataType::Float32 | DataType::Float64 | DataType::Decimal128(..)))
}

/// Whether a key column of Cassandra's type can be asked with the declared one.
pub(super) fn asks(declared: &DataType, has: &ColumnType<'_>) -> bool {
    use NativeType as N;
    takes(declared, true)
        && reads(declared, has)
        && !matches!(has, ColumnType::Native(N::Varint | N::Counter | N::Inet | N::Decimal | N::Float | N::Double))
}

/// The value of a key's column; none for one that no column of that type can have.
pub(super) fn key(column: &ArrayRef, row: usize, has: &ColumnType<'_>) -> Option<CqlValue> {
    use NativeType as N;
    let ColumnType::Native(has) = has else { return None };
    match (column.data_type(), has) {
        (DataType::Boolean, _) => Some(CqlValue::Boolean(column.as_boolean().value(row))),
        (DataType::Binary, _) => Some(CqlValue::Blob(column.as_binary::<i32>().value(row).to_vec())),
        (DataType::Utf8, has) => text(column.as_string::<i32>().value(row), has),
        (DataType::Date32, _) => {
            let days = i64::from(column.as_primitive::<ty::Date32Type>().value(row)) + DAYS_BEFORE_1970;
            u32::try_from(days).ok().map(|days| CqlValue::Date(CqlDate(days)))
        }
        (DataType::Timestamp(unit, _), _) => {
            milliseconds(column, row, *unit).map(|ms| CqlValue::Timestamp(CqlTimestamp(ms)))
        }
        (_, N::TinyInt) => i8::try_from(integer(column, row)?).ok().map(CqlValue::TinyInt),
        (_, N::SmallInt) => i16::try_from(integer(column, row)?).ok().map(CqlValue::SmallInt),
        (_, N::Int) => i32::try_from(integer(column, row)?).ok().map(CqlValue::Int),
        (_, N::BigInt) => i64::try_from(integer(column, row)?).ok().map(CqlValue::BigInt),
        _ => None,
    }
}

fn text(text: &str, has: &NativeType) -> Option<CqlValue> {
    match has {
        NativeType::Ascii => text.is_ascii().then(|| CqlValue::Ascii(text.to_owned())),
        NativeType::Uuid => text.parse().ok().map(CqlValue::Uuid),
        NativeType::Timeuuid => text.parse().ok().map(CqlValue::Timeuuid),
        _ => Some(CqlValue::Text(text.to_owned())),
    }
}

fn integer(column: &ArrayRef, row: usize) -> Option<i128> {
    Some(match column.data_type() {
        DataType::Int8 => column.as_primitive::<ty::Int8Type>().value(row).into(),
        DataType::Int16 => column.as_primitive::<ty::Int16Type>().value(row).into(),
        DataType::Int32 => column.as_primitive::<ty::Int32Type>().value(row).into(),
        DataType::Int64 => column.as_primitive::<ty::Int64Type>().value(row).into(),
        DataType::UInt8 => column.as_primitive::<ty::UInt8Type>().value(row).into(),
        DataType::UInt16 => column.as_primitive::<ty::UInt16Type>().value(row).into(),
        DataType::UInt32 => column.as_primitive::<ty::UInt32Type>().value(row).into(),
        DataType::UInt64 => column.as_primitive::<ty::UInt64Type>().value(row).into(),
        _ => return None,
    })
}

/// Whole ones alone: Cassandra has no others.
fn milliseconds(column: &ArrayRef, row: usize, unit: TimeUnit) -> Option<i64> {
    let whole = |count: i64, per_ms: i64| (count % per_ms == 0).then_some(count / per_ms);
    match unit {
        TimeUnit::Second => column.as_primitive::<ty::TimestampSecondType>().value(row).checked_mul(1000),
        TimeUnit::Millisecond => Some(column.as_primitive::<ty::TimestampMillisecondType>().value(row)),
        TimeUnit::Microsecond => whole(column.as_primitive::<ty::TimestampMicrosecondType>().value(row), 1000),
        TimeUnit::Nanosecond => whole(column.as_primitive::<ty::TimestampNanosecondType>().value(row), 1_000_000),
    }
}

/// A value as JSON, as the project's codec types it: decimals exactly, times in RFC 3339.
pub(super) fn json(value: CqlValue) -> Value {
    match value {
        CqlValue::Boolean(value) => value.into(),
        CqlValue::TinyInt(value) => value.into(),
        CqlValue::SmallInt(value) => value.into(),
        CqlValue::Int(value) => value.into(),
        CqlValue::BigInt(value) => value.into(),
        CqlValue::Counter(value) => value.0.into(),
        CqlValue::Float(value) => float(f64::from(value)),
        CqlValue::Double(value) => float(value),
        CqlValue::Ascii(text) | CqlValue::Text(text) => text.into(),
        CqlValue::Blob(bytes) => base64::engine::general_purpose::STANDARD.encode(bytes).into(),
        CqlValue::Uuid(uuid) => uuid.to_string().into(),
        CqlValue::Timeuuid(uuid) => uuid.to_string().into(),
        CqlValue::Inet(address) => address.to_string().into(),
        CqlValue::Varint(digits) => number(digits.as_signed_bytes_be_slice(), 0),
        CqlValue::Decimal(decimal) => {
            let (digits, scale) = decimal.as_signed_be_bytes_slice_and_exponent();
            number(digits, scale)
        }
        CqlValue::Date(CqlDate(days)) => day(i64::from(days) - DAYS_BEFORE_1970),
        CqlValue::Timestamp(CqlTimestamp(ms)) => match Timestamp::from_millisecond(ms) {
            Ok(moment) => moment.to_string().into(),
            Err(_) => format!("{ms} ms since 1970").into(),
        },
        CqlValue::Empty => Value::Null,
        // Refused when the statement was prepared.
        other => format!("{other:?}").into(),
    }
}

fn float(value: f64) -> Value {
    // JSON has no word for the others; the codec takes these.
    serde_json::Number::from_f64(value).map_or_else(|| value.to_string().into(), Value::Number)
}

fn day(days: i64) -> Value {
    match Span::new().try_days(days).and_then(|span| date(1970, 1, 1).checked_add(span)) {
        Ok(day) => day.to_string().into(),
        Err(_) => format!("{days} days since 1970").into(),
    }
}

/// A decimal of big-endian digits; too long a one stays what no column takes.
fn number(digits: &[u8], scale: i32) -> Value {
    let negative = digits.first().is_some_and(|first| first & 0x80 != 0);
    let digits: Vec<u8> = digits.iter().copied().skip_while(|byte| *byte == if negative { 0xff } else { 0 }).collect();
    if digits.len() > 15 {
        return "a number of more than 38 digits".into();
    }
    let unscaled = digits.iter().fold(if negative { -1_i128 } else { 0 }, |value, byte| value << 8 | i128::from(*byte));
    let text = unscaled.unsigned_abs().to_string();
    let sign = if unscaled < 0 { "-" } else { "" };
    if scale <= 0 {
        let zeros = usize::try_from(scale.unsigned_abs()).unwrap_or(usize::MAX);
        return match (unscaled, zeros) {
            (0, _) => "0".into(),
            (_, 0..=38) => format!("{sign}{text}{}", "0".repeat(zeros)).into(),
            _ => "a number of more than 38 digits".into(),
        };
    }
    let scale = scale.unsigned_abs() as usize;
    if scale > 76 {
        return "a number with more than 76 places".into();
    }
    let text = format!("{text:0>width$}", width = scale + 1);
    let (whole, fraction) = text.split_at(text.len() - scale);
    format!("{sign}{whole}.{fraction}").into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_written_exactly() {
        let number = |unscaled: i128, scale| super::number(&unscaled.to_be_bytes(), scale).as_str().unwrap().to_owned();
        assert_eq!(number(12345, 2), "123.45");
        assert_eq!(number(-5, 3), "-0.005");
        assert_eq!(number(-256, 0), "-256");
        assert_eq!(number(255, 0), "255");
        assert_eq!(number(0, 4), "0.0000");
        assert_eq!(number(7, -3), "7000");
        assert_eq!(number(-1, 0), "-1");
        assert_eq!(super::number(&[0x7f; 17], 0), "a number of more than 38 digits");
        assert_eq!(super::number(&[], 0), "0");
    }

    #[test]
    fn days_and_moments_are_written_as_the_codec_reads_them() {
        assert_eq!(json(CqlValue::Date(CqlDate(1 << 31))), "1970-01-01");
        assert_eq!(json(CqlValue::Date(CqlDate((1 << 31) - 1))), "1969-12-31");
        assert_eq!(json(CqlValue::Date(CqlDate(u32::MAX))), "2147483647 days since 1970");
        assert_eq!(json(CqlValue::Timestamp(CqlTimestamp(-1))), "1969-12-31T23:59:59.999Z");
        assert_eq!(json(CqlValue::Timestamp(CqlTimestamp(i64::MAX))), "9223372036854775807 ms since 1970");
        assert_eq!(json(CqlValue::Double(f64::NAN)), "NaN");
    }
}
