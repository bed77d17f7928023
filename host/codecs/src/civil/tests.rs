//! Dates and timestamps against known values and against each other.

use super::*;

fn written(value: i64, unit: TimeUnit, zoned: bool) -> String {
    let mut out = Vec::new();
    TimestampWriter::new(unit, zoned).write(value, &mut out);
    String::from_utf8(out).unwrap()
}

#[test]
fn known_instants_parse_to_their_unix_times() {
    let ms = |text| parse_timestamp(text, TimeUnit::Millisecond, true);
    assert_eq!(ms("1970-01-01T00:00:00Z"), Ok(0));
    assert_eq!(ms("2026-03-01T10:00:10.5Z"), Ok(1_772_359_210_500));
    assert_eq!(ms("2026-03-01T12:00:10.5+02:00"), Ok(1_772_359_210_500));
    assert_eq!(ms("2000-02-29 23:59:59.9999999z"), Ok(951_868_799_999));
    assert_eq!(ms("1969-12-31T23:59:59.999Z"), Ok(-1));
}

#[test]
fn what_is_no_timestamp_is_refused() {
    for text in [
        "",
        "2026",
        "2026-03-01",
        "2026-03-01T10:00",
        "2026-03-01T10:00:10",
        "2026-02-29T00:00:00Z",
        "2026-13-01T00:00:00Z",
        "2026-00-01T00:00:00Z",
        "2026-01-00T00:00:00Z",
        "2026-01-01T24:00:00Z",
        "2026-01-01T23:60:00Z",
        "2026-01-01T23:59:60Z",
        "2026-01-01T23:59:59.Z",
        "2026-01-01T23:59:59+0200",
        "2026-01-01T23:59:59+24:00",
        "2026-01-01T23:59:59Zx",
        "+226-01-01T00:00:00Z",
        "1900-02-29T00:00:00Z",
    ] {
        assert_eq!(parse_timestamp(text, TimeUnit::Millisecond, true), Err(TimeError::Malformed), "{text}");
    }
}

#[test]
fn a_column_without_zone_takes_both_forms() {
    let parse = |text| parse_timestamp(text, TimeUnit::Second, false);
    assert_eq!(parse("1970-01-01T01:00:00"), Ok(3_600));
    assert_eq!(parse("1970-01-01T01:00:00+01:00"), Ok(0));
}

#[test]
fn a_time_that_the_unit_cannot_hold_is_out_of_range() {
    let parse = |text, unit| parse_timestamp(text, unit, true);
    assert_eq!(parse("3000-01-01T00:00:00Z", TimeUnit::Nanosecond), Err(TimeError::OutOfRange));
    assert_eq!(parse("+999999999999-01-01T00:00:00Z", TimeUnit::Second), Err(TimeError::OutOfRange));
    assert_eq!(parse_date("+5881580-07-12"), Err(TimeError::OutOfRange));
}

#[test]
fn the_ends_of_every_unit_come_back() {
    for unit in [TimeUnit::Second, TimeUnit::Millisecond, TimeUnit::Microsecond, TimeUnit::Nanosecond] {
        for value in [i64::MIN, i64::MIN + 1, -86_401, -1, 0, 1, 86_399, i64::MAX - 1, i64::MAX] {
            for zoned in [false, true] {
                let text = written(value, unit, zoned);
                assert_eq!(parse_timestamp(&text, unit, zoned), Ok(value), "{text} {unit:?}");
            }
        }
    }
}

#[test]
fn every_date_comes_back_and_days_follow_each_other() {
    let mut text = Vec::new();
    for days in (-1_000_000..1_000_000).step_by(37).chain([i32::MIN, i32::MAX]) {
        text.clear();
        write_date(i64::from(days), &mut text);
        assert_eq!(parse_date(std::str::from_utf8(&text).unwrap()), Ok(days));
    }
}

#[test]
fn a_timestamp_is_written_with_its_units_digits() {
    assert_eq!(written(1_772_359_210, TimeUnit::Second, true), "2026-03-01T10:00:10Z");
    assert_eq!(written(1_772_359_210_007, TimeUnit::Millisecond, true), "2026-03-01T10:00:10.007Z");
    assert_eq!(written(-1, TimeUnit::Microsecond, false), "1969-12-31T23:59:59.999999");
    assert_eq!(written(1, TimeUnit::Nanosecond, false), "1970-01-01T00:00:00.000000001");
}
