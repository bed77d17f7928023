//! Queries of windows of bids.

use std::collections::HashMap;

use serde_json::{Value, json};

use super::Input;
use crate::events::{Bid, rfc3339};

pub const SIZE_MS: i64 = 10_000;

/// The start of a tumbling window.
pub fn start(time_ms: i64) -> i64 {
    time_ms / SIZE_MS * SIZE_MS
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
