//! Windows by the clock of a time zone: days of 23, 24 and 25 hours.
//!
//! A boundary is a wall-clock time that the zone's rules make an instant: one that a change of the clock skips is the
//! moment of the change as told by the clock before it, one that comes twice is the first of the two. So windows stand
//! side by side without gap or overlap whatever the rules do.

use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};

use super::WindowError;

const EPOCH: DateTime = DateTime::constant(1970, 1, 1, 0, 0, 0, 0);
const HOUR_US: i64 = 3_600_000_000;
const DAY_US: i64 = 24 * HOUR_US;

/// Boundaries looked at on either side of the one that the clock names: more than any change of a clock moves.
const NEIGHBOURS: i64 = 2;

#[derive(Debug, Clone, PartialEq)]
pub(super) struct ZonedWindows {
    size_us: i64,
    offset_us: i64,
    name: String,
    zone: TimeZone,
}

impl ZonedWindows {
    pub(super) fn new(size_us: i64, offset_us: i64, name: &str) -> Result<Self, WindowError> {
        let divides = size_us % HOUR_US == 0 && DAY_US % size_us == 0;
        if size_us % DAY_US != 0 && !divides {
            return Err(WindowError::ZonedSize);
        }
        let zone = TimeZone::get(name).map_err(|_| WindowError::Zone { name: name.to_owned() })?;
        Ok(Self { size_us, offset_us, name: name.to_owned(), zone })
    }

    pub(super) fn window_of(&self, time_us: i64) -> Option<(i64, i64)> {
        let instant = Timestamp::from_microsecond(time_us).ok()?;
        let local_us = i64::try_from(self.zone.to_datetime(instant).duration_since(EPOCH).as_micros()).ok()?;
        let number = local_us.checked_sub(self.offset_us)?.div_euclid(self.size_us);
        let mut window = (None, None);
        for number in number - NEIGHBOURS..=number + NEIGHBOURS {
            let Some(boundary) = self.boundary(number) else { continue };
            if boundary <= time_us {
                window.0 = window.0.max(Some(boundary));
            } else {
                window.1 = Some(window.1.map_or(boundary, |end: i64| end.min(boundary)));
            }
        }
        Some((window.0?, window.1?))
    }

    fn boundary(&self, number: i64) -> Option<i64> {
        let local_us = number.checked_mul(self.size_us)?.checked_add(self.offset_us)?;
        let local = EPOCH.checked_add(SignedDuration::from_micros(local_us)).ok()?;
        let instant = self.zone.to_ambiguous_timestamp(local).compatible().ok()?;
        Some(instant.as_microsecond())
    }

    /// The window that holds the watermark is the oldest that ends behind it.
    pub(super) fn first_open(&self, watermark_us: i64) -> i64 {
        let beyond = if watermark_us < 0 { i64::MIN } else { i64::MAX };
        self.window_of(watermark_us).map_or(beyond, |(start, _)| start)
    }

    pub(super) fn layout(&self) -> String {
        format!("size_us={} offset_us={} time_zone={}", self.size_us, self.offset_us, self.name)
    }
}
