//! Writes Weir plugins in Rust: a struct per row type and one function. A plugin with state by key is in [`mod@process`], one
//! that asks services or tables in [`mod@enrich`], one that aggregates in [`mod@aggregate`], one that decides on the
//! pairs of a join in [`mod@attribute`].
//!
//! ```
//! use weir_sdk::prelude::*;
//!
//! /// The columns that the function reads. Others pass by it and never enter the sandbox.
//! #[derive(Input)]
//! struct Event<'a> {
//!     kind: Option<&'a str>,
//!     amount: Option<Decimal>,
//! }
//!
//! /// The columns that it writes: new ones, and ones that take their namesake's place.
//! #[derive(Output)]
//! struct Clean {
//!     kind: String,
//!     #[decimal(12, 2)]
//!     amount_eur: Decimal,
//! }
//!
//! #[derive(Config)]
//! struct Rules {
//!     #[config(default = dec!(10000))]
//!     max_amount: Decimal,
//! }
//!
//! #[transform(name = "clean-events", version = "1.0.0")]
//! fn clean(event: Event, rules: &Rules) -> Result<Option<Clean>, Reject> {
//!     let kind = event.kind.ok_or(reject!("kind-missing"))?.trim().to_lowercase();
//!     let amount = event.amount.unwrap_or_default();
//!     if amount > rules.max_amount {
//!         return Err(reject!("amount-too-large", "{amount} > {}", rules.max_amount));
//!     }
//!     Ok(Some(Clean { kind, amount_eur: amount.round(2) }))
//! }
//! # fn main() {}
//! ```
//!
//! What the function may return: a row, `Option` of one (a filter), a `Vec` (many), `bool` (keep or drop the row as
//! it is), each plain or in a `Result<_, Reject>`. `name` and `version` are those of the crate unless the attribute
//! gives others.
//!
//! Lists are `Vec`s and structs are structs with the same derive: [`mod@nested`].
//!
//! Rows go to several outputs where the row is an enum, and a function may take whole columns instead of rows:
//! [`mod@columns`].
//!
//! ```
//! use weir_sdk::prelude::*;
//!
//! #[derive(Input)]
//! struct Order<'a> { items: &'a str, total: i64 }
//!
//! #[derive(Output)]
//! struct Item { item: String }
//!
//! #[derive(Output)]
//! struct Alert { why: &'static str }
//!
//! /// Outputs `item` and `suspicious`; the first is also what the step's id alone means.
//! #[derive(Output)]
//! enum Routed { Item(Item), Suspicious(Alert) }
//!
//! #[transform(name = "unpack", version = "1.0.0")]
//! fn unpack(order: Order) -> Vec<Routed> {
//!     let items = order.items.split(',').map(|item| Routed::Item(Item { item: item.to_owned() }));
//!     let alert = (order.total > 10_000).then(|| Routed::Suspicious(Alert { why: "a large order" }));
//!     items.chain(alert).collect()
//! }
//! # fn main() {}
//! ```
//!
//! `cargo test` runs the function natively; [`testing`] runs whole batches through the same glue as in the host.
//! Deliberately no I/O, clock or randomness: a plugin has only its rows and its configuration, so the same input
//! always gives the same result; one that asks services or tables has their answers too.

// The derives say `::weir_sdk`, in this crate's own tests too.
extern crate self as weir_sdk;

#[doc(hidden)]
#[rustfmt::skip]
pub mod bindings;
#[doc(hidden)]
#[rustfmt::skip]
pub mod process_bindings;
#[doc(hidden)]
#[rustfmt::skip]
pub mod enrich_bindings;

#[doc(hidden)]
#[rustfmt::skip]
pub mod aggregate_bindings;
#[doc(hidden)]
#[rustfmt::skip]
pub mod attribute_bindings;

pub mod aggregate;
pub mod attribute;
pub mod columns;
pub mod config;
pub mod decimal;
pub mod enrich;
pub mod http;
pub mod input;
pub mod json;
pub mod log;
pub mod nested;
pub mod output;
pub mod plugin;
pub mod process;
pub mod reject;
pub mod returned;
pub mod state;
pub mod tables;
pub mod testing;

pub mod time;
pub mod types;
pub mod write;

/// The types of `wit/`, as the bindings give them.
pub mod wit {
    pub use crate::bindings::weir::plugin::answer::{Fault, OutputRows, Reject, Selection};
    pub use crate::bindings::weir::plugin::columns::{Batch, Column, Values, VarBytes};
    pub use crate::bindings::weir::plugin::row_wise::{Cardinality, Contract, Output, Transformed};
    pub use crate::bindings::weir::plugin::schema::{DataType, DecimalType, Field, TimeUnit, TimestampType};
    pub use crate::enrich_bindings::exports::weir::plugin::enrich::Contract as EnrichContract;
    pub use crate::enrich_bindings::weir::plugin::tables::Table;
}

pub use decimal::{Decimal, DecimalError, Rounding};
pub use reject::Reject;
pub use time::{Date, Timestamp, Unit};
pub use weir_sdk_derive::{
    Config, Input, InputColumns, LookupKey, Output, OutputColumns, State, Timer, aggregate, attribute, enrich, process,
    transform,
};

/// What a plugin's `use` line needs.
pub mod prelude {
    pub use crate::aggregate::Aggregate;
    pub use crate::attribute::Pair;
    pub use crate::columns::{ColumnBuilder, ColumnView, ListView, Nullable, Rows};
    pub use crate::enrich::Answers;
    pub use crate::http::{FetchError, Method, Request, Response, encode};
    pub use crate::nested::Items;
    pub use crate::process::{NoTimer, Process, Timers};
    pub use crate::state::{List, Map, Value};
    pub use crate::{Config, Date, Decimal, Input, InputColumns, LookupKey, Output, OutputColumns};
    pub use crate::{Reject, Rounding, State, Timer, Timestamp, Unit};
    pub use crate::{aggregate, attribute, dec, enrich, log, process, reject, transform};
}
