//! Events of a shop as JSON, for demos, tests and benches.
//!
//! ```json
//! {"event_id":"9f2c41d07be81a36","kind":"payment","occurred_at":"2026-03-01T10:00:10.123Z","category":"books",
//!  "quantity":2,"amount":"17.00","currency":"EUR","user":"u004211","session":"s00c1d2e3","product":"p0042",
//!  "country":"DE","device":"mobile"}
//! ```
//!
//! Invariant: [`event`] is a pure function of seed, index and options. Event number `i` happens at
//! `start_us + i / events_per_second`, set back by at most `disorder_ms`: so with a disorder bound of that size only
//! a duplicate can be late, since it repeats an older event, time included.
//!
//! Page views and cart changes have no amount and no currency (JSON null). One kind in 32 is written in another case
//! with spaces around it, as real producers do; that is not counted as dirty.

mod event;

use super::text::Text;
use event::Event;

/// Bytes of a usual event.
pub const USUAL_BYTES: usize = 272;

/// Bytes of an oversize record: one MB of text and its event around it.
pub const OVERSIZE_BYTES: usize = 1_000_000;

/// Depth of a record that is nested too deep.
pub const DEEP_LEVELS: usize = 200;

/// 2026-03-01T00:00:00Z.
pub const DEFAULT_START_US: i64 = 1_772_323_200_000_000;

/// A duplicate repeats an event at most this many records before it in its partition.
pub const DUPLICATE_REACH: u64 = 64;

/// The one dirty currency, which no currency table knows.
pub const UNKNOWN_CURRENCY: &str = "XXX";

/// What the stream of events is like. Shares are of all events, from 0 to 1; together at most 1.
#[derive(Debug, Clone, PartialEq)]
pub struct EventOptions {
    /// Event time of event 0.
    pub start_us: i64,
    /// Events per second of event time.
    pub events_per_second: u64,
    pub disorder_ms: u32,
    /// Exact copies of an event shortly before.
    pub duplicates: f64,
    /// Records that no decoder may accept: see [`Malformed`].
    pub malformed: f64,
    /// Well-formed events that break the shop's rules: see [`Dirt`].
    pub dirty: f64,
    /// Distance in index between two events of one partition: the number of partitions.
    pub stride: u64,
}

impl Default for EventOptions {
    fn default() -> Self {
        Self {
            start_us: DEFAULT_START_US,
            events_per_second: 20_000,
            disorder_ms: 3_000,
            duplicates: 0.0,
            malformed: 0.0,
            dirty: 0.004,
            stride: 1,
        }
    }
}

impl EventOptions {
    /// # Errors
    /// What is wrong with the options, for people.
    pub fn check(&self) -> Result<(), String> {
        let shares = [("duplicates", self.duplicates), ("malformed", self.malformed), ("dirty", self.dirty)];
        for (name, share) in shares {
            if !(0.0..=1.0).contains(&share) {
                return Err(format!("`{name}` is {share}, but a share is from 0 to 1"));
            }
        }
        let total: f64 = shares.iter().map(|(_, share)| share).sum();
        if total > 1.0 {
            return Err(format!(
                "the shares of duplicates, malformed and dirty events are {total} together, more than 1"
            ));
        }
        if self.events_per_second == 0 || self.stride == 0 {
            return Err("the rate of event time and the stride are at least 1".into());
        }
        Ok(())
    }

    /// Microseconds from event 0 to event `index`, exact for any index.
    fn elapsed_us(&self, index: u64) -> i64 {
        let (seconds, rest) = (index / self.events_per_second, index % self.events_per_second);
        (seconds * 1_000_000 + rest * 1_000_000 / self.events_per_second) as i64
    }
}

/// In which way a record is malformed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Malformed {
    /// Cut off in the middle.
    Syntax,
    /// A word where `quantity` is a number.
    WrongType,
    /// Without `occurred_at`.
    MissingField,
    /// A `quantity` of twenty digits.
    NumberOverflow,
    /// A byte that is not UTF-8 in `category`.
    NotUtf8,
    /// No value at all (a Kafka tombstone); the bytes written for it are `null`, for files.
    NullValue,
    /// [`OVERSIZE_BYTES`] long. Rare: one malformed record in 1024.
    Oversize,
    /// [`DEEP_LEVELS`] arrays in one another.
    DeepNesting,
    /// In the year 2099.
    FarFuture,
    /// Before 1970.
    NegativeTime,
}

impl Malformed {
    pub const ALL: [Self; 10] = [
        Self::Syntax,
        Self::WrongType,
        Self::MissingField,
        Self::NumberOverflow,
        Self::NotUtf8,
        Self::NullValue,
        Self::DeepNesting,
        Self::FarFuture,
        Self::NegativeTime,
        Self::Oversize,
    ];

    fn pick(draw: u32) -> Self {
        match draw % 1024 {
            0 => Self::Oversize,
            rest => Self::ALL[rest as usize % (Self::ALL.len() - 1)],
        }
    }
}

/// In which way a well-formed event breaks the rules.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Dirt {
    /// `kind` is null.
    KindMissing,
    /// An amount above 10 000.
    AmountTooLarge,
    /// [`UNKNOWN_CURRENCY`].
    CurrencyUnknown,
}

/// What [`event`] wrote.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Made {
    /// When the event number says that it happened, without disorder: the record's timestamp.
    pub timestamp_us: i64,
    /// The event time in the record (for a duplicate, its original's), as far as it has one.
    pub event_time_us: i64,
    pub malformed: Option<Malformed>,
    pub dirt: Option<Dirt>,
    /// Index of the event that this one repeats.
    pub duplicate_of: Option<u64>,
}

/// What becomes of an index.
#[derive(Clone, Copy, PartialEq)]
enum Fate {
    Plain,
    Duplicate,
    Malformed,
    Dirty,
}

/// Writes event `index` behind what is in `out`.
pub fn event(seed: u64, index: u64, options: &EventOptions, out: &mut Vec<u8>) -> Made {
    let draws = Draws::new(seed, index);
    let timestamp_us = options.start_us + options.elapsed_us(index);
    let made = Made { timestamp_us, event_time_us: timestamp_us, malformed: None, dirt: None, duplicate_of: None };
    match draws.fate(options) {
        Fate::Plain => Made { event_time_us: Event::new(&draws, index, options).write(out), ..made },
        Fate::Dirty => dirty(&draws, index, options, out, made),
        Fate::Malformed => malformed(&draws, index, options, out, made),
        Fate::Duplicate => match original(seed, index, options, &draws) {
            Some(original) => {
                let repeated = event(seed, original, options, out);
                Made { timestamp_us, duplicate_of: Some(original), ..repeated }
            }
            None => Made { event_time_us: Event::new(&draws, index, options).write(out), ..made },
        },
    }
}

/// The event that a duplicate repeats: one that was given as itself, and well-formed.
fn original(seed: u64, index: u64, options: &EventOptions, draws: &Draws) -> Option<u64> {
    let first = 1 + u64::from(draws.detail % DUPLICATE_REACH as u32);
    (first..=DUPLICATE_REACH)
        .map_while(|distance| index.checked_sub(distance * options.stride))
        .find(|before| matches!(Draws::new(seed, *before).fate(options), Fate::Plain | Fate::Dirty))
}

fn dirty(draws: &Draws, index: u64, options: &EventOptions, out: &mut Vec<u8>, made: Made) -> Made {
    let mut event = Event::new(draws, index, options);
    let dirt = match draws.detail % 3 {
        0 => {
            event.kind = Text::Null;
            Dirt::KindMissing
        }
        1 => {
            event.price(draws, 1_000_001 + u64::from(draws.detail >> 8));
            Dirt::AmountTooLarge
        }
        _ => {
            event.price(draws, event.unit_cents);
            event.currency = Text::Plain(UNKNOWN_CURRENCY);
            Dirt::CurrencyUnknown
        }
    };
    Made { event_time_us: event.write(out), dirt: Some(dirt), ..made }
}

fn malformed(draws: &Draws, index: u64, options: &EventOptions, out: &mut Vec<u8>, made: Made) -> Made {
    let malformed = Malformed::pick(draws.detail);
    let mut event = Event::new(draws, index, options);
    let start = out.len();
    let mut event_time_us = event.occurred_us;
    match malformed {
        Malformed::Syntax => {
            event.write(out);
            let half = start + (out.len() - start) / 2;
            out.truncate(half);
        }
        Malformed::WrongType => event.write_with_quantity(b"\"three\"", out),
        Malformed::NumberOverflow => event.write_with_quantity(b"99999999999999999999", out),
        Malformed::MissingField => event.write_without_time(out),
        Malformed::NotUtf8 => {
            event.write(out);
            let category = b"\"category\":\"";
            let at = out[start..].windows(category.len()).position(|window| window == category);
            out[start + at.expect("every event has a category") + category.len()] = 0xff;
        }
        Malformed::NullValue => out.extend_from_slice(b"null"),
        Malformed::Oversize => {
            event.write(out);
            out.pop();
            out.extend_from_slice(b",\"note\":\"");
            out.resize(start + OVERSIZE_BYTES, b'x');
            out.extend_from_slice(b"\"}");
        }
        Malformed::DeepNesting => {
            event.write(out);
            out.pop();
            out.extend_from_slice(b",\"note\":");
            out.resize(out.len() + DEEP_LEVELS, b'[');
            out.resize(out.len() + DEEP_LEVELS, b']');
            out.push(b'}');
        }
        Malformed::FarFuture => {
            event.occurred_us = 4_070_908_800_000_000 + i64::from(draws.detail) * 1_000;
            event_time_us = event.write(out);
        }
        Malformed::NegativeTime => {
            event.occurred_us = -1_000 - i64::from(draws.detail) * 100_000;
            event_time_us = event.write(out);
        }
    }
    Made { event_time_us, malformed: Some(malformed), ..made }
}

/// The random numbers of one index: a finalised counter (Steele, Lea and Flood: SplitMix64), which can start
/// anywhere.
struct Draws {
    id: u64,
    fate: u32,
    detail: u32,
    time: u64,
    person: u64,
    goods: u64,
}

impl Draws {
    fn new(seed: u64, index: u64) -> Self {
        let id = mix(index ^ mix(seed));
        let fate = mix(id ^ 0x5bf0_3635_d1a2_57c1);
        Self {
            id,
            fate: fate as u32,
            detail: (fate >> 32) as u32,
            time: mix(id.wrapping_add(0x9e37_79b9_7f4a_7c15)),
            person: mix(id.wrapping_add(0x3c6e_f372_fe94_f82a)),
            goods: mix(id.wrapping_add(0xdaa6_6d2c_7ddf_743f)),
        }
    }

    fn fate(&self, options: &EventOptions) -> Fate {
        let draw = f64::from(self.fate) / 4_294_967_296.0;
        if draw < options.duplicates {
            Fate::Duplicate
        } else if draw < options.duplicates + options.malformed {
            Fate::Malformed
        } else if draw < options.duplicates + options.malformed + options.dirty {
            Fate::Dirty
        } else {
            Fate::Plain
        }
    }
}

/// A bijection, so that event ids never repeat within a seed.
fn mix(mut value: u64) -> u64 {
    value = value.wrapping_add(0x9e37_79b9_7f4a_7c15);
    value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    value ^ (value >> 31)
}

#[cfg(test)]
mod tests;
