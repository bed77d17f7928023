//! Column types in words: as manifests write them and as messages name them.

use crate::time::Unit;
use crate::wit::{DataType, DecimalType, TimeUnit, TimestampType};

impl From<TimeUnit> for Unit {
    fn from(unit: TimeUnit) -> Self {
        match unit {
            TimeUnit::Second => Self::Second,
            TimeUnit::Millisecond => Self::Millisecond,
            TimeUnit::Microsecond => Self::Microsecond,
            TimeUnit::Nanosecond => Self::Nanosecond,
        }
    }
}

impl From<Unit> for TimeUnit {
    fn from(unit: Unit) -> Self {
        match unit {
            Unit::Second => Self::Second,
            Unit::Millisecond => Self::Millisecond,
            Unit::Microsecond => Self::Microsecond,
            Unit::Nanosecond => Self::Nanosecond,
        }
    }
}

/// A type as manifests write it: `decimal(12, 2)`, `timestamp(ms)`.
pub fn type_name(data_type: &DataType) -> String {
    match data_type {
        DataType::Timestamp(TimestampType { unit, zone }) => {
            let unit = Unit::from(*unit).name();
            match zone.as_deref() {
                Some("UTC") => format!("timestamp({unit})"),
                zone => format!("timestamp({unit}, {})", zone.unwrap_or("local")),
            }
        }
        DataType::Decimal128(DecimalType { precision, scale }) => format!("decimal({precision}, {scale})"),
        simple => SIMPLE_TYPES.iter().find(|(_, data_type)| data_type == simple).map_or("?", |(name, _)| name).into(),
    }
}

/// The types without parameters.
pub(crate) const SIMPLE_TYPES: [(&str, DataType); 16] = [
    ("bool", DataType::Boolean),
    ("int8", DataType::Int8),
    ("int16", DataType::Int16),
    ("int32", DataType::Int32),
    ("int64", DataType::Int64),
    ("uint8", DataType::Uint8),
    ("uint16", DataType::Uint16),
    ("uint32", DataType::Uint32),
    ("uint64", DataType::Uint64),
    ("float32", DataType::Float32),
    ("float64", DataType::Float64),
    ("utf8", DataType::Utf8),
    ("binary", DataType::Binary),
    ("date", DataType::Date),
    ("list", DataType::ListOf),
    ("struct", DataType::StructOf),
];
