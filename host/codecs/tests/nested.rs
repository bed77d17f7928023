//! Lists and structs from JSON and back; what is refused half way leaves nothing behind.

use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::{Array, RecordBatch};
use arrow_schema::{DataType, Field, Schema, SchemaRef};
use weir_codecs::{ColumnSource, Decoded, Decoder, Encoder, JsonDecoder, JsonEncodeOptions, JsonEncoder, JsonLimits};
use weir_stream::{PayloadBuilder, SourceRecords};

fn list(item: DataType, nullable: bool) -> DataType {
    DataType::List(Arc::new(Field::new_list_field(item, nullable)))
}

/// Tags, an address, and lines with a list of their own inside.
fn schema() -> SchemaRef {
    let address = vec![Field::new("street", DataType::Utf8, true), Field::new("zip", DataType::Utf8, false)];
    let line = vec![
        Field::new("price", DataType::Decimal128(8, 2), true),
        Field::new("sizes", list(DataType::Int32, false), false),
    ];
    Arc::new(Schema::new(vec![
        Field::new("id", DataType::Int64, false),
        Field::new("tags", list(DataType::Utf8, true), true),
        Field::new("address", DataType::Struct(address.into()), true),
        Field::new("lines", list(DataType::Struct(line.into()), true), true),
    ]))
}

fn decode(payloads: &[&str]) -> Decoded {
    let schema = schema();
    let sources = vec![ColumnSource::Field; schema.fields().len()];
    let mut decoder = JsonDecoder::new(schema, sources, JsonLimits { max_depth: 6, ..JsonLimits::default() }).unwrap();
    let records = SourceRecords {
        offsets: vec![0; payloads.len()],
        timestamps_us: vec![0; payloads.len()],
        values: payloads.iter().map(|payload| payload.as_bytes()).collect(),
        ..SourceRecords::default()
    };
    decoder.decode(&records, 0..payloads.len())
}

fn encode(rows: &RecordBatch) -> Vec<String> {
    let mut encoder = JsonEncoder::new(rows.schema(), JsonEncodeOptions::default()).unwrap();
    let mut out = PayloadBuilder::default();
    encoder.encode(rows, &mut out).unwrap();
    out.finish().iter().map(|row| String::from_utf8(row.to_vec()).unwrap()).collect()
}

const WHOLE: &str = r#"{"id":1,"tags":["a",null,"b\n"],"address":{"street":null,"zip":"1"},"lines":[{"price":"1.50","sizes":[1,2]},null,{"price":null,"sizes":[]}]}"#;
const EMPTY: &str = r#"{"id":2,"tags":[],"address":null,"lines":null}"#;

#[test]
fn what_is_decoded_is_encoded_to_the_same() {
    let spaced = r#" { "lines" : [ ] , "address" : { "more":[{}], "zip" : "2" } , "tags" : [ "c" ] , "id" : 3 } "#;
    let decoded = decode(&[WHOLE, EMPTY, spaced, r#"{"id":4}"#]);
    assert!(decoded.rejects.is_empty(), "{:?}", decoded.rejects);
    let spaced = r#"{"id":3,"tags":["c"],"address":{"street":null,"zip":"2"},"lines":[]}"#;
    let absent = r#"{"id":4,"tags":null,"address":null,"lines":null}"#;
    assert_eq!(encode(&decoded.columns), [WHOLE, EMPTY, spaced, absent]);
    decoded.columns.columns().iter().for_each(|column| column.to_data().validate_full().unwrap());
    let zips = decoded.columns.column(2).as_struct().column(1);
    assert_eq!(
        (0..4).map(|row| zips.is_null(row)).collect::<Vec<_>>(),
        [false, true, false, true],
        "of a null address"
    );
    // A slice of a batch, as steps and sinks see them.
    assert_eq!(encode(&decoded.columns.slice(1, 2)), [EMPTY, spaced]);
}

#[test]
fn what_is_wrong_inside_is_told_with_its_path_and_leaves_nothing_behind() {
    let bad = [
        (r#"{"id":1,"tags":["a",7]}"#, "wrong-type", "field `tags[1]`: expected utf8, found 7"),
        (r#"{"id":1,"tags":"a"}"#, "wrong-type", "field `tags`: expected list(utf8), found \"a\""),
        (r#"{"id":1,"tags":{"a":1}}"#, "wrong-type", "field `tags`: expected list(utf8), found {\"a\":1}"),
        (
            r#"{"id":1,"address":["a"]}"#,
            "wrong-type",
            "field `address`: expected struct(street utf8, zip utf8!), found [\"a\"]",
        ),
        (
            r#"{"id":1,"address":{"street":"s"}}"#,
            "missing-field",
            "field `address.zip`: missing, but it must not be null",
        ),
        (r#"{"id":1,"address":{"zip":null}}"#, "missing-field", "field `address.zip`: null, but it must not be null"),
        (r#"{"id":1,"address":{"zip":"1","zip":"2"}}"#, "duplicate-field", "field `address.zip` occurs twice"),
        (
            r#"{"id":1,"lines":[{"price":"1.5","sizes":[1]},{"price":"2","sizes":[1,2,3000000000]}]}"#,
            "out-of-range",
            "field `lines[1].sizes[2]`: 3000000000 does not fit int32",
        ),
        (
            r#"{"id":1,"lines":[{"sizes":[null]}]}"#,
            "missing-field",
            "field `lines[0].sizes[0]`: null, but it must not be null",
        ),
        (r#"{"id":1,"tags":[[[[[["a"]]]]]]}"#, "too-deep", "arrays and objects nested deeper than 6"),
        (r#"{"id":1,"tags":["a",]}"#, "json-syntax", ""),
        (r#"{"id":1,"tags":["a" "b"]}"#, "json-syntax", ""),
        (r#"{"id":1,"address":{"zip":"1",}}"#, "json-syntax", ""),
        (r#"{"id":1,"address":{"zip":5},"tags":[1"#, "json-syntax", ""),
    ];
    for (payload, code, reason) in bad {
        let decoded = decode(&[WHOLE, payload, WHOLE]);
        let [reject] = &decoded.rejects[..] else { panic!("{payload}: {:?}", decoded.rejects) };
        assert_eq!((reject.row, reject.code.as_ref()), (1, code), "{payload}");
        assert!(reject.reason.starts_with(reason), "{payload}: {}", reject.reason);
        assert_eq!(encode(&decoded.columns), [WHOLE, WHOLE], "{payload}");
    }
}
