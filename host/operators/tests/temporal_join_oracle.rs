//! The join with a table as of event time against a naive oracle: for each left row, the whole history of its key.
//!
//! As in `join_oracle`: random events with disorder, batches, orders of the sides, tasks, seals and restores.

mod oracle;

use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::Int64Type;
use arrow_array::{Array, Int64Array, RecordBatch};
use arrow_schema::{DataType, Field, Schema, SchemaRef};
use oracle::{Deltas, Random, seeds};
use weir_operators::join::{LEFT, RIGHT, TemporalJoin};
use weir_operators::{JoinKind, KeyEncoder, KeyedOperator, Outputs, split};
use weir_state::Spill;
use weir_state::sim::SimDisk;
use weir_stream::key::task_key_groups;
use weir_stream::time::{BoundedDisorder, CombinedWatermark, END_OF_TIME, InputTime, NO_WATERMARK};
use weir_stream::{Batch, ChangeKind, Changes, Origin};

const CASES: u64 = 10_000;
const KEY_GROUPS: u16 = 16;
/// So that left rows span several buckets.
const STEP_US: i64 = 200_000;

#[derive(Debug, Clone)]
struct Event {
    id: i64,
    time_us: i64,
    key: Option<i64>,
    change: ChangeKind,
    watermark_us: i64,
}

type Streams = [Vec<Vec<Event>>; 2];

fn events(random: &mut Random, side: usize, partition: u64) -> Vec<Event> {
    let mut clock = BoundedDisorder::new(random.below(40) as i64 * STEP_US, NO_WATERMARK);
    let pace = 1 + random.below(6) as i64;
    (0..random.below(60) as i64)
        .map(|number| {
            let time_us = (number * pace + random.below(50) as i64) * STEP_US;
            // The versions of a key come from one partition, so that their order is a fact.
            let key = if side == RIGHT { random.below(3) * 2 + partition } else { random.below(7) };
            let change = match (side, random.below(8)) {
                (RIGHT, 0) => ChangeKind::Delete,
                (RIGHT, 1) => ChangeKind::UpdateBefore,
                (RIGHT, 2..5) => ChangeKind::UpdateAfter,
                _ => ChangeKind::Insert,
            };
            Event {
                id: (side as i64 * 1000) + (partition * 100) as i64 + number,
                time_us,
                key: (!random.one_in(12)).then_some(key as i64),
                change,
                watermark_us: clock.observe(time_us),
            }
        })
        .collect()
}

fn schema() -> SchemaRef {
    Arc::new(Schema::new(vec![Field::new("id", DataType::Int64, false), Field::new("key", DataType::Int64, true)]))
}

fn batch(events: &[Event]) -> Batch {
    let ids = events.iter().map(|event| Some(event.id)).collect::<Int64Array>();
    let keys = events.iter().map(|event| event.key).collect::<Int64Array>();
    Batch {
        columns: RecordBatch::try_new(schema(), vec![Arc::new(ids), Arc::new(keys)]).unwrap(),
        event_times_us: events.iter().map(|event| event.time_us).collect(),
        watermarks_us: events.iter().map(|event| event.watermark_us).collect(),
        origin: Origin::Step("source".into()),
        changes: Changes::PerRow(events.iter().map(|event| event.change as u8).collect()),
    }
}

#[derive(Debug, Default, PartialEq)]
struct Outcome {
    /// Left id, right id, event time.
    rows: Vec<(i64, Option<i64>, i64)>,
    late: [Vec<i64>; 2],
}

impl Outcome {
    fn sorted(mut self) -> Self {
        self.rows.sort_unstable();
        self.late.iter_mut().for_each(|late| late.sort_unstable());
        self
    }
}

fn oracle(streams: &Streams, kind: JoinKind) -> Outcome {
    let mut outcome = Outcome::default();
    // Key, first time at which it is seen, event time, the row or its absence; in the order in which they came.
    let mut versions: Vec<(i64, i64, i64, Option<i64>)> = Vec::new();
    for event in streams[RIGHT].iter().flatten().filter(|event| event.change != ChangeKind::UpdateBefore) {
        let Some(key) = event.key else { continue };
        let from_us = event.time_us.max(event.watermark_us);
        if versions.iter().any(|(of, from, time, _)| *of == key && *from <= from_us && *time > event.time_us) {
            outcome.late[RIGHT].push(event.id);
        } else {
            let row = (event.change != ChangeKind::Delete).then_some(event.id);
            versions.push((key, from_us, event.time_us, row));
        }
    }
    for event in streams[LEFT].iter().flatten() {
        if event.time_us < event.watermark_us {
            outcome.late[LEFT].push(event.id);
            continue;
        }
        let seen = versions.iter().filter(|(key, from_us, _, _)| Some(*key) == event.key && *from_us <= event.time_us);
        let version = seen.max_by_key(|(_, _, time_us, _)| *time_us).and_then(|(_, _, _, row)| *row);
        if version.is_some() || kind == JoinKind::Left {
            outcome.rows.push((event.id, version, event.time_us));
        }
    }
    outcome
}

struct Engine {
    keys: KeyEncoder,
    kind: JoinKind,
    tasks: Vec<TemporalJoin>,
    watermark: CombinedWatermark,
    reached_us: i64,
    deltas: Deltas,
    outcome: Outcome,
    spill: Spill,
}

impl Engine {
    fn join(kind: JoinKind, groups: std::ops::Range<u16>) -> TemporalJoin {
        TemporalJoin::new(&"join".into(), kind, "r_", [&schema(), &schema()], groups).unwrap()
    }

    fn new(kind: JoinKind, tasks: usize, partitions: usize) -> Self {
        let keys = KeyEncoder::new(&[("0".into(), "key".into())], &schema(), KEY_GROUPS).unwrap();
        let watermark = CombinedWatermark::new(partitions);
        let (deltas, outcome) = (Deltas::default(), Outcome::default());
        let spill = Spill::new(Arc::new(SimDisk::new()), "/state".into());
        let reached_us = NO_WATERMARK;
        let mut engine = Self { keys, kind, tasks: Vec::new(), watermark, reached_us, deltas, outcome, spill };
        engine.start(tasks);
        engine
    }

    fn start(&mut self, tasks: usize) {
        self.tasks = (0..tasks)
            .map(|task| {
                let groups = task_key_groups(task, tasks, KEY_GROUPS);
                let mut made = Self::join(self.kind, groups.clone());
                self.deltas.restore(&mut made, groups, Some(&self.spill));
                made.restore_watermark(self.reached_us);
                made
            })
            .collect();
    }

    fn process(&mut self, side: usize, batch: Batch) {
        let mut out = Outputs::default();
        let keyed = self.keys.encode(batch, &mut out).unwrap();
        let parts = split(keyed, KEY_GROUPS, self.tasks.len()).unwrap();
        for (task, part) in self.tasks.iter_mut().zip(parts) {
            if let Some(part) = part {
                task.process(side, &part, &mut out).unwrap();
            }
        }
        for (port, late) in &out.late {
            self.outcome.late[*port].extend(late.columns.column(0).as_primitive::<Int64Type>().values());
        }
        assert!(out.rejects.is_empty());
        self.collect(out);
    }

    fn collect(&mut self, out: Outputs) {
        for (_, batch) in out.batches {
            let [left, right] = ["id", "r_id"].map(|name| batch.columns.column_by_name(name).unwrap());
            let [left, right] = [left, right].map(|ids| ids.as_primitive::<Int64Type>());
            for (row, time_us) in batch.event_times_us.iter().enumerate() {
                assert!(*time_us >= self.reached_us, "a row of {time_us} behind the watermark {}", self.reached_us);
                let right = right.is_valid(row).then(|| right.value(row));
                self.outcome.rows.push((left.value(row), right, *time_us));
            }
        }
    }

    fn advance(&mut self) {
        let mut out = Outputs::default();
        let watermark_us = self.watermark.watermark_us();
        self.tasks.iter_mut().for_each(|task| task.advance(watermark_us, &mut out).unwrap());
        self.collect(out);
        self.reached_us = watermark_us;
    }

    fn write_away(&mut self, bytes: usize) {
        for task in &mut self.tasks {
            task.evict(bytes, &self.spill).unwrap();
            assert!(bytes < usize::MAX || task.keys() == 0 || task.cold_bytes() > 0, "nothing left memory");
        }
    }

    fn seal(&mut self, snapshot: bool) {
        self.tasks.iter_mut().for_each(|task| task.seal(&mut self.deltas));
        if snapshot {
            self.deltas.snapshot(&self.tasks, KEY_GROUPS);
        }
    }
}

fn run(random: &mut Random, streams: &Streams, kind: JoinKind) -> Outcome {
    let places: Vec<(usize, usize)> =
        (0..2).flat_map(|side| (0..streams[side].len()).map(move |partition| (side, partition))).collect();
    let mut engine = Engine::new(kind, random.tasks(), places.len());
    let mut next = vec![0; places.len()];
    loop {
        let events_of = |place: usize| &streams[places[place].0][places[place].1];
        let open: Vec<usize> = (0..places.len()).filter(|place| next[*place] < events_of(*place).len()).collect();
        if open.is_empty() {
            break;
        }
        let place = random.of(&open);
        let events = events_of(place);
        let rows = (1 + random.below(20) as usize).min(events.len() - next[place]);
        engine.process(places[place].0, batch(&events[next[place]..next[place] + rows]));
        next[place] += rows;
        let watermark_us = events.get(next[place]).map_or(END_OF_TIME, |event| event.watermark_us);
        engine.watermark.update(place, InputTime { watermark_us, idle: false });
        if random.one_in(2) {
            engine.advance();
        }
        if random.one_in(4) {
            engine.seal(random.one_in(3));
            if random.one_in(2) {
                engine.write_away(if random.one_in(2) { 1 } else { usize::MAX });
            }
            if random.one_in(2) {
                engine.start(random.tasks());
            }
        }
    }
    for place in 0..places.len() {
        engine.watermark.update(place, InputTime { watermark_us: END_OF_TIME, idle: false });
    }
    engine.advance();
    engine.outcome
}

#[test]
fn each_left_row_meets_the_version_of_its_time_however_the_sides_are_cut_and_state_is_restored() {
    let (mut met, mut alone, mut late) = (0, 0, [0, 0]);
    for seed in seeds(CASES) {
        let mut random = Random::new(seed);
        let kind = random.of(&[JoinKind::Inner, JoinKind::Left]);
        let partitions = 1 + seed % 2;
        let streams: Streams =
            [LEFT, RIGHT].map(|side| (0..partitions).map(|partition| events(&mut random, side, partition)).collect());
        let expected = oracle(&streams, kind).sorted();
        let outcome = run(&mut random, &streams, kind).sorted();
        assert_eq!(outcome, expected, "WEIR_TEST_SEED={seed}");
        met += outcome.rows.iter().filter(|row| row.1.is_some()).count();
        alone += outcome.rows.iter().filter(|row| row.1.is_none()).count();
        [LEFT, RIGHT].iter().for_each(|side| late[*side] += outcome.late[*side].len());
    }
    println!("{met} met, {alone} alone, {late:?} late");
    assert!(met > 0 && alone > 0 && late[LEFT] > 0 && late[RIGHT] > 0);
}

/// One key's versions, one each second, with time going on behind them.
#[test]
fn of_a_key_that_changes_for_ever_only_what_may_be_seen_is_held() {
    let mut join = Engine::join(JoinKind::Inner, 0..KEY_GROUPS);
    let keys = KeyEncoder::new(&[("0".into(), "key".into())], &schema(), KEY_GROUPS).unwrap();
    let mut out = Outputs::default();
    let mut put = |join: &mut TemporalJoin, second: i64, change: ChangeKind| {
        let time_us = second * 1_000_000;
        let event = Event { id: second, time_us, key: Some(7), change, watermark_us: NO_WATERMARK };
        let rows = keys.encode(batch(&[event]), &mut out).unwrap();
        join.process(RIGHT, &rows, &mut out).unwrap();
        join.advance(time_us - 2_500_000, &mut out).unwrap();
    };
    let held = |join: &TemporalJoin| {
        let mut bytes = 0;
        (0..KEY_GROUPS).for_each(|group| join.for_each(group, &mut |_, value| bytes += value.len()).unwrap());
        bytes
    };
    (0..4).for_each(|second| put(&mut join, second, ChangeKind::UpdateAfter));
    let few = held(&join);
    (4..500).for_each(|second| put(&mut join, second, ChangeKind::UpdateAfter));
    assert_eq!(held(&join), few);
    put(&mut join, 500, ChangeKind::Delete);
    put(&mut join, 500 + 3_600, ChangeKind::UpdateBefore);
    assert_eq!(join.keys(), 1, "a deletion is remembered for an hour");
    put(&mut join, 503 + 3_600, ChangeKind::UpdateBefore);
    assert_eq!((join.keys(), held(&join)), (0, 0));
}

#[test]
fn after_a_restore_only_what_changes_is_written_again() {
    let keys = KeyEncoder::new(&[("0".into(), "key".into())], &schema(), KEY_GROUPS).unwrap();
    let mut join = Engine::join(JoinKind::Inner, 0..KEY_GROUPS);
    let (mut out, mut deltas) = (Outputs::default(), Deltas::default());
    for second in 0..3 {
        let time_us = second * 1_000_000;
        let event = Event { id: second, time_us, key: Some(7), change: ChangeKind::Insert, watermark_us: NO_WATERMARK };
        join.process(RIGHT, &keys.encode(batch(&[event]), &mut out).unwrap(), &mut out).unwrap();
        join.seal(&mut deltas);
    }
    join.advance(END_OF_TIME, &mut out).unwrap();
    join.seal(&mut deltas);
    let mut restored = Engine::join(JoinKind::Inner, 0..KEY_GROUPS);
    for (group, key, value) in &deltas.0 {
        restored.restore_put(*group, key, value.as_ref().unwrap()).unwrap();
    }
    restored.advance(END_OF_TIME, &mut out).unwrap();
    let mut after = Deltas::default();
    restored.seal(&mut after);
    assert!(after.0.is_empty());
}
