//! The shares, bounds and shapes that the shop's events promise.

use std::collections::{HashMap, HashSet};
use std::time::Instant;

use super::*;

const EVENTS: u64 = 200_000;

fn options() -> EventOptions {
    EventOptions { duplicates: 0.02, malformed: 0.03, dirty: 0.01, ..EventOptions::default() }
}

fn made(seed: u64, index: u64, options: &EventOptions) -> (Made, Vec<u8>) {
    let mut out = Vec::new();
    let made = event(seed, index, options, &mut out);
    (made, out)
}

#[test]
fn event_times_stay_within_the_disorder_and_use_it() {
    let options = EventOptions { disorder_ms: 3_000, ..options() };
    let mut deepest = 0;
    for index in 0..EVENTS {
        let (made, _) = made(7, index, &options);
        let place = options.start_us + index as i64 * 50;
        assert_eq!(made.timestamp_us, place);
        if made.malformed.is_some() || made.duplicate_of.is_some() {
            continue;
        }
        let behind = place - made.event_time_us;
        assert!((0..=3_000_999).contains(&behind), "event {index} is {behind} us behind");
        deepest = deepest.max(behind);
    }
    assert!(deepest > 2_900_000, "{deepest}");
}

#[test]
fn shares_are_what_the_options_say() {
    let (mut duplicates, mut dirty, mut malformed) = (0, 0, HashMap::new());
    for index in 0..EVENTS {
        let (made, _) = made(11, index, &options());
        duplicates += u64::from(made.duplicate_of.is_some());
        dirty += u64::from(made.duplicate_of.is_none() && made.dirt.is_some());
        if let Some(kind) = made.malformed {
            *malformed.entry(kind).or_insert(0_u64) += 1;
        }
    }
    let near = |found: u64, share: f64| (found as f64 / EVENTS as f64 - share).abs() < share * 0.1;
    assert!(near(duplicates, 0.02) && near(dirty, 0.01), "{duplicates} {dirty}");
    assert!(near(malformed.values().sum(), 0.03), "{malformed:?}");
    for kind in Malformed::ALL.iter().filter(|kind| **kind != Malformed::Oversize) {
        assert!(near(malformed[kind], 0.03 / 9.0) || malformed[kind] > 500, "{kind:?}: {malformed:?}");
    }
    assert!((1..=20).contains(&malformed[&Malformed::Oversize]), "{malformed:?}");
}

#[test]
fn a_duplicate_is_a_copy_of_an_accepted_event_of_its_partition() {
    let options = EventOptions { stride: 3, ..options() };
    let mut seen = 0;
    for index in 0..50_000 {
        let (copy, bytes) = made(3, index, &options);
        let Some(original) = copy.duplicate_of else { continue };
        assert_eq!(original % 3, index % 3);
        assert!(index - original <= DUPLICATE_REACH * 3);
        let (first, first_bytes) = made(3, original, &options);
        assert_eq!((bytes, copy.event_time_us), (first_bytes, first.event_time_us));
        assert_eq!((first.malformed, first.duplicate_of), (None, None));
        seen += 1;
    }
    assert!(seen > 800, "{seen}");
}

#[test]
fn well_formed_events_are_json_with_every_field_and_ids_never_repeat() {
    let mut ids = HashSet::new();
    for index in 0..EVENTS / 10 {
        let (made, bytes) = made(5, index, &options());
        if made.malformed.is_some() || made.duplicate_of.is_some() {
            continue;
        }
        let value: serde_json::Value = serde_json::from_slice(&bytes).unwrap();
        assert_eq!(value.as_object().unwrap().len(), 12);
        assert!(ids.insert(value["event_id"].as_str().unwrap().to_owned()));
        let time: jiff::Timestamp = value["occurred_at"].as_str().unwrap().parse().unwrap();
        assert_eq!(time.as_microsecond(), made.event_time_us);
        let paid = ["order", "payment", "refund"];
        let kind = value["kind"].as_str().map(|kind| kind.trim().to_lowercase());
        assert_eq!(kind.is_none(), made.dirt == Some(Dirt::KindMissing));
        if kind.is_some_and(|kind| paid.contains(&kind.as_str())) {
            let amount: f64 = value["amount"].as_str().unwrap().parse().unwrap();
            assert_eq!(amount > 10_000.0, made.dirt == Some(Dirt::AmountTooLarge), "{value}");
            assert_eq!(value["currency"] == UNKNOWN_CURRENCY, made.dirt == Some(Dirt::CurrencyUnknown));
        }
    }
}

#[test]
fn malformed_records_are_malformed_in_the_way_they_say() {
    let options = EventOptions { malformed: 1.0, dirty: 0.0, ..EventOptions::default() };
    let mut seen = HashSet::new();
    for index in 0..8_000 {
        let (made, bytes) = made(9, index, &options);
        let kind = made.malformed.unwrap();
        seen.insert(kind);
        let json: Result<serde_json::Value, _> = serde_json::from_slice(&bytes);
        match kind {
            Malformed::Syntax | Malformed::DeepNesting => assert!(json.is_err()),
            Malformed::NotUtf8 => assert!(std::str::from_utf8(&bytes).is_err()),
            Malformed::WrongType => assert!(json.unwrap()["quantity"].is_string()),
            Malformed::MissingField => assert!(json.unwrap().get("occurred_at").is_none()),
            Malformed::NumberOverflow => assert!(json.unwrap()["quantity"].as_i64().is_none()),
            Malformed::NullValue => assert_eq!(bytes, b"null"),
            Malformed::Oversize => assert!(bytes.len() >= OVERSIZE_BYTES),
            Malformed::FarFuture => assert!(json.unwrap()["occurred_at"].as_str().unwrap() > "2099"),
            Malformed::NegativeTime => assert!(json.unwrap()["occurred_at"].as_str().unwrap() < "1970"),
        }
    }
    assert_eq!(seen.len(), Malformed::ALL.len());
}

#[test]
fn the_first_events_of_a_seed_never_change() {
    let mut out = Vec::new();
    for index in 0..1_000 {
        event(7, index, &EventOptions { malformed: 0.01, duplicates: 0.01, ..Default::default() }, &mut out);
        out.push(b'\n');
    }
    let first = String::from_utf8_lossy(&out).lines().next().unwrap().to_owned();
    let expected = r#"{"event_id":"b8b4c2977eabce45","kind":"order","occurred_at":"2026-02-28T23:59:58.707Z","category":"sports","quantity":2,"amount":"39.64","currency":"PLN","user":"u003592","session":"sf403c3af","product":"p0236","country":"PL","device":"desktop"}"#;
    assert_eq!((weir_stream::key::hash(&out), first.as_str()), (7_133_812_561_625_305_563, expected));
}

#[test]
fn events_are_made_faster_than_anything_reads_them() {
    let (mut out, options, start) = (Vec::new(), options(), Instant::now());
    for index in 0..EVENTS {
        out.clear();
        event(7, index, &options, &mut out);
    }
    let rate = EVENTS as f64 / start.elapsed().as_secs_f64();
    println!("{rate:.0} events/s");
    assert!(rate > 200_000.0, "{rate:.0} events/s");
}
