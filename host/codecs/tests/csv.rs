//! CSV: every type, quotes, nulls, headers, and rows that are refused without cost to others.

use std::sync::Arc;

use arrow_array::{Array, ArrayRef};
use arrow_cast::display::{ArrayFormatter, FormatOptions};
use arrow_schema::{DataType, Field, Schema, SchemaRef, TimeUnit};
use weir_codecs::{CodecError, ColumnSource, CsvDecoder, CsvOptions, Decoded, Decoder, reject_code};
use weir_stream::SourceRecords;

fn options() -> CsvOptions {
    CsvOptions { delimiter: b',', header: true, null_as: String::new(), max_record_bytes: 200 }
}

fn schema(fields: Vec<Field>) -> SchemaRef {
    Arc::new(Schema::new(fields))
}

fn texts(names: &[&str]) -> SchemaRef {
    schema(names.iter().map(|name| Field::new(*name, DataType::Utf8, true)).collect())
}

fn records(header: Option<&str>, rows: &[&[u8]]) -> SourceRecords {
    SourceRecords {
        offsets: (0..rows.len() as i64).collect(),
        timestamps_us: vec![0; rows.len()],
        values: rows.iter().copied().collect(),
        header: header.map(|header| header.as_bytes().into()),
        ..SourceRecords::default()
    }
}

fn decoder(schema: &SchemaRef, options: CsvOptions) -> CsvDecoder {
    CsvDecoder::new(Arc::clone(schema), vec![ColumnSource::Field; schema.fields().len()], options).unwrap()
}

fn decode(schema: &SchemaRef, options: CsvOptions, header: Option<&str>, rows: &[&[u8]]) -> Decoded {
    decoder(schema, options).decode(&records(header, rows), 0..rows.len())
}

fn shown(column: &ArrayRef) -> Vec<String> {
    let options = FormatOptions::new().with_null("null");
    let formatter = ArrayFormatter::try_new(column.as_ref(), &options).unwrap();
    (0..column.len()).map(|row| formatter.value(row).to_string()).collect()
}

#[test]
fn a_field_is_what_its_column_says() {
    let utc: Option<Arc<str>> = Some("UTC".into());
    let types = [
        (DataType::Boolean, "true", "true"),
        (DataType::Int8, "-128", "-128"),
        (DataType::UInt64, "18446744073709551615", "18446744073709551615"),
        (DataType::Float64, "1e3", "1000.0"),
        (DataType::Float32, "0.5", "0.5"),
        (DataType::Utf8, " as it is ", " as it is "),
        (DataType::Binary, "AAE=", "0001"),
        (DataType::Date32, "2026-03-01", "2026-03-01"),
        (DataType::Timestamp(TimeUnit::Millisecond, utc.clone()), "2026-03-01T10:00:00Z", "2026-03-01T10:00:00Z"),
        (DataType::Timestamp(TimeUnit::Millisecond, utc), "1772359200000", "2026-03-01T10:00:00Z"),
        (DataType::Decimal128(12, 2), "-10.5", "-10.50"),
    ];
    for (data_type, text, expected) in types {
        let schema = schema(vec![Field::new("a", data_type.clone(), true)]);
        let decoded = decode(&schema, options(), Some("a"), &[text.as_bytes(), b"\"\""]);
        assert!(decoded.rejects.is_empty(), "{data_type}: {:?}", decoded.rejects);
        assert_eq!(shown(decoded.columns.column(0)), [expected, "null"], "{data_type}");
    }
}

#[test]
fn text_of_another_type_is_refused() {
    let types = [
        (DataType::Boolean, "yes", reject_code::WRONG_TYPE),
        (DataType::Int32, "1.5", reject_code::WRONG_TYPE),
        (DataType::Int32, " 1", reject_code::WRONG_TYPE),
        (DataType::Int32, "inf", reject_code::WRONG_TYPE),
        (DataType::Int8, "128", reject_code::OUT_OF_RANGE),
        (DataType::Float64, "NaN", reject_code::WRONG_TYPE),
        (DataType::Float64, "1e999", reject_code::OUT_OF_RANGE),
        (DataType::Date32, "1.3.2026", reject_code::WRONG_TYPE),
        (DataType::Decimal128(4, 2), "123.45", reject_code::OUT_OF_RANGE),
    ];
    for (data_type, text, code) in types {
        let schema = schema(vec![Field::new("a", data_type.clone(), true)]);
        let decoded = decode(&schema, options(), Some("a"), &[text.as_bytes()]);
        assert_eq!(decoded.rejects[0].code, code, "{data_type} {text}");
    }
}

#[test]
fn quotes_and_other_delimiters_are_resolved_and_undeclared_fields_left() {
    let rows: [&[u8]; 3] = [b"1;\"two;\"\"2\"\"\";3", b"4;\"five\nlines\";6\r\n", b";\"\";x"];
    let options = CsvOptions { delimiter: b';', ..options() };
    let decoded = decode(&texts(&["c", "b"]), options, Some("a;b;c"), &rows);
    assert_eq!(shown(decoded.columns.column(0)), ["3", "6", "x"]);
    assert_eq!(shown(decoded.columns.column(1)), ["two;\"2\"", "five\nlines", "null"]);
}

#[test]
fn null_is_what_it_is_written_as_and_nothing_else() {
    let options = CsvOptions { null_as: "NA".into(), ..options() };
    let decoded = decode(&texts(&["a", "b"]), options, Some("a,b"), &[b"NA,", b"na,\"NA\""]);
    assert_eq!(shown(decoded.columns.column(0)), ["null", "na"]);
    assert_eq!(shown(decoded.columns.column(1)), ["", "null"]);
}

#[test]
fn a_bad_row_costs_only_itself() {
    let schema = schema(vec![Field::new("a", DataType::Int32, false), Field::new("b", DataType::Utf8, true)]);
    let long = format!("1,{}", "x".repeat(300));
    let rows: [&[u8]; 10] =
        [b"1,good", b"2,\"open", b"3", b"4,5,6", b"5,a\n6,b", b"", b",null", b"7,\xff", long.as_bytes(), b"8,good"];
    let decoded = decode(&schema, options(), Some("a,b"), &rows);
    assert_eq!(decoded.rows, [0, 9]);
    let codes: Vec<_> = decoded.rejects.iter().map(|reject| (reject.row, reject.code.as_ref())).collect();
    let expected = [
        (1, "csv-syntax"),
        (2, "csv-fields"),
        (3, "csv-fields"),
        (4, "csv-syntax"),
        (5, "csv-syntax"),
        (6, "missing-field"),
        (7, "not-utf8"),
        (8, "too-large"),
    ];
    assert_eq!(codes, expected);
    assert_eq!(decoded.rejects[0].reason, "a quote is opened and not closed");
    assert_eq!(decoded.rejects[1].reason, "1 fields, the header has 2");
    assert_eq!(decoded.rejects[5].reason, "field `a`: null, but it must not be null");
}

#[test]
fn a_row_may_have_more_fields_than_there_was_room_for() {
    let names: Vec<String> = (0..500).map(|number| format!("f{number}")).collect();
    let row = (0..500).map(|number| (number % 10).to_string()).collect::<Vec<_>>().join(",");
    let options = CsvOptions { max_record_bytes: 10_000, ..options() };
    let decoded = decode(&texts(&["f499", "f63"]), options, Some(&names.join(",")), &[row.as_bytes()]);
    assert_eq!(shown(decoded.columns.column(0)), ["9"]);
    assert_eq!(shown(decoded.columns.column(1)), ["3"]);
}

#[test]
fn without_a_header_fields_are_columns_in_their_order() {
    let options = CsvOptions { header: false, ..options() };
    let decoded = decode(&texts(&["a", "b"]), options.clone(), None, &[b"1,2", b"1,2,3"]);
    assert_eq!(shown(decoded.columns.column(1)), ["2"]);
    assert_eq!(decoded.rejects[0].reason, "3 fields, there are columns for 2");
    let path = vec![ColumnSource::Field, ColumnSource::path("x.y")];
    let refused = CsvDecoder::new(texts(&["a", "b"]), path, options).err();
    assert_eq!(refused, Some(CodecError::FieldWithoutHeader { column: "b".into() }));
}

#[test]
fn a_header_must_name_every_column_once() {
    let schema = texts(&["a", "b"]);
    let mut decoder = CsvDecoder::new(schema, vec![ColumnSource::Field, ColumnSource::path("x.y")], options()).unwrap();
    assert_eq!(decoder.check_header(b"x.y,more,\"a\"\r\n"), Ok(()));
    let cause = |header: &[u8], decoder: &mut CsvDecoder| decoder.check_header(header).unwrap_err();
    assert_eq!(cause(b"a,b", &mut decoder), "the header row has no `x.y`; it has a, b");
    assert_eq!(cause(b"a,x.y,a", &mut decoder), "the header row names `a` twice");
    assert_eq!(cause(b"\"a", &mut decoder), "the header row is not CSV: a quote is opened and not closed");
}
