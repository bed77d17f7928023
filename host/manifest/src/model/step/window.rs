//! A step that aggregates by key and window.

use schemars::JsonSchema;
use serde::Deserialize;

use crate::entries::Entries;
use crate::scalar::Duration;
use crate::span::Spanned;

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
pub(super) struct WindowKeys {
    /// The size of windows side by side.
    tumbling: Spanned<Duration>,
    /// When a window shows its result.
    #[serde(default)]
    emit: Emit,
}

impl WindowKeys {
    /// The step of a `window` with the keys beside it.
    pub(super) fn step(self, key: Vec<Spanned<String>>, aggregate: Entries<Spanned<String>>) -> WindowStep {
        WindowStep { key, shape: WindowShape::Tumbling { size: self.tumbling }, emit: self.emit, aggregate }
    }
}
