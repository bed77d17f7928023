//! Plugins that decide which pairs of a join go on, and what is written beside them: a function over all pairs of one left
//! row, such as a purchase with the clicks before it.
//!
//! ```
//! use weir_sdk::prelude::*;
//!
//! /// The columns of a pair that the function reads, of either side.
//! #[derive(Input)]
//! struct Touch<'a> {
//!     channel: &'a str,
//!     price: f64,
//! }
//!
//! #[derive(Output)]
//! struct Credit {
//!     credit: f64,
//! }
//!
//! /// Every touch that is no direct visit has the same share.
//! #[attribute(name = "linear", version = "1.0.0")]
//! fn linear(pairs: Vec<Pair<Touch>>) -> Vec<Option<Credit>> {
//!     let is_paid = |pair: &Pair<Touch>| pair.row.channel != "direct";
//!     let paid = pairs.iter().filter(|pair| is_paid(pair)).count() as f64;
//!     pairs.iter().map(|pair| is_paid(pair).then(|| Credit { credit: pair.row.price / paid })).collect()
//! }
//!
//! # fn main() {
//! let columns = [("price", "float64!"), ("channel", "utf8!")];
//! let plugin = weir_sdk::testing::Instance::<linear>::open("", &columns).unwrap();
//! let outcome = plugin.attribute(&[
//!     (0, 900, 100, [Some("10"), Some("mail")]),
//!     (0, 900, 200, [Some("10"), Some("direct")]),
//!     (0, 900, 300, [Some("10"), Some("search")]),
//!     (1, 950, 300, [Some("7"), Some("search")]),
//! ]);
//! assert_eq!(outcome.sources("main"), [0, 2, 3]);
//! assert_eq!(outcome.rows("main"), [[Some("5".to_owned())], [Some("5".to_owned())], [Some("7".to_owned())]]);
//! # }
//! ```
//!
//! A function's pairs are never none, and stand in the order of the right rows' event times. It returns, for each of them in
//! their order, `Some` of what is written beside it or `None` where it does not go on; `Vec<bool>` where nothing is written.
//! `Err(reject!(..))` refuses the left row.

use crate::input::{self, Input};
use crate::output::Output;
use crate::plugin::{Opened, Shape};
use crate::reject::Reject;
use crate::returned::Collector;
use crate::time::Timestamp;
use crate::wit::{Cardinality, Transformed};

pub use crate::attribute_bindings::exports::weir::plugin::attribute::Pairs;

/// A left row beside one of the right rows that it meets.
#[derive(Debug, Clone, PartialEq)]
pub struct Pair<R> {
    /// The columns of both that the plugin reads.
    pub row: R,
    /// Event times of the two rows.
    pub left_at: Timestamp,
    pub right_at: Timestamp,
}

/// What a function over pairs may return.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not what an #[attribute] function can return",
    note = "it returns Vec<Option<Row>> with #[derive(Output)] on Row, Vec<bool>, or Result<_, Reject> of these; an entry a pair"
)]
pub trait Credited {
    type Output: Output;

    /// # Errors
    /// The left row's reject.
    fn credits(self) -> Result<Vec<Option<Self::Output>>, Reject>;
}

impl<O: Output> Credited for Vec<Option<O>> {
    type Output = O;

    fn credits(self) -> Result<Self, Reject> {
        Ok(self)
    }
}

/// `true` lets a pair go on as it is.
impl Credited for Vec<bool> {
    type Output = ();

    fn credits(self) -> Result<Vec<Option<()>>, Reject> {
        Ok(self.into_iter().map(|goes_on| goes_on.then_some(())).collect())
    }
}

impl<C: Credited> Credited for Result<C, Reject> {
    type Output = C::Output;

    fn credits(self) -> Result<Vec<Option<C::Output>>, Reject> {
        self?.credits()
    }
}

fn shape_of<'a, E: Input<'a>, C: Credited>() -> Shape {
    Shape { reads: E::columns(), cardinality: Cardinality::Filter, outputs: C::Output::outputs(), tables: Vec::new() }
}

/// The shape of a function without configuration.
pub fn shape<'a, E: Input<'a>, C: Credited>(_: impl Fn(Vec<Pair<E>>) -> C) -> Shape {
    shape_of::<E, C>()
}

/// The shape of a function with configuration.
pub fn shape_with<'a, F: 'a, E: Input<'a>, C: Credited>(_: impl Fn(Vec<Pair<E>>, &'a F) -> C) -> Shape {
    shape_of::<E, C>()
}

/// Calls the function for each group.
///
/// # Panics
/// When it does not answer each pair: the call's groups are then tried one by one.
pub fn each<'a, F, E: Input<'a>, C: Credited>(
    function: impl Fn(Vec<Pair<E>>) -> C,
    opened: &'a Opened<F>,
    pairs: &'a Pairs,
) -> Transformed {
    let columns = input::bind::<E>(&pairs.batch, opened.reads());
    let mut collector = Collector::new(opened.writes(), pairs.batch.rows as usize);
    let mut first = 0;
    for group in pairs.group.chunk_by(|one, other| one == other) {
        let pair = |row: usize| Pair {
            row: E::read(&columns, row),
            left_at: Timestamp::from_micros(pairs.left_time_us[row]),
            right_at: Timestamp::from_micros(pairs.right_time_us[row]),
        };
        let credits = function((first..first + group.len()).map(pair).collect()).credits();
        match credits {
            Err(reject) => collector.reject(first as u32, reject),
            Ok(credits) if credits.len() == group.len() => collector.push_group(first as u32, credits),
            Ok(credits) => panic!("the function answered {} of {} pairs", credits.len(), group.len()),
        }
        first += group.len();
    }
    collector.finish(pairs.batch.rows)
}

/// Calls the function with its configuration for each group.
///
/// # Panics
/// As [`each`].
pub fn each_with<'a, F, E: Input<'a>, C: Credited>(
    function: impl Fn(Vec<Pair<E>>, &'a F) -> C,
    opened: &'a Opened<F>,
    pairs: &'a Pairs,
) -> Transformed {
    each(|pairs| function(pairs, &opened.config), opened, pairs)
}
