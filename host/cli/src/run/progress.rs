//! What a running pipeline shows: on a terminal a block that is redrawn, elsewhere one plain line every few seconds.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::{IsTerminal, Write as _};
use std::sync::Arc;
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use weir_runtime::{Control, PipelineState, Status};

const REDRAW: Duration = Duration::from_millis(500);
const PLAIN: Duration = Duration::from_secs(5);

/// The running display.
pub struct Progress {
    stop: Sender<()>,
    thread: JoinHandle<()>,
}

pub fn start(control: Arc<Control>) -> Progress {
    let (stop, stopped) = channel();
    let thread = std::thread::spawn(move || {
        let terminal = std::io::stderr().is_terminal();
        let every = if terminal { REDRAW } else { PLAIN };
        let show = |before: Option<&Before>, drawn: &mut usize| {
            let (status, now) = (control.status().status(), Instant::now());
            let text = if terminal { block(&status, before, now) } else { line(&status, before, now) };
            draw(&text, terminal, drawn);
            (status, now)
        };
        let first = (control.status().status(), Instant::now());
        let (mut before, mut drawn) = (None, 0);
        while let Err(RecvTimeoutError::Timeout) = stopped.recv_timeout(every) {
            before = Some(show(before.as_ref().or(Some(&first)), &mut drawn));
        }
        // What stays on the screen is the mean of the whole time.
        show(Some(&first), &mut drawn);
    });
    Progress { stop, thread }
}

impl Progress {
    /// Shows the end and clears up.
    pub fn finish(self) {
        drop(self.stop);
        // A display that panicked must not hide how the pipeline ended.
        let _ = self.thread.join();
    }
}

/// A line that is longer than the terminal is cut there (`7l`): wrapped, it would take two lines and spoil the redraw.
fn draw(text: &str, terminal: bool, drawn: &mut usize) {
    let mut out = std::io::stderr().lock();
    // A closed stderr is no reason to stop.
    let _ = match (terminal, *drawn) {
        (false, _) => write!(out, "{text}"),
        (true, 0) => write!(out, "\x1b[?7l{text}\x1b[?7h"),
        (true, up) => write!(out, "\x1b[{up}A\x1b[J\x1b[?7l{text}\x1b[?7h"),
    };
    *drawn = text.lines().count();
    let _ = out.flush();
}

type Before = (Status, Instant);

fn rate(now: u64, before: Option<u64>, seconds: f64) -> u64 {
    before.map_or(0, |before| (now.saturating_sub(before) as f64 / seconds.max(0.001)) as u64)
}

/// A line for each source and step, then what holds for all of them; made for 80 columns.
fn block(status: &Status, before: Option<&Before>, now: Instant) -> String {
    let seconds = before.map_or(1.0, |(_, at)| (now - *at).as_secs_f64());
    let mut text = String::new();
    for (step, counts) in ordered(status) {
        let counts_before = before.and_then(|(status, _)| status.steps.get(step));
        let per_second = rate(counts.rows_in, counts_before.map(|counts| counts.rows_in), seconds);
        let [per_second, rows_in, rows_out] = [per_second, counts.rows_in, counts.rows_out].map(grouped);
        let _ = write!(text, "  {step:<17}{per_second:>9}/s{rows_in:>13} in{rows_out:>13} out");
        for (rows, what) in [(counts.rejected, "rejected"), (counts.late, "late")] {
            let _ = if rows > 0 { write!(text, "  {} {what}", grouped(rows)) } else { Ok(()) };
        }
        text.push('\n');
    }
    for (step, plugin) in &status.plugins {
        let watched = if plugin.watched { ", watched" } else { "" };
        let _ = writeln!(text, "  {step} runs {} {}{watched}", plugin.name, plugin.version);
    }
    let ago = status.durable_ago_ms.map_or(String::new(), |ago| format!(" {:.1} s ago", ago as f64 / 1000.0));
    let (epoch, watermark) = (grouped(status.durable_epoch), watermark(status));
    let _ = writeln!(text, "  watermark {watermark} · epoch {epoch} durable{ago}{}", exposed(status));
    for (sink, one) in &status.sinks {
        if let Some(trouble) = &one.trouble {
            let _ = writeln!(text, "  {sink} waits: {trouble}");
        }
    }
    for (step, table) in &status.lookups {
        if let Some(trouble) = &table.trouble {
            let _ = writeln!(text, "  {step}: {trouble}");
        }
    }
    if let Some(reason) = status.reason.as_ref().filter(|_| status.state != PipelineState::Running) {
        let _ = writeln!(text, "  {reason}");
    }
    text
}

/// What sinks show that have not the newest epoch; those that gather, such as Parquet, are usually behind.
fn exposed(status: &Status) -> String {
    let behind = status.sinks.iter().filter(|(_, sink)| sink.exposed_epoch < status.durable_epoch);
    let behind: Vec<_> = behind.map(|(name, sink)| format!("{name} {}", grouped(sink.exposed_epoch))).collect();
    if behind.is_empty() { " and exposed".to_owned() } else { format!(" · exposed: {}", behind.join(", ")) }
}

/// The slowest partition's time of day that holds time back.
fn watermark(status: &Status) -> String {
    let partitions = status.sources.values().flatten().filter(|one| !one.idle);
    partitions.filter_map(|one| one.watermark_us).min().map_or("-".into(), time_of_day)
}

fn line(status: &Status, before: Option<&Before>, now: Instant) -> String {
    let seconds = before.map_or(1.0, |(_, at)| (now - *at).as_secs_f64());
    let read = |status: &Status| -> u64 {
        status.sources.keys().filter_map(|source| status.steps.get(source)).map(|counts| counts.rows_in).sum()
    };
    let rejected: u64 = status.steps.values().map(|counts| counts.rejected).sum();
    format!(
        "{} events/s · {} read · {} rejected · watermark {} · epoch {}\n",
        grouped(rate(read(status), before.map(|(status, _)| read(status)), seconds)),
        grouped(read(status)),
        grouped(rejected),
        watermark(status),
        grouped(status.durable_epoch)
    )
}

/// Sources first, then steps by name.
fn ordered(status: &Status) -> Vec<(&String, &weir_runtime::StepCounts)> {
    let (sources, steps): (BTreeMap<_, _>, BTreeMap<_, _>) =
        status.steps.iter().partition(|(step, _)| status.sources.contains_key(*step));
    sources.into_iter().chain(steps).collect()
}

fn time_of_day(us: i64) -> String {
    if us == i64::MAX {
        return "end".into();
    }
    let seconds = us.div_euclid(1_000_000).rem_euclid(86_400);
    format!("{:02}:{:02}:{:02}", seconds / 3600, seconds / 60 % 60, seconds % 60)
}

/// `1234567` as `1,234,567`.
pub fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut grouped = String::with_capacity(digits.len() + digits.len() / 3);
    for (position, digit) in digits.chars().enumerate() {
        if position > 0 && (digits.len() - position).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped
}
