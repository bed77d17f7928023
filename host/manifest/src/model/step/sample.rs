//! A step that keeps a share of the rows.

use schemars::JsonSchema;
use serde::Deserialize;

use super::Expression;
use crate::scalar::Share;
use crate::span::Spanned;

/// A share of the rows, the same ones in every run.
#[derive(Debug, Clone, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(title = "`sample`")]
pub struct SampleStep {
    pub share: Share,
    /// Rows with equal values stay or go together; absent: each record by itself.
    #[schemars(with = "Option<Vec<Expression>>", extend("minItems" = 1))]
    pub by: Option<Vec<Spanned<String>>>,
}
