//! `where` and `select` over whole batches: every part of a row goes with it, and no row is lost.

use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::Int64Type;
use arrow_array::{Array, ArrayRef, Int64Array, RecordBatch, StringArray};
use arrow_schema::{DataType, Field, Schema, SchemaRef};
use weir_operators::{Operator, Outputs, Predicate, RowOrigin, Select, Where};
use weir_stream::{Batch, Changes, Origin, SourceRecords};

fn schema() -> SchemaRef {
    Arc::new(Schema::new(vec![Field::new("n", DataType::Int64, true), Field::new("name", DataType::Utf8, false)]))
}

fn batch(values: &[Option<i64>]) -> Batch {
    let names = StringArray::from_iter_values((0..values.len()).map(|row| format!("row {row}")));
    let columns: Vec<ArrayRef> = vec![Arc::new(values.iter().copied().collect::<Int64Array>()), Arc::new(names)];
    let rows = values.len() as i64;
    let records = SourceRecords { offsets: (500..500 + rows).collect(), ..SourceRecords::default() };
    Batch {
        columns: RecordBatch::try_new(schema(), columns).unwrap(),
        event_times_us: (0..rows).collect(),
        watermarks_us: (0..rows).map(|row| row - 10).collect(),
        origin: Origin::Records { records: Arc::new(records), rows: (0..rows as u32).collect() },
        changes: Changes::PerRow((0..rows as u8).map(|row| row % 4).collect()),
    }
}

fn process(operator: &mut impl Operator, batch: Batch) -> Outputs {
    let mut out = Outputs::default();
    operator.process(batch, &mut out).unwrap();
    out
}

fn numbers(batch: &Batch, column: &str) -> Vec<i64> {
    batch.columns.column_by_name(column).unwrap().as_primitive::<Int64Type>().values().to_vec()
}

fn rejected_offsets(out: &Outputs) -> Vec<i64> {
    let offset = |origin: &RowOrigin| match origin {
        RowOrigin::Record { records, record } => records.offsets[*record as usize],
        RowOrigin::Row(_) => panic!("the record was lost"),
    };
    out.rejects.iter().map(|reject| offset(&reject.origin)).collect()
}

fn named(columns: &[(&str, &str)]) -> Vec<(String, String)> {
    columns.iter().map(|(name, text)| ((*name).to_owned(), (*text).to_owned())).collect()
}

#[test]
fn where_keeps_true_rows_whole_drops_false_and_null_and_rejects_what_fails() {
    let mut filter = Where::new(Predicate::compile("12 / n > 3", &schema()).unwrap());
    let out = process(&mut filter, batch(&[Some(1), Some(0), None, Some(6), Some(3)]));
    let (_, kept) = &out.batches[0];
    assert_eq!(numbers(kept, "n"), [1, 3]);
    assert_eq!(kept.columns.column(1).as_string::<i32>().iter().flatten().collect::<Vec<_>>(), ["row 0", "row 4"]);
    assert_eq!((&kept.event_times_us[..], &kept.watermarks_us[..]), ([0, 4].as_slice(), [-10, -6].as_slice()));
    assert_eq!(kept.changes, Changes::PerRow(vec![0, 0].into()));
    let Origin::Records { rows, .. } = &kept.origin else { panic!("the origin was lost") };
    assert_eq!(&rows[..], &[0, 4]);
    assert_eq!(rejected_offsets(&out), [501]);
    let reject = &out.rejects[0];
    assert_eq!(
        (reject.stage, &*reject.code, reject.reason.as_str()),
        ("where", "expression", "`12 / n > 3`: division by zero")
    );
}

#[test]
fn where_copies_nothing_when_all_rows_pass_and_outputs_nothing_when_none_does() {
    let mut filter = Where::new(Predicate::compile("n > 0", &schema()).unwrap());
    let rows = batch(&[Some(1), Some(2)]);
    let column = Arc::clone(rows.columns.column(0));
    let out = process(&mut filter, rows);
    assert!(Arc::ptr_eq(out.batches[0].1.columns.column(0), &column));
    assert!(process(&mut filter, batch(&[Some(0), None])).batches.is_empty());
}

#[test]
fn select_makes_exactly_the_named_columns() {
    let mut select = Select::only(&named(&[("label", "upper(name)"), ("twice", "n * 2")]), &schema()).unwrap();
    let fields = select.output_schema().fields().clone();
    assert_eq!((fields[0].name().as_str(), fields[1].name().as_str(), fields.len()), ("label", "twice", 2));
    let out = process(&mut select, batch(&[Some(4), Some(i64::MAX), None]));
    let (_, made) = &out.batches[0];
    assert_eq!(made.columns.column(0).as_string::<i32>().value(0), "ROW 0");
    assert!(made.columns.column(1).is_null(1) && made.rows() == 2);
    assert_eq!(&made.event_times_us[..], &[0, 2]);
    assert_eq!((rejected_offsets(&out), out.rejects[0].stage), (vec![501], "select"));
}

#[test]
fn adding_columns_keeps_the_others_and_sees_the_input_alone() {
    let columns = named(&[("n", "n + 1"), ("old", "n")]);
    let mut select = Select::adding(&columns, &schema()).unwrap();
    let out = process(&mut select, batch(&[Some(4)]));
    let (_, made) = &out.batches[0];
    let schema = made.schema();
    assert_eq!(schema.fields().iter().map(|field| field.name().as_str()).collect::<Vec<_>>(), ["n", "name", "old"]);
    assert_eq!((numbers(made, "n"), numbers(made, "old")), (vec![5], vec![4]));
}

#[test]
fn a_row_refused_by_a_column_that_allows_no_null_leaves_no_null_behind() {
    let mut select = Select::only(&named(&[("k", "coalesce(10 / n, 0)")]), &schema()).unwrap();
    assert!(!select.output_schema().field(0).is_nullable());
    let out = process(&mut select, batch(&[Some(0), Some(5), Some(0)]));
    assert_eq!(numbers(&out.batches[0].1, "k"), [2]);
    assert_eq!(rejected_offsets(&out), [500, 502]);
}

#[test]
fn a_faulty_select_says_which_column() {
    let (place, error) = Select::only(&named(&[("a", "n"), ("b", "nn + 1")]), &schema()).unwrap_err();
    assert_eq!((place, error.span, error.suggestion.as_deref()), (1, Some(0..2), Some("n")));
    let (place, error) = Select::only(&named(&[("a", "n"), ("a", "n + 1")]), &schema()).unwrap_err();
    assert_eq!((place, error.message.as_str()), (1, "column `a` is given twice"));
}

#[test]
fn behind_a_stateful_step_a_reject_holds_the_row_itself() {
    let mut rows = batch(&[Some(3), Some(0)]);
    rows.origin = Origin::Step("window".into());
    let mut filter = Where::new(Predicate::compile("1 / n > 0", &schema()).unwrap());
    let out = process(&mut filter, rows);
    let RowOrigin::Row(row) = &out.rejects[0].origin else { panic!("the row was lost") };
    assert_eq!((row.rows(), numbers(row, "n")), (1, vec![0]));
}
