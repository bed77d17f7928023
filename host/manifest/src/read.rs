//! From text to typed manifest: text -> nodes -> (overlays, `${}`) -> structural check -> typed structs.
//!
//! Each stage collects its faults and hands on what is sound, so that one look shows everything.

pub(crate) mod flow;
pub(crate) mod format;
pub(crate) mod from_node;
pub(crate) mod interpolate;
pub(crate) mod node;
pub(crate) mod overlay;
pub(crate) mod shape;
pub(crate) mod structure;
pub(crate) mod syntax;
