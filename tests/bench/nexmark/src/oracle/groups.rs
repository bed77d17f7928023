//! Queries of groups that have no end: their last state.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value, json};

use super::Input;
use crate::events::{Bid, rfc3339};

/// The suite's bands of prices.
const BANDS: [(&str, fn(i64) -> bool); 3] = [
    ("rank1", |price| price < 10_000),
    ("rank2", |price| (10_000..1_000_000).contains(&price)),
    ("rank3", |price| price >= 1_000_000),
];

fn day(bid: &Bid) -> String {
    rfc3339(bid.time_ms)[..10].to_owned()
}

fn by<'a, K: Ord>(input: &'a Input, key: impl Fn(&'a Bid) -> K) -> BTreeMap<K, Vec<&'a Bid>> {
    let mut groups: BTreeMap<K, Vec<&Bid>> = BTreeMap::new();
    for bid in &input.bids {
        groups.entry(key(bid)).or_default().push(bid);
    }
    groups
}

/// `name`, and `rank1_name` to `rank3_name`: a figure of all bids and of each band's.
fn banded(row: &mut Map<String, Value>, name: &str, bids: &[&Bid], figure: impl Fn(&[&Bid]) -> usize) {
    row.insert(format!("total_{name}"), figure(bids).into());
    for (band, holds) in BANDS {
        let of_band: Vec<&Bid> = bids.iter().copied().filter(|bid| holds(bid.price)).collect();
        row.insert(format!("{band}_{name}"), figure(&of_band).into());
    }
}

fn distinct(bids: &[&Bid], value: impl Fn(&Bid) -> i64) -> usize {
    bids.iter().map(|bid| value(bid)).collect::<BTreeSet<i64>>().len()
}

pub fn channels(input: &Input) -> Vec<Value> {
    let row = |((channel, day), bids): ((&str, String), Vec<&Bid>)| {
        let mut row = Map::from_iter([("channel".to_owned(), channel.into()), ("day".to_owned(), day.into())]);
        banded(&mut row, "bids", &bids, |bids| bids.len());
        banded(&mut row, "bidders", &bids, |bids| distinct(bids, |bid| bid.bidder));
        banded(&mut row, "auctions", &bids, |bids| distinct(bids, |bid| bid.auction));
        Value::Object(row)
    };
    by(input, |bid| (bid.channel.as_str(), day(bid))).into_iter().map(row).collect()
}

pub fn auctions(input: &Input) -> Vec<Value> {
    let row = |((auction, day), bids): ((i64, String), Vec<&Bid>)| {
        let prices = || bids.iter().map(|bid| bid.price);
        let sum: i64 = prices().sum();
        let mut row = Map::from_iter([("auction".to_owned(), auction.into()), ("day".to_owned(), day.into())]);
        banded(&mut row, "bids", &bids, |bids| bids.len());
        row.insert("min_price".to_owned(), prices().min().into());
        row.insert("max_price".to_owned(), prices().max().into());
        row.insert("avg_price".to_owned(), (sum as f64 / bids.len() as f64).into());
        row.insert("sum_price".to_owned(), sum.into());
        Value::Object(row)
    };
    by(input, |bid| (bid.auction, day(bid))).into_iter().map(row).collect()
}

fn columns(bid: &Bid) -> Value {
    json!({ "auction": bid.auction, "bidder": bid.bidder, "price": bid.price, "channel": bid.channel, "url": bid.url,
        "date_time": rfc3339(bid.time_ms), "extra": bid.extra })
}

pub fn last_bids(input: &Input) -> Vec<Value> {
    let last = |bids: Vec<&Bid>| columns(bids.iter().max_by_key(|bid| bid.time_ms).expect("a group has a bid"));
    by(input, |bid| (bid.bidder, bid.auction)).into_values().map(last).collect()
}

pub fn top_bids(input: &Input) -> Vec<Value> {
    const ROWS: usize = 10;
    let top = |mut bids: Vec<&Bid>| {
        bids.sort_by_key(|bid| (-bid.price, bid.time_ms, bid.bidder));
        let ranked = bids.into_iter().take(ROWS).zip(1..);
        let row = |(bid, rank): (&Bid, i64)| {
            let mut row = columns(bid);
            row["rank"] = rank.into();
            row
        };
        ranked.map(row).collect::<Vec<Value>>()
    };
    by(input, |bid| bid.auction).into_values().flat_map(top).collect()
}
