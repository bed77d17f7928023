//! Plugins that ask services and tables: a function that says what a row asks, and one that takes the row with the answers.
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
//! #[enrich(asks = ask, name = "in-eur", version = "1.0.0")]
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
//! equal `GET`s are asked once. A batch may come again, so a request must be one that may be made twice.
//!
//! A table that the step's `tables` name is asked with a key, and answers a row or none:
//!
//! ```
//! use weir_sdk::prelude::*;
//! use weir_sdk::testing::tables::TestTable;
//!
//! #[derive(Input)]
//! struct Payment<'a> {
//!     currency: Option<&'a str>,
//!     amount: Decimal,
//! }
//!
//! /// What the table `rates` is asked with: its key.
//! #[derive(LookupKey)]
//! #[lookup(table = "rates", row = Rate)]
//! struct RateOf<'a> {
//!     code: &'a str,
//! }
//!
//! /// What is read of its rows.
//! #[derive(Input)]
//! struct Rate {
//!     rate: Decimal,
//! }
//!
//! #[derive(Output)]
//! struct InEur {
//!     #[decimal(12, 2)]
//!     amount_eur: Decimal,
//! }
//!
//! fn ask<'a>(payment: &Payment<'a>) -> Option<RateOf<'a>> {
//!     payment.currency.map(|code| RateOf { code })
//! }
//!
//! #[enrich(asks = ask, name = "in-eur", version = "1.0.0")]
//! fn in_eur(payment: Payment, found: Option<Rate>) -> Result<InEur, Reject> {
//!     let rate = found.ok_or(reject!("currency-unknown"))?.rate;
//!     let amount_eur = payment.amount.checked_mul(rate).ok_or(reject!("amount-too-large"))?;
//!     Ok(InEur { amount_eur: amount_eur.round(2) })
//! }
//!
//! # fn main() {
//! let rates = TestTable::new("rates", &[("code", "utf8!")], &[("rate", "decimal(8, 4)!")])
//!     .row(&[Some("USD"), Some("0.92")]);
//! let columns = [("currency", "utf8"), ("amount", "decimal(12, 2)!")];
//! let plugin = weir_sdk::testing::Instance::<in_eur>::open_with("", &columns, vec![rates]).unwrap();
//! let outcome = plugin.process(&[[Some("USD"), Some("10.00")], [Some("NOK"), Some("1.00")], [None, Some("1.00")]]);
//! assert_eq!(outcome.rows("main"), [[Some("9.20".to_owned())]]);
//! assert_eq!(outcome.rejects, [1, 2].map(|row| (row, "currency-unknown".to_owned())));
//! # }
//! ```
//!
//! | the first function returns | the second gets |
//! | --- | --- |
//! | [`Request`](crate::http::Request), an `Option` or a `Vec` of them | [`Answers`] |
//! | a key, an `Option` of one | an `Option` of the row |
//! | a `Vec` of keys | a `Vec` of such |
//! | a tuple of two or three of these | a tuple of theirs |
//!
//! each plain or, all of it, in a `Result<_, Reject>`. A key whose row the host cannot use (of another type than declared,
//! or several of them) makes its row a reject, `lookup`.

mod asked;

use crate::input::{self, Input};
use crate::plugin::{Opened, Shape, shape_of};
use crate::returned::{Collector, Returned};
use crate::wit::{Batch, Transformed};

pub use asked::{AnswerOf, Answers, Asked, Asks};

/// The shape of two functions without configuration.
pub fn shape<'a, E: Input<'a>, Q: Asks, R: Returned>(_: impl Fn(&E) -> Q, _: impl Fn(E, AnswerOf<Q>) -> R) -> Shape {
    Shape { tables: Q::Asked::tables(), ..shape_of::<E, R>() }
}

/// The shape of two functions with configuration.
pub fn shape_with<'a, C: 'a, E: Input<'a>, Q: Asks, R: Returned>(
    _: impl Fn(&E, &'a C) -> Q,
    _: impl Fn(E, AnswerOf<Q>, &'a C) -> R,
) -> Shape {
    Shape { tables: Q::Asked::tables(), ..shape_of::<E, R>() }
}

/// Asks for all rows, then answers each.
pub fn each<'a, C, E: Input<'a>, Q: Asks, R: Returned>(
    ask: impl Fn(&E) -> Q,
    answer: impl Fn(E, AnswerOf<Q>) -> R,
    opened: &'a Opened<C>,
    batch: &'a Batch,
) -> Transformed {
    let columns = input::bind::<E>(batch, opened.reads());
    let mut collector = Collector::new(opened.writes(), batch.rows as usize);
    let mut questions = Q::Asked::questions(opened.tables());
    let mut rows = Vec::with_capacity(batch.rows as usize);
    for row in 0..batch.rows {
        let row = E::read(&columns, row as usize);
        let asked = ask(&row).asked().and_then(|asked| {
            asked.check(&questions)?;
            asked.add(&mut questions);
            Ok(())
        });
        rows.push((row, asked));
    }
    let mut answers = Q::Asked::ask(questions);
    for (number, (row, asked)) in (0..).zip(rows) {
        let answered = asked.and_then(|()| answers.next().expect("an answer for each row that asked"));
        answered.map(|of_row| answer(row, of_row)).collect(number, &mut collector);
    }
    collector.finish(batch.rows)
}

/// As [`each`], both functions with the configuration.
pub fn each_with<'a, C, E: Input<'a>, Q: Asks, R: Returned>(
    ask: impl Fn(&E, &'a C) -> Q,
    answer: impl Fn(E, AnswerOf<Q>, &'a C) -> R,
    opened: &'a Opened<C>,
    batch: &'a Batch,
) -> Transformed {
    each(|row| ask(row, &opened.config), |row, answers| answer(row, answers, &opened.config), opened, batch)
}
