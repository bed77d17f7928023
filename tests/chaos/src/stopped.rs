//! An instance that is stopped (SIGSTOP) for longer than every time-out, beside another one on the same state, on a copy of
//! it, and on the same sink; then it wakes.
//!
//! The other one must have taken over: what wakes finds its sink fenced, ends with an error that says so, and has written
//! nothing. Then the sink holds what the raw input asks for, no row less and none twice.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use weir_services::Run;

use crate::engine::load::Writer;
use crate::engine::{oracle, verdict};
use crate::room::{Room, Scene};
use crate::services::Services;
use crate::{found, kills, topic};

const MANIFEST: &str = include_str!("stopped.yaml");

/// Longer than a Kafka transaction may be open (10 s) and the watchdog's grace behind it (5 s), than PostgreSQL waits for
/// a lock (10 s) and SQLite for another writer (5 s).
const STOPPED: Duration = Duration::from_secs(17);

/// What has to happen within it takes a second or two on an idle machine.
const BOUND: Duration = Duration::from_secs(60);

const PER_SECOND: u64 = 200;

/// The state folder of the second instance.
const COPY: &str = "copy";

/// A kind of sink: how it is bound, and how it is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Target {
    Postgres,
    Sqlite,
    Parquet,
    Kafka,
}

impl Target {
    pub const ALL: [Self; 4] = [Self::Postgres, Self::Sqlite, Self::Parquet, Self::Kafka];

    fn binding(self) -> &'static str {
        match self {
            Self::Postgres => "{ postgres: { url: { secret: TEST_POSTGRES }, table: once_NAME } }",
            Self::Sqlite => "{ sqlite: { path: out/once.db, table: once } }",
            Self::Parquet => "{ parquet: { path: out/once, roll: { every: 200ms } } }",
            Self::Kafka => r#"{ kafka: { brokers: "${TEST_KAFKA}", topic: NAME.once }, format: json }"#,
        }
    }

    fn rows(self, room: &Room) -> Result<found::Rows> {
        match self {
            Self::Postgres => found::postgres_rows(room, &format!("once_{}", room.name)),
            Self::Sqlite => found::sqlite_rows(&room.path("out/once.db"), "once"),
            Self::Parquet => found::parquet_rows(&room.path("out/once")),
            Self::Kafka => found::topic_rows(room, &room.topic("once")),
        }
    }
}

/// What the instance that was stopped said at its end.
#[derive(Debug)]
pub struct Fenced {
    pub code: Option<i32>,
    pub error: String,
}

fn exposed(status: &Value) -> u64 {
    status["sinks"]["once_kept"]["exposed_epoch"].as_u64().unwrap_or(0)
}

/// Stops an instance, starts others beside it, wakes it, and checks what is in the sink.
///
/// # Errors
/// Where something does not go as this module says.
pub fn beside_another(services: &Services, target: Target, seed: u64) -> Result<Fenced> {
    let manifest = MANIFEST.replace("SINK", target.binding());
    let scene = Scene { manifest: &manifest, plugins: &[], topics: &["readings", "visits", "once"] };
    let room = Room::of(services, &scene)?;
    let writer = Writer::start_clean(&room, seed, PER_SECOND);
    let mut first = room.start("first", &[])?;
    first.wait_for("epochs in the sink", BOUND, |status| exposed(status) > 3)?;
    let stopped_at = Instant::now();
    stop(&first)?;

    let same = room.spawn("same-state", &[])?.end(BOUND)?;
    let said = same.report["error"].as_str().unwrap_or_default().to_owned();
    ensure!(same.status.code() == Some(1) && said.contains("in use"), "on the same state: {} {said}", same.status);

    copy(&room.path("state"), &room.path(COPY))?;
    let mut second = room.start_on(COPY, "second", &[])?;
    // One that was stopped within a transaction of a file keeps its lock: then the other waits until it wakes.
    while stopped_at.elapsed() < STOPPED {
        ensure!(!second.process.has_ended(), "the second instance ended\n{}", second.process.log());
        std::thread::sleep(Duration::from_millis(50));
    }
    first.process.signal(libc::SIGCONT);
    let ended = first.end(BOUND)?;
    let before = exposed(&second.status()?);
    second.wait_for("epochs of its own", BOUND, |status| exposed(status) > before + 3)?;
    writer.stop()?;
    second.process.signal(libc::SIGTERM);
    let stopped = second.end(BOUND)?;
    ensure!(stopped.status.success(), "the second instance ended with {}\n{}", stopped.status, stopped.stderr);
    finish(&room, target)?;
    Ok(Fenced { code: ended.status.code(), error: ended.report["error"].as_str().unwrap_or_default().to_owned() })
}

fn finish(room: &Room, target: Target) -> Result<()> {
    let ended = room.spawn_on(COPY, "finish", &["--until-end"])?.end(kills::FINISH_BOUND)?;
    ensure!(ended.status.success(), "the last run ended with {}\n{}", ended.status, ended.stderr);
    let readings = topic::read(&room.brokers, &room.topic("readings"))?;
    verdict::once(&oracle::expect(&readings, &[])?, &target.rows(room)?)
}

/// Returns once the kernel has stopped the process.
fn stop(run: &Run) -> Result<()> {
    run.process.signal(libc::SIGSTOP);
    let stat = format!("/proc/{}/stat", run.process.id());
    let until = Instant::now() + BOUND;
    loop {
        let text = std::fs::read_to_string(&stat)?;
        let state = text.rsplit(')').next().and_then(|rest| rest.trim_start().chars().next());
        if state == Some('T') {
            return Ok(());
        }
        ensure!(Instant::now() < until, "{stat}: {state:?}");
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// A copy of a folder of files, as a backup of a stopped machine would make it.
fn copy(from: &Path, to: &Path) -> Result<()> {
    std::fs::create_dir(to).with_context(|| to.display().to_string())?;
    for entry in std::fs::read_dir(from)? {
        let entry = entry?;
        let to = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy(&entry.path(), &to)?;
        } else {
            std::fs::copy(entry.path(), to)?;
        }
    }
    Ok(())
}
