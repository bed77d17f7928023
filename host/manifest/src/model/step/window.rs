//! A step that aggregates by key and window.

use schemars::JsonSchema;
use serde::Deserialize;

use crate::entries::Entries;
use crate::scalar::Duration;
use crate::schema::one_of;
use crate::span::Spanned;

/// The shapes of windows; a window has one.
const SHAPES: &[&[&str]] = &[&["tumbling"], &["hopping"]];

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
    pub aggregate: Entries<Spanned<String>>,
}

#[derive(Debug, Clone, PartialEq)]
pub enum WindowShape {
    /// Windows side by side, aligned with the epoch, or with a zone's clock.
    Tumbling { size: Spanned<Duration> },
    /// Windows that overlap.
    Hopping { size: Spanned<Duration>, every: Spanned<Duration> },
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
#[schemars(title = "a window", extend("oneOf" = one_of(SHAPES), "x-later" = ["session", "global"]))]
pub(super) struct WindowKeys {
    /// The size of windows side by side.
    tumbling: Option<Spanned<Duration>>,
    /// Windows that overlap.
    hopping: Option<HoppingKeys>,
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

impl WindowKeys {
    /// The step of a `window` with the keys beside it.
    ///
    /// # Errors
    /// When it has no shape, which the structural check has seen that it has.
    pub(super) fn step(
        self,
        key: Vec<Spanned<String>>,
        aggregate: Entries<Spanned<String>>,
    ) -> Result<WindowStep, String> {
        let shape = match (self.tumbling, self.hopping) {
            (Some(size), _) => WindowShape::Tumbling { size },
            (_, Some(HoppingKeys { size, every })) => WindowShape::Hopping { size, every },
            _ => return Err("a window without a shape".to_owned()),
        };
        let showing = Showing { emit: self.emit, lateness: self.lateness, throttle: self.throttle };
        let Self { offset, time_zone, time, .. } = self;
        Ok(WindowStep { key, shape, offset, time_zone, showing, time, aggregate })
    }
}
