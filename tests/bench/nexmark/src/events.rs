//! Nexmark's events: people who register, auctions they open, bids on these, 1 : 3 : 46.
//!
//! Invariant: event `number` is a function of the number and the options alone, so every program, run and oracle sees the
//! same events. Event time starts at a fixed moment. Own code from the suite's published description; US states are
//! upper case, as its queries expect.
//!
//! Deliberately no clock and no Kafka.

mod json;
mod random;
mod words;

pub use json::{rfc3339, rfc3339_us};
use random::Random;

/// 2015-07-15T07:59:50Z: ten seconds before q14's night ends.
pub const BASE_TIME_MS: i64 = 1_436_947_190_000;

/// People, auctions and bids in a row.
const PEOPLE: u64 = 1;
const AUCTIONS: u64 = 3;
const CYCLE: u64 = 50;

const FIRST_PERSON: i64 = 1000;
const FIRST_AUCTION: i64 = 1000;
const FIRST_CATEGORY: i64 = 10;
const CATEGORIES: u64 = 5;

/// One of so many is not for the hot auction, by the hot bidder, of the hot seller.
const HOT_AUCTION_RATIO: u64 = 2;
const HOT_BIDDER_RATIO: u64 = 4;
const HOT_SELLER_RATIO: u64 = 4;

/// The hot one changes after so many.
const HOT_SPAN: i64 = 100;

const AUCTIONS_IN_FLIGHT: i64 = 100;
const ACTIVE_PEOPLE: i64 = 1000;

/// Bids and sellers may name an auction or a person that comes a little later.
const ID_LEAD: i64 = 10;

/// A step through a group that meets each of its members: prime, so it divides no group it does not equal.
const DISORDER_STEP: u64 = 953;

#[derive(Debug, Clone, Copy)]
pub struct EventOptions {
    /// Events a second of event time.
    pub rate: u64,
    /// Events that come in another order than their times': in groups of so many. 1: none.
    pub disorder: u64,
}

impl Default for EventOptions {
    fn default() -> Self {
        Self { rate: 100_000, disorder: 1 }
    }
}

#[derive(Debug, Clone, PartialEq)]
pub struct Person {
    pub id: i64,
    pub name: String,
    pub email_address: String,
    pub credit_card: String,
    pub city: &'static str,
    pub state: &'static str,
    pub time_ms: i64,
    pub extra: String,
}

#[derive(Debug, Clone, PartialEq)]
pub struct Auction {
    pub id: i64,
    pub item_name: String,
    pub description: String,
    pub initial_bid: i64,
    pub reserve: i64,
    pub time_ms: i64,
    pub expires_ms: i64,
    pub seller: i64,
    pub category: i64,
    pub extra: String,
}

#[derive(Debug, Clone, PartialEq)]
pub struct Bid {
    pub auction: i64,
    pub bidder: i64,
    pub price: i64,
    pub channel: String,
    pub url: String,
    pub time_ms: i64,
    pub extra: String,
}

#[derive(Debug, Clone, PartialEq)]
pub enum Event {
    Person(Person),
    Auction(Auction),
    Bid(Bid),
}

impl Event {
    pub fn time_ms(&self) -> i64 {
        match self {
            Self::Person(person) => person.time_ms,
            Self::Auction(auction) => auction.time_ms,
            Self::Bid(bid) => bid.time_ms,
        }
    }

    /// As one JSON object, `{event_type, person, auction, bid}`, two of three null.
    pub fn write_json(&self, out: &mut Vec<u8>) {
        json::write(self, out);
    }
}

/// The event that comes at place `index` of the stream.
pub fn event(index: u64, options: &EventOptions) -> Event {
    let group = options.disorder.max(1);
    let number = index / group * group + index % group * DISORDER_STEP % group;
    let mut random = Random::new(number);
    match number % CYCLE {
        0 => Event::Person(person(number, options, &mut random)),
        offset if offset < PEOPLE + AUCTIONS => Event::Auction(auction(number, options, &mut random)),
        _ => Event::Bid(bid(number, options, &mut random)),
    }
}

pub fn time_ms(number: u64, options: &EventOptions) -> i64 {
    BASE_TIME_MS + (number * 1000 / options.rate) as i64
}

/// The newest person, counted from 0, as of an event.
fn last_person(number: u64) -> i64 {
    (number / CYCLE) as i64
}

/// The newest auction, counted from 0, as of an event; -1 before the first one.
fn last_auction(number: u64) -> i64 {
    let (cycle, offset) = ((number / CYCLE) as i64, number % CYCLE);
    let auctions = AUCTIONS as i64;
    match offset {
        0 => cycle * auctions - 1,
        offset if offset < PEOPLE + AUCTIONS => cycle * auctions + (offset - PEOPLE) as i64,
        _ => cycle * auctions + auctions - 1,
    }
}

fn any_person(number: u64, random: &mut Random) -> i64 {
    let people = last_person(number) + 1;
    let active = people.min(ACTIVE_PEOPLE);
    FIRST_PERSON + people - active + random.below((active + ID_LEAD) as u64) as i64
}

fn any_auction(number: u64, random: &mut Random) -> i64 {
    let newest = last_auction(number).max(0);
    let oldest = (newest - AUCTIONS_IN_FLIGHT).max(0);
    FIRST_AUCTION + oldest + random.below((newest - oldest + 1 + ID_LEAD) as u64) as i64
}

/// From 100 to 100,000,000, small ones as likely as large ones.
fn price(random: &mut Random) -> i64 {
    (10_f64.powf(random.unit() * 6.0) * 100.0).round() as i64
}

fn person(number: u64, options: &EventOptions, random: &mut Random) -> Person {
    let (first, last) = (random.pick(&words::FIRST_NAMES), random.pick(&words::LAST_NAMES));
    let domain = random.text(7);
    let four = |random: &mut Random| format!("{:04}", random.below(10_000));
    Person {
        id: FIRST_PERSON + last_person(number),
        name: format!("{first} {last}"),
        email_address: format!("{}@{domain}.com", first.to_ascii_lowercase()),
        credit_card: [(); 4].map(|()| four(random)).join(" "),
        city: random.pick(&words::CITIES),
        state: random.pick(&words::STATES),
        time_ms: time_ms(number, options),
        extra: random.text_around(100),
    }
}

fn auction(number: u64, options: &EventOptions, random: &mut Random) -> Auction {
    let seller = if random.below(HOT_SELLER_RATIO) > 0 {
        FIRST_PERSON + last_person(number) / HOT_SPAN * HOT_SPAN
    } else {
        any_person(number, random)
    };
    let initial_bid = price(random);
    Auction {
        id: FIRST_AUCTION + last_auction(number),
        item_name: random.text_around(16),
        description: random.text_around(80),
        initial_bid,
        reserve: initial_bid + price(random),
        time_ms: time_ms(number, options),
        expires_ms: time_ms(number, options) + open_for_ms(options, random),
        seller,
        category: FIRST_CATEGORY + random.below(CATEGORIES) as i64,
        extra: random.text_around(240),
    }
}

/// So long that, on average, [`AUCTIONS_IN_FLIGHT`] are open at once.
fn open_for_ms(options: &EventOptions, random: &mut Random) -> i64 {
    let horizon = AUCTIONS_IN_FLIGHT as u64 * CYCLE / AUCTIONS * 1000 / options.rate;
    1 + random.below((horizon * 2).max(1)) as i64
}

fn bid(number: u64, options: &EventOptions, random: &mut Random) -> Bid {
    let auction = if random.below(HOT_AUCTION_RATIO) > 0 {
        FIRST_AUCTION + last_auction(number) / HOT_SPAN * HOT_SPAN
    } else {
        any_auction(number, random)
    };
    let bidder = if random.below(HOT_BIDDER_RATIO) > 0 {
        FIRST_PERSON + last_person(number) / HOT_SPAN * HOT_SPAN + 1
    } else {
        any_person(number, random)
    };
    let price = price(random);
    let (channel, url) = words::channel(random);
    Bid { auction, bidder, price, channel, url, time_ms: time_ms(number, options), extra: random.text_around(68) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_fifty_events_one_is_a_person_and_three_are_auctions() {
        let options = EventOptions::default();
        let mut counts = [0; 3];
        for number in 0..5_000 {
            let kind = match event(number, &options) {
                Event::Person(_) => 0,
                Event::Auction(_) => 1,
                Event::Bid(_) => 2,
            };
            counts[kind] += 1;
        }
        assert_eq!(counts, [100, 300, 4_600]);
    }

    #[test]
    fn disorder_changes_the_order_and_nothing_else() {
        let (sorted, shuffled) = (EventOptions::default(), EventOptions { disorder: 100, ..EventOptions::default() });
        let json = |index, options| {
            let mut out = Vec::new();
            event(index, options).write_json(&mut out);
            out
        };
        let mut left: Vec<Vec<u8>> = (0..1_000).map(|index| json(index, &sorted)).collect();
        let mut right: Vec<Vec<u8>> = (0..1_000).map(|index| json(index, &shuffled)).collect();
        assert_ne!(left, right);
        left.sort();
        right.sort();
        assert_eq!(left, right);
    }

    #[test]
    fn an_event_is_json_with_two_of_three_null() {
        for number in 0..200 {
            let mut out = Vec::new();
            event(number, &EventOptions::default()).write_json(&mut out);
            let value: serde_json::Value = serde_json::from_slice(&out).expect("valid JSON");
            let kinds = ["person", "auction", "bid"];
            let nulls = kinds.iter().filter(|kind| value[**kind].is_null()).count();
            let kind = value["event_type"].as_u64().expect("a number") as usize;
            assert!(nulls == 2 && value[kinds[kind]].is_object(), "{value}");
        }
    }
}
