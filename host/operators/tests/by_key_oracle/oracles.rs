//! What the steps should give, from all rows at once.

use std::collections::BTreeMap;

use super::engine::{Row, Rows};

/// One row that comes out, or stays in the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Result {
    pub n: i64,
    pub time_us: i64,
    /// Rank or session.
    pub number: Option<i64>,
}

#[derive(Debug, PartialEq, Eq)]
pub struct Outcome {
    /// Sorted.
    pub rows: Vec<Result>,
    /// The numbers of late rows, sorted.
    pub late: Vec<i64>,
}

fn plain(row: &Row) -> Result {
    Result { n: row.n, time_us: row.time_us, number: None }
}

fn outcome(mut rows: Vec<Result>, mut late: Vec<i64>) -> Outcome {
    rows.sort();
    late.sort_unstable();
    Outcome { rows, late }
}

/// Late rows, and the others by name, each name's by time and stored bytes.
fn by_name(partitions: &[Rows], is_late: impl Fn(&Row) -> bool) -> (Vec<i64>, Vec<Vec<&Row>>) {
    let (late, rest): (Vec<&Row>, Vec<&Row>) = partitions.iter().flatten().partition(|row| is_late(row));
    let mut names: BTreeMap<&Option<String>, Vec<&Row>> = BTreeMap::new();
    rest.into_iter().for_each(|row| names.entry(&row.name).or_default().push(row));
    let mut names: Vec<Vec<&Row>> = names.into_values().collect();
    names.iter_mut().for_each(|rows| rows.sort_by_key(|row| (row.time_us, stored(row))));
    (late.into_iter().map(|row| row.n).collect(), names)
}

pub fn dedup_first(rows: &[Row], ttl_us: i64) -> Outcome {
    let (mut passed, mut late) = (Vec::new(), Vec::new());
    let mut newest: BTreeMap<&Option<String>, i64> = BTreeMap::new();
    for row in rows {
        if row.time_us + ttl_us <= row.watermark_us {
            late.push(row.n);
            continue;
        }
        let held = newest.get(&row.name).copied();
        if held.is_none_or(|held| held + ttl_us <= row.time_us || held + ttl_us <= row.watermark_us) {
            passed.push(plain(row));
            newest.insert(&row.name, held.map_or(row.time_us, |held| held.max(row.time_us)));
        }
    }
    outcome(passed, late)
}

pub fn dedup_last(partitions: &[Rows], ttl_us: i64) -> Outcome {
    let (late, names) = by_name(partitions, |row| row.time_us < row.watermark_us);
    let mut last = Vec::new();
    for rows in names {
        for (row, next) in rows.iter().zip(rows.iter().skip(1).map(Some).chain([None])) {
            if next.is_none_or(|next| next.time_us - row.time_us >= ttl_us) {
                last.push(plain(row));
            }
        }
    }
    outcome(last, late)
}

pub fn latest(partitions: &[Rows], ttl_us: Option<i64>, end_us: i64) -> Outcome {
    // All rows that are not late have been read when the watermark comes to `end_us`.
    let gone = |time_us: i64, watermark_us: i64| ttl_us.is_some_and(|ttl_us| time_us + ttl_us <= watermark_us);
    let (late, names) = by_name(partitions, |row| gone(row.time_us, row.watermark_us));
    let newest = names.iter().filter_map(|rows| rows.last());
    outcome(newest.filter(|row| !gone(row.time_us, end_us)).map(|row| plain(row)).collect(), late)
}

/// What the stored bytes of rows of one name compare by: which columns are there, then their values.
fn stored(row: &Row) -> (bool, Option<i64>, i64) {
    (row.price.is_some(), row.price, row.n)
}

pub fn top(partitions: &[Rows], most: usize) -> Outcome {
    let (_, names) = by_name(partitions, |_| false);
    let mut ranked = Vec::new();
    for mut rows in names {
        // Numbers fall, so the second expression, `-n`, rises with them falling.
        rows.sort_by_key(|row| (std::cmp::Reverse(row.price), std::cmp::Reverse(row.n)));
        let numbered = rows.iter().take(most).zip(1..);
        ranked.extend(numbered.map(|(row, rank)| Result { number: Some(rank), ..plain(row) }));
    }
    outcome(ranked, Vec::new())
}

/// The first rows of each name and window by price, largest first, with those level with the last if `ties`; a window's
/// size is `size_us`, and its rows come out at its last microsecond.
pub fn window_top(partitions: &[Rows], size_us: i64, most: usize, ties: bool) -> Outcome {
    let start = |row: &Row| row.time_us.div_euclid(size_us) * size_us;
    let (late, names) = by_name(partitions, |row| start(row) + size_us <= row.watermark_us);
    let mut windows: BTreeMap<(&Option<String>, i64), Vec<&Row>> = BTreeMap::new();
    names.into_iter().flatten().for_each(|row| windows.entry((&row.name, start(row))).or_default().push(row));
    let mut ranked = Vec::new();
    for ((_, start_us), mut rows) in windows {
        rows.sort_by_key(|row| (std::cmp::Reverse(row.price), row.time_us, stored(row)));
        for (place, row) in rows.iter().enumerate() {
            let above = rows.iter().filter(|other| other.price > row.price).count();
            let (place, counted) = if ties { (above, above) } else { (place, place) };
            if counted < most {
                ranked.push(Result { n: row.n, time_us: start_us + size_us - 1, number: Some(place as i64 + 1) });
            }
        }
    }
    outcome(ranked, late)
}

pub fn sessions(partitions: &[Rows], gap_us: i64, ttl_us: Option<i64>) -> Outcome {
    let (late, names) = by_name(partitions, |row| row.time_us < row.watermark_us);
    let mut numbered = Vec::new();
    for rows in names {
        let (mut number, mut last_us) = (0, i64::MIN);
        for row in rows {
            if number > 0 && ttl_us.is_some_and(|ttl_us| row.time_us - last_us >= ttl_us) {
                number = 0;
            }
            if number == 0 || row.time_us - last_us > gap_us {
                number += 1;
            }
            last_us = row.time_us;
            numbered.push(Result { number: Some(number), ..plain(row) });
        }
    }
    outcome(numbered, late)
}
