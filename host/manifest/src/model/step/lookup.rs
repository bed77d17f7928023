//! A step that gives rows what a table has for their key.

use schemars::JsonSchema;
use serde::Deserialize;

use super::super::MAX_ENTRIES;
use super::super::source::column_names;
use super::Expression;
use crate::column_type::ColumnType;
use crate::entries::Entries;
use crate::scalar::{Share, Size};
use crate::schema::one_of;
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
#[serde(from = "LookupTableKeys")]
pub enum LookupTable {
    File(FileTable),
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(title = "a table", extend("oneOf" = one_of(&[&["file"]])))]
struct LookupTableKeys {
    /// A file, held in memory and read again when it changes.
    file: FileTable,
}

impl From<LookupTableKeys> for LookupTable {
    fn from(keys: LookupTableKeys) -> Self {
        Self::File(keys.file)
    }
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
