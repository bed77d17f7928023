//! Arrow columns as PostgreSQL arrays in the binary format, exact: no value goes through text or a float.
//!
//! PostgreSQL counts days and microseconds from 2000-01-01 and numerics in digits of base 10 000 (`numeric_recv`).

use arrow_array::cast::AsArray;
use arrow_array::types::{
    Date32Type, Decimal128Type, Float32Type, Float64Type, Int8Type, Int16Type, Int32Type, Int64Type, UInt8Type,
    UInt16Type, UInt32Type, UInt64Type,
};
use arrow_array::{Array, ArrayRef};
use arrow_schema::{DataType, TimeUnit};
use sqlx::encode::IsNull;
use sqlx::error::BoxDynError;
use sqlx::postgres::types::Oid;
use sqlx::postgres::{PgArgumentBuffer, PgArguments, PgHasArrayType, PgTypeInfo, Postgres};
use sqlx::{Arguments, Encode, Type};

use crate::row;

const DAYS_TO_2000: i32 = 10_957;
const US_TO_2000: i64 = 946_684_800_000_000;

/// Days since 2000 that a `date` holds: 4713 BC to 5874897 AD.
const DATES: std::ops::Range<i32> = -2_451_545..2_145_031_949;
/// Microseconds since 2000 that a `timestamp` holds: 4713 BC to 294276 AD.
const TIMESTAMPS: std::ops::Range<i64> = -211_813_488_000_000_000..9_223_371_331_200_000_000;

/// The column type of the table in [`crate::sql`]; `None`: not supported.
pub(super) fn sql_type(data_type: &DataType) -> Option<String> {
    let name = match data_type {
        DataType::Boolean => "boolean",
        DataType::Int8 | DataType::Int16 | DataType::UInt8 => "smallint",
        DataType::Int32 | DataType::UInt16 => "integer",
        DataType::Int64 | DataType::UInt32 => "bigint",
        DataType::UInt64 => "numeric(20, 0)",
        DataType::Float32 => "real",
        DataType::Float64 => "double precision",
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => "text",
        DataType::Binary | DataType::LargeBinary | DataType::BinaryView => "bytea",
        DataType::Decimal128(precision, scale) if *scale >= 0 => return Some(format!("numeric({precision}, {scale})")),
        DataType::Date32 => "date",
        DataType::Timestamp(TimeUnit::Nanosecond, _) => return None,
        DataType::Timestamp(_, Some(_)) => "timestamptz",
        DataType::Timestamp(_, None) => "timestamp",
        _ => return None,
    };
    Some(name.to_owned())
}

/// The type that a column has once [`super::Table::normalise`] has seen it.
pub(super) fn plain_type(data_type: &DataType) -> DataType {
    match data_type {
        DataType::LargeUtf8 | DataType::Utf8View => DataType::Utf8,
        DataType::LargeBinary | DataType::BinaryView => DataType::Binary,
        other => other.clone(),
    }
}

/// A value that PostgreSQL has no room for.
pub(super) fn unfit(column: &dyn Array, row: usize) -> Option<(&'static str, String)> {
    match column.data_type() {
        DataType::Utf8 => {
            let nul = memchr::memchr(0, column.as_string::<i32>().value(row).as_bytes())?;
            Some(("sql-text-nul", format!("PostgreSQL text cannot hold the NUL at byte {nul}")))
        }
        DataType::Date32 => {
            let days = column.as_primitive::<Date32Type>().value(row).checked_sub(DAYS_TO_2000);
            let out = days.is_none_or(|days| !DATES.contains(&days));
            out.then(|| ("sql-range", "the date is outside of 4713 BC to 5874897 AD".to_owned()))
        }
        DataType::Timestamp(..) => {
            let out = us_since_2000(column, row).is_none_or(|time| !TIMESTAMPS.contains(&time));
            out.then(|| ("sql-range", "the timestamp is outside of 4713 BC to 294276 AD".to_owned()))
        }
        _ => None,
    }
}

pub(super) fn may_be_unfit(column: &dyn Array) -> bool {
    match column.data_type() {
        DataType::Utf8 => memchr::memchr(0, column.as_string::<i32>().values()).is_some(),
        DataType::Date32 | DataType::Timestamp(..) => {
            (0..column.len()).any(|row| column.is_valid(row) && unfit(column, row).is_some())
        }
        _ => false,
    }
}

fn us_since_2000(column: &dyn Array, row: usize) -> Option<i64> {
    let (value, unit) = row::timestamp(column, row)?;
    let us = match unit {
        TimeUnit::Second => value.checked_mul(1_000_000)?,
        TimeUnit::Millisecond => value.checked_mul(1_000)?,
        TimeUnit::Microsecond => value,
        TimeUnit::Nanosecond => return None,
    };
    us.checked_sub(US_TO_2000)
}

/// Adds the named rows of a column as one array.
///
/// # Errors
/// When the type is none that [`sql_type`] knows, or the array is longer than the protocol can say.
pub(super) fn add(arguments: &mut PgArguments, column: &ArrayRef, rows: &[u32]) -> Result<(), BoxDynError> {
    macro_rules! integers {
        ($arrow:ty, $sql:ty) => {{
            let array = column.as_primitive::<$arrow>();
            arguments.add(pick(array, rows, |row| <$sql>::from(array.value(row))))
        }};
    }
    match column.data_type() {
        DataType::Boolean => arguments.add(pick(column, rows, |row| column.as_boolean().value(row))),
        DataType::Int8 => integers!(Int8Type, i16),
        DataType::Int16 => integers!(Int16Type, i16),
        DataType::UInt8 => integers!(UInt8Type, i16),
        DataType::Int32 => integers!(Int32Type, i32),
        DataType::UInt16 => integers!(UInt16Type, i32),
        DataType::Int64 => integers!(Int64Type, i64),
        DataType::UInt32 => integers!(UInt32Type, i64),
        DataType::Float32 => integers!(Float32Type, f32),
        DataType::Float64 => integers!(Float64Type, f64),
        DataType::UInt64 => {
            let array = column.as_primitive::<UInt64Type>();
            arguments.add(pick(array, rows, |row| Numeric { unscaled: array.value(row).into(), scale: 0 }))
        }
        DataType::Decimal128(_, scale) => {
            let array = column.as_primitive::<Decimal128Type>();
            let scale = u8::try_from(*scale)?;
            arguments.add(pick(array, rows, |row| Numeric { unscaled: array.value(row), scale }))
        }
        DataType::Utf8 => {
            let array = column.as_string::<i32>();
            arguments.add(pick(array, rows, |row| array.value(row)))
        }
        DataType::Binary => {
            let array = column.as_binary::<i32>();
            arguments.add(pick(array, rows, |row| array.value(row)))
        }
        DataType::Date32 => {
            let array = column.as_primitive::<Date32Type>();
            arguments.add(pick(array, rows, |row| Date(array.value(row).wrapping_sub(DAYS_TO_2000))))
        }
        DataType::Timestamp(_, zone) => {
            let time = |row| us_since_2000(column, row).unwrap_or(i64::MAX);
            match zone {
                Some(_) => arguments.add(pick(column, rows, |row| TimestampTz(time(row)))),
                None => arguments.add(pick(column, rows, |row| Timestamp(time(row)))),
            }
        }
        other => Err(format!("type {other} is not supported").into()),
    }
}

fn pick<T>(array: &dyn Array, rows: &[u32], value: impl Fn(usize) -> T) -> Vec<Option<T>> {
    rows.iter().map(|row| *row as usize).map(|row| array.is_valid(row).then(|| value(row))).collect()
}

/// A PostgreSQL type by its numbers in `pg_type`, with the way its bytes are written.
macro_rules! binary_type {
    ($name:ident, $oid:literal, $array_oid:literal, |$self:ident, $buffer:ident| $write:expr) => {
        impl Type<Postgres> for $name {
            fn type_info() -> PgTypeInfo {
                PgTypeInfo::with_oid(Oid($oid))
            }
        }

        impl PgHasArrayType for $name {
            fn array_type_info() -> PgTypeInfo {
                PgTypeInfo::with_oid(Oid($array_oid))
            }
        }

        impl Encode<'_, Postgres> for $name {
            fn encode_by_ref(&self, $buffer: &mut PgArgumentBuffer) -> Result<IsNull, BoxDynError> {
                let $self = self;
                $write;
                Ok(IsNull::No)
            }
        }
    };
}

/// Days since 2000.
struct Date(i32);
binary_type!(Date, 1082, 1182, |date, buffer| buffer.extend_from_slice(&date.0.to_be_bytes()));

/// Microseconds since 2000, without zone.
struct Timestamp(i64);
binary_type!(Timestamp, 1114, 1115, |time, buffer| buffer.extend_from_slice(&time.0.to_be_bytes()));

/// Microseconds since 2000, UTC.
struct TimestampTz(i64);
binary_type!(TimestampTz, 1184, 1185, |time, buffer| buffer.extend_from_slice(&time.0.to_be_bytes()));

/// `unscaled * 10^-scale`.
struct Numeric {
    unscaled: i128,
    scale: u8,
}
binary_type!(Numeric, 1700, 1231, |numeric, buffer| {
    let (digits, weight) = numeric.digits();
    let sign: u16 = if numeric.unscaled < 0 { 0x4000 } else { 0 };
    buffer.extend_from_slice(&(digits.len() as u16).to_be_bytes());
    buffer.extend_from_slice(&weight.to_be_bytes());
    buffer.extend_from_slice(&sign.to_be_bytes());
    buffer.extend_from_slice(&u16::from(numeric.scale).to_be_bytes());
    digits.iter().for_each(|digit| buffer.extend_from_slice(&digit.to_be_bytes()));
});

impl Numeric {
    /// Digits of base 10 000, highest first, and the power of the first.
    fn digits(&self) -> (Vec<i16>, i16) {
        let value = self.unscaled.unsigned_abs();
        let unit = 10_u128.checked_pow(u32::from(self.scale)).unwrap_or(u128::MAX);
        let (mut whole, mut part) = (value / unit, value % unit);
        let mut digits = Vec::with_capacity(20);
        while whole > 0 {
            digits.push((whole % 10_000) as i16);
            whole /= 10_000;
        }
        digits.reverse();
        let weight = digits.len() as i16 - 1;
        let mut left = u32::from(self.scale);
        while left > 0 {
            let digit = if left >= 4 {
                let below = 10_u128.pow(left - 4);
                let digit = part / below;
                part %= below;
                digit
            } else {
                part * 10_u128.pow(4 - left)
            };
            digits.push(digit as i16);
            left = left.saturating_sub(4);
        }
        (digits, weight)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numerics_are_cut_into_digits_of_ten_thousand() {
        let digits = |unscaled, scale| Numeric { unscaled, scale }.digits();
        assert_eq!(digits(0, 0), (vec![], -1));
        assert_eq!(digits(1_700, 2), (vec![17, 0], 0));
        assert_eq!(digits(-123_456_789, 2), (vec![123, 4567, 8900], 1));
        assert_eq!(digits(5, 5), (vec![0, 5000], -1));
        assert_eq!(digits(10_i128.pow(38) - 1, 38).0, [vec![9999; 9], vec![9900]].concat());
        assert_eq!(digits(10_i128.pow(38) - 1, 0).0, [vec![99], vec![9999; 9]].concat());
    }
}
