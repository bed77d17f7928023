//! Rows, and a keyed stage that runs them: tasks, time, seals and restarts at random moments.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::Int64Type;
use arrow_array::{Array, ArrayRef, Int64Array, RecordBatch, StringArray};
use arrow_schema::{DataType, Field, Schema, SchemaRef};
use weir_operators::by_key::PerKey;
use weir_operators::{ByKey, KeyEncoder, KeyedOperator, Outputs, split};
use weir_state::Spill;
use weir_state::sim::SimDisk;
use weir_stream::key::task_key_groups;
use weir_stream::time::{BoundedDisorder, CombinedWatermark, END_OF_TIME, InputTime, NO_WATERMARK};
use weir_stream::{Batch, ChangeKind, Changes, Origin};

use super::key;
use super::oracle::{Deltas, Random};
use super::oracles::{Outcome, Result};

pub const NAME: &str = "step";
const KEY_GROUPS: u16 = 16;

#[derive(Debug, Clone, PartialEq)]
pub struct Row {
    pub time_us: i64,
    pub name: Option<String>,
    pub price: Option<i64>,
    /// Its own number, below 256: so the stored bytes of rows that differ in it alone compare as it does.
    pub n: i64,
    /// Set by the partition: the watermark just before the row.
    pub watermark_us: i64,
}

pub type Rows = Vec<Row>;

pub fn rows(random: &mut Random, origin_us: i64, partition: u64) -> Rows {
    let count = random.below(60);
    let mut clock = BoundedDisorder::new(random.below(150) as i64, NO_WATERMARK);
    let row = |number: u64| {
        let time_us = origin_us + number as i64 * 7 + random.below(300) as i64;
        let name = if random.one_in(6) { None } else { Some(["books", "toys", "", "food"][random.below(4) as usize]) };
        let price = if random.one_in(6) { None } else { Some(random.below(4) as i64) };
        let n = (partition * 60 + number) as i64;
        Row { time_us, name: name.map(str::to_owned), price, n, watermark_us: clock.observe(time_us) }
    };
    (0..count).map(row).collect()
}

pub fn schema() -> SchemaRef {
    Arc::new(Schema::new(vec![
        Field::new("name", DataType::Utf8, true),
        Field::new("price", DataType::Int64, true),
        Field::new("n", DataType::Int64, false),
    ]))
}

fn batch(rows: &[Row]) -> Batch {
    let columns: Vec<ArrayRef> = vec![
        Arc::new(rows.iter().map(|row| row.name.as_deref()).collect::<StringArray>()),
        Arc::new(rows.iter().map(|row| row.price).collect::<Int64Array>()),
        Arc::new(rows.iter().map(|row| row.n).collect::<Int64Array>()),
    ];
    Batch {
        columns: RecordBatch::try_new(schema(), columns).unwrap(),
        event_times_us: rows.iter().map(|row| row.time_us).collect(),
        watermarks_us: rows.iter().map(|row| row.watermark_us).collect(),
        origin: Origin::Step("before".into()),
        changes: Changes::Inserts,
    }
}

pub struct Case<'a, S> {
    pub step: S,
    pub partitions: &'a [Rows],
    /// Where the watermark comes to before the input ends.
    pub end_us: i64,
    pub is_table: bool,
}

/// The tasks of the keyed stage, and everything that outlives them.
pub struct Engine<S: PerKey> {
    keys: KeyEncoder,
    step: S,
    is_table: bool,
    tasks: Vec<ByKey<S>>,
    watermark_us: i64,
    deltas: Deltas,
    /// Result rows; of a table by its key.
    appended: Vec<Result>,
    table: BTreeMap<(Option<String>, Option<i64>), Result>,
    late: Vec<i64>,
    spill: Spill,
}

impl<S: PerKey> Engine<S> {
    pub fn run(random: &mut Random, case: Case<'_, S>) -> Outcome {
        let Case { step, partitions, end_us, is_table } = case;
        let keys = KeyEncoder::new(&key(), &schema(), KEY_GROUPS).unwrap();
        let (tasks, deltas, table) = (Vec::new(), Deltas::default(), BTreeMap::new());
        let (appended, late) = (Vec::new(), Vec::new());
        let spill = Spill::new(Arc::new(SimDisk::new()), "/state".into());
        let mut engine =
            Self { keys, step, is_table, tasks, watermark_us: NO_WATERMARK, deltas, appended, table, late, spill };
        engine.start(random.tasks());
        let mut watermark = CombinedWatermark::new(partitions.len());
        let mut next = vec![0; partitions.len()];
        while let Some(open) = random.partition(partitions, &next) {
            let rows = (1 + random.below(20) as usize).min(partitions[open].len() - next[open]);
            engine.process(batch(&partitions[open][next[open]..next[open] + rows]));
            next[open] += rows;
            let clock = partitions[open].get(next[open]).map_or(i64::MAX - 1, |row| row.watermark_us);
            watermark.update(open, InputTime { watermark_us: clock, idle: false });
            if random.one_in(2) && watermark.watermark_us() < i64::MAX - 1 {
                engine.advance(watermark.watermark_us());
            }
            if random.one_in(4) {
                engine.tasks.iter_mut().for_each(|task| task.seal(&mut engine.deltas));
                if random.one_in(2) {
                    engine.write_away(if random.one_in(2) { 1 } else { usize::MAX });
                }
                if random.one_in(2) {
                    engine.start(random.tasks());
                }
            }
        }
        engine.advance(end_us);
        engine.advance(END_OF_TIME);
        engine.tasks.iter_mut().for_each(|task| task.seal(&mut engine.deltas));
        // A run that finds its input at the end changes nothing: it would make epochs for ever.
        let sealed = engine.deltas.0.len();
        engine.start(2);
        engine.advance(END_OF_TIME);
        engine.tasks.iter_mut().for_each(|task| task.seal(&mut engine.deltas));
        assert_eq!(engine.deltas.0.len(), sealed, "a key was touched for nothing");
        engine.outcome()
    }

    /// New tasks from the deltas alone.
    fn start(&mut self, tasks: usize) {
        let task = |task| {
            let groups = task_key_groups(task, tasks, KEY_GROUPS);
            let mut made = ByKey::new(self.step.clone(), groups.clone());
            made.restore_watermark(self.watermark_us);
            self.deltas.restore(&mut made, groups, Some(&self.spill));
            made
        };
        self.tasks = (0..tasks).map(task).collect();
    }

    fn write_away(&mut self, bytes: usize) {
        for task in &mut self.tasks {
            task.evict(bytes, &self.spill).unwrap();
            assert!(bytes < usize::MAX || task.keys() == 0 || task.cold_bytes() > 0, "nothing left memory");
        }
    }

    fn process(&mut self, batch: Batch) {
        let mut out = Outputs::default();
        let keyed = self.keys.encode(batch, &mut out).unwrap();
        let parts = split(keyed, KEY_GROUPS, self.tasks.len()).unwrap();
        for (task, part) in self.tasks.iter_mut().zip(parts) {
            if let Some(part) = part {
                task.process(0, &part, &mut out).unwrap();
            }
        }
        self.collect(out);
    }

    fn advance(&mut self, watermark_us: i64) {
        self.watermark_us = self.watermark_us.max(watermark_us);
        let mut out = Outputs::default();
        for task in &mut self.tasks {
            let before = task.output_watermark(NO_WATERMARK);
            task.advance(watermark_us, &mut out).unwrap();
            assert!(before <= task.output_watermark(self.watermark_us));
        }
        self.collect(out);
    }

    fn collect(&mut self, out: Outputs) {
        for (_, late) in &out.late {
            self.late.extend(late.columns.column(2).as_primitive::<Int64Type>().values());
        }
        for (_, batch) in out.batches {
            let int = |column: usize, row: usize| {
                let column = batch.columns.column(column);
                column.is_valid(row).then(|| column.as_primitive::<Int64Type>().value(row))
            };
            let names = batch.columns.column(0).as_string::<i32>();
            for row in 0..batch.rows() {
                let number = (batch.columns.num_columns() > 3).then(|| int(3, row).unwrap());
                let name = names.is_valid(row).then(|| names.value(row).to_owned());
                let result = Result { n: int(2, row).unwrap(), time_us: batch.event_times_us[row], number };
                match (self.is_table, batch.changes.kind(row)) {
                    (false, ChangeKind::Insert) => self.appended.push(result),
                    (false, kind) => panic!("{kind:?} where rows are added"),
                    (true, ChangeKind::Delete | ChangeKind::UpdateBefore) => {
                        let before = self.table.remove(&(name, number));
                        assert_eq!(before, Some(result), "what is taken away was there as it was");
                    }
                    (true, _) => {
                        self.table.insert((name, number), result);
                    }
                }
            }
        }
    }

    fn outcome(mut self) -> Outcome {
        self.appended.extend(self.table.into_values());
        self.appended.sort();
        self.late.sort_unstable();
        Outcome { rows: self.appended, late: self.late }
    }
}
