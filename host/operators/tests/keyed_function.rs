//! A native keyed function in a process step: state and timers by key, faults, limits, restore, whatever the batches.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::{Int64Type, UInt32Type};
use arrow_array::{ArrayRef, Int64Array, RecordBatch, UInt32Array};
use arrow_schema::{DataType, Field, Schema, SchemaRef};
use weir_operators::{
    KeyEncoder, KeyedOperator, NextFunction, Outputs, ProcessLimits, ProcessSpec, ProcessStep, StepFault,
};
use weir_state::Spill;
use weir_state::sim::SimDisk;
use weir_state::table::DeltaWriter;
use weir_stream::time::END_OF_TIME;
use weir_stream::{
    Batch, CallKeys, Changes, Firings, FunctionFault, Keeps, KeyedContract, KeyedFunction, KeyedFunctionFactory,
    KeyedOutput, Origin, OutputContract, OutputRows, Processed, Selection, StateChange, StateContract, StateEntries,
    StateKind, TimeDomain, TimerAction, TimerChange, TimerContract,
};

/// Rows with this number trap; others are added to their key's sum, and set a timer as far ahead as they are large.
const TRAP: i64 = 13;
/// Sets more timers than a key may have.
const MANY: i64 = 14;
/// Answers a value with two entries.
const TWO_ENTRIES: i64 = 15;
/// Answers a column of another type.
const OTHER_TYPE: i64 = 16;

const KEY_GROUPS: u16 = 8;

fn input() -> SchemaRef {
    Arc::new(Schema::new(vec![Field::new("key", DataType::UInt32, false), Field::new("n", DataType::Int64, false)]))
}

fn contract() -> Arc<KeyedContract> {
    let field = |name: &str| Arc::new(Field::new(name, DataType::Int64, false));
    let state = StateContract {
        name: "sum".into(),
        kind: StateKind::Value,
        map_key: 0,
        fields: vec![field("value")],
        ttl_us: Some(1_000),
    };
    let output = |name: &str, keeps| KeyedOutput {
        keeps,
        output: OutputContract { name: name.into(), writes: vec![field("sum")], drops: Vec::new() },
    };
    let timer = |name: &str, domain| TimerContract { name: name.into(), domain };
    Arc::new(KeyedContract {
        name: "native".into(),
        version: "1.0.0".into(),
        reads: vec!["n".into()],
        outputs: vec![output("main", Keeps::Row), output("fired", Keeps::Key)],
        states: vec![state],
        timers: vec![timer("later", TimeDomain::Event), timer("soon", TimeDomain::Processing)],
        deterministic: true,
    })
}

struct Summing;

impl Summing {
    fn sums(keys: &CallKeys) -> Vec<Option<i64>> {
        let StateEntries { offsets, columns } = &keys.states[0];
        let values = columns[0].as_primitive::<Int64Type>();
        offsets.windows(2).map(|pair| (pair[0] < pair[1]).then(|| values.value(pair[0] as usize))).collect()
    }
}

fn output(output: usize, rows: Vec<u32>, sums: Vec<i64>) -> OutputRows {
    OutputRows { output, selection: Selection::Rows(rows), columns: vec![Arc::new(Int64Array::from(sums))] }
}

impl KeyedFunction for Summing {
    fn process(&mut self, keys: &CallKeys, rows: &Batch, row_keys: &[u32]) -> Result<Processed, FunctionFault> {
        let numbers = rows.columns.column(1).as_primitive::<Int64Type>().values();
        if numbers.contains(&TRAP) {
            return Err(FunctionFault::Trap("thirteen".into()));
        }
        let mut sums = Self::sums(keys);
        let (mut timers, mut given) = (Vec::new(), Vec::new());
        for (row, (number, key)) in numbers.iter().zip(row_keys).enumerate() {
            let sum = sums[*key as usize].get_or_insert(0);
            *sum += number;
            given.push(*sum);
            let times = if *number == MANY { 0..100 } else { *number..number + 1 };
            let set = |time| TimerAction::Set(rows.event_times_us[row] + time);
            timers.extend(times.map(|time| TimerChange { key: *key, timer: 0, action: set(time) }));
            if let Some(now_us) = keys.now_us {
                timers.push(TimerChange { key: *key, timer: 1, action: TimerAction::Set(now_us + 5) });
            }
        }
        let mut changed: Vec<u32> = row_keys.to_vec();
        changed.sort_unstable();
        changed.dedup();
        let mut values: Vec<i64> = changed.iter().filter_map(|key| sums[*key as usize]).collect();
        let mut offsets: Vec<u32> = (0..=changed.len() as u32).collect();
        if numbers.contains(&TWO_ENTRIES) {
            values.push(0);
            *offsets.last_mut().unwrap() += 1;
        }
        let column: ArrayRef = match numbers.contains(&OTHER_TYPE) {
            true => Arc::new(UInt32Array::from(vec![0; changed.len()])),
            false => Arc::new(Int64Array::from(values)),
        };
        let entries = StateEntries { offsets, columns: vec![column] };
        Ok(Processed {
            outputs: vec![output(0, (0..numbers.len() as u32).collect(), given)],
            states: vec![StateChange { state: 0, keys: changed, entries }],
            timers,
            ..Processed::default()
        })
    }

    fn fire(&mut self, keys: &CallKeys, firings: &Firings) -> Result<Processed, FunctionFault> {
        if firings.times_us.contains(&666) {
            return Err(FunctionFault::Trap("666".into()));
        }
        let sums = Self::sums(keys);
        let rows: Vec<u32> = (0..firings.keys.len() as u32).collect();
        let given = firings.keys.iter().map(|key| sums[*key as usize].unwrap_or(-1)).collect();
        Ok(Processed { outputs: vec![output(1, rows, given)], ..Processed::default() })
    }
}

struct Factory(Arc<KeyedContract>, Arc<str>);

impl KeyedFunctionFactory for Factory {
    fn contract(&self) -> &KeyedContract {
        &self.0
    }

    fn digest(&self) -> &Arc<str> {
        &self.1
    }

    fn instantiate(&self) -> Result<Box<dyn KeyedFunction>, FunctionFault> {
        Ok(Box::new(Summing))
    }
}

fn encoder() -> KeyEncoder {
    KeyEncoder::new(&[("key".into(), "key".into())], &input(), KEY_GROUPS).unwrap()
}

fn empty() -> ProcessStep {
    let spec = ProcessSpec {
        step: "summed".into(),
        input: input(),
        key: encoder().fields().to_vec(),
        contract: contract(),
        limits: ProcessLimits { state_bytes_per_key: 64, timers_per_key: 20 },
        clock: Arc::new(|| 0),
    };
    ProcessStep::new(spec, 0..KEY_GROUPS).unwrap()
}

fn begun(mut step: ProcessStep, watching: bool) -> ProcessStep {
    let factory = Arc::new(Factory(contract(), "sha256:native".into()));
    step.begin_epoch(Some(NextFunction::Keyed { factory, instance: None }), watching).unwrap();
    step
}

fn step() -> ProcessStep {
    begun(empty(), false)
}

/// Rows of (key, number, event time).
fn batch(rows: &[(u32, i64, i64)]) -> Batch {
    let keys: ArrayRef = Arc::new(UInt32Array::from_iter_values(rows.iter().map(|row| row.0)));
    let numbers: ArrayRef = Arc::new(Int64Array::from_iter_values(rows.iter().map(|row| row.1)));
    Batch {
        columns: RecordBatch::try_new(input(), vec![keys, numbers]).unwrap(),
        event_times_us: rows.iter().map(|row| row.2).collect(),
        watermarks_us: vec![0; rows.len()].into(),
        origin: Origin::Step("test".into()),
        changes: Changes::Inserts,
    }
}

fn process(step: &mut ProcessStep, rows: &[(u32, i64, i64)]) -> Outputs {
    let mut out = Outputs::default();
    let keyed = encoder().encode(batch(rows), &mut out).unwrap();
    step.process(0, &keyed, &mut out).unwrap();
    out
}

fn advance(step: &mut ProcessStep, watermark_us: i64) -> Outputs {
    let mut out = Outputs::default();
    step.advance(watermark_us, &mut out).unwrap();
    out
}

/// (key, sum, event time) of the rows of an output.
fn given(out: &Outputs, output: usize) -> Vec<(u32, i64, i64)> {
    let mut rows = Vec::new();
    for (_, batch) in out.batches.iter().filter(|(number, _)| *number == output) {
        let keys = batch.columns.column_by_name("key").unwrap().as_primitive::<UInt32Type>();
        let sums = batch.columns.column_by_name("sum").unwrap().as_primitive::<Int64Type>();
        rows.extend((0..batch.rows()).map(|row| (keys.value(row), sums.value(row), batch.event_times_us[row])));
    }
    rows
}

fn reasons(out: &Outputs) -> Vec<(&str, &str)> {
    out.rejects.iter().map(|reject| (&*reject.code, &*reject.reason)).collect()
}

#[test]
fn state_is_kept_by_key_and_input_columns_pass_by() {
    let mut step = step();
    let out = process(&mut step, &[(1, 2, 10), (2, 3, 11), (1, 4, 12)]);
    assert_eq!(given(&out, 0), [(1, 2, 10), (2, 3, 11), (1, 6, 12)]);
    assert_eq!(out.batches[0].1.columns.schema().field(1).name(), "n");
    assert_eq!(given(&process(&mut step, &[(1, 1, 13)]), 0), [(1, 7, 13)]);
    assert_eq!(step.keys(), 2);
}

#[test]
fn timers_fire_in_the_order_of_their_times_when_the_watermark_has_come_to_them() {
    let mut step = step();
    process(&mut step, &[(1, 20, 10), (2, 5, 10), (1, 2, 10)]);
    assert_eq!(given(&advance(&mut step, 14), 1), [(1, 22, 12)]);
    assert_eq!(given(&advance(&mut step, 29), 1), [(2, 5, 15)]);
    assert_eq!(given(&advance(&mut step, END_OF_TIME), 1), [(1, 22, 30)]);
    assert_eq!(given(&advance(&mut step, END_OF_TIME), 1), []);
}

#[test]
fn a_state_lapses_after_its_time_to_live_and_a_later_timer_finds_nothing() {
    let mut step = step();
    process(&mut step, &[(1, 1, 0), (1, 5_000, 100)]);
    assert_eq!(given(&advance(&mut step, 1_099), 1), [(1, 5_001, 1)]);
    assert_eq!(given(&advance(&mut step, 5_100), 1), [(1, -1, 5_100)]);
    assert_eq!(step.keys(), 0);
}

#[test]
fn a_row_that_traps_changes_no_state_and_its_neighbours_go_on() {
    let mut step = step();
    let out = process(&mut step, &[(1, 1, 0), (1, TRAP, 1), (2, 2, 2), (1, 3, 3)]);
    assert_eq!(given(&out, 0), [(1, 1, 0), (2, 2, 2), (1, 4, 3)]);
    assert_eq!(reasons(&out), [("plugin-trap", "trapped: thirteen")]);
    assert!(out.rejects[0].quarantined);
}

#[test]
fn while_a_version_is_watched_a_fault_is_the_answer() {
    let mut step = begun(empty(), true);
    let mut out = Outputs::default();
    let keyed = encoder().encode(batch(&[(1, TRAP, 0), (2, 1, 0)]), &mut out).unwrap();
    let fault = step.process(0, &keyed, &mut out).unwrap_err();
    assert!(matches!(fault, StepFault::Function(FunctionFault::Trap(_))), "{fault}");
    assert!(out.batches.is_empty() && out.rejects.is_empty());
}

#[test]
fn more_timers_or_state_than_a_key_may_have_and_state_of_another_schema_cost_the_row() {
    let mut step = step();
    let rows = [(1, 1, 0), (1, MANY, 1), (1, TWO_ENTRIES, 2), (2, OTHER_TYPE, 3), (1, 2, 4)];
    let out = process(&mut step, &rows);
    assert_eq!(given(&out, 0), [(1, 1, 0), (1, 3, 4)]);
    let expected = [
        ("plugin-too-much", "returned 100 timers for one key, over its limit of 20"),
        ("plugin-malformed", "returned state `sum`: 2 entries for one key, a value has one"),
        ("plugin-malformed", "returned state `sum`: a column of UInt32 instead of Int64"),
    ];
    assert_eq!(reasons(&out), expected);
}

#[test]
fn a_timer_on_which_the_function_fails_is_dropped_and_told_with_its_key() {
    let mut step = step();
    process(&mut step, &[(1, 600, 66), (2, 3, 0), (1, 7, 0)]);
    let out = advance(&mut step, 700);
    assert_eq!(given(&out, 1), [(2, 3, 3), (1, 607, 7)]);
    assert_eq!(reasons(&out), [("plugin-trap", "trapped: 666")]);
    assert_eq!(given(&advance(&mut step, END_OF_TIME), 1), []);
}

#[test]
fn a_timer_of_processing_time_waits_for_the_clock() {
    let mut step = step();
    assert!(step.wants_clock());
    let mut out = Outputs::default();
    step.tick(100, &mut out).unwrap();
    process(&mut step, &[(1, 50, 7)]);
    step.tick(104, &mut out).unwrap();
    assert!(out.batches.is_empty());
    step.tick(105, &mut out).unwrap();
    assert_eq!(given(&out, 1), [(1, 50, 7)]);
}

/// What is durable: entries by key group and key.
#[derive(Default)]
struct Store(BTreeMap<(u16, Vec<u8>), Vec<u8>>);

impl DeltaWriter for Store {
    fn put(&mut self, key_group: u16, key: &[u8], value: &[u8]) {
        self.0.insert((key_group, key.to_vec()), value.to_vec());
    }

    fn delete(&mut self, key_group: u16, key: &[u8]) {
        self.0.remove(&(key_group, key.to_vec()));
    }
}

impl Store {
    fn restored(&self) -> ProcessStep {
        let mut whole = empty();
        for group in 0..KEY_GROUPS {
            let mut part = whole.part(group..group + 1);
            for ((_, key), value) in self.0.iter().filter(|((of, _), _)| *of == group) {
                part.restore_put(group, key, value).unwrap();
            }
            whole.absorb(part).unwrap();
        }
        begun(whole, false)
    }
}

/// A sequence that never repeats what it gave, from a printed seed.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % bound
    }
}

#[test]
fn however_rows_are_cut_and_wherever_state_is_restored_the_result_is_the_same() {
    for seed in 1..=200_u64 {
        println!("seed {seed}");
        let mut random = Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        let rows: Vec<(u32, i64, i64)> =
            (0..60).map(|time| (random.below(7) as u32, 1 + random.below(13) as i64, time * 3)).collect();
        let all = |step: &mut ProcessStep, mut cut: Box<dyn FnMut(&mut ProcessStep) -> usize>| {
            let (mut given_rows, mut fired, mut at) = (Vec::new(), Vec::new(), 0);
            while at < rows.len() {
                // The watermark moves at the same rows, whatever is a batch.
                let until = (at / 20 + 1) * 20;
                let next = (at + cut(step).max(1)).min(until);
                given_rows.extend(given(&process(step, &rows[at..next]), 0));
                at = next;
                if at == until {
                    fired.extend(given(&advance(step, rows[at - 1].2 - 5), 1));
                }
            }
            fired.extend(given(&advance(step, END_OF_TIME), 1));
            (given_rows, fired)
        };
        let whole = all(&mut step(), Box::new(|_| 60));
        let (mut store, spill) = (Store::default(), Spill::new(Arc::new(SimDisk::new()), "/state".into()));
        let restoring = move |step: &mut ProcessStep| {
            if random.below(3) == 0 {
                step.seal(&mut store);
                match random.below(2) {
                    0 => *step = store.restored(),
                    _ => {
                        step.evict(usize::MAX, &spill).unwrap();
                        assert!(step.keys() == 0 || step.cold_bytes() > 0, "nothing left memory");
                    }
                }
            }
            1 + random.below(9) as usize
        };
        assert_eq!(all(&mut step(), Box::new(restoring)), whole);
    }
}
