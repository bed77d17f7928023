//! What it costs to send a batch through the sandbox: a plugin's call with all its checks, beside the same work in
//! native code, in one run. Prints best and median nanoseconds a row, and their ratio.
//!
//! The guests in `guests/` are built first, for `wasm32-unknown-unknown`, by the `cargo` and the environment of the
//! caller; `WEIR_BENCH_GUESTS=<folder>` takes built modules instead. Times of a busy machine mean little: the bench
//! alternates its contestants, so that both see the same noise.

mod guests;
mod native;

use std::hint::black_box;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Instant;

use arrow_array::{ArrayRef, Int64Array, RecordBatch, StringArray};
use weir_sandbox::{Limits, PluginComponent, SandboxEngine, WasmTransformFactory};
use weir_stream::{Batch, Changes, Origin, Transform, TransformFactory};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const ROWS: usize = 1024;
const ROUNDS: usize = 101;
const CALLS_PER_ROUND: usize = 200;

/// One job, done by a plugin and by native code.
struct Job {
    name: &'static str,
    guest: &'static str,
    input: RecordBatch,
    native: fn(&RecordBatch) -> ArrayRef,
    must_ns: f64,
    aim_ns: f64,
}

fn main() -> ExitCode {
    let guests = match guests::built() {
        Ok(folder) => folder,
        Err(error) => {
            eprintln!("the guests cannot be built: {error}");
            return ExitCode::FAILURE;
        }
    };
    let engine = SandboxEngine::new(None).expect("an engine");
    let jobs = [
        Job {
            name: "2 i64 in, their sum out",
            guest: "sum",
            input: pairs(),
            native: native::sum,
            must_ns: 5.0,
            aim_ns: 2.0,
        },
        Job {
            name: "3 texts of 20 bytes in, one in capitals out",
            guest: "upper",
            input: texts(),
            native: native::upper,
            must_ns: 60.0,
            aim_ns: 25.0,
        },
    ];
    println!("{ROWS} rows a call, {ROUNDS} rounds of {CALLS_PER_ROUND} calls; ns a row");
    println!(
        "{:<46}{:>8}{:>8}{:>8}{:>8}{:>7}{:>7}{:>7}",
        "job", "best", "median", "native", "median", "ratio", "must", "aim"
    );
    let mut kept = true;
    for job in jobs {
        kept &= run(&engine, &guests, &job);
    }
    if kept { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Runs one job, prints its line and answers whether the best time keeps what it must.
fn run(engine: &SandboxEngine, guests: &std::path::Path, job: &Job) -> bool {
    let limits = Limits::default();
    let plugin = PluginComponent::load_file(engine, &guests.join(format!("bench_{}.wasm", job.guest)), &limits);
    let plugin = plugin.unwrap_or_else(|error| panic!("{}: {error}", job.guest));
    let factory = WasmTransformFactory::new(&plugin, "null", job.input.schema(), &limits, job.guest, None);
    let factory = factory.unwrap_or_else(|faults| panic!("{}: {faults:?}", job.guest));
    let mut transform = factory.instantiate().expect("an instance");
    let batch = batch(&job.input);
    check(transform.as_mut(), &batch, job);
    let (mut plugin, mut native) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        plugin.push(time(|| drop(black_box(transform.process(black_box(&batch)).expect("an answer")))));
        native.push(time(|| drop(black_box((job.native)(black_box(&job.input))))));
    }
    let (best, median) = best_and_median(&mut plugin);
    let (native_best, native_median) = best_and_median(&mut native);
    println!(
        "{:<46}{best:>8.2}{median:>8.2}{native_best:>8.2}{native_median:>8.2}{:>6.1}x{:>7}{:>7}",
        job.name,
        best / native_best,
        job.must_ns,
        job.aim_ns
    );
    best <= job.must_ns
}

/// A bench of wrong answers measures nothing.
fn check(transform: &mut dyn Transform, batch: &Batch, job: &Job) {
    let answer = transform.process(batch).expect("an answer");
    assert_eq!(answer.outputs[0].columns[0].as_ref(), (job.native)(&job.input).as_ref(), "{}", job.name);
    assert!(answer.rejects.is_empty());
}

/// Nanoseconds a row.
fn time(mut call: impl FnMut()) -> f64 {
    let started = Instant::now();
    (0..CALLS_PER_ROUND).for_each(|_| call());
    started.elapsed().as_nanos() as f64 / (CALLS_PER_ROUND * ROWS) as f64
}

fn best_and_median(times: &mut [f64]) -> (f64, f64) {
    times.sort_by(f64::total_cmp);
    (times[0], times[times.len() / 2])
}

fn pairs() -> RecordBatch {
    let left = Int64Array::from_iter_values(0..ROWS as i64);
    let right = Int64Array::from_iter_values((0..ROWS as i64).map(|row| row * 7919));
    RecordBatch::try_from_iter_with_nullable([
        ("left", Arc::new(left) as ArrayRef, false),
        ("right", Arc::new(right) as ArrayRef, false),
    ])
    .expect("columns of one length")
}

fn texts() -> RecordBatch {
    let column = |word: &str| {
        let texts = (0..ROWS).map(|row| format!("{word}-{row:0>width$}", width = 19 - word.len()));
        Arc::new(StringArray::from_iter_values(texts)) as ArrayRef
    };
    let columns =
        [("first", column("order"), false), ("second", column("shop"), false), ("third", column("item"), false)];
    RecordBatch::try_from_iter_with_nullable(columns).expect("columns of one length")
}

fn batch(columns: &RecordBatch) -> Batch {
    Batch {
        columns: columns.clone(),
        event_times_us: vec![0; ROWS].into(),
        watermarks_us: vec![i64::MIN; ROWS].into(),
        origin: Origin::Step("bench".into()),
        changes: Changes::Inserts,
    }
}
