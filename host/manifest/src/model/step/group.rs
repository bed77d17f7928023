//! A step that aggregates by key without a window.

use super::AggregateCall;
use crate::entries::Entries;
use crate::scalar::TimeToLive;
use crate::span::Spanned;

/// A table of aggregates by key, told row by row as it changes.
#[derive(Debug, Clone, PartialEq)]
pub struct GroupStep {
    /// Columns or expressions; empty: all rows together.
    pub key: Vec<Spanned<String>>,
    /// Output column to aggregate call, in order.
    pub aggregate: Entries<AggregateCall>,
    /// How long a key without rows is held.
    pub ttl: Spanned<TimeToLive>,
}
