//! Column types, Arrow's and the contract's.
//!
//! Invariant: [`from_wire`] and [`fields_to_wire`] are inverse for every type that can cross; [`obstacle`] tells
//! those types from others, and buffers of no other type are ever lowered or lifted. A list's child is called `item`
//! here, whatever its guest calls it.

use std::sync::Arc;

use arrow_schema::{DECIMAL128_MAX_PRECISION, DataType, Field, FieldRef, Schema, TimeUnit};

use crate::limits::TYPE_DEPTH;
use crate::wire;

/// Why buffers of this type cannot cross, for people; `None` when they can.
pub(crate) fn obstacle(data_type: &DataType) -> Option<String> {
    obstacle_within(data_type, 0).map(Unfit::text)
}

fn obstacle_within(data_type: &DataType, depth: usize) -> Option<Unfit> {
    match data_type {
        DataType::List(_) | DataType::Struct(_) if depth >= TYPE_DEPTH => Some(too_deep()),
        DataType::List(item) => obstacle_within(item.data_type(), depth + 1).map(|unfit| unfit.within(ITEM)),
        DataType::Struct(fields) if fields.is_empty() => Some(without_fields()),
        DataType::Struct(fields) => fields
            .iter()
            .find_map(|field| obstacle_within(field.data_type(), depth + 1).map(|unfit| unfit.within(field.name()))),
        flat if flat_to_wire(flat).is_some() => None,
        other => Some(Unfit::here(format!("plugins cannot read or write {other}"))),
    }
}

/// Columns that a column of this type takes in the flat list that crosses: itself and everything in it.
pub(crate) fn columns_of(data_type: &DataType) -> usize {
    1 + match data_type {
        DataType::List(item) => columns_of(item.data_type()),
        DataType::Struct(fields) => fields.iter().map(|field| columns_of(field.data_type())).sum(),
        _ => 0,
    }
}

/// The input as `describe` is told it: flat and depth first. Columns of types that the contract has no word for
/// are left out: a plugin cannot read them, and they pass by it untouched.
pub(crate) fn fields_to_wire(schema: &Schema) -> Vec<wire::Field> {
    let mut fields = Vec::with_capacity(schema.fields().len());
    for field in schema.fields() {
        if obstacle(field.data_type()).is_none() {
            fields.append(&mut field_to_wire(field).expect("nothing keeps it from crossing"));
        }
    }
    fields
}

/// As [`fields_to_wire`], of a table's columns.
pub(crate) fn refs_to_wire(fields: &[FieldRef]) -> Vec<wire::Field> {
    let crossing = fields.iter().filter(|field| obstacle(field.data_type()).is_none());
    crossing.filter_map(|field| field_to_wire(field)).flatten().collect()
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

/// The name of every list's child.
pub(crate) const ITEM: &str = "item";

/// Why a type does not fit, and where in the column.
struct Unfit {
    /// Names from the column inwards; empty for the column itself.
    path: Vec<String>,
    message: String,
}

impl Unfit {
    fn here(message: String) -> Self {
        Self { path: Vec::new(), message }
    }

    fn within(mut self, name: &str) -> Self {
        self.path.insert(0, name.to_owned());
        self
    }

    fn text(self) -> String {
        if self.path.is_empty() { self.message } else { format!("in `{}`: {}", self.path.join("."), self.message) }
    }
}

fn too_deep() -> Unfit {
    Unfit::here(format!("lists and structs stand in each other at most {TYPE_DEPTH} deep"))
}

fn without_fields() -> Unfit {
    Unfit::here("a struct has at least one field".to_owned())
}

/// The first of these fields with everything in it, and the fields behind. Whether the children are all there is for
/// [`from_wire`] to say.
pub(crate) fn split_first(fields: &[wire::Field]) -> Option<(&[wire::Field], &[wire::Field])> {
    let (mut open, mut taken) = (1_u64, 0);
    while open > 0 && taken < fields.len() {
        open = open - 1 + u64::from(fields[taken].children);
        taken += 1;
    }
    (taken > 0).then(|| fields.split_at(taken))
}

/// The Arrow field that a plugin says it writes, and its children behind it.
///
/// # Errors
/// Why it cannot be written, for people.
pub(crate) fn from_wire(fields: &[wire::Field]) -> Result<FieldRef, String> {
    field_from_wire(&mut fields.iter(), 0).map_err(Unfit::text)
}

fn field_from_wire(fields: &mut std::slice::Iter<'_, wire::Field>, depth: usize) -> Result<FieldRef, Unfit> {
    let Some(field) = fields.next() else { return Err(Unfit::here("there is no such field".to_owned())) };
    let data_type = match field.data_type {
        wire::DataType::ListOf | wire::DataType::StructOf if depth >= TYPE_DEPTH => return Err(too_deep()),
        wire::DataType::ListOf => list_from_wire(field, fields, depth)?,
        wire::DataType::StructOf => struct_from_wire(field, fields, depth)?,
        _ if field.children != 0 => {
            return Err(Unfit::here(format!("a flat type cannot have {} children", field.children)));
        }
        ref flat => flat_from_wire(flat).map_err(Unfit::here)?,
    };
    Ok(Arc::new(Field::new(&field.name, data_type, field.nullable)))
}

fn list_from_wire(
    list: &wire::Field,
    fields: &mut std::slice::Iter<'_, wire::Field>,
    depth: usize,
) -> Result<DataType, Unfit> {
    if list.children != 1 {
        return Err(Unfit::here(format!("a list has one child, which its items are, not {}", list.children)));
    }
    let item = field_from_wire(fields, depth + 1).map_err(|unfit| unfit.within(ITEM))?;
    // What a guest calls it says nothing.
    Ok(DataType::List(Arc::new(Field::new_list_field(item.data_type().clone(), item.is_nullable()))))
}

fn struct_from_wire(
    structure: &wire::Field,
    fields: &mut std::slice::Iter<'_, wire::Field>,
    depth: usize,
) -> Result<DataType, Unfit> {
    if structure.children == 0 {
        return Err(without_fields());
    }
    let mut children: Vec<FieldRef> = Vec::new();
    for found in 0..structure.children {
        let Some(name) = fields.as_slice().first().map(|field| &field.name) else {
            return Err(Unfit::here(format!("{} fields are to be in it, there are {found}", structure.children)));
        };
        let child = field_from_wire(fields, depth + 1).map_err(|unfit| unfit.within(name))?;
        if name.is_empty() || children.iter().any(|other| other.name() == name) {
            let message = format!("it has a field {name:?}, a name that is empty or taken twice");
            return Err(Unfit::here(message));
        }
        children.push(child);
    }
    Ok(DataType::Struct(children.into()))
}

fn flat_from_wire(data_type: &wire::DataType) -> Result<DataType, String> {
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
        wire::DataType::ListOf | wire::DataType::StructOf => {
            unreachable!("lists and structs are made of their children")
        }
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
