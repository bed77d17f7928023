//! What each query must give: recomputed from all events at once, without streams, panes or watermarks.
//!
//! Rows are JSON as Weir writes it: decimals as text, times as RFC 3339.

mod groups;
mod joins;
mod rows;
mod windows;

use serde_json::Value;

use crate::events::{self, Auction, Bid, Event, EventOptions, Person};

/// All events, by kind.
#[derive(Default)]
pub struct Input {
    people: Vec<Person>,
    auctions: Vec<Auction>,
    bids: Vec<Bid>,
}

impl Input {
    pub fn new(count: u64, options: &EventOptions) -> Self {
        let mut input = Self::default();
        for index in 0..count {
            match events::event(index, options) {
                Event::Person(person) => input.people.push(person),
                Event::Auction(auction) => input.auctions.push(auction),
                Event::Bid(bid) => input.bids.push(bid),
            }
        }
        input
    }
}

type Recompute = fn(&Input) -> Vec<Value>;

/// Every query that has a manifest.
pub const QUERIES: &[(&str, Recompute)] = &[
    ("q0", rows::pass_through),
    ("q1", rows::convert),
    ("q2", rows::choose),
    ("q3", joins::local_items),
    ("q4", joins::average_prices),
    ("q5", windows::hot_items),
    ("q7", windows::highest_bids),
    ("q8", joins::new_users),
    ("q9", joins::winning_bids),
    ("q11", windows::sessions),
    ("q13", rows::valued),
    ("q14", rows::count),
    ("q16", groups::channels),
    ("q17", groups::auctions),
    ("q18", groups::last_bids),
    ("q19", groups::top_bids),
    ("q20", joins::wide),
    ("q21", rows::channel_ids),
    ("q22", rows::folders),
];

pub fn rows(query: &str, input: &Input) -> Vec<Value> {
    let known = QUERIES.iter().find(|(name, _)| *name == query);
    known.unwrap_or_else(|| panic!("there is no query {query}")).1(input)
}

/// Rows that only one of two tables has: at most a few of each, as text.
pub fn difference(got: &[Value], wanted: &[Value]) -> Option<String> {
    const SHOWN: usize = 3;
    // Keys of an object are sorted, so equal rows are equal texts.
    let sorted = |rows: &[Value]| {
        let mut rows: Vec<String> = rows.iter().map(Value::to_string).collect();
        rows.sort();
        rows
    };
    let (got, wanted) = (sorted(got), sorted(wanted));
    if got == wanted {
        return None;
    }
    let only = |left: &[String], right: &[String]| {
        let missing = left.iter().filter(|row| right.binary_search(row).is_err()).take(SHOWN);
        missing.map(|row| format!("\n      {row}")).collect::<String>()
    };
    let (more, less) = (only(&got, &wanted), only(&wanted, &got));
    Some(format!("{} rows, not {}\n    too many:{more}\n    missing:{less}", got.len(), wanted.len()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_query_has_rows_to_compare() {
        let input = Input::new(30_000, &EventOptions { rate: 1000, disorder: 1 });
        for (query, recompute) in QUERIES {
            assert!(!recompute(&input).is_empty(), "{query} gives nothing");
        }
    }

    #[test]
    fn a_row_that_is_there_twice_is_a_difference() {
        let row = serde_json::json!({ "a": 1 });
        assert_eq!(difference(std::slice::from_ref(&row), std::slice::from_ref(&row)), None);
        assert!(difference(&[row.clone(), row.clone()], std::slice::from_ref(&row)).is_some());
    }
}
