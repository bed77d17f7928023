//! A step that numbers the sessions of each key.

use schemars::JsonSchema;
use serde::Deserialize;

use super::Expression;
use crate::scalar::Duration;
use crate::span::Spanned;

/// Every row with the number of its session.
#[derive(Debug, Clone, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(title = "`sessions`")]
pub struct SessionsStep {
    /// Whose sessions they are: columns or SQL expressions.
    #[schemars(with = "Vec<Expression>", extend("minItems" = 1))]
    pub key: Vec<Spanned<String>>,
    /// The longest silence within a session.
    pub gap: Spanned<Duration>,
    /// Name of the number's column; numbers count from 1.
    #[schemars(with = "String", extend("x-format" = "column-name"))]
    pub column: Spanned<String>,
    /// How long of event time a key is remembered after its last row; absent: for ever.
    pub ttl: Option<Spanned<Duration>>,
}
