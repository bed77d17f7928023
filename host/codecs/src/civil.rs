//! Dates and timestamps as text: RFC 3339, widened to every value that a column can hold.
//!
//! Years outside 0000 to 9999 carry a sign (`+12345-01-01`, `-0001-12-31`), as ISO 8601 expands them. Digits of a
//! fraction beyond the column's unit are cut off (towards the past); a leap second (`:60`) is refused. Days and
//! civil dates are converted by Howard Hinnant's algorithms ("chrono-Compatible Low-Level Date Algorithms").

use arrow_schema::TimeUnit;

const SECONDS_PER_DAY: i64 = 86_400;

/// Digits of a year that carries a sign: enough for every second that an `i64` can count.
const MAX_YEAR_DIGITS: usize = 12;

/// Units per second.
pub(crate) fn per_second(unit: TimeUnit) -> i64 {
    match unit {
        TimeUnit::Second => 1,
        TimeUnit::Millisecond => 1_000,
        TimeUnit::Microsecond => 1_000_000,
        TimeUnit::Nanosecond => 1_000_000_000,
    }
}

/// Why a text is no date or timestamp of the column.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum TimeError {
    Malformed,
    OutOfRange,
}

/// Days since 1970-01-01 of a proleptic Gregorian date.
fn days_from_civil(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    era * 146_097 + day_of_era - 719_468
}

/// Year, month and day of a day since 1970-01-01.
fn civil_from_days(days: i64) -> (i64, i64, i64) {
    let days = days + 719_468;
    let era = days.div_euclid(146_097);
    let day_of_era = days.rem_euclid(146_097);
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * day_of_year + 2) / 153;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    (year, month, day_of_year - (153 * shifted + 2) / 5 + 1)
}

fn days_in_month(year: i64, month: i64) -> i64 {
    match month {
        2 if year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// A number of exactly `text.len()` digits.
fn digits(text: &[u8]) -> Option<i64> {
    text.iter().try_fold(0i64, |value, byte| match byte.wrapping_sub(b'0') {
        digit @ 0..=9 => Some(value * 10 + i64::from(digit)),
        _ => None,
    })
}

/// The date that `text` starts with, as days, and the text behind it.
fn date_prefix(text: &[u8]) -> Option<(i64, &[u8])> {
    let (year, rest) = match text {
        [sign @ (b'+' | b'-'), rest @ ..] => {
            let length = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
            if !(4..=MAX_YEAR_DIGITS).contains(&length) {
                return None;
            }
            let (year, rest) = rest.split_at(length);
            let year = digits(year)?;
            (if *sign == b'-' { -year } else { year }, rest)
        }
        _ => {
            let (year, rest) = text.split_first_chunk::<4>()?;
            (digits(year)?, rest)
        }
    };
    let ([b'-', m1, m0, b'-', d1, d0], rest) = rest.split_first_chunk::<6>()? else { return None };
    let (month, day) = (digits(&[*m1, *m0])?, digits(&[*d1, *d0])?);
    let valid = (1..=12).contains(&month) && (1..=days_in_month(year, month)).contains(&day);
    valid.then(|| (days_from_civil(year, month, day), rest))
}

/// Days since 1970-01-01 of an ISO date.
pub(crate) fn parse_date(text: &str) -> Result<i32, TimeError> {
    match date_prefix(text.as_bytes()) {
        Some((days, [])) => i32::try_from(days).map_err(|_| TimeError::OutOfRange),
        _ => Err(TimeError::Malformed),
    }
}

/// The nanoseconds of a fraction (without its dot) and the text behind it.
fn fraction(text: &[u8]) -> Option<(i64, &[u8])> {
    let length = text.iter().take_while(|byte| byte.is_ascii_digit()).count();
    if length == 0 {
        return None;
    }
    let (fraction, rest) = text.split_at(length);
    let kept = &fraction[..length.min(9)];
    Some((digits(kept)? * 10i64.pow(9 - kept.len() as u32), rest))
}

/// Seconds east of UTC; `None` inside when the text names no offset.
fn offset(text: &[u8]) -> Option<Option<i64>> {
    match text {
        [] => Some(None),
        [b'Z' | b'z'] => Some(Some(0)),
        [sign @ (b'+' | b'-'), h1, h0, b':', m1, m0] => {
            let (hours, minutes) = (digits(&[*h1, *h0])?, digits(&[*m1, *m0])?);
            let seconds = hours * 3_600 + minutes * 60;
            (hours < 24 && minutes < 60).then_some(Some(if *sign == b'-' { -seconds } else { seconds }))
        }
        _ => None,
    }
}

/// Whole seconds since the epoch in UTC, nanoseconds on top, and whether the text named an offset.
fn parse_instant(text: &[u8]) -> Option<(i128, i64, bool)> {
    let (days, rest) = date_prefix(text)?;
    let ([b'T' | b't' | b' ', h1, h0, b':', m1, m0, b':', s1, s0], rest) = rest.split_first_chunk::<9>()? else {
        return None;
    };
    let (hour, minute, second) = (digits(&[*h1, *h0])?, digits(&[*m1, *m0])?, digits(&[*s1, *s0])?);
    if hour > 23 || minute > 59 || second > 59 {
        return None;
    }
    let (nanos, rest) = match rest {
        [b'.', rest @ ..] => fraction(rest)?,
        _ => (0, rest),
    };
    let offset = offset(rest)?;
    let of_day = hour * 3_600 + minute * 60 + second - offset.unwrap_or(0);
    // The longest years that the text may name are beyond an i64 of seconds.
    let seconds = i128::from(days) * i128::from(SECONDS_PER_DAY) + i128::from(of_day);
    Some((seconds, nanos, offset.is_some()))
}

/// A timestamp in `unit`. With `zoned` the text must name its offset; without, a text that names none is taken as
/// it stands, and one that does is converted to UTC.
pub(crate) fn parse_timestamp(text: &str, unit: TimeUnit, zoned: bool) -> Result<i64, TimeError> {
    let (seconds, nanos, has_offset) = parse_instant(text.as_bytes()).ok_or(TimeError::Malformed)?;
    if zoned && !has_offset {
        return Err(TimeError::Malformed);
    }
    let per_second = per_second(unit);
    let value = seconds * i128::from(per_second) + i128::from(nanos / (1_000_000_000 / per_second));
    i64::try_from(value).map_err(|_| TimeError::OutOfRange)
}

fn two(value: i64) -> [u8; 2] {
    [b'0' + (value / 10) as u8, b'0' + (value % 10) as u8]
}

/// Appends the ISO date of a day since 1970-01-01.
pub(crate) fn write_date(days: i64, out: &mut Vec<u8>) {
    let (year, month, day) = civil_from_days(days);
    if (0..=9999).contains(&year) {
        out.extend_from_slice(&two(year / 100));
        out.extend_from_slice(&two(year % 100));
    } else {
        out.extend_from_slice(format!("{year:+05}").as_bytes());
    }
    let ([m1, m0], [d1, d0]) = (two(month), two(day));
    out.extend_from_slice(&[b'-', m1, m0, b'-', d1, d0]);
}

/// Writes timestamps of one column; remembers the text of the day before, since days repeat.
#[derive(Debug)]
pub(crate) struct TimestampWriter {
    per_second: i64,
    zoned: bool,
    day: i64,
    day_text: Vec<u8>,
}

impl TimestampWriter {
    pub(crate) fn new(unit: TimeUnit, zoned: bool) -> Self {
        let mut day_text = Vec::with_capacity(24);
        write_date(0, &mut day_text);
        Self { per_second: per_second(unit), zoned, day: 0, day_text }
    }

    /// Appends `2026-03-01T10:00:10.000Z`: as many fraction digits as the unit has, `Z` when the column has a zone.
    pub(crate) fn write(&mut self, value: i64, out: &mut Vec<u8>) {
        let (seconds, fraction) = (value.div_euclid(self.per_second), value.rem_euclid(self.per_second));
        let (day, second) = (seconds.div_euclid(SECONDS_PER_DAY), seconds.rem_euclid(SECONDS_PER_DAY));
        if day != self.day {
            self.day = day;
            self.day_text.clear();
            write_date(day, &mut self.day_text);
        }
        out.extend_from_slice(&self.day_text);
        let ([h1, h0], [m1, m0], [s1, s0]) = (two(second / 3_600), two(second / 60 % 60), two(second % 60));
        out.extend_from_slice(&[b'T', h1, h0, b':', m1, m0, b':', s1, s0]);
        self.write_fraction(fraction, out);
        if self.zoned {
            out.push(b'Z');
        }
    }

    fn write_fraction(&self, mut fraction: i64, out: &mut Vec<u8>) {
        let digits = self.per_second.ilog10() as usize;
        if digits == 0 {
            return;
        }
        let mut text = *b".000000000";
        for place in (1..=digits).rev() {
            text[place] = b'0' + (fraction % 10) as u8;
            fraction /= 10;
        }
        out.extend_from_slice(&text[..=digits]);
    }
}

#[cfg(test)]
#[path = "civil/tests.rs"]
mod tests;
