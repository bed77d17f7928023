//! A native function among the aggregates of a step: it sums, and whatever windows, batches and restarts there are its sums
//! are those of `sum` beside it; what it does wrong costs the rows, pairs or results that it did it on.
//!
//! `WEIR_TEST_SEED` repeats a run; `WEIR_TEST_CASES` changes the number of cases.

use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::Int64Type;
use arrow_array::{Array, ArrayRef, Int64Array, RecordBatch, StringArray, UInt32Array};
use arrow_schema::{DataType, Field, Schema, SchemaRef};
use weir_operators::{
    AggregateKind, AggregateSpec, Emit, GlobalAggregate, GlobalTrigger, GroupAggregate, GroupSpec, KeyEncoder,
    KeyedOperator, NextFunction, Outputs, PluginSpec, SessionAggregate, SessionGap, Showing, StepFault,
    WindowAggregate, WindowGrid, WindowSpec, WindowTime,
};
use weir_state::Spill;
use weir_state::sim::SimDisk;
use weir_state::table::DeltaWriter;
use weir_stream::time::END_OF_TIME;
use weir_stream::{
    Accumulated, AggregateContract, AggregateFactory, AggregateFunction, Batch, ChangeKind, Changes, FunctionFault,
    GroupAccumulators, GroupRows, Origin, Reject,
};

const KEY_GROUPS: u16 = 8;
const DEFAULT_CASES: u64 = 1500;

/// What the function does on rows with these values.
const TRAP: i64 = 1_000_013;
const REFUSE: i64 = 1_000_014;
const TOO_SHORT: i64 = 1_000_015;
const OTHER_TYPE: i64 = 1_000_016;
const NO_SUCH_GROUP: i64 = 1_000_017;
const LONG_NOTE: i64 = 1_000_018;
/// Accumulators that hold these trap when they are merged, or give their result.
const TRAP_IN_MERGE: i64 = 2_000_000;
const TRAP_IN_FINISH: i64 = 4_000_000;

fn input() -> SchemaRef {
    Arc::new(Schema::new(vec![Field::new("k", DataType::UInt32, false), Field::new("v", DataType::Int64, false)]))
}

fn contract() -> AggregateContract {
    let field = |name: &str, data_type, nullable| Arc::new(Field::new(name, data_type, nullable));
    AggregateContract {
        name: "native".into(),
        version: "1.0.0".into(),
        reads: vec!["value".into()],
        state_version: 3,
        state: vec![
            field("sum", DataType::Int64, false),
            field("count", DataType::Int64, false),
            field("note", DataType::Utf8, true),
        ],
        gives: field("result", DataType::Int64, true),
        merges: true,
        retracts: true,
        deterministic: true,
    }
}

/// Sums by group: sum, count, note.
struct Summing;

type Held = (i64, i64, Option<String>);

fn read(columns: &[ArrayRef]) -> Vec<Held> {
    let (sums, counts) = (columns[0].as_primitive::<Int64Type>(), columns[1].as_primitive::<Int64Type>());
    let note = |row| columns[2].is_valid(row).then(|| columns[2].as_string::<i32>().value(row).to_owned());
    (0..sums.len()).map(|row| (sums.value(row), counts.value(row), note(row))).collect()
}

fn write(held: &[Held]) -> Vec<ArrayRef> {
    let numbers = |number: fn(&Held) -> i64| Arc::new(held.iter().map(number).collect::<Int64Array>()) as ArrayRef;
    let notes: StringArray = held.iter().map(|(_, _, note)| note.as_deref()).collect();
    vec![numbers(|held| held.0), numbers(|held| held.1), Arc::new(notes)]
}

impl Summing {
    fn rows(rows: &GroupRows, held: &GroupAccumulators, sign: i64) -> Result<Accumulated, FunctionFault> {
        assert!(rows.group.iter().all(|group| (*group as usize) < rows.groups));
        assert_eq!(rows.group.len(), rows.event_times_us.len());
        let values = rows.columns[0].as_primitive::<Int64Type>().values();
        if values.contains(&TRAP) {
            return Err(FunctionFault::Trap("thirteen".into()));
        }
        let mut groups: Vec<Option<Held>> = vec![None; rows.groups];
        for (group, held) in held.groups.iter().zip(read(&held.columns)) {
            groups[*group as usize] = Some(held);
        }
        let mut rejects = Vec::new();
        for ((row, value), group) in (0..).zip(values).zip(&rows.group) {
            if *value == REFUSE {
                rejects.push(Reject::new(row, "told-to", "refuse"));
                continue;
            }
            let (sum, count, note) = groups[*group as usize].get_or_insert_default();
            (*sum, *count) = (sum.wrapping_add(sign * value), *count + sign);
            if *value == LONG_NOTE {
                *note = Some("a".repeat(100));
            }
        }
        let numbered = (0..).zip(groups).filter_map(|(group, held)| Some((group, held?)));
        let (mut groups, held): (Vec<u32>, Vec<Held>) = numbered.unzip();
        let mut columns = write(&held);
        if values.contains(&TOO_SHORT) {
            columns[1] = columns[1].slice(1, columns[1].len() - 1);
        }
        if values.contains(&OTHER_TYPE) {
            columns[0] = Arc::new(UInt32Array::from(vec![0; held.len()]));
        }
        if values.contains(&NO_SUCH_GROUP) {
            *groups.last_mut().unwrap() = rows.groups as u32;
        }
        Ok(Accumulated { rejects, changed: GroupAccumulators { groups, columns } })
    }
}

impl AggregateFunction for Summing {
    fn accumulate(&mut self, rows: &GroupRows, held: &GroupAccumulators) -> Result<Accumulated, FunctionFault> {
        Self::rows(rows, held, 1)
    }

    fn retract(&mut self, rows: &GroupRows, held: &GroupAccumulators) -> Result<Accumulated, FunctionFault> {
        Self::rows(rows, held, -1)
    }

    fn merge(&mut self, into: &[ArrayRef], other: &[ArrayRef]) -> Result<Vec<ArrayRef>, FunctionFault> {
        let pairs: Vec<(Held, Held)> = read(into).into_iter().zip(read(other)).collect();
        if pairs.iter().any(|(one, two)| one.0 == TRAP_IN_MERGE || two.0 == TRAP_IN_MERGE) {
            return Err(FunctionFault::Trap("merging".into()));
        }
        let merged = |(one, two): (Held, Held)| (one.0.wrapping_add(two.0), one.1 + two.1, one.2.or(two.2));
        Ok(write(&pairs.into_iter().map(merged).collect::<Vec<_>>()))
    }

    fn finish(&mut self, groups: usize, held: &GroupAccumulators) -> Result<ArrayRef, FunctionFault> {
        let mut sums = vec![None; groups];
        for (group, (sum, count, _)) in held.groups.iter().zip(read(&held.columns)) {
            sums[*group as usize] = (count > 0).then_some(sum);
        }
        if sums.contains(&Some(TRAP_IN_FINISH)) {
            return Err(FunctionFault::Trap("finishing".into()));
        }
        Ok(Arc::new(Int64Array::from(sums)))
    }
}

struct Factory(AggregateContract, Arc<str>);

impl AggregateFactory for Factory {
    fn contract(&self) -> &AggregateContract {
        &self.0
    }

    fn digest(&self) -> &Arc<str> {
        &self.1
    }

    fn instantiate(&self) -> Result<Box<dyn AggregateFunction>, FunctionFault> {
        Ok(Box::new(Summing))
    }
}

fn encoder() -> KeyEncoder {
    KeyEncoder::new(&[("k".into(), "k".into())], &input(), KEY_GROUPS).unwrap()
}

fn aggregates() -> Vec<AggregateSpec> {
    let plugin = PluginSpec {
        contract: Arc::new(contract()),
        reads: Some(vec![("value".into(), "v + 0".into())]),
        accumulator_bytes: 64,
        clock: Arc::new(|| 0),
    };
    vec![AggregateSpec::new("sum", AggregateKind::Sum, Some("v")), AggregateSpec::by_plugin("by_plugin", plugin)]
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Shape {
    Tumbling,
    Hopping,
    Session,
    Global,
    Group,
    /// Rows are taken back.
    Table,
}

const SHAPES: [Shape; 6] = [Shape::Tumbling, Shape::Hopping, Shape::Session, Shape::Global, Shape::Group, Shape::Table];

fn operator(shape: Shape, showing: Showing) -> Box<dyn KeyedOperator> {
    let key = encoder().fields().to_vec();
    let (step, aggregates) = ("summed".into(), aggregates());
    if matches!(shape, Shape::Group | Shape::Table) {
        let spec = GroupSpec { step, key, aggregates, ttl_us: None, retracts: shape == Shape::Table };
        return Box::new(GroupAggregate::new(&spec, &input(), 0..KEY_GROUPS).unwrap());
    }
    let showing = if shape == Shape::Global { Showing::default() } else { showing };
    let spec = WindowSpec { step, time: WindowTime::Event, showing, key, aggregates };
    let grid = |every_us| WindowGrid::hopping(40, every_us, 0).unwrap();
    match shape {
        Shape::Tumbling => Box::new(WindowAggregate::new(&spec, &grid(40), &input(), 0..KEY_GROUPS).unwrap()),
        Shape::Hopping => Box::new(WindowAggregate::new(&spec, &grid(10), &input(), 0..KEY_GROUPS).unwrap()),
        Shape::Session => {
            let gap = SessionGap::Fixed { gap_us: 12 };
            Box::new(SessionAggregate::new(&spec, &gap, &input(), 0..KEY_GROUPS).unwrap())
        }
        _ => {
            let trigger = GlobalTrigger { rows: Some(3), every_us: None };
            Box::new(GlobalAggregate::new(&spec, trigger, &input(), 0..KEY_GROUPS).unwrap())
        }
    }
}

fn begun(mut operator: Box<dyn KeyedOperator>, watching: bool) -> Box<dyn KeyedOperator> {
    let factory = Arc::new(Factory(contract(), "sha256:native".into()));
    operator.begin_epoch(Some(NextFunction::Aggregate { factory, instance: None }), watching).unwrap();
    operator
}

fn step(shape: Shape) -> Box<dyn KeyedOperator> {
    begun(operator(shape, Showing::default()), false)
}

/// Key, value, event time, and whether the row is taken back.
type Row = (u32, i64, i64, bool);

fn batch(rows: &[Row]) -> Batch {
    let keys: ArrayRef = Arc::new(UInt32Array::from_iter_values(rows.iter().map(|row| row.0)));
    let values: ArrayRef = Arc::new(Int64Array::from_iter_values(rows.iter().map(|row| row.1)));
    let kind = |row: &Row| if row.3 { ChangeKind::Delete } else { ChangeKind::Insert };
    Batch {
        columns: RecordBatch::try_new(input(), vec![keys, values]).unwrap(),
        event_times_us: rows.iter().map(|row| row.2).collect(),
        watermarks_us: vec![i64::MIN; rows.len()].into(),
        origin: Origin::Step("test".into()),
        changes: Changes::PerRow(rows.iter().map(|row| kind(row) as u8).collect()),
    }
}

fn process(operator: &mut dyn KeyedOperator, rows: &[Row]) -> Result<Outputs, StepFault> {
    let mut out = Outputs::default();
    let keyed = encoder().encode(batch(rows), &mut out).unwrap();
    operator.process(0, &keyed, &mut out)?;
    Ok(out)
}

fn rows(values: &[(u32, i64, i64)]) -> Vec<Row> {
    values.iter().map(|(key, value, time_us)| (*key, *value, *time_us, false)).collect()
}

fn end(operator: &mut dyn KeyedOperator) -> Outputs {
    let mut out = Outputs::default();
    operator.advance(END_OF_TIME, &mut out).unwrap();
    out
}

/// Key, `sum` and what the function gave, of every row.
fn given(out: &Outputs) -> Vec<(u32, Option<i64>, Option<i64>)> {
    let mut given = Vec::new();
    for (_, batch) in &out.batches {
        let column = |name: &str| batch.columns.column_by_name(name).unwrap();
        let keys = column("k").as_primitive::<arrow_array::types::UInt32Type>();
        let number =
            |name: &str, row| column(name).is_valid(row).then(|| column(name).as_primitive::<Int64Type>().value(row));
        given.extend((0..batch.rows()).map(|row| (keys.value(row), number("sum", row), number("by_plugin", row))));
    }
    given
}

fn codes(out: &Outputs) -> Vec<&str> {
    out.rejects.iter().map(|reject| &*reject.code).collect()
}

#[derive(Default)]
struct Deltas(Vec<(u16, Vec<u8>, Option<Vec<u8>>)>);

impl DeltaWriter for Deltas {
    fn put(&mut self, key_group: u16, key: &[u8], value: &[u8]) {
        self.0.push((key_group, key.to_vec(), Some(value.to_vec())));
    }

    fn delete(&mut self, key_group: u16, key: &[u8]) {
        self.0.push((key_group, key.to_vec(), None));
    }
}

/// A xorshift generator: the test's only source of chance.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) % bound
    }
}

/// Rows, some of them bad, some taken back; whatever is shown on the way must agree. Answers how much was shown.
fn run(random: &mut Random, shape: Shape) -> usize {
    let emit = [Emit::OnClose, Emit::OnUpdate, Emit::Both][random.below(3) as usize];
    let showing = Showing { emit, lateness_us: random.below(3) as i64 * 10, throttle_us: 0 };
    let spill = Spill::new(Arc::new(SimDisk::new()), "/state".into());
    let mut operator = begun(operator(shape, showing), false);
    let (mut deltas, mut held, mut shown, mut watermark_us) = (Deltas::default(), Vec::<Row>::new(), 0, i64::MIN);
    for number in 0..random.below(25) as i64 {
        let mut rows = Vec::new();
        for _ in 0..1 + random.below(12) {
            if shape == Shape::Table && !held.is_empty() && random.below(3) == 0 {
                let (key, value, time_us, _) = held.swap_remove(random.below(held.len() as u64) as usize);
                rows.push((key, value, time_us, true));
                continue;
            }
            // Near the limit of its type `sum` refuses rows, and over a table results.
            let large = if random.below(30) == 0 { i64::MAX / 3 } else { 0 };
            let value = if random.below(40) == 0 { REFUSE } else { large + random.below(100) as i64 };
            let row = (random.below(5) as u32, value, number * 5 + random.below(40) as i64, false);
            rows.push(row);
            held.extend((value != REFUSE).then_some(row));
        }
        // A row and its own retraction in one batch: additions go first.
        let out = process(operator.as_mut(), &rows).unwrap();
        for (key, sum, by_plugin) in given(&out) {
            assert_eq!(sum, by_plugin, "{shape:?}, key {key}");
            shown += 1;
        }
        if random.below(3) == 0 {
            let mut out = Outputs::default();
            watermark_us = watermark_us.max(number * 5 - 10);
            operator.advance(watermark_us, &mut out).unwrap();
            for (key, sum, by_plugin) in given(&out) {
                assert_eq!(sum, by_plugin, "{shape:?}, key {key}");
                shown += 1;
            }
        }
        operator.seal(&mut deltas);
        if random.below(4) == 0 {
            operator.evict(usize::MAX, &spill).unwrap();
        }
        if random.below(4) == 0 {
            operator = restored(shape, showing, &deltas, watermark_us);
        }
    }
    let out = end(operator.as_mut());
    assert!(given(&out).iter().all(|(_, sum, by_plugin)| sum == by_plugin), "{shape:?}: {:?}", given(&out));
    shown + given(&out).len()
}

fn restored(shape: Shape, showing: Showing, deltas: &Deltas, watermark_us: i64) -> Box<dyn KeyedOperator> {
    let mut made = operator(shape, showing);
    // As at a start: loaded into parts of another operator.
    let mut part = operator(shape, showing).part(0..KEY_GROUPS);
    for (group, key, value) in &deltas.0 {
        match value {
            Some(value) => part.restore_put(*group, key, value).unwrap(),
            None => part.restore_delete(*group, key).unwrap(),
        }
    }
    made.absorb(part).unwrap();
    made.restore_watermark(watermark_us);
    begun(made, false)
}

#[test]
fn whatever_the_windows_batches_and_restarts_a_sum_by_a_function_is_the_sum() {
    let number =
        |name: &str, default: u64| std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(default);
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_nanos() as u64;
    let seed = number("WEIR_TEST_SEED", now % 1_000_000_000);
    println!("WEIR_TEST_SEED={seed}");
    for shape in SHAPES {
        let mut shown = 0;
        for case in 0..number("WEIR_TEST_CASES", DEFAULT_CASES) / SHAPES.len() as u64 {
            let mut random = Random((seed + case).wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
            shown += run(&mut random, shape);
        }
        assert!(shown > 0, "{shape:?} showed nothing");
    }
}

#[test]
fn what_the_function_answers_wrongly_costs_the_row_and_no_other_aggregate_counts_it() {
    for (value, code, reason) in [
        (TRAP, "plugin-trap", "`by_plugin`: the plugin trapped: thirteen"),
        (REFUSE, "told-to", "`by_plugin`: refuse"),
        (
            TOO_SHORT,
            "plugin-malformed",
            "`by_plugin`: the plugin returned accumulators: columns that do not have 1 entries",
        ),
        (
            OTHER_TYPE,
            "plugin-malformed",
            "`by_plugin`: the plugin returned accumulators: a column of UInt32 instead of Int64",
        ),
        (NO_SUCH_GROUP, "plugin-malformed", "`by_plugin`: the plugin returned groups that do not ascend below 1"),
        (
            LONG_NOTE,
            "plugin-too-much",
            "`by_plugin`: the plugin returned 125 bytes of accumulator for one key, over its limit of 64 bytes",
        ),
    ] {
        for shape in [Shape::Tumbling, Shape::Group] {
            let mut step = step(shape);
            let mut out = process(step.as_mut(), &rows(&[(1, 5, 0), (1, value, 1), (2, 7, 2), (1, 6, 3)])).unwrap();
            assert_eq!((codes(&out), &*out.rejects[0].reason), (vec![code], reason), "{shape:?}");
            if shape == Shape::Tumbling {
                out = end(step.as_mut());
            }
            let mut given = given(&out);
            given.sort_unstable();
            assert_eq!(given, [(1, Some(11), Some(11)), (2, Some(7), Some(7))], "{shape:?}, {code}");
        }
    }
}

#[test]
fn a_key_whose_rows_were_all_rejected_gives_no_row() {
    for shape in SHAPES {
        let mut step = step(shape);
        let out = process(step.as_mut(), &rows(&[(1, REFUSE, 0), (2, 7, 0), (1, REFUSE, 1), (1, TRAP, 2)])).unwrap();
        assert_eq!(codes(&out), ["told-to", "told-to", "plugin-trap"], "{shape:?}");
        let mut given = given(&out);
        given.extend(self::given(&end(step.as_mut())));
        // A row is in four windows that overlap; a global window of three rows is not full with one.
        let windows = match shape {
            Shape::Global => 0,
            Shape::Hopping => 4,
            _ => 1,
        };
        assert_eq!(given, vec![(2, Some(7), Some(7)); windows], "{shape:?}");
    }
}

#[test]
fn accumulators_that_cannot_be_merged_cost_the_keys_result_in_that_window_alone() {
    let mut step = step(Shape::Hopping);
    let value = TRAP_IN_MERGE;
    process(step.as_mut(), &rows(&[(1, value, 0), (1, 5, 10), (2, 1, 0), (2, 2, 10)])).unwrap();
    let out = end(step.as_mut());
    // Windows of 40 that start every 10: three hold both slices, and one on each side holds one.
    assert_eq!(codes(&out), ["plugin-trap"; 3]);
    let of_one: Vec<_> = given(&out).into_iter().filter(|(key, _, _)| *key == 1).collect();
    assert_eq!(of_one, [(1, Some(value), Some(value)), (1, Some(5), Some(5))]);
    assert_eq!(given(&out).len(), 2 + 5);
}

#[test]
fn sessions_that_cannot_be_merged_cost_the_later_one_and_say_so() {
    let mut step = step(Shape::Session);
    process(step.as_mut(), &rows(&[(1, 3, 0), (1, TRAP_IN_MERGE, 20)])).unwrap();
    let out = process(step.as_mut(), &rows(&[(1, 4, 10)])).unwrap();
    let reason = "`by_plugin`: this row joins sessions, of which the later one is lost: the plugin trapped: merging";
    assert_eq!((codes(&out), &*out.rejects[0].reason), (vec!["plugin-trap"], reason));
    assert_eq!(given(&end(step.as_mut())), [(1, Some(7), Some(7))]);
}

#[test]
fn a_key_that_gives_no_result_is_a_reject_and_the_others_give_theirs() {
    for shape in [Shape::Tumbling, Shape::Session, Shape::Group] {
        let mut step = step(shape);
        let mut out = process(step.as_mut(), &rows(&[(1, 3, 0), (2, TRAP_IN_FINISH, 0), (3, 4, 0)])).unwrap();
        if shape != Shape::Group {
            out = end(step.as_mut());
        }
        assert_eq!(
            (codes(&out), &*out.rejects[0].reason),
            (vec!["plugin-trap"], "`by_plugin`: the plugin trapped: finishing")
        );
        let mut given = given(&out);
        given.sort_unstable();
        assert_eq!(given, [(1, Some(3), Some(3)), (3, Some(4), Some(4))], "{shape:?}");
    }
}

#[test]
fn while_a_version_is_watched_its_fault_is_the_answer_to_rows_pairs_and_results() {
    let refused = |shape, values: &[(u32, i64, i64)]| {
        let mut step = begun(operator(shape, Showing::default()), true);
        let mut out = Outputs::default();
        let done = process(step.as_mut(), &rows(values)).and_then(|_| step.advance(END_OF_TIME, &mut out));
        matches!(done, Err(StepFault::Function(FunctionFault::Trap(_))))
    };
    assert!(refused(Shape::Tumbling, &[(1, TRAP, 0)]));
    assert!(refused(Shape::Hopping, &[(1, TRAP_IN_MERGE, 0), (1, 1, 10)]));
    assert!(refused(Shape::Group, &[(1, TRAP_IN_FINISH, 0)]));
    assert!(!refused(Shape::Tumbling, &[(1, 1, 0)]));
}

#[test]
fn a_function_that_fails_on_many_rows_of_an_epoch_stops_the_step_until_the_next() {
    let mut step = step(Shape::Tumbling);
    let many: Vec<(u32, i64, i64)> = (0..17).map(|key| (key, TRAP, 0)).collect();
    let fault = process(step.as_mut(), &rows(&many)).unwrap_err();
    assert_eq!(fault.to_string(), "the function trapped: thirteen; it failed on more than 16 rows of this epoch");
    step.begin_epoch(None, false).unwrap();
    assert_eq!(codes(&process(step.as_mut(), &rows(&many[..16])).unwrap()), ["plugin-trap"; 16]);
}

#[test]
fn what_stored_accumulators_depend_on_is_named_by_the_layout() {
    let layout = operator(Shape::Tumbling, Showing::default()).state_layout().to_owned();
    assert!(
        layout.contains("aggregates=[sum sum(Int64), by_plugin plugin 3(sum Int64!, count Int64!, note Utf8)]"),
        "{layout}"
    );
}
