//! A fast source reads on behind a barrier that a slow one has not passed: what it reads belongs to the next epoch. The
//! run is killed once the first epoch is durable; resumed, every row counts once.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;

use weir_runtime::plan::{PlannedSink, PlannedSource};
use weir_runtime::trial::Target;
use weir_runtime::{Bindings, Clock, CrashPoint, End, Outside, Pipeline, Plan, Setup};
use weir_sandbox::SandboxEngine;
use weir_state::sim::{SimDisk, SimRng};
use weir_stream::{
    PartitionReader, Poll, Position, Sink, SinkError, Source, SourceError, SourceRecords, TimestampType,
};

/// What the fast source has; the last one is far ahead and closes the window.
const ROWS: [&str; 4] = [
    r#"{"key":"a","at":"2026-03-01T10:00:01Z","n":1}"#,
    r#"{"key":"a","at":"2026-03-01T10:00:02Z","n":1}"#,
    r#"{"key":"a","at":"2026-03-01T10:00:03Z","n":1}"#,
    r#"{"key":"z","at":"2026-03-01T10:01:00Z","n":1}"#,
];

/// The slow source looks away until the fast one has read two rows: one in front of the first barrier, one behind it.
const PATIENCE: Duration = Duration::from_secs(2);

#[derive(Default)]
struct Progress {
    read: AtomicUsize,
    moved: (Mutex<()>, Condvar),
    slow: AtomicBool,
}

struct Partition {
    fast: bool,
    next: usize,
    progress: Arc<Progress>,
}

impl Source for Partition {
    fn partitions(&mut self) -> Result<u32, SourceError> {
        Ok(1)
    }

    fn open(&mut self, _: u32, position: Option<Position>) -> Result<Box<dyn PartitionReader>, SourceError> {
        let next = position.and_then(|position| usize::try_from(position.offset).ok()).unwrap_or(0);
        Ok(Box::new(Self { fast: self.fast, next, progress: Arc::clone(&self.progress) }))
    }
}

impl PartitionReader for Partition {
    fn poll(&mut self, _: usize, _: usize) -> Result<Poll, SourceError> {
        if !self.fast {
            self.look_away();
            return Ok(Poll::End);
        }
        let Some(row) = ROWS.get(self.next) else { return Ok(Poll::End) };
        let offset = self.next as i64;
        self.next += 1;
        self.progress.read.fetch_add(1, Ordering::SeqCst);
        self.progress.moved.1.notify_all();
        Ok(Poll::Records(SourceRecords {
            source: "left".into(),
            topic: "left".into(),
            offsets: vec![offset],
            timestamps_us: vec![4_102_444_800_000_000],
            timestamp_type: vec![TimestampType::LogAppendTime],
            values: [row.as_bytes()].into_iter().collect(),
            next_offset: offset + 1,
            ..SourceRecords::default()
        }))
    }
}

impl Partition {
    fn look_away(&self) {
        if self.progress.slow.swap(false, Ordering::SeqCst) {
            let (lock, moved) = &self.progress.moved;
            let guard = lock.lock().unwrap_or_else(PoisonError::into_inner);
            let unread = |_: &mut ()| self.progress.read.load(Ordering::SeqCst) < 2;
            drop(moved.wait_timeout_while(guard, PATIENCE, unread));
            // Its rows are with the keyed task before this source's barrier is.
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

struct Two {
    progress: Arc<Progress>,
    targets: Vec<Target>,
}

impl Bindings for Two {
    fn source(&self, planned: &PlannedSource, _: &Plan) -> Result<Box<dyn Source>, SourceError> {
        Ok(Box::new(Partition { fast: &*planned.id == "left", next: 0, progress: Arc::clone(&self.progress) }))
    }

    fn sink(&self, planned: &PlannedSink, _: &str, plan: &Plan) -> Result<Box<dyn Sink>, SinkError> {
        let number = plan.sinks.iter().position(|sink| sink.id == planned.id).unwrap_or(0);
        Ok(self.targets[number].sink(&planned.id))
    }
}

pub fn run() -> Result<(), String> {
    let engine = SandboxEngine::new(None).map_err(|error| error.to_string())?;
    let disk = SimDisk::new();
    let plan = super::manifest::planned(&engine)?;
    let targets: Vec<Target> = plan.sinks.iter().map(|_| Target::default()).collect();
    let live = |crash_at: Option<CrashPoint>, slow: bool| {
        let mut plan = super::manifest::planned(&engine)?;
        plan.manifest.state.tasks = Some(1);
        let progress = Arc::new(Progress { slow: AtomicBool::new(slow), ..Progress::default() });
        let bindings = Arc::new(Two { progress, targets: targets.clone() });
        let power = disk.clone();
        let outside = Outside {
            disk: Arc::new(disk.clone()),
            clock: Clock::machine(),
            bindings,
            crash: Arc::new(move || power.stop_after(0)),
        };
        let setup = Setup {
            state_dir: "/state".into(),
            workers: 2,
            watch: Some(Duration::ZERO),
            crash_at,
            outside,
            evict_always: false,
        };
        Pipeline::new(plan, setup, engine.clone()).run().map_err(|error| error.to_string())
    };
    live(Some(CrashPoint::Durable(1)), true)?;
    disk.crash(&mut SimRng::new(1));
    match live(None, false)? {
        End::Finished => {}
        other => return Err(format!("ended with {other:?}")),
    }
    let counted: i64 = targets[0].held().rows.iter().map(sum).sum();
    if counted == ROWS.len() as i64 { Ok(()) } else { Err(format!("{counted} rows count, {} were read", ROWS.len())) }
}

/// Rows that a block of the sums' table counts.
fn sum(block: &weir_stream::RowBlock) -> i64 {
    use arrow_array::cast::AsArray;
    let rows = block.rows.column_by_name("rows");
    rows.map_or(0, |rows| rows.as_primitive::<arrow_array::types::Int64Type>().values().iter().sum())
}
