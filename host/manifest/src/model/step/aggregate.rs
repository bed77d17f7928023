//! One aggregate of a step: a call, and which rows it takes.

use schemars::JsonSchema;
use serde::Deserialize;

use super::Expression;
use crate::span::Spanned;

crate::schema::written_as!(AggregateCall => AggregateForm);

/// A call such as `sum(quantity)`.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(from = "AggregateForm")]
pub struct AggregateCall {
    pub of: Spanned<String>,
    /// Only rows for which this is true are aggregated; absent: all.
    pub filter: Option<Spanned<String>>,
}

/// The two ways to write one; the deserializer picks by the kind of node.
#[derive(Deserialize, JsonSchema)]
#[schemars(untagged, title = "an aggregate")]
enum AggregateForm {
    /// The call alone: of all rows.
    #[serde(rename = "#text")]
    Call(Expression),
    #[serde(rename = "#map")]
    Filtered(FilteredCall),
}

/// A call of some of the rows.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(title = "an aggregate")]
struct FilteredCall {
    /// The call: `sum(quantity)`.
    of: Expression,
    /// Only rows for which this SQL expression is true are aggregated.
    #[serde(rename = "where")]
    filter: Expression,
}

impl From<AggregateForm> for AggregateCall {
    fn from(form: AggregateForm) -> Self {
        match form {
            AggregateForm::Call(of) => Self { of: of.0, filter: None },
            AggregateForm::Filtered(FilteredCall { of, filter }) => Self { of: of.0, filter: Some(filter.0) },
        }
    }
}
