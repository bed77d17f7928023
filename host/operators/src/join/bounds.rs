//! Which rows of two sides may meet in time, and how long each must be kept for that.

use std::ops::RangeInclusive;

use super::LEFT;
use crate::window::WindowGrid;

/// State of an interval join leaves in about this many pieces: fewer look-ups against less memory.
const BUCKETS_OF_AN_INTERVAL: i64 = 4;

/// Buckets are no shorter than this, so that a narrow interval does not make a table for every few rows.
const MIN_BUCKET_US: i64 = 100_000;

/// When two rows may be a pair.
#[derive(Debug, Clone, PartialEq)]
pub enum Bounds {
    /// The right row's time is within `before_us` before and `after_us` after the left one's, both included.
    Interval { before_us: i64, after_us: i64, lateness_us: i64 },
    /// Both rows are of the same window.
    Window { window: WindowGrid, lateness_us: i64 },
}

impl Bounds {
    /// The windows or pieces of time by which rows are kept and dropped.
    pub(super) fn buckets(&self) -> WindowGrid {
        match self {
            Self::Window { window, .. } => window.clone(),
            Self::Interval { before_us, after_us, lateness_us } => {
                let kept = before_us.saturating_add(*after_us).saturating_add(*lateness_us);
                let size = (kept / BUCKETS_OF_AN_INTERVAL).max(MIN_BUCKET_US);
                WindowGrid::tumbling(size, 0).expect("its size is above zero")
            }
        }
    }

    /// How much longer than it must the step waits for rows.
    fn lateness_us(&self) -> i64 {
        match self {
            Self::Interval { lateness_us, .. } | Self::Window { lateness_us, .. } => *lateness_us,
        }
    }

    /// The times of the other side's rows that a row of `side` may meet.
    pub(super) fn meets(&self, side: usize, time_us: i64) -> RangeInclusive<i64> {
        match self {
            Self::Interval { before_us, after_us, .. } => {
                let (before, after) = if side == LEFT { (before_us, after_us) } else { (after_us, before_us) };
                time_us.saturating_sub(*before)..=time_us.saturating_add(*after)
            }
            Self::Window { window, .. } => match window.pane_of(time_us) {
                Some((start, end)) => start..=end - 1,
                None => time_us..=time_us,
            },
        }
    }

    /// The last watermark at which a row of this time is on time.
    pub fn on_time_until(&self, time_us: i64) -> i64 {
        match self {
            Self::Interval { lateness_us, .. } => time_us.saturating_add(*lateness_us),
            Self::Window { lateness_us, .. } => self.meets(LEFT, time_us).end().saturating_add(*lateness_us),
        }
    }

    /// The last watermark at which a row of `side` may still find a match.
    pub(super) fn kept_until(&self, side: usize, time_us: i64) -> i64 {
        self.on_time_until(*self.meets(side, time_us).end())
    }

    /// How far behind the watermark the rows given out may be, when rows of the sides named wait to be given out.
    pub(super) fn held_back_us(&self, waiting: [bool; 2]) -> i64 {
        let wait = |side: usize| match self {
            Self::Interval { .. } => self.kept_until(side, 0),
            Self::Window { window, lateness_us } => window.end_of(0).saturating_add(*lateness_us),
        };
        let waits = (0..2).filter(|side| waiting[*side]).map(wait);
        let least = match self {
            Self::Interval { .. } => self.lateness_us(),
            Self::Window { .. } => wait(LEFT),
        };
        waits.fold(least, i64::max)
    }

    /// What stored rows depend on.
    pub(super) fn layout(&self) -> String {
        match self {
            Self::Interval { before_us, after_us, lateness_us } => {
                format!("interval({before_us}, {after_us}, {lateness_us})")
            }
            Self::Window { window, lateness_us } => {
                format!("window({}, {lateness_us})", window.layout())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::join::RIGHT;

    const INTERVAL: Bounds = Bounds::Interval { before_us: 10, after_us: 60, lateness_us: 5 };

    #[test]
    fn the_interval_of_one_side_is_the_others_turned_round() {
        assert_eq!((INTERVAL.meets(LEFT, 100), INTERVAL.meets(RIGHT, 100)), (90..=160, 40..=110));
        for (left, right) in [(100, 90), (100, 160), (100, 89), (100, 161)] {
            assert_eq!(INTERVAL.meets(LEFT, left).contains(&right), INTERVAL.meets(RIGHT, right).contains(&left));
        }
    }

    #[test]
    fn a_row_is_kept_as_long_as_the_last_row_that_it_may_meet_is_on_time() {
        assert_eq!((INTERVAL.kept_until(LEFT, 100), INTERVAL.on_time_until(160)), (165, 165));
        assert_eq!((INTERVAL.kept_until(RIGHT, 100), INTERVAL.on_time_until(110)), (115, 115));
        let window = Bounds::Window { window: WindowGrid::tumbling(60, 0).unwrap(), lateness_us: 7 };
        assert_eq!([LEFT, RIGHT].map(|side| window.kept_until(side, 61)), [126, 126]);
        assert_eq!(window.meets(LEFT, 61), 60..=119);
    }

    #[test]
    fn time_is_held_back_as_far_as_a_waiting_row_may_be_old() {
        assert_eq!(INTERVAL.held_back_us([false, false]), 5);
        assert_eq!(INTERVAL.held_back_us([true, false]), 65);
        assert_eq!(INTERVAL.held_back_us([false, true]), 15);
    }

    #[test]
    fn bounds_at_the_ends_of_time_do_not_overflow() {
        let all = Bounds::Interval { before_us: i64::MAX, after_us: i64::MAX, lateness_us: i64::MAX };
        assert_eq!(all.meets(LEFT, 5), (5 - i64::MAX)..=i64::MAX);
        assert_eq!((all.kept_until(LEFT, 5), all.held_back_us([true, true])), (i64::MAX, i64::MAX));
        assert!(all.buckets().end_of(0) > 0);
    }
}
