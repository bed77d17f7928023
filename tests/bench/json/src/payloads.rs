//! The payloads: Nexmark's bid as its generators write it, and a shop event with strings, times and decimals.

use arrow_schema::{DataType, TimeUnit};
use weir_stream::{PayloadBuilder, SourceRecords, TimestampType};

/// One kind of payload and the columns that are read from it.
pub struct Case {
    pub name: &'static str,
    /// Field paths and their types.
    pub columns: Vec<(&'static str, DataType)>,
    write: fn(&mut Numbers) -> String,
}

/// A small generator of numbers (xorshift64*), so that runs are alike.
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) % bound
    }

    fn text(&mut self, length: u64) -> String {
        (0..length).map(|_| char::from(b'a' + self.below(26) as u8)).collect()
    }

    fn of<'a>(&mut self, choices: &[&'a str]) -> &'a str {
        choices[self.below(choices.len() as u64) as usize]
    }
}

pub fn cases() -> Vec<Case> {
    let int = DataType::Int64;
    let used = vec![
        ("event_type", int.clone()),
        ("bid.auction", int.clone()),
        ("bid.bidder", int.clone()),
        ("bid.price", int.clone()),
        ("bid.date_time", int.clone()),
    ];
    let text = [("bid.channel", DataType::Utf8), ("bid.url", DataType::Utf8), ("bid.extra", DataType::Utf8)];
    let all = used.iter().cloned().chain(text).collect();
    vec![
        Case { name: "bid, 5 fields used", columns: used, write: bid },
        Case { name: "bid, all 8 fields", columns: all, write: bid },
        Case { name: "shop event, 12 columns", columns: shop_columns(), write: shop_event },
    ]
}

impl Case {
    pub fn records(&self, events: usize) -> SourceRecords {
        let mut numbers = Numbers(42);
        let mut values = PayloadBuilder::default();
        for _ in 0..events {
            values.push((self.write)(&mut numbers).as_bytes());
        }
        SourceRecords {
            offsets: (0..events as i64).collect(),
            timestamps_us: vec![0; events],
            timestamp_type: vec![TimestampType::CreateTime; events],
            values: values.finish(),
            next_offset: events as i64,
            ..SourceRecords::default()
        }
    }
}

fn bid(numbers: &mut Numbers) -> String {
    let channel = numbers.of(&["Google", "Facebook", "Baidu", "Apple", "channel-4711"]);
    let (auction, bidder, price) = (numbers.below(20_000), numbers.below(10_000), numbers.below(10_000_000));
    let date_time = 1_772_359_210_000 + numbers.below(1_000_000);
    let (site, item, extra) = (numbers.text(5), numbers.text(5), numbers.text(60));
    format!(
        r#"{{"event_type":2,"person":null,"auction":null,"bid":{{"auction":{auction},"bidder":{bidder},"price":{price},"channel":"{channel}","url":"https://www.nexmark.com/{site}/{item}/item.htm?query=1&channel_id=1204","date_time":{date_time},"extra":"{extra}"}}}}"#
    )
}

fn shop_columns() -> Vec<(&'static str, DataType)> {
    let time = DataType::Timestamp(TimeUnit::Millisecond, Some("+00:00".into()));
    vec![
        ("event_id", DataType::Utf8),
        ("kind", DataType::Utf8),
        ("occurred_at", time),
        ("customer.id", DataType::Int64),
        ("customer.country", DataType::Utf8),
        ("customer.tier", DataType::Utf8),
        ("category", DataType::Utf8),
        ("quantity", DataType::Int32),
        ("amount", DataType::Decimal128(18, 2)),
        ("discount", DataType::Float64),
        ("total", DataType::Decimal128(18, 2)),
        ("paid", DataType::Boolean),
    ]
}

fn shop_event(numbers: &mut Numbers) -> String {
    let (id, customer, quantity) = (numbers.text(16), numbers.below(1_000_000), 1 + numbers.below(9));
    let kind = numbers.of(&["page_view", "cart", "order", "payment", "refund"]);
    let (minute, second, ms) = (numbers.below(60), numbers.below(60), numbers.below(1_000));
    let country = numbers.of(&["DE", "FR", "AT", "US", "JP"]);
    let tier = numbers.of(&["bronze", "silver", "gold"]);
    let category = numbers.of(&["books", "garden", "kitchen", "toys", "electronics"]);
    let (amount, discount) = (numbers.below(100_000), numbers.below(100));
    let discount = if discount < 33 { "null".to_owned() } else { format!("0.{discount}") };
    let total = amount * quantity;
    let (paid, note) = (numbers.below(2) == 1, numbers.text(30));
    format!(
        r#"{{"event_id":"{id}","kind":"{kind}","occurred_at":"2026-03-01T10:{minute:02}:{second:02}.{ms:03}Z","customer":{{"id":{customer},"country":"{country}","tier":"{tier}","note":"{note}"}},"category":"{category}","quantity":{quantity},"amount":"{}.{:02}","discount":{discount},"total":"{}.{:02}","paid":{paid},"device":"phone","tags":["a","b"]}}"#,
        amount / 100,
        amount % 100,
        total / 100,
        total % 100
    )
}
