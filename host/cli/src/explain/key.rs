//! What a step holds for one key, and what the first of it that time will do something to waits for.

use serde_json::json;
use weir_runtime::{KeyEntry, KeyReport, StageStatus, Status};

use super::{Explanation, Held, time};
use crate::output::{self, Failure, Format};
use crate::run::grouped;

pub struct KeyExplanation<'a> {
    report: KeyReport,
    stage: &'a StageStatus,
    explanation: Explanation<'a>,
}

impl<'a> KeyExplanation<'a> {
    /// `window_us`: the end of the window that somebody asks about; otherwise it is the next entry that is due.
    pub fn of(status: &'a Status, stage: &'a StageStatus, mut report: KeyReport, window_us: Option<i64>) -> Self {
        if let Some(window_us) = window_us {
            report.entries.retain(|entry| entry.end_us == Some(window_us));
        }
        let by_watermark = report.entries.iter().filter(|entry| !entry.by_clock);
        let needs_us = by_watermark.filter_map(|entry| entry.due_us).min();
        let mut explanation = Explanation::of(status, stage, needs_us.or(window_us));
        // The key's own task may be ahead of the others.
        (explanation.needs_us, explanation.has_us) = (needs_us.or(window_us), report.watermark_us);
        Self { report, stage, explanation }
    }

    fn lines(&self) -> Vec<String> {
        let KeyReport { step, key, entries, .. } = &self.report;
        let has = self.explanation.has_us.map_or("none yet".to_owned(), time);
        let holds = if entries.is_empty() { "nothing is held".to_owned() } else { format!("{} held", entries.len()) };
        let mut lines = vec![format!("{step}, key {}: {holds}, watermark {has}", key.join(", "))];
        lines.extend(entries.iter().map(line));
        match self.explanation.needs_us {
            Some(needs) if entries.is_empty() && self.explanation.fired() => {
                lines.push(format!("  passed  the watermark is past {}", time(needs)));
            }
            Some(needs) => {
                lines.push(format!("  needs   watermark {}", time(needs)));
                lines.extend(self.explanation.holders(self.stage));
            }
            None => {}
        }
        lines
    }

    fn json(&self) -> serde_json::Value {
        let Explanation { needs_us, has_us, partitions, .. } = &self.explanation;
        let partitions: Vec<_> = partitions.iter().map(Held::json).collect();
        json!({
            "key": self.report, "stage": self.stage, "needs_us": needs_us, "has_us": has_us,
            "then_us": self.explanation.then_us(), "partitions": partitions,
        })
    }
}

pub fn show(explanation: &KeyExplanation<'_>, format: Format) -> Result<(), Failure> {
    match format {
        Format::Json => output::print_json(&explanation.json()),
        Format::Text => {
            explanation.lines().iter().for_each(|line| println!("{line}"));
            Ok(())
        }
    }
}

fn line(entry: &KeyEntry) -> String {
    let KeyEntry { what, start_us, end_us, rows, due_us, by_clock, then } = entry;
    let mut line = format!("  {what}");
    match (start_us, end_us) {
        (Some(start), Some(end)) if start == end => line += &format!(" at {}", time(*start)),
        (Some(start), Some(end)) => line += &format!(" {} to {}", time(*start), time(*end)),
        _ => {}
    }
    if let Some(rows) = rows {
        line += &format!(", {} rows", grouped(*rows));
    }
    if let (Some(due), Some(then)) = (due_us, then) {
        let by = if *by_clock { "at" } else { "at watermark" };
        line += &format!(": {then} {by} {}", time(*due));
    }
    line
}

#[cfg(test)]
mod tests {
    use weir_runtime::KeyEntry;

    use super::*;

    #[test]
    fn an_entry_says_what_it_is_and_what_becomes_of_it_when() {
        let second = 1_772_359_500_000_000;
        let entry = KeyEntry {
            what: "window".into(),
            start_us: Some(second - 60_000_000),
            end_us: Some(second),
            rows: Some(1_042),
            due_us: Some(second),
            by_clock: false,
            then: Some("fires".into()),
        };
        let wanted = "  window 2026-03-01T10:04:00Z to 2026-03-01T10:05:00Z, 1,042 rows: fires at watermark \
                      2026-03-01T10:05:00Z";
        assert_eq!(line(&entry), wanted);
        let timer =
            KeyEntry { what: "timer quiet".into(), start_us: None, end_us: None, rows: None, by_clock: true, ..entry };
        assert_eq!(line(&timer), "  timer quiet: fires at 2026-03-01T10:05:00Z");
    }
}
