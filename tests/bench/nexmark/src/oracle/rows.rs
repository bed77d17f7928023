//! Queries of single rows.

use serde_json::{Value, json};

use super::Input;
use crate::events::{Bid, rfc3339};
use crate::side_input;

fn euro(price: i64) -> String {
    format!("{}.{:03}", price * 908 / 1000, price * 908 % 1000)
}

pub fn pass_through(input: &Input) -> Vec<Value> {
    let row = |bid: &Bid| {
        json!({ "auction": bid.auction, "bidder": bid.bidder, "price": bid.price, "date_time": rfc3339(bid.time_ms),
            "extra": bid.extra })
    };
    input.bids.iter().map(row).collect()
}

pub fn convert(input: &Input) -> Vec<Value> {
    let row = |bid: &Bid| {
        json!({ "auction": bid.auction, "bidder": bid.bidder, "price": euro(bid.price),
            "date_time": rfc3339(bid.time_ms), "extra": bid.extra })
    };
    input.bids.iter().map(row).collect()
}

pub fn choose(input: &Input) -> Vec<Value> {
    let some = input.bids.iter().filter(|bid| bid.auction % 123 == 0);
    some.map(|bid| json!({ "auction": bid.auction, "price": bid.price })).collect()
}

pub fn valued(input: &Input) -> Vec<Value> {
    let row = |bid: &Bid| {
        json!({ "auction": bid.auction, "bidder": bid.bidder, "price": bid.price, "date_time": rfc3339(bid.time_ms),
            "value": side_input::value(bid.auction % side_input::KEYS) })
    };
    input.bids.iter().map(row).collect()
}

pub fn count(input: &Input) -> Vec<Value> {
    let priced = input.bids.iter().filter(|bid| {
        let thousandths = bid.price * 908;
        thousandths > 1_000_000_000 && thousandths < 50_000_000_000
    });
    let row = |bid: &Bid| {
        let bid_time_type = match bid.time_ms / 3_600_000 % 24 {
            8..=18 => "dayTime",
            hour if hour <= 6 || hour >= 20 => "nightTime",
            _ => "otherTime",
        };
        json!({ "auction": bid.auction, "bidder": bid.bidder, "price": euro(bid.price), "bid_time_type": bid_time_type,
            "date_time": rfc3339(bid.time_ms), "extra": bid.extra,
            "c_counts": bid.extra.matches('c').count() })
    };
    priced.map(row).collect()
}

pub fn channel_ids(input: &Input) -> Vec<Value> {
    let row = |bid: &Bid| {
        let channel_id = match bid.channel.to_lowercase().as_str() {
            "apple" => "0".to_owned(),
            "google" => "1".to_owned(),
            "facebook" => "2".to_owned(),
            "baidu" => "3".to_owned(),
            _ => {
                let (_, behind) = bid.url.split_once("&channel_id=")?;
                behind.split('&').next().unwrap_or_default().to_owned()
            }
        };
        Some(json!({ "auction": bid.auction, "bidder": bid.bidder, "price": bid.price, "channel": bid.channel,
            "channel_id": channel_id }))
    };
    input.bids.iter().filter_map(row).collect()
}

pub fn folders(input: &Input) -> Vec<Value> {
    let row = |bid: &Bid| {
        let parts: Vec<&str> = bid.url.split('/').collect();
        json!({ "auction": bid.auction, "bidder": bid.bidder, "price": bid.price, "channel": bid.channel,
            "dir1": parts[3], "dir2": parts[4], "dir3": parts[5] })
    };
    input.bids.iter().map(row).collect()
}
