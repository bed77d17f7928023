//! Queries of single rows: q0, q1, q2, q14.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

use super::{Query, Record, Writer};

const BID: i32 = 2;

/// The record's envelope, with as much of a bid as a query needs.
#[derive(Deserialize)]
pub struct Envelope<T> {
    event_type: i32,
    bid: Option<T>,
}

/// The bid of a record, if it has one.
pub fn bid<'a, T: Deserialize<'a>>(record: &Record<'a>) -> Option<T> {
    let envelope: Envelope<T> = sonic_rs::from_slice(record.payload).ok()?;
    envelope.bid.filter(|_| envelope.event_type == BID)
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Bid<'a> {
    pub auction: i64,
    pub bidder: i64,
    pub price: i64,
    pub date_time: &'a str,
    #[serde(borrow)]
    pub extra: Cow<'a, str>,
}

pub struct PassThrough;

impl Query for PassThrough {
    fn record(&mut self, record: &Record<'_>, out: &mut Writer) {
        #[derive(Serialize)]
        struct Row<'a> {
            auction: i64,
            bidder: i64,
            price: i64,
            date_time: &'a str,
            extra: &'a str,
        }
        if let Some(Bid { auction, bidder, price, date_time, extra }) = bid(record) {
            out.write(&Row { auction, bidder, price, date_time, extra: &extra });
        }
    }
}

/// A price in dollars as one in euro, with three digits.
fn euro(price: i64) -> String {
    let thousandths = price * 908;
    format!("{}.{:03}", thousandths / 1000, thousandths % 1000)
}

pub struct Convert;

impl Query for Convert {
    fn record(&mut self, record: &Record<'_>, out: &mut Writer) {
        #[derive(Serialize)]
        struct Row<'a> {
            auction: i64,
            bidder: i64,
            price: String,
            date_time: &'a str,
            extra: &'a str,
        }
        if let Some(Bid { auction, bidder, price, date_time, extra }) = bid(record) {
            out.write(&Row { auction, bidder, price: euro(price), date_time, extra: &extra });
        }
    }
}

pub struct Choose;

impl Query for Choose {
    fn record(&mut self, record: &Record<'_>, out: &mut Writer) {
        #[derive(Deserialize, Serialize)]
        struct Row {
            auction: i64,
            price: i64,
        }
        if let Some(row) = bid::<Row>(record).filter(|row| row.auction % 123 == 0) {
            out.write(&row);
        }
    }
}

pub struct Count;

impl Query for Count {
    fn record(&mut self, record: &Record<'_>, out: &mut Writer) {
        #[derive(Serialize)]
        struct Row<'a> {
            auction: i64,
            bidder: i64,
            price: String,
            bid_time_type: &'a str,
            date_time: &'a str,
            extra: &'a str,
            c_counts: usize,
        }
        let Some(Bid { auction, bidder, price, date_time, extra }) = bid(record) else { return };
        if !(1_000_000_001..50_000_000_000).contains(&(price * 908)) {
            return;
        }
        let bid_time_type = match date_time[11..13].parse::<u8>().unwrap_or(0) {
            8..=18 => "dayTime",
            0..=6 | 20.. => "nightTime",
            _ => "otherTime",
        };
        let c_counts = extra.bytes().filter(|byte| *byte == b'c').count();
        out.write(&Row { auction, bidder, price: euro(price), bid_time_type, date_time, extra: &extra, c_counts });
    }
}
