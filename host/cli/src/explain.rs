//! `weir explain`: why a step has not given out what somebody waits for: how far event time is, who holds it, and what
//! would release it; of one key also what the step holds for it.

mod key;

use clap::Args;
use serde_json::json;
use weir_manifest::Instant;
use weir_runtime::{PartitionStatus, StageStatus, Status};

use crate::client::Server;
use crate::output::{self, FAILED, Failure, Format};
use crate::run::grouped;

pub const EXAMPLES: &str = "Examples:
  weir explain sales_per_minute
  weir explain sales_per_minute --key books
  weir explain sales_per_minute --window 2026-03-01T10:05:00Z -o json";

#[derive(Args)]
pub struct ExplainArgs {
    /// A step that works in time.
    pub step: String,
    /// The end of the window that somebody waits for [default: the next to fire].
    #[arg(long, value_name = "TIME")]
    pub window: Option<Instant>,
    /// What the step holds for this key; once for each key column, in their order, `null` for none.
    #[arg(long, value_name = "VALUE")]
    pub key: Vec<String>,
    #[command(flatten)]
    pub server: Server,
}

pub fn explain(args: &ExplainArgs, format: Format) -> Result<(), Failure> {
    let status = args.server.status()?;
    let Some(stage) = status.stages.get(&args.step) else {
        let steps: Vec<&str> = status.stages.keys().map(String::as_str).collect();
        let has = if steps.is_empty() { "none".to_owned() } else { steps.join(", ") };
        let message = format!("no step `{}` that works in time; the pipeline has {has}", args.step);
        return Err(Failure::new(FAILED, message).next("name one of them; `weir status` shows all steps"));
    };
    let window_us = args.window.map(|window| window.as_us());
    if !args.key.is_empty() {
        let report = args.server.held_key(&args.step, &args.key)?;
        return key::show(&key::KeyExplanation::of(&status, stage, report, window_us), format);
    }
    let explanation = Explanation::of(&status, stage, window_us);
    match format {
        Format::Json => output::print_json(&explanation.json(&args.step, stage)),
        Format::Text => {
            explanation.lines(&args.step, stage).iter().for_each(|line| println!("{line}"));
            put_in(&status, &args.step, stage).iter().for_each(|line| println!("{line}"));
            Ok(())
        }
    }
}

/// One partition and what it means for the step.
struct Held<'a> {
    source: &'a str,
    partition: &'a PartitionStatus,
    /// It keeps the watermark below what is needed.
    holds: bool,
}

struct Explanation<'a> {
    needs_us: Option<i64>,
    has_us: Option<i64>,
    partitions: Vec<Held<'a>>,
}

impl<'a> Explanation<'a> {
    fn of(status: &'a Status, stage: &StageStatus, window_us: Option<i64>) -> Self {
        let needs_us = window_us.or(stage.next_fire_us);
        let mut partitions = Vec::new();
        let sources = sources_of(status, stage);
        for (source, all) in status.sources.iter().filter(|(source, _)| sources.contains(source)) {
            for partition in all {
                let behind = partition.watermark_us < needs_us || needs_us.is_none();
                let holds = behind && !partition.idle && !partition.ended;
                partitions.push(Held { source, partition, holds });
            }
        }
        Self { needs_us, has_us: stage.watermark_us, partitions }
    }

    fn fired(&self) -> bool {
        self.needs_us.is_some() && self.has_us >= self.needs_us
    }

    fn lines(&self, step: &str, stage: &StageStatus) -> Vec<String> {
        let (keys, panes) = (grouped(stage.keys), grouped(stage.panes));
        let mut lines = vec![format!("{step}: {keys} keys, {} bytes of state, {panes} panes", grouped(stage.bytes))];
        let has = self.has_us.map_or("none yet".to_owned(), time);
        match self.needs_us {
            None => lines.push(format!("  has     watermark {has}; nothing waits for a later one")),
            Some(needs) if self.fired() => {
                lines.push(format!("  passed  watermark {has}: the window that ends {} has fired", time(needs)));
            }
            Some(needs) => {
                lines.push(format!("  needs   watermark {}, has {has}", time(needs)));
                lines.extend(self.holders(stage));
            }
        }
        let others = self.partitions.iter().filter(|one| !one.holds || self.fired());
        lines.extend(others.map(|one| format!("  beside  {}", one.line())));
        lines
    }

    /// Who holds the watermark, and how far it is once they do not.
    fn holders(&self, stage: &StageStatus) -> Vec<String> {
        let held = self.partitions.iter().filter(|one| one.holds);
        let mut lines: Vec<String> = held.map(|one| format!("  held by {}", one.line())).collect();
        lines.extend(self.then_us().map(|then| format!("  then    watermark {}", time(then))));
        lines.extend(stage.stages.iter().map(|stage| format!("  behind  step {stage}: weir explain {stage}")));
        lines
    }

    /// The watermark once those that hold it count as idle.
    fn then_us(&self) -> Option<i64> {
        let others = self.partitions.iter().filter(|one| !one.holds && !one.partition.idle && !one.partition.ended);
        let releasable = self.partitions.iter().filter(|one| one.holds).all(|one| one.idle_in_ms().is_some());
        others.filter_map(|one| one.partition.watermark_us).min().filter(|_| releasable)
    }

    fn json(&self, step: &str, stage: &StageStatus) -> serde_json::Value {
        let partitions: Vec<_> = self.partitions.iter().map(Held::json).collect();
        json!({
            "step": step, "stage": stage, "needs_us": self.needs_us, "has_us": self.has_us, "fired": self.fired(),
            "then_us": self.then_us(), "partitions": partitions,
        })
    }
}

/// What is said of steps that are not in the manifest: this one, and those right before it.
fn put_in(status: &Status, step: &str, stage: &StageStatus) -> Vec<String> {
    let before = stage.stages.iter().filter_map(|name| Some((name.as_str(), status.stages.get(name)?)));
    let why = |(name, stage): (&str, &StageStatus)| Some(format!("  put in  {name}: {}", stage.put_in.as_ref()?));
    std::iter::once((step, stage)).chain(before).filter_map(why).collect()
}

/// Sources before a step, through all steps between.
fn sources_of(status: &Status, stage: &StageStatus) -> Vec<String> {
    let (mut sources, mut waiting, mut seen) = (stage.sources.clone(), stage.stages.clone(), Vec::new());
    while let Some(before) = waiting.pop() {
        if let Some(stage) = status.stages.get(&before).filter(|_| !seen.contains(&before)) {
            sources.extend(stage.sources.clone());
            waiting.extend(stage.stages.clone());
        }
        seen.push(before);
    }
    sources
}

impl Held<'_> {
    /// When it counts as idle, if it is read to its end and silent.
    fn idle_in_ms(&self) -> Option<u64> {
        let PartitionStatus { quiet_ms, idle_after_ms, lag, waits, .. } = self.partition;
        let silent = !*waits && lag.is_none_or(|lag| lag == 0);
        idle_after_ms.filter(|_| silent).map(|after| after.saturating_sub(*quiet_ms))
    }

    fn line(&self) -> String {
        let PartitionStatus { partition, watermark_us, idle, ended, lag, quiet_ms, idle_after_ms, waits, .. } =
            self.partition;
        let at = watermark_us.map_or("no event yet".to_owned(), |us| format!("at {}", time(us)));
        let what = match (ended, idle, waits, lag) {
            (true, ..) => return format!("{}[{partition}], ended", self.source),
            (_, true, ..) => format!("idle since {}", seconds(quiet_ms.saturating_sub(idle_after_ms.unwrap_or(0)))),
            (_, _, true, _) => "waits for slower partitions".to_owned(),
            (.., Some(lag)) if *lag > 0 => format!("{} records still to read", grouped(*lag)),
            _ => match self.idle_in_ms().filter(|_| self.holds) {
                Some(left) => format!("last record {} ago; counts as idle in {}", seconds(*quiet_ms), seconds(left)),
                None => format!("last record {} ago", seconds(*quiet_ms)),
            },
        };
        format!("{}[{partition}], {at}, {what}", self.source)
    }

    fn json(&self) -> serde_json::Value {
        let (source, partition) = (self.source, self.partition);
        json!({ "source": source, "holds": self.holds, "idle_in_ms": self.idle_in_ms(), "status": partition })
    }
}

fn time(us: i64) -> String {
    if us == i64::MAX { "the end of time".to_owned() } else { Instant::from_us(us).to_string() }
}

fn seconds(ms: u64) -> String {
    if ms < 10_000 { format!("{:.1} s", ms as f64 / 1000.0) } else { format!("{} s", grouped(ms / 1000)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn partition(number: u32, watermark_us: Option<i64>, quiet_ms: u64, idle: bool) -> PartitionStatus {
        PartitionStatus {
            partition: number,
            next_offset: Some(1),
            watermark_us,
            idle,
            ended: false,
            lag: Some(0),
            quiet_ms,
            idle_after_ms: Some(30_000),
            waits: false,
        }
    }

    fn stage(watermark_us: i64, next_fire_us: i64) -> StageStatus {
        StageStatus {
            watermark_us: Some(watermark_us),
            sources: vec!["events".into()],
            stages: vec![],
            put_in: None,
            keys: 1_096,
            bytes: 4_000,
            panes: 2,
            next_fire_us: Some(next_fire_us),
        }
    }

    /// 2026-03-01T10:05:00Z.
    const END_US: i64 = 1_772_359_500_000_000;

    fn explained(partitions: Vec<PartitionStatus>, stage: &StageStatus) -> String {
        let partitions = partitions.iter().map(|partition| Held {
            source: "events",
            partition,
            holds: partition.watermark_us < stage.next_fire_us && !partition.idle && !partition.ended,
        });
        let explanation =
            Explanation { needs_us: stage.next_fire_us, has_us: stage.watermark_us, partitions: partitions.collect() };
        explanation.lines("sales", stage).join("\n")
    }

    #[test]
    fn a_silent_partition_is_named_with_the_time_that_releases_it() {
        let partitions = vec![
            partition(0, Some(END_US + 62_000_000), 100, false),
            partition(1, Some(END_US - 29_000_000), 12_000, false),
            partition(2, None, 70_000, true),
        ];
        let wanted = "\
sales: 1,096 keys, 4,000 bytes of state, 2 panes
  needs   watermark 2026-03-01T10:05:00Z, has 2026-03-01T10:04:31Z
  held by events[1], at 2026-03-01T10:04:31Z, last record 12 s ago; counts as idle in 18 s
  then    watermark 2026-03-01T10:06:02Z
  beside  events[0], at 2026-03-01T10:06:02Z, last record 0.1 s ago
  beside  events[2], no event yet, idle since 40 s";
        assert_eq!(explained(partitions, &stage(END_US - 29_000_000, END_US)), wanted);
    }

    #[test]
    fn a_partition_that_is_behind_in_its_records_is_not_promised_to_be_idle() {
        let mut behind = partition(0, Some(END_US - 1_000_000), 0, false);
        behind.lag = Some(12_345);
        let said = explained(vec![behind], &stage(END_US - 1_000_000, END_US));
        assert!(said.contains("held by events[0], at 2026-03-01T10:04:59Z, 12,345 records still to read"), "{said}");
        assert!(!said.contains("then"), "{said}");
    }
}
