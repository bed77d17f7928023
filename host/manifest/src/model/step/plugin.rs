//! A step that runs a user's component.

use schemars::JsonSchema;
use serde::Deserialize;

use super::http::PluginHttp;
use super::lookup::{LookupCache, LookupTable};
use crate::column_type::ColumnType;
use crate::entries::Entries;
use crate::model::MAX_ENTRIES;
use crate::model::limits::PluginLimits;
use crate::model::source::column_names;
use crate::span::Spanned;

/// A user's component in the pipeline.
#[derive(Debug, Clone, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(title = "a plugin")]
pub struct PluginStep {
    /// A component file or a plugin's folder, relative to the manifest.
    #[serde(rename = "use")]
    #[schemars(extend("x-format" = "path"))]
    pub reference: Spanned<String>,
    /// Handed to the plugin as JSON; the plugin's own schema checks it.
    #[serde(default)]
    pub config: Option<Spanned<serde_json::Value>>,
    /// Bounds of this plugin; what is absent comes from `limits.plugin`.
    #[serde(default)]
    pub limits: PluginLimits,
    /// The services that a plugin of the world `enrich` may ask. Absent: none.
    #[serde(default)]
    pub http: Option<PluginHttp>,
    /// The tables that a plugin of the world `enrich` may look keys up in, by the names that it calls them. Absent: none.
    #[serde(default)]
    #[schemars(extend("minProperties" = 1, "maxProperties" = MAX_ENTRIES))]
    pub tables: Option<Entries<PluginTable>>,
    /// Adds a column of this name with the digest of the plugin that made the row.
    #[schemars(extend("x-format" = "column-name"))]
    pub digest_column: Option<Spanned<String>>,
    /// The step's own `key`: columns or expressions. Absent for a plugin without state by key.
    #[serde(skip)]
    #[schemars(skip)]
    pub key: Option<Vec<Spanned<String>>>,
}

/// A table that a plugin may look keys up in.
#[derive(Debug, Clone, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(title = "a plugin's table")]
pub struct PluginTable {
    /// Where the table is.
    #[serde(rename = "in")]
    pub table: LookupTable,
    /// The columns of the table that are used: name to type.
    #[schemars(extend("minProperties" = 1, "maxProperties" = MAX_ENTRIES, "propertyNames" = column_names()))]
    pub columns: Entries<Spanned<ColumnType>>,
    /// Those of them that its rows are found by; each key has one row at most.
    #[schemars(extend("minItems" = 1, "maxItems" = MAX_ENTRIES))]
    pub key: Vec<Spanned<String>>,
    /// Of a database: how long answers are kept. Absent: each batch is asked for anew.
    pub cache: Option<Spanned<LookupCache>>,
}
