//! What the oracle does not draw: overflow, lateness apart, extremes, stored values, layouts.

mod limits;

use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::{Decimal128Type, Float64Type, Int64Type, UInt64Type};
use arrow_array::{
    Array, ArrayRef, BooleanArray, Date32Array, Decimal128Array, Float32Array, Int64Array, RecordBatch, StringArray,
    TimestampMillisecondArray, UInt64Array,
};
use arrow_schema::{Schema, TimeUnit};
use weir_state::table::DeltaWriter;
use weir_stream::time::NO_WATERMARK;
use weir_stream::{Batch, Changes, Origin};

use super::*;
use crate::key::KeyEncoder;
use crate::keyed::KeyedOperator;
use crate::operator::Outputs;
use crate::window::WindowGrid;

/// Columns, each with its name.
type Columns = Vec<(&'static str, ArrayRef)>;

fn batch(times_us: &[i64], columns: &Columns) -> Batch {
    let fields: Vec<Field> =
        columns.iter().map(|(name, column)| Field::new(*name, column.data_type().clone(), true)).collect();
    let columns = columns.iter().map(|(_, column)| Arc::clone(column)).collect();
    Batch {
        columns: RecordBatch::try_new(Arc::new(Schema::new(fields)), columns).unwrap(),
        event_times_us: times_us.to_vec().into(),
        watermarks_us: vec![NO_WATERMARK; times_us.len()].into(),
        origin: Origin::Step("before".into()),
        changes: Changes::Inserts,
    }
}

fn aggregate(text: &str) -> AggregateSpec {
    let (kind, argument) = text.trim_end_matches(')').split_once('(').unwrap();
    let argument = (!argument.is_empty()).then_some(argument);
    AggregateSpec::new(text, AggregateKind::from_name(kind).unwrap(), argument)
}

struct Step {
    key: KeyEncoder,
    windows: WindowAggregate,
}

fn hundred() -> WindowGrid {
    WindowGrid::tumbling(100, 0).unwrap()
}

fn spec(key: &KeyEncoder, aggregates: &[&str]) -> WindowSpec {
    WindowSpec {
        step: "w".into(),
        time: WindowTime::Event,
        showing: Showing::default(),
        key: key.fields().to_vec(),
        aggregates: aggregates.iter().map(|text| aggregate(text)).collect(),
    }
}

fn step(input: &SchemaRef, aggregates: &[&str]) -> Step {
    let key = KeyEncoder::new(&[("k".into(), "k".into())], input, 4).unwrap();
    let windows = WindowAggregate::new(&spec(&key, aggregates), &hundred(), input, 0..4).unwrap();
    Step { key, windows }
}

impl Step {
    fn process(&mut self, batch: Batch) -> Outputs {
        let mut out = Outputs::default();
        let keyed = self.key.encode(batch, &mut out).unwrap();
        self.windows.process(0, &keyed, &mut out).unwrap();
        out
    }

    fn advance(&mut self, watermark_us: i64) -> Vec<Batch> {
        let mut out = Outputs::default();
        self.windows.advance(watermark_us, &mut out).unwrap();
        out.batches.into_iter().map(|(_, batch)| batch).collect()
    }

    fn finish(&mut self) -> Vec<Batch> {
        self.advance(i64::MAX)
    }
}

fn refused(aggregates: &[&str], columns: &Columns) -> String {
    let input = batch(&vec![0; columns[0].1.len()], columns).schema();
    let key = KeyEncoder::new(&[("k".into(), "k".into())], &input, 4).unwrap();
    WindowAggregate::new(&spec(&key, aggregates), &hundred(), &input, 0..4).unwrap_err().1.message
}

fn k(keys: &[i64]) -> (&'static str, ArrayRef) {
    ("k", Arc::new(Int64Array::from(keys.to_vec())))
}

fn decimals(values: Vec<Option<i128>>, precision: u8, scale: i8) -> ArrayRef {
    Arc::new(Decimal128Array::from(values).with_precision_and_scale(precision, scale).unwrap())
}

#[test]
fn result_types_are_those_of_the_table() {
    use AggregateKind::{Avg, Count, Max, Min, Sum};
    let decimal = DataType::Decimal128;
    for signed in [DataType::Int8, DataType::Int16, DataType::Int32, DataType::Int64] {
        assert_eq!(result_type(Sum, &signed), Ok(DataType::Int64));
        assert_eq!(result_type(Avg, &signed), Ok(DataType::Float64));
        assert_eq!(result_type(Min, &signed), Ok(signed));
    }
    assert_eq!(result_type(Sum, &DataType::UInt8), Ok(DataType::UInt64));
    assert_eq!(result_type(Sum, &DataType::Float32), Ok(DataType::Float64));
    assert_eq!(result_type(Max, &DataType::Float32), Ok(DataType::Float32));
    assert_eq!(result_type(Sum, &decimal(12, 2)), Ok(decimal(22, 2)));
    assert_eq!(result_type(Sum, &decimal(35, 2)), Ok(decimal(38, 2)));
    assert_eq!(result_type(Avg, &decimal(12, 2)), Ok(decimal(16, 6)));
    assert_eq!(result_type(Avg, &decimal(38, 36)), Ok(decimal(38, 38)));
    assert_eq!(result_type(Count, &DataType::Utf8), Ok(DataType::Int64));
    assert_eq!(result_type(Sum, &DataType::Utf8), Err("`sum` takes numbers, not utf8".into()));
    assert_eq!(result_type(Avg, &DataType::Boolean), Err("`avg` takes numbers, not bool".into()));
    assert_eq!(result_type(Max, &DataType::Null), Err("`max` needs something to aggregate: max(column)".into()));
}

#[test]
fn a_row_that_overflows_a_sum_is_a_reject_and_leaves_every_aggregate_as_it_was() {
    let columns = vec![k(&[1; 4]), ("v", Arc::new(Int64Array::from(vec![i64::MAX - 1, 1, 1, -5])) as ArrayRef)];
    let rows = batch(&[0, 1, 2, 3], &columns);
    let mut step = step(&rows.schema(), &["count()", "sum(v)", "max(v)", "avg(v)"]);
    let out = step.process(rows);
    assert_eq!(out.rejects.len(), 1);
    assert_eq!((&*out.rejects[0].code, out.rejects[0].stage), ("overflow", "aggregate"));
    assert_eq!(out.rejects[0].reason, "`sum(v)`: this row would make sum(v) too large for its type");
    let fired = step.finish();
    let column = |name: &str| Arc::clone(fired[0].columns.column_by_name(name).unwrap());
    assert_eq!(column("count()").as_primitive::<Int64Type>().value(0), 3);
    assert_eq!(column("sum(v)").as_primitive::<Int64Type>().value(0), i64::MAX - 5);
    assert_eq!(column("max(v)").as_primitive::<Int64Type>().value(0), i64::MAX - 1);
}

#[test]
fn sums_reach_both_ends_of_their_type_and_not_one_further() {
    let unsigned = vec![k(&[1; 3]), ("v", Arc::new(UInt64Array::from(vec![u64::MAX - 1, 1, 1])) as ArrayRef)];
    let rows = batch(&[0; 3], &unsigned);
    let mut sums = step(&rows.schema(), &["sum(v)"]);
    assert_eq!(sums.process(rows).rejects.len(), 1);
    assert_eq!(sums.finish()[0].columns.column(3).as_primitive::<UInt64Type>().value(0), u64::MAX);

    let lowest = vec![k(&[1; 3]), ("v", Arc::new(Int64Array::from(vec![i64::MIN, -1, 7])) as ArrayRef)];
    let rows = batch(&[0; 3], &lowest);
    let mut sums = step(&rows.schema(), &["sum(v)"]);
    assert_eq!(sums.process(rows).rejects.len(), 1);
    assert_eq!(sums.finish()[0].columns.column(3).as_primitive::<Int64Type>().value(0), i64::MIN + 7);

    let most = 10i128.pow(38) - 1;
    let rows = batch(&[0; 3], &vec![k(&[1; 3]), ("v", decimals(vec![Some(most), Some(1), Some(-most)], 38, 0))]);
    let mut sums = step(&rows.schema(), &["sum(v)"]);
    assert_eq!(sums.process(rows).rejects.len(), 1);
    assert_eq!(sums.finish()[0].columns.column(3).as_primitive::<Decimal128Type>().value(0), 0);
}

#[test]
fn overflow_is_the_same_when_rows_come_one_by_one_and_after_a_restore() {
    let values: Vec<i64> = vec![i64::MAX, -3, 5, 2, i64::MIN, 1, i64::MAX, i64::MAX, 4];
    let rows = batch(&[0; 9], &vec![k(&[1, 1, 1, 2, 2, 1, 2, 2, 1]), ("v", Arc::new(Int64Array::from(values)))]);
    let mut whole = step(&rows.schema(), &["sum(v)", "count()"]);
    let expected = whole.process(rows.clone()).rejects.len();
    let mut deltas = Deltas::default();
    let mut single = step(&rows.schema(), &["sum(v)", "count()"]);
    let mut rejects = 0;
    for row in 0..9 {
        rejects += single.process(rows.slice(row, 1)).rejects.len();
        single.windows.seal(&mut deltas);
        single = step(&rows.schema(), &["sum(v)", "count()"]);
        deltas.restore(&mut single.windows);
    }
    assert_eq!((rejects, expected), (3, 3));
    assert_eq!(single.finish()[0].columns, whole.finish()[0].columns);
}

#[test]
fn an_average_that_its_type_cannot_hold_is_refused_before_its_key_exists() {
    let large = 10i128.pow(37);
    let rows = batch(&[0; 2], &vec![k(&[1, 2]), ("v", decimals(vec![Some(large), Some(5)], 38, 0))]);
    let mut step = step(&rows.schema(), &["avg(v)"]);
    let out = step.process(rows);
    assert_eq!((out.rejects.len(), &*out.rejects[0].code), (1, "overflow"));
    let fired = step.finish();
    assert_eq!(fired[0].rows(), 1, "the refused row left no key behind");
    assert_eq!(fired[0].columns.column(3).as_primitive::<Decimal128Type>().value(0), 50_000);
}

#[test]
fn nulls_are_left_out_and_nothing_but_nulls_gives_null() {
    let values = Arc::new(Int64Array::from(vec![None, Some(4), None])) as ArrayRef;
    let rows = batch(&[0; 3], &vec![k(&[1, 1, 2]), ("v", values)]);
    let mut step = step(&rows.schema(), &["count()", "count(v)", "sum(v)", "avg(v)", "min(v)"]);
    step.process(rows);
    let fired = step.finish().remove(0).columns;
    assert_eq!(fired.column(3).as_primitive::<Int64Type>().values(), &[2, 1]);
    assert_eq!(fired.column(4).as_primitive::<Int64Type>().values(), &[1, 0]);
    for column in [5, 6, 7] {
        assert!(fired.column(column).is_valid(0) && fired.column(column).is_null(1), "column {column}");
    }
}

#[test]
fn the_largest_and_smallest_of_every_type_come_back_in_it() {
    let columns: Columns = vec![
        k(&[1; 3]),
        ("b", Arc::new(BooleanArray::from(vec![true, false, true]))),
        ("d", Arc::new(Date32Array::from(vec![5, -700_000, 3]))),
        ("t", Arc::new(TimestampMillisecondArray::from(vec![0, -5, i64::MAX]).with_timezone("UTC"))),
        ("f", Arc::new(Float32Array::from(vec![-0.0, f32::NAN, -1.5]))),
        ("s", Arc::new(StringArray::from(vec!["b", "a", "\u{e9}"]))),
        ("u", Arc::new(UInt64Array::from(vec![u64::MAX, 0, 1]))),
        ("m", decimals(vec![Some(-1), None, Some(10)], 5, 2)),
    ];
    let rows = batch(&[0; 3], &columns);
    for (name, column) in &columns[1..] {
        let texts = [format!("min({name})"), format!("max({name})")];
        let mut step = step(&rows.schema(), &[&texts[0], &texts[1]]);
        step.process(rows.clone());
        let fired = step.finish().remove(0).columns;
        let expect = |row: usize| column.slice(row, 1);
        let (least, most) = match *name {
            "b" | "d" | "u" => (expect(1), expect(0)),
            "t" => (expect(1), expect(2)),
            "f" => (expect(2), expect(1)),
            "s" => (expect(1), expect(2)),
            _ => (expect(0), expect(2)),
        };
        assert_eq!((fired.column(3), fired.column(4)), (&least, &most), "{name}");
    }
}

#[test]
fn a_float_zero_has_one_sign_in_min_and_max_and_nan_stays_in_a_sum() {
    let floats = Arc::new(Float32Array::from(vec![-0.0, f32::NAN])) as ArrayRef;
    let rows = batch(&[0; 2], &vec![k(&[1, 2]), ("f", floats)]);
    let mut step = step(&rows.schema(), &["max(f)", "sum(f)", "avg(f)"]);
    step.process(rows);
    let fired = step.finish().remove(0).columns;
    assert_eq!(fired.column(3).as_primitive::<arrow_array::types::Float32Type>().value(0).to_bits(), 0);
    for column in [4, 5] {
        assert!(fired.column(column).as_primitive::<Float64Type>().value(1).is_nan());
    }
}

#[test]
fn late_rows_are_told_apart_by_why_they_are_late() {
    let columns = vec![k(&[1, 2, 3])];
    let mut rows = batch(&[50, 50, 150], &columns);
    rows.watermarks_us = vec![100, 99, 199].into();
    let mut step = step(&rows.schema(), &["count()"]);
    let out = step.process(rows.clone());
    assert_eq!((out.late.len(), out.late[0].1.columns.column(0).as_primitive::<Int64Type>().values()[0]), (1, 1));
    assert_eq!(step.advance(100).len(), 1);
    let out = step.process(rows);
    assert_eq!(out.late[0].1.rows(), 2);
    assert_eq!(step.windows.late_rows(), LateRows { behind_watermark: 2, window_fired: 1 });
    assert_eq!((step.windows.panes(), step.windows.next_fire_us()), (1, Some(200)));
    assert!(step.advance(99).is_empty(), "a watermark never goes back");
    assert_eq!(step.windows.watermark_us(), 100);
}

#[test]
fn event_times_whose_window_leaves_i64_and_rows_that_are_no_inserts_are_rejects() {
    let mut rows = batch(&[i64::MAX, i64::MIN, 5, 6], &vec![k(&[1; 4])]);
    rows.changes = Changes::PerRow(vec![0, 0, 3, 0].into());
    let mut step = step(&rows.schema(), &["count()"]);
    let out = step.process(rows);
    let codes: Vec<&str> = out.rejects.iter().map(|reject| &*reject.code).collect();
    assert_eq!(codes, ["event-time", "event-time", "change-kind"]);
    let fired = step.finish();
    assert_eq!(fired[0].columns.column(3).as_primitive::<Int64Type>().values(), &[1]);
}

#[test]
fn results_come_window_by_window_in_the_order_of_their_keys() {
    let count = 20_000i64;
    let keys: Vec<i64> = (0..count).map(|n| (n * 7919) % count - count / 2).collect();
    let times: Vec<i64> = (0..count).map(|n| (n % 2) * 100).collect();
    let rows = batch(&times, &vec![k(&keys)]);
    let mut step = step(&rows.schema(), &["count()"]);
    step.process(rows);
    let fired = step.finish();
    assert!(fired.iter().all(|batch| batch.rows() <= 8192));
    let order: Vec<(i64, i64)> = fired
        .iter()
        .flat_map(|batch| {
            let keys = batch.columns.column(2).as_primitive::<Int64Type>().values().to_vec();
            batch.event_times_us.iter().copied().zip(keys).collect::<Vec<_>>()
        })
        .collect();
    assert_eq!(order.len(), count as usize);
    assert!(order.is_sorted());
    assert!(matches!(&fired[0].origin, Origin::Step(step) if &**step == "w"));
}

#[test]
fn aggregates_that_cannot_be_are_refused_with_the_way_out() {
    let text = Arc::new(StringArray::from(vec!["x"])) as ArrayRef;
    let columns: Columns = vec![k(&[1]), ("text", text)];
    assert_eq!(refused(&["sum(text)"], &columns), "`sum` takes numbers, not utf8");
    assert_eq!(refused(&["max()"], &columns), "`max` needs something to aggregate: max(column)");
    assert_eq!(refused(&["min(nothing)"], &columns), "no column `nothing` here (has: k, text)");
    let twice = refused(&["count()", "count()"], &columns);
    assert_eq!(twice, "the output has two columns named `count()`; rename one");
}

#[test]
fn the_layout_names_what_stored_state_depends_on() {
    let rows = batch(&[0], &vec![k(&[1]), ("m", decimals(vec![Some(1)], 12, 2))]);
    let step = step(&rows.schema(), &["count()", "sum(m)"]);
    assert_eq!(
        step.windows.state_layout(),
        "tumbling/1 size_us=100 offset_us=0 key=[k Int64] aggregates=[count() count(Null), sum(m) sum(Decimal128(12, 2))]"
    );
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

impl Deltas {
    fn restore(&self, windows: &mut WindowAggregate) {
        for (group, key, value) in &self.0 {
            match value {
                Some(value) => windows.restore_put(*group, key, value).unwrap(),
                None => windows.restore_delete(*group, key).unwrap(),
            }
        }
    }
}

#[test]
fn a_stored_value_has_the_documented_bytes() {
    let text = Arc::new(StringArray::from(vec!["ab", "zz"])) as ArrayRef;
    let v = Arc::new(Int64Array::from(vec![5, -2])) as ArrayRef;
    let nothing = Arc::new(Int64Array::from(vec![None, None])) as ArrayRef;
    let rows = batch(&[150, 199], &vec![k(&[1; 2]), ("v", v), ("text", text), ("n", nothing)]);
    let mut step = step(&rows.schema(), &["count()", "sum(v)", "avg(v)", "min(text)", "sum(n)"]);
    step.process(rows);
    let mut deltas = Deltas::default();
    step.windows.seal(&mut deltas);
    let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    assert_eq!(deltas.0.len(), 1);
    assert_eq!(hex(&deltas.0[0].1), "8000000000000064".to_owned() + "038000000000000001");
    let (count, sum, avg, min) = ("04", "0106", "010602", "01020000006162");
    assert_eq!(hex(deltas.0[0].2.as_ref().unwrap()), format!("02{count}{sum}{avg}{min}00"));
}

#[test]
fn stored_values_that_are_damaged_or_newer_are_refused_and_never_a_panic() {
    let rows = batch(&[0], &vec![k(&[1]), ("s", Arc::new(StringArray::from(vec!["abc"])) as ArrayRef)]);
    let mut windows = step(&rows.schema(), &["avg(k)", "max(s)"]);
    windows.process(rows.clone());
    let mut deltas = Deltas::default();
    windows.windows.seal(&mut deltas);
    let (group, key, value) = deltas.0.remove(0);
    let value = value.unwrap();
    let restore = |value: &[u8]| step(&rows.schema(), &["avg(k)", "max(s)"]).windows.restore_put(group, &key, value);
    for end in 0..value.len() {
        assert!(restore(&value[..end]).is_err(), "cut at {end}");
    }
    let newer = [&[3], &value[1..]].concat();
    let error = restore(&newer).unwrap_err().to_string();
    assert!(error.ends_with("it is of version 3, this Weir reads 1 to 2"), "{error}");
    assert!(restore(&[value.as_slice(), b"x"].concat()).unwrap_err().to_string().contains("left over"));
    for place in 0..value.len() {
        for flipped in [0x01, 0x80, 0xff] {
            let mut damaged = value.clone();
            damaged[place] ^= flipped;
            let _ = restore(&damaged);
        }
    }
    restore(&value).unwrap();
}

#[test]
fn timestamps_of_the_window_are_utc_microseconds() {
    let rows = batch(&[-1], &vec![k(&[1])]);
    let mut step = step(&rows.schema(), &["count()"]);
    step.process(rows);
    let fired = step.finish().remove(0);
    let utc = DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()));
    assert_eq!(fired.columns.column(0).data_type(), &utc);
    assert_eq!(fired.columns.schema(), *step.windows.output_schema());
    assert_eq!(&fired.event_times_us[..], &[-1]);
}
