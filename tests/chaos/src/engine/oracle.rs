//! What must come out of the engine's pipeline: the manifest's words applied to the raw records one by one, with sets and
//! loops. No batches, no epochs, no state that forgets, no threads; nothing of the engine is used.
//!
//! Whether a record is late depends on the records before it in its own partition alone, so it can be told from the topic.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use anyhow::{Result, ensure};
use serde_json::Value;

use crate::model::Place;
use crate::topic::Record;

const SECOND_US: i64 = 1_000_000;
const DISORDER_US: i64 = 5 * SECOND_US;
const DEDUP_TTL_US: i64 = 60 * SECOND_US;
const WINDOW_US: i64 = 10 * SECOND_US;
const WINDOW_LATENESS_US: i64 = 20 * SECOND_US;
const JOIN_BEFORE_US: i64 = 2 * SECOND_US;
const JOIN_AFTER_US: i64 = 8 * SECOND_US;
const JOIN_LATENESS_US: i64 = 10 * SECOND_US;
const MEDIAN_OF: usize = 5;
const THRESHOLD: f64 = 10.0;
const REMEMBERED: usize = 64;
const SILENT_AFTER_US: i64 = 20 * SECOND_US;

/// Why and where a record was refused: (topic, its place, step, stage).
pub type Letter = (&'static str, Place, &'static str, &'static str);

#[derive(Debug, Clone)]
pub struct Reading {
    pub place: Place,
    pub id: String,
    pub sensor: String,
    pub time_us: i64,
    pub sequence: i64,
    pub celsius: f64,
    pub milli: i64,
    pub live: bool,
    /// Of its partition, just before it.
    watermark_us: i64,
}

#[derive(Debug, Clone)]
pub struct Visit {
    pub place: Place,
    pub sensor: String,
    pub time_us: i64,
    pub by: String,
    watermark_us: i64,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sums {
    pub readings: u64,
    pub total: i64,
    pub coldest: i64,
}

#[derive(Debug, Clone)]
pub struct Judged {
    pub reading: Reading,
    pub median: Option<f64>,
    pub spike: bool,
}

#[derive(Debug, Clone)]
pub struct Silence {
    pub sensor: String,
    pub since_us: i64,
    pub readings: i64,
}

/// Everything that a finished run must have left.
#[derive(Debug, Default)]
pub struct Expected {
    pub records: u64,
    pub once: Vec<Reading>,
    /// By start and sensor.
    pub sums: BTreeMap<(i64, String), Sums>,
    pub visited: Vec<(Option<Reading>, Option<Visit>)>,
    pub judged: Vec<Judged>,
    pub silences: Vec<Silence>,
    pub letters: Vec<Letter>,
}

/// Records in order of offset within each partition.
///
/// # Errors
/// When the input is not of the kind for which the outcome is one.
pub fn expect(readings: &[Record], visits: &[Record]) -> Result<Expected> {
    let mut expected = Expected { records: (readings.len() + visits.len()) as u64, ..Expected::default() };
    let readings = decode_all(readings, "readings", &mut expected.letters, reading);
    let visits = decode_all(visits, "visits", &mut expected.letters, visit);
    expected.once = once(&readings, &mut expected.letters);
    expected.sums = sums(&expected.once, &mut expected.letters);
    expected.visited = visited(&expected.once, &visits, &mut expected.letters);
    (expected.judged, expected.silences) = judged(&readings)?;
    Ok(expected)
}

/// Decodes records, with the watermark of its partition just before each; notes those that are none.
fn decode_all<T>(
    records: &[Record],
    topic: &'static str,
    letters: &mut Vec<Letter>,
    decode: impl Fn(&Record, &Value, i64, i64) -> Option<T>,
) -> Vec<T> {
    let mut watermarks = BTreeMap::<u32, i64>::new();
    let mut rows = Vec::new();
    for record in records {
        let watermark_us = watermarks.entry(record.partition).or_insert(i64::MIN);
        let fields = serde_json::from_slice::<Value>(&record.value).ok();
        let row = fields.and_then(|fields| {
            let time_us = fields["at"].as_str()?.parse::<jiff::Timestamp>().ok()?.as_microsecond();
            let row = decode(record, &fields, time_us, *watermark_us)?;
            *watermark_us = (*watermark_us).max(time_us - DISORDER_US);
            Some(row)
        });
        match row {
            Some(row) => rows.push(row),
            None => letters.push((topic, (record.partition, record.offset), topic, "decode")),
        }
    }
    rows
}

fn reading(record: &Record, fields: &Value, time_us: i64, watermark_us: i64) -> Option<Reading> {
    Some(Reading {
        place: (record.partition, record.offset),
        id: fields["id"].as_str()?.to_owned(),
        sensor: fields["sensor"].as_str()?.to_owned(),
        time_us,
        sequence: fields["sequence"].as_i64()?,
        celsius: fields["celsius"].as_f64()?,
        milli: fields["milli"].as_i64()?,
        live: fields["live"].as_bool()?,
        watermark_us,
    })
}

fn visit(record: &Record, fields: &Value, time_us: i64, watermark_us: i64) -> Option<Visit> {
    let text = |name: &str| Some(fields[name].as_str()?.to_owned());
    let place = (record.partition, record.offset);
    Some(Visit { place, sensor: text("sensor")?, time_us, by: text("by")?, watermark_us })
}

fn once(readings: &[Reading], letters: &mut Vec<Letter>) -> Vec<Reading> {
    let mut passed = HashMap::<&str, Vec<i64>>::new();
    let mut once = Vec::new();
    for reading in readings {
        if reading.time_us + DEDUP_TTL_US <= reading.watermark_us {
            letters.push(("readings", reading.place, "once", "dedup"));
            continue;
        }
        let before = passed.entry(&reading.id).or_default();
        let remembered = |time_us: &i64| reading.time_us.max(reading.watermark_us) < time_us + DEDUP_TTL_US;
        if !before.iter().any(remembered) {
            before.push(reading.time_us);
            once.push(reading.clone());
        }
    }
    once
}

fn sums(once: &[Reading], letters: &mut Vec<Letter>) -> BTreeMap<(i64, String), Sums> {
    let mut sums = BTreeMap::<_, Sums>::new();
    for reading in once {
        let start_us = reading.time_us - reading.time_us.rem_euclid(WINDOW_US);
        if start_us + WINDOW_US + WINDOW_LATENESS_US <= reading.watermark_us {
            letters.push(("readings", reading.place, "sums", "window"));
            continue;
        }
        let none = Sums { readings: 0, total: 0, coldest: i64::MAX };
        let window = sums.entry((start_us, reading.sensor.clone())).or_insert(none);
        window.readings += 1;
        window.total += reading.milli;
        window.coldest = window.coldest.min(reading.milli);
    }
    sums
}

fn visited(once: &[Reading], visits: &[Visit], letters: &mut Vec<Letter>) -> Vec<(Option<Reading>, Option<Visit>)> {
    let on_time = |time_us: i64, watermark_us: i64| time_us + JOIN_LATENESS_US >= watermark_us;
    let mut right = BTreeMap::<&str, Vec<(&Visit, bool)>>::new();
    for visit in visits {
        if on_time(visit.time_us, visit.watermark_us) {
            right.entry(&visit.sensor).or_default().push((visit, false));
        } else {
            letters.push(("visits", visit.place, "visited", "join"));
        }
    }
    let mut rows = Vec::new();
    for reading in once {
        if !on_time(reading.time_us, reading.watermark_us) {
            letters.push(("readings", reading.place, "visited", "join"));
            continue;
        }
        let meets = reading.time_us - JOIN_BEFORE_US..=reading.time_us + JOIN_AFTER_US;
        let before = rows.len();
        for (visit, matched) in right.get_mut(&*reading.sensor).into_iter().flatten() {
            if meets.contains(&visit.time_us) {
                *matched = true;
                rows.push((Some(reading.clone()), Some((*visit).clone())));
            }
        }
        if rows.len() == before {
            rows.push((Some(reading.clone()), None));
        }
    }
    let alone = right.into_values().flatten().filter(|(_, matched)| !matched);
    rows.extend(alone.map(|(visit, _)| (None, Some(visit.clone()))));
    rows
}

/// What the plugin remembers of one sensor.
#[derive(Default)]
struct Sensor {
    recent: Vec<f64>,
    seen: BTreeSet<i64>,
    newest_us: i64,
    readings: i64,
}

fn judged(readings: &[Reading]) -> Result<(Vec<Judged>, Vec<Silence>)> {
    let mut sensors = BTreeMap::<&str, Sensor>::new();
    let mut judged = Vec::new();
    for reading in readings.iter().filter(|reading| reading.live) {
        let sensor = sensors.entry(&reading.sensor).or_default();
        if !sensor.seen.insert(reading.sequence) {
            continue;
        }
        if sensor.seen.len() > REMEMBERED {
            sensor.seen.pop_first();
        }
        let silent_at_us = sensor.newest_us + SILENT_AFTER_US;
        let spoke_in_time = sensor.readings == 0 || reading.time_us.max(reading.watermark_us) < silent_at_us;
        ensure!(spoke_in_time, "sensor {} fell silent and spoke again: {reading:?}", reading.sensor);
        sensor.newest_us = reading.time_us;
        sensor.readings += 1;
        let mut sorted = sensor.recent.clone();
        sorted.sort_by(f64::total_cmp);
        let median = sorted.get(sorted.len() / 2).copied();
        let spike = median.is_some_and(|median| (reading.celsius - median).abs() > THRESHOLD);
        if !spike {
            sensor.recent.push(reading.celsius);
            if sensor.recent.len() > MEDIAN_OF {
                sensor.recent.remove(0);
            }
        }
        judged.push(Judged { reading: reading.clone(), median, spike });
    }
    let silences = sensors.into_iter().map(|(name, sensor)| Silence {
        sensor: name.to_owned(),
        since_us: sensor.newest_us,
        readings: sensor.readings,
    });
    Ok((judged, silences.collect()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn readings(rows: &[(&str, i64)]) -> Vec<Record> {
        let record = |(offset, (id, at_s)): (usize, &(&str, i64))| {
            let at = jiff::Timestamp::from_second(1_000_000 + at_s).unwrap();
            let value = format!(
                r#"{{"id":"{id}","sensor":"s","at":"{at}","sequence":{offset},"celsius":20.0,"milli":5,"live":false}}"#
            );
            Record { partition: 0, offset: offset as i64, timestamp_us: 0, value: value.into_bytes() }
        };
        rows.iter().enumerate().map(record).collect()
    }

    fn visits(times_s: &[i64]) -> Vec<Record> {
        let record = |(offset, at_s): (usize, &i64)| {
            let at = jiff::Timestamp::from_second(1_000_000 + at_s).unwrap();
            let value = format!(r#"{{"sensor":"s","at":"{at}","by":"v"}}"#);
            Record { partition: 0, offset: offset as i64, timestamp_us: 0, value: value.into_bytes() }
        };
        times_s.iter().enumerate().map(record).collect()
    }

    fn places(rows: &[Reading]) -> Vec<i64> {
        rows.iter().map(|row| row.place.1).collect()
    }

    #[test]
    fn the_first_of_a_minute_counts_and_behind_it_another() {
        let rows = readings(&[("a", 0), ("a", 59), ("b", 3), ("a", 70), ("c", 140), ("d", 75), ("e", 74)]);
        let expected = expect(&rows, &[]).unwrap();
        assert_eq!(places(&expected.once), [0, 2, 3, 4]);
        let late: Vec<_> =
            expected.letters.iter().filter(|letter| letter.2 == "once").map(|letter| letter.1.1).collect();
        assert_eq!(late, [5, 6], "the watermark has come to 135 s");
    }

    #[test]
    fn a_window_takes_rows_until_its_lateness_is_over() {
        // The watermark is 29 s before the first 9 s, and 30 s, where that window's time is over, before the second.
        let rows = readings(&[("a", 0), ("b", 34), ("c", 9), ("d", 35), ("e", 9), ("f", 10)]);
        let expected = expect(&rows, &[]).unwrap();
        let counts: Vec<_> = expected.sums.values().map(|sums| (sums.readings, sums.total)).collect();
        assert_eq!(counts, [(2, 10), (1, 5), (2, 10)]);
        assert!(expected.letters.contains(&("readings", (0, 4), "sums", "window")));
    }

    #[test]
    fn pairs_and_what_stays_alone_come_out() {
        let expected = expect(&readings(&[("a", 0), ("b", 20)]), &visits(&[-2, 8, 9])).unwrap();
        let places = expected
            .visited
            .iter()
            .map(|(left, right)| (left.as_ref().map(|left| left.place.1), right.as_ref().map(|right| right.place.1)));
        let wanted = [(Some(0), Some(0)), (Some(0), Some(1)), (Some(1), None), (None, Some(2))];
        assert_eq!(places.collect::<Vec<_>>(), wanted);
    }
}
