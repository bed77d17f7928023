//! Queries that put people, auctions, bids and the side input together.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use serde_json::{Value, json};

use super::Input;
use super::windows::{SIZE_MS, start};
use crate::events::{Auction, Bid, rfc3339, rfc3339_us};

pub fn local_items(input: &Input) -> Vec<Value> {
    let local = input.people.iter().filter(|person| ["OR", "ID", "CA"].contains(&person.state));
    let local: HashMap<i64, _> = local.map(|person| (person.id, person)).collect();
    let row = |auction: &Auction| {
        let person = local.get(&auction.seller)?;
        Some(json!({ "name": person.name, "city": person.city, "state": person.state, "auction": auction.id }))
    };
    input.auctions.iter().filter(|auction| auction.category == 10).filter_map(row).collect()
}

pub fn new_users(input: &Input) -> Vec<Value> {
    let sellers: HashSet<(i64, i64)> =
        input.auctions.iter().map(|auction| (start(auction.time_ms), auction.seller)).collect();
    let people: BTreeSet<(i64, i64, &str)> =
        input.people.iter().map(|person| (start(person.time_ms), person.id, person.name.as_str())).collect();
    let new = people.into_iter().filter(|(start, id, _)| sellers.contains(&(*start, *id)));
    new.map(|(start, id, name)| json!({ "id": id, "name": name, "window_start": rfc3339_us(start) })).collect()
}

/// Bids with their auctions, of those made while it was open.
fn in_time(input: &Input) -> impl Iterator<Item = (&Bid, &Auction)> {
    let auctions: HashMap<i64, &Auction> = input.auctions.iter().map(|auction| (auction.id, auction)).collect();
    input.bids.iter().filter_map(move |bid| {
        let auction = auctions.get(&bid.auction)?;
        (auction.time_ms..=auction.expires_ms).contains(&bid.time_ms).then_some((bid, *auction))
    })
}

pub fn average_prices(input: &Input) -> Vec<Value> {
    let mut finals: BTreeMap<(i64, i64), i64> = BTreeMap::new();
    for (bid, auction) in in_time(input) {
        let price = finals.entry((auction.category, auction.id)).or_default();
        *price = bid.price.max(*price);
    }
    let finals: Vec<(i64, i64)> = finals.into_iter().map(|((category, _), price)| (category, price)).collect();
    let row = |of_category: &[(i64, i64)]| {
        let sum: i64 = of_category.iter().map(|(_, price)| price).sum();
        json!({ "category": of_category[0].0, "average": sum as f64 / of_category.len() as f64 })
    };
    finals.chunk_by(|a, b| a.0 == b.0).map(row).collect()
}

pub fn winning_bids(input: &Input) -> Vec<Value> {
    let mut best: HashMap<i64, (&Bid, &Auction)> = HashMap::new();
    for (bid, auction) in in_time(input) {
        let order = |bid: &Bid| (-bid.price, bid.time_ms, bid.bidder);
        let winner = best.entry(auction.id).or_insert((bid, auction));
        if order(bid) < order(winner.0) {
            *winner = (bid, auction);
        }
    }
    let row = |(bid, auction): (&Bid, &Auction)| {
        json!({ "id": auction.id, "item_name": auction.item_name, "seller": auction.seller,
            "category": auction.category, "bidder": bid.bidder, "price": bid.price,
            "bid_time": rfc3339(bid.time_ms) })
    };
    best.into_values().map(row).collect()
}

/// Bids on auctions of a category, in whichever order the two come, no more than a window apart.
pub fn wide(input: &Input) -> Vec<Value> {
    let auctions: HashMap<i64, &Auction> = input.auctions.iter().map(|auction| (auction.id, auction)).collect();
    let row = |bid: &Bid| {
        let auction = auctions.get(&bid.auction).filter(|auction| auction.category == 10)?;
        debug_assert!((bid.time_ms - auction.time_ms).abs() < 3_600 * SIZE_MS, "the join's bounds hold all");
        Some(json!({ "auction": bid.auction, "bidder": bid.bidder, "price": bid.price, "channel": bid.channel,
            "url": bid.url, "bid_time": rfc3339(bid.time_ms), "item_name": auction.item_name,
            "description": auction.description, "initial_bid": auction.initial_bid, "reserve": auction.reserve,
            "auction_time": rfc3339(auction.time_ms), "expires": rfc3339(auction.expires_ms),
            "seller": auction.seller, "category": auction.category }))
    };
    input.bids.iter().filter_map(row).collect()
}
