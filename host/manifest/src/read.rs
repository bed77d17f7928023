//! From text to typed manifest: text -> nodes -> (overlays, `${}`) -> structural check -> typed structs.
//!
//! Each stage collects its faults and hands on what is sound, so that one look shows everything.

pub(crate) mod from_node;
pub(crate) mod node;
