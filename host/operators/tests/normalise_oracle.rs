//! A table that changes, through `normalise` into an aggregate by another column: whatever was replaced or deleted, however rows
//! were cut, spread over tasks and restored, the result is that of the table as it is.

mod oracle;

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::Int64Type;
use arrow_array::{ArrayRef, Int64Array, RecordBatch};
use arrow_schema::{DataType, Field, Schema, SchemaRef};
use oracle::{Deltas, Random, seeds};
use weir_operators::{
    AggregateKind, AggregateSpec, ByKey, GroupAggregate, GroupSpec, KeyEncoder, KeyedOperator, Normalise, Outputs,
    RowFormat, split,
};
use weir_stream::key::task_key_groups;
use weir_stream::time::NO_WATERMARK;
use weir_stream::{Batch, ChangeKind, Changes, Origin};

const KEY_GROUPS: u16 = 8;
const CASES: u64 = 2_000;
/// How far behind their event time rows of some tables are final.
const FINAL_AFTER_US: i64 = 40;

/// Id, group, value; the time is the row's and never goes back by more than rows are open to change.
#[derive(Debug, Clone, Copy)]
struct Row {
    id: i64,
    group: i64,
    value: i64,
    time_us: i64,
    kind: ChangeKind,
}

fn schema() -> SchemaRef {
    let field = |name: &str| Field::new(name, DataType::Int64, false);
    Arc::new(Schema::new(vec![field("id"), field("group"), field("value")]))
}

fn batch(rows: &[Row]) -> Batch {
    let column = |of: fn(&Row) -> i64| Arc::new(rows.iter().map(of).collect::<Int64Array>()) as ArrayRef;
    let columns = vec![column(|row| row.id), column(|row| row.group), column(|row| row.value)];
    Batch {
        columns: RecordBatch::try_new(schema(), columns).unwrap(),
        event_times_us: rows.iter().map(|row| row.time_us).collect(),
        watermarks_us: vec![NO_WATERMARK; rows.len()].into(),
        origin: Origin::Step("before".into()),
        changes: Changes::PerRow(rows.iter().map(|row| row.kind as u8).collect()),
    }
}

/// A keyed step, its tasks and what they have made durable.
struct Stage {
    key: KeyEncoder,
    make: Box<dyn Fn(Range<u16>) -> Box<dyn KeyedOperator>>,
    tasks: Vec<Box<dyn KeyedOperator>>,
    deltas: Deltas,
}

impl Stage {
    fn new(key: KeyEncoder, make: impl Fn(Range<u16>) -> Box<dyn KeyedOperator> + 'static) -> Self {
        Self { key, make: Box::new(make), tasks: Vec::new(), deltas: Deltas::default() }
    }

    /// New tasks from the deltas alone.
    fn start(&mut self, tasks: usize, watermark_us: i64) {
        let task = |task| {
            let groups = task_key_groups(task, tasks, KEY_GROUPS);
            let mut made = (self.make)(groups.clone());
            made.restore_watermark(watermark_us);
            self.deltas.restore(made.as_mut(), groups, None);
            made
        };
        self.tasks = (0..tasks).map(task).collect();
    }

    fn seal(&mut self) {
        let Self { tasks, deltas, .. } = self;
        tasks.iter_mut().for_each(|task| task.seal(deltas));
    }

    /// What the tasks make of rows, task by task: rows of one key stay in order.
    fn process(&mut self, rows: Batch) -> Vec<Batch> {
        let mut out = Outputs::default();
        let keyed = self.key.encode(rows, &mut out).unwrap();
        let parts = split(keyed, KEY_GROUPS, self.tasks.len()).unwrap();
        for (task, part) in self.tasks.iter_mut().zip(parts) {
            if let Some(part) = part {
                task.process(0, &part, &mut out).unwrap();
            }
        }
        assert!(out.rejects.is_empty() && out.late.is_empty(), "{out:?}");
        out.batches.into_iter().map(|(_, batch)| batch).collect()
    }

    fn advance(&mut self, watermark_us: i64) {
        let mut out = Outputs::default();
        self.tasks.iter_mut().for_each(|task| task.advance(watermark_us, &mut out).unwrap());
        assert!(out.batches.is_empty(), "time alone tells nothing");
    }

    fn keys(&self) -> usize {
        self.tasks.iter().map(|task| task.keys()).sum()
    }
}

fn encoder(column: &str) -> KeyEncoder {
    KeyEncoder::new(&[(column.into(), column.into())], &schema(), KEY_GROUPS).unwrap()
}

fn stages(final_after_us: Option<i64>) -> [Stage; 2] {
    let (by_id, by_group) = (encoder("id"), encoder("group"));
    let fields = by_id.fields().to_vec();
    let normalise = move |owned: Range<u16>| -> Box<dyn KeyedOperator> {
        let format = RowFormat::new(&schema()).unwrap();
        Box::new(ByKey::new(Normalise::new(&"n".into(), &fields, format, final_after_us), owned))
    };
    let aggregates = vec![
        AggregateSpec::new("rows", AggregateKind::Count, None),
        AggregateSpec::new("sum", AggregateKind::Sum, Some("value")),
    ];
    let key = by_group.fields().to_vec();
    let spec = GroupSpec { step: "g".into(), key, aggregates, ttl_us: None, retracts: true };
    let group = move |owned: Range<u16>| -> Box<dyn KeyedOperator> {
        Box::new(GroupAggregate::new(&spec, &schema(), owned).unwrap())
    };
    [Stage::new(by_id, normalise), Stage::new(by_group, group)]
}

fn rows(random: &mut Random) -> Vec<Row> {
    let count = random.below(200) as i64;
    let row = |number: i64| Row {
        id: number / 20 + random.below(8) as i64,
        group: random.below(4) as i64,
        value: random.below(50) as i64,
        time_us: number + random.below(5) as i64,
        kind: [ChangeKind::UpdateAfter, ChangeKind::UpdateAfter, ChangeKind::Delete][random.below(3) as usize],
    };
    (0..count).map(row).collect()
}

/// Rows and sum by group.
type Groups = BTreeMap<i64, (i64, i64)>;

fn recompute(table: &BTreeMap<i64, Row>) -> Groups {
    let mut groups = Groups::new();
    for row in table.values() {
        let (rows, sum) = groups.entry(row.group).or_default();
        (*rows, *sum) = (*rows + 1, *sum + row.value);
    }
    groups
}

fn apply(told: &Batch, groups: &mut Groups) {
    let column = |place: usize| told.columns.column(place).as_primitive::<Int64Type>();
    for row in 0..told.rows() {
        match told.changes.kind(row) {
            ChangeKind::Delete => drop(groups.remove(&column(0).value(row))),
            _ => drop(groups.insert(column(0).value(row), (column(1).value(row), column(2).value(row)))),
        }
    }
}

#[test]
fn an_aggregate_over_a_table_is_that_of_the_table_as_it_is() {
    let mut let_go = 0;
    for seed in seeds(CASES) {
        let mut random = Random::new(seed);
        let final_after_us = Some(FINAL_AFTER_US).filter(|_| random.below(2) == 0);
        let [mut normalise, mut group] = stages(final_after_us);
        let mut watermark_us = NO_WATERMARK;
        normalise.start(1 + random.below(3) as usize, watermark_us);
        group.start(1 + random.below(3) as usize, watermark_us);
        let (mut table, mut told) = (BTreeMap::new(), Groups::new());
        // Whose rows are final does not change any more.
        let is_open = |row: &Row, watermark_us: i64| row.time_us.saturating_add(FINAL_AFTER_US) > watermark_us;
        let rows = rows(&mut random);
        let mut rest = rows.as_slice();
        while !rest.is_empty() {
            let (now, later) = rest.split_at((1 + random.below(20) as usize).min(rest.len()));
            rest = later;
            let may_change = |row: &&Row| {
                let held: Option<&Row> = table.get(&row.id);
                final_after_us.is_none() || held.is_none_or(|held| is_open(held, watermark_us))
            };
            let now: Vec<Row> = now.iter().filter(may_change).copied().collect();
            for row in &now {
                match row.kind {
                    ChangeKind::Delete => drop(table.remove(&row.id)),
                    _ => drop(table.insert(row.id, *row)),
                }
            }
            for changes in normalise.process(batch(&now)) {
                group.process(changes).iter().for_each(|batch| apply(batch, &mut told));
            }
            assert_eq!(told, recompute(&table), "WEIR_TEST_SEED={seed}");
            if random.below(3) == 0 {
                watermark_us = now.iter().map(|row| row.time_us).max().unwrap_or(watermark_us).max(watermark_us);
                normalise.advance(watermark_us);
                group.advance(watermark_us);
                let open = table.values().filter(|row| final_after_us.is_none() || is_open(row, watermark_us));
                assert_eq!(normalise.keys(), open.count(), "WEIR_TEST_SEED={seed}");
                let_go += table.len() - normalise.keys();
            }
            if random.below(4) == 0 {
                [&mut normalise, &mut group].into_iter().for_each(Stage::seal);
                if random.below(2) == 0 {
                    normalise.start(1 + random.below(3) as usize, watermark_us);
                    group.start(1 + random.below(3) as usize, watermark_us);
                }
            }
        }
    }
    assert!(let_go > 0);
}
