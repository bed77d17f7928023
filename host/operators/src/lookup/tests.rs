//! Rows beside a table's rows: which come out, in what order, and what a table may not be.

use arrow_array::cast::AsArray;
use arrow_array::types::{Int32Type, Int64Type};
use arrow_array::{Array, ArrayRef, Int32Array, Int64Array, RecordBatch, StringArray};
use arrow_schema::{DataType, Field};
use weir_stream::{ChangeKind, Changes, Origin};

use super::*;

fn input() -> SchemaRef {
    let fields = vec![Field::new("n", DataType::Int64, true), Field::new("name", DataType::Utf8, false)];
    Arc::new(Schema::new(fields))
}

fn batch(numbers: &[Option<i64>]) -> Batch {
    let names = StringArray::from_iter_values((0..numbers.len()).map(|row| format!("row {row}")));
    let columns: Vec<ArrayRef> = vec![Arc::new(Int64Array::from(numbers.to_vec())), Arc::new(names)];
    let rows = numbers.len() as i64;
    Batch {
        columns: RecordBatch::try_new(input(), columns).unwrap(),
        event_times_us: (0..rows).collect(),
        watermarks_us: (0..rows).map(|row| row - 10).collect(),
        origin: Origin::Step("before".into()),
        changes: Changes::Inserts,
    }
}

fn shape(several: bool) -> TableShape {
    let fields = vec![Field::new("id", DataType::Int32, true), Field::new("city", DataType::Utf8, false)];
    TableShape { schema: Arc::new(Schema::new(fields)), key: vec![0], several }
}

fn rows(rows: &[(Option<i32>, &str)]) -> RecordBatch {
    let ids: Int32Array = rows.iter().map(|(id, _)| *id).collect();
    let cities = StringArray::from_iter_values(rows.iter().map(|(_, city)| *city));
    RecordBatch::try_new(shape(false).schema, vec![Arc::new(ids), Arc::new(cities)]).unwrap()
}

fn table(several: bool, of: &[(Option<i32>, &str)]) -> LookupTable {
    LookupTable::new(&shape(several), &rows(of)).unwrap()
}

fn lookup(on: &str, kind: LookupKind, table: LookupTable) -> Lookup {
    let output = lookup_schema(kind, "", &input(), &shape(true)).unwrap();
    let slot = Arc::new(TableSlot::default());
    slot.put(table);
    Lookup::new(&[on.to_owned()], kind, &input(), &output, slot).unwrap()
}

fn process(lookup: &mut Lookup, batch: Batch) -> Outputs {
    let mut out = Outputs::default();
    lookup.process(batch, &mut out).unwrap();
    out
}

/// Name and city of each row that came out.
fn given(out: &Outputs) -> Vec<(String, Option<String>)> {
    let mut all = Vec::new();
    for (_, batch) in &out.batches {
        let (names, cities) = (batch.columns.column(1).as_string::<i32>(), batch.columns.column(2).as_string::<i32>());
        all.extend(
            (0..batch.rows())
                .map(|row| (names.value(row).to_owned(), cities.is_valid(row).then(|| cities.value(row).to_owned()))),
        );
    }
    all
}

fn pairs(of: &[(&str, Option<&str>)]) -> Vec<(String, Option<String>)> {
    of.iter().map(|(name, city)| ((*name).to_owned(), city.map(str::to_owned))).collect()
}

#[test]
fn inner_leaves_out_rows_without_a_match_and_left_gives_them_nulls() {
    let cities = [(Some(1), "Rome"), (None, "nowhere"), (Some(3), "Oslo")];
    let numbers = [Some(3), Some(2), None, Some(1)];
    let out = process(&mut lookup("n", LookupKind::Inner, table(false, &cities)), batch(&numbers));
    assert_eq!(given(&out), pairs(&[("row 0", Some("Oslo")), ("row 3", Some("Rome"))]));
    assert_eq!(
        (&out.batches[0].1.event_times_us[..], &out.batches[0].1.watermarks_us[..]),
        (&[0, 3][..], &[-10, -7][..])
    );
    let out = process(&mut lookup("n", LookupKind::Left, table(false, &cities)), batch(&numbers));
    let all = [("row 0", Some("Oslo")), ("row 1", None), ("row 2", None), ("row 3", Some("Rome"))];
    assert_eq!(given(&out), pairs(&all));
    assert_eq!(out.batches[0].1.columns.num_columns(), 3, "the key is not there a second time");
}

#[test]
fn left_copies_no_column_of_a_batch_that_it_keeps_whole() {
    let rows = batch(&[Some(1), Some(2)]);
    let column = Arc::clone(rows.columns.column(0));
    let out = process(&mut lookup("n", LookupKind::Left, table(false, &[(Some(1), "Rome")])), rows);
    assert!(Arc::ptr_eq(out.batches[0].1.columns.column(0), &column));
}

#[test]
fn an_empty_table_matches_nothing() {
    assert!(process(&mut lookup("n", LookupKind::Inner, table(false, &[])), batch(&[Some(1)])).batches.is_empty());
    let out = process(&mut lookup("n", LookupKind::Left, table(false, &[])), batch(&[Some(1)]));
    assert_eq!(given(&out), pairs(&[("row 0", None)]));
}

#[test]
fn several_rows_of_a_key_come_out_in_the_order_of_the_table() {
    let cities = [(Some(1), "Rome"), (Some(2), "Oslo"), (Some(1), "Bonn"), (Some(1), "Nice")];
    let out = process(&mut lookup("n", LookupKind::Left, table(true, &cities)), batch(&[Some(2), Some(1), Some(9)]));
    let all = [
        ("row 0", Some("Oslo")),
        ("row 1", Some("Rome")),
        ("row 1", Some("Bonn")),
        ("row 1", Some("Nice")),
        ("row 2", None),
    ];
    assert_eq!(given(&out), pairs(&all));
    assert_eq!(&out.batches[0].1.event_times_us[..], &[0, 1, 1, 1, 2]);
}

#[test]
fn as_many_rows_as_came_but_not_each_once_are_not_taken_for_the_batch() {
    let cities = [(Some(2), "Oslo"), (Some(2), "Rome")];
    let out = process(&mut lookup("n", LookupKind::Inner, table(true, &cities)), batch(&[Some(1), Some(2)]));
    assert_eq!(given(&out), pairs(&[("row 1", Some("Oslo")), ("row 1", Some("Rome"))]));
}

#[test]
fn a_key_that_fails_costs_its_row_but_not_a_delete() {
    let mut left = lookup("6 / n", LookupKind::Left, table(false, &[(Some(6), "Rome")]));
    let mut rows = batch(&[Some(1), Some(0), Some(0)]);
    rows.changes = Changes::PerRow(vec![ChangeKind::UpdateAfter as u8, 0, ChangeKind::Delete as u8].into());
    let out = process(&mut left, rows);
    assert_eq!(given(&out), pairs(&[("row 0", Some("Rome")), ("row 2", None)]));
    assert_eq!(out.batches[0].1.changes.kind(1), ChangeKind::Delete);
    let reject = &out.rejects[0];
    assert_eq!((out.rejects.len(), reject.stage, &*reject.code), (1, "lookup", "expression"));
}

#[test]
fn another_table_counts_from_the_next_batch_on() {
    let mut lookup = lookup("n", LookupKind::Inner, table(false, &[(Some(1), "Rome")]));
    assert_eq!(given(&process(&mut lookup, batch(&[Some(1)]))), pairs(&[("row 0", Some("Rome"))]));
    lookup.slot.put(table(false, &[(Some(1), "Roma")]));
    assert_eq!(given(&process(&mut lookup, batch(&[Some(1)]))), pairs(&[("row 0", Some("Roma"))]));
}

#[test]
fn without_a_table_nothing_is_made_up() {
    let mut lookup = lookup("n", LookupKind::Left, table(false, &[]));
    lookup.slot = Arc::default();
    let fault = lookup.process(batch(&[Some(1)]), &mut Outputs::default()).unwrap_err();
    assert_eq!(fault.to_string(), "internal: no table was loaded");
}

#[test]
fn a_second_row_of_a_key_is_a_fault_where_one_may_be_there() {
    let duplicate = [(Some(7), "a"), (Some(1), "b"), (None, "c"), (None, "d"), (Some(1), "e")];
    let fault = LookupTable::new(&shape(false), &rows(&duplicate)).unwrap_err();
    assert_eq!(fault, TableFault::Duplicate { first: 1, second: 4 });
}

#[test]
fn what_one_row_can_match_is_bounded() {
    let many = vec![(Some(1), "x"); MAX_ROWS_PER_KEY];
    assert_eq!(table(true, &many).rows(), MAX_ROWS_PER_KEY);
    let fault = LookupTable::new(&shape(true), &rows(&vec![(Some(1), "x"); MAX_ROWS_PER_KEY + 1])).unwrap_err();
    assert_eq!(fault, TableFault::TooManyRows { row: 0 });
    let wide = "x".repeat(MAX_KEY_BYTES);
    assert_eq!(table(false, &[(Some(1), &wide)]).rows(), 1);
    let fault = LookupTable::new(&shape(true), &rows(&[(Some(1), &wide), (Some(1), "x")])).unwrap_err();
    assert_eq!(fault, TableFault::TooLarge { row: 0 });
    let fault = LookupTable::new(&shape(false), &rows(&[(Some(1), &(wide + "x"))])).unwrap_err();
    assert_eq!(fault, TableFault::TooLarge { row: 0 });
}

#[test]
fn much_text_comes_out_in_several_batches() {
    let wide = "x".repeat(MAX_KEY_BYTES);
    let numbers = vec![Some(1); 1500];
    let out = process(&mut lookup("n", LookupKind::Left, table(false, &[(Some(1), &wide)])), batch(&numbers));
    let sizes: Vec<usize> = out.batches.iter().map(|(_, batch)| batch.rows()).collect();
    assert_eq!(sizes, [1024, 476]);
    assert_eq!(&out.batches[1].1.event_times_us[..2], &[1024, 1025]);
}

#[test]
fn a_tables_bytes_are_counted() {
    let small = table(false, &[(Some(1), "x")]).byte_size();
    let large = table(false, &[(Some(1), &"x".repeat(10_000))]).byte_size();
    assert!(large >= small + 9_000, "{small} and {large}");
}

#[test]
fn columns_of_both_sides_may_not_have_one_name() {
    let named = |name: &str| TableShape {
        schema: Arc::new(Schema::new(vec![
            Field::new("n", DataType::Int32, false),
            Field::new(name, DataType::Utf8, false),
        ])),
        key: vec![0],
        several: false,
    };
    assert_eq!(lookup_schema(LookupKind::Inner, "", &input(), &named("name")), Err("name".into()));
    let schema = lookup_schema(LookupKind::Left, "of_", &input(), &named("name")).unwrap();
    assert_eq!((schema.field(2).name().as_str(), schema.field(2).is_nullable()), ("of_name", true));
    assert!(!lookup_schema(LookupKind::Inner, "", &input(), &named("city")).unwrap().field(2).is_nullable());
}

#[test]
fn keys_of_several_columns_match_in_the_order_of_the_lookup() {
    let fields = vec![
        Field::new("city", DataType::Utf8, false),
        Field::new("size", DataType::Int32, false),
        Field::new("id", DataType::Int32, false),
    ];
    let shape = TableShape { schema: Arc::new(Schema::new(fields)), key: vec![2, 0], several: false };
    let columns: Vec<ArrayRef> = vec![
        Arc::new(StringArray::from(vec!["row 0", "row 1"])),
        Arc::new(Int32Array::from(vec![10, 11])),
        Arc::new(Int32Array::from(vec![5, 5])),
    ];
    let table = LookupTable::new(&shape, &RecordBatch::try_new(Arc::clone(&shape.schema), columns).unwrap()).unwrap();
    let output = lookup_schema(LookupKind::Inner, "", &input(), &shape).unwrap();
    let slot = Arc::new(TableSlot::default());
    slot.put(table);
    let on = ["n".to_owned(), "name".to_owned()];
    let mut lookup = Lookup::new(&on, LookupKind::Inner, &input(), &output, slot).unwrap();
    let out = process(&mut lookup, batch(&[Some(6), Some(5)]));
    let made = &out.batches[0].1.columns;
    assert_eq!(made.column(2).as_primitive::<Int32Type>().values(), &[11]);
    assert_eq!(made.column(0).as_primitive::<Int64Type>().values(), &[5]);
}
