//! Values of a row as text and as JSON: for rejects, which are read by people, and for targets without exact types.
//!
//! Exact: decimals keep all their digits, times their unit's. Not a codec: nothing reads it back.

use arrow_array::cast::AsArray;
use arrow_array::types::{
    Date32Type, Decimal128Type, DecimalType, Float32Type, Float64Type, Int8Type, Int16Type, Int32Type, Int64Type,
    TimestampMicrosecondType, TimestampMillisecondType, TimestampNanosecondType, TimestampSecondType, UInt8Type,
    UInt16Type, UInt32Type, UInt64Type,
};
use arrow_array::{Array, RecordBatch};
use arrow_schema::{DataType, TimeUnit};
use serde_json::{Map, Value, json};

/// One row as a JSON object: numbers as numbers, decimals and times as strings, binary as `{"hex": "..."}`.
pub(crate) fn json(rows: &RecordBatch, row: usize) -> Vec<u8> {
    let schema = rows.schema();
    let fields = schema.fields().iter().zip(rows.columns());
    let object: Map<String, Value> = fields.map(|(field, column)| (field.name().clone(), value(column, row))).collect();
    Value::Object(object).to_string().into_bytes()
}

fn value(column: &dyn Array, row: usize) -> Value {
    if column.is_null(row) {
        return Value::Null;
    }
    match column.data_type() {
        DataType::Boolean => json!(column.as_boolean().value(row)),
        DataType::UInt64 => json!(column.as_primitive::<UInt64Type>().value(row)),
        DataType::Float32 => float(f64::from(column.as_primitive::<Float32Type>().value(row))),
        DataType::Float64 => float(column.as_primitive::<Float64Type>().value(row)),
        DataType::Utf8 => json!(column.as_string::<i32>().value(row)),
        DataType::Binary => json!({ "hex": hex(column.as_binary::<i32>().value(row)) }),
        _ => match integer(column, row) {
            Some(value) => json!(value),
            None => json!(exact_text(column, row).unwrap_or_else(|| raw_text(column, row))),
        },
    }
}

fn float(value: f64) -> Value {
    if value.is_finite() { json!(value) } else { json!(value.to_string()) }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The value of an integer column of up to 63 bits and a sign.
pub(crate) fn integer(column: &dyn Array, row: usize) -> Option<i64> {
    Some(match column.data_type() {
        DataType::Int8 => column.as_primitive::<Int8Type>().value(row).into(),
        DataType::Int16 => column.as_primitive::<Int16Type>().value(row).into(),
        DataType::Int32 => column.as_primitive::<Int32Type>().value(row).into(),
        DataType::Int64 => column.as_primitive::<Int64Type>().value(row),
        DataType::UInt8 => column.as_primitive::<UInt8Type>().value(row).into(),
        DataType::UInt16 => column.as_primitive::<UInt16Type>().value(row).into(),
        DataType::UInt32 => column.as_primitive::<UInt32Type>().value(row).into(),
        _ => return None,
    })
}

/// The value of a timestamp column as it is stored, in its own unit.
pub(crate) fn timestamp(column: &dyn Array, row: usize) -> Option<(i64, TimeUnit)> {
    let DataType::Timestamp(unit, _) = column.data_type() else { return None };
    let value = match unit {
        TimeUnit::Second => column.as_primitive::<TimestampSecondType>().value(row),
        TimeUnit::Millisecond => column.as_primitive::<TimestampMillisecondType>().value(row),
        TimeUnit::Microsecond => column.as_primitive::<TimestampMicrosecondType>().value(row),
        TimeUnit::Nanosecond => column.as_primitive::<TimestampNanosecondType>().value(row),
    };
    Some((value, *unit))
}

/// Decimals, dates and times as text that says exactly what is stored; `None` for other types, and for days outside
/// the years -9999 to 9999.
pub(crate) fn exact_text(column: &dyn Array, row: usize) -> Option<String> {
    match column.data_type() {
        DataType::Decimal128(precision, scale) => {
            let value = column.as_primitive::<Decimal128Type>().value(row);
            Some(Decimal128Type::format_decimal(value, *precision, *scale))
        }
        DataType::Date32 => {
            let days = i64::from(column.as_primitive::<Date32Type>().value(row));
            let epoch = jiff::civil::date(1970, 1, 1);
            epoch.checked_add(jiff::Span::new().try_days(days).ok()?).ok().map(|date| date.to_string())
        }
        DataType::Timestamp(_, zone) => {
            let (value, unit) = timestamp(column, row)?;
            let text = match unit {
                TimeUnit::Second => format!("{:.0}", jiff::Timestamp::from_second(value).ok()?),
                TimeUnit::Millisecond => format!("{:.3}", jiff::Timestamp::from_millisecond(value).ok()?),
                TimeUnit::Microsecond => format!("{:.6}", jiff::Timestamp::from_microsecond(value).ok()?),
                TimeUnit::Nanosecond => format!("{:.9}", jiff::Timestamp::from_nanosecond(value.into()).ok()?),
            };
            Some(if zone.is_some() { text } else { text.trim_end_matches('Z').to_owned() })
        }
        _ => None,
    }
}

/// For what no other form fits: the number as it is stored.
fn raw_text(column: &dyn Array, row: usize) -> String {
    match column.data_type() {
        DataType::Date32 => format!("day {}", column.as_primitive::<Date32Type>().value(row)),
        other => match timestamp(column, row) {
            Some((value, unit)) => format!("{value} {unit:?}s"),
            None => format!("a value of type {other}"),
        },
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow_array::*;
    use arrow_schema::{Field, Schema};

    use super::*;

    #[test]
    fn a_row_is_told_exactly() {
        let columns: Vec<(&str, ArrayRef)> = vec![
            ("text", Arc::new(StringArray::from(vec![Some("a\"\u{0}b")]))),
            ("bytes", Arc::new(BinaryArray::from(vec![b"\xff\x00".as_slice()]))),
            ("big", Arc::new(UInt64Array::from(vec![u64::MAX]))),
            ("nan", Arc::new(Float64Array::from(vec![f64::NAN]))),
            ("price", Arc::new(Decimal128Array::from(vec![-5]).with_precision_and_scale(38, 20).unwrap())),
            ("day", Arc::new(Date32Array::from(vec![-1]))),
            ("far", Arc::new(Date32Array::from(vec![i32::MAX]))),
            ("at", Arc::new(TimestampMillisecondArray::from(vec![1_772_359_200_120]).with_timezone("UTC"))),
            ("wall", Arc::new(TimestampSecondArray::from(vec![0]))),
            ("never", Arc::new(TimestampMicrosecondArray::from(vec![i64::MAX]))),
            ("none", Arc::new(Int8Array::from(vec![None]))),
        ];
        let fields = columns.iter().map(|(name, column)| Field::new(*name, column.data_type().clone(), true));
        let schema = Arc::new(Schema::new(fields.collect::<Vec<_>>()));
        let rows = RecordBatch::try_new(schema, columns.into_iter().map(|(_, column)| column).collect()).unwrap();
        let found: Value = serde_json::from_slice(&json(&rows, 0)).unwrap();
        let expected = json!({
            "text": "a\"\u{0}b", "bytes": { "hex": "ff00" }, "big": u64::MAX, "nan": "NaN",
            "price": "-0.00000000000000000005", "day": "1969-12-31", "far": "day 2147483647",
            "at": "2026-03-01T10:00:00.120Z", "wall": "1970-01-01T00:00:00",
            "never": "9223372036854775807 Microseconds", "none": null
        });
        assert_eq!(found, expected);
    }
}
