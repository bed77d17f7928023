//! A step that keeps the newest row of each key.

use schemars::JsonSchema;
use serde::Deserialize;

use super::Expression;
use crate::scalar::Duration;
use crate::span::Spanned;

/// The newest row of each key, as a table that is kept up to date.
#[derive(Debug, Clone, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(title = "`latest`")]
pub struct LatestStep {
    /// The columns that name a row of the table.
    #[schemars(with = "Vec<Expression>", extend("minItems" = 1))]
    pub key: Vec<Spanned<String>>,
    /// How long of event time a row stays without a newer one; absent: for ever.
    pub ttl: Option<Spanned<Duration>>,
}
