//! `kill -9` at random moments under load, then to the end, then the verdict.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use weir_connectors::generate::ecommerce::DEFAULT_START_US;

use crate::room::{Load, Room};
use crate::seed::Draws;
use crate::topic;
use crate::verdict::{self, Figures};

/// From a run's start to its kill, milliseconds: in the start itself as well as far into the run.
const ALIVE_MS: std::ops::Range<u64> = 150..2500;

pub(crate) const FINISH_BOUND: Duration = Duration::from_secs(180);
pub(crate) const PRODUCE_BOUND: Duration = Duration::from_secs(300);

/// What a round of kills did.
#[derive(Debug, Clone, Copy)]
pub struct Killed {
    pub kills: u32,
    /// Kills that came before the producer had ended.
    pub under_load: u32,
    pub figures: Figures,
}

/// Lets the room's pipeline be killed `kills` times while a producer writes, finishes it and checks what it left.
///
/// # Errors
/// When a run fails by itself, or the verdict is against it.
pub fn round(room: &Room, load: Load, kills: u32) -> Result<Killed> {
    let mut draws = Draws::new(load.seed);
    let mut producer = room.produce(load)?;
    let mut under_load = 0;
    for kill in 0..kills {
        one(room, kill, &mut draws)?;
        write_early(room, kill)?;
        under_load += u32::from(!producer.has_ended());
    }
    let produced = producer.wait_end(PRODUCE_BOUND)?;
    ensure!(produced.success(), "the producer failed\n{}", producer.log());
    let figures = finish(room)?;
    Ok(Killed { kills, under_load, figures })
}

/// Lets a run live for a while and kills it.
///
/// # Errors
/// When it ends before.
pub fn one(room: &Room, kill: u32, draws: &mut Draws) -> Result<()> {
    let mut run = room.spawn(&format!("kill-{kill:03}"), &[])?;
    let until = Instant::now() + Duration::from_millis(draws.within(ALIVE_MS));
    while let Some(left) = until.checked_duration_since(Instant::now()) {
        ensure!(!run.process.has_ended(), "the run before kill {kill} ended by itself\n{}", run.process.log());
        std::thread::sleep(left.min(Duration::from_millis(20)));
    }
    run.process.kill();
    Ok(())
}

/// A payment of the first minute of event time: soon it is late, which the generator's own events never are.
fn write_early(room: &Room, number: u32) -> Result<()> {
    let time = "2026-03-01T00:00:01Z";
    let value = format!(
        r#"{{"event_id":"early-{number}","kind":"payment","occurred_at":"{time}","category":"books","quantity":1,"amount":"1.00","currency":"EUR"}}"#
    );
    topic::write(&room.brokers, &room.events(), &[(value, DEFAULT_START_US)])
}

/// Runs the pipeline to the end of its input and checks what all its runs left together.
///
/// # Errors
/// When the run fails, or the verdict is against it.
pub fn finish(room: &Room) -> Result<Figures> {
    let ended = room.spawn("finish", &["--until-end"])?.end(FINISH_BOUND)?;
    ensure!(ended.status.success(), "the last run ended with {}\n{}", ended.status, ended.stderr);
    let steps = ended.report.pointer("/status/steps").context("the last run left no report")?;
    verdict::check(room, steps)
}
