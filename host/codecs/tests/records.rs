//! Columns of the record around the payload, the raw format, and the errors of whoever configures a codec.

use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::{Int64Type, TimestampMillisecondType, UInt32Type};
use arrow_array::{Array, BinaryArray, RecordBatch, StringArray};
use arrow_schema::{DataType, Field, Schema, SchemaRef, TimeUnit};
use weir_codecs::{ColumnSource, Decoder, Encoder, JsonDecoder, JsonLimits, RawDecoder, RawEncoder};
use weir_stream::record::NO_TIMESTAMP;
use weir_stream::{PayloadBuilder, Payloads, SourceRecords};

fn payloads(payloads: &[Option<&[u8]>]) -> Payloads {
    let mut builder = PayloadBuilder::default();
    for payload in payloads {
        match payload {
            Some(payload) => builder.push(payload),
            None => builder.push_absent(),
        }
    }
    builder.finish()
}

fn records(values: &[Option<&[u8]>]) -> SourceRecords {
    let rows = values.len() as i64;
    SourceRecords {
        topic: "orders".into(),
        partition: 3,
        offsets: (100..100 + rows).collect(),
        timestamps_us: (0..rows).map(|row| 1_500 + row * 1_000).collect(),
        values: payloads(values),
        ..Default::default()
    }
}

fn schema(fields: &[(&str, DataType, bool)]) -> SchemaRef {
    let field = |(name, data_type, nullable): &(&str, DataType, bool)| Field::new(*name, data_type.clone(), *nullable);
    Arc::new(Schema::new(fields.iter().map(field).collect::<Vec<_>>()))
}

fn json(fields: &[(&str, DataType, bool)], sources: &[ColumnSource]) -> Result<JsonDecoder, String> {
    JsonDecoder::new(schema(fields), sources.to_vec(), JsonLimits::default()).map_err(|error| error.to_string())
}

#[test]
fn the_record_around_a_payload_gives_columns_too() {
    use DataType::*;
    let fields = [
        ("offset", Int64, false),
        ("v", Int64, false),
        ("key", Utf8, true),
        ("headers", Utf8, true),
        ("topic", Utf8, false),
        ("partition", UInt32, false),
        ("at", Timestamp(TimeUnit::Millisecond, None), true),
    ];
    use ColumnSource as From;
    let sources = [From::Offset, From::Field, From::Key, From::Headers, From::Topic, From::Partition, From::Timestamp];
    let mut records = records(&[Some(br#"{"v":1}"#), Some(b"bad"), Some(br#"{"v":3}"#), Some(br#"{"v":4}"#)]);
    records.keys = Some(payloads(&[Some(b"k0"), Some(b"k1"), None, Some(b"\xff")]));
    records.timestamps_us[2] = NO_TIMESTAMP;
    let decoded = json(&fields, &sources).unwrap().decode(&records, 0..4);
    assert_eq!(decoded.rows, [0, 2]);
    let rejects: Vec<_> = decoded.rejects.iter().map(|reject| (reject.row, &*reject.code)).collect();
    assert_eq!(rejects, [(1, "json-syntax"), (3, "not-utf8")]);
    let columns = decoded.columns.columns();
    assert_eq!(columns[0].as_primitive::<Int64Type>().values(), &[100, 102]);
    assert_eq!(columns[1].as_primitive::<Int64Type>().values(), &[1, 3]);
    assert_eq!(columns[2].as_string::<i32>().iter().collect::<Vec<_>>(), [Some("k0"), None]);
    assert_eq!(columns[3].null_count(), 2);
    assert_eq!(columns[4].as_string::<i32>().value(1), "orders");
    assert_eq!(columns[5].as_primitive::<UInt32Type>().values(), &[3, 3]);
    let times = columns[6].as_primitive::<TimestampMillisecondType>();
    assert_eq!(times.iter().collect::<Vec<_>>(), [Some(1), None]);
}

#[test]
fn a_key_that_must_be_there_and_is_not_refuses_its_record() {
    let fields = [("v", DataType::Int64, false), ("key", DataType::Binary, false)];
    let mut decoder = json(&fields, &[ColumnSource::Field, ColumnSource::Key]).unwrap();
    let mut records = records(&[Some(br#"{"v":1}"#), Some(br#"{"v":2}"#)]);
    records.keys = Some(payloads(&[None, Some(b"\xff")]));
    let decoded = decoder.decode(&records, 0..2);
    assert_eq!(decoded.rows, [1]);
    assert_eq!(&*decoded.rejects[0].code, "missing-field");
    assert_eq!(decoded.rejects[0].reason, "field `key`: the record has none, but it must not be null");
    assert_eq!(decoded.columns.column(0).as_primitive::<Int64Type>().values(), &[2]);
}

#[test]
fn a_codec_that_cannot_work_says_what_to_change() {
    use DataType::*;
    let both = [ColumnSource::path("a.b"), ColumnSource::path("a.b")];
    let error = json(&[("x", Int64, true), ("y", Int64, true)], &both).err().unwrap();
    assert_eq!(error, "columns `x` and `y` read the same field `a.b`; drop one, or copy it in a later step");
    let nested = [ColumnSource::path("a"), ColumnSource::path("a.b")];
    let error = json(&[("x", Int64, true), ("y", Int64, true)], &nested).err().unwrap();
    assert_eq!(error, "column `x` reads `a` as a value, but column `y` reads a field inside it; drop one");
    let error = json(&[("x", Int64, true)], &[ColumnSource::path("a..b")]).err().unwrap();
    assert_eq!(error, "column `x`: `a..b` is not a field path; write names joined by dots, none of them empty");
    let error = json(&[("x", Float64, true)], &[ColumnSource::Offset]).err().unwrap();
    assert_eq!(error, "column `x`: the record's offset is int64, not float64");
    let error = json(&[("x", Int64, true)], &[]).err().unwrap();
    assert_eq!(error, "the schema has 1 columns, but 0 column sources were given");
}

#[test]
fn keys_in_any_order_and_more_than_are_remembered_are_read_alike() {
    let fields = [("a", DataType::Int64, true), ("b", DataType::Int64, true), ("a.b", DataType::Int64, true)];
    let sources = [ColumnSource::Field, ColumnSource::Field, ColumnSource::Field];
    let mut decoder = json(&fields, &sources).unwrap();
    for round in 0..40 {
        let junk = |from: usize| (from..from + 100).map(|n| format!("\"junk{n}\":[{n}],")).collect::<String>();
        let documents = [
            format!(r#"{{{}"b":2,"a.b":3,"a":1}}"#, junk(round * 100)),
            format!(r#"{{"a":1,{}"a.b":3,"b":2,"{}":0}}"#, junk(round * 37), "long".repeat(200)),
        ];
        let values: Vec<_> = documents.iter().map(|document| Some(document.as_bytes())).collect();
        let decoded = decoder.decode(&records(&values), 0..2);
        assert_eq!(decoded.rejects, []);
        for (column, value) in decoded.columns.columns().iter().zip(1..) {
            assert_eq!(column.as_primitive::<Int64Type>().values(), &[value, value], "round {round}");
        }
    }
}

#[test]
fn the_raw_format_keeps_payloads_and_refuses_what_is_none() {
    let binary = schema(&[("offset", DataType::Int64, false), ("payload", DataType::Binary, false)]);
    let sources = vec![ColumnSource::Offset, ColumnSource::Field];
    let records = records(&[Some(b"\xff\x00"), None, Some(b""), Some(b"long payload")]);
    let decoded = RawDecoder::new(binary, sources, 10).unwrap().decode(&records, 0..4);
    assert_eq!(decoded.rows, [0, 2]);
    assert_eq!(
        decoded.columns.column(1).as_binary::<i32>().iter().collect::<Vec<_>>(),
        [Some(&b"\xff\x00"[..]), Some(b"")]
    );
    let codes: Vec<_> = decoded.rejects.iter().map(|reject| (reject.row, &*reject.code)).collect();
    assert_eq!(codes, [(1, "null-value"), (3, "too-large")]);

    let text = schema(&[("line", DataType::Utf8, false)]);
    let decoded = RawDecoder::new(text, vec![ColumnSource::Field], 100).unwrap().decode(&records, 0..4);
    assert_eq!(decoded.rows, [2, 3]);
    assert_eq!(decoded.columns.column(0).as_string::<i32>().value(1), "long payload");
    assert_eq!(&*decoded.rejects[0].code, "not-utf8");
}

#[test]
fn the_raw_format_has_one_payload_column() {
    let two = schema(&[("a", DataType::Binary, true), ("b", DataType::Binary, true)]);
    let error = RawDecoder::new(two.clone(), vec![ColumnSource::Field; 2], 100).err().unwrap();
    assert_eq!(error.to_string(), "the raw format needs exactly one binary or utf8 column for the payload, not 2");
    assert!(RawEncoder::new(two).is_err());
    let number = schema(&[("n", DataType::Int64, true)]);
    assert!(RawDecoder::new(number.clone(), vec![ColumnSource::Field], 100).is_err());
    assert!(RawEncoder::new(number).is_err());
}

#[test]
fn a_null_is_written_as_a_payload_that_is_not_there() {
    let columns: [arrow_array::ArrayRef; 2] = [
        Arc::new(StringArray::from(vec![Some("a"), None, Some("")])),
        Arc::new(BinaryArray::from_iter([Some(&b"a"[..]), None, Some(b"")])),
    ];
    for column in columns {
        let schema = schema(&[("line", column.data_type().clone(), true)]);
        let rows = RecordBatch::try_new(schema.clone(), vec![column]).unwrap();
        let mut out = PayloadBuilder::default();
        RawEncoder::new(schema).unwrap().encode(&rows, &mut out).unwrap();
        assert_eq!(out.finish(), payloads(&[Some(b"a"), None, Some(b"")]));
    }
}
