//! A step that runs a user's component.

use schemars::JsonSchema;
use serde::Deserialize;

use super::http::PluginHttp;
use crate::model::limits::PluginLimits;
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
    /// Adds a column of this name with the digest of the plugin that made the row.
    #[schemars(extend("x-format" = "column-name"))]
    pub digest_column: Option<Spanned<String>>,
    /// The step's own `key`: columns or expressions. Absent for a plugin without state by key.
    #[serde(skip)]
    #[schemars(skip)]
    pub key: Option<Vec<Spanned<String>>>,
}
