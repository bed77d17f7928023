//! `where`, key and a tumbling count and sum, against the same written by hand over the same arrays; with few keys and with
//! ten million; hopping windows that overlap, against tumbling ones.
//!
//! Unit: CPU time of the thread per input row, in nanoseconds; best and median of interleaved passes. All keys are in
//! the window before the first pass, so a pass measures updates; first rows of keys, seal and firing are told apart.
//! The rival is a loop over slices with hashbrown's default hasher: no nulls, no rejects, no lateness, no overflow
//! checks, no change tracking, no key groups.
//!
//!     cargo run --release -p weir-bench-operators -- [passes]
//!     cargo run --release -p weir-bench-operators -- memory [keys]     what a live key costs

mod memory;

mod overlap;

use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::Int64Type;
use arrow_array::{ArrayRef, Int64Array, RecordBatch};
use arrow_schema::{DataType, Field, Schema, SchemaRef};
use hashbrown::HashMap;
use rustix::time::{ClockId, clock_gettime};
use weir_operators::{
    AggregateKind, AggregateSpec, KeyEncoder, KeyedBatch, KeyedOperator, Operator, Outputs, Predicate, Showing, Where,
    WindowAggregate, WindowGrid, WindowSpec, WindowTime,
};
use weir_state::table::DeltaWriter;
use weir_stream::{Batch, Changes, Origin};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Rows of one batch.
const BATCH: usize = 4_096;

/// Rows of one pass.
const ROWS: usize = BATCH * 512;

const WINDOW_US: i64 = 10_000_000;
const KEY_GROUPS: u16 = 64;
const DEFAULT_PASSES: usize = 9;
const DEFAULT_KEYS: usize = 10_000_000;

fn main() {
    if std::env::args().nth(1).is_some_and(|word| word == "memory") {
        let keys = std::env::args().nth(2).and_then(|keys| keys.parse().ok());
        return memory::run(keys.unwrap_or(DEFAULT_KEYS));
    }
    let passes = std::env::args().nth(1).and_then(|passes| passes.parse().ok()).unwrap_or(DEFAULT_PASSES);
    println!("ns of CPU per input row, {ROWS} rows in batches of {BATCH}, 9 of 10 pass, {passes} passes");
    let [_, few, _, many] = [100, 10_000, 1_000_000, 10_000_000].map(|keys| run(keys, passes));
    println!(
        "\nthroughput with 10 M live keys, of that with 10 k: {:.0} % best, {:.0} % median", //
        100.0 * few.0 / many.0,
        100.0 * few.1 / many.1
    );
    overlap::run(passes);
}

fn schema() -> SchemaRef {
    Arc::new(Schema::new(vec![
        Field::new("auction", DataType::Int64, false),
        Field::new("price", DataType::Int64, false),
    ]))
}

/// Random keys and prices; a tenth of the prices is at most 100.
fn batches(keys: u64) -> Vec<Batch> {
    let mut state = 0x9e37_79b9_7f4a_7c15u64;
    let mut next = move |bound: u64| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 11) % bound
    };
    let batch = |_| {
        let auctions = (0..BATCH).map(|_| next(keys) as i64).collect();
        let prices = (0..BATCH).map(|_| 1 + next(1000) as i64).collect();
        batch_of(auctions, prices)
    };
    (0..ROWS / BATCH).map(batch).collect()
}

/// A batch whose rows lie evenly in one window.
fn batch_of(auctions: Vec<i64>, prices: Vec<i64>) -> Batch {
    let rows = auctions.len();
    let columns: Vec<ArrayRef> = vec![Arc::new(Int64Array::from(auctions)), Arc::new(Int64Array::from(prices))];
    Batch {
        columns: RecordBatch::try_new(schema(), columns).expect("the columns are of the schema"),
        event_times_us: (0..rows as i64).map(|row| row * 2_000).collect(),
        watermarks_us: vec![i64::MIN; rows].into(),
        origin: Origin::Step("bench".into()),
        changes: Changes::Inserts,
    }
}

/// The steps under test.
struct Steps {
    filter: Where,
    key: KeyEncoder,
    window: WindowAggregate,
}

impl Steps {
    fn new(grid: &WindowGrid) -> Self {
        let filter = Where::new(Predicate::compile("price > 100", &schema()).expect("a valid condition"));
        let key = KeyEncoder::new(&[("auction".into(), "auction".into())], &schema(), KEY_GROUPS).expect("a valid key");
        let spec = WindowSpec {
            step: "bench".into(),
            time: WindowTime::Event,
            showing: Showing::default(),
            key: key.fields().to_vec(),
            aggregates: vec![
                AggregateSpec::new("bids", AggregateKind::Count, None),
                AggregateSpec::new("volume", AggregateKind::Sum, Some("price")),
            ],
        };
        let window = WindowAggregate::new(&spec, grid, &schema(), 0..KEY_GROUPS).expect("a valid aggregate");
        Self { filter, key, window }
    }

    fn filter(&mut self, batch: &Batch) -> Option<Batch> {
        let mut out = Outputs::default();
        self.filter.process(batch.clone(), &mut out).expect("the filter works");
        out.batches.pop().map(|(_, batch)| batch)
    }

    fn key(&mut self, batch: &Batch) -> Option<KeyedBatch> {
        let filtered = self.filter(batch)?;
        Some(self.key.encode(filtered, &mut Outputs::default()).expect("the key works"))
    }

    fn whole(&mut self, batch: &Batch) {
        if let Some(keyed) = self.key(batch) {
            self.window.process(0, &keyed, &mut Outputs::default()).expect("the window works");
        }
    }
}

fn tumbling() -> WindowGrid {
    WindowGrid::tumbling(WINDOW_US, 0).expect("a valid window")
}

/// The same by hand.
#[derive(Default)]
struct Native {
    windows: HashMap<i64, HashMap<i64, (i64, i64)>>,
}

impl Native {
    fn whole(&mut self, batch: &Batch) {
        let auctions = batch.columns.column(0).as_primitive::<Int64Type>().values();
        let prices = batch.columns.column(1).as_primitive::<Int64Type>().values();
        for row in 0..batch.rows() {
            if prices[row] > 100 {
                let start = batch.event_times_us[row].div_euclid(WINDOW_US) * WINDOW_US;
                let (count, sum) = self.windows.entry(start).or_default().entry(auctions[row]).or_default();
                *count += 1;
                *sum += prices[row];
            }
        }
    }
}

#[derive(Default)]
struct Delta {
    entries: usize,
    bytes: usize,
}

impl DeltaWriter for Delta {
    fn put(&mut self, _: u16, key: &[u8], value: &[u8]) {
        self.entries += 1;
        self.bytes += key.len() + value.len();
    }

    fn delete(&mut self, _: u16, key: &[u8]) {
        self.entries += 1;
        self.bytes += key.len();
    }
}

fn cpu_ns() -> u64 {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}

/// CPU nanoseconds per row of one pass.
fn pass(batches: &[Batch], mut work: impl FnMut(&Batch)) -> f64 {
    let start = cpu_ns();
    batches.iter().for_each(&mut work);
    (cpu_ns() - start) as f64 / ROWS as f64
}

/// Rows that bring each key once, a batch at a time.
fn each_key_once(keys: u64) -> impl Iterator<Item = Batch> {
    (0..keys).step_by(BATCH).map(move |begin| {
        let end = keys.min(begin + BATCH as u64);
        batch_of((begin..end).map(|key| key as i64).collect(), vec![101; (end - begin) as usize])
    })
}

/// CPU nanoseconds per row of the whole chain, best and median.
fn run(keys: u64, passes: usize) -> (f64, f64) {
    let batches = batches(keys);
    let (mut steps, mut native) = (Steps::new(&tumbling()), Native::default());
    each_key_once(keys).for_each(|batch| {
        steps.whole(&batch);
        native.whole(&batch);
    });
    let mut times: [Vec<f64>; 4] = Default::default();
    for _ in 0..passes {
        times[0].push(pass(&batches, |batch| drop(std::hint::black_box(steps.filter(batch)))));
        times[1].push(pass(&batches, |batch| drop(std::hint::black_box(steps.key(batch)))));
        times[2].push(pass(&batches, |batch| steps.whole(batch)));
        times[3].push(pass(&batches, |batch| native.whole(batch)));
    }
    let [filter, key, whole, by_hand] = times.map(best_and_median);
    let held = steps.window.keys();
    println!("\n{keys} keys ({held} in the window, {:.1} B each)", steps.window.byte_size() as f64 / held as f64);
    println!("  where                {:>6.1} best {:>6.1} median", filter.0, filter.1);
    println!("  where + key          {:>6.1} best {:>6.1} median", key.0, key.1);
    println!("  where + key + window {:>6.1} best {:>6.1} median", whole.0, whole.1);
    println!("  by hand              {:>6.1} best {:>6.1} median", by_hand.0, by_hand.1);
    println!("  by hand / ours       {:>6.2} best {:>6.2} median", by_hand.0 / whole.0, by_hand.1 / whole.1);
    seal_and_fire(&mut steps);
    whole
}

fn seal_and_fire(steps: &mut Steps) {
    let (held, mut delta, start) = (steps.window.keys(), Delta::default(), cpu_ns());
    steps.window.seal(&mut delta);
    let sealed = cpu_ns();
    let mut fired = Outputs::default();
    steps.window.advance(WINDOW_US * 2, &mut fired).expect("the window fires");
    let ended = cpu_ns();
    let rows: usize = fired.batches.iter().map(|(_, batch)| batch.rows()).sum();
    assert_eq!((delta.entries, rows), (held, held), "every key is sealed and fired once");
    println!(
        "  seal                 {:>6.1} ns a key, {:.1} B",
        per(sealed - start, held),
        per(delta.bytes as u64, held)
    );
    println!("  fire                 {:>6.1} ns a key", per(ended - sealed, held));
}

fn per(total: u64, count: usize) -> f64 {
    total as f64 / count as f64
}

fn best_and_median(mut times: Vec<f64>) -> (f64, f64) {
    times.sort_by(f64::total_cmp);
    (times[0], times[times.len() / 2])
}
