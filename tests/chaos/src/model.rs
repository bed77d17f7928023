//! What must come out, computed record by record from the input alone: the same rules as the pipeline's manifest and its
//! plugins, written down a second time without batches, epochs, state or threads.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::topic::Record;

const MINUTE_US: i64 = 60_000_000;
const DISORDER_US: i64 = 5_000_000;
const MAX_FUTURE_US: i64 = 300_000_000;
const MAX_RECORD_BYTES: usize = 512 << 10;
const MAX_AMOUNT_CENTS: i64 = 1_000_000;

/// Kinds on which the plugin of step `check` traps or loops for ever.
pub const BAD_KINDS: [&str; 2] = ["boom", "spin"];

/// (partition, offset): the name of a record.
pub type Place = (u32, i64);

/// A row behind step `clean`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    pub event_id: String,
    pub kind: String,
    pub category: Option<String>,
    pub quantity: Option<i64>,
    pub cents: Option<i64>,
}

/// One window's sums.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Sales {
    pub orders: u64,
    pub items: Option<i64>,
    pub cents: i64,
}

/// Everything that a finished run must have left.
#[derive(Debug, Default)]
pub struct Expected {
    pub records: u64,
    pub raw: BTreeMap<Place, Row>,
    /// Places of `raw` that step `paid` lets pass, and the start of their minute.
    pub paid: BTreeMap<Place, i64>,
    /// Those of `paid` whose window had closed before them.
    pub late: Vec<Place>,
    /// (step, stage) of what was refused.
    pub letters: BTreeMap<Place, (&'static str, &'static str)>,
}

struct Event {
    event_id: String,
    kind: Option<String>,
    time_us: i64,
    category: Option<String>,
    quantity: Option<i64>,
    cents: Option<i64>,
    currency: Option<String>,
}

/// `records` in order of offset within each partition.
pub fn expect(records: &[Record]) -> Expected {
    let mut expected = Expected { records: records.len() as u64, ..Expected::default() };
    let mut watermarks = BTreeMap::<u32, i64>::new();
    for record in records {
        let place = (record.partition, record.offset);
        let Some(event) = decode(&record.value) else {
            expected.letters.insert(place, ("events", "decode"));
            continue;
        };
        if event.time_us < 0 || event.time_us > record.timestamp_us + MAX_FUTURE_US {
            expected.letters.insert(place, ("events", "event-time"));
            continue;
        }
        let watermark = watermarks.entry(record.partition).or_insert(i64::MIN);
        let before = *watermark;
        *watermark = before.max(event.time_us - DISORDER_US);
        if event.kind.as_deref().is_some_and(|kind| BAD_KINDS.contains(&kind)) {
            expected.letters.insert(place, ("check", "transform"));
            continue;
        }
        let time_us = event.time_us;
        let Some(row) = clean(event) else {
            expected.letters.insert(place, ("clean", "transform"));
            continue;
        };
        if row.kind == "payment" && row.cents.is_some_and(|cents| cents > 0) {
            let minute = time_us - time_us.rem_euclid(MINUTE_US);
            expected.paid.insert(place, minute);
            if minute + MINUTE_US <= before {
                expected.late.push(place);
                expected.letters.insert(place, ("sales_per_minute", "window"));
            }
        }
        expected.raw.insert(place, row);
    }
    expected
}

/// The sums by (minute, category); `category` answers what the plugin that made a row wrote.
pub fn sales(
    expected: &Expected,
    category: impl Fn(&Place, &Row) -> Option<String>,
) -> BTreeMap<(i64, Option<String>), Sales> {
    let mut sales = BTreeMap::<_, Sales>::new();
    for (place, minute) in expected.paid.iter().filter(|(place, _)| !expected.late.contains(place)) {
        let row = &expected.raw[place];
        let sums = sales.entry((*minute, category(place, row))).or_default();
        sums.orders += 1;
        sums.items = row.quantity.map_or(sums.items, |quantity| Some(sums.items.unwrap_or(0) + quantity));
        sums.cents += row.cents.unwrap_or(0);
    }
    sales
}

fn decode(value: &[u8]) -> Option<Event> {
    if value.len() > MAX_RECORD_BYTES {
        return None;
    }
    let value: Value = serde_json::from_slice(value).ok()?;
    let fields = value.as_object()?;
    // The outer option: whether the field is as declared; the inner one: whether it has a value.
    let text = |name: &str| match fields.get(name) {
        None | Some(Value::Null) => Some(None),
        Some(Value::String(text)) => Some(Some(text.clone())),
        Some(_) => None,
    };
    let quantity = match fields.get("quantity") {
        None | Some(Value::Null) => None,
        Some(number) => Some(i64::from(i32::try_from(number.as_i64()?).ok()?)),
    };
    let cents = match text("amount")? {
        None => None,
        Some(amount) => Some(cents(&amount)?),
    };
    let time: jiff::Timestamp = text("occurred_at")??.parse().ok()?;
    Some(Event {
        event_id: text("event_id")??,
        kind: text("kind")?,
        time_us: time.as_microsecond(),
        category: text("category")?,
        quantity,
        cents,
        currency: text("currency")?,
    })
}

/// Plain decimals of at most two digits behind the point.
fn cents(amount: &str) -> Option<i64> {
    let (whole, part) = amount.split_once('.').unwrap_or((amount, ""));
    if part.len() > 2 || whole.is_empty() {
        return None;
    }
    format!("{whole}{part:0<2}").parse().ok()
}

fn clean(event: Event) -> Option<Row> {
    let kind = event.kind?.trim().to_ascii_lowercase();
    if kind.is_empty() {
        return None;
    }
    let row = |cents| Row {
        event_id: event.event_id,
        kind: kind.clone(),
        category: event.category,
        quantity: event.quantity,
        cents,
    };
    let Some(cents) = event.cents else {
        return (!matches!(kind.as_str(), "order" | "payment" | "refund")).then(|| row(None));
    };
    if !(0..=MAX_AMOUNT_CENTS).contains(&cents) {
        return None;
    }
    let rate = match event.currency.as_deref() {
        Some("EUR") => 100,
        Some("USD") => 92,
        Some("GBP") => 117,
        Some("CHF") => 105,
        Some("PLN") => 23,
        _ => return None,
    };
    Some(row(Some((cents * rate + 50) / 100)))
}

/// What `clean-events-next` writes for a category.
pub fn department(category: &str) -> &str {
    match category {
        "books" | "music" => "media",
        "electronics" | "office" => "technology",
        "fashion" | "beauty" => "style",
        "sports" | "toys" | "pets" => "leisure",
        "home" | "garden" | "grocery" => "household",
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(offset: i64, value: &str) -> Record {
        let timestamp_us = "2026-03-01T10:00:00Z".parse::<jiff::Timestamp>().unwrap().as_microsecond();
        Record { partition: 0, offset, timestamp_us, value: value.as_bytes().to_vec() }
    }

    fn payment(offset: i64, time: &str, amount: &str, currency: &str) -> Record {
        let value = format!(
            r#"{{"event_id":"e{offset}","kind":" PAYMENT","occurred_at":"2026-03-01T{time}Z","category":"books","quantity":2,"amount":"{amount}","currency":"{currency}"}}"#
        );
        record(offset, &value)
    }

    #[test]
    fn payments_are_summed_by_minute_and_late_ones_are_not() {
        let records = [
            payment(0, "10:00:10", "1.00", "EUR"),
            payment(1, "10:00:20", "19.99", "USD"),
            payment(2, "10:01:10", "5", "EUR"),
            payment(3, "10:00:30", "7.00", "EUR"),
        ];
        let expected = expect(&records);
        assert_eq!(expected.late, [(0, 3)]);
        let sales = sales(&expected, |_, row| row.category.clone());
        let sums: Vec<_> = sales.values().map(|sums| (sums.orders, sums.items, sums.cents)).collect();
        assert_eq!(sums, [(2, Some(4), 100 + 1839), (1, Some(2), 500)]);
    }

    #[test]
    fn what_is_refused_is_refused_by_the_first_who_can() {
        let records = [
            record(0, "{"),
            payment(1, "10:09:10", "1.00", "EUR"),
            payment(2, "10:00:10", "1.00", "XXX"),
            record(3, r#"{"event_id":"b","kind":"boom","occurred_at":"2026-03-01T10:00:00Z"}"#),
            payment(4, "10:00:10", "1.234", "EUR"),
        ];
        let stages: Vec<_> = expect(&records).letters.into_values().collect();
        let (decode, time) = (("events", "decode"), ("events", "event-time"));
        assert_eq!(stages, [decode, time, ("clean", "transform"), ("check", "transform"), decode]);
    }
}
