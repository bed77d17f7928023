//! What the oracle does not draw: what is told when, forgetting, late rows, rows taken back, layouts, memory.

use arrow_array::cast::AsArray;
use arrow_array::types::Int64Type;
use arrow_array::{Array, ArrayRef, Decimal128Array, Float64Array, Int64Array, RecordBatch};
use arrow_schema::{DataType, Field};
use weir_stream::{Changes, Origin};

use super::*;
use crate::aggregate::AggregateKind;
use crate::key::KeyEncoder;
use crate::keyed::KeyedOperator;

fn schema() -> SchemaRef {
    Arc::new(Schema::new(vec![
        Field::new("k", DataType::Int64, false),
        Field::new("v", DataType::Int64, true),
        Field::new("f", DataType::Float64, true),
        Field::new("d", DataType::Decimal128(38, 2), true),
        Field::new("w", DataType::Decimal128(38, 0), true),
    ]))
}

/// Rows of key, time, value and kind.
fn batch(rows: &[(i64, i64, Option<i64>, ChangeKind)]) -> Batch {
    let values = || rows.iter().map(|row| row.2);
    let decimals = values().map(|value| value.map(i128::from)).collect::<Decimal128Array>();
    let columns: Vec<ArrayRef> = vec![
        Arc::new(rows.iter().map(|row| Some(row.0)).collect::<Int64Array>()),
        Arc::new(values().collect::<Int64Array>()),
        Arc::new(values().map(|value| value.map(|value| value as f64)).collect::<Float64Array>()),
        Arc::new(decimals.clone().with_precision_and_scale(38, 2).unwrap()),
        Arc::new(decimals.with_precision_and_scale(38, 0).unwrap()),
    ];
    Batch {
        columns: RecordBatch::try_new(schema(), columns).unwrap(),
        event_times_us: rows.iter().map(|row| row.1).collect(),
        watermarks_us: vec![NO_WATERMARK; rows.len()].into(),
        origin: Origin::Step("before".into()),
        changes: Changes::PerRow(rows.iter().map(|row| row.3 as u8).collect()),
    }
}

/// Rows of key 1 with these values in `w`.
fn wide(rows: &[(i128, ChangeKind)]) -> Batch {
    let mut batch = batch(&rows.iter().map(|row| (1, 1, None, row.1)).collect::<Vec<_>>());
    let mut columns = batch.columns.columns().to_vec();
    let wide = rows.iter().map(|row| Some(row.0)).collect::<Decimal128Array>();
    columns[4] = Arc::new(wide.with_precision_and_scale(38, 0).unwrap());
    batch.columns = RecordBatch::try_new(schema(), columns).unwrap();
    batch
}

fn inserts(rows: &[(i64, i64, i64)]) -> Batch {
    batch(&rows.iter().map(|(key, time, value)| (*key, *time, Some(*value), ChangeKind::Insert)).collect::<Vec<_>>())
}

fn spec(key: &KeyEncoder, calls: &[(&str, Option<&str>)], ttl_us: Option<i64>, retracts: bool) -> GroupSpec {
    let aggregate = |(place, (kind, argument)): (usize, &(&str, Option<&str>))| {
        AggregateSpec::new(&format!("a{place}"), AggregateKind::from_name(kind).unwrap(), *argument)
    };
    let aggregates = calls.iter().enumerate().map(aggregate).collect();
    GroupSpec { step: "g".into(), key: key.fields().to_vec(), aggregates, ttl_us, retracts }
}

struct Step {
    key: KeyEncoder,
    group: GroupAggregate,
}

const COUNT_AND_SUM: [(&str, Option<&str>); 2] = [("count", None), ("sum", Some("v"))];

fn step(calls: &[(&str, Option<&str>)], ttl_us: Option<i64>, retracts: bool) -> Step {
    let key = KeyEncoder::new(&[("k".into(), "k".into())], &schema(), 4).unwrap();
    let group = GroupAggregate::new(&spec(&key, calls, ttl_us, retracts), &schema(), 0..4).unwrap();
    Step { key, group }
}

fn refused(call: (&str, Option<&str>)) -> String {
    let key = KeyEncoder::new(&[("k".into(), "k".into())], &schema(), 4).unwrap();
    GroupAggregate::new(&spec(&key, &[call], None, true), &schema(), 0..4).unwrap_err().1.message
}

/// Key, kind, event time, and the aggregates that are int64.
type Told = (i64, ChangeKind, i64, Vec<Option<i64>>);

impl Step {
    fn process(&mut self, batch: Batch) -> Outputs {
        let mut out = Outputs::default();
        let keyed = self.key.encode(batch, &mut out).unwrap();
        self.group.process(0, &keyed, &mut out).unwrap();
        out
    }

    /// What a batch told, by key.
    fn told(&mut self, batch: Batch) -> Vec<Told> {
        let out = self.process(batch);
        assert!(out.rejects.is_empty() && out.late.is_empty(), "{out:?}");
        told(&out)
    }

    fn advance(&mut self, watermark_us: i64) {
        let mut out = Outputs::default();
        self.group.advance(watermark_us, &mut out).unwrap();
        assert!(out.batches.is_empty(), "forgetting tells nothing");
    }
}

fn told(out: &Outputs) -> Vec<Told> {
    let mut told = Vec::new();
    for (_, batch) in &out.batches {
        let column = |place: usize| batch.columns.column(place).as_primitive::<Int64Type>();
        for row in 0..batch.rows() {
            let of = |place: usize| column(place).is_valid(row).then(|| column(place).value(row));
            let aggregates = (1..batch.columns.num_columns()).map(of).collect();
            told.push((column(0).value(row), batch.changes.kind(row), batch.event_times_us[row], aggregates));
        }
    }
    told.sort_by_key(|told| told.0);
    told
}

use ChangeKind::{Delete, Insert, UpdateAfter, UpdateBefore};

#[test]
fn each_batch_tells_the_new_row_of_every_key_that_it_touched_once() {
    let mut step = step(&COUNT_AND_SUM, None, false);
    let first = step.told(inserts(&[(1, 10, 5), (2, 20, 7), (1, 8, 6)]));
    assert_eq!(first, [(1, UpdateAfter, 10, vec![Some(2), Some(11)]), (2, UpdateAfter, 20, vec![Some(1), Some(7)])]);
    let second = step.told(inserts(&[(1, 9, 1)]));
    assert_eq!(second, [(1, UpdateAfter, 10, vec![Some(3), Some(12)])], "the row is as new as its newest");
    step.advance(i64::MAX);
    assert_eq!(step.group.keys(), 2, "without a time to live nothing is forgotten");
}

#[test]
fn a_key_begins_anew_after_its_time_to_live_whether_or_not_the_watermark_has_come_so_far() {
    let mut step = step(&COUNT_AND_SUM, Some(100), false);
    step.told(inserts(&[(1, 0, 1), (2, 0, 1), (3, 0, 1)]));
    let newer = step.told(inserts(&[(1, 99, 1), (2, 100, 1)]));
    assert_eq!(newer[0].3[0], Some(2), "one short of the time to live");
    assert_eq!(newer[1].3[0], Some(1));
    step.advance(99);
    assert_eq!(step.group.keys(), 3);
    step.advance(106);
    assert_eq!(step.group.keys(), 2, "3 is forgotten within a sixteenth of the time to live");
    let again = step.told(inserts(&[(3, 50, 9)]));
    assert_eq!(again, [(3, UpdateAfter, 50, vec![Some(1), Some(9)])]);
    step.advance(1000);
    assert!(step.group.keys() == 0 && step.group.table.is_empty());
}

#[test]
fn a_row_older_than_the_time_to_live_is_late_by_either_watermark() {
    let mut step = step(&COUNT_AND_SUM, Some(100), false);
    let mut rows = inserts(&[(1, 100, 1), (1, 101, 1)]);
    rows.watermarks_us = vec![200, 200].into();
    let out = step.process(rows);
    assert_eq!((out.late[0].1.rows(), told(&out)[0].3[0]), (1, Some(1)));
    step.advance(300);
    let out = step.process(inserts(&[(1, 200, 1), (1, 201, 1)]));
    assert_eq!((out.late[0].1.rows(), told(&out)[0].3[0], step.group.late_rows()), (1, Some(1), 2));
}

#[test]
fn rows_taken_back_leave_what_would_be_without_them_and_the_last_one_deletes() {
    let calls = [("count", None), ("sum", Some("v")), ("count", Some("v"))];
    let mut step = step(&calls, None, true);
    step.told(batch(&[(1, 1, Some(5), Insert), (1, 2, Some(7), UpdateAfter), (2, 2, None, Insert)]));
    let changed = step.told(batch(&[(1, 1, Some(5), UpdateBefore), (2, 3, Some(5), UpdateAfter)]));
    assert_eq!(changed[0], (1, UpdateAfter, 2, vec![Some(1), Some(7), Some(1)]));
    assert_eq!(changed[1], (2, UpdateAfter, 3, vec![Some(2), Some(5), Some(1)]));
    let last = step.told(batch(&[(1, 2, Some(7), Delete), (2, 3, Some(5), Delete)]));
    assert_eq!(last[0], (1, Delete, 2, vec![Some(0), None, Some(0)]));
    assert_eq!(last[1], (2, UpdateAfter, 3, vec![Some(1), None, Some(0)]), "a sum of nothing but nulls is null again");
    assert_eq!(step.group.keys(), 1);
    let out = step.process(batch(&[(1, 2, Some(7), Delete)]));
    assert_eq!((out.late[0].1.rows(), out.batches.len()), (1, 0), "what was never there cannot be taken back");
}

#[test]
fn a_row_that_would_overflow_counts_in_no_aggregate_and_not_as_a_row() {
    let mut step = step(&COUNT_AND_SUM, None, false);
    step.told(batch(&[(1, 1, Some(i64::MAX), Insert)]));
    let out = step.process(batch(&[(1, 2, Some(1), Insert)]));
    assert_eq!((&*out.rejects[0].code, out.rejects.len()), ("overflow", 1));
    let next = step.told(batch(&[(1, 3, Some(-1), Insert)]));
    assert_eq!(next, [(1, UpdateAfter, 3, vec![Some(2), Some(i64::MAX - 1)])], "the refused row is not counted");
}

#[test]
fn a_sum_that_is_too_large_for_a_while_is_refused_as_a_result_and_right_again_when_rows_are_taken_back() {
    let mut step = step(&COUNT_AND_SUM, None, true);
    step.told(batch(&[(1, 1, Some(i64::MAX), Insert), (2, 1, Some(5), Insert)]));
    let out = step.process(batch(&[(1, 2, Some(1), Insert), (2, 2, Some(1), Insert)]));
    assert_eq!(told(&out), [(2, UpdateAfter, 2, vec![Some(2), Some(6)])], "the other key is told");
    let [reject] = &out.rejects[..] else { panic!("{:?}", out.rejects) };
    assert_eq!((&*reject.code, &*reject.reason), ("overflow", "`a1`: sum(v) is too large for its type"));
    assert_eq!(step.told(batch(&[(1, 3, Some(1), Delete)])), [(1, UpdateAfter, 3, vec![Some(1), Some(i64::MAX)])]);
    assert_eq!(step.told(batch(&[(1, 4, Some(i64::MAX), Delete)]))[0].1, Delete, "nothing is left of it");
}

#[test]
fn a_sum_of_decimals_is_exact_even_after_it_passed_what_128_bits_hold() {
    let mut step = step(&[("sum", Some("w"))], None, true);
    let most = 99_999_999_999_999_999_999_999_999_999_999_999_999_i128;
    let rows = |kind, times: usize| wide(&vec![(most, kind); times]);
    assert_eq!(step.process(rows(Insert, 5)).rejects.len(), 1, "500 * 10^36 is past 2^128");
    assert_eq!(step.process(rows(Delete, 3)).rejects.len(), 1, "200 * 10^36 still past what a decimal holds");
    let out = step.process(rows(UpdateBefore, 1));
    let sum = out.batches[0].1.columns.column(1).as_primitive::<arrow_array::types::Decimal128Type>().value(0);
    assert_eq!(sum, most);
}

#[test]
fn averages_of_decimals_survive_rows_taken_back() {
    let mut step = step(&[("avg", Some("d"))], None, true);
    let out =
        step.process(batch(&[(1, 1, Some(300), Insert), (1, 1, Some(100), Insert), (1, 1, Some(300), UpdateBefore)]));
    let average = out.batches[0].1.columns.column(1).as_primitive::<arrow_array::types::Decimal128Type>();
    assert_eq!((average.value(0), average.scale()), (1_000_000, 6));
    let wild = step.process(batch(&[(1, 1, Some(i64::MAX), UpdateBefore)]));
    assert!(wild.rejects.is_empty() || wild.batches.is_empty() || wild.batches[0].1.columns.column(1).len() == 1);
}

#[test]
fn what_cannot_take_rows_back_is_refused_with_the_way_out() {
    assert_eq!(
        refused(("min", Some("v"))),
        "`min` cannot take rows back, and the rows that come in here change; count, sum and avg can"
    );
    assert_eq!(
        refused(("sum", Some("f"))),
        "`sum` of float64 cannot take rows back exactly; of a decimal it can: sum(cast(f as decimal(18, 6)))"
    );
}

#[test]
fn a_changed_row_is_a_reject_where_rows_are_only_added() {
    let out = step(&COUNT_AND_SUM, None, false).process(batch(&[(1, 1, Some(1), Delete)]));
    assert_eq!(out.rejects[0].reason, "this step takes new rows alone, this one is Delete");
}

#[test]
fn the_layout_names_what_stored_state_depends_on_and_not_the_time_to_live() {
    let expected = "group/1 retracts/2 key=[k Int64] aggregates=[a0 count(Null), a1 sum(Int64)]";
    assert_eq!(step(&COUNT_AND_SUM, Some(5), true).group.state_layout(), expected);
}

#[test]
fn numbers_that_an_earlier_version_stored_whole_are_read() {
    let mut step = step(&[("count", None), ("sum", Some("v")), ("avg", Some("v"))], None, false);
    let mut value = vec![GROUP_VERSION];
    value.extend_from_slice(&7i64.to_le_bytes());
    value.push(1);
    value.extend_from_slice(&300i64.to_le_bytes());
    value.push(1);
    value.extend_from_slice(&(-500i64).to_le_bytes());
    value.push(1);
    value.extend_from_slice(&(-500i128).to_le_bytes());
    value.extend_from_slice(&300u64.to_le_bytes());
    let keys = step.key.encode(inserts(&[(1, 0, 0)]), &mut Outputs::default()).unwrap();
    let (key_group, _, key) = keys.keys.iter().next().unwrap();
    step.group.restore_put(key_group, key, &value).unwrap();
    let mut again = Vec::new();
    step.group.for_each(key_group, &mut |_, stored| again = stored.to_vec()).unwrap();
    assert!(again.len() < value.len() / 2, "{again:?}");
    step.group.restore_put(key_group, key, &again).unwrap();
    let out = step.process(inserts(&[(1, 8, 0)]));
    let of = |place: usize| out.batches[0].1.columns.column(place).as_primitive::<Int64Type>().value(0);
    assert_eq!((of(1), of(2)), (301, -500));
    let average = out.batches[0].1.columns.column(3).as_primitive::<arrow_array::types::Float64Type>().value(0);
    assert_eq!(average, -500.0 / 301.0);
    let unknown = step.group.restore_put(key_group, key, &[GROUP_VERSION, 0, 0, 0, 0, 0, 0, 0, 0, 3]).unwrap_err();
    assert!(unknown.to_string().ends_with("it is of version 3, this Weir reads 1 to 2"), "{unknown}");
}

struct Nowhere;

impl weir_state::table::DeltaWriter for Nowhere {
    fn put(&mut self, _key_group: u16, _key: &[u8], _value: &[u8]) {}
    fn delete(&mut self, _key_group: u16, _key: &[u8]) {}
}

#[test]
fn a_count_by_a_number_costs_less_than_48_bytes_a_key() {
    let (keys, epoch) = (100_000i64, 5_000);
    for ttl_us in [None, Some(1_000)] {
        let mut step = step(&COUNT_AND_SUM[..1], ttl_us, false);
        for first in (0..keys).step_by(epoch) {
            step.told(inserts(&(first..first + epoch as i64).map(|key| (key, 0, 0)).collect::<Vec<_>>()));
            step.group.seal(&mut Nowhere);
        }
        let bytes = step.group.byte_size() as f64 / keys as f64;
        assert!(bytes < 48.0, "{bytes} with a time to live of {ttl_us:?}");
    }
}

#[test]
fn keys_that_come_and_go_do_not_pile_up() {
    let mut step = step(&COUNT_AND_SUM, Some(1000), false);
    for round in 0..200i64 {
        let rows: Vec<(i64, i64, i64)> = (0..500).map(|n| (round * 500 + n, round * 500 + n, 1)).collect();
        step.told(inserts(&rows));
        step.advance(round * 500 - 100);
        step.group.seal(&mut Nowhere);
    }
    assert!(step.group.keys() < 2500, "{}", step.group.keys());
    let bytes = step.group.byte_size();
    assert!(bytes < 400_000, "{bytes}");
}
