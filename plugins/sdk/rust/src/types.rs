//! Column types with what is in them, and in words: as manifests write them and as messages name them.

use crate::time::Unit;
use crate::wit::{DataType, DecimalType, Field, TimeUnit, TimestampType};

/// The name of every list's child.
pub const ITEM: &str = "item";

/// A column's type, with what is in it: the item of a list, the fields of a struct.
#[derive(Debug, Clone, PartialEq)]
pub struct Type {
    pub data_type: DataType,
    pub children: Vec<Part>,
}

/// A column, or a field in one.
#[derive(Debug, Clone, PartialEq)]
pub struct Part {
    pub name: String,
    pub nullable: bool,
    pub of: Type,
}

impl From<DataType> for Type {
    fn from(data_type: DataType) -> Self {
        Self { data_type, children: Vec::new() }
    }
}

impl Type {
    /// A list of such items.
    pub fn list(nullable: bool, item: Self) -> Self {
        Self { data_type: DataType::ListOf, children: vec![Part { name: ITEM.into(), nullable, of: item }] }
    }

    pub fn structure(fields: Vec<Part>) -> Self {
        Self { data_type: DataType::StructOf, children: fields }
    }

    pub fn child(&self, name: &str) -> Option<&Part> {
        self.children.iter().find(|child| child.name == name)
    }
}

impl Part {
    /// A schema's columns, whose fields are listed depth first.
    pub fn of_schema(fields: &[Field]) -> Vec<Self> {
        let mut fields = fields.iter();
        std::iter::from_fn(|| Self::next(&mut fields)).collect()
    }

    fn next(fields: &mut std::slice::Iter<'_, Field>) -> Option<Self> {
        let Field { name, data_type, nullable, children } = fields.next()?.clone();
        let children = (0..children).map_while(|_| Self::next(fields)).collect();
        Some(Self { name, nullable, of: Type { data_type, children } })
    }

    /// Lists it as a schema does.
    pub fn list_into(&self, fields: &mut Vec<Field>) {
        let Self { name, nullable, of: Type { data_type, children } } = self;
        let (name, data_type, count) = (name.clone(), data_type.clone(), children.len() as u32);
        fields.push(Field { name, data_type, nullable: *nullable, children: count });
        children.iter().for_each(|child| child.list_into(fields));
    }
}

/// Why a column does not fit, and where in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unfit {
    /// From the column inwards; empty for the column itself.
    path: Vec<String>,
    message: String,
}

impl Unfit {
    pub fn here(message: impl Into<String>) -> Self {
        Self { path: Vec::new(), message: message.into() }
    }

    pub fn within(mut self, name: &str) -> Self {
        self.path.insert(0, name.into());
        self
    }

    /// To stand behind the column's name.
    pub fn text(&self) -> String {
        if self.path.is_empty() { self.message.clone() } else { format!("`{}` {}", self.path.join("."), self.message) }
    }
}

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
pub fn type_name(of: &Type) -> String {
    let part = |part: &Part| format!("{}{}", type_name(&part.of), if part.nullable { "" } else { "!" });
    match &of.data_type {
        DataType::ListOf => format!("list({})", of.children.iter().map(part).collect::<String>()),
        DataType::StructOf => {
            let fields: Vec<String> =
                of.children.iter().map(|field| format!("{} {}", field.name, part(field))).collect();
            format!("struct({})", fields.join(", "))
        }
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
pub(crate) const SIMPLE_TYPES: [(&str, DataType); 14] = [
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
];
