//! Every column type there and back, and bytes that no format wrote.

use std::sync::Arc;

use arrow_array::{
    ArrayRef, BinaryArray, BooleanArray, Date32Array, Decimal128Array, Float32Array, Float64Array, Int8Array,
    Int64Array, RecordBatch, StringArray, TimestampMillisecondArray, UInt64Array,
};
use arrow_schema::{DataType, Field, Schema};

use super::*;

fn every_type() -> RecordBatch {
    let columns: Vec<(&str, ArrayRef)> = vec![
        ("bool", Arc::new(BooleanArray::from(vec![Some(true), None, Some(false)]))),
        ("small", Arc::new(Int8Array::from(vec![Some(-1), Some(i8::MIN), None]))),
        ("wide", Arc::new(Int64Array::from(vec![None, Some(i64::MIN), Some(7)]))),
        ("unsigned", Arc::new(UInt64Array::from(vec![Some(u64::MAX), None, Some(0)]))),
        ("ratio", Arc::new(Float32Array::from(vec![Some(-0.0), None, Some(f32::INFINITY)]))),
        ("mean", Arc::new(Float64Array::from(vec![Some(1.5), Some(-2.25), None]))),
        ("name", Arc::new(StringArray::from(vec![Some(""), Some("grün"), None]))),
        ("bytes", Arc::new(BinaryArray::from(vec![Some(&[0u8, 255][..]), None, Some(&[][..])]))),
        ("day", Arc::new(Date32Array::from(vec![Some(-1), None, Some(20_000)]))),
        ("at", Arc::new(TimestampMillisecondArray::from(vec![Some(-5), None, Some(1)]).with_timezone("Europe/Vienna"))),
        (
            "price",
            Arc::new(
                Decimal128Array::from(vec![Some(-12_345), None, Some(i128::from(i64::MAX))])
                    .with_precision_and_scale(30, 2)
                    .unwrap(),
            ),
        ),
    ];
    let fields: Vec<Field> =
        columns.iter().map(|(name, array)| Field::new(*name, array.data_type().clone(), true)).collect();
    let (_, arrays): (Vec<_>, Vec<_>) = columns.into_iter().unzip();
    RecordBatch::try_new(Arc::new(Schema::new(fields)), arrays).unwrap()
}

fn written(format: &RowFormat, batch: &RecordBatch) -> Vec<Vec<u8>> {
    let writer = format.writer(batch);
    let row = |row| {
        let mut bytes = Vec::new();
        writer.write(row, &mut bytes);
        bytes
    };
    (0..batch.num_rows()).map(row).collect()
}

#[test]
fn every_column_type_comes_back_as_it_was_also_from_a_slice() {
    let batch = every_type();
    let format = RowFormat::new(&batch.schema()).unwrap();
    for part in [batch.clone(), batch.slice(1, 2), batch.slice(2, 1)] {
        let rows = written(&format, &part);
        let rows: Vec<Option<&[u8]>> = rows.iter().map(|row| Some(row.as_slice())).collect();
        let decoded = RecordBatch::try_new(batch.schema(), format.decode(&rows).unwrap()).unwrap();
        assert_eq!(decoded, part);
    }
}

#[test]
fn a_row_that_is_not_there_is_all_nulls_between_others() {
    let batch = every_type();
    let format = RowFormat::new(&batch.schema()).unwrap();
    let rows = written(&format, &batch);
    let decoded = format.decode(&[Some(&rows[2]), None, Some(&rows[0])]).unwrap();
    for (column, original) in decoded.iter().zip(batch.columns()) {
        assert!(column.is_null(1));
        assert_eq!((&column.slice(0, 1), &column.slice(2, 1)), (&original.slice(2, 1), &original.slice(0, 1)));
    }
}

#[test]
fn the_bytes_are_those_of_the_table() {
    let batch = every_type();
    let names = ["bool", "wide", "name"].map(|name| batch.schema().index_of(name).unwrap());
    let batch = batch.project(&names).unwrap();
    let format = RowFormat::new(&batch.schema()).unwrap();
    let rows = written(&format, &batch);
    assert_eq!(rows[0], [0b101, 1, 0, 0, 0, 0]);
    assert_eq!(rows[1], [&[0b110][..], &i64::MIN.to_le_bytes(), &5u32.to_le_bytes(), "grün".as_bytes()].concat());
    assert_eq!(format.layout(), "row/1(bool Boolean, wide Int64, name Utf8)");
}

#[test]
fn bytes_that_no_format_wrote_are_refused() {
    let schema = Arc::new(Schema::new(vec![Field::new("name", DataType::Utf8, true)]));
    let format = RowFormat::new(&schema).unwrap();
    for (bytes, message) in [
        (&[][..], "a stored row of 0 bytes is too short"),
        (&[1, 4, 0, 0][..], "a stored row ends within a value"),
        (&[1, 4, 0, 0, 0, b'a'][..], "a stored row ends within a value"),
        (&[0, 9][..], "a stored row has 1 bytes too many"),
    ] {
        assert_eq!(format.decode(&[Some(bytes)]).unwrap_err(), message);
    }
    assert!(format.decode(&[Some(&[1, 1, 0, 0, 0, 0xff])]).unwrap_err().contains("UTF-8"));
}

#[test]
fn a_type_without_a_stored_form_is_named() {
    let list = DataType::List(Arc::new(Field::new_list_field(DataType::Int64, true)));
    let schema = Arc::new(Schema::new(vec![Field::new("tags", list, true)]));
    assert!(RowFormat::new(&schema).unwrap_err().starts_with("column `tags` is "));
}
