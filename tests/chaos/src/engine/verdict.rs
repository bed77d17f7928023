//! The engine's sinks against the oracle: every row as a line of text, every line as often as it must be there.

use std::collections::BTreeMap;

use anyhow::{Context, Result, bail};
use serde_json::Value;
use weir_stream::DeadLetter;

use super::oracle::{self, Expected, Judged, Reading, Silence, Sums, Visit};
use crate::found::{self, Cells, Rows};
use crate::room::Room;
use crate::topic;

/// Faults that a message shows.
const SHOWN: usize = 12;

/// What was counted on the way, for result files.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Figures {
    pub records: u64,
    pub passed: u64,
    pub windows: u64,
    pub pairs: u64,
    pub judged: u64,
    pub silences: u64,
    pub dead_letters: u64,
}

/// How often each line is there.
type Lines = BTreeMap<String, i64>;

/// How a cell is read, so that every sink's text of a value becomes one.
#[derive(Clone, Copy)]
enum Kind {
    Text,
    Float,
    Bool,
    Time,
}

const ONCE: &[(&str, Kind)] = &[
    ("part", Kind::Text),
    ("place", Kind::Text),
    ("id", Kind::Text),
    ("sensor", Kind::Text),
    ("celsius", Kind::Float),
    ("milli", Kind::Text),
];
const SUMS: &[(&str, Kind)] = &[
    ("window_start", Kind::Time),
    ("sensor", Kind::Text),
    ("readings", Kind::Text),
    ("total", Kind::Text),
    ("coldest", Kind::Text),
];
const VISITED: &[(&str, Kind)] = &[
    ("part", Kind::Text),
    ("place", Kind::Text),
    ("id", Kind::Text),
    ("visit_part", Kind::Text),
    ("visit_place", Kind::Text),
    ("visit_by", Kind::Text),
];
const JUDGED: &[(&str, Kind)] =
    &[("part", Kind::Text), ("place", Kind::Text), ("median", Kind::Float), ("spike", Kind::Bool)];
const SILENT: &[(&str, Kind)] = &[("sensor", Kind::Text), ("silent_since", Kind::Time), ("readings", Kind::Text)];

/// Reads input and every sink, and holds them against each other. `steps`: the counts of the finished run's status.
///
/// # Errors
/// Everything that is not as it must be, by sink.
pub fn check(room: &Room, steps: &Value) -> Result<Figures> {
    let read = |name: &str| topic::read(&room.brokers, &room.topic(name));
    let expected = oracle::expect(&read("readings")?, &read("visits")?)?;
    let mut faults = Vec::new();
    for (sink, columns, wanted, rows) in sinks(room, &expected)? {
        compare(sink, wanted, lines(&rows, columns).with_context(|| sink.to_owned())?, &mut faults);
    }
    let letters = read("letters")?.into_iter().map(|record| Ok(serde_json::from_slice(&record.value)?));
    let letters = letters.collect::<Result<Vec<DeadLetter>>>()?;
    let found = letters.iter().map(|letter| {
        let topic = letter.topic.rsplit('.').next().unwrap_or_default();
        format!("{topic} ({}, {}) {} {}", letter.partition, letter.offset, letter.step, letter.stage)
    });
    let wanted = expected.letters.iter().map(|(topic, place, step, stage)| format!("{topic} {place:?} {step} {stage}"));
    compare("dead letters", count(wanted), count(found), &mut faults);
    compare_counts(&expected, steps, &mut faults);
    raise(&faults)?;
    Ok(Figures {
        records: expected.records,
        passed: expected.once.len() as u64,
        windows: expected.sums.len() as u64,
        pairs: expected.visited.len() as u64,
        judged: expected.judged.len() as u64,
        silences: expected.silences.len() as u64,
        dead_letters: expected.letters.len() as u64,
    })
}

/// Holds one sink of step `once` against the oracle.
///
/// # Errors
/// Everything that is not as it must be.
pub fn once(expected: &Expected, rows: &Rows) -> Result<()> {
    let mut faults = Vec::new();
    compare("once_kept", count(expected.once.iter().map(once_line)), lines(rows, ONCE)?, &mut faults);
    raise(&faults)
}

fn raise(faults: &[String]) -> Result<()> {
    if faults.is_empty() {
        return Ok(());
    }
    let shown: Vec<&String> = faults.iter().take(SHOWN).collect();
    bail!("{} faults, the first of them {shown:#?}", faults.len())
}

type Sink = (&'static str, &'static [(&'static str, Kind)], Lines, Rows);

/// Every sink: its columns, what must be in it, and what is.
fn sinks(room: &Room, expected: &Expected) -> Result<Vec<Sink>> {
    let out = room.path("out");
    let sqlite = |table: &str| found::sqlite_rows(&out.join(format!("{table}.db")), table);
    let postgres = |table: &str| found::postgres_rows(room, &format!("{table}_{}", room.name));
    let topic = |name: &str| found::topic_rows(room, &room.topic(name));
    let once = || count(expected.once.iter().map(once_line));
    let sums = || count(expected.sums.iter().map(|((start_us, sensor), sums)| sums_line(*start_us, sensor, sums)));
    let visited = || count(expected.visited.iter().map(|(left, right)| visited_line(left.as_ref(), right.as_ref())));
    let judged = || count(expected.judged.iter().map(judged_line));
    let silent = || count(expected.silences.iter().map(silent_line));
    Ok(vec![
        ("once_files", ONCE, once(), found::parquet_rows(&out.join("once"))?),
        ("once_topic", ONCE, once(), topic("once")?),
        ("sums_server", SUMS, sums(), postgres("sums")?),
        ("sums_lite", SUMS, sums(), sqlite("sums")?),
        ("visited_server", VISITED, visited(), postgres("visited")?),
        ("visited_topic", VISITED, visited(), topic("visited")?),
        ("judged_files", JUDGED, judged(), found::parquet_rows(&out.join("judged"))?),
        ("judged_lite", JUDGED, judged(), sqlite("judged")?),
        ("silent_server", SILENT, silent(), postgres("silent")?),
        ("silent_topic", SILENT, silent(), topic("silent")?),
    ])
}

fn count(lines: impl Iterator<Item = String>) -> Lines {
    let mut counted = Lines::new();
    lines.for_each(|line| *counted.entry(line).or_default() += 1);
    counted
}

fn lines(rows: &Rows, columns: &[(&str, Kind)]) -> Result<Lines> {
    let rows = rows.iter().map(|cells| line_of(cells, columns)).collect::<Result<Vec<_>>>()?;
    Ok(count(rows.into_iter()))
}

fn line_of(cells: &Cells, columns: &[(&str, Kind)]) -> Result<String> {
    let cell = |(name, kind): &(&str, Kind)| {
        let cell = cells.get(*name).with_context(|| format!("no column {name} in {cells:?}"))?;
        let text = cell.as_ref().map(|text| match kind {
            Kind::Text => Ok(text.clone()),
            Kind::Float => Ok(float(text.parse()?)),
            Kind::Bool => Ok(matches!(&**text, "true" | "t" | "1").to_string()),
            Kind::Time => Ok(text.parse::<jiff::Timestamp>()?.as_microsecond().to_string()),
        });
        let text: Result<Option<String>> = text.transpose();
        Ok(or_null(text.with_context(|| format!("{name} of {cells:?}"))?))
    };
    Ok(columns.iter().map(cell).collect::<Result<Vec<_>>>()?.join(" "))
}

fn or_null(text: Option<String>) -> String {
    text.unwrap_or_else(|| "null".to_owned())
}

fn float(value: f64) -> String {
    format!("{value:?}")
}

fn once_line(reading: &Reading) -> String {
    let Reading { place: (part, place), id, sensor, celsius, milli, .. } = reading;
    format!("{part} {place} {id} {sensor} {} {milli}", float(*celsius))
}

fn sums_line(start_us: i64, sensor: &str, sums: &Sums) -> String {
    format!("{start_us} {sensor} {} {} {}", sums.readings, sums.total, sums.coldest)
}

fn visited_line(left: Option<&Reading>, right: Option<&Visit>) -> String {
    let left = left.map(|left| format!("{} {} {}", left.place.0, left.place.1, left.id));
    let right = right.map(|right| format!("{} {} {}", right.place.0, right.place.1, right.by));
    let none = || "null null null".to_owned();
    format!("{} {}", left.unwrap_or_else(none), right.unwrap_or_else(none))
}

fn judged_line(judged: &Judged) -> String {
    let (part, place) = judged.reading.place;
    format!("{part} {place} {} {}", or_null(judged.median.map(float)), judged.spike)
}

fn silent_line(silence: &Silence) -> String {
    format!("{} {} {}", silence.sensor, silence.since_us, silence.readings)
}

fn compare(sink: &str, wanted: Lines, found: Lines, faults: &mut Vec<String>) {
    for (line, times) in &wanted {
        let there = found.get(line).copied().unwrap_or(0);
        if there != *times {
            faults.push(format!("{sink}: `{line}` must be there {times} times and is {there} times"));
        }
    }
    let surplus = found.keys().filter(|line| !wanted.contains_key(*line));
    faults.extend(surplus.map(|line| format!("{sink}: `{line}` should not be there")));
}

/// The status's own counts: exact sums since the pipeline was created, whatever was run twice.
fn compare_counts(expected: &Expected, steps: &Value, faults: &mut Vec<String>) {
    let late = |of: &str| expected.letters.iter().filter(|letter| letter.2 == of).count();
    let source = |name: &str| steps[name]["rows_in"].as_u64().unwrap_or(0);
    let wanted = [
        ("once", "rows_out", expected.once.len()),
        ("once", "late", late("once")),
        ("sums", "late", late("sums")),
        ("visited", "rows_out", expected.visited.len()),
        ("visited", "late", late("visited")),
        ("judged", "rejected", 0),
    ];
    for (step, name, wanted) in wanted {
        let found = steps[step][name].as_u64();
        if found != Some(wanted as u64) {
            faults.push(format!("status: {step}.{name} is {found:?}, not {wanted}"));
        }
    }
    if source("readings") + source("visits") != expected.records {
        faults.push(format!("status: {} and {} rows were read", source("readings"), source("visits")));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn faults(found: &[&str]) -> Vec<String> {
        let wanted = count(["a", "b", "b"].into_iter().map(str::to_owned));
        let mut faults = Vec::new();
        compare("sink", wanted, count(found.iter().map(|line| (*line).to_owned())), &mut faults);
        faults
    }

    #[test]
    fn what_is_lost_doubled_or_made_up_is_seen() {
        assert_eq!(faults(&["b", "a", "b"]), Vec::<String>::new());
        assert!(faults(&["b", "b"])[0].contains("`a` must be there 1 times and is 0 times"));
        assert!(faults(&["a", "b"])[0].contains("`b` must be there 2 times and is 1 times"));
        assert!(faults(&["a", "b", "b", "b"])[0].contains("is 3 times"));
        assert!(faults(&["a", "b", "b", "c"])[0].contains("`c` should not be there"));
    }

    #[test]
    fn one_value_is_one_text_however_a_sink_writes_it() {
        let line = |median: &str, spike: &str| {
            let cells = [("part", "0"), ("place", "7"), ("median", median), ("spike", spike)];
            let cells = cells.map(|(name, text)| (name.to_owned(), Some(text.to_owned())));
            line_of(&cells.into(), JUDGED).unwrap()
        };
        assert_eq!(line("20", "t"), "0 7 20.0 true");
        assert_eq!(line("20.0", "1"), line("2e1", "true"));
        assert_eq!(line("20.25", "0"), line("20.250", "f"));
    }
}
