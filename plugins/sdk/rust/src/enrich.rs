//! Plugins that ask services: a function that says what a row asks, and one that takes the row with the answers.
//!
//! ```
//! use weir_sdk::prelude::*;
//!
//! #[derive(Input)]
//! struct Payment<'a> {
//!     currency: &'a str,
//!     amount: Decimal,
//! }
//!
//! #[derive(Output)]
//! struct InEur {
//!     #[decimal(12, 2)]
//!     amount_eur: Decimal,
//! }
//!
//! #[derive(Config)]
//! struct Rates {
//!     /// Such as https://rates.example
//!     service: String,
//! }
//!
//! fn ask(payment: &Payment, rates: &Rates) -> Request {
//!     Request::get(format!("{}/eur/{}", rates.service, encode(payment.currency)))
//! }
//!
//! #[enrich(requests = ask, name = "in-eur", version = "1.0.0")]
//! fn in_eur(payment: Payment, answers: Answers, _: &Rates) -> Result<InEur, Reject> {
//!     let answer = answers.one()?;
//!     if answer.status == 404 {
//!         return Err(reject!("currency-unknown", "{}", payment.currency));
//!     }
//!     let rate: Decimal = answer.text()?.trim().parse()?;
//!     let amount_eur = payment.amount.checked_mul(rate).ok_or(reject!("amount-too-large"))?;
//!     Ok(InEur { amount_eur: amount_eur.round(2) })
//! }
//!
//! # fn main() {
//! let columns = [("currency", "utf8!"), ("amount", "decimal(12, 2)!")];
//! let plugin = weir_sdk::testing::Instance::<in_eur>::open(r#"{"service": "http://rates"}"#, &columns).unwrap();
//! let rows = [[Some("USD"), Some("10.00")], [Some("NOK"), Some("1.00")]];
//! let outcome = plugin.process_with(&rows, |request| match request.url.as_str() {
//!     "http://rates/eur/USD" => Ok(Response::new(200, "0.92")),
//!     _ => Ok(Response::new(404, "")),
//! });
//! assert_eq!(outcome.rows("main"), [[Some("9.20".to_owned())]]);
//! assert_eq!(outcome.rejects, [(1, "currency-unknown: NOK".to_owned())]);
//! # }
//! ```
//!
//! Both functions take the configuration, or neither. A batch asks everything at once, before its first row is answered;
//! equal `GET`s are asked once. The function for requests returns a [`Request`], an `Option` or a `Vec` of them, each plain
//! or in a `Result<_, Reject>`; the other what a transform may return. A batch may come again, so a request must be one
//! that may be made twice.

use crate::http::{self, FetchError, Fetched, Request, Response};
use crate::input::{self, Input};
use crate::plugin::{Opened, Shape, shape_of};
use crate::reject::Reject;
use crate::returned::{Collector, Returned};
use crate::wit::{Batch, Transformed};

/// What a row asks.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not what a function for requests can return",
    note = "it returns Request, Option<Request>, Vec<Request>, or Result<_, Reject> of these"
)]
pub trait Asked {
    /// # Errors
    /// The row's reject.
    fn requests(self) -> Result<Vec<Request>, Reject>;
}

impl Asked for Request {
    fn requests(self) -> Result<Vec<Request>, Reject> {
        Ok(vec![self])
    }
}

impl Asked for Option<Request> {
    fn requests(self) -> Result<Vec<Request>, Reject> {
        Ok(self.into_iter().collect())
    }
}

impl Asked for Vec<Request> {
    fn requests(self) -> Result<Vec<Request>, Reject> {
        Ok(self)
    }
}

impl<A: Asked> Asked for Result<A, Reject> {
    fn requests(self) -> Result<Vec<Request>, Reject> {
        self?.requests()
    }
}

/// The answers to what one row asked, in the order of its requests.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answers(pub Vec<Fetched>);

impl Answers {
    /// The answer of a row that asks one thing.
    ///
    /// # Errors
    /// Why there is none.
    ///
    /// # Panics
    /// When the row asked nothing.
    pub fn one(self) -> Result<Response, FetchError> {
        self.0.into_iter().next().expect("the row asked nothing")
    }

    /// The answer of a row that may ask one thing.
    ///
    /// # Errors
    /// Why there is none.
    pub fn optional(self) -> Result<Option<Response>, FetchError> {
        self.0.into_iter().next().transpose()
    }
}

/// The shape of a function without configuration.
pub fn shape<'a, E: Input<'a>, R: Returned>(_: impl Fn(E, Answers) -> R) -> Shape {
    shape_of::<E, R>()
}

/// The shape of a function with configuration.
pub fn shape_with<'a, C: 'a, E: Input<'a>, R: Returned>(_: impl Fn(E, Answers, &'a C) -> R) -> Shape {
    shape_of::<E, R>()
}

/// Asks for each row, then answers each.
pub fn each<'a, C, E: Input<'a>, Q: Asked, R: Returned>(
    ask: impl Fn(&E) -> Q,
    answer: impl Fn(E, Answers) -> R,
    opened: &'a Opened<C>,
    batch: &'a Batch,
) -> Transformed {
    let columns = input::bind::<E>(batch, opened.reads());
    let mut collector = Collector::new(opened.writes(), batch.rows as usize);
    let mut requests = Vec::new();
    let mut rows = Vec::with_capacity(batch.rows as usize);
    for row in 0..batch.rows {
        let row = E::read(&columns, row as usize);
        let before = requests.len();
        let asked = ask(&row).requests().map(|asked| requests.extend(asked));
        rows.push((row, asked.map(|()| requests.len() - before)));
    }
    let mut answers = http::fetch(requests).into_iter();
    for (number, (row, asked)) in (0..).zip(rows) {
        let returned = asked.map(|count| answer(row, Answers(answers.by_ref().take(count).collect())));
        returned.collect(number, &mut collector);
    }
    collector.finish(batch.rows)
}

/// As [`each`], both functions with the configuration.
pub fn each_with<'a, C, E: Input<'a>, Q: Asked, R: Returned>(
    ask: impl Fn(&E, &'a C) -> Q,
    answer: impl Fn(E, Answers, &'a C) -> R,
    opened: &'a Opened<C>,
    batch: &'a Batch,
) -> Transformed {
    each(|row| ask(row, &opened.config), |row, answers| answer(row, answers, &opened.config), opened, batch)
}
