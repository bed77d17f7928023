//! One aggregate of a step: a call or a user's component, and which rows it takes.

use schemars::JsonSchema;
use serde::Deserialize;

use super::{Expression, PluginStep};
use crate::entries::Entries;
use crate::model::MAX_ENTRIES;
use crate::model::limits::PluginLimits;
use crate::model::source::column_names;
use crate::schema::one_of;
use crate::span::{Span, Spanned};

crate::schema::written_as!(AggregateCall => AggregateForm);

/// A call such as `sum(quantity)`, or a component that aggregates.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(try_from = "AggregateForm")]
pub struct AggregateCall {
    pub of: AggregateOf,
    /// Only rows for which this is true are aggregated; absent: all.
    pub filter: Option<Spanned<String>>,
}

/// What aggregates.
#[derive(Debug, Clone, PartialEq)]
pub enum AggregateOf {
    Call(Spanned<String>),
    Plugin(Box<AggregatePlugin>),
}

/// A user's component among the aggregates.
#[derive(Debug, Clone, PartialEq)]
pub struct AggregatePlugin {
    pub plugin: PluginStep,
    /// Column of the plugin's input to expression; absent: the step's input columns.
    pub reads: Option<Entries<Spanned<String>>>,
}

impl AggregateCall {
    /// Where it stands.
    pub fn span(&self) -> Span {
        match &self.of {
            AggregateOf::Call(call) => call.span,
            AggregateOf::Plugin(plugin) => plugin.plugin.reference.span,
        }
    }
}

/// The ways to write one; the deserializer picks by the kind of node.
#[derive(Deserialize, JsonSchema)]
#[schemars(untagged, title = "an aggregate")]
enum AggregateForm {
    /// The call alone: of all rows.
    #[serde(rename = "#text")]
    Call(Expression),
    #[serde(rename = "#map")]
    Keys(Box<AggregateKeys>),
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(title = "an aggregate", extend("oneOf" = one_of(&[&["of"], &["plugin"]])))]
struct AggregateKeys {
    /// The call: `sum(quantity)`.
    of: Option<Expression>,
    /// A component of the world `aggregate`; a step has one at most.
    plugin: Option<PluginKeys>,
    /// Only rows for which this SQL expression is true are aggregated.
    #[serde(rename = "where")]
    filter: Option<Expression>,
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(title = "a plugin that aggregates")]
struct PluginKeys {
    /// A component file or a plugin's folder, relative to the manifest.
    #[serde(rename = "use")]
    #[schemars(extend("x-format" = "path"))]
    reference: Spanned<String>,
    /// Handed to the plugin as JSON; the plugin's own schema checks it.
    #[serde(default)]
    config: Option<Spanned<serde_json::Value>>,
    /// Bounds of this plugin; what is absent comes from `limits.plugin`.
    #[serde(default)]
    limits: PluginLimits,
    /// What the plugin may read: its column to SQL expression. Absent: the step's input columns by their names.
    #[schemars(extend("minProperties" = 1, "maxProperties" = MAX_ENTRIES, "propertyNames" = column_names()))]
    reads: Option<Entries<Expression>>,
}

impl TryFrom<AggregateForm> for AggregateCall {
    type Error = String;

    fn try_from(form: AggregateForm) -> Result<Self, String> {
        let keys = match form {
            AggregateForm::Call(of) => return Ok(Self { of: AggregateOf::Call(of.0), filter: None }),
            AggregateForm::Keys(keys) => *keys,
        };
        let of = match (keys.of, keys.plugin) {
            (Some(of), None) => AggregateOf::Call(of.0),
            (None, Some(plugin)) => AggregateOf::Plugin(Box::new(plugin.into())),
            _ => return Err("an aggregate is a call or a plugin".to_owned()),
        };
        Ok(Self { of, filter: keys.filter.map(|filter| filter.0) })
    }
}

impl From<PluginKeys> for AggregatePlugin {
    fn from(keys: PluginKeys) -> Self {
        let PluginKeys { reference, config, limits, reads } = keys;
        let plugin = PluginStep { reference, config, limits, http: None, tables: None, digest_column: None, key: None };
        Self { plugin, reads: reads.map(|reads| reads.map(|expression| expression.0)) }
    }
}
