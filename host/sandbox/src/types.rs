//! Column types, Arrow's and the contract's.
//!
//! Invariant: [`from_wire`] and [`fields_to_wire`] are inverse for every type that can cross; [`crosses`] names
//! those types, and buffers of no other type are ever lowered or lifted.

use std::sync::Arc;

use arrow_schema::{DECIMAL128_MAX_PRECISION, DataType, Field, FieldRef, Schema, TimeUnit};

use crate::wire;

/// Whether buffers of this type cross in this version.
pub(crate) fn crosses(data_type: &DataType) -> bool {
    flat_to_wire(data_type).is_some()
}

/// The input as `describe` is told it: flat and depth first. Columns of types that the contract has no word for
/// are left out: a plugin cannot read them, and they pass by it untouched.
pub(crate) fn fields_to_wire(schema: &Schema) -> Vec<wire::Field> {
    let mut fields = Vec::with_capacity(schema.fields().len());
    for field in schema.fields() {
        if let Some(mut flattened) = field_to_wire(field) {
            fields.append(&mut flattened);
        }
    }
    fields
}

/// A field and, behind it, its children; `None` when the contract has no word for one of them.
fn field_to_wire(field: &Field) -> Option<Vec<wire::Field>> {
    let (data_type, children): (_, Vec<&FieldRef>) = match field.data_type() {
        DataType::List(item) => (wire::DataType::ListOf, vec![item]),
        DataType::Struct(fields) => (wire::DataType::StructOf, fields.iter().collect()),
        flat => (flat_to_wire(flat)?, Vec::new()),
    };
    let count = children.len() as u32;
    let mut fields =
        vec![wire::Field { name: field.name().clone(), data_type, nullable: field.is_nullable(), children: count }];
    for child in children {
        fields.append(&mut field_to_wire(child)?);
    }
    Some(fields)
}

fn flat_to_wire(data_type: &DataType) -> Option<wire::DataType> {
    Some(match data_type {
        DataType::Boolean => wire::DataType::Boolean,
        DataType::Int8 => wire::DataType::Int8,
        DataType::Int16 => wire::DataType::Int16,
        DataType::Int32 => wire::DataType::Int32,
        DataType::Int64 => wire::DataType::Int64,
        DataType::UInt8 => wire::DataType::Uint8,
        DataType::UInt16 => wire::DataType::Uint16,
        DataType::UInt32 => wire::DataType::Uint32,
        DataType::UInt64 => wire::DataType::Uint64,
        DataType::Float32 => wire::DataType::Float32,
        DataType::Float64 => wire::DataType::Float64,
        DataType::Utf8 => wire::DataType::Utf8,
        DataType::Binary => wire::DataType::Binary,
        DataType::Date32 => wire::DataType::Date,
        DataType::Timestamp(unit, zone) => wire::DataType::Timestamp(wire::TimestampType {
            unit: match unit {
                TimeUnit::Second => wire::TimeUnit::Second,
                TimeUnit::Millisecond => wire::TimeUnit::Millisecond,
                TimeUnit::Microsecond => wire::TimeUnit::Microsecond,
                TimeUnit::Nanosecond => wire::TimeUnit::Nanosecond,
            },
            zone: zone.as_ref().map(ToString::to_string),
        }),
        DataType::Decimal128(precision, scale) => {
            wire::DataType::Decimal128(wire::DecimalType { precision: *precision, scale: *scale })
        }
        _ => return None,
    })
}

/// The Arrow field that a plugin says it writes.
///
/// # Errors
/// Why it cannot be written, for people.
pub(crate) fn from_wire(field: &wire::Field) -> Result<FieldRef, String> {
    let data_type = data_type_from_wire(&field.data_type)?;
    if field.children != 0 {
        return Err(format!("a flat type cannot have {} children", field.children));
    }
    Ok(Arc::new(Field::new(&field.name, data_type, field.nullable)))
}

fn data_type_from_wire(data_type: &wire::DataType) -> Result<DataType, String> {
    Ok(match data_type {
        wire::DataType::Boolean => DataType::Boolean,
        wire::DataType::Int8 => DataType::Int8,
        wire::DataType::Int16 => DataType::Int16,
        wire::DataType::Int32 => DataType::Int32,
        wire::DataType::Int64 => DataType::Int64,
        wire::DataType::Uint8 => DataType::UInt8,
        wire::DataType::Uint16 => DataType::UInt16,
        wire::DataType::Uint32 => DataType::UInt32,
        wire::DataType::Uint64 => DataType::UInt64,
        wire::DataType::Float32 => DataType::Float32,
        wire::DataType::Float64 => DataType::Float64,
        wire::DataType::Utf8 => DataType::Utf8,
        wire::DataType::Binary => DataType::Binary,
        wire::DataType::Date => DataType::Date32,
        wire::DataType::Timestamp(timestamp) => timestamp_from_wire(timestamp)?,
        wire::DataType::Decimal128(decimal) => decimal_from_wire(*decimal)?,
        wire::DataType::ListOf => return Err(later("list")),
        wire::DataType::StructOf => return Err(later("struct")),
    })
}

fn timestamp_from_wire(timestamp: &wire::TimestampType) -> Result<DataType, String> {
    let unit = match timestamp.unit {
        wire::TimeUnit::Second => TimeUnit::Second,
        wire::TimeUnit::Millisecond => TimeUnit::Millisecond,
        wire::TimeUnit::Microsecond => TimeUnit::Microsecond,
        wire::TimeUnit::Nanosecond => TimeUnit::Nanosecond,
    };
    match timestamp.zone.as_deref() {
        Some("") => Err("a timestamp's zone cannot be empty; leave it out for a time without zone".into()),
        zone => Ok(DataType::Timestamp(unit, zone.map(Into::into))),
    }
}

fn decimal_from_wire(wire::DecimalType { precision, scale }: wire::DecimalType) -> Result<DataType, String> {
    if !(1..=DECIMAL128_MAX_PRECISION).contains(&precision) || scale.unsigned_abs() > precision {
        return Err(format!("decimal({precision}, {scale}) is out of range: precision 1 to 38, scale within it"));
    }
    Ok(DataType::Decimal128(precision, scale))
}

/// Why a type cannot cross, for people.
pub(crate) fn refusal(data_type: &DataType) -> String {
    match data_type {
        DataType::List(_) => later("list"),
        DataType::Struct(_) => later("struct"),
        other => format!("plugins cannot read or write {other}"),
    }
}

fn later(kind: &str) -> String {
    format!("{kind} columns cannot enter or leave a plugin in weir:plugin 0.1; a later version will pass them")
}
