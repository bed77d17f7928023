//! Steps and sinks: the nodes of the graph.
//!
//! A step does one thing; its kind is the key that is there.

use schemars::JsonSchema;
use serde::Deserialize;

use super::MAX_ENTRIES;
use super::limits::PluginLimits;
use super::source::column_names;
use crate::entries::Entries;
use crate::scalar::Duration;
use crate::span::Spanned;

crate::schema::written_as!(Step => StepKeys, Sink => SinkKeys);

/// One node between sources and sinks.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(try_from = "StepKeys")]
pub struct Step {
    /// Sources or steps, or steps' named outputs: `clean`, `clean.refunds`. See [`super::from_reference`]. The rows of
    /// several are read together.
    pub from: Vec<Spanned<String>>,
    pub kind: StepKind,
}

impl Step {
    /// Everything that the step reads, by port; ports are numbered without a gap.
    pub fn inputs(&self) -> impl Iterator<Item = (usize, &Spanned<String>)> {
        self.from.iter().map(|from| (0, from))
    }

    /// Whether its results depend on event time.
    pub fn works_in_event_time(&self) -> bool {
        matches!(self.kind, StepKind::Window(_))
    }
}

/// What a step does.
#[derive(Debug, Clone, PartialEq)]
pub enum StepKind {
    Plugin(Box<PluginStep>),
    /// Keeps the rows for which the expression is true.
    Where(Spanned<String>),
    /// Replaces the columns: name to expression, in order.
    Select(Entries<Spanned<String>>),
    Window(Box<WindowStep>),
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(
    title = "a step",
    extend("oneOf" = [
        { "required": ["plugin"] },
        { "required": ["where"] },
        { "required": ["select"] },
        { "required": ["key", "window", "aggregate"] },
    ])
)]
struct StepKeys {
    /// A source or step, or a step's named output: `clean`, `clean.refunds`; or a list of them, read together.
    from: FromForm,
    /// Runs the rows through a sandboxed component.
    plugin: Option<PluginStep>,
    /// Keeps the rows for which this SQL expression is true.
    #[serde(rename = "where")]
    #[schemars(extend("x-format" = "expression"))]
    filter: Option<Spanned<String>>,
    /// Replaces the columns: name to SQL expression.
    #[schemars(extend("minProperties" = 1, "maxProperties" = MAX_ENTRIES, "propertyNames" = column_names()))]
    select: Option<Entries<Expression>>,
    /// Rows with equal keys are counted together; columns or SQL expressions. `[]`: all rows together.
    key: Option<Vec<Expression>>,
    /// Which rows belong together in time.
    window: Option<WindowKeys>,
    /// The result's columns: name to an aggregate call such as `sum(quantity)`.
    #[schemars(extend("minProperties" = 1, "maxProperties" = MAX_ENTRIES, "propertyNames" = column_names()))]
    aggregate: Option<Entries<Expression>>,
}

/// What a step reads; the deserializer picks by the kind of node.
#[derive(Deserialize, JsonSchema)]
#[schemars(untagged, title = "what a step reads")]
enum FromForm {
    /// One source, step or named output.
    #[serde(rename = "#text")]
    One(Spanned<String>),
    /// Several with the same columns.
    #[serde(rename = "#list")]
    Several(#[schemars(extend("minItems" = 1))] Vec<Spanned<String>>),
}

impl FromForm {
    fn list(self) -> Vec<Spanned<String>> {
        match self {
            Self::One(from) => vec![from],
            Self::Several(list) => list,
        }
    }
}

/// An SQL expression: text that is not empty.
#[derive(Deserialize, JsonSchema)]
#[serde(transparent)]
struct Expression(#[schemars(extend("x-format" = "expression"))] Spanned<String>);

impl TryFrom<StepKeys> for Step {
    type Error = String;

    fn try_from(keys: StepKeys) -> Result<Self, String> {
        let expressions = |entries: Entries<Expression>| entries.map(|expression| expression.0);
        let kind = match keys {
            StepKeys { plugin: Some(plugin), .. } => StepKind::Plugin(Box::new(plugin)),
            StepKeys { filter: Some(filter), .. } => StepKind::Where(filter),
            StepKeys { select: Some(select), .. } => StepKind::Select(expressions(select)),
            StepKeys { key: Some(key), window: Some(window), aggregate: Some(aggregate), .. } => {
                StepKind::Window(Box::new(WindowStep {
                    key: key.into_iter().map(|expression| expression.0).collect(),
                    shape: WindowShape::Tumbling { size: window.tumbling },
                    emit: window.emit,
                    aggregate: expressions(aggregate),
                }))
            }
            _ => return Err("a step without a kind".to_owned()),
        };
        Ok(Self { from: keys.from.list(), kind })
    }
}

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
    /// Adds a column of this name with the digest of the plugin that made the row.
    #[schemars(extend("x-format" = "column-name"))]
    pub digest_column: Option<Spanned<String>>,
}

/// A keyed window with its aggregates.
#[derive(Debug, Clone, PartialEq)]
pub struct WindowStep {
    /// Columns or expressions; empty: all rows together.
    pub key: Vec<Spanned<String>>,
    pub shape: WindowShape,
    pub emit: Emit,
    /// Output column to aggregate call, in order.
    pub aggregate: Entries<Spanned<String>>,
}

#[derive(Debug, Clone, PartialEq)]
pub enum WindowShape {
    /// Windows side by side, aligned with the epoch.
    Tumbling { size: Spanned<Duration> },
}

/// When a window shows its result.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Emit {
    /// Once, when the watermark passes its end.
    #[default]
    OnClose,
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(title = "a window", extend("x-later" = ["lateness", "hopping", "session"]))]
struct WindowKeys {
    /// The size of windows side by side.
    tumbling: Spanned<Duration>,
    /// When a window shows its result.
    #[serde(default)]
    emit: Emit,
}

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
