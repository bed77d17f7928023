//! A step that aggregates by key and window.

use schemars::JsonSchema;
use serde::Deserialize;

use super::{AggregateCall, PluginStep};
use crate::entries::Entries;
use crate::scalar::Duration;
use crate::schema::one_of;
use crate::span::Spanned;

/// The shapes of windows; a window has one.
const SHAPES: &[&[&str]] = &[&["tumbling"], &["hopping"], &["session"], &["global"], &["plugin"]];

/// A keyed window with its aggregates.
#[derive(Debug, Clone, PartialEq)]
pub struct WindowStep {
    /// Columns or expressions; empty: all rows together.
    pub key: Vec<Spanned<String>>,
    pub shape: WindowShape,
    /// How far behind the epoch, or behind the zone's midnight, windows start.
    pub offset: Option<Spanned<Duration>>,
    /// An IANA name.
    pub time_zone: Option<Spanned<String>>,
    pub showing: Showing,
    pub time: WindowTime,
    /// Output column to aggregate call, in order.
    pub aggregate: Entries<AggregateCall>,
}

#[derive(Debug, Clone, PartialEq)]
pub enum WindowShape {
    /// Windows side by side, aligned with the epoch, or with a zone's clock.
    Tumbling { size: Spanned<Duration> },
    /// Windows that overlap.
    Hopping { size: Spanned<Duration>, every: Spanned<Duration> },
    /// Rows of a key with less than a gap between them.
    Session { gap: SessionGap },
    /// All rows of a key, cut where a trigger says.
    Global { rows: Option<Spanned<u64>>, every: Option<Spanned<Duration>> },
    /// Windows that a user's component gives out, row by row.
    Plugin(Box<PluginStep>),
}

/// How far apart rows of one session may be.
#[derive(Debug, Clone, PartialEq)]
pub enum SessionGap {
    Fixed(Spanned<Duration>),
    /// An expression that gives milliseconds.
    By(Spanned<String>),
}

/// When and for how long windows show results.
#[derive(Debug, Clone, PartialEq)]
pub struct Showing {
    pub emit: Emit,
    /// For how long behind its end a window takes rows and corrects itself.
    pub lateness: Option<Spanned<Duration>>,
    /// Least time between updates.
    pub throttle: Option<Spanned<Duration>>,
}

/// When a window shows its result.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Emit {
    /// When the watermark passes its end.
    #[default]
    OnClose,
    /// Whenever it has changed: with every batch, or as `throttle` says.
    OnUpdate,
    /// Whenever it has changed, and when the watermark passes its end.
    Both,
}

/// Whose time rows are put into windows by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum WindowTime {
    /// The rows'.
    #[default]
    Event,
    /// The wall clock's, when a row comes.
    Processing,
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(title = "a window", extend("oneOf" = one_of(SHAPES)))]
pub(super) struct WindowKeys {
    /// The size of windows side by side.
    tumbling: Option<Spanned<Duration>>,
    /// Windows that overlap.
    hopping: Option<HoppingKeys>,
    /// Rows with less than a gap between them.
    session: Option<SessionKeys>,
    /// All rows, cut where a trigger says.
    global: Option<GlobalKeys>,
    /// A component that says which windows a row is in: it writes `window_start` and `window_end`, timestamp(us)!.
    plugin: Option<PluginStep>,
    /// When a window shows its result.
    #[serde(default)]
    emit: Emit,
    /// For how long behind its end a window takes rows and corrects what it has shown.
    lateness: Option<Spanned<Duration>>,
    /// Least wall-clock time between updates of a step; without it every batch shows its own.
    throttle: Option<Spanned<Duration>>,
    /// How far behind the epoch, or behind a zone's midnight, windows start.
    offset: Option<Spanned<Duration>>,
    /// An IANA name: windows of days or hours follow this zone's clock.
    time_zone: Option<Spanned<String>>,
    /// Whose time rows are put into windows by.
    #[serde(default)]
    time: WindowTime,
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(title = "a hopping window")]
struct HoppingKeys {
    /// How long a window is.
    size: Spanned<Duration>,
    /// From one start to the next.
    every: Spanned<Duration>,
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(title = "a session window", extend("oneOf" = one_of(&[&["gap"], &["gap_by"]])))]
struct SessionKeys {
    /// Rows this far apart are in two sessions.
    gap: Option<Spanned<Duration>>,
    /// An SQL expression that gives the gap behind a row, in whole milliseconds.
    #[schemars(extend("x-format" = "expression"))]
    gap_by: Option<Spanned<String>>,
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(title = "a global window")]
struct GlobalKeys {
    /// Shows the result of so many rows of a key and starts anew.
    #[schemars(range(min = 1))]
    rows: Option<Spanned<u64>>,
    /// Shows the result when event time is so far behind a key's earliest row, and starts anew.
    every: Option<Spanned<Duration>>,
}

impl WindowKeys {
    /// The step of a `window` with the keys beside it.
    ///
    /// # Errors
    /// When it has no shape, which the structural check has seen that it has.
    pub(super) fn step(
        self,
        key: Vec<Spanned<String>>,
        aggregate: Entries<AggregateCall>,
    ) -> Result<WindowStep, String> {
        let Self { emit, lateness, throttle, offset, time_zone, time, .. } = self;
        let showing = Showing { emit, lateness, throttle };
        let shape = match self {
            Self { tumbling: Some(size), .. } => WindowShape::Tumbling { size },
            Self { hopping: Some(HoppingKeys { size, every }), .. } => WindowShape::Hopping { size, every },
            Self { session: Some(SessionKeys { gap: Some(gap), .. }), .. } => {
                WindowShape::Session { gap: SessionGap::Fixed(gap) }
            }
            Self { session: Some(SessionKeys { gap_by: Some(gap), .. }), .. } => {
                WindowShape::Session { gap: SessionGap::By(gap) }
            }
            Self { plugin: Some(plugin), .. } => WindowShape::Plugin(Box::new(plugin)),
            Self { global: Some(GlobalKeys { rows, every }), .. } => WindowShape::Global { rows, every },
            _ => return Err("a window without a shape".to_owned()),
        };
        Ok(WindowStep { key, shape, offset, time_zone, showing, time, aggregate })
    }
}
