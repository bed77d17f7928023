//! Sinks: where rows leave the graph.

use schemars::JsonSchema;
use serde::Deserialize;

use crate::span::Spanned;

crate::schema::written_as!(Sink => SinkKeys);

/// Where rows leave the pipeline.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(from = "SinkKeys")]
pub struct Sink {
    /// A source or step, or a step's named output.
    pub from: Spanned<String>,
    pub mode: SinkMode,
}

/// What a sink does with rows.
#[derive(Debug, Clone, PartialEq)]
pub enum SinkMode {
    /// Adds every row.
    Append,
    /// Keeps the newest row per key: the named columns.
    Upsert(Vec<Spanned<String>>),
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(title = "a sink", extend("oneOf" = [{ "required": ["append"] }, { "required": ["upsert"] }]))]
struct SinkKeys {
    /// A source or step, or a step's named output.
    from: Spanned<String>,
    /// `true`: adds every row.
    #[allow(dead_code, reason = "the structural check has seen that it is `true`; its presence is what counts")]
    #[schemars(extend("const" = true))]
    append: Option<bool>,
    /// Keeps the newest row per key: the columns that are the key.
    #[schemars(extend("minItems" = 1))]
    upsert: Option<Vec<Spanned<String>>>,
}

impl From<SinkKeys> for Sink {
    fn from(keys: SinkKeys) -> Self {
        Self { from: keys.from, mode: keys.upsert.map_or(SinkMode::Append, SinkMode::Upsert) }
    }
}
