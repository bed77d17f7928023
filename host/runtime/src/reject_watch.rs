//! Whether a new version of a plugin rejects more than the one before it. Pure counting: in each task by itself while the
//! version is watched, and over the rows of a self-test.
//!
//! Invariant: a version is never blamed for rejects that the one before it would have made too: what counts is how many
//! more there are than the former share lets expect. The bound is a number of rows, the same for a full window and for the
//! first rows, so a few unlucky rows bring nothing back and a version that rejects everything does not last a window.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};
use weir_manifest::SwapSettings;

/// Rows that a version was given, and how many of them it rejected.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Judged {
    pub rows: u64,
    pub rejected: u64,
}

impl Judged {
    pub fn add(&mut self, other: Self) {
        self.rows += other.rows;
        self.rejected += other.rejected;
    }

    fn take_away(&mut self, other: Self) {
        self.rows -= other.rows;
        self.rejected -= other.rejected;
    }

    fn share(self) -> f64 {
        if self.rows == 0 { 0.0 } else { self.rejected as f64 / self.rows as f64 }
    }
}

/// The newest rows, at least as many as a window has.
#[derive(Debug, Clone, Default)]
pub struct RecentRows {
    parts: VecDeque<Judged>,
    sum: Judged,
}

impl RecentRows {
    pub fn note(&mut self, part: Judged, window: u64) {
        if part == Judged::default() {
            return;
        }
        self.parts.push_back(part);
        self.sum.add(part);
        while let Some(oldest) = self.parts.front().filter(|oldest| self.sum.rows - oldest.rows >= window) {
            self.sum.take_away(*oldest);
            self.parts.pop_front();
        }
    }

    pub fn sum(&self) -> Judged {
        self.sum
    }
}

/// How many more rejects are a burst.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct RejectLimit {
    /// Of the rows of a window, 0 to 1.
    more: f64,
    /// Rows of a window.
    pub window: u64,
}

impl RejectLimit {
    pub fn of(settings: &SwapSettings) -> Self {
        Self { more: settings.more_rejects.fraction(), window: u64::from(settings.rows) }
    }

    /// Percent of a window's rows.
    pub fn percent(self) -> f64 {
        // A share is read as percent: this takes off what the division left.
        (self.more * 1e8).round() / 1e6
    }

    /// What is wrong with a version that made `now` of its rows, where the one before it made `before` of its own.
    pub fn burst(self, before: Judged, now: Judged) -> Option<String> {
        let expected = before.share() * now.rows as f64;
        let most = expected + self.more * now.rows.max(self.window) as f64;
        (now.rejected as f64 > most).then(|| {
            format!(
                "rejected {} of {} rows, the version before {} of {}; `swap.more_rejects` is {} % of {} rows",
                now.rejected,
                now.rows,
                before.rejected,
                before.rows,
                self.percent(),
                self.window
            )
        })
    }
}

/// One watched version in one task.
#[derive(Debug, Clone)]
pub struct RejectWatch {
    limit: RejectLimit,
    before: Judged,
    recent: RecentRows,
}

impl RejectWatch {
    pub fn new(limit: RejectLimit, before: Judged) -> Self {
        Self { limit, before, recent: RecentRows::default() }
    }

    /// Takes the fate of some more rows; answers what is wrong, once there is a burst.
    pub fn note(&mut self, part: Judged) -> Option<String> {
        self.recent.note(part, self.limit.window);
        self.limit.burst(self.before, self.recent.sum())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judged(rows: u64, rejected: u64) -> Judged {
        Judged { rows, rejected }
    }

    /// 50 of 1,000 rows.
    fn limit() -> RejectLimit {
        RejectLimit::of(&SwapSettings::default())
    }

    #[test]
    fn a_version_that_rejects_everything_does_not_last_a_window() {
        let mut watch = RejectWatch::new(limit(), Judged::default());
        let burst = (1..=1000).find(|_| watch.note(judged(1, 1)).is_some());
        assert_eq!(burst, Some(51));
    }

    #[test]
    fn rejects_that_the_version_before_made_too_are_not_its_fault() {
        let mut watch = RejectWatch::new(limit(), judged(1000, 300));
        for row in 0..10_000 {
            assert_eq!(watch.note(judged(1, u64::from(row % 100 < 31))), None, "row {row}");
        }
        let burst = (0..1000).find(|row| watch.note(judged(1, u64::from(row % 100 < 40))).is_some());
        assert!(burst.is_some(), "40 % is more than 5 points above 30 %");
    }

    #[test]
    fn an_old_burst_leaves_the_window() {
        let mut watch = RejectWatch::new(limit(), Judged::default());
        assert_eq!(watch.note(judged(50, 50)), None);
        assert_eq!(watch.note(judged(1000, 0)), None);
        assert_eq!(watch.note(judged(50, 50)), None);
    }

    #[test]
    fn a_batch_larger_than_the_window_is_judged_by_its_own_rows() {
        assert_eq!(limit().burst(Judged::default(), judged(4000, 200)), None);
        assert!(limit().burst(Judged::default(), judged(4000, 201)).is_some());
    }

    #[test]
    fn the_reason_names_both_versions_and_the_setting() {
        assert_eq!(
            limit().burst(judged(2000, 12), judged(800, 80)).unwrap(),
            "rejected 80 of 800 rows, the version before 12 of 2000; `swap.more_rejects` is 5 % of 1000 rows"
        );
    }
}
