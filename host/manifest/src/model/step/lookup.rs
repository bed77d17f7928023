//! A step that gives rows what a table has for their key.

use schemars::JsonSchema;
use serde::Deserialize;

use super::super::MAX_ENTRIES;
use super::super::binding::TextOrSecret;
use super::super::source::column_names;
use super::Expression;
use crate::column_type::ColumnType;
use crate::entries::Entries;
use crate::scalar::{Duration, Share, Size};
use crate::schema::one_of;
use crate::secret::Secret;
use crate::span::Spanned;

crate::schema::written_as!(LookupTable => LookupTableKeys);

/// Each row with the rows of a table that have its key.
#[derive(Debug, Clone, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(title = "a look-up")]
pub struct LookupStep {
    /// Where the table is.
    #[serde(rename = "in")]
    pub table: LookupTable,
    /// The columns of the table that are used: name to type.
    #[schemars(extend("minProperties" = 1, "maxProperties" = MAX_ENTRIES, "propertyNames" = column_names()))]
    pub columns: Entries<Spanned<ColumnType>>,
    /// The key: an expression of the row to a column of the table.
    #[schemars(with = "Entries<Expression>", extend("minProperties" = 1, "maxProperties" = MAX_ENTRIES))]
    pub on: Entries<Spanned<String>>,
    /// Which rows come out; `inner` unless said.
    pub kind: Option<Spanned<LookupWord>>,
    /// Whether a key may have several rows; `one` unless said.
    #[serde(default)]
    pub matches: MatchesWord,
    /// Of a database: how long answers are kept. Absent: each batch is asked for anew.
    pub cache: Option<Spanned<LookupCache>>,
    /// Put in front of the names of the table's columns.
    #[schemars(extend("x-format" = "column-name"))]
    pub prefix: Option<Spanned<String>>,
}

/// Which rows come out of a look-up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum LookupWord {
    /// Those with a match.
    #[default]
    Inner,
    /// All; those without a match have nulls for the table's columns.
    Left,
}

/// How many rows of a table one key may have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum MatchesWord {
    /// One; a second is a fault of the table.
    #[default]
    One,
    /// Several: each is a match and gives a row.
    All,
}

/// Where a table is.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(try_from = "LookupTableKeys")]
pub enum LookupTable {
    File(FileTable),
    Postgres(Box<PostgresTable>),
    Sqlite(SqliteTable),
    Cassandra(Box<CassandraTable>),
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(title = "a table", extend("oneOf" = one_of(&[&["file"], &["postgres"], &["sqlite"], &["cassandra"]])))]
struct LookupTableKeys {
    /// A file, held in memory and read again when it changes.
    file: Option<FileTable>,
    /// A PostgreSQL table or view, asked for the keys of each batch.
    postgres: Option<PostgresTable>,
    /// A table or view of a SQLite file, asked likewise.
    sqlite: Option<SqliteTable>,
    /// A Cassandra table, asked likewise.
    cassandra: Option<CassandraTable>,
}

impl TryFrom<LookupTableKeys> for LookupTable {
    type Error = String;

    fn try_from(keys: LookupTableKeys) -> Result<Self, String> {
        let table = keys
            .file
            .map(Self::File)
            .or(keys.postgres.map(|postgres| Self::Postgres(Box::new(postgres))))
            .or(keys.sqlite.map(Self::Sqlite))
            .or(keys.cassandra.map(|cassandra| Self::Cassandra(Box::new(cassandra))));
        table.ok_or_else(|| "a look-up without a table".to_owned())
    }
}

/// A PostgreSQL table that is asked.
#[derive(Debug, Clone, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(title = "a PostgreSQL table")]
pub struct PostgresTable {
    /// `postgres://user@host/database`; with a password only as `{ secret: NAME }`.
    pub url: TextOrSecret,
    /// `table` or `schema.table`; a view is one too.
    #[schemars(extend("x-format" = "table"))]
    pub table: Spanned<String>,
}

/// A table of a SQLite file that is asked.
#[derive(Debug, Clone, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(title = "a SQLite table")]
pub struct SqliteTable {
    /// The database file, relative to the manifest.
    #[schemars(extend("x-format" = "path"))]
    pub path: Spanned<String>,
    #[schemars(extend("x-format" = "table"))]
    pub table: Spanned<String>,
}

/// A Cassandra table that is asked.
#[derive(Debug, Clone, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(title = "a Cassandra table")]
pub struct CassandraTable {
    /// Nodes to begin with, `host` or `host:port`; others are found through them. Default port 9042.
    #[schemars(with = "Vec<Node>", extend("minItems" = 1, "maxItems" = MAX_ENTRIES))]
    pub hosts: Vec<Spanned<String>>,
    #[schemars(extend("x-format" = "name"))]
    pub keyspace: Spanned<String>,
    #[schemars(extend("x-format" = "name"))]
    pub table: Spanned<String>,
    pub user: Option<Spanned<String>>,
    /// Only as `{ secret: NAME }`.
    pub password: Option<Password>,
}

/// A host with or without its port.
#[derive(JsonSchema)]
struct Node(
    #[schemars(extend("x-format" = "node"))]
    #[expect(dead_code, reason = "stands for text in the schema")]
    String,
);

/// A secret by reference; text is refused.
#[derive(Debug, Clone, PartialEq, Deserialize, JsonSchema)]
#[schemars(untagged)]
pub enum Password {
    #[serde(rename = "#text")]
    Written(#[schemars(extend("x-format" = "password"))] Spanned<String>),
    #[serde(rename = "#map")]
    Secret(Secret),
}

impl Password {
    /// For connecting, never for showing.
    pub fn expose(&self) -> &str {
        match self {
            Self::Written(_) => "",
            Self::Secret(secret) => secret.expose(),
        }
    }
}

/// Answers of a database that are kept.
#[derive(Debug, Clone, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(title = "a cache")]
pub struct LookupCache {
    /// Keys that are kept in each task, with 64MiB at most. Default 100,000.
    #[serde(default = "hundred_thousand")]
    #[schemars(range(min = 1, max = 10_000_000))]
    pub rows: u32,
    /// How old an answer may be, also that a key has no row.
    pub ttl: Duration,
}

fn hundred_thousand() -> u32 {
    100_000
}

/// A table in a file, held in memory.
#[derive(Debug, Clone, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(title = "a table's file")]
pub struct FileTable {
    /// The file, relative to the manifest: `.csv` or `.jsonl`.
    #[schemars(extend("x-format" = "path"))]
    pub path: Spanned<String>,
    /// The most that the file and the table in memory may have, each; up to 1GiB. Default 256MiB.
    pub memory: Option<Spanned<Size>>,
    /// A file that has lost more of the table's rows than this is not taken. Default 50%.
    pub max_loss: Option<Share>,
}

impl FileTable {
    pub const DEFAULT_MEMORY: Size = Size::from_mib(256);
    pub const MOST_MEMORY: Size = Size::from_mib(1024);
    const DEFAULT_MAX_LOSS: f64 = 0.5;

    pub fn memory(&self) -> Size {
        self.memory.as_ref().map_or(Self::DEFAULT_MEMORY, |memory| memory.value)
    }

    /// From 0 to 1.
    pub fn max_loss(&self) -> f64 {
        self.max_loss.map_or(Self::DEFAULT_MAX_LOSS, Share::fraction)
    }
}
