//! Steps: the nodes between sources and sinks.
//!
//! A step does one thing; its kind is the key that is there. A new kind is a file here, a line in [`KINDS`], a key of
//! [`StepKeys`] and a variant of [`StepKind`].

mod aggregate;
mod dedup;
mod flatten;
mod group;
mod http;
mod join;
mod latest;
mod lookup;
mod plugin;
mod sample;
mod sessions;
mod top;
mod window;

pub use aggregate::{AggregateCall, AggregateOf, AggregatePlugin};
pub use dedup::{DedupStep, Keep};
pub use flatten::FlattenStep;
pub use group::GroupStep;
pub use http::{HttpCache, PluginHttp};
pub use join::{JoinStep, JoinTime, JoinWord, Tumbling};
pub use latest::LatestStep;
pub use lookup::{
    CassandraTable, FileTable, LookupCache, LookupStep, LookupTable, LookupWord, MatchesWord, Password, PostgresTable,
    SqliteTable,
};
pub use plugin::{PluginStep, PluginTable};
pub use sample::SampleStep;
pub use sessions::SessionsStep;
pub use top::TopStep;
pub use window::{Emit, SessionGap, Showing, WindowShape, WindowStep, WindowTime};

use schemars::JsonSchema;
use serde::Deserialize;

use super::source::column_names;
use super::{LATE_OUTPUT, LATE_OUTPUTS, MAX_ENTRIES, REST_OUTPUT, id_names};
use crate::entries::Entries;
use crate::scalar::TimeToLive;
use crate::schema::one_of;
use crate::span::Spanned;
use window::WindowKeys;

crate::schema::written_as!(Step => StepKeys);

/// The keys of each kind of step. A key may be in several; which kind a step is shows from all of its keys.
const KINDS: &[&[&str]] = &[
    &["plugin"],
    &["key", "plugin"],
    &["where"],
    &["select"],
    &["split"],
    &["sample"],
    &["flatten"],
    &["dedup"],
    &["latest"],
    &["top"],
    &["sessions"],
    &["key", "window", "aggregate"],
    &["key", "aggregate", "ttl"],
    &["join"],
    &["lookup"],
];

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
        let other = match &self.kind {
            StepKind::Join(join) => Some((1, &join.with)),
            _ => None,
        };
        self.from.iter().map(|from| (0, from)).chain(other)
    }

    /// Whether its results depend on event time.
    pub fn works_in_event_time(&self) -> bool {
        match &self.kind {
            StepKind::Plugin(_) | StepKind::Where(_) | StepKind::Select(_) => false,
            StepKind::Split(_) | StepKind::Sample(_) | StepKind::Flatten(_) | StepKind::Lookup(_) => false,
            StepKind::Top(top) => top.ttl.is_some(),
            StepKind::Dedup(_) | StepKind::Latest(_) | StepKind::Sessions(_) => true,
            StepKind::Window(window) => window.time == WindowTime::Event,
            StepKind::Group(group) => group.ttl.limit.is_some(),
            StepKind::Join(_) => true,
        }
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
    /// Sends each row to the first output whose condition is true, or to [`REST_OUTPUT`].
    Split(Entries<Spanned<String>>),
    Sample(Box<SampleStep>),
    Flatten(Box<FlattenStep>),
    Dedup(Box<DedupStep>),
    Latest(Box<LatestStep>),
    Top(Box<TopStep>),
    Sessions(Box<SessionsStep>),
    Window(Box<WindowStep>),
    Group(Box<GroupStep>),
    Join(Box<JoinStep>),
    Lookup(Box<LookupStep>),
}

impl StepKind {
    /// How messages call it.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Plugin(_) => "a plugin",
            Self::Where(_) => "`where`",
            Self::Select(_) => "`select`",
            Self::Split(_) => "`split`",
            Self::Sample(_) => "`sample`",
            Self::Flatten(_) => "`flatten`",
            Self::Dedup(_) => "`dedup`",
            Self::Latest(_) => "`latest`",
            Self::Top(_) => "`top`",
            Self::Sessions(_) => "`sessions`",
            Self::Window(_) => "a window",
            Self::Group(_) => "an aggregate by key",
            Self::Join(_) => "a join",
            Self::Lookup(_) => "a look-up",
        }
    }

    /// Whether rows come out of the step's id alone, without the name of an output.
    pub fn has_main_output(&self) -> bool {
        !matches!(self, Self::Split(_))
    }

    /// The outputs beside the main one, addressed as `step.output`; `None` where only the planner knows them.
    pub fn named_outputs(&self) -> Option<Vec<&str>> {
        match self {
            Self::Plugin(_) => None,
            Self::Where(_) | Self::Select(_) | Self::Sample(_) | Self::Flatten(_) | Self::Lookup(_) => Some(vec![]),
            Self::Split(conditions) => Some(conditions.names().chain([REST_OUTPUT]).collect()),
            Self::Dedup(_) | Self::Latest(_) | Self::Top(_) | Self::Sessions(_) => Some(vec![LATE_OUTPUT]),
            Self::Window(_) | Self::Group(_) => Some(vec![LATE_OUTPUT]),
            Self::Join(_) => Some(LATE_OUTPUTS.to_vec()),
        }
    }
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(title = "a step", extend("oneOf" = one_of(KINDS)))]
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
    /// Named outputs: name to SQL expression. A row goes to the first whose expression is true, or to `rest`.
    #[schemars(extend("minProperties" = 1, "maxProperties" = MAX_ENTRIES, "propertyNames" = id_names()))]
    split: Option<Entries<Expression>>,
    /// Keeps a share of the rows.
    sample: Option<SampleStep>,
    /// Takes a list apart into rows, or a struct into columns.
    flatten: Option<FlattenStep>,
    /// Lets one row of each key through.
    dedup: Option<DedupStep>,
    /// Keeps the newest row of each key.
    latest: Option<LatestStep>,
    /// Ranks the rows of each group.
    top: Option<TopStep>,
    /// Numbers the sessions of each key.
    sessions: Option<SessionsStep>,
    /// Rows with equal keys are counted together; columns or SQL expressions. `[]`: all rows together.
    key: Option<Vec<Expression>>,
    /// Which rows belong together in time.
    window: Option<WindowKeys>,
    /// The result's columns: name to an aggregate call such as `sum(quantity)`, to a call with a condition, or to a
    /// plugin.
    #[schemars(extend("minProperties" = 1, "maxProperties" = MAX_ENTRIES, "propertyNames" = column_names()))]
    aggregate: Option<Entries<AggregateCall>>,
    /// Without a window: how long a key without new rows is held, in event time.
    ttl: Option<Spanned<TimeToLive>>,
    /// Joins what the step is `from`, the left side, with another stream.
    join: Option<JoinStep>,
    /// Gives each row what a table has for its key.
    lookup: Option<LookupStep>,
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
        let list = |key: Vec<Expression>| key.into_iter().map(|expression| expression.0).collect();
        let kind = match keys {
            StepKeys { plugin: Some(plugin), key, .. } => {
                StepKind::Plugin(Box::new(PluginStep { key: key.map(list), ..plugin }))
            }
            StepKeys { filter: Some(filter), .. } => StepKind::Where(filter),
            StepKeys { select: Some(select), .. } => StepKind::Select(expressions(select)),
            StepKeys { split: Some(split), .. } => StepKind::Split(expressions(split)),
            StepKeys { sample: Some(sample), .. } => StepKind::Sample(Box::new(sample)),
            StepKeys { flatten: Some(flatten), .. } => StepKind::Flatten(Box::new(flatten)),
            StepKeys { dedup: Some(dedup), .. } => StepKind::Dedup(Box::new(dedup)),
            StepKeys { latest: Some(latest), .. } => StepKind::Latest(Box::new(latest)),
            StepKeys { top: Some(top), .. } => StepKind::Top(Box::new(top)),
            StepKeys { sessions: Some(sessions), .. } => StepKind::Sessions(Box::new(sessions)),
            StepKeys { key: Some(key), window: Some(window), aggregate: Some(aggregate), .. } => {
                StepKind::Window(Box::new(window.step(list(key), aggregate)?))
            }
            StepKeys { key: Some(key), aggregate: Some(aggregate), ttl: Some(ttl), .. } => {
                StepKind::Group(Box::new(GroupStep { key: list(key), aggregate, ttl }))
            }
            StepKeys { join: Some(join), .. } => StepKind::Join(Box::new(join)),
            StepKeys { lookup: Some(lookup), .. } => StepKind::Lookup(Box::new(lookup)),
            _ => return Err("a step without a kind".to_owned()),
        };
        Ok(Self { from: keys.from.list(), kind })
    }
}
