//! Dates and timestamps as columns hold them: plain counts, without a calendar.
//!
//! Invariant: a [`Timestamp`] keeps the count and the unit of its column, so reading one never loses anything.
//! Deliberately no time zones and no clock: a plugin sees only the times in its rows.

use std::cmp::Ordering;
use std::fmt;

/// Days since 1970-01-01.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Date(pub i32);

/// The unit that a timestamp column counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Unit {
    Second,
    Millisecond,
    Microsecond,
    Nanosecond,
}

impl Unit {
    /// Nanoseconds in one.
    const fn nanoseconds(self) -> i64 {
        match self {
            Self::Second => 1_000_000_000,
            Self::Millisecond => 1_000_000,
            Self::Microsecond => 1_000,
            Self::Nanosecond => 1,
        }
    }

    /// As manifests write it: `s`, `ms`, `us`, `ns`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Second => "s",
            Self::Millisecond => "ms",
            Self::Microsecond => "us",
            Self::Nanosecond => "ns",
        }
    }
}

/// A moment: `count` units since 1970-01-01T00:00:00Z. Equal moments are equal whatever their unit.
#[derive(Debug, Clone, Copy)]
pub struct Timestamp {
    count: i64,
    unit: Unit,
}

impl Timestamp {
    pub const fn new(count: i64, unit: Unit) -> Self {
        Self { count, unit }
    }

    pub const fn from_micros(micros: i64) -> Self {
        Self::new(micros, Unit::Microsecond)
    }

    pub const fn count(self) -> i64 {
        self.count
    }

    pub const fn unit(self) -> Unit {
        self.unit
    }

    /// Microseconds since 1970, rounded down; saturates past the year 292,000.
    pub const fn micros(self) -> i64 {
        let per_unit = self.unit.nanoseconds();
        if per_unit >= 1_000 { self.count.saturating_mul(per_unit / 1_000) } else { self.count.div_euclid(1_000) }
    }

    /// The day that the moment falls on, UTC; saturates at the ends of [`Date`].
    pub const fn date(self) -> Date {
        let days = self.count.div_euclid(86_400 * (1_000_000_000 / self.unit.nanoseconds()));
        Date(if days > i32::MAX as i64 {
            i32::MAX
        } else if days < i32::MIN as i64 {
            i32::MIN
        } else {
            days as i32
        })
    }

    /// The same moment in `unit`; `None` when that would cut it or overflow.
    pub const fn in_unit(self, unit: Unit) -> Option<Self> {
        let (from, to) = (self.unit.nanoseconds(), unit.nanoseconds());
        if from >= to {
            return match self.count.checked_mul(from / to) {
                Some(count) => Some(Self { count, unit }),
                None => None,
            };
        }
        let per_unit = to / from;
        if self.count.rem_euclid(per_unit) == 0 {
            Some(Self { count: self.count.div_euclid(per_unit), unit })
        } else {
            None
        }
    }

    /// The start of the unit that the moment falls in; the moment itself when its own unit is not finer.
    #[must_use]
    pub const fn floor(self, unit: Unit) -> Self {
        let (from, to) = (self.unit.nanoseconds(), unit.nanoseconds());
        if from >= to { self } else { Self { count: self.count.div_euclid(to / from), unit } }
    }

    fn nanoseconds(self) -> i128 {
        i128::from(self.count) * i128::from(self.unit.nanoseconds())
    }
}

impl Default for Timestamp {
    fn default() -> Self {
        Self::from_micros(0)
    }
}

impl Ord for Timestamp {
    fn cmp(&self, other: &Self) -> Ordering {
        if self.unit == other.unit {
            self.count.cmp(&other.count)
        } else {
            self.nanoseconds().cmp(&other.nanoseconds())
        }
    }
}

impl PartialOrd for Timestamp {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Timestamp {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Timestamp {}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.count, self.unit.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_is_the_same_in_every_unit() {
        let moment = Timestamp::new(-1_500, Unit::Millisecond);
        assert_eq!(moment, Timestamp::from_micros(-1_500_000));
        assert_eq!(moment.micros(), -1_500_000);
        assert_eq!(moment.in_unit(Unit::Nanosecond).unwrap().count(), -1_500_000_000);
        assert!(moment < Timestamp::new(-1, Unit::Second) && moment > Timestamp::new(-2, Unit::Second));
        assert_eq!(Timestamp::new(-1, Unit::Nanosecond).micros(), -1);
    }

    #[test]
    fn a_coarser_unit_is_exact_or_asked_for() {
        let moment = Timestamp::new(-1_500, Unit::Millisecond);
        assert_eq!(moment.in_unit(Unit::Second), None);
        assert_eq!(moment.floor(Unit::Second).count(), -2);
        assert_eq!(Timestamp::new(i64::MAX, Unit::Second).in_unit(Unit::Millisecond), None);
    }

    #[test]
    fn a_date_is_the_day_in_utc() {
        assert_eq!(Timestamp::new(86_400 * 3 - 1, Unit::Second).date(), Date(2));
        assert_eq!(Timestamp::new(-1, Unit::Nanosecond).date(), Date(-1));
        assert_eq!(Timestamp::new(i64::MAX, Unit::Second).date(), Date(i32::MAX));
    }
}
