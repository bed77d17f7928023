//! Sessions against a naive oracle: sort all rows of a key, cut where a gap passed, recompute.
//!
//! Every case draws rows of several partitions with disorder, splits them into batches, spreads the keys over tasks, lets
//! time go on at random moments, and at random moments seals the state and starts again from the deltas alone, with
//! another number of tasks. The final tables, late rows and rejects must equal the oracle's, with fixed gaps and gaps by
//! row, with and without lateness, whatever is shown in between.

mod oracle;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use arrow_array::cast::AsArray;
use arrow_array::types::{Int64Type, TimestampMicrosecondType};
use arrow_array::{ArrayRef, Int64Array, RecordBatch};
use arrow_schema::{DataType, Field, Schema, SchemaRef};
use oracle::{Deltas, Random, seeds};
use weir_operators::{
    AggregateKind, AggregateSpec, Emit, KeyEncoder, KeyedOperator, Outputs, RowOrigin, SessionAggregate, SessionGap,
    Showing, WindowSpec, WindowTime, split,
};
use weir_state::Spill;
use weir_state::sim::SimDisk;
use weir_stream::key::task_key_groups;
use weir_stream::time::{BoundedDisorder, CombinedWatermark, END_OF_TIME, InputTime, NO_WATERMARK};
use weir_stream::{Batch, ChangeKind, Changes, Origin, SourceRecords};

const CASES: u64 = 10_000;
const KEY_GROUPS: u16 = 8;

/// Bytes that were out of memory, in all cases together.
static LEFT_MEMORY: AtomicU64 = AtomicU64::new(0);

#[derive(Debug, Clone, Copy)]
struct Event {
    time_us: i64,
    key: i64,
    value: i64,
    gap_ms: Option<i64>,
    /// Set by the partition: the watermark just before the event.
    watermark_us: i64,
}

#[derive(Debug, Clone, Copy)]
struct Shape {
    /// None: by row.
    gap_us: Option<i64>,
    showing: Showing,
}

impl Shape {
    fn draw(random: &mut Random) -> Self {
        let gap_us = [None, Some(1), Some(20_000), Some(90_000)][random.below(4) as usize];
        let lateness_us = [0, 0, 1, 30_000, 300_000][random.below(5) as usize];
        let emit = [Emit::OnClose, Emit::OnClose, Emit::OnUpdate, Emit::Both][random.below(4) as usize];
        let throttle_us = [0, 0, 30][random.below(3) as usize];
        Self { gap_us, showing: Showing { emit, lateness_us, throttle_us } }
    }

    fn gap(&self) -> SessionGap {
        self.gap_us.map_or_else(|| SessionGap::by("gap", &schema()).unwrap(), |gap_us| SessionGap::Fixed { gap_us })
    }
}

fn events(random: &mut Random, origin_us: i64) -> Vec<Event> {
    let count = random.below(60);
    let keys = 1 + random.below(6);
    let mut clock = BoundedDisorder::new(random.below(120) as i64 * 1000, NO_WATERMARK);
    (0..count as i64)
        .map(|number| {
            let time_us = origin_us + (number * 7 + random.below(200) as i64) * 1000;
            Event {
                time_us,
                key: random.below(keys) as i64,
                value: random.below(1000) as i64 - 500,
                gap_ms: [Some(0), None, Some(1), Some(10), Some(50), Some(200)][random.below(6) as usize],
                watermark_us: clock.observe(time_us),
            }
        })
        .collect()
}

fn schema() -> SchemaRef {
    let field = |name: &str| Field::new(name, DataType::Int64, true);
    Arc::new(Schema::new(vec![field("k"), field("v"), field("gap")]))
}

fn batch(partition: u32, first_offset: usize, events: &[Event]) -> Batch {
    let columns: [ArrayRef; 3] = [
        Arc::new(events.iter().map(|event| Some(event.key)).collect::<Int64Array>()),
        Arc::new(events.iter().map(|event| Some(event.value)).collect::<Int64Array>()),
        Arc::new(events.iter().map(|event| event.gap_ms).collect::<Int64Array>()),
    ];
    let offsets = (0..events.len()).map(|row| (first_offset + row) as i64).collect();
    let records = SourceRecords { partition, offsets, ..SourceRecords::default() };
    Batch {
        columns: RecordBatch::try_new(schema(), columns.to_vec()).unwrap(),
        event_times_us: events.iter().map(|event| event.time_us).collect(),
        watermarks_us: events.iter().map(|event| event.watermark_us).collect(),
        origin: Origin::Records { records: Arc::new(records), rows: (0..events.len() as u32).collect() },
        changes: Changes::Inserts,
    }
}

/// Rows, sum and largest value by start, end and key.
type Table = BTreeMap<(i64, i64), (i64, i64, i64, i64)>;
/// Partition and offset.
type Places = Vec<(u32, i64)>;

#[derive(Debug, Default, PartialEq)]
struct Outcome {
    /// By key and start: end, rows, sum, largest.
    sessions: Table,
    late: Places,
    rejected: Places,
}

fn oracle(partitions: &[Vec<Event>], shape: &Shape) -> Outcome {
    let mut outcome = Outcome::default();
    let mut by_key: BTreeMap<i64, Vec<(i64, i64, i64)>> = BTreeMap::new();
    for (partition, events) in (0u32..).zip(partitions) {
        for (offset, event) in (0i64..).zip(events) {
            let gap_us = shape.gap_us.or(event.gap_ms.map(|gap| gap * 1000)).filter(|gap| *gap > 0);
            if event.time_us + shape.showing.lateness_us < event.watermark_us {
                outcome.late.push((partition, offset));
            } else if let Some(gap_us) = gap_us {
                let row = (event.time_us, event.time_us + gap_us, event.value);
                by_key.entry(event.key).or_default().push(row);
            } else {
                outcome.rejected.push((partition, offset));
            }
        }
    }
    for (key, mut rows) in by_key {
        rows.sort_unstable();
        let mut open: Option<(i64, (i64, i64, i64, i64))> = None;
        for (start, end, value) in rows {
            open = match open {
                Some((first, (last, rows, sum, most))) if start < last => {
                    Some((first, (last.max(end), rows + 1, sum + value, most.max(value))))
                }
                closed => {
                    outcome.sessions.extend(closed.map(|(first, session)| ((key, first), session)));
                    Some((start, (end, 1, value, value)))
                }
            };
        }
        outcome.sessions.extend(open.map(|(first, session)| ((key, first), session)));
    }
    outcome
}

/// The tasks of the keyed stage, and everything that outlives them.
struct Engine {
    key: KeyEncoder,
    shape: Shape,
    tasks: Vec<SessionAggregate>,
    watermark: CombinedWatermark,
    reached_us: i64,
    now_us: i64,
    deltas: Deltas,
    outcome: Outcome,
    spill: Spill,
}

impl Engine {
    fn new(shape: Shape, tasks: usize, partitions: usize) -> Self {
        let mut engine = Self {
            key: KeyEncoder::new(&[("k".into(), "k".into())], &schema(), KEY_GROUPS).unwrap(),
            shape,
            tasks: Vec::new(),
            watermark: CombinedWatermark::new(partitions),
            reached_us: NO_WATERMARK,
            now_us: 0,
            deltas: Deltas::default(),
            outcome: Outcome::default(),
            spill: Spill::new(Arc::new(SimDisk::new()), "/state".into()),
        };
        engine.start(tasks);
        engine
    }

    fn spec(&self) -> WindowSpec {
        let aggregate = |(name, kind, argument): (&str, AggregateKind, &str)| {
            AggregateSpec::new(name, kind, (!argument.is_empty()).then_some(argument))
        };
        let aggregates =
            [("rows", AggregateKind::Count, ""), ("sum", AggregateKind::Sum, "v"), ("most", AggregateKind::Max, "v")];
        WindowSpec {
            step: "visits".into(),
            time: WindowTime::Event,
            showing: self.shape.showing,
            key: self.key.fields().to_vec(),
            aggregates: aggregates.into_iter().map(aggregate).collect(),
        }
    }

    /// New tasks from the deltas alone.
    fn start(&mut self, tasks: usize) {
        let make = |task: usize| {
            let groups = task_key_groups(task, tasks, KEY_GROUPS);
            let mut made = SessionAggregate::new(&self.spec(), &self.shape.gap(), &schema(), groups.clone()).unwrap();
            self.deltas.restore(&mut made, groups, Some(&self.spill));
            made.restore_watermark(self.reached_us);
            made
        };
        self.tasks = (0..tasks).map(make).collect();
    }

    /// Keeps the table that a sink would hold.
    fn collect(&mut self, out: Outputs) {
        for (_, batch) in &out.batches {
            let int = |name: &str, row: usize| {
                batch.columns.column_by_name(name).unwrap().as_primitive::<Int64Type>().value(row)
            };
            let time = |name: &str, row: usize| {
                batch.columns.column_by_name(name).unwrap().as_primitive::<TimestampMicrosecondType>().value(row)
            };
            for row in 0..batch.rows() {
                let key = (int("k", row), time("window_start", row));
                let session = (time("window_end", row), int("rows", row), int("sum", row), int("most", row));
                assert_eq!(batch.event_times_us[row], session.0 - 1);
                let before = match batch.changes.kind(row) {
                    ChangeKind::Delete => {
                        let removed = self.outcome.sessions.remove(&key);
                        assert!(removed.is_some(), "{key:?} leaves without having been shown");
                        None
                    }
                    ChangeKind::Insert => self.outcome.sessions.insert(key, session),
                    _ => self.outcome.sessions.insert(key, session).and(None),
                };
                assert_eq!(before, None, "{key:?} was given out twice");
            }
        }
        for (_, late) in &out.late {
            let Origin::Records { records, rows } = &late.origin else { panic!("a late row lost its record") };
            self.outcome.late.extend(rows.iter().map(|row| (records.partition, records.offsets[*row as usize])));
        }
        for reject in &out.rejects {
            let RowOrigin::Record { records, record } = &reject.origin else { panic!("a reject lost its record") };
            self.outcome.rejected.push((records.partition, records.offsets[*record as usize]));
        }
    }

    fn process(&mut self, batch: Batch) {
        let mut out = Outputs::default();
        let keyed = self.key.encode(batch, &mut out).unwrap();
        let parts = split(keyed, KEY_GROUPS, self.tasks.len()).unwrap();
        for (task, part) in self.tasks.iter_mut().zip(parts) {
            if let Some(part) = part {
                task.process(0, &part, &mut out).unwrap();
            }
        }
        self.collect(out);
    }

    fn each(&mut self, mut act: impl FnMut(&mut SessionAggregate, &mut Outputs)) {
        let mut out = Outputs::default();
        self.tasks.iter_mut().for_each(|task| act(task, &mut out));
        self.collect(out);
    }

    /// What is to be shown stays, so it may be that nothing leaves.
    fn write_away(&mut self, bytes: usize) {
        for task in &mut self.tasks {
            task.evict(bytes, &self.spill).unwrap();
            LEFT_MEMORY.fetch_add(task.cold_bytes(), Relaxed);
        }
    }

    fn advance(&mut self) {
        self.reached_us = self.watermark.watermark_us();
        let reached_us = self.reached_us;
        self.each(|task, out| task.advance(reached_us, out).unwrap());
    }
}

fn run(random: &mut Random, partitions: &[Vec<Event>], shape: Shape) -> Outcome {
    let mut engine = Engine::new(shape, random.tasks(), partitions.len());
    let mut next = vec![0; partitions.len()];
    while let Some(open) = random.partition(partitions, &next) {
        let rows = (1 + random.below(25) as usize).min(partitions[open].len() - next[open]);
        engine.process(batch(open as u32, next[open], &partitions[open][next[open]..next[open] + rows]));
        next[open] += rows;
        let watermark_us = partitions[open].get(next[open]).map_or(END_OF_TIME, |event| event.watermark_us);
        engine.watermark.update(open, InputTime { watermark_us, idle: false });
        if random.one_in(2) {
            engine.advance();
        }
        if random.one_in(3) {
            engine.now_us += random.below(40) as i64;
            let now_us = engine.now_us;
            engine.each(|task, out| task.tick(now_us, out).unwrap());
        }
        if random.one_in(4) {
            engine.tasks.iter_mut().for_each(|task| task.seal(&mut engine.deltas));
            if random.one_in(2) {
                let bytes = if random.one_in(2) { 1 } else { usize::MAX };
                engine.write_away(bytes);
            }
            if random.one_in(2) {
                engine.start(random.tasks());
            }
        }
    }
    assert!(engine.tasks.iter().all(|task| task.late_rows().window_fired == 0));
    (0..partitions.len()).for_each(|partition| {
        engine.watermark.update(partition, InputTime { watermark_us: END_OF_TIME, idle: false });
    });
    engine.advance();
    let kept = shape.showing.lateness_us > 0;
    assert!(kept || engine.tasks.iter().all(|task| task.keys() == 0), "closed sessions are held");
    engine.outcome.late.sort_unstable();
    engine.outcome.rejected.sort_unstable();
    engine.outcome
}

#[test]
fn sessions_late_rows_and_rejects_equal_the_oracle_however_rows_are_cut_and_state_is_restored() {
    let (mut sessions, mut late, mut rejected) = (0, 0, 0);
    for seed in seeds(CASES) {
        let mut random = Random::new(seed);
        let origin_us = [-500_000, 1_772_359_200_000_000][random.below(2) as usize];
        let shape = Shape::draw(&mut random);
        let partitions: Vec<Vec<Event>> = (0..1 + random.below(3)).map(|_| events(&mut random, origin_us)).collect();
        let mut expected = oracle(&partitions, &shape);
        expected.late.sort_unstable();
        expected.rejected.sort_unstable();
        let told = format!("WEIR_TEST_SEED={}, {shape:?}", seed);
        println!("{told}");
        let outcome = run(&mut random, &partitions, shape);
        assert_eq!((&outcome.late, &outcome.rejected), (&expected.late, &expected.rejected), "{told}");
        let keys = outcome.sessions.keys().chain(expected.sessions.keys());
        let different = keys.into_iter().find(|key| outcome.sessions.get(key) != expected.sessions.get(key));
        if let Some(key) = different {
            let (ours, theirs) = (outcome.sessions.get(key), expected.sessions.get(key));
            panic!("{told}\n{key:?}\n     ours {ours:?}\nexpected {theirs:?}");
        }
        sessions += outcome.sessions.len();
        late += outcome.late.len();
        rejected += outcome.rejected.len();
    }
    assert!(sessions > 0 && late > 0 && rejected > 0, "{sessions} results, {late} late, {rejected} rejected");
    assert!(LEFT_MEMORY.load(Relaxed) > 0);
}
