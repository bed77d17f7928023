//! Tumbling and hopping aggregates against a naive oracle: sort nothing, keep everything, recompute.
//!
//! Every case draws events of several partitions with disorder, splits them into batches, spreads the keys over
//! tasks, lets time go on at random moments, and at random moments seals the state and starts again from the
//! deltas alone, with another number of tasks. Final tables, late rows and rejects must equal the oracle's, with and
//! without lateness, whatever is shown in between.

mod oracle;

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::{Decimal128Type, Float64Type, Int64Type, TimestampMicrosecondType};
use arrow_array::{Array, ArrayRef, Decimal128Array, Float64Array, Int32Array, Int64Array, RecordBatch, StringArray};
use arrow_schema::{DataType, Field, Schema, SchemaRef};
use oracle::{Deltas, Random, seeds};
use weir_operators::{
    AggregateKind, AggregateSpec, Emit, KeyEncoder, KeyedOperator, Outputs, RowOrigin, Showing, WindowAggregate,
    WindowGrid, WindowSpec, WindowTime, split,
};
use weir_stream::key::task_key_groups;
use weir_stream::time::{BoundedDisorder, CombinedWatermark, END_OF_TIME, InputTime, NO_WATERMARK};
use weir_stream::{Batch, ChangeKind, Changes, Origin, SourceRecords};

const CASES: u64 = 10_000;
const KEY_GROUPS: u16 = 16;

fn maybe<T>(random: &mut Random, value: impl FnOnce(&mut Random) -> T) -> Option<T> {
    if random.one_in(6) { None } else { Some(value(random)) }
}

#[derive(Debug, Clone)]
struct Event {
    time_us: i64,
    category: Option<&'static str>,
    shop: Option<i64>,
    quantity: Option<i32>,
    amount: Option<i128>,
    ratio: Option<f64>,
    /// Set by the partition: the watermark just before the event.
    watermark_us: i64,
}

fn events(random: &mut Random, origin_us: i64) -> Vec<Event> {
    let count = random.below(120);
    let mut clock = BoundedDisorder::new(random.below(150) as i64, NO_WATERMARK);
    (0..count as i64)
        .map(|number| {
            let time_us = origin_us + number * 7 + random.below(300) as i64;
            Event {
                time_us,
                category: maybe(random, |random| ["books", "toys", "", "food"][random.below(4) as usize]),
                shop: maybe(random, |random| random.below(3) as i64 - 1),
                quantity: maybe(random, |random| random.below(5) as i32 - 1),
                amount: maybe(random, |random| random.below(100_000) as i128 - 50_000),
                ratio: maybe(random, |random| match random.below(12) {
                    0 => f64::NAN,
                    1 => -0.0,
                    other => other as f64 / 4.0 - 1.0,
                }),
                watermark_us: clock.observe(time_us),
            }
        })
        .collect()
}

fn schema() -> SchemaRef {
    Arc::new(Schema::new(vec![
        Field::new("category", DataType::Utf8, true),
        Field::new("shop", DataType::Int64, true),
        Field::new("quantity", DataType::Int32, true),
        Field::new("amount", DataType::Decimal128(12, 2), true),
        Field::new("ratio", DataType::Float64, true),
    ]))
}

fn batch(partition: u32, first_offset: usize, events: &[Event]) -> Batch {
    let columns: Vec<ArrayRef> = vec![
        Arc::new(events.iter().map(|event| event.category).collect::<StringArray>()),
        Arc::new(events.iter().map(|event| event.shop).collect::<Int64Array>()),
        Arc::new(events.iter().map(|event| event.quantity).collect::<Int32Array>()),
        Arc::new(
            events
                .iter()
                .map(|event| event.amount)
                .collect::<Decimal128Array>()
                .with_precision_and_scale(12, 2)
                .unwrap(),
        ),
        Arc::new(events.iter().map(|event| event.ratio).collect::<Float64Array>()),
    ];
    let offsets = (0..events.len()).map(|row| (first_offset + row) as i64).collect();
    let records = SourceRecords { partition, offsets, ..SourceRecords::default() };
    Batch {
        columns: RecordBatch::try_new(schema(), columns).unwrap(),
        event_times_us: events.iter().map(|event| event.time_us).collect(),
        watermarks_us: events.iter().map(|event| event.watermark_us).collect(),
        origin: Origin::Records { records: Arc::new(records), rows: (0..events.len() as u32).collect() },
        changes: Changes::Inserts,
    }
}

/// What is drawn of a step.
#[derive(Debug, Clone, Copy)]
struct Shape {
    size_us: i64,
    every_us: i64,
    offset_us: i64,
    showing: Showing,
}

impl Shape {
    fn draw(random: &mut Random) -> Self {
        let size_us = [1, 60, 100, 1000][random.below(4) as usize];
        let every_us = match random.below(4) {
            0 | 1 => size_us,
            2 => [1, 10, 25, 200][[1, 60, 100, 1000].iter().position(|size| *size == size_us).unwrap()],
            _ => 1.max(size_us * (1 + random.below(9) as i64) / 10),
        };
        let offset_us = (random.below(every_us as u64 * 2 - 1) as i64) - (every_us - 1);
        let lateness_us = [0, 0, 1, 50, 400][random.below(5) as usize];
        let emit = [Emit::OnClose, Emit::OnClose, Emit::OnUpdate, Emit::Both][random.below(4) as usize];
        let throttle_us = [0, 0, 30][random.below(3) as usize];
        Self { size_us, every_us, offset_us, showing: Showing { emit, lateness_us, throttle_us } }
    }

    fn grid(&self) -> WindowGrid {
        WindowGrid::hopping(self.size_us, self.every_us, self.offset_us).unwrap()
    }

    /// Starts of the windows that hold a time, found without the code under test.
    fn windows(&self, time_us: i64) -> impl Iterator<Item = i64> {
        let newest = (time_us - self.offset_us).div_euclid(self.every_us) * self.every_us + self.offset_us;
        let (size_us, every_us) = (self.size_us, self.every_us);
        (0..).map(move |back| newest - back * every_us).take_while(move |start| start + size_us > time_us)
    }
}

fn spec(showing: Showing, key: &KeyEncoder) -> WindowSpec {
    let aggregate = |(name, kind, argument): (&str, AggregateKind, &str)| {
        AggregateSpec::new(name, kind, (!argument.is_empty()).then_some(argument))
    };
    let filtered = |(name, kind, argument, filter): (&str, AggregateKind, &str, &str)| AggregateSpec {
        filter: Some(filter.to_owned()),
        ..aggregate((name, kind, argument))
    };
    let aggregates = [
        ("rows", AggregateKind::Count, ""),
        ("priced", AggregateKind::Count, "amount"),
        ("items", AggregateKind::Sum, "quantity"),
        ("shares", AggregateKind::Sum, "12 / quantity"),
        ("revenue", AggregateKind::Sum, "amount"),
        ("average", AggregateKind::Avg, "amount"),
        ("mean_items", AggregateKind::Avg, "quantity"),
        ("ratios", AggregateKind::Sum, "ratio"),
        ("least", AggregateKind::Min, "ratio"),
        ("most", AggregateKind::Max, "ratio"),
        ("cheapest", AggregateKind::Min, "amount"),
        ("last_name", AggregateKind::Max, "category"),
    ];
    // The last one's argument fails on what its condition leaves out.
    let some = [
        ("paid", AggregateKind::Count, "", "amount > 0"),
        ("paid_items", AggregateKind::Sum, "quantity", "amount > 0"),
        ("halves", AggregateKind::Sum, "12 / (quantity - 1)", "quantity > 1"),
    ];
    WindowSpec {
        step: "sales".into(),
        time: WindowTime::Event,
        showing,
        key: key.fields().to_vec(),
        aggregates: aggregates.into_iter().map(aggregate).chain(some.into_iter().map(filtered)).collect(),
    }
}

/// One result, as both sides tell it.
#[derive(Debug, Clone, PartialEq)]
struct Row {
    rows: i64,
    priced: i64,
    items: Option<i64>,
    shares: Option<i64>,
    revenue: Option<i128>,
    average: Option<i128>,
    mean_items: Option<f64>,
    ratios: Option<u64>,
    least: Option<u64>,
    most: Option<u64>,
    cheapest: Option<i128>,
    last_name: Option<String>,
    paid: i64,
    paid_items: Option<i64>,
    halves: Option<i64>,
}

type Windows = BTreeMap<(i64, Option<String>, Option<i64>), Row>;
/// Partition and offset.
type Places = Vec<(u32, i64)>;

#[derive(Debug, Default, PartialEq)]
struct Outcome {
    windows: Windows,
    late: Places,
    rejected: Places,
}

fn oracle(partitions: &[Vec<Event>], shape: &Shape) -> Outcome {
    let mut outcome = Outcome::default();
    let mut groups: BTreeMap<(i64, Option<String>, Option<i64>), Vec<&Event>> = BTreeMap::new();
    for (partition, events) in (0u32..).zip(partitions) {
        for (offset, event) in (0i64..).zip(events) {
            let kept_until = |start: i64| start + shape.size_us + shape.showing.lateness_us;
            let windows: Vec<i64> =
                shape.windows(event.time_us).filter(|start| kept_until(*start) > event.watermark_us).collect();
            if windows.is_empty() {
                outcome.late.push((partition, offset));
            } else if event.quantity == Some(0) {
                outcome.rejected.push((partition, offset));
            } else {
                for start in windows {
                    groups.entry((start, event.category.map(str::to_owned), event.shop)).or_default().push(event);
                }
            }
        }
    }
    outcome.windows = groups.into_iter().map(|(key, events)| (key, recompute(&events))).collect();
    outcome
}

fn recompute(events: &[&Event]) -> Row {
    let quantities: Vec<i64> = events.iter().filter_map(|event| event.quantity).map(i64::from).collect();
    let amounts: Vec<i128> = events.iter().filter_map(|event| event.amount).collect();
    let mut ratios: Vec<f64> = events.iter().filter_map(|event| event.ratio).map(|ratio| ratio + 0.0).collect();
    ratios.sort_by(f64::total_cmp);
    let bits = |value: f64| if value.is_nan() { f64::NAN.to_bits() } else { value.to_bits() };
    let some = |any: bool| any.then_some(());
    let paid: Vec<&&Event> = events.iter().filter(|event| event.amount.is_some_and(|amount| amount > 0)).collect();
    let paid_items: Vec<i64> = paid.iter().filter_map(|event| event.quantity).map(i64::from).collect();
    let above_one: Vec<i64> = quantities.iter().copied().filter(|quantity| *quantity > 1).collect();
    let (count, revenue) = (amounts.len() as i128, amounts.iter().sum::<i128>());
    Row {
        rows: events.len() as i64,
        priced: amounts.len() as i64,
        items: some(!quantities.is_empty()).map(|()| quantities.iter().sum()),
        shares: some(!quantities.is_empty()).map(|()| quantities.iter().map(|quantity| 12 / quantity).sum()),
        revenue: some(count > 0).map(|()| revenue),
        average: some(count > 0).map(|()| (revenue * 20_000 + count * revenue.signum()) / (2 * count)),
        mean_items: some(!quantities.is_empty())
            .map(|()| quantities.iter().sum::<i64>() as f64 / quantities.len() as f64),
        ratios: some(!ratios.is_empty()).map(|()| bits(ratios.iter().sum::<f64>() + 0.0)),
        least: ratios.first().copied().map(bits),
        most: ratios.last().copied().map(bits),
        cheapest: amounts.iter().min().copied(),
        last_name: events.iter().filter_map(|event| event.category).max().map(str::to_owned),
        paid: paid.len() as i64,
        paid_items: some(!paid_items.is_empty()).map(|()| paid_items.iter().sum()),
        halves: some(!above_one.is_empty()).map(|()| above_one.iter().map(|quantity| 12 / (quantity - 1)).sum()),
    }
}

/// Adds a fired batch to what was fired before; a window that is fired twice without being an update is a fault.
fn collect(fired: &Batch, size_us: i64, windows: &mut Windows) {
    let column = |name: &str| fired.columns.column_by_name(name).unwrap_or_else(|| panic!("no column {name}"));
    let int = |name: &str, row: usize| {
        column(name).is_valid(row).then(|| column(name).as_primitive::<Int64Type>().value(row))
    };
    let digits = |name: &str, row: usize| {
        column(name).is_valid(row).then(|| column(name).as_primitive::<Decimal128Type>().value(row))
    };
    let float = |name: &str, row: usize| {
        column(name).is_valid(row).then(|| column(name).as_primitive::<Float64Type>().value(row))
    };
    let text = |name: &str, row: usize| {
        column(name).is_valid(row).then(|| column(name).as_string::<i32>().value(row).to_owned())
    };
    for row in 0..fired.rows() {
        let start = column("window_start").as_primitive::<TimestampMicrosecondType>().value(row);
        let end = column("window_end").as_primitive::<TimestampMicrosecondType>().value(row);
        assert_eq!((end - start, fired.event_times_us[row]), (size_us, end - 1));
        let result = Row {
            rows: int("rows", row).unwrap(),
            priced: int("priced", row).unwrap(),
            items: int("items", row),
            shares: int("shares", row),
            revenue: digits("revenue", row),
            average: digits("average", row),
            mean_items: float("mean_items", row),
            ratios: float("ratios", row).map(f64::to_bits),
            least: float("least", row).map(f64::to_bits),
            most: float("most", row).map(f64::to_bits),
            cheapest: digits("cheapest", row),
            last_name: text("last_name", row),
            paid: int("paid", row).unwrap(),
            paid_items: int("paid_items", row),
            halves: int("halves", row),
        };
        let key = (start, text("category", row), int("shop", row));
        let before = windows.insert(key.clone(), result);
        let replaces = fired.changes.kind(row) == ChangeKind::UpdateAfter;
        assert!(before.is_none() || replaces, "{key:?} was fired twice");
    }
}

/// The tasks of the keyed stage, and everything that outlives them.
struct Engine {
    key: KeyEncoder,
    spec: WindowSpec,
    shape: Shape,
    tasks: Vec<WindowAggregate>,
    now_us: i64,
    /// The watermark that the tasks have come to: what an epoch would record.
    reached_us: i64,
    watermark: CombinedWatermark,
    deltas: Deltas,
    outcome: Outcome,
}

impl Engine {
    fn new(shape: Shape, tasks: usize, partitions: usize) -> Self {
        let columns = [("category", "category"), ("shop", "shop")].map(|(name, text)| (name.into(), text.into()));
        let key = KeyEncoder::new(&columns, &schema(), KEY_GROUPS).unwrap();
        let spec = spec(shape.showing, &key);
        let mut engine = Self {
            key,
            spec,
            shape,
            tasks: Vec::new(),
            now_us: 0,
            reached_us: NO_WATERMARK,
            watermark: CombinedWatermark::new(partitions),
            deltas: Deltas::default(),
            outcome: Outcome::default(),
        };
        engine.start(tasks);
        engine
    }

    /// New tasks from the deltas alone.
    fn start(&mut self, tasks: usize) {
        self.tasks = (0..tasks)
            .map(|task| {
                let groups = task_key_groups(task, tasks, KEY_GROUPS);
                let mut made = WindowAggregate::new(&self.spec, &self.shape.grid(), &schema(), groups.clone()).unwrap();
                made.restore_watermark(self.reached_us);
                self.deltas.restore(&mut made, groups, None);
                made
            })
            .collect();
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
        out.batches.iter().for_each(|(_, batch)| collect(batch, self.shape.size_us, &mut self.outcome.windows));
        for (_, late) in &out.late {
            let Origin::Records { records, rows } = &late.origin else { panic!("a late row lost its record") };
            let places = rows.iter().map(|row| (records.partition, records.offsets[*row as usize]));
            self.outcome.late.extend(places);
        }
        for reject in &out.rejects {
            let RowOrigin::Record { records, record } = &reject.origin else { panic!("a reject lost its record") };
            self.outcome.rejected.push((records.partition, records.offsets[*record as usize]));
        }
    }

    fn advance(&mut self) {
        let size_us = self.shape.size_us;
        let watermark_us = self.watermark.watermark_us();
        self.reached_us = watermark_us;
        for task in &mut self.tasks {
            let mut fired = Outputs::default();
            task.advance(watermark_us, &mut fired).unwrap();
            let starts = fired.batches.iter().map(|(_, batch)| batch.event_times_us[0]);
            assert!(self.shape.showing.updates() || starts.is_sorted(), "windows were fired out of order");
            fired.batches.iter().for_each(|(_, batch)| collect(batch, size_us, &mut self.outcome.windows));
        }
    }

    fn tick(&mut self, later_us: i64) {
        self.now_us += later_us;
        for task in self.tasks.iter_mut().filter(|task| task.wants_clock()) {
            let mut shown = Outputs::default();
            task.tick(self.now_us, &mut shown).unwrap();
            shown.batches.iter().for_each(|(_, batch)| collect(batch, self.shape.size_us, &mut self.outcome.windows));
        }
    }

    fn seal(&mut self) {
        for task in &mut self.tasks {
            task.seal(&mut self.deltas);
        }
    }
}

fn run(random: &mut Random, partitions: &[Vec<Event>], shape: Shape) -> Outcome {
    let mut engine = Engine::new(shape, random.tasks(), partitions.len());
    let mut next = vec![0; partitions.len()];
    let mut clocks = vec![NO_WATERMARK; partitions.len()];
    while let Some(open) = random.partition(partitions, &next) {
        let rows = (1 + random.below(40) as usize).min(partitions[open].len() - next[open]);
        let events = &partitions[open][next[open]..next[open] + rows];
        engine.process(batch(open as u32, next[open], events));
        next[open] += rows;
        clocks[open] = match partitions[open].get(next[open]) {
            Some(event) => event.watermark_us,
            None => END_OF_TIME,
        };
        engine.watermark.update(open, InputTime { watermark_us: clocks[open], idle: false });
        if random.one_in(2) {
            engine.advance();
        }
        if random.one_in(3) {
            engine.tick(random.below(40) as i64);
        }
        if random.one_in(4) {
            engine.seal();
            if random.one_in(2) {
                engine.start(random.tasks());
            }
        }
    }
    engine.tasks.iter_mut().for_each(|task| assert_eq!(task.late_rows().window_fired, 0));
    for partition in 0..partitions.len() {
        engine.watermark.update(partition, InputTime { watermark_us: END_OF_TIME, idle: false });
    }
    engine.advance();
    assert!(engine.tasks.iter().all(|task| task.next_fire_us().is_none()));
    let kept = shape.showing.lateness_us > 0;
    assert!(kept || engine.tasks.iter().all(|task| task.keys() == 0));
    engine.outcome.late.sort_unstable();
    engine.outcome.rejected.sort_unstable();
    engine.outcome
}

#[test]
fn windows_late_rows_and_rejects_equal_the_oracle_however_rows_are_cut_and_state_is_restored() {
    let (mut windows, mut late, mut rejected) = (0, 0, 0);
    for seed in seeds(CASES) {
        let mut random = Random::new(seed);
        let origin_us = [-500, 0, 1_772_359_200_000_000][random.below(3) as usize];
        let shape = Shape::draw(&mut random);
        let partitions: Vec<Vec<Event>> = (0..1 + random.below(3)).map(|_| events(&mut random, origin_us)).collect();
        let mut expected = oracle(&partitions, &shape);
        expected.late.sort_unstable();
        expected.rejected.sort_unstable();
        let outcome = run(&mut random, &partitions, shape);
        let told = format!("WEIR_TEST_SEED={seed}, {shape:?}");
        assert_eq!((&outcome.late, &outcome.rejected), (&expected.late, &expected.rejected), "{told}");
        let keys = outcome.windows.keys().chain(expected.windows.keys());
        let different = keys.into_iter().find(|key| outcome.windows.get(key) != expected.windows.get(key));
        if let Some(key) = different {
            let (ours, theirs) = (outcome.windows.get(key), expected.windows.get(key));
            panic!("{told}\n{key:?}\n     ours {ours:?}\nexpected {theirs:?}");
        }
        windows += outcome.windows.len();
        late += outcome.late.len();
        rejected += outcome.rejected.len();
    }
    assert!(windows > 0 && late > 0 && rejected > 0, "{windows} results, {late} late, {rejected} rejected");
}
