//! The engine's stateful steps under `kill -9`: a dedup, a window with corrections, an interval join and a keyed plugin in
//! one pipeline, into PostgreSQL, SQLite, Parquet and Kafka, held against a naive recomputation from the raw input.
//!
//! | module | what |
//! | --- | --- |
//! | [`load`] | readings and visits, written until the last kill |
//! | [`oracle`] | what must come out, from the raw records alone |
//! | [`verdict`] | that, and what was found, held against each other |

pub mod load;
pub mod oracle;
pub mod verdict;

use anyhow::{Context, Result, ensure};

use crate::kills;
use crate::room::{Room, Scene};
use crate::seed::Draws;
use load::Writer;
use verdict::Figures;

/// The pipeline of these tests.
pub const SCENE: Scene = Scene {
    manifest: include_str!("engine/pipeline.yaml"),
    plugins: &["spike-filter"],
    topics: &["readings", "visits", "once", "visited", "silent", "letters"],
};

/// Readings a second, by the clock; a hundred of them are a second of event time.
const PER_SECOND: u64 = 1_000;

/// What a round of kills did; all of them came under load.
#[derive(Debug, Clone, Copy)]
pub struct Killed {
    pub kills: u32,
    pub figures: Figures,
}

/// Kills the room's pipeline `kills` times while a writer writes, then lets it come to its end and checks what it left.
///
/// # Errors
/// When a run fails by itself, or the verdict is against it.
pub fn round(room: &Room, seed: u64, kills: u32) -> Result<Killed> {
    let mut draws = Draws::new(seed);
    let writer = Writer::start(room, seed, PER_SECOND);
    for kill in 0..kills {
        kills::one(room, kill, &mut draws)?;
        ensure!(writer.is_writing(), "the writer ended before kill {kill}: {:?}", writer.stop().err());
    }
    let written = writer.stop()?;
    let ended = room.spawn("finish", &["--until-end"])?.end(kills::FINISH_BOUND)?;
    ensure!(ended.status.success(), "the last run ended with {}\n{}", ended.status, ended.stderr);
    let steps = ended.report.pointer("/status/steps").context("the last run left no report")?;
    let figures = verdict::check(room, steps)?;
    ensure!(figures.records == written, "{written} records were written, {} are there", figures.records);
    Ok(Killed { kills, figures })
}
