//! Swaps under load: good versions, versions that the gate refuses, and versions that fail while they are watched.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use weir_connectors::generate::ecommerce::DEFAULT_START_US;
use weir_services::Run;

use crate::kills;
use crate::room::{Load, Room};
use crate::seed::Draws;
use crate::topic;
use crate::verdict::Figures;

/// Everything that is waited for here comes within a second or two, on a machine under load too.
pub const BOUND: Duration = Duration::from_secs(60);

/// What a round of swaps did.
#[derive(Debug, Clone)]
pub struct Swapped {
    pub kept: u32,
    pub refused: u32,
    pub rolled_back: u32,
    /// From the old version's last row to the new one's first, of every swap under load.
    pub pauses_us: Vec<u64>,
    pub figures: Figures,
}

/// What one swap is to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Act {
    /// The other version of the shop's plugin.
    Version,
    /// A plugin that does not fit.
    Misfit,
    /// A plugin that fits and works.
    Twin,
    /// One that fits and then fails on a row of this kind.
    Fails(&'static str),
}

/// Writes a record of a kind that the plugin of step `check` fails on.
///
/// # Errors
/// When it cannot be delivered.
pub fn write_bad(room: &Room, kind: &str, times: usize) -> Result<()> {
    let value = format!(r#"{{"event_id":"bad","kind":"{kind}","occurred_at":"2026-03-01T00:00:00Z"}}"#);
    topic::write(&room.brokers, &room.events(), &vec![(value, DEFAULT_START_US); times])
}

pub fn running<'a>(status: &'a Value, step: &str) -> &'a str {
    status["plugins"][step]["running"].as_str().unwrap_or_default()
}

fn rollbacks(status: &Value) -> u64 {
    status["rollbacks"].as_u64().unwrap_or(0)
}

/// Waits until rows can flow.
///
/// # Errors
/// When the run ends, or does not become ready in time.
pub fn wait_ready(run: &mut Run) -> Result<Value> {
    run.wait_for("a running pipeline", BOUND, |status| status["state"] == "running" && status["sinks"].is_object())
}

/// `swaps` swaps while a producer writes, then to the end, and the verdict.
///
/// # Errors
/// When a swap does not do what it must, or the verdict is against the runs.
pub fn round(room: &Room, load: Load, swaps: u32) -> Result<Swapped> {
    let mut draws = Draws::new(load.seed);
    let mut producer = room.produce(load)?;
    let mut run = room.start("swaps", &[])?;
    run.wait_for("rows", BOUND, |status| status["steps"]["clean"]["rows_out"].as_u64() > Some(1000))?;
    let mut swapped =
        Swapped { kept: 0, refused: 0, rolled_back: 0, pauses_us: Vec::new(), figures: Figures::default() };
    let mut is_next = false;
    for swap in 0..swaps {
        let act = match draws.within(0..10) {
            0..5 => Act::Version,
            5..7 => Act::Misfit,
            7 => Act::Twin,
            8 => Act::Fails("boom"),
            _ => Act::Fails("spin"),
        };
        wait_ready(&mut run)?;
        one(room, &mut run, act, swap, &mut is_next, &mut swapped).with_context(|| format!("swap {swap}, {act:?}"))?;
    }
    ensure!(producer.wait_end(kills::PRODUCE_BOUND)?.success(), "the producer failed\n{}", producer.log());
    run.process.signal(libc::SIGTERM);
    let ended = run.end(BOUND)?;
    ensure!(ended.status.success(), "the run ended with {}\n{}", ended.status, ended.stderr);
    swapped.figures = kills::finish(room)?;
    Ok(swapped)
}

fn one(room: &Room, run: &mut Run, act: Act, swap: u32, is_next: &mut bool, swapped: &mut Swapped) -> Result<()> {
    let before = run.status()?;
    match act {
        Act::Version => {
            *is_next = !*is_next;
            let plugin = if *is_next { "clean-events-next" } else { "clean-events" };
            keep(&room.swap(run, "clean", &room.component(plugin))?, swapped);
        }
        Act::Misfit => {
            let refusal = room.swap(run, "clean", &room.component("adversary"));
            ensure!(refusal.is_err(), "a plugin without amount_eur was let through");
            let after = run.status()?;
            ensure!(running(&before, "clean") == running(&after, "clean"), "a refused plugin runs");
            swapped.refused += 1;
        }
        Act::Twin => {
            twin(room, run, swap, swapped)?;
        }
        Act::Fails(kind) => {
            if !twin(room, run, swap, swapped)? {
                return Ok(());
            }
            swapped.kept -= 1;
            write_bad(room, kind, 1)?;
            // Only once the old version has quarantined the row may the next swap come: it would meet the row again.
            let rejected = |status: &Value| status["steps"]["check"]["rejected"].as_u64();
            let back = run.wait_for("the version before", BOUND, |status| {
                let rolled_back = rollbacks(status) > rollbacks(&before) && status["state"] == "running";
                rolled_back && rejected(status) > rejected(&before)
            })?;
            ensure!(running(&back, "check") == running(&before, "check"), "another version came back: {back:#}");
            swapped.rolled_back += 1;
        }
    }
    Ok(())
}

/// The running plugin of step `check` with another digest. As long as a row that it fails on is among the rows kept for
/// self-tests, the gate refuses it, and that is right.
fn twin(room: &Room, run: &Run, swap: u32, swapped: &mut Swapped) -> Result<bool> {
    match room.swap(run, "check", &room.salted("adversary", swap as u8)?) {
        Ok(report) => {
            keep(&report, swapped);
            Ok(true)
        }
        Err(refusal) if refusal.to_string().contains("self-test failed") => {
            swapped.refused += 1;
            Ok(false)
        }
        Err(refusal) => Err(refusal),
    }
}

fn keep(report: &Value, swapped: &mut Swapped) {
    swapped.kept += 1;
    swapped.pauses_us.extend(report["pause_us"].as_u64());
}
