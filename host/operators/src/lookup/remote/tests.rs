//! What is asked of a table that is elsewhere, once a key, and what comes of its answers.

use arrow_array::cast::AsArray;
use arrow_array::types::Int64Type;
use arrow_array::{Array, Int64Array, RecordBatch, StringArray};
use arrow_schema::{DataType, Field, Schema};
use weir_stream::{Changes, Origin};

use std::sync::Arc;

use super::*;
use crate::lookup::{AnswerCache, MAX_KEY_BYTES, MAX_ROWS_PER_KEY};
use crate::row::RowFormat;
use arrow_array::ArrayRef;

fn schema(name: &str, data_type: DataType) -> SchemaRef {
    Arc::new(Schema::new(vec![Field::new(name, data_type, true)]))
}

fn batch(numbers: &[Option<i64>]) -> Batch {
    let rows = numbers.len();
    let columns = vec![Arc::new(Int64Array::from(numbers.to_vec())) as ArrayRef];
    Batch {
        columns: RecordBatch::try_new(schema("n", DataType::Int64), columns).unwrap(),
        event_times_us: vec![0; rows].into(),
        watermarks_us: vec![0; rows].into(),
        origin: Origin::Step("before".into()),
        changes: Changes::Inserts,
    }
}

/// A look-up with its table.
struct Both(RemoteLookup, RemoteTable);

impl Both {
    fn begin(&mut self, batch: Batch, now_ns: u64) -> Result<Pending, StepFault> {
        self.0.begin(&mut self.1, batch, now_ns)
    }

    fn learn(&mut self, pending: &mut Pending, question: usize, answer: KeyAnswer, now_ns: u64) {
        self.1.learn(&mut pending.questions, question, answer, now_ns);
    }
}

fn lookup(kind: LookupKind, cache: AnswerCache) -> Both {
    let input = schema("n", DataType::Int64);
    let fields = vec![Field::new("n", DataType::Int64, true), Field::new("city", DataType::Utf8, true)];
    let values = RowFormat::new(&schema("city", DataType::Utf8)).unwrap();
    let lookup = RemoteLookup::new(&["6 / n".into()], kind, &input, &Arc::new(Schema::new(fields))).unwrap();
    Both(lookup, RemoteTable::new(values, cache))
}

/// Rows of the table.
fn rows(cities: &[&str]) -> Vec<Box<[u8]>> {
    let format = RowFormat::new(&schema("city", DataType::Utf8)).unwrap();
    let column = Arc::new(StringArray::from(cities.to_vec())) as ArrayRef;
    let columns = RecordBatch::try_new(schema("city", DataType::Utf8), vec![column]).unwrap();
    let writer = format.writer(&columns);
    let row = |row| {
        let mut bytes = Vec::new();
        writer.write(row, &mut bytes);
        bytes.into()
    };
    (0..cities.len()).map(row).collect()
}

fn asked(pending: &Pending) -> Vec<i64> {
    pending.questions.asked_with()[0].as_primitive::<Int64Type>().values().to_vec()
}

/// What came out: the number and its city.
fn given(lookup: &Both, pending: Pending) -> (Vec<(i64, Option<String>)>, Vec<String>) {
    let mut out = Outputs::default();
    lookup.0.finish(&lookup.1, pending, &mut out).unwrap();
    let mut all = Vec::new();
    for (_, batch) in &out.batches {
        let numbers = batch.columns.column(0).as_primitive::<Int64Type>();
        let cities = batch.columns.column(1).as_string::<i32>();
        let city = |row| cities.is_valid(row).then(|| cities.value(row).to_owned());
        all.extend((0..batch.rows()).map(|row| (numbers.value(row), city(row))));
    }
    let reasons = out.rejects.iter().map(|reject| format!("{}: {}", reject.code, reject.reason)).collect();
    (all, reasons)
}

#[test]
fn each_key_is_asked_once_and_answers_go_to_all_its_rows() {
    let mut left = lookup(LookupKind::Left, AnswerCache::new(10, 10));
    let mut pending = left.begin(batch(&[Some(1), Some(2), Some(1), None, Some(0), Some(3)]), 0).unwrap();
    assert_eq!((asked(&pending), pending.questions.missing()), (vec![6, 3, 2], 3));
    left.learn(&mut pending, 0, KeyAnswer::of(rows(&["Rome"]), false), 0);
    left.learn(&mut pending, 1, KeyAnswer::of(rows(&["Bonn", "Nice"]), true), 0);
    left.learn(&mut pending, 2, KeyAnswer::of(rows(&["Oslo", "Lima"]), false), 0);
    let (out, rejects) = given(&left, pending);
    let city = |name: &str| Some(name.to_owned());
    assert_eq!(out[..4], [(1, city("Rome")), (2, city("Bonn")), (2, city("Nice")), (1, city("Rome"))]);
    assert_eq!((out.len(), &out[4].1), (5, &None), "a null matches nothing");
    assert_eq!(rejects.len(), 2);
    assert!(rejects[0].starts_with("expression: `6 / n`: division by zero"), "{rejects:?}");
    assert_eq!(rejects[1], "lookup: the table has several rows of this key");

    let again = left.begin(batch(&[Some(3), Some(1), Some(6)]), 9).unwrap();
    assert_eq!(asked(&again), [1], "the others are known");
    assert_eq!(left.begin(batch(&[Some(1)]), 10).unwrap().questions.missing(), 1, "not for ever");
}

#[test]
fn inner_leaves_out_rows_whose_key_has_none() {
    let mut inner = lookup(LookupKind::Inner, AnswerCache::new(0, 0));
    let mut pending = inner.begin(batch(&[Some(1), Some(2)]), 0).unwrap();
    inner.learn(&mut pending, 0, KeyAnswer::Rows(vec![]), 0);
    inner.learn(&mut pending, 1, KeyAnswer::of(rows(&["Rome"]), false), 0);
    assert_eq!(given(&inner, pending).0, [(2, Some("Rome".to_owned()))]);
    assert_eq!(inner.begin(batch(&[Some(1)]), 0).unwrap().questions.missing(), 1, "nothing is kept");
}

#[test]
fn without_an_answer_nothing_is_made_up() {
    let mut left = lookup(LookupKind::Left, AnswerCache::new(10, 10));
    let pending = left.begin(batch(&[Some(1)]), 0).unwrap();
    let fault = left.0.finish(&left.1, pending, &mut Outputs::default()).unwrap_err();
    assert_eq!(fault.to_string(), "internal: a key was not answered");
}

#[test]
fn rows_of_a_key_that_are_too_many_or_too_large_are_no_answer() {
    let unusable = |answer| matches!(answer, KeyAnswer::Unusable(_));
    assert!(unusable(KeyAnswer::of(rows(&["x"; MAX_ROWS_PER_KEY + 1]), true)));
    assert!(!unusable(KeyAnswer::of(rows(&["x"; MAX_ROWS_PER_KEY]), true)));
    assert!(unusable(KeyAnswer::of(rows(&[&"x".repeat(MAX_KEY_BYTES)]), false)));
}

#[test]
fn keys_alone_get_the_row_of_each_and_why_there_is_none() {
    let Both(_, mut table) = lookup(LookupKind::Left, AnswerCache::new(10, 10));
    let keys: ArrayRef = Arc::new(Int64Array::from(vec![Some(7), None, Some(8), Some(7), Some(9)]));
    let mut questions = table.begin(&[keys], 5, &[], 0).unwrap();
    assert_eq!(questions.missing(), 3, "a null is not asked");
    table.learn(&mut questions, 0, KeyAnswer::of(rows(&["Rome"]), false), 0);
    table.learn(&mut questions, 1, KeyAnswer::of(rows(&["Oslo", "Lima"]), false), 0);
    table.learn(&mut questions, 2, KeyAnswer::Rows(vec![]), 0);
    let answer = table.finish(questions).unwrap();
    assert_eq!(answer.keys, [0, 3]);
    assert_eq!(answer.columns[0].as_string::<i32>(), &StringArray::from(vec!["Rome", "Rome"]));
    assert_eq!(answer.refused, [(2, "the table has several rows of this key".to_owned())]);
}
