//! A pipeline's own tests, on the real engine: planner, tasks, coordinator and store are those of every run. Only what
//! lies outside is another: sources are fed line by line, sinks collect, the disk is in memory, the clock stands still
//! until the test moves it.
//!
//! A test that is to be killed runs once plain, then once for each crash point, and is killed there at every epoch in
//! turn and resumed: each time the rows must be the same.

mod compare;
mod script;
mod target;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crossbeam_channel::unbounded;
use serde::Serialize;
use weir_manifest::{DEAD_LETTERS, LATE_ROWS, Late};
use weir_sandbox::SandboxEngine;
use weir_state::sim::{SimDisk, SimRng};
use weir_stream::{Sink, SinkError, Source, SourceError};

pub use crate::clock::{Clock, SimulatedClock};
use crate::control::Control;
use crate::coordinator::{CrashPoint, Outcome};
use crate::incarnation::{self, Overrides, Setup};
use crate::outside::{Bindings, Outside};
use crate::plan::{Plan, PlannedSink, PlannedSource, PlannedTest};
use crate::status::StatusBoard;
pub use compare::{ColumnDifference, Difference, Row};
pub use script::LONGEST_TRIAL;
use script::Script;
pub use target::Target;

/// Tasks of a keyed step, unless the manifest says: enough that rows cross between tasks.
const TASKS: u16 = 2;

/// A test with more epochs is not killed at those behind.
const MOST_KILLS: u64 = 1_000;

/// The code of dead letters that are late rows.
const LATE_CODE: &str = "late";

/// How one test went.
#[derive(Debug, Serialize)]
pub struct Verdict {
    pub name: String,
    /// Line of the manifest.
    pub line: usize,
    /// Epochs of the plain run.
    pub epochs: u64,
    pub kills: u64,
    pub elapsed_ms: u64,
    /// What was not as expected.
    pub faults: Vec<Fault>,
}

/// What went wrong in one of a test's runs.
#[derive(Debug, Serialize)]
pub struct Fault {
    /// Where the run was killed: `sealed`, `durable`, `exposed`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub killed: Option<&'static str>,
    /// A sink, `dead_letters` or `late`; empty when the run itself failed.
    pub of: String,
    #[serde(flatten)]
    pub what: What,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum What {
    /// The pipeline did not come to its end.
    Failed(String),
    Row(Difference),
}

impl Verdict {
    pub fn passed(&self) -> bool {
        self.faults.is_empty()
    }
}

/// Makes a plan fit for its tests: every record is an epoch, late rows are seen, and keyed steps have several tasks.
pub fn prepare(plan: &mut Plan) {
    plan.late = Late::DeadLetters;
    plan.manifest.state.epoch.max_rows = 1;
    plan.manifest.state.tasks.get_or_insert(TASKS);
}

/// Where a run is killed, at one epoch after the other.
#[derive(Debug, Clone, Copy)]
enum Killed {
    Sealed,
    Durable,
    Exposed,
}

impl Killed {
    const ALL: [Self; 3] = [Self::Sealed, Self::Durable, Self::Exposed];

    fn name(self) -> &'static str {
        match self {
            Self::Sealed => "sealed",
            Self::Durable => "durable",
            Self::Exposed => "exposed",
        }
    }

    fn point(self, epoch: u64) -> CrashPoint {
        match self {
            Self::Sealed => CrashPoint::Sealed(epoch),
            Self::Durable => CrashPoint::Durable(epoch),
            Self::Exposed => CrashPoint::Exposed(epoch),
        }
    }
}

/// Runs one test of a prepared plan in all its ways.
pub fn run(plan: &Plan, test: &PlannedTest, engine: &SandboxEngine) -> Verdict {
    let began = Instant::now();
    let mut verdict =
        Verdict { name: test.name.clone(), line: test.line, epochs: 0, kills: 0, elapsed_ms: 0, faults: Vec::new() };
    let killed = Killed::ALL.into_iter().filter(|_| test.crash).map(Some);
    for killed in [None].into_iter().chain(killed) {
        let trial = Trial::new(plan, test);
        let ended = trial.run(engine, killed);
        let differences = ended.and_then(|Ended { epochs, kills }| {
            verdict.epochs = verdict.epochs.max(epochs);
            verdict.kills += kills;
            trial.differences()
        });
        let failed = |message| vec![(String::new(), What::Failed(message))];
        let killed = killed.map(Killed::name);
        let differences = differences.unwrap_or_else(failed);
        verdict.faults.extend(differences.into_iter().map(|(of, what)| Fault { killed, of, what }));
        if !verdict.passed() {
            break;
        }
    }
    verdict.elapsed_ms = began.elapsed().as_millis() as u64;
    verdict
}

struct Ended {
    epochs: u64,
    kills: u64,
}

/// One run, over all its lives.
struct Trial<'a> {
    plan: &'a Plan,
    test: &'a PlannedTest,
    script: Script,
    targets: Targets,
    disk: SimDisk,
    clock: SimulatedClock,
}

/// By number of the sink.
type Targets = Vec<Target>;

impl<'a> Trial<'a> {
    fn new(plan: &'a Plan, test: &'a PlannedTest) -> Self {
        let clock = SimulatedClock::at(test.clock_us);
        Self {
            plan,
            test,
            script: Script::new(&test.feed, test.finish, plan.sources.len(), clock.clone()),
            targets: plan.sinks.iter().map(|_| Target::default()).collect(),
            disk: SimDisk::new(),
            clock,
        }
    }

    fn run(&self, engine: &SandboxEngine, killed: Option<Killed>) -> Result<Ended, String> {
        let (mut epoch, mut kills) = (1, 0);
        // A crash leaves of unsynced data what chance decides: always the same here.
        let mut chance = SimRng::new(test_seed(&self.test.name));
        loop {
            let crashed = Arc::new(AtomicBool::new(false));
            let crash_at = killed.filter(|_| kills < MOST_KILLS).map(|killed| killed.point(epoch));
            let (outcome, durable) = self.live(engine, crash_at, &crashed)?;
            match outcome {
                Outcome::Aborted if crashed.load(Ordering::Acquire) => {
                    self.disk.crash(&mut chance);
                    kills += 1;
                }
                Outcome::Finished | Outcome::Stopped { .. } => return Ok(Ended { epochs: durable, kills }),
                other => return Err(self.why(other)),
            }
            epoch += 1;
        }
    }

    /// From a start to a crash or the end; answers the last durable epoch too.
    fn live(
        &self,
        engine: &SandboxEngine,
        crash_at: Option<CrashPoint>,
        crashed: &Arc<AtomicBool>,
    ) -> Result<(Outcome, u64), String> {
        let (sender, commands) = unbounded();
        let status = Arc::new(StatusBoard::new(Arc::clone(&self.plan.pipeline), "test".into()));
        let control = Arc::new(Control::new(Arc::clone(&status), sender));
        self.script.begin_life(Arc::clone(&control));
        let (disk, crashed) = (self.disk.clone(), Arc::clone(crashed));
        let crash = move || {
            crashed.store(true, Ordering::Release);
            disk.stop_after(0);
        };
        let setup = Setup {
            state_dir: PathBuf::from("/state"),
            workers: 1,
            watch: Some(Duration::ZERO),
            crash_at,
            evict_always: false,
            outside: Outside {
                disk: Arc::new(self.disk.clone()),
                clock: Clock::Simulated(self.clock.clone()),
                bindings: Arc::new(Fed { script: self.script.clone(), targets: self.targets.clone() }),
                crash: Arc::new(crash),
            },
        };
        let outcome = incarnation::run(self.plan, &setup, engine, &Overrides::new(), &control, &commands);
        Ok((outcome.map_err(|error| error.to_string())?, status.status().durable_epoch))
    }

    fn why(&self, outcome: Outcome) -> String {
        match outcome {
            Outcome::Failed { message, .. } => message,
            Outcome::Paused { step, reason, .. } => format!("step `{step}` cannot go on: {reason}"),
            Outcome::RollBack { step, reason, .. } => {
                format!("step `{step}` cannot go on: {reason}")
            }
            _ if self.script.is_overdue() => format!("not at its end within {} s", LONGEST_TRIAL.as_secs()),
            other => format!("ended early: {other:?}"),
        }
    }

    fn differences(&self) -> Result<Vec<(String, What)>, String> {
        let mut differences = Vec::new();
        let (late, letters) = self.letters();
        let mut found = BTreeMap::from([(LATE_ROWS, (late, None)), (DEAD_LETTERS, (letters, None))]);
        for (sink, target) in self.plan.sinks.iter().zip(&self.targets).filter(|(sink, _)| sink.from.is_some()) {
            let key = sink.upsert.as_deref();
            found.insert(&*sink.id, (compare::rows(&target.held().rows, key)?, key));
        }
        let named = |of: &str| self.test.expect.iter().find(|expectation| expectation.name == of);
        for (of, (rows, key)) in found {
            let expected = match named(of) {
                Some(expectation) => expectation.rows.as_slice(),
                None if of == LATE_ROWS || of == DEAD_LETTERS => &[],
                None => continue,
            };
            let unlike = compare::compare(expected, &rows, key);
            differences.extend(unlike.into_iter().map(|difference| (of.to_owned(), What::Row(difference))));
        }
        Ok(differences)
    }

    /// Late rows, and what else became a dead letter.
    fn letters(&self) -> (Vec<Row>, Vec<Row>) {
        let (mut late, mut others) = (Vec::new(), Vec::new());
        for letter in self.targets.iter().flat_map(|target| target.held().dead_letters.clone()) {
            let mut row = compare::letter(&letter);
            match row.remove("row") {
                Some(serde_json::Value::Object(row)) if letter.code == LATE_CODE => late.push(row),
                payload => {
                    row.insert("row".into(), payload.unwrap_or_default());
                    others.push(row);
                }
            }
        }
        (late, others)
    }
}

/// FNV-1a of a test's name.
fn test_seed(name: &str) -> u64 {
    name.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}

/// Sources of the script and sinks of the targets.
struct Fed {
    script: Script,
    targets: Targets,
}

impl Bindings for Fed {
    fn source(&self, planned: &PlannedSource, plan: &Plan) -> Result<Box<dyn Source>, SourceError> {
        let number = plan.sources.iter().position(|source| source.id == planned.id);
        Ok(self.script.source(number.expect("a source of this plan"), planned))
    }

    fn sink(&self, planned: &PlannedSink, _identity: &str, plan: &Plan) -> Result<Box<dyn Sink>, SinkError> {
        let number = plan.sinks.iter().position(|sink| sink.id == planned.id);
        Ok(self.targets[number.expect("a sink of this plan")].sink(&planned.id))
    }
}
