//! What CSV and JSON lines become, and what is said of those that are no table.

use std::sync::Arc;

use arrow_array::Array;
use arrow_array::cast::AsArray;
use arrow_array::types::{Decimal128Type, Int32Type};
use arrow_schema::{DataType, Field, Schema, TimeUnit};

use super::*;

fn schema(fields: Vec<Field>) -> SchemaRef {
    Arc::new(Schema::new(fields))
}

fn rates() -> SchemaRef {
    schema(vec![Field::new("code", DataType::Utf8, true), Field::new("rate", DataType::Decimal128(8, 4), true)])
}

fn csv(text: &str) -> Result<TableRows, TableError> {
    read_table(TableFormat::Csv, text.as_bytes(), &rates())
}

fn refused(format: TableFormat, bytes: &[u8], schema: &SchemaRef) -> String {
    read_table(format, bytes, schema).unwrap_err().to_string()
}

#[test]
fn columns_of_a_csv_file_are_found_by_name_whatever_their_order() {
    let table = csv("\u{feff}rate,since,code\r\n1.08,x,EUR\r\n,y,\"X,\n\"\"Q\"\"\"\r\n\n0.0062,z,\n").unwrap();
    let codes = table.columns.column(0).as_string::<i32>();
    assert_eq!(codes.iter().collect::<Vec<_>>(), [Some("EUR"), Some("X,\n\"Q\""), None]);
    let rates = table.columns.column(1).as_primitive::<Decimal128Type>();
    assert_eq!(rates.iter().collect::<Vec<_>>(), [Some(10_800), None, Some(62)]);
    assert_eq!(table.lines, [2, 3, 6]);
}

#[test]
fn csv_holds_every_type_that_json_does() {
    let types = [
        ("flag", DataType::Boolean, "true"),
        ("small", DataType::Int8, "-128"),
        ("large", DataType::UInt64, "18446744073709551615"),
        ("ratio", DataType::Float32, "1.5e2"),
        ("double", DataType::Float64, "-0.25"),
        ("bytes", DataType::Binary, "aGk="),
        ("day", DataType::Date32, "2026-03-01"),
        ("at", DataType::Timestamp(TimeUnit::Millisecond, Some("UTC".into())), "2026-03-01T10:00:00Z"),
        ("since", DataType::Timestamp(TimeUnit::Second, Some("UTC".into())), "1700000000"),
    ];
    let fields = types.iter().map(|(name, data_type, _)| Field::new(*name, data_type.clone(), true)).collect();
    let names = types.iter().map(|(name, ..)| *name).collect::<Vec<_>>().join(",");
    let values = types.iter().map(|(.., value)| *value).collect::<Vec<_>>().join(",");
    let empty = ",".repeat(types.len() - 1);
    let table =
        read_table(TableFormat::Csv, format!("{names}\n{values}\n{empty}\n").as_bytes(), &schema(fields)).unwrap();
    let shown = |column: &dyn Array| arrow_text(column);
    let row: Vec<String> = table.columns.columns().iter().map(|column| shown(column)).collect();
    assert!(table.columns.columns().iter().all(|column| column.is_valid(0) && column.is_null(1)), "{row:?}");
    assert_eq!(row[1], "-128");
}

fn arrow_text(column: &dyn Array) -> String {
    match column.data_type() {
        DataType::Int8 => column.as_primitive::<arrow_array::types::Int8Type>().value(0).to_string(),
        other => other.to_string(),
    }
}

#[test]
fn a_csv_file_that_is_no_table_is_refused_with_its_line() {
    for (text, said) in [
        ("", "line 1: the file is empty; its first line names the columns"),
        ("code;rate\n", "line 1: no column `code`; the first line names code;rate"),
        ("code,code,rate\n", "line 1: column `code` is named twice"),
        ("code,rate\nEUR,1\nUSD\n", "line 3: 1 fields, but the first line names 2"),
        ("code,rate\nEUR,1,2\n", "line 2: 3 fields, but the first line names 2"),
        ("code,rate\nEUR,one\n", "line 2: field `rate`: expected decimal(8, 4), found `one`"),
        ("code,rate\n\"a\nb\",1\nEUR,1.00001\n", "line 4: field `rate`: `1.00001` does not fit decimal(8, 4)"),
        ("code,rate\nEUR,1\n\"USD,2\nGBP,3\n", "line 3: 1 fields, but the first line names 2"),
        ("rate,code\n1,EUR\n2,\"USD\n3,GBP\n", "line 3: a quote that nothing closes"),
    ] {
        assert_eq!(csv(text).unwrap_err().to_string(), said, "{text:?}");
    }
    let bytes = b"code,rate\n\xff,1\n";
    assert_eq!(refused(TableFormat::Csv, bytes, &rates()), "line 2: field `code`: not UTF-8");
    let required = schema(vec![Field::new("n", DataType::Int32, false)]);
    let said = refused(TableFormat::Csv, b"n,m\n1,x\n,y\n", &required);
    assert_eq!(said, "line 3: field `n`: nothing there, but it must not be null");
    let flag = schema(vec![Field::new("flag", DataType::Boolean, false)]);
    let said = refused(TableFormat::Csv, b"flag\nTrue\n", &flag);
    assert_eq!(said, "line 2: field `flag`: expected bool, found `True`");
}

#[test]
fn json_lines_are_rows_and_the_first_that_is_none_is_named() {
    let schema = schema(vec![Field::new("n", DataType::Int32, false)]);
    let table = read_table(TableFormat::JsonLines, b"{\"n\":1,\"m\":2}\r\n\n  \n{\"n\":3}", &schema).unwrap();
    assert_eq!(table.columns.column(0).as_primitive::<Int32Type>().values(), &[1, 3]);
    assert_eq!(table.lines, [1, 4]);
    let said = refused(TableFormat::JsonLines, b"{\"n\":1}\n\n{\"m\":2}\n{\"n\":", &schema);
    assert_eq!(said, "line 3: field `n`: missing, but it must not be null");
    assert_eq!(read_table(TableFormat::JsonLines, b"", &schema).unwrap().lines, [0_u64; 0]);
}
