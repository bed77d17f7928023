//! What is encoded decodes to the same batch, for every supported type.

mod seeded;

use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::{Float32Type, Float64Type};
use arrow_array::*;
use arrow_schema::{DataType, Field, Schema, SchemaRef, TimeUnit};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};
use weir_codecs::{ColumnSource, Decoder, Encoder, JsonDecoder, JsonEncodeOptions, JsonEncoder, JsonLimits, RowJson};
use weir_stream::{PayloadBuilder, Payloads, SourceRecords};

const CASES: u32 = 400;
const MOST_DECIMAL: i128 = 10i128.pow(38) - 1;

/// `rows` values, one in five null, as an array.
fn column<S, T>(values: S, rows: usize) -> BoxedStrategy<ArrayRef>
where
    S: Strategy + 'static,
    T: From<Vec<Option<S::Value>>> + Array + 'static,
{
    vec(proptest::option::weighted(0.8, values), rows).prop_map(|values| Arc::new(T::from(values)) as ArrayRef).boxed()
}

macro_rules! number {
    ($native:ident, $array:ty, $rows:expr) => {{
        let ends = prop_oneof![Just($native::MIN), Just($native::MAX), Just($native::default())];
        column::<_, $array>(prop_oneof![1 => ends, 3 => any::<$native>()], $rows)
    }};
}

macro_rules! float {
    ($native:ident, $array:ty, $rows:expr) => {{
        let ends = prop_oneof![
            Just($native::MIN),
            Just($native::MAX),
            Just($native::MIN_POSITIVE),
            Just($native::from_bits(1)),
            Just(-0.0),
            Just(0.1)
        ];
        let all = any::<$native>().prop_filter("JSON has no NaN or infinity", |value| value.is_finite());
        column::<_, $array>(prop_oneof![1 => ends, 3 => all], $rows)
    }};
}

fn text() -> impl Strategy<Value = String> + 'static {
    let awkward =
        prop_oneof![Just('"'), Just('\\'), Just('\u{0}'), Just('\u{1f}'), Just('\u{7f}'), Just('é'), Just('😀')];
    let character = prop_oneof![3 => proptest::char::range(' ', '~'), 1 => awkward, 1 => any::<char>()];
    vec(character, 0..70).prop_map(String::from_iter)
}

fn of_type(data_type: &DataType, rows: usize) -> BoxedStrategy<ArrayRef> {
    match data_type {
        DataType::Boolean => column::<_, BooleanArray>(any::<bool>(), rows),
        DataType::Int8 => number!(i8, Int8Array, rows),
        DataType::Int16 => number!(i16, Int16Array, rows),
        DataType::Int32 => number!(i32, Int32Array, rows),
        DataType::Int64 => number!(i64, Int64Array, rows),
        DataType::UInt8 => number!(u8, UInt8Array, rows),
        DataType::UInt16 => number!(u16, UInt16Array, rows),
        DataType::UInt32 => number!(u32, UInt32Array, rows),
        DataType::UInt64 => number!(u64, UInt64Array, rows),
        DataType::Float32 => float!(f32, Float32Array, rows),
        DataType::Float64 => float!(f64, Float64Array, rows),
        DataType::Utf8 => column::<_, StringArray>(text(), rows),
        DataType::Binary => vec(proptest::option::weighted(0.8, vec(any::<u8>(), 0..40)), rows)
            .prop_map(|values| Arc::new(BinaryArray::from_iter(values)) as ArrayRef)
            .boxed(),
        DataType::Date32 => number!(i32, Date32Array, rows),
        DataType::Timestamp(unit, zone) => {
            let zone = zone.clone();
            let values = match unit {
                TimeUnit::Second => number!(i64, TimestampSecondArray, rows),
                TimeUnit::Millisecond => number!(i64, TimestampMillisecondArray, rows),
                TimeUnit::Microsecond => number!(i64, TimestampMicrosecondArray, rows),
                TimeUnit::Nanosecond => number!(i64, TimestampNanosecondArray, rows),
            };
            let data_type = DataType::Timestamp(*unit, zone);
            values.prop_map(move |array| retyped(&array, &data_type)).boxed()
        }
        DataType::Decimal128(..) => {
            let data_type = data_type.clone();
            let ends = prop_oneof![Just(0), Just(MOST_DECIMAL), Just(-MOST_DECIMAL), Just(1), Just(-1)];
            let values = prop_oneof![1 => ends, 1 => -1_000_000i128..1_000_000, 2 => -MOST_DECIMAL..=MOST_DECIMAL];
            column::<_, Decimal128Array>(values, rows).prop_map(move |array| retyped(&array, &data_type)).boxed()
        }
        other => panic!("no values for {other}"),
    }
}

/// The same values under a type of the same width.
fn retyped(array: &ArrayRef, data_type: &DataType) -> ArrayRef {
    make_array(array.to_data().into_builder().data_type(data_type.clone()).build().unwrap())
}

fn schema() -> SchemaRef {
    use DataType::*;
    let mut types =
        vec![Boolean, Int8, Int16, Int32, Int64, UInt8, UInt16, UInt32, UInt64, Float32, Float64, Utf8, Binary, Date32];
    for unit in [TimeUnit::Second, TimeUnit::Millisecond, TimeUnit::Microsecond, TimeUnit::Nanosecond] {
        types.extend([Timestamp(unit, None), Timestamp(unit, Some("UTC".into()))]);
    }
    types.extend([-3, 0, 2, 38].map(|scale| Decimal128(38, scale)));
    let name = |(number, data_type): (usize, DataType)| Field::new(format!("column \"{number}\""), data_type, true);
    Arc::new(Schema::new(types.into_iter().enumerate().map(name).collect::<Vec<_>>()))
}

fn encode(rows: &RecordBatch, options: JsonEncodeOptions) -> Payloads {
    let mut out = PayloadBuilder::default();
    JsonEncoder::new(rows.schema(), options).unwrap().encode(rows, &mut out).unwrap();
    out.finish()
}

fn decode(schema: SchemaRef, values: Payloads) -> weir_codecs::Decoded {
    let rows = values.len();
    let records = SourceRecords { offsets: vec![0; rows], timestamps_us: vec![0; rows], values, ..Default::default() };
    let sources = vec![ColumnSource::Field; schema.fields().len()];
    JsonDecoder::new(schema, sources, JsonLimits::default()).unwrap().decode(&records, 0..rows)
}

#[test]
fn every_supported_type_comes_back_as_it_was() {
    let mut bytes = [0u8; 32];
    bytes[..8].copy_from_slice(&seeded::seed().to_le_bytes());
    let config = Config { cases: CASES, failure_persistence: None, ..Config::default() };
    let mut runner = TestRunner::new_with_rng(config, TestRng::from_seed(RngAlgorithm::ChaCha, &bytes));
    let columns = |rows| schema().fields().iter().map(|field| of_type(field.data_type(), rows)).collect::<Vec<_>>();
    let batches = (1usize..6).prop_flat_map(columns);
    let checked = runner.run(&(batches, any::<bool>()), |(columns, omit_nulls)| {
        let rows = RecordBatch::try_new(schema(), columns).unwrap();
        let payloads = encode(&rows, JsonEncodeOptions { omit_nulls });
        for payload in payloads.iter() {
            prop_assert!(serde_json::from_slice::<serde::de::IgnoredAny>(payload).is_ok());
        }
        if !omit_nulls {
            let last = rows.num_rows() - 1;
            prop_assert_eq!(RowJson::new(&rows.schema()).unwrap().row(&rows, last).unwrap(), payloads.get(last));
        }
        let decoded = decode(rows.schema(), payloads);
        prop_assert_eq!(&decoded.rejects, &vec![]);
        for (field, (found, expected)) in
            schema().fields().iter().zip(decoded.columns.columns().iter().zip(rows.columns()))
        {
            prop_assert_eq!(found, expected, "{}", field);
        }
        Ok(())
    });
    checked.unwrap();
}

#[test]
fn a_slice_is_encoded_as_the_rows_it_shows() {
    let schema = Arc::new(Schema::new(vec![
        Field::new("n", DataType::Int32, true),
        Field::new("s", DataType::Utf8, true),
        Field::new("b", DataType::Boolean, true),
    ]));
    let columns: Vec<ArrayRef> = vec![
        Arc::new(Int32Array::from(vec![Some(1), None, Some(3), Some(4)])),
        Arc::new(StringArray::from(vec![Some("a"), Some("b"), None, Some("d\"")])),
        Arc::new(BooleanArray::from(vec![Some(true), None, Some(false), Some(true)])),
    ];
    let rows = RecordBatch::try_new(schema, columns).unwrap().slice(1, 3);
    let lines = |omit_nulls| {
        let payloads = encode(&rows, JsonEncodeOptions { omit_nulls });
        payloads.iter().map(|payload| String::from_utf8(payload.to_vec()).unwrap()).collect::<Vec<_>>()
    };
    assert_eq!(
        lines(false),
        [r#"{"n":null,"s":"b","b":null}"#, r#"{"n":3,"s":null,"b":false}"#, r#"{"n":4,"s":"d\"","b":true}"#]
    );
    assert_eq!(lines(true), [r#"{"s":"b"}"#, r#"{"n":3,"b":false}"#, r#"{"n":4,"s":"d\"","b":true}"#]);
}

#[test]
fn a_float_that_json_cannot_write_is_null() {
    let schema = Arc::new(Schema::new(vec![
        Field::new("f32", DataType::Float32, true),
        Field::new("f64", DataType::Float64, true),
    ]));
    let columns: Vec<ArrayRef> = vec![
        Arc::new(Float32Array::from(vec![f32::NAN, f32::INFINITY, 0.1])),
        Arc::new(Float64Array::from(vec![f64::NEG_INFINITY, f64::NAN, 1e300])),
    ];
    let rows = RecordBatch::try_new(schema.clone(), columns).unwrap();
    let payloads = encode(&rows, JsonEncodeOptions::default());
    assert_eq!(payloads.get(0), br#"{"f32":null,"f64":null}"#);
    assert_eq!(payloads.get(2), br#"{"f32":0.1,"f64":1e+300}"#);
    let decoded = decode(schema, payloads).columns;
    assert_eq!(decoded.column(0).as_primitive::<Float32Type>().iter().collect::<Vec<_>>(), [None, None, Some(0.1)]);
    assert_eq!(decoded.column(1).as_primitive::<Float64Type>().iter().collect::<Vec<_>>(), [None, None, Some(1e300)]);
}

#[test]
fn a_batch_of_another_schema_or_an_unsupported_type_is_refused() {
    let schema = |data_type| Arc::new(Schema::new(vec![Field::new("c", data_type, true)]));
    let mut encoder = JsonEncoder::new(schema(DataType::Int32), JsonEncodeOptions::default()).unwrap();
    let rows = RecordBatch::new_empty(schema(DataType::Int64));
    let error = encoder.encode(&rows, &mut PayloadBuilder::default()).unwrap_err();
    assert_eq!(error.to_string(), "column `c`: the encoder was made for int32, the batch has int64");
    let list = DataType::new_large_list(DataType::Int32, true);
    let error = JsonEncoder::new(schema(list.clone()), JsonEncodeOptions::default()).err().unwrap();
    assert!(error.to_string().starts_with("column `c`: the json format has no "), "{error}");
    let error = JsonDecoder::new(schema(list), vec![ColumnSource::Field], JsonLimits::default()).err().unwrap();
    assert!(error.to_string().starts_with("column `c`: the json format has no "), "{error}");
    let row_json = RowJson::new(&schema(DataType::Int64)).unwrap();
    assert_eq!(row_json.row(&rows, 0).unwrap_err().to_string(), "row 0 was asked for, the batch has 0");
}
