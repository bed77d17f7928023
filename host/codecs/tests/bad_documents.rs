//! Every kind of bad document, each between two good records: its code, its reason, and that its neighbours live.

use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::Int64Type;
use arrow_schema::{DataType, Field, Schema, SchemaRef, TimeUnit};
use weir_codecs::{ColumnSource, Decoded, Decoder, JsonDecoder, JsonLimits};
use weir_stream::{PayloadBuilder, SourceRecords};

fn schema() -> SchemaRef {
    let field = |name: &str, data_type| Field::new(name, data_type, true);
    Arc::new(Schema::new(vec![
        Field::new("id", DataType::Int64, false),
        field("name", DataType::Utf8),
        field("tiny", DataType::Int8),
        field("big", DataType::UInt64),
        field("ratio", DataType::Float64),
        field("half", DataType::Float32),
        field("flag", DataType::Boolean),
        field("at", DataType::Timestamp(TimeUnit::Nanosecond, Some("UTC".into()))),
        field("day", DataType::Date32),
        field("amount", DataType::Decimal128(6, 2)),
        field("blob", DataType::Binary),
        Field::new("price", DataType::Int32, false),
    ]))
}

fn decoder(limits: JsonLimits) -> JsonDecoder {
    let mut sources = vec![ColumnSource::Field; schema().fields().len() - 1];
    sources.push(ColumnSource::path("bid.price"));
    JsonDecoder::new(schema(), sources, limits).unwrap()
}

fn good(id: i64) -> String {
    format!(r#"{{"id":{id},"name":"n{id}","bid":{{"price":{id}}},"at":"2026-03-01T10:00:00Z"}}"#)
}

fn records(payloads: &[Option<&[u8]>]) -> SourceRecords {
    let mut values = PayloadBuilder::default();
    for payload in payloads {
        match payload {
            Some(payload) => values.push(payload),
            None => values.push_absent(),
        }
    }
    let rows = payloads.len();
    SourceRecords {
        offsets: (0..rows as i64).collect(),
        timestamps_us: vec![0; rows],
        timestamp_type: vec![Default::default(); rows],
        values: values.finish(),
        ..Default::default()
    }
}

fn decode_between(bad: Option<&[u8]>) -> Decoded {
    let (before, after) = (good(1), good(2));
    let records = records(&[Some(before.as_bytes()), bad, Some(after.as_bytes())]);
    let decoded = decoder(JsonLimits::default()).decode(&records, 0..3);
    let about = String::from_utf8_lossy(&bad.unwrap_or_default()[..bad.unwrap_or_default().len().min(80)]).into_owned();
    let at = decoded.rows.iter().position(|row| *row == 2).expect("the record behind decodes");
    assert_eq!(decoded.rows[0], 0, "{about}");
    for (row, id) in [(0, 1), (at, 2)] {
        assert_eq!(decoded.columns.column(0).as_primitive::<Int64Type>().value(row), id, "{about}");
        assert_eq!(decoded.columns.column(1).as_string::<i32>().value(row), format!("n{id}"), "{about}");
        let nulls: usize = decoded.columns.columns().iter().filter(|column| column.is_null(row)).count();
        assert_eq!(nulls, 8, "{about}");
    }
    decoded
}

fn assert_refused(bad: Option<&[u8]>, code: &str, reason: &str) {
    let decoded = decode_between(bad);
    let about = String::from_utf8_lossy(&bad.unwrap_or_default()[..bad.unwrap_or_default().len().min(80)]).into_owned();
    assert_eq!(decoded.rows, [0, 2], "{about}");
    let [reject] = &decoded.rejects[..] else { panic!("{about}: {:?}", decoded.rejects) };
    assert_eq!((reject.row, &*reject.code), (1, code), "{about}: {}", reject.reason);
    assert!(reject.reason.contains(reason), "{about}: {}", reject.reason);
    assert!(!reject.reason.contains('\n'), "{about}: {}", reject.reason);
}

/// A document that is good but for one field.
fn with(field: &str) -> String {
    format!(r#"{{"id":7,"bid":{{"price":7}},{field}}}"#)
}

#[test]
fn text_that_is_not_one_json_document_is_a_syntax_error() {
    let nul = "{\"id\":7,\"bid\":{\"price\":7}}\0";
    let documents = [
        "",
        " ",
        "{",
        "}",
        "[",
        "nul",
        "tru",
        "{]",
        "{\"id\"}",
        "{\"id\":}",
        "{\"id\":1,}",
        "{id:1}",
        "{'id':1}",
        "{\"id\":1 \"name\":null}",
        "{\"id\":7,\"bid\":{\"price\":7}",
        "{\"id\":7,\"bid\":{\"price\":7}}}",
        "{\"id\":7,\"bid\":{\"price\":7}} x",
        "{\"id\":7,\"bid\":{\"price\":7}}{}",
        "\u{feff}{}",
        nul,
        "{\"id\":7,\"bid\":{\"price\":7},\"x\":[1,]}",
        "{\"id\":7,\"bid\":{\"price\":7},\"x\":[1 2]}",
    ];
    for document in documents {
        assert_refused(Some(document.as_bytes()), "json-syntax", "");
    }
    let values = [
        "01",
        "+1",
        "-",
        "1.",
        ".5",
        "1e",
        "0x10",
        "NaN",
        "Infinity",
        "1_000",
        "\"a",
        "\"\n\"",
        "\"\t\"",
        r#""\x""#,
        r#""\u12g4""#,
        r#""\ud800""#,
        r#""\udc00x""#,
        r#""\ud800\u0041""#,
        "undefined",
        "'a'",
        "// c\n1",
    ];
    for value in values {
        for name in ["id2", "name", "big", "ratio", "half", "amount", "at"] {
            assert_refused(Some(with(&format!("\"{name}\":{value}")).as_bytes()), "json-syntax", "");
        }
    }
}

#[test]
fn a_value_of_another_type_is_named_with_its_field() {
    for (field, reason) in [
        (r#""tiny":"2""#, r#"field `tiny`: expected int8, found "2""#),
        (r#""tiny":2.0"#, "field `tiny`: expected int8, found 2.0"),
        (r#""tiny":1e1"#, "field `tiny`: expected int8, found 1e1"),
        (r#""tiny":true"#, "expected int8, found true"),
        (r#""tiny":[1]"#, "expected int8, found [1]"),
        (r#""big":-0.0"#, "expected uint64, found -0.0"),
        (r#""name":5"#, "field `name`: expected utf8, found 5"),
        (r#""name":99999999999999999999999999999999999999999"#, "expected utf8, found 99999"),
        (r#""name":{"a":[]}"#, r#"expected utf8, found {"a":[]}"#),
        (r#""ratio":"0.5""#, "expected float64"),
        (r#""half":false"#, "expected float32, found false"),
        (r#""flag":1"#, "field `flag`: expected bool, found 1"),
        (r#""flag":"true""#, "expected bool"),
        (r#""at":"yesterday""#, r#"field `at`: expected timestamp(ns), found "yesterday""#),
        (r#""at":"2026-03-01T10:00:00""#, "expected timestamp(ns)"),
        (r#""at":1.5"#, "expected timestamp(ns), found 1.5"),
        (r#""day":"2026-02-30""#, r#"field `day`: expected date, found "2026-02-30""#),
        (r#""day":5"#, "expected date, found 5"),
        (r#""amount":"1,5""#, r#"field `amount`: expected decimal(6, 2), found "1,5""#),
        (r#""amount":true"#, "expected decimal(6, 2), found true"),
        (r#""blob":"a*b=""#, r#"field `blob`: expected binary, found "a*b=""#),
        (r#""blob":[1,2]"#, "expected binary"),
    ] {
        assert_refused(Some(with(field).as_bytes()), "wrong-type", reason);
    }
    for (document, reason) in [
        ("null", "expected one JSON object, found null"),
        ("[{}]", "expected one JSON object, found [{}]"),
        ("\"text\"", "expected one JSON object, found \"text\""),
        ("12", "expected one JSON object, found 12"),
        ("-1.5", "found -1.5"),
        ("true", "found true"),
        (r#"{"id":7,"bid":7}"#, "field `bid`: expected an object, found 7"),
        (r#"{"id":7,"bid":[]}"#, "field `bid`: expected an object, found []"),
        (r#"{"id":7,"bid":{"price":"7"}}"#, r#"field `bid.price`: expected int32, found "7""#),
    ] {
        assert_refused(Some(document.as_bytes()), "wrong-type", reason);
    }
}

#[test]
fn a_value_that_the_column_cannot_hold_exactly_is_out_of_range() {
    for (field, reason) in [
        (r#""tiny":128"#, "field `tiny`: 128 does not fit int8"),
        (r#""tiny":-129"#, "-129 does not fit int8"),
        (r#""tiny":99999999999999999999999999999999999999999"#, "does not fit int8"),
        (r#""big":-1"#, "field `big`: -1 does not fit uint64"),
        (r#""big":18446744073709551616"#, "18446744073709551616 does not fit uint64"),
        (r#""ratio":1e400"#, "field `ratio`: 1e400 does not fit float64"),
        (r#""half":1e39"#, "field `half`: 1e39 does not fit float32"),
        (r#""at":"2300-01-01T00:00:00Z""#, "does not fit timestamp(ns)"),
        (r#""at":9223372036854775808"#, "does not fit timestamp(ns)"),
        (r#""amount":"0.001""#, r#"field `amount`: "0.001" does not fit decimal(6, 2)"#),
        (r#""amount":10000"#, "10000 does not fit decimal(6, 2)"),
        (r#""amount":1e400"#, "1e400 does not fit decimal(6, 2)"),
    ] {
        assert_refused(Some(with(field).as_bytes()), "out-of-range", reason);
    }
}

#[test]
fn a_column_that_must_not_be_null_refuses_null_and_nothing() {
    for (document, reason) in [
        (r#"{"bid":{"price":7}}"#, "field `id`: missing, but it must not be null"),
        (r#"{}"#, "field `id`: missing"),
        (r#"{"id":null,"bid":{"price":7}}"#, "field `id`: null, but it must not be null"),
        (r#"{"id":7}"#, "field `bid.price`: missing"),
        (r#"{"id":7,"bid":{}}"#, "field `bid.price`: missing"),
        (r#"{"id":7,"bid":null}"#, "field `bid.price`: an object around it is null"),
        (r#"{"id":7,"bid":{"price":null}}"#, "field `bid.price`: null"),
    ] {
        assert_refused(Some(document.as_bytes()), "missing-field", reason);
    }
}

#[test]
fn a_declared_field_may_occur_once() {
    for (document, reason) in [
        (r#"{"id":7,"bid":{"price":7},"id":7}"#, "field `id` occurs twice"),
        (r#"{"id":7,"bid":{"price":7,"price":8}}"#, "field `bid.price` occurs twice"),
        (r#"{"id":7,"bid":{"price":7},"bid":{}}"#, "field `bid` occurs twice"),
        (r#"{"id":7,"bid":null,"bid":{"price":7}}"#, "must not be null"),
        (r#"{"id":7,"\u0069d":7,"bid":{"price":7}}"#, "field `id` occurs twice"),
    ] {
        let code = if reason.contains("twice") { "duplicate-field" } else { "missing-field" };
        assert_refused(Some(document.as_bytes()), code, reason);
    }
}

#[test]
fn bytes_that_are_not_utf8_cost_only_their_record() {
    for bytes in [&b"\xff"[..], b"\xc0\xaf", b"\xed\xa0\x80", b"\xf5\x80\x80\x80", b"\xe2\x82"] {
        for field in ["name", "unknown"] {
            let mut document = format!(r#"{{"id":7,"bid":{{"price":7}},"{field}":"a"#).into_bytes();
            document.extend_from_slice(bytes);
            let at = document.len() - bytes.len();
            document.extend_from_slice(b"\"}");
            assert_refused(Some(&document), "not-utf8", &format!("from byte {at}"));
        }
    }
    assert_refused(Some(b"{\"id\":7,\"bid\":{\"price\":7}}\xe2\x82"), "not-utf8", "");
}

#[test]
fn nesting_beyond_the_limit_is_refused_and_never_reaches_the_parser() {
    let nested = |depth: usize| with(&format!("\"x\":{}{}", "[".repeat(depth), "]".repeat(depth)));
    assert_eq!(decode_between(Some(nested(63).as_bytes())).rows, [0, 1, 2]);
    assert_refused(Some(nested(64).as_bytes()), "too-deep", "deeper than 64");
    assert_refused(Some(nested(200).as_bytes()), "too-deep", "");
    assert_refused(Some("[".repeat(500_000).as_bytes()), "too-deep", "");
    assert_refused(Some("{\"x\":".repeat(100_000).as_bytes()), "too-deep", "");
    assert_refused(Some(with(&format!("\"id\":{}", "[".repeat(100_000))).as_bytes()), "too-deep", "");
}

#[test]
fn the_deepest_nesting_that_can_be_configured_fits_a_small_stack() {
    let limits = JsonLimits { max_depth: JsonLimits::MOST_DEPTH, ..Default::default() };
    let depth = JsonLimits::MOST_DEPTH - 1;
    let document = with(&format!("\"x\":{}1{}", "{\"a\":[".repeat(depth / 2), "]}".repeat(depth / 2)));
    let thread = std::thread::Builder::new().stack_size(128 * 1024);
    let decoded = thread.spawn(move || {
        let records = records(&[Some(document.as_bytes())]);
        decoder(limits).decode(&records, 0..1)
    });
    let decoded = decoded.unwrap().join().unwrap();
    assert_eq!((decoded.rows, decoded.rejects), (vec![0], vec![]));
    for max_depth in [0, JsonLimits::MOST_DEPTH + 1] {
        let limits = JsonLimits { max_depth, ..Default::default() };
        let sources = vec![ColumnSource::Field; schema().fields().len()];
        assert!(JsonDecoder::new(schema(), sources, limits).is_err());
    }
}

#[test]
fn a_record_over_the_size_limit_is_refused_unread() {
    let document = with(&format!("\"x\":\"{}\"", "a".repeat(1_000_000)));
    assert_refused(Some(document.as_bytes()), "too-large", "the limit is 524288");
    let limit = JsonLimits::default().max_record_bytes;
    let room = limit - with("\"x\":\"\"").len();
    assert_eq!(decode_between(Some(with(&format!("\"x\":\"{}\"", "a".repeat(room))).as_bytes())).rows, [0, 1, 2]);
    assert_refused(Some(with(&format!("\"x\":\"{}\"", "a".repeat(room + 1))).as_bytes()), "too-large", "");
}

#[test]
fn a_tombstone_is_a_null_value() {
    assert_refused(None, "null-value", "no payload");
}

#[test]
fn a_long_value_is_quoted_in_part() {
    let document = with(&format!("\"flag\":\"{}\"", "é".repeat(5_000)));
    let decoded = decode_between(Some(document.as_bytes()));
    assert!(decoded.rejects[0].reason.len() < 200, "{}", decoded.rejects[0].reason);
    assert!(decoded.rejects[0].reason.ends_with("... (10002 bytes)"), "{}", decoded.rejects[0].reason);
}

#[test]
fn a_good_document_may_be_written_in_any_way_that_json_allows() {
    for field in [
        r#""tiny":-0"#,
        r#""n\u0061me":"\u00e9\n\ud83d\ude00""#,
        " \"tiny\" : 1 \n",
        r#""ratio":-0"#,
        r#""ratio":123456789012345678901234567890"#,
        r#""half":1e-50"#,
        r#""amount":1.5e1"#,
        r#""amount":"\u0031.00""#,
        r#""at":-1"#,
        r#""at":"2026-03-01 10:00:00.123456789123+05:30""#,
        r#""blob":"YQ""#,
        r#""unknown":[{"id":1,"id":2},null,1e999,"\\\""]"#,
        r#""":1"#,
    ] {
        let decoded = decode_between(Some(with(field).as_bytes()));
        assert_eq!((&decoded.rows[..], &decoded.rejects[..]), (&[0, 1, 2][..], &[][..]), "{field}");
    }
}

#[test]
fn a_batch_of_only_bad_records_has_no_rows_and_the_next_one_starts_clean() {
    let mut decoder = decoder(JsonLimits::default());
    let bad = records(&[Some(b"{"), None, Some(b"[]")]);
    let decoded = decoder.decode(&bad, 0..3);
    assert_eq!((decoded.columns.num_rows(), decoded.rejects.len()), (0, 3));
    assert_eq!(decoder.decode(&bad, 1..1).rejects.len(), 0);
    let next = good(5);
    let decoded = decoder.decode(&records(&[None, Some(next.as_bytes())]), 1..2);
    assert_eq!((decoded.rows, decoded.rejects), (vec![1], vec![]));
}
