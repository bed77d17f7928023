//! A windowed aggregation as the manifest describes it.

use std::sync::Arc;

use arrow_schema::{FieldRef, SchemaRef};

use super::{Aggregate, AggregateSpec};
use crate::expression::ExpressionError;

/// Keys, aggregates and what windows give out, whatever their shape.
#[derive(Debug, Clone)]
pub struct WindowSpec {
    /// Id of the step: the origin of its rows.
    pub step: Arc<str>,
    pub time: WindowTime,
    pub showing: Showing,
    /// The key columns, as [`crate::KeyEncoder::fields`] gives them.
    pub key: Vec<FieldRef>,
    pub aggregates: Vec<AggregateSpec>,
}

/// Whose time rows are put into windows by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum WindowTime {
    #[default]
    Event,
    /// The wall clock's, when the row comes.
    Processing,
}

/// When a window shows its result.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Emit {
    /// When the watermark passes its end.
    #[default]
    OnClose,
    /// Whenever it has changed.
    OnUpdate,
    /// Both.
    Both,
}

/// When and for how long windows show results.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Showing {
    pub emit: Emit,
    /// For how long behind its end a window takes rows, and corrects what it has shown.
    pub lateness_us: i64,
    /// Least wall-clock time between updates; 0: with every batch.
    pub throttle_us: i64,
}

impl Showing {
    /// Whether open windows show results.
    pub fn updates(&self) -> bool {
        self.emit != Emit::OnClose
    }

    /// Whether a result may replace an earlier one, or is always the first and last of its window and key.
    pub fn is_upsert(&self) -> bool {
        self.updates() || self.lateness_us > 0
    }

    pub(super) fn is_throttled(&self) -> bool {
        self.updates() && self.throttle_us > 0
    }
}

impl WindowSpec {
    pub(super) fn compile(&self, input: &SchemaRef) -> Result<Vec<Aggregate>, (usize, ExpressionError)> {
        let compile = |(place, spec)| Aggregate::compile(spec, input).map_err(|error| (place, error));
        self.aggregates.iter().enumerate().map(compile).collect()
    }

    /// Everything that stored state depends on; `shape` is what it depends on of the windows.
    pub(super) fn layout(&self, kind: &str, shape: &str, aggregates: &[Aggregate]) -> String {
        let key: Vec<String> = self.key.iter().map(|field| format!("{} {}", field.name(), field.data_type())).collect();
        let (version, key, aggregates) = (super::slots::LAYOUT_VERSION, key.join(", "), super::layout(aggregates));
        format!("{kind}/{version} {shape} key=[{key}] aggregates=[{aggregates}]")
    }
}

/// Late rows so far, by why they are late.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct LateRows {
    /// The window was gone by the watermark of the row's own partition.
    pub behind_watermark: u64,
    /// In time there, but the step had let go of the window.
    pub window_fired: u64,
}
