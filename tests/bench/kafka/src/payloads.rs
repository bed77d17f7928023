//! Nexmark-like bids as nested JSON, from a fixed seed.

use std::fmt::Write;

/// What real time the first record has: recent, since brokers refuse times far ahead and expire times far behind.
pub const FIRST_TIME_US: i64 = 1_767_225_600_000_000;

/// A small generator; its numbers only have to look unlike each other.
struct Numbers(u64);

impl Numbers {
    fn next(&mut self, below: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % below
    }

    fn letters(&mut self, count: usize) -> String {
        (0..count).map(|_| (b'a' + self.next(26) as u8) as char).collect()
    }
}

pub fn bids(count: usize) -> Vec<String> {
    let mut numbers = Numbers(42);
    (0..count).map(|number| bid(&mut numbers, number)).collect()
}

fn bid(numbers: &mut Numbers, number: usize) -> String {
    let mut json = String::with_capacity(300);
    let (auction, bidder, price) =
        (1000 + numbers.next(100_000), 1000 + numbers.next(50_000), 100 + numbers.next(10_000_000));
    let channel = ["Google", "Facebook", "Baidu", "Apple"][numbers.next(4) as usize];
    let (item, extra) = (numbers.letters(8), numbers.letters(60));
    let millis = FIRST_TIME_US / 1000 + number as i64;
    write!(
        json,
        r#"{{"event_type":2,"person":null,"auction":null,"bid":{{"auction":{auction},"bidder":{bidder},"price":{price},"channel":"{channel}","url":"https://www.nexmark.com/{item}/item.htm?query=1&channel_id={}","date_time":{millis},"extra":"{extra}"}}}}"#,
        numbers.next(1 << 30),
    )
    .expect("text is written to memory");
    json
}
