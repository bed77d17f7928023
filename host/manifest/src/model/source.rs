//! Sources: columns and event time.

use schemars::JsonSchema;
use serde::Deserialize;

use super::MAX_ENTRIES;
use crate::column_type::ColumnType;
use crate::entries::Entries;
use crate::scalar::Duration;
use crate::span::Spanned;

crate::schema::written_as!(Column => ColumnForm, EventTime => EventTimeKeys);

/// A stream of records and how it becomes rows.
#[derive(Debug, Clone, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(title = "a source")]
pub struct Source {
    /// The columns, in their order.
    #[schemars(extend("minProperties" = 1, "maxProperties" = MAX_ENTRIES, "propertyNames" = column_names()))]
    pub columns: Entries<Column>,
    /// Which time rows carry. Needed as soon as a step works in time.
    pub event_time: Option<EventTime>,
}

pub(crate) fn column_names() -> serde_json::Value {
    serde_json::json!({ "x-format": "column-name", "pattern": "^[A-Za-z_][A-Za-z0-9_]*$" })
}

/// One column of a source.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(from = "ColumnForm")]
pub struct Column {
    pub column_type: Spanned<ColumnType>,
    pub origin: ColumnOrigin,
}

/// Where a column's value comes from.
#[derive(Debug, Clone, PartialEq)]
pub enum ColumnOrigin {
    /// The record's field of the column's own name.
    SameName,
    /// A field by its path: `bid.price`.
    Field(Spanned<String>),
    /// A part of the record other than its value.
    Record(Spanned<RecordPart>),
}

/// The parts of a record beside its value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum RecordPart {
    /// The record's key: utf8 or binary.
    Key,
    /// All headers as one JSON object: utf8.
    Headers,
    /// The topic, file or generator: utf8.
    Topic,
    /// The partition: int32 or int64.
    Partition,
    /// The offset: int64.
    Offset,
    /// The record's own timestamp.
    Timestamp,
}

/// The two ways to write a column; the deserializer picks by the kind of node.
#[derive(Deserialize, JsonSchema)]
#[schemars(untagged, title = "a column")]
enum ColumnForm {
    /// The type alone: the field has the column's name.
    #[serde(rename = "#text")]
    Short(Spanned<ColumnType>),
    #[serde(rename = "#map")]
    Long(LongColumn),
}

/// A column that does not come from the field of its own name.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(title = "a column", extend("oneOf" = [{ "required": ["from"] }, { "required": ["field"] }]))]
struct LongColumn {
    #[serde(rename = "type")]
    column_type: Spanned<ColumnType>,
    /// A part of the record other than its value.
    from: Option<Spanned<RecordPart>>,
    /// The field's path in the record: `bid.price`.
    #[schemars(extend("x-format" = "field-path"))]
    field: Option<Spanned<String>>,
}

impl From<ColumnForm> for Column {
    fn from(form: ColumnForm) -> Self {
        match form {
            ColumnForm::Short(column_type) => Self { column_type, origin: ColumnOrigin::SameName },
            ColumnForm::Long(LongColumn { column_type, from, field }) => {
                let field = field.map_or(ColumnOrigin::SameName, ColumnOrigin::Field);
                Self { column_type, origin: from.map_or(field, ColumnOrigin::Record) }
            }
        }
    }
}

/// Event time and watermarks of one source.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(from = "EventTimeKeys")]
pub struct EventTime {
    pub origin: EventTimeOrigin,
    /// How much older than the newest event seen in its partition an event may be without being late.
    pub disorder: Duration,
    /// How long a partition that is read to its end may be silent before it stops holding the watermark back.
    pub idle_after: Duration,
    /// An event further than this ahead of its record's timestamp (or of the wall clock) is a reject.
    pub max_future: Duration,
    /// A partition whose watermark is further than this ahead of the slowest one that has records to read waits for it.
    pub alignment: Option<Duration>,
    /// With the record's timestamp as event time: an event further than this ahead of the newest one seen in its
    /// partition is a reject. Absent: only the wall clock bounds it.
    pub max_jump: Option<Duration>,
}

#[derive(Debug, Clone, PartialEq)]
pub enum EventTimeOrigin {
    /// A timestamp column of the source.
    Column(Spanned<String>),
    /// An expression over the source's columns that gives a timestamp.
    Expression(Spanned<String>),
    /// The record's own timestamp.
    RecordTimestamp,
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(title = "event_time", extend("oneOf" = [{ "required": ["column"] }, { "required": ["expression"] }, { "required": ["from"] }]))]
struct EventTimeKeys {
    /// A timestamp column of the source.
    column: Option<Spanned<String>>,
    /// An expression over the source's columns that gives a timestamp; one without zone is in UTC.
    #[schemars(extend("x-format" = "expression"))]
    expression: Option<Spanned<String>>,
    /// `timestamp`: the record's own.
    #[allow(dead_code, reason = "it has one value only; its presence is what counts")]
    from: Option<EventTimeFrom>,
    /// How much older than the newest event seen in its partition an event may be without being late.
    #[serde(default = "no_disorder")]
    disorder: Duration,
    /// How long a silent partition holds the watermark back. Default 1min.
    #[serde(default = "one_minute")]
    idle_after: Duration,
    /// How far in the future an event may be. Default 5min.
    #[serde(default = "five_minutes")]
    max_future: Duration,
    /// How far ahead of the slowest partition, of any source, one may be read. Default: any distance.
    alignment: Option<Duration>,
    /// How far ahead of its partition's newest event an event may be, when event time is the record's timestamp.
    max_jump: Option<Duration>,
}

fn no_disorder() -> Duration {
    Duration::from_ms(0)
}

fn one_minute() -> Duration {
    Duration::from_secs(60)
}

fn five_minutes() -> Duration {
    Duration::from_secs(300)
}

#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum EventTimeFrom {
    Timestamp,
}

impl From<EventTimeKeys> for EventTime {
    fn from(keys: EventTimeKeys) -> Self {
        let expression = keys.expression.map(EventTimeOrigin::Expression);
        let origin = keys.column.map(EventTimeOrigin::Column).or(expression);
        Self {
            origin: origin.unwrap_or(EventTimeOrigin::RecordTimestamp),
            disorder: keys.disorder,
            idle_after: keys.idle_after,
            max_future: keys.max_future,
            alignment: keys.alignment,
            max_jump: keys.max_jump,
        }
    }
}
