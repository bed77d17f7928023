//! Bindings: what a profile puts in the place of a logical source, a sink or the dead letters.
//!
//! A binding is externally tagged: the one key that names the connector holds its settings. `format` stands
//! beside it, because the bytes' meaning is not the connector's business.

use std::str::FromStr;

use schemars::JsonSchema;
use serde::Deserialize;

use super::format::Format;
use crate::entries::Entries;
use crate::scalar::{Duration, Instant, Rate, Share, Size, text_scalar};
use crate::secret::Secret;
use crate::span::Spanned;

crate::schema::written_as!(Binding => BindingKeys);

/// The bindings of one profile, by id of source, sink or `dead_letters`.
pub type Profile = Entries<Binding>;

/// A real source or sink.
#[derive(Debug, Clone, Deserialize)]
#[serde(try_from = "BindingKeys")]
pub struct Binding {
    pub connector: Connector,
    /// How records are encoded; absent where the connector takes columns, or for its default (JSON).
    pub format: Option<Spanned<Format>>,
}

/// The connector of a binding.
#[derive(Debug, Clone)]
pub enum Connector {
    Generate(GenerateConnector),
    File(FileConnector),
    Kafka(Box<KafkaConnector>),
    Sqlite(SqliteConnector),
    Postgres(Box<PostgresConnector>),
    Parquet(Box<ParquetConnector>),
    Stdout(StdoutConnector),
}

impl Connector {
    /// The key that names it in a manifest.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Generate(_) => "generate",
            Self::File(_) => "file",
            Self::Kafka(_) => "kafka",
            Self::Sqlite(_) => "sqlite",
            Self::Postgres(_) => "postgres",
            Self::Parquet(_) => "parquet",
            Self::Stdout(_) => "stdout",
        }
    }

    pub fn is_source(&self) -> bool {
        matches!(self, Self::Generate(_) | Self::File(_) | Self::Kafka(_))
    }

    pub fn is_sink(&self) -> bool {
        !matches!(self, Self::Generate(_))
    }

    /// Whether the sink takes columns and so needs no format.
    pub fn takes_columns(&self) -> bool {
        matches!(self, Self::Sqlite(_) | Self::Postgres(_) | Self::Parquet(_))
    }
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(
    title = "a binding",
    extend("oneOf" = [
        { "required": ["generate"] },
        { "required": ["file"] },
        { "required": ["kafka"] },
        { "required": ["sqlite"] },
        { "required": ["postgres"] },
        { "required": ["parquet"] },
        { "required": ["stdout"] },
    ])
)]
struct BindingKeys {
    /// Source: made-up events, the same for the same seed.
    generate: Option<GenerateConnector>,
    /// Source or sink: a file with one record a line; as a source also with rows of CSV.
    file: Option<FileConnector>,
    /// Source or sink: a Kafka topic.
    kafka: Option<KafkaConnector>,
    /// Sink: a table of an SQLite file.
    sqlite: Option<SqliteConnector>,
    /// Sink: a PostgreSQL table.
    postgres: Option<PostgresConnector>,
    /// Sink: a folder of Parquet files.
    parquet: Option<ParquetConnector>,
    /// Sink: a record a line on standard output.
    stdout: Option<StdoutConnector>,
    /// How records are encoded. Default json.
    format: Option<Spanned<Format>>,
}

impl TryFrom<BindingKeys> for Binding {
    type Error = String;

    fn try_from(keys: BindingKeys) -> Result<Self, String> {
        let connector = keys
            .generate
            .map(Connector::Generate)
            .or(keys.file.map(Connector::File))
            .or(keys.kafka.map(|kafka| Connector::Kafka(Box::new(kafka))))
            .or(keys.sqlite.map(Connector::Sqlite))
            .or(keys.postgres.map(|postgres| Connector::Postgres(Box::new(postgres))))
            .or(keys.parquet.map(|parquet| Connector::Parquet(Box::new(parquet))))
            .or(keys.stdout.map(Connector::Stdout));
        Ok(Self { connector: connector.ok_or("a binding without a connector")?, format: keys.format })
    }
}

/// Made-up events, the same for the same seed.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(title = "generate")]
pub struct GenerateConnector {
    /// What the events are like: `ecommerce`.
    pub preset: Spanned<String>,
    /// Absent: as fast as the pipeline takes them.
    pub rate: Option<Rate>,
    /// Default 1.
    #[serde(default = "one")]
    pub seed: u64,
    /// How many events there are in all. Absent: no end.
    pub events: Option<u64>,
    /// Default 1.
    #[serde(default = "one_partition")]
    #[schemars(range(min = 1, max = 1024))]
    pub partitions: u32,
    /// Event time between two events of the same partition, on average. Absent: as the rate says, or 1ms.
    pub spacing: Option<Duration>,
    /// How far behind the newest event time an event may be. Default 0s.
    pub disorder: Option<Duration>,
    /// How many events are sent twice. Default 0%.
    pub duplicates: Option<Share>,
    /// How many events are broken on purpose. Default 0%.
    pub malformed: Option<Share>,
    /// How many events are well-formed and break the preset's own rules. Absent: the preset's own share.
    pub dirty: Option<Share>,
    /// Event time of the first event, RFC 3339. Absent: the preset's own.
    pub start: Option<Spanned<Instant>>,
}

fn one() -> u64 {
    1
}

fn one_partition() -> u32 {
    1
}

/// Files with one record a line, or a row of CSV.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(title = "file")]
pub struct FileConnector {
    /// The file, relative to the manifest. A source may name several, each a partition, and with `*`, `?` or a `/` at the
    /// end all fitting files of a folder, in the order of their names.
    pub path: Paths,
}

/// One path or several.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[schemars(untagged)]
pub enum Paths {
    #[serde(rename = "#text")]
    One(#[schemars(extend("x-format" = "path"))] Spanned<String>),
    #[serde(rename = "#list")]
    Several(#[schemars(extend("minItems" = 1))] Vec<Spanned<String>>),
}

impl Paths {
    pub fn as_slice(&self) -> &[Spanned<String>] {
        match self {
            Self::One(path) => std::slice::from_ref(path),
            Self::Several(paths) => paths,
        }
    }
}

/// A Kafka topic.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(title = "kafka")]
pub struct KafkaConnector {
    /// `host:port`, several with commas between.
    #[schemars(extend("x-format" = "brokers"))]
    pub brokers: Spanned<String>,
    #[schemars(extend("x-format" = "topic"))]
    pub topic: Spanned<String>,
    /// Source: where to start when there is no stored position. Default earliest.
    pub start: Option<Spanned<Start>>,
    /// Source: how often partitions that were added are looked for. Default 30s.
    pub refresh: Option<Spanned<Duration>>,
    /// Sink: makes the topic with this many partitions when it is missing. Absent: it must be there.
    #[schemars(range(min = 1, max = 10_000))]
    pub partitions: Option<Spanned<u32>>,
    /// Sink: default lz4.
    pub compression: Option<Spanned<Compression>>,
    /// librdkafka's own settings, for TLS, SASL and tuning. Passwords and keys only as `{ secret: NAME }`.
    #[serde(default)]
    pub options: Entries<KafkaOption>,
}

/// Where a source starts without a stored position.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Start {
    #[default]
    Earliest,
    Latest,
    /// With the first record that is not older.
    At(Instant),
}

text_scalar!(
    Start,
    "Start",
    "start",
    r"^(earliest|latest|[0-9].*)$",
    "earliest, latest, or a point in time, RFC 3339."
);

impl FromStr for Start {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "earliest" => Ok(Self::Earliest),
            "latest" => Ok(Self::Latest),
            text => text.parse().map(Self::At).map_err(|_| {
                format!("`{text}` is no start; it is earliest, latest or a point in time such as 2026-03-01T10:00:00Z")
            }),
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Compression {
    None,
    #[default]
    Lz4,
    Zstd,
}

/// The value of a librdkafka setting.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[schemars(untagged)]
pub enum KafkaOption {
    #[serde(rename = "#text")]
    Plain(Spanned<PlainOption>),
    #[serde(rename = "#map")]
    Secret(Secret),
}

/// Text, a number or a boolean, as text. Not shown by `Debug`: it may turn out to be a secret.
#[derive(Clone, PartialEq)]
pub struct PlainOption(pub String);

impl std::fmt::Debug for PlainOption {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("PlainOption(..)")
    }
}

impl<'de> Deserialize<'de> for PlainOption {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(Self(match serde_json::Value::deserialize(deserializer)? {
            serde_json::Value::String(text) => text,
            other => other.to_string(),
        }))
    }
}

impl JsonSchema for PlainOption {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "PlainOption".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({ "type": ["string", "integer", "number", "boolean"] })
    }
}

/// A table of an SQLite file.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(title = "sqlite")]
pub struct SqliteConnector {
    /// The database file, relative to the manifest.
    #[schemars(extend("x-format" = "path"))]
    pub path: Spanned<String>,
    #[schemars(extend("x-format" = "table"))]
    pub table: Spanned<String>,
    /// Default if_missing.
    #[serde(default)]
    pub create: CreateTable,
}

/// Whether Weir makes the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum CreateTable {
    #[default]
    IfMissing,
    Never,
}

/// A PostgreSQL table.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(title = "postgres")]
pub struct PostgresConnector {
    /// `postgres://user@host/database`; with a password only as `{ secret: NAME }`.
    pub url: TextOrSecret,
    /// `table` or `schema.table`.
    #[schemars(extend("x-format" = "table"))]
    pub table: Spanned<String>,
    /// Default if_missing.
    #[serde(default)]
    pub create: CreateTable,
}

/// Text, or a secret by reference.
#[derive(Debug, Clone, PartialEq, Deserialize, JsonSchema)]
#[schemars(untagged)]
pub enum TextOrSecret {
    #[serde(rename = "#text")]
    Text(#[schemars(extend("x-format" = "url"))] Spanned<String>),
    #[serde(rename = "#map")]
    Secret(Secret),
}

impl TextOrSecret {
    /// The text itself, secret or not: for connecting, never for showing.
    pub fn expose(&self) -> &str {
        match self {
            Self::Text(text) => text,
            Self::Secret(secret) => secret.expose(),
        }
    }
}

/// A folder of Parquet files.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(title = "parquet")]
pub struct ParquetConnector {
    /// The folder, relative to the manifest.
    #[schemars(extend("x-format" = "path"))]
    pub path: Spanned<String>,
    /// Columns or expressions such as `date(occurred_at)`: one folder level each.
    #[serde(default)]
    pub partition: Vec<Spanned<String>>,
    /// When gathered rows become a file.
    #[serde(default)]
    pub roll: Roll,
    /// zstd level. Default 3.
    #[serde(default = "level_three")]
    #[schemars(range(min = 1, max = 19))]
    pub zstd_level: u8,
}

fn level_three() -> u8 {
    3
}

/// Gathered rows become a file as soon as one of these is reached.
#[derive(Debug, Clone, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(title = "roll")]
pub struct Roll {
    /// Default 30s.
    pub every: Duration,
    /// Default 64MiB.
    pub size: Size,
}

impl Default for Roll {
    fn default() -> Self {
        Self { every: Duration::from_secs(30), size: Size::from_mib(64) }
    }
}

/// Standard output, a record a line.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(title = "stdout")]
pub struct StdoutConnector {}
