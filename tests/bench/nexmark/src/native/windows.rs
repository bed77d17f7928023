//! Queries of windows: q5 by panes, q7.

use std::collections::{BTreeMap, HashMap};

use serde::{Deserialize, Serialize};

use super::rows::{Bid, bid};
use super::{Query, Record, Writer};
use crate::events::rfc3339_us;
use crate::topic::PARTITIONS;

/// How far behind the newest of its partition a bid may be.
const DISORDER_MS: i64 = 4000;

/// Event time: that of the partition furthest behind.
struct Watermark([i64; PARTITIONS as usize]);

impl Default for Watermark {
    fn default() -> Self {
        Self([i64::MIN; PARTITIONS as usize])
    }
}

impl Watermark {
    fn observe(&mut self, record: &Record<'_>) -> i64 {
        let newest = &mut self.0[record.partition as usize];
        *newest = (*newest).max(record.time_ms);
        self.0.iter().min().expect("there are partitions").saturating_sub(DISORDER_MS)
    }
}

const SLIDE_MS: i64 = 2000;
const SIZE_MS: i64 = 10_000;

/// q5: the auctions with most bids in each window of 10 s, every 2 s.
#[derive(Default)]
pub struct HotItems {
    watermark: Watermark,
    /// Bids by auction, by the start of the 2 s that they were made in.
    panes: BTreeMap<i64, HashMap<i64, i64>>,
    /// Windows that end by then are out.
    closed_ms: i64,
}

impl Query for HotItems {
    fn record(&mut self, record: &Record<'_>, out: &mut Writer) {
        #[derive(Deserialize)]
        struct Needed {
            auction: i64,
        }
        let watermark = self.watermark.observe(record);
        if let Some(Needed { auction }) = bid(record) {
            let pane = record.time_ms.div_euclid(SLIDE_MS) * SLIDE_MS;
            *self.panes.entry(pane).or_default().entry(auction).or_default() += 1;
        }
        if watermark >= self.closed_ms + SLIDE_MS {
            self.close(watermark, out);
        }
    }

    fn finish(&mut self, out: &mut Writer) {
        self.close(i64::MAX, out);
    }
}

impl HotItems {
    fn close(&mut self, watermark_ms: i64, out: &mut Writer) {
        while let Some(oldest) = self.panes.keys().next().copied() {
            let end = (oldest + SLIDE_MS).max(self.closed_ms + SLIDE_MS);
            if end > watermark_ms {
                return;
            }
            self.emit(end, out);
            self.closed_ms = end;
            self.panes.retain(|pane, _| pane + SIZE_MS > end);
        }
    }

    fn emit(&self, end: i64, out: &mut Writer) {
        #[derive(Serialize)]
        struct Row {
            auction: i64,
            num: i64,
            window_start: String,
        }
        let mut counts: HashMap<i64, i64> = HashMap::new();
        for (_, pane) in self.panes.range(end - SIZE_MS..end) {
            for (auction, bids) in pane {
                *counts.entry(*auction).or_default() += bids;
            }
        }
        let most = counts.values().max().copied().unwrap_or_default();
        for (auction, num) in counts.into_iter().filter(|(_, bids)| *bids == most) {
            out.write(&Row { auction, num, window_start: rfc3339_us(end - SIZE_MS) });
        }
    }
}

#[derive(Serialize)]
struct Highest {
    auction: i64,
    bidder: i64,
    price: i64,
    date_time: String,
    extra: String,
}

/// q7: the highest bids of each window of 10 s.
#[derive(Default)]
pub struct HighestBids {
    watermark: Watermark,
    /// The highest bids so far, by the window's start.
    windows: BTreeMap<i64, Vec<Highest>>,
}

impl Query for HighestBids {
    fn record(&mut self, record: &Record<'_>, out: &mut Writer) {
        let watermark = self.watermark.observe(record);
        if let Some(bid) = bid::<Bid>(record) {
            let best = self.windows.entry(record.time_ms.div_euclid(SIZE_MS) * SIZE_MS).or_default();
            let highest = best.first().map_or(i64::MIN, |bid| bid.price);
            if bid.price >= highest {
                if bid.price > highest {
                    best.clear();
                }
                let Bid { auction, bidder, price, date_time, extra } = bid;
                let (date_time, extra) = (date_time.to_owned(), extra.into_owned());
                best.push(Highest { auction, bidder, price, date_time, extra });
            }
        }
        self.close(watermark, out);
    }

    fn finish(&mut self, out: &mut Writer) {
        self.close(i64::MAX, out);
    }
}

impl HighestBids {
    fn close(&mut self, watermark_ms: i64, out: &mut Writer) {
        while let Some(oldest) = self.windows.first_entry().filter(|window| window.key() + SIZE_MS <= watermark_ms) {
            for bid in oldest.remove() {
                out.write(&bid);
            }
        }
    }
}
