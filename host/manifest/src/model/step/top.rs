//! A step that ranks the rows of each group.

use schemars::JsonSchema;
use serde::Deserialize;

use super::Expression;
use super::join::Tumbling;
use crate::scalar::Duration;
use crate::span::Spanned;

/// The first rows of each group in an order, as a table by group and rank, or by group alone where it is one row; with a
/// window, as rows that are never changed.
#[derive(Debug, Clone, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(title = "`top`")]
pub struct TopStep {
    /// Rows of each group.
    #[schemars(range(min = 1, max = 10_000))]
    pub rows: u16,
    /// The columns that name a group. `[]`: all rows are one.
    #[schemars(with = "Vec<Expression>")]
    pub key: Vec<Spanned<String>>,
    /// SQL expressions, each with `desc` behind it where the largest come first.
    #[schemars(with = "Vec<Expression>", extend("minItems" = 1))]
    pub by: Vec<Spanned<String>>,
    /// Name of the column with the rank, from 1; absent: `rank`, or no such column where `rows` is 1.
    #[schemars(with = "Option<String>", extend("x-format" = "column-name"))]
    pub rank: Option<Spanned<String>>,
    /// The first rows of each window, once, when it closes.
    pub window: Option<Tumbling>,
    /// Of a window, rows that `by` puts level with the last rank too; level rows share their rank. `false` unless said.
    pub ties: Option<Spanned<bool>>,
    /// How long of event time a group stays without a newer row among its first; absent: for ever.
    pub ttl: Option<Spanned<Duration>>,
}
