//! Pipeline manifests: read, checked as far as that goes without plugins, and typed.
//!
//! [`check`] reports every fault at once, each with its place, and hands on the part of the manifest that is sound,
//! so that the planner can add what it finds (columns, expressions, plugins) to the same list. Reading files,
//! choosing profiles by habit and the meaning of expressions are not this crate's business.

mod check;
mod column_type;
mod entries;
mod fault;
mod logic;
mod model;
mod read;
mod render;
mod scalar;
mod schema;
mod secret;
mod source_text;
mod span;

pub use check::{Checked, Environment, ParseOptions, check, default_profile};
pub use column_type::{ColumnType, MAX_DECIMAL_PRECISION, type_text};
pub use entries::Entries;
pub use fault::{Fault, Faults, MAX_FAULTS, Severity, nearest};
pub use model::*;
pub use read::node::{MAX_ALIASES, MAX_DEPTH, MAX_FILE_BYTES, MAX_NODES};
pub use render::MAX_FAULTS_SHOWN;
pub use scalar::{Duration, Instant, Rate, Share, Size, TimeToLive};
pub use schema::schema_json;
pub use secret::Secret;
pub use source_text::{LineColumn, Text, Texts};
pub use span::{Span, Spanned};
