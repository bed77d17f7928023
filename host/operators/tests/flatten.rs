//! `flatten`: lists to rows, structs to columns, and rows whose copies would take too much.

use std::sync::Arc;

use arrow_array::builder::{Int32Builder, ListBuilder};
use arrow_array::cast::AsArray;
use arrow_array::types::{Int32Type, Int64Type};
use arrow_array::{Array, ArrayRef, Int64Array, ListArray, RecordBatch, StringArray, StructArray};
use arrow_buffer::NullBuffer;
use arrow_schema::{DataType, Field, Fields, Schema, SchemaRef};
use weir_operators::flatten::MAX_COPIED_BYTES;
use weir_operators::{Flatten, Operator, Outputs};
use weir_stream::{Batch, Changes, Origin, SourceRecords};

fn batch(columns: Vec<(&str, ArrayRef)>) -> Batch {
    let columns = RecordBatch::try_from_iter_with_nullable(
        columns.into_iter().map(|(name, array)| (name.to_owned(), array, true)),
    );
    let columns = columns.unwrap();
    let rows = columns.num_rows() as i64;
    let records = Arc::new(SourceRecords { offsets: (500..500 + rows).collect(), ..SourceRecords::default() });
    Batch {
        columns,
        event_times_us: (0..rows).collect(),
        watermarks_us: (0..rows).map(|row| row - 10).collect(),
        origin: Origin::Records { records, rows: (0..rows as u32).collect() },
        changes: Changes::Inserts,
    }
}

fn list(lists: &[Option<&[i32]>]) -> ListArray {
    let mut builder = ListBuilder::new(Int32Builder::new());
    for list in lists {
        match list {
            Some(items) => builder.append_value(items.iter().copied().map(Some)),
            None => builder.append_null(),
        }
    }
    builder.finish()
}

/// Item, id, event time and record of every row.
fn rows(out: &Outputs) -> Vec<(Option<i32>, i64, i64, u32)> {
    let mut rows = Vec::new();
    for (output, batch) in &out.batches {
        assert_eq!(*output, 0);
        let items = batch.columns.column(0).as_primitive::<Int32Type>();
        let ids = batch.columns.column(1).as_primitive::<Int64Type>();
        let Origin::Records { rows: records, .. } = &batch.origin else { panic!("origin was lost") };
        rows.extend((0..batch.rows()).map(|row| {
            let item = items.is_valid(row).then(|| items.value(row));
            (item, ids.value(row), batch.event_times_us[row], records[row])
        }));
    }
    rows
}

fn flattened(keep_empty: bool) -> Vec<(Option<i32>, i64, i64, u32)> {
    let lists = list(&[Some(&[1, 2]), None, Some(&[]), Some(&[3])]);
    let batch = batch(vec![("items", Arc::new(lists)), ("id", Arc::new(Int64Array::from(vec![10, 11, 12, 13])))]);
    let mut flatten = Flatten::items(&batch.schema(), 0, "item", keep_empty).unwrap();
    assert_eq!(flatten.output_schema().field(0), &Field::new("item", DataType::Int32, true));
    let mut out = Outputs::default();
    flatten.process(batch, &mut out).unwrap();
    assert!(out.rejects.is_empty());
    rows(&out)
}

#[test]
fn every_item_is_a_row_of_its_record_and_time() {
    assert_eq!(flattened(false), [(Some(1), 10, 0, 0), (Some(2), 10, 0, 0), (Some(3), 13, 3, 3)]);
}

#[test]
fn a_row_without_items_stays_where_it_is_asked_for() {
    let empty = [(None, 11, 1, 1), (None, 12, 2, 2)];
    assert_eq!(flattened(true), [(Some(1), 10, 0, 0), (Some(2), 10, 0, 0), empty[0], empty[1], (Some(3), 13, 3, 3)]);
}

#[test]
fn many_items_come_in_batches_of_bounded_size() {
    let items: Vec<i32> = (0..20_000).collect();
    let batch = batch(vec![("items", Arc::new(list(&[Some(&items)]))), ("id", Arc::new(Int64Array::from(vec![1])))]);
    let mut out = Outputs::default();
    Flatten::items(&batch.schema(), 0, "items", false).unwrap().process(batch, &mut out).unwrap();
    assert_eq!(out.batches.iter().map(|(_, batch)| batch.rows()).collect::<Vec<_>>(), [8192, 8192, 3616]);
    assert_eq!(rows(&out).into_iter().map(|row| row.0).collect::<Vec<_>>(), (0..20_000).map(Some).collect::<Vec<_>>());
}

#[test]
fn a_row_whose_copies_would_take_too_much_is_a_reject() {
    let lists = list(&[Some(&[1; 100]), Some(&[2; 5])]);
    let texts = vec!["x".repeat(MAX_COPIED_BYTES / 50), "short".to_owned()];
    let batch = batch(vec![("items", Arc::new(lists)), ("text", Arc::new(StringArray::from(texts)))]);
    let mut out = Outputs::default();
    Flatten::items(&batch.schema(), 0, "items", false).unwrap().process(batch, &mut out).unwrap();
    assert_eq!(out.batches.iter().map(|(_, batch)| batch.rows()).sum::<usize>(), 5);
    assert_eq!((out.rejects.len(), out.rejects[0].code.as_ref()), (1, "too-large"));
    assert!(out.rejects[0].reason.starts_with("100 items beside "), "{}", out.rejects[0].reason);
}

#[test]
fn what_a_row_weighs_is_its_own_alone() {
    // The other lists of all rows, copied for each item of one, would be far too much.
    let lists = list(&[Some(&[7; 100][..]); 1000]);
    let batch = batch(vec![("items", Arc::new(lists.clone())), ("others", Arc::new(lists))]);
    let mut out = Outputs::default();
    Flatten::items(&batch.schema(), 0, "items", false).unwrap().process(batch, &mut out).unwrap();
    assert!(out.rejects.is_empty(), "{}", out.rejects[0].reason);
    assert_eq!(out.batches.iter().map(|(_, batch)| batch.rows()).sum::<usize>(), 100_000);
}

#[test]
fn large_copies_come_in_batches_of_fewer_rows() {
    let lists = list(&[Some(&[1; 4][..]); 20]);
    let texts = vec!["x".repeat(MAX_COPIED_BYTES / 4 - 100); 20];
    let batch = batch(vec![("items", Arc::new(lists)), ("text", Arc::new(StringArray::from(texts)))]);
    let mut out = Outputs::default();
    Flatten::items(&batch.schema(), 0, "items", false).unwrap().process(batch, &mut out).unwrap();
    let rows: Vec<usize> = out.batches.iter().map(|(_, batch)| batch.rows()).collect();
    assert_eq!(rows, [17, 17, 17, 17, 12], "16 MiB and a row at most");
}

fn address() -> (SchemaRef, Batch) {
    let fields: Fields =
        vec![Field::new("street", DataType::Utf8, true), Field::new("zip", DataType::Utf8, false)].into();
    let columns: Vec<ArrayRef> =
        vec![Arc::new(StringArray::from(vec![Some("a"), None])), Arc::new(StringArray::from(vec!["1", "hidden"]))];
    let structs = StructArray::new(fields, columns, Some(NullBuffer::from(vec![true, false])));
    let batch = batch(vec![("address", Arc::new(structs)), ("id", Arc::new(Int64Array::from(vec![1, 2])))]);
    (batch.schema(), batch)
}

#[test]
fn the_fields_of_a_struct_are_columns_and_null_where_it_is() {
    let (schema, batch) = address();
    let mut flatten = Flatten::fields(&schema, 0, "at_").unwrap();
    let expected = Schema::new(vec![
        Field::new("at_street", DataType::Utf8, true),
        Field::new("at_zip", DataType::Utf8, true),
        Field::new("id", DataType::Int64, true),
    ]);
    assert_eq!(**flatten.output_schema(), expected);
    let mut out = Outputs::default();
    flatten.process(batch, &mut out).unwrap();
    let zips = out.batches[0].1.columns.column(1).as_string::<i32>();
    assert_eq!(zips.iter().collect::<Vec<_>>(), [Some("1"), None]);
}

#[test]
fn what_cannot_be_taken_apart_is_said() {
    let (schema, _) = address();
    assert_eq!(Flatten::items(&schema, 0, "x", false).unwrap_err(), "`address` is no list");
    assert_eq!(Flatten::fields(&schema, 1, "").unwrap_err(), "`id` is no struct");
    let schema = Arc::new(Schema::new(vec![schema.field(0).clone(), Field::new("zip", DataType::Utf8, true)]));
    assert_eq!(Flatten::fields(&schema, 0, "").unwrap_err(), "there are two columns `zip` then");
}
