//! A step that lets one row of each key through.

use schemars::JsonSchema;
use serde::Deserialize;

use super::Expression;
use crate::scalar::Duration;
use crate::span::Spanned;

/// One row of each key.
#[derive(Debug, Clone, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(title = "`dedup`")]
pub struct DedupStep {
    /// Rows with equal keys are one; columns or SQL expressions.
    #[schemars(with = "Vec<Expression>", extend("minItems" = 1))]
    pub key: Vec<Spanned<String>>,
    /// How long of event time a key is remembered.
    pub ttl: Spanned<Duration>,
    /// Which row stays.
    #[serde(default)]
    pub keep: Keep,
}

/// Which row of a key stays.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Keep {
    /// The first to come, at once.
    #[default]
    First,
    /// The newest, once no newer one can follow within the TTL.
    Last,
}
