//! Assigned windows against windows aligned with the clock: rows that say their own tumbling window give, call by call,
//! the same results, corrections and late rows, also when state is written and put back between two calls.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::Int64Type;
use arrow_array::{ArrayRef, Int64Array, RecordBatch, TimestampMicrosecondArray};
use arrow_cast::display::array_value_to_string;
use weir_operators::{
    AggregateKind, AggregateSpec, AssignedAggregate, Emit, KeyEncoder, KeyedOperator, Outputs, Showing,
    WindowAggregate, WindowGrid, WindowSpec, WindowTime,
};
use weir_state::table::DeltaWriter;
use weir_stream::{Batch, Changes, Origin};

const GROUPS: u16 = 4;
const SIZE_US: i64 = 100;
const ROUNDS: u64 = 300;

/// Knuth's linear congruences: enough to draw cases from a printed seed.
struct Draws(u64);

impl Draws {
    fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % end
    }
}

/// What was sealed so far.
#[derive(Default)]
struct Store(BTreeMap<(u16, Vec<u8>), Vec<u8>>);

impl DeltaWriter for Store {
    fn put(&mut self, key_group: u16, key: &[u8], value: &[u8]) {
        self.0.insert((key_group, key.to_vec()), value.to_vec());
    }

    fn delete(&mut self, key_group: u16, key: &[u8]) {
        self.0.retain(|(group, stored), _| !(*group == key_group && stored.starts_with(key)));
    }
}

/// An operator and its store.
struct Kept {
    operator: Box<dyn KeyedOperator>,
    store: Store,
}

impl Kept {
    fn new(operator: Box<dyn KeyedOperator>) -> Self {
        Self { operator, store: Store::default() }
    }

    /// Seals, and goes on as a new operator would that was loaded from what was sealed.
    fn restart(&mut self, watermark_us: i64) {
        self.operator.seal(&mut self.store);
        let mut part = self.operator.part(0..GROUPS);
        for ((key_group, key), value) in &self.store.0 {
            part.restore_put(*key_group, key, value).unwrap();
        }
        let mut fresh = self.operator.part(0..GROUPS);
        fresh.restore_watermark(watermark_us);
        fresh.absorb(part).unwrap();
        self.operator = fresh;
    }
}

/// Rows, one text each.
fn shown(out: &Outputs) -> (Vec<String>, Vec<String>) {
    let result = |batch: &Batch, row: usize| {
        let cell = |column: &ArrayRef| array_value_to_string(column, row).unwrap();
        let cells: Vec<String> = batch.columns.columns().iter().map(cell).collect();
        format!("{:?} {}", batch.changes.kind(row), cells.join(" "))
    };
    let results = out.batches.iter().flat_map(|(_, batch)| (0..batch.rows()).map(move |row| result(batch, row)));
    let late = out.late.iter().flat_map(|(_, batch)| {
        let n = batch.columns.column_by_name("n").unwrap().as_primitive::<Int64Type>();
        n.values().iter().map(i64::to_string).collect::<Vec<_>>()
    });
    (results.collect(), late.collect())
}

fn batch(rows: &[(i64, i64, i64, i64)]) -> Batch {
    let utc = |times: Vec<i64>| Arc::new(TimestampMicrosecondArray::from(times).with_timezone("UTC")) as ArrayRef;
    let starts = || rows.iter().map(|(time_us, ..)| time_us.div_euclid(SIZE_US) * SIZE_US);
    let columns: Vec<(&str, ArrayRef)> = vec![
        ("k", Arc::new(rows.iter().map(|(_, _, k, _)| *k).collect::<Int64Array>())),
        ("n", Arc::new(rows.iter().map(|(_, _, _, n)| *n).collect::<Int64Array>())),
        ("window_start", utc(starts().collect())),
        ("window_end", utc(starts().map(|start| start + SIZE_US).collect())),
    ];
    Batch {
        columns: RecordBatch::try_from_iter(columns).unwrap(),
        event_times_us: rows.iter().map(|(time_us, ..)| *time_us).collect(),
        watermarks_us: rows.iter().map(|(_, watermark_us, ..)| *watermark_us).collect(),
        origin: Origin::Step("before".into()),
        changes: Changes::Inserts,
    }
}

fn spec(key: &KeyEncoder, showing: Showing) -> WindowSpec {
    WindowSpec {
        step: "w".into(),
        time: WindowTime::Event,
        showing,
        key: key.fields().to_vec(),
        aggregates: vec![
            AggregateSpec::new("rows", AggregateKind::Count, None),
            AggregateSpec::new("sum", AggregateKind::Sum, Some("n")),
        ],
    }
}

fn round(seed: u64) {
    let mut draws = Draws(seed);
    let input = batch(&[(0, 0, 0, 0)]).schema();
    let key = KeyEncoder::new(&[("k".into(), "k".into())], &input, GROUPS).unwrap();
    let emit = [Emit::OnClose, Emit::OnUpdate, Emit::Both][draws.below(3) as usize];
    let showing = Showing { emit, lateness_us: [0, 150][draws.below(2) as usize], throttle_us: 0 };
    let spec = spec(&key, showing);
    let grid = WindowGrid::tumbling(SIZE_US, 0).unwrap();
    let mut tumbling = Kept::new(Box::new(WindowAggregate::new(&spec, &grid, &input, 0..GROUPS).unwrap()));
    let mut assigned = Kept::new(Box::new(AssignedAggregate::new(&spec, &input, 0..GROUPS).unwrap()));
    let (mut newest_us, mut number, mut watermark_us) = (0i64, 0i64, i64::MIN);
    for call in 0..draws.below(30) {
        let mut outs = [Outputs::default(), Outputs::default()];
        match draws.below(4) {
            0 => {
                watermark_us = watermark_us.max(newest_us - draws.below(60) as i64);
                tumbling.operator.advance(watermark_us, &mut outs[0]).unwrap();
                assigned.operator.advance(watermark_us, &mut outs[1]).unwrap();
            }
            1 => {
                tumbling.restart(watermark_us);
                assigned.restart(watermark_us);
            }
            _ => {
                let rows: Vec<_> = (0..1 + draws.below(12))
                    .map(|_| {
                        let time_us = newest_us + draws.below(160) as i64 - 120;
                        let row_watermark_us = newest_us - 30;
                        newest_us = newest_us.max(time_us);
                        number += 1;
                        (time_us, row_watermark_us, draws.below(5) as i64, number)
                    })
                    .collect();
                let keyed = key.encode(batch(&rows), &mut Outputs::default()).unwrap();
                tumbling.operator.process(0, &keyed, &mut outs[0]).unwrap();
                assigned.operator.process(0, &keyed, &mut outs[1]).unwrap();
                for (row, key_group) in keyed.keys.key_groups().iter().enumerate() {
                    let held = |of: &Kept| of.operator.held(*key_group, keyed.keys.key(row)).unwrap();
                    assert_eq!(held(&assigned), held(&tumbling), "seed {seed}, call {call}, {showing:?}");
                }
            }
        }
        let [tumbling, assigned] = outs.map(|out| shown(&out));
        assert_eq!(assigned, tumbling, "seed {seed}, call {call}, {showing:?}");
    }
    let mut outs = [Outputs::default(), Outputs::default()];
    tumbling.operator.advance(i64::MAX, &mut outs[0]).unwrap();
    assigned.operator.advance(i64::MAX, &mut outs[1]).unwrap();
    let [tumbling, assigned] = outs.map(|out| shown(&out));
    assert_eq!(assigned, tumbling, "seed {seed}, at the end, {showing:?}");
}

#[test]
fn rows_that_say_their_tumbling_window_give_what_tumbling_windows_give() {
    let first = std::env::var("WEIR_TEST_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(1);
    eprintln!("WEIR_TEST_SEED={first}");
    (first..first + ROUNDS).for_each(round);
}
