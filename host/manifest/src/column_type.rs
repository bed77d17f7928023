//! Column types as manifests write them: `utf8!`, `timestamp(ms)`, `decimal(12, 2)`, `list(utf8!)`,
//! `struct(street utf8, zip utf8!)`.
//!
//! `!` behind a type: never null. A `timestamp(unit)` is an instant in UTC; another zone (an IANA name or an
//! offset) changes how it is shown, not which instant it is; `local` makes it a wall-clock time without zone.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use arrow_schema::{DataType, Field, TimeUnit};

use crate::scalar::text_scalar;

/// The type of a column and whether it may be null.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ColumnType {
    pub data_type: DataType,
    pub nullable: bool,
}

text_scalar!(
    ColumnType,
    "ColumnType",
    "column-type",
    r"^(bool|u?int(8|16|32|64)|float(32|64)|utf8|binary|date|timestamp\(\s*(s|ms|us|ns)\s*(,[^)]*)?\)|decimal\(\s*[0-9]+\s*,\s*[0-9]+\s*\)|(list|struct)\(.+\))\s*!?$",
    "bool, int8 to int64, uint8 to uint64, float32, float64, utf8, binary, date, timestamp(ms), timestamp(us, Europe/Vienna), decimal(12, 2), list(utf8), struct(street utf8, zip utf8!); a ! behind it: never null."
);

/// How deep lists and structs stand in each other.
pub const MAX_TYPE_DEPTH: usize = 8;

/// The most fields of one struct.
pub const MAX_STRUCT_FIELDS: usize = 64;

/// The largest precision of a 128-bit decimal.
pub const MAX_DECIMAL_PRECISION: u8 = 38;

const PLAIN_TYPES: [(&str, DataType); 14] = [
    ("bool", DataType::Boolean),
    ("int8", DataType::Int8),
    ("int16", DataType::Int16),
    ("int32", DataType::Int32),
    ("int64", DataType::Int64),
    ("uint8", DataType::UInt8),
    ("uint16", DataType::UInt16),
    ("uint32", DataType::UInt32),
    ("uint64", DataType::UInt64),
    ("float32", DataType::Float32),
    ("float64", DataType::Float64),
    ("utf8", DataType::Utf8),
    ("binary", DataType::Binary),
    ("date", DataType::Date32),
];

/// What people write who come from another system, and what it is called here.
const OTHER_NAMES: [(&str, &str); 18] = [
    ("string", "utf8"),
    ("text", "utf8"),
    ("varchar", "utf8"),
    ("str", "utf8"),
    ("boolean", "bool"),
    ("int", "int32"),
    ("integer", "int32"),
    ("long", "int64"),
    ("bigint", "int64"),
    ("smallint", "int16"),
    ("float", "float32"),
    ("real", "float32"),
    ("double", "float64"),
    ("bytes", "binary"),
    ("blob", "binary"),
    ("numeric", "decimal(p, s)"),
    ("datetime", "timestamp(ms)"),
    ("time", "timestamp(ms)"),
];

impl FromStr for ColumnType {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        part_type(text, 0)
    }
}

/// The type of a column, or of a part of one that `depth` lists and structs stand around.
fn part_type(text: &str, depth: usize) -> Result<ColumnType, String> {
    let trimmed = text.trim();
    let (type_text, nullable) = match trimmed.strip_suffix('!') {
        Some(type_text) => (type_text.trim_end(), false),
        None => (trimmed, true),
    };
    Ok(ColumnType { data_type: data_type(type_text, depth)?, nullable })
}

fn list(arguments: &str, depth: usize) -> Result<DataType, String> {
    let item = part_type(arguments, depth)?;
    Ok(DataType::List(Arc::new(Field::new_list_field(item.data_type, item.nullable))))
}

fn structure(arguments: &str, depth: usize) -> Result<DataType, String> {
    let parts = parts(arguments);
    if parts.len() > MAX_STRUCT_FIELDS {
        return Err(format!("a struct has at most {MAX_STRUCT_FIELDS} fields, not {}", parts.len()));
    }
    let mut fields: Vec<Field> = Vec::with_capacity(parts.len());
    for part in parts.into_iter().map(str::trim) {
        let (name, type_text) = part.split_once(char::is_whitespace).ok_or_else(|| {
            format!("`{part}` in a struct is no name and type, such as struct(street utf8, zip utf8!)")
        })?;
        if name.contains(['(', ')', '!', ':']) {
            return Err(format!("`{name}` is no name of a field; write struct(street utf8, zip utf8!)"));
        }
        if fields.iter().any(|field| field.name() == name) {
            return Err(format!("a struct has two fields `{name}`"));
        }
        let column = part_type(type_text, depth)?;
        fields.push(Field::new(name, column.data_type, column.nullable));
    }
    Ok(DataType::Struct(fields.into()))
}

/// Splits at the commas that no bracket is around.
fn parts(text: &str) -> Vec<&str> {
    let mut depth = 0_usize;
    let outside = |letter: char| {
        match letter {
            '(' => depth += 1,
            ')' => depth = depth.saturating_sub(1),
            _ => {}
        }
        letter == ',' && depth == 0
    };
    text.split(outside).collect()
}

fn data_type(text: &str, depth: usize) -> Result<DataType, String> {
    let (name, arguments) = match text.split_once('(') {
        None => (text, None),
        Some((name, rest)) => {
            let inside = rest.strip_suffix(')').ok_or_else(|| format!("`{text}` has no closing `)`"))?;
            (name.trim_end(), Some(inside))
        }
    };
    match (name, arguments) {
        ("timestamp", Some(arguments)) => timestamp(arguments),
        ("timestamp", None) => Err("timestamp needs its unit: timestamp(s), (ms), (us) or (ns)".to_owned()),
        ("decimal", Some(arguments)) => decimal(arguments),
        ("decimal", None) => Err("decimal needs precision and scale, such as decimal(12, 2)".to_owned()),
        ("list" | "struct", _) if depth >= MAX_TYPE_DEPTH => {
            Err(format!("lists and structs stand in each other at most {MAX_TYPE_DEPTH} deep"))
        }
        ("list", Some(arguments)) => list(arguments, depth + 1),
        ("list", None) => Err("list needs the type of its items: list(utf8)".to_owned()),
        ("struct", Some(arguments)) => structure(arguments, depth + 1),
        ("struct", None) => Err("struct needs its fields: struct(street utf8, zip utf8!)".to_owned()),
        ("array", _) => Err("no type `array`; it is called list(...) here".to_owned()),
        ("map", _) => Err("map columns are not in this version".to_owned()),
        (name, None) => plain(name),
        (name, Some(_)) => Err(match plain(name) {
            Ok(_) => format!("{name} takes no arguments"),
            Err(unknown) => unknown,
        }),
    }
}

fn plain(name: &str) -> Result<DataType, String> {
    if let Some((_, data_type)) = PLAIN_TYPES.into_iter().find(|(plain, _)| *plain == name) {
        return Ok(data_type);
    }
    let lower = name.to_ascii_lowercase();
    if let Some((_, here)) = OTHER_NAMES.into_iter().find(|(other, _)| *other == lower) {
        return Err(format!("no type `{name}`; it is called {here} here"));
    }
    let names = PLAIN_TYPES.iter().map(|(name, _)| *name).chain(["timestamp(ms)", "decimal(p, s)"]);
    Err(match crate::fault::nearest(name, names) {
        Some(near) => format!("no type `{name}`; did you mean `{near}`?"),
        None => format!(
            "no type `{name}`; there are bool, int8 to int64, uint8 to uint64, float32, float64, utf8, binary, date, timestamp(unit), decimal(p, s)"
        ),
    })
}

fn timestamp(arguments: &str) -> Result<DataType, String> {
    let (unit, zone) = match arguments.split_once(',') {
        Some((unit, zone)) => (unit.trim(), zone.trim()),
        None => (arguments.trim(), "UTC"),
    };
    let unit = match unit {
        "s" => TimeUnit::Second,
        "ms" => TimeUnit::Millisecond,
        "us" => TimeUnit::Microsecond,
        "ns" => TimeUnit::Nanosecond,
        other => return Err(format!("no time unit `{other}`; there are s, ms, us and ns")),
    };
    let zone: Option<Arc<str>> = match zone {
        "local" => None,
        zone if is_zone(zone) => Some(zone.into()),
        zone => {
            return Err(format!("no time zone `{zone}`; give an IANA name, an offset such as +02:00, UTC or local"));
        }
    };
    Ok(DataType::Timestamp(unit, zone))
}

fn is_zone(zone: &str) -> bool {
    let offset = || {
        let (hours, minutes) = zone.strip_prefix(['+', '-'])?.split_once(':')?;
        let in_range = |text: &str, end| text.len() == 2 && text.parse::<u8>().is_ok_and(|number| number < end);
        (in_range(hours, 24) && in_range(minutes, 60)).then_some(())
    };
    zone == "UTC" || offset().is_some() || jiff::tz::TimeZone::get(zone).is_ok()
}

fn decimal(arguments: &str) -> Result<DataType, String> {
    let number = |text: &str| text.trim().parse::<u8>().ok();
    let parts = arguments.split_once(',').and_then(|(p, s)| Some((number(p)?, number(s)?)));
    let (precision, scale) = parts
        .ok_or_else(|| format!("decimal({arguments}) is not decimal(precision, scale), such as decimal(12, 2)"))?;
    if precision == 0 || precision > MAX_DECIMAL_PRECISION || scale > precision {
        return Err(format!(
            "decimal({precision}, {scale}) is out of range: precision 1 to {MAX_DECIMAL_PRECISION}, scale 0 to precision"
        ));
    }
    Ok(DataType::Decimal128(precision, scale as i8))
}

/// The manifest's spelling of an Arrow type, for messages; types that manifests cannot write show as Arrow's.
pub fn type_text(data_type: &DataType) -> String {
    if let Some((name, _)) = PLAIN_TYPES.iter().find(|(_, plain)| plain == data_type) {
        return (*name).to_owned();
    }
    match data_type {
        DataType::Timestamp(unit, zone) => {
            let unit = match unit {
                TimeUnit::Second => "s",
                TimeUnit::Millisecond => "ms",
                TimeUnit::Microsecond => "us",
                TimeUnit::Nanosecond => "ns",
            };
            match zone.as_deref() {
                Some("UTC") => format!("timestamp({unit})"),
                Some(zone) => format!("timestamp({unit}, {zone})"),
                None => format!("timestamp({unit}, local)"),
            }
        }
        DataType::Decimal128(precision, scale) => format!("decimal({precision}, {scale})"),
        DataType::List(item) => format!("list({})", part_text(item)),
        DataType::Struct(fields) => {
            let fields = fields.iter().map(|field| format!("{} {}", field.name(), part_text(field)));
            format!("struct({})", fields.collect::<Vec<_>>().join(", "))
        }
        other => other.to_string(),
    }
}

fn part_text(field: &Field) -> String {
    format!("{}{}", type_text(field.data_type()), if field.is_nullable() { "" } else { "!" })
}

impl fmt::Display for ColumnType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", type_text(&self.data_type), if self.nullable { "" } else { "!" })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_type_shows_as_it_is_written() {
        let plain = PLAIN_TYPES.iter().map(|(name, _)| (*name).to_owned());
        let others = [
            "timestamp(ms)!",
            "timestamp(us, +02:00)",
            "timestamp(s, local)",
            "decimal(38, 38)!",
            "decimal(12, 2)",
            "list(utf8)",
            "list(list(decimal(4, 2)!))!",
            "struct(street utf8, zip utf8!)",
            "list(struct(at timestamp(ms, +02:00)!, lines list(struct(price decimal(12, 2)))!))",
        ];
        for text in plain.chain(others.map(str::to_owned)) {
            assert_eq!(text.parse::<ColumnType>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn a_timestamp_without_zone_is_an_instant_in_utc() {
        let column: ColumnType = "timestamp( ms )!".parse().unwrap();
        assert_eq!(column.data_type, DataType::Timestamp(TimeUnit::Millisecond, Some("UTC".into())));
        assert!(!column.nullable);
    }

    #[test]
    fn a_struct_has_a_limit_of_fields() {
        let fields = |count: usize| (0..count).map(|number| format!("f{number} bool")).collect::<Vec<_>>().join(", ");
        assert!(format!("struct({})", fields(MAX_STRUCT_FIELDS)).parse::<ColumnType>().is_ok());
        let refused = format!("struct({})", fields(MAX_STRUCT_FIELDS + 1)).parse::<ColumnType>().unwrap_err();
        assert_eq!(refused, "a struct has at most 64 fields, not 65");
    }

    #[test]
    fn a_refused_type_says_what_to_write() {
        for (text, message) in [
            ("string", "no type `string`; it is called utf8 here"),
            ("utf-8", "no type `utf-8`; did you mean `utf8`?"),
            ("timestamp", "timestamp needs its unit: timestamp(s), (ms), (us) or (ns)"),
            ("timestamp(min)", "no time unit `min`; there are s, ms, us and ns"),
            (
                "timestamp(ms, Mars/Olympus)",
                "no time zone `Mars/Olympus`; give an IANA name, an offset such as +02:00, UTC or local",
            ),
            ("decimal(12)", "decimal(12) is not decimal(precision, scale), such as decimal(12, 2)"),
            ("decimal(39, 2)", "decimal(39, 2) is out of range: precision 1 to 38, scale 0 to precision"),
            ("decimal(4, 5)", "decimal(4, 5) is out of range: precision 1 to 38, scale 0 to precision"),
            ("list", "list needs the type of its items: list(utf8)"),
            ("list(string)", "no type `string`; it is called utf8 here"),
            ("struct(a)", "`a` in a struct is no name and type, such as struct(street utf8, zip utf8!)"),
            ("struct(a: utf8)", "`a:` is no name of a field; write struct(street utf8, zip utf8!)"),
            ("struct(a utf8, a bool)", "a struct has two fields `a`"),
            ("map(utf8, utf8)", "map columns are not in this version"),
            (
                "list(list(list(list(list(list(list(list(list(bool)))))))))",
                "lists and structs stand in each other at most 8 deep",
            ),
            ("utf8(10)", "utf8 takes no arguments"),
            ("decimal(12", "`decimal(12` has no closing `)`"),
        ] {
            assert_eq!(text.parse::<ColumnType>().unwrap_err(), message, "{text}");
        }
    }
}
