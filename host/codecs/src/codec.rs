//! The two traits of this crate, what they return and how they fail.
//!
//! Decoding never fails as a whole: what is wrong with a record is a reject of that record. Only building a codec
//! for a schema that it cannot serve, or encoding a batch of another schema, is an error.

use std::ops::Range;
use std::sync::Arc;

use arrow_array::RecordBatch;
use arrow_schema::{DataType, Field, SchemaRef};
use weir_stream::{PayloadBuilder, Rejects, SourceRecords};

/// The most payload bytes that one call of [`Decoder::decode`] takes: a column's offsets are `i32`.
pub const MAX_DECODE_BYTES: usize = i32::MAX as usize;

/// Codes of decoder rejects. They are stable: dead letters, metrics and dashboards name them.
pub mod reject_code {
    /// The payload is not one JSON document.
    pub const JSON_SYNTAX: &str = "json-syntax";
    /// A value is there, but not of the column's type.
    pub const WRONG_TYPE: &str = "wrong-type";
    /// A column that is not nullable has no value, or null.
    pub const MISSING_FIELD: &str = "missing-field";
    /// A value of the right kind that the column cannot hold exactly.
    pub const OUT_OF_RANGE: &str = "out-of-range";
    /// Text that is not UTF-8.
    pub const NOT_UTF8: &str = "not-utf8";
    /// Arrays and objects nested deeper than the limit.
    pub const TOO_DEEP: &str = "too-deep";
    /// The payload is larger than the limit.
    pub const TOO_LARGE: &str = "too-large";
    /// The payload is not one row of CSV.
    pub const CSV_SYNTAX: &str = "csv-syntax";
    /// A row of CSV has another number of fields than its header.
    pub const CSV_FIELDS: &str = "csv-fields";
    /// The record has no payload (a Kafka tombstone).
    pub const NULL_VALUE: &str = "null-value";
    /// A declared field occurs twice.
    pub const DUPLICATE_FIELD: &str = "duplicate-field";
}

/// What became of a range of records.
#[derive(Debug, Clone)]
pub struct Decoded {
    pub columns: RecordBatch,
    /// Numbers of the records that decoded, ascending; one per row of `columns`.
    pub rows: Vec<u32>,
    /// The other records of the range, ascending.
    pub rejects: Rejects,
}

/// Turns payloads into columns. One instance serves one task.
pub trait Decoder: Send {
    fn schema(&self) -> &SchemaRef;

    /// Decodes the records of `range`. Every record is either a row or a reject, whatever its bytes are.
    ///
    /// # Panics
    /// When the range is not within the records or holds more than [`MAX_DECODE_BYTES`], in payloads or in one
    /// column; callers bound their batches far below it.
    fn decode(&mut self, records: &SourceRecords, range: Range<usize>) -> Decoded;
}

/// Turns rows into payloads. One instance serves one task.
pub trait Encoder: Send {
    fn schema(&self) -> &SchemaRef;

    /// Writes one payload per row to `out`.
    ///
    /// # Errors
    /// [`EncodeError`] when the batch is not of the encoder's schema; nothing was written then.
    ///
    /// # Panics
    /// As [`PayloadBuilder::end_payload`].
    fn encode(&mut self, rows: &RecordBatch, out: &mut PayloadBuilder) -> Result<(), EncodeError>;
}

/// Why a codec cannot be made for a schema. The messages are written for whoever wrote the manifest.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum CodecError {
    #[error(
        "column `{column}`: the {format} format has no {data_type}; use one of bool, int8 to uint64, float32, float64, utf8, binary, date, timestamp, decimal"
    )]
    UnsupportedType { column: String, format: &'static str, data_type: String },
    #[error("column `{column}`: the record's {source_name} is {possible}, not {data_type}")]
    MetadataType { column: String, source_name: &'static str, possible: &'static str, data_type: String },
    #[error("columns `{first}` and `{second}` read the same field `{path}`; drop one, or copy it in a later step")]
    SameField { first: String, second: String, path: String },
    #[error("column `{column}` reads `{path}` as a value, but column `{inner}` reads a field inside it; drop one")]
    FieldAndObject { column: String, inner: String, path: String },
    #[error(
        "column `{column}` names a field, but rows without a header have none; leave the name out, or say `header: true`"
    )]
    FieldWithoutHeader { column: String },
    #[error("column `{column}`: `{path}` is not a field path; write names joined by dots, none of them empty")]
    BadPath { column: String, path: String },
    #[error("the schema has {columns} columns, but {sources} column sources were given")]
    SourceCount { columns: usize, sources: usize },
    #[error("the raw format needs exactly one binary or utf8 column for the payload, not {0}")]
    RawColumns(usize),
    #[error("max_depth is {given}; it must be from 1 to {most}")]
    DepthLimit { given: usize, most: usize },
}

/// Why a batch was not encoded: it is not what the encoder was made for.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum EncodeError {
    #[error("the encoder was made for {expected} columns, the batch has {found}")]
    ColumnCount { expected: usize, found: usize },
    #[error("column `{column}`: the encoder was made for {expected}, the batch has {found}")]
    ColumnType { column: String, expected: String, found: String },
    #[error("row {row} was asked for, the batch has {rows}")]
    NoSuchRow { row: usize, rows: usize },
    #[error(transparent)]
    Codec(#[from] CodecError),
}

fn part_name(part: &Field) -> String {
    format!("{}{}", type_name(part.data_type()), if part.is_nullable() { "" } else { "!" })
}

/// A type as manifests write it.
pub(crate) fn type_name(data_type: &DataType) -> String {
    use arrow_schema::TimeUnit;
    match data_type {
        DataType::Boolean => "bool".into(),
        DataType::Date32 => "date".into(),
        DataType::Decimal128(precision, scale) => format!("decimal({precision}, {scale})"),
        DataType::Timestamp(unit, _) => {
            let unit = match unit {
                TimeUnit::Second => "s",
                TimeUnit::Millisecond => "ms",
                TimeUnit::Microsecond => "us",
                TimeUnit::Nanosecond => "ns",
            };
            format!("timestamp({unit})")
        }
        DataType::List(item) => format!("list({})", part_name(item)),
        DataType::Struct(parts) => {
            let part = |part: &Arc<Field>| format!("{} {}", part.name(), part_name(part));
            format!("struct({})", parts.iter().map(part).collect::<Vec<_>>().join(", "))
        }
        other => other.to_string().to_lowercase(),
    }
}
