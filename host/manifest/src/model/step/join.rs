//! A step that joins two streams by key.

use schemars::JsonSchema;
use serde::Deserialize;

use super::{Expression, MAX_ENTRIES, PluginStep};
use crate::entries::Entries;
use crate::scalar::Duration;
use crate::schema::one_of;
use crate::span::Spanned;

crate::schema::written_as!(JoinStep => JoinKeys);

/// Two streams joined; the left one is what the step is `from`.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(from = "JoinKeys")]
pub struct JoinStep {
    /// The right stream.
    pub with: Spanned<String>,
    /// `inner` unless said.
    pub kind: Option<Spanned<JoinWord>>,
    /// Left expression to right expression; the keys are equal.
    pub on: Entries<Spanned<String>>,
    pub time: JoinTime,
    /// How much longer than it must the step waits for rows.
    pub lateness: Option<Spanned<Duration>>,
    /// What a pair must fulfil besides.
    pub filter: Option<Spanned<String>>,
    /// In front of the names of the right columns.
    pub prefix: Option<Spanned<String>>,
    /// Decides which of a left row's pairs go on.
    pub attribute: Option<Box<PluginStep>>,
}

/// Which rows may meet in time.
#[derive(Debug, Clone, PartialEq)]
pub enum JoinTime {
    /// The right row is from `before` before the left one's time to `after` after it.
    Within { before: Spanned<Duration>, after: Spanned<Duration> },
    /// Both are of the same tumbling window.
    Window { size: Spanned<Duration> },
    /// The right side is a table: a left row meets the version of its key that was valid at its time.
    AsOf,
}

/// Which rows come out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum JoinWord {
    /// Pairs.
    #[default]
    Inner,
    /// Pairs, and left rows without a match.
    Left,
    /// Pairs, and right rows without a match.
    Right,
    /// Pairs, and rows of either side without a match.
    Full,
    /// Each left row that has a match, once.
    Semi,
    /// Each left row that has none.
    Anti,
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(title = "a join", extend("oneOf" = one_of(&[&["within"], &["window"], &["as_of"]])))]
pub(super) struct JoinKeys {
    /// The right side: a source, a step, or a step's named output.
    with: Spanned<String>,
    /// Which rows come out; `inner` unless said.
    kind: Option<Spanned<JoinWord>>,
    /// The keys: an expression of the left side to one of the right side.
    #[schemars(extend("minProperties" = 1, "maxProperties" = MAX_ENTRIES))]
    on: Entries<Expression>,
    /// How far the right row's time may be from the left one's.
    within: Option<WithinForm>,
    /// Both rows are of the same window.
    window: Option<Tumbling>,
    /// `true`: the right side is a table; a left row meets the version of its key that was valid at its time.
    #[allow(dead_code, reason = "the structural check has seen that it is `true`; its presence is what counts")]
    #[schemars(extend("const" = true))]
    as_of: Option<bool>,
    /// How much longer than it must the step waits for rows that are late.
    lateness: Option<Spanned<Duration>>,
    /// What a pair must fulfil besides; sees the columns of both sides, the right ones with their prefix.
    #[serde(rename = "where")]
    #[schemars(extend("x-format" = "expression"))]
    filter: Option<Spanned<String>>,
    /// Put in front of the names of the right columns.
    #[schemars(extend("x-format" = "column-name"))]
    prefix: Option<Spanned<String>>,
    /// A component of the world `attribute`: it sees all pairs of a left row together and decides which go on.
    attribute: Option<Box<PluginStep>>,
}

/// The two ways to write an interval; the deserializer picks by the kind of node.
#[derive(Deserialize, JsonSchema)]
#[schemars(untagged, title = "an interval")]
enum WithinForm {
    /// As far to either side.
    #[serde(rename = "#text")]
    Both(Spanned<Duration>),
    #[serde(rename = "#map")]
    Apart(Apart),
}

/// The right row comes after the left one, or before it.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(title = "an interval")]
struct Apart {
    /// How long before the left row.
    before: Spanned<Duration>,
    /// How long after the left row.
    after: Spanned<Duration>,
}

/// Windows that cannot overlap.
#[derive(Debug, Clone, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(title = "windows side by side")]
pub struct Tumbling {
    /// Their size.
    pub tumbling: Spanned<Duration>,
}

impl From<JoinKeys> for JoinStep {
    fn from(keys: JoinKeys) -> Self {
        let JoinKeys { with, kind, on, within, window, as_of: _, lateness, filter, prefix, attribute } = keys;
        let time = match (within, window) {
            (Some(WithinForm::Both(both)), _) => JoinTime::Within { before: both.clone(), after: both },
            (Some(WithinForm::Apart(Apart { before, after })), _) => JoinTime::Within { before, after },
            (None, Some(window)) => JoinTime::Window { size: window.tumbling },
            (None, None) => JoinTime::AsOf,
        };
        Self { with, kind, on: on.map(|expression| expression.0), time, lateness, filter, prefix, attribute }
    }
}
