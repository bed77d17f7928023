//! A step that takes a column of columns apart.

use schemars::JsonSchema;
use serde::Deserialize;

use crate::span::Spanned;

/// The items of a list as rows, or the fields of a struct as columns.
#[derive(Debug, Clone, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(title = "`flatten`")]
pub struct FlattenStep {
    /// A list or struct column; it goes, and what is in it takes its place.
    pub column: Spanned<String>,
    /// Of a list: the item's column. Default the list's own name.
    #[serde(rename = "as")]
    #[schemars(extend("x-format" = "column-name"))]
    pub item: Option<Spanned<String>>,
    /// Of a list: a row without items stays, with null as its item. Default false.
    pub keep_empty: Option<Spanned<bool>>,
    /// Of a struct: what stands before the names of its fields. Default nothing.
    #[schemars(extend("x-format" = "column-name"))]
    pub prefix: Option<Spanned<String>>,
}
