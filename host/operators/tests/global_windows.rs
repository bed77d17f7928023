//! Global windows: cut by number, by time, by both; and what is stored of them.

use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::Int64Type;
use arrow_array::{Int64Array, RecordBatch};
use arrow_schema::{DataType, Field, Schema, SchemaRef};
use weir_operators::{
    AggregateKind, AggregateSpec, GlobalAggregate, GlobalTrigger, KeyEncoder, KeyedOperator, Outputs, Showing,
    WindowSpec, WindowTime,
};
use weir_state::Spill;
use weir_state::sim::SimDisk;
use weir_state::table::DeltaWriter;
use weir_stream::time::{END_OF_TIME, NO_WATERMARK};
use weir_stream::{Batch, Changes, Origin};

const KEY_GROUPS: u16 = 4;

fn schema() -> SchemaRef {
    Arc::new(Schema::new(vec![Field::new("k", DataType::Int64, true), Field::new("v", DataType::Int64, true)]))
}

fn key() -> KeyEncoder {
    KeyEncoder::new(&[("k".into(), "k".into())], &schema(), KEY_GROUPS).unwrap()
}

fn windows(rows: Option<u64>, every_us: Option<i64>) -> GlobalAggregate {
    let spec = WindowSpec {
        step: "g".into(),
        time: WindowTime::Event,
        showing: Showing::default(),
        key: key().fields().to_vec(),
        aggregates: vec![
            AggregateSpec::new("rows", AggregateKind::Count, None),
            AggregateSpec::new("sum", AggregateKind::Sum, Some("v")),
        ],
    };
    GlobalAggregate::new(&spec, GlobalTrigger { rows, every_us }, &schema(), 0..KEY_GROUPS).unwrap()
}

/// Time, key and value of each row.
fn process(windows: &mut GlobalAggregate, rows: &[(i64, i64, i64)]) -> Vec<(i64, i64, i64)> {
    let keys: Int64Array = rows.iter().map(|(_, key, _)| Some(*key)).collect();
    let values: Int64Array = rows.iter().map(|(_, _, value)| Some(*value)).collect();
    let batch = Batch {
        columns: RecordBatch::try_new(schema(), vec![Arc::new(keys), Arc::new(values)]).unwrap(),
        event_times_us: rows.iter().map(|(time, _, _)| *time).collect(),
        watermarks_us: vec![NO_WATERMARK; rows.len()].into(),
        origin: Origin::Step("before".into()),
        changes: Changes::Inserts,
    };
    let mut out = Outputs::default();
    let keyed = key().encode(batch, &mut out).unwrap();
    windows.process(0, &keyed, &mut out).unwrap();
    results(&out)
}

fn advance(windows: &mut GlobalAggregate, watermark_us: i64) -> Vec<(i64, i64, i64)> {
    let mut out = Outputs::default();
    windows.advance(watermark_us, &mut out).unwrap();
    results(&out)
}

/// Key, rows and sum of each result.
fn results(out: &Outputs) -> Vec<(i64, i64, i64)> {
    let mut all = Vec::new();
    for (_, batch) in &out.batches {
        let int = |name: &str| batch.columns.column_by_name(name).unwrap().as_primitive::<Int64Type>().clone();
        let (key, rows, sum) = (int("k"), int("rows"), int("sum"));
        all.extend((0..batch.rows()).map(|row| (key.value(row), rows.value(row), sum.value(row))));
    }
    all
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

#[test]
fn a_window_is_cut_at_its_number_of_rows_wherever_batches_are() {
    let rows: Vec<(i64, i64, i64)> = (0..10).map(|row| (row, row % 2, row)).collect();
    let mut whole = windows(Some(2), None);
    let mut at_once = process(&mut whole, &rows);
    at_once.sort_unstable();
    assert_eq!(at_once, [(0, 2, 2), (0, 2, 10), (1, 2, 4), (1, 2, 12)]);
    let (mut deltas, mut one_by_one) = (Deltas::default(), Vec::new());
    for row in &rows {
        let mut windows = windows(Some(2), None);
        for (group, key, value) in &deltas.0 {
            match value {
                Some(value) => windows.restore_put(*group, key, value).unwrap(),
                None => windows.restore_delete(*group, key).unwrap(),
            }
        }
        one_by_one.extend(process(&mut windows, &[*row]));
        windows.seal(&mut deltas);
    }
    one_by_one.sort_unstable();
    assert_eq!(one_by_one, at_once);
    assert_eq!(one_by_one_on_disk(&rows), at_once);
    assert!(advance(&mut whole, END_OF_TIME).is_empty(), "what is short of its number stays");
    assert_eq!(whole.keys(), 2);
}

/// Row by row, and nothing stays in memory in between.
fn one_by_one_on_disk(rows: &[(i64, i64, i64)]) -> Vec<(i64, i64, i64)> {
    let spill = Spill::new(Arc::new(SimDisk::new()), "/state".into());
    let (mut windows, mut given) = (windows(Some(2), None), Vec::new());
    for row in rows {
        given.extend(process(&mut windows, &[*row]));
        windows.seal(&mut Deltas::default());
        windows.evict(usize::MAX, &spill).unwrap();
        assert!(windows.keys() == 0 || windows.cold_bytes() > 0, "nothing left memory");
    }
    given.sort_unstable();
    given
}

#[test]
fn a_window_that_time_cuts_comes_back_for_that() {
    let spill = Spill::new(Arc::new(SimDisk::new()), "/state".into());
    let mut timed = windows(None, Some(100));
    assert!(process(&mut timed, &[(50, 1, 5), (20, 1, 6), (90, 2, 1)]).is_empty());
    timed.seal(&mut Deltas::default());
    timed.evict(usize::MAX, &spill).unwrap();
    assert!(timed.keys() == 2 && timed.cold_bytes() > 0);
    assert!(advance(&mut timed, 119).is_empty());
    assert_eq!(advance(&mut timed, 120), [(1, 2, 11)]);
    assert_eq!(advance(&mut timed, 190), [(2, 1, 1)]);
}

#[test]
fn a_window_is_cut_when_the_watermark_is_so_far_behind_its_earliest_row() {
    let mut timed = windows(Some(3), Some(100));
    assert!(process(&mut timed, &[(50, 1, 5), (20, 1, 6), (90, 2, 1)]).is_empty());
    assert!(advance(&mut timed, 119).is_empty());
    assert_eq!(advance(&mut timed, 120), [(1, 2, 11)]);
    assert_eq!(process(&mut timed, &[(130, 2, 2), (131, 2, 3), (132, 2, 4)]), [(2, 3, 6)]);
    assert_eq!(advance(&mut timed, END_OF_TIME), [(2, 1, 4)]);
    assert_eq!(timed.keys(), 0);
}
