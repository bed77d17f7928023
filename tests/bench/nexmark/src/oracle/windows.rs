//! Queries of windows of bids.

use std::collections::{BTreeMap, HashMap};

use serde_json::{Value, json};

use super::Input;
use crate::events::{Bid, rfc3339, rfc3339_us};

pub const SIZE_MS: i64 = 10_000;
const SLIDE_MS: i64 = 2000;

/// The start of a tumbling window.
pub fn start(time_ms: i64) -> i64 {
    time_ms / SIZE_MS * SIZE_MS
}

pub fn hot_items(input: &Input) -> Vec<Value> {
    let mut counts: BTreeMap<i64, HashMap<i64, i64>> = BTreeMap::new();
    for bid in &input.bids {
        let newest = bid.time_ms / SLIDE_MS * SLIDE_MS;
        for back in 0..SIZE_MS / SLIDE_MS {
            *counts.entry(newest - back * SLIDE_MS).or_default().entry(bid.auction).or_default() += 1;
        }
    }
    let mut rows = Vec::new();
    for (start, counts) in counts {
        let most = counts.values().max().copied().unwrap_or_default();
        let hot = counts.into_iter().filter(|(_, count)| *count == most);
        rows.extend(
            hot.map(|(auction, num)| json!({ "auction": auction, "num": num, "window_start": rfc3339_us(start) })),
        );
    }
    rows
}

pub fn highest_bids(input: &Input) -> Vec<Value> {
    let mut highest: HashMap<i64, i64> = HashMap::new();
    for bid in &input.bids {
        let price = highest.entry(start(bid.time_ms)).or_default();
        *price = bid.price.max(*price);
    }
    let row = |bid: &Bid| {
        json!({ "auction": bid.auction, "bidder": bid.bidder, "price": bid.price, "date_time": rfc3339(bid.time_ms),
            "extra": bid.extra })
    };
    input.bids.iter().filter(|bid| highest[&start(bid.time_ms)] == bid.price).map(row).collect()
}

pub fn sessions(input: &Input) -> Vec<Value> {
    let mut times: BTreeMap<i64, Vec<i64>> = BTreeMap::new();
    for bid in &input.bids {
        times.entry(bid.bidder).or_default().push(bid.time_ms);
    }
    let mut rows = Vec::new();
    for (bidder, mut times) in times {
        times.sort_unstable();
        for session in times.chunk_by(|earlier, later| later - earlier < SIZE_MS) {
            let (first, last) = (session[0], session[session.len() - 1]);
            rows.push(json!({ "bidder": bidder, "bid_count": session.len(), "window_start": rfc3339_us(first),
                "window_end": rfc3339_us(last + SIZE_MS) }));
        }
    }
    rows
}
