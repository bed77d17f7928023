//! The canonical key bytes, held by fixtures: state written by one version must be found by the next.

use std::sync::Arc;

use arrow_array::{
    Array, ArrayRef, BinaryArray, BooleanArray, Date32Array, Decimal128Array, Float32Array, Float64Array, Int8Array,
    Int32Array, Int64Array, RecordBatch, StringArray, TimestampMicrosecondArray, TimestampMillisecondArray,
    TimestampNanosecondArray, TimestampSecondArray, UInt8Array, UInt64Array, new_null_array,
};
use arrow_schema::{DataType, Field, Schema, TimeUnit};
use weir_stream::{Changes, Origin};

use super::*;

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The key bytes of a one-row batch with these columns.
fn key_of(columns: &[ArrayRef]) -> String {
    hex(keys_of(columns).key(0))
}

fn keys_of(columns: &[ArrayRef]) -> KeyBatch {
    let named: Vec<(String, ArrayRef)> =
        columns.iter().enumerate().map(|(number, column)| (format!("c{number}"), Arc::clone(column))).collect();
    let fields: Vec<Field> =
        named.iter().map(|(name, column)| Field::new(name, column.data_type().clone(), true)).collect();
    let schema = Arc::new(Schema::new(fields));
    let rows = columns[0].len();
    let batch = Batch {
        columns: RecordBatch::try_new(Arc::clone(&schema), columns.to_vec()).unwrap(),
        event_times_us: vec![0; rows].into(),
        watermarks_us: vec![0; rows].into(),
        origin: Origin::Step("s".into()),
        changes: Changes::Inserts,
    };
    let names: Vec<(String, String)> = named.iter().map(|(name, _)| (name.clone(), name.clone())).collect();
    KeyEncoder::new(&names, &schema, 64).unwrap().encode(batch, &mut Outputs::default()).unwrap().keys
}

fn one<A: Array + 'static>(array: A) -> [ArrayRef; 1] {
    [Arc::new(array)]
}

fn decimal(value: i128, precision: u8, scale: i8) -> [ArrayRef; 1] {
    one(Decimal128Array::from(vec![value]).with_precision_and_scale(precision, scale).unwrap())
}

#[test]
fn key_bytes_are_the_documented_ones() {
    assert_eq!(key_of(&one(BooleanArray::from(vec![false]))), "01");
    assert_eq!(key_of(&one(BooleanArray::from(vec![true]))), "02");
    assert_eq!(key_of(&one(Int64Array::from(vec![1]))), "038000000000000001");
    assert_eq!(key_of(&one(Int64Array::from(vec![i64::MIN]))), "030000000000000000");
    assert_eq!(key_of(&one(UInt64Array::from(vec![u64::MAX]))), "04ffffffffffffffff");
    assert_eq!(key_of(&one(Float64Array::from(vec![1.0]))), "05bff0000000000000");
    assert_eq!(key_of(&one(Float64Array::from(vec![-1.0]))), "05400fffffffffffff");
    assert_eq!(key_of(&one(Float64Array::from(vec![f64::NAN]))), "05fff8000000000000");
    assert_eq!(key_of(&one(StringArray::from(vec!["books"]))), "0600000005626f6f6b73");
    assert_eq!(key_of(&one(StringArray::from(vec![""]))), "0600000000");
    assert_eq!(key_of(&one(BinaryArray::from(vec![b"\0\xff".as_slice()]))), "070000000200ff");
    assert_eq!(key_of(&one(Date32Array::from(vec![-1]))), "087fffffff");
    assert_eq!(key_of(&one(TimestampMicrosecondArray::from(vec![-1]))), "097fffffffffffffff3b9ac618");
    assert_eq!(key_of(&decimal(150, 12, 2)), "0a018000000000000000000000000000000f");
    assert_eq!(key_of(&decimal(-150, 12, 2)), "0a017ffffffffffffffffffffffffffffff1");
    for data_type in [DataType::Int8, DataType::Utf8, DataType::Boolean, DataType::Decimal128(5, 1)] {
        assert_eq!(key_of(&[new_null_array(&data_type, 1)]), "00");
    }
    let composite: [ArrayRef; 3] = [
        Arc::new(StringArray::from(vec!["a"])),
        new_null_array(&DataType::Int64, 1),
        Arc::new(Int8Array::from(vec![-1])),
    ];
    assert_eq!(key_of(&composite), "060000000161".to_owned() + "00" + "037fffffffffffffff");
}

#[test]
fn hash_and_key_group_of_a_key_are_part_of_the_format() {
    let keys = keys_of(&one(StringArray::from(vec!["books", "toys"])));
    assert_eq!(keys.hashes(), [12_174_778_598_997_494_031, 12_396_860_907_905_864_496]);
    assert_eq!(keys.key_groups(), [15, 48]);
}

#[test]
fn the_same_value_is_the_same_key_whatever_its_column() {
    let seven = key_of(&one(Int64Array::from(vec![7])));
    assert_eq!(key_of(&one(Int8Array::from(vec![7]))), seven);
    assert_eq!(key_of(&one(UInt8Array::from(vec![7]))), seven);
    assert_eq!(key_of(&one(UInt64Array::from(vec![7]))), seven);
    assert_ne!(key_of(&one(Float64Array::from(vec![7.0]))), seven);
    assert_ne!(key_of(&decimal(7, 10, 0)), seven);

    let half = key_of(&one(Float64Array::from(vec![0.5])));
    assert_eq!(key_of(&one(Float32Array::from(vec![0.5]))), half);
    let zero = key_of(&one(Float64Array::from(vec![0.0])));
    assert_eq!(key_of(&one(Float64Array::from(vec![-0.0]))), zero);
    let nan = key_of(&one(Float64Array::from(vec![f64::NAN])));
    assert_eq!(key_of(&one(Float64Array::from(vec![-f64::NAN]))), nan);
    assert_eq!(key_of(&one(Float32Array::from(vec![f32::from_bits(0xffc1_2345)]))), nan);

    let second = key_of(&one(TimestampSecondArray::from(vec![-3])));
    assert_eq!(key_of(&one(TimestampMillisecondArray::from(vec![-3_000]))), second);
    assert_eq!(key_of(&one(TimestampMicrosecondArray::from(vec![-3_000_000]))), second);
    assert_eq!(key_of(&one(TimestampNanosecondArray::from(vec![-3_000_000_000]).with_timezone("UTC"))), second);

    let one_and_a_half = key_of(&decimal(15, 3, 1));
    assert_eq!(key_of(&decimal(150_000, 38, 5)), one_and_a_half);
    assert_eq!(key_of(&decimal(0, 12, 2)), key_of(&decimal(0, 5, 0)));
    assert_ne!(key_of(&decimal(15, 3, 0)), one_and_a_half);
}

#[test]
fn composite_keys_cannot_be_confused_across_their_columns() {
    let pair = |a: &str, b: &str| {
        key_of(&[Arc::new(StringArray::from(vec![a])) as ArrayRef, Arc::new(StringArray::from(vec![b]))])
    };
    assert_ne!(pair("ab", "c"), pair("a", "bc"));
    assert_ne!(pair("", "a"), pair("a", ""));
}

/// Columns of every type, with the values at the ends of each, in ascending order and nulls between.
fn extremes() -> Vec<ArrayRef> {
    let micros = [i64::MIN, -1_000_001, -1, 0, 1, i64::MAX];
    vec![
        Arc::new(BooleanArray::from(vec![None, Some(false), Some(true)])),
        Arc::new(Int8Array::from(vec![None, Some(i8::MIN), Some(0), Some(i8::MAX)])),
        Arc::new(Int32Array::from(vec![i32::MIN, -1, 0, i32::MAX])),
        Arc::new(Int64Array::from(vec![None, Some(i64::MIN), Some(-1), Some(0), Some(i64::MAX)])),
        Arc::new(UInt64Array::from(vec![0, 1, i64::MAX as u64, i64::MAX as u64 + 1, u64::MAX])),
        Arc::new(Float32Array::from(vec![f32::NEG_INFINITY, -1.5, 0.0, f32::MIN_POSITIVE, f32::INFINITY])),
        Arc::new(Float64Array::from(vec![f64::NEG_INFINITY, f64::MIN, -1e-300, 0.0, 2.5, f64::INFINITY])),
        Arc::new(StringArray::from(vec![None, Some(""), Some("b"), Some("\u{1F600}"), Some("aaaaa")])),
        Arc::new(BinaryArray::from(vec![Some(b"".as_slice()), Some(b"\0"), Some(b"\xff\xff")])),
        Arc::new(Date32Array::from(vec![None, Some(i32::MIN), Some(-1), Some(0), Some(i32::MAX)])),
        Arc::new(TimestampSecondArray::from(micros.to_vec())),
        Arc::new(TimestampMillisecondArray::from(micros.to_vec())),
        Arc::new(TimestampMicrosecondArray::from(micros.to_vec()).with_timezone("Europe/Vienna")),
        Arc::new(TimestampNanosecondArray::from(micros.to_vec())),
        Arc::new(
            Decimal128Array::from(vec![
                None,
                Some(-(10i128.pow(38) - 1)),
                Some(-10),
                Some(0),
                Some(10i128.pow(38) - 1),
            ])
            .with_precision_and_scale(38, 6)
            .unwrap(),
        ),
    ]
}

#[test]
fn keys_of_every_type_come_back_as_they_went_in() {
    for column in extremes() {
        let keys = keys_of(&[Arc::clone(&column)]);
        let field = Arc::new(Field::new("c0", column.data_type().clone(), true));
        let decoded = KeyDecoder::new(&[field]).decode((0..keys.len()).map(|row| keys.key(row))).unwrap();
        assert_eq!(&decoded[0], &column, "{}", column.data_type());
    }
}

#[test]
fn keys_of_numbers_and_times_sort_as_their_values() {
    let is_decimal = |column: &ArrayRef| matches!(column.data_type(), DataType::Decimal128(_, _));
    for column in extremes().into_iter().filter(|column| !is_decimal(column)) {
        let keys = keys_of(&[Arc::clone(&column)]);
        let sorted: Vec<&[u8]> = (0..keys.len()).map(|row| keys.key(row)).collect();
        assert!(sorted.is_sorted_by(|a, b| a < b), "{}", column.data_type());
    }
}

#[test]
fn malformed_keys_are_refused_and_never_a_panic() {
    let column: ArrayRef = Arc::new(StringArray::from(vec!["abc"]));
    let keys = keys_of(&[column]);
    let utf8 = KeyDecoder::new(&[Arc::new(Field::new("c", DataType::Utf8, true))]);
    let integer = KeyDecoder::new(&[Arc::new(Field::new("c", DataType::Int64, true))]);
    for end in 0..keys.key(0).len() {
        assert!(utf8.decode([&keys.key(0)[..end]].into_iter()).is_err(), "cut at {end}");
    }
    assert!(integer.decode([keys.key(0)].into_iter()).is_err());
    assert!(utf8.decode([[keys.key(0), b"x"].concat().as_slice()].into_iter()).is_err());
    assert!(utf8.decode([b"\x06\0\0\0\x01\xff".as_slice()].into_iter()).is_err());
    assert!(utf8.decode([b"\x06\xff\xff\xff\xff".as_slice()].into_iter()).is_err());
}

#[test]
fn a_key_expression_that_fails_costs_its_row() {
    let schema = Arc::new(Schema::new(vec![Field::new("n", DataType::Int64, false)]));
    let batch = Batch {
        columns: RecordBatch::try_new(Arc::clone(&schema), one(Int64Array::from(vec![1, 0, 5])).to_vec()).unwrap(),
        event_times_us: vec![10, 11, 12].into(),
        watermarks_us: vec![0; 3].into(),
        origin: Origin::Step("s".into()),
        changes: Changes::Inserts,
    };
    let encoder = KeyEncoder::new(&[("k".into(), "10 / n".into())], &schema, 64).unwrap();
    assert_eq!((encoder.fields()[0].name().as_str(), encoder.fields()[0].data_type()), ("k", &DataType::Int64));
    let mut out = Outputs::default();
    let keyed = encoder.encode(batch, &mut out).unwrap();
    assert_eq!(&keyed.batch.event_times_us[..], &[10, 12]);
    assert_eq!(
        (0..2).map(|row| hex(keyed.keys.key(row))).collect::<Vec<_>>(),
        ["03800000000000000a", "038000000000000002"]
    );
    assert_eq!((out.rejects.len(), out.rejects[0].stage), (1, "key"));
    let twice = KeyEncoder::new(&[("k".into(), "n".into()), ("k".into(), "n + 1".into())], &schema, 64).unwrap_err();
    assert_eq!((twice.0, twice.1.message.as_str()), (1, "key column `k` is given twice"));
}

#[test]
fn without_key_columns_all_rows_share_the_empty_key() {
    let schema = Arc::new(Schema::new(vec![Field::new("n", DataType::Timestamp(TimeUnit::Second, None), false)]));
    let column = one(TimestampSecondArray::from(vec![1, 2])).to_vec();
    let batch = Batch {
        columns: RecordBatch::try_new(Arc::clone(&schema), column).unwrap(),
        event_times_us: vec![0; 2].into(),
        watermarks_us: vec![0; 2].into(),
        origin: Origin::Step("s".into()),
        changes: Changes::Inserts,
    };
    let keyed = KeyEncoder::new(&[], &schema, 64).unwrap().encode(batch, &mut Outputs::default()).unwrap();
    assert_eq!((keyed.keys.len(), keyed.keys.key(0), keyed.keys.key(1)), (2, [].as_slice(), [].as_slice()));
    assert_eq!(keyed.keys.hashes()[0], key::hash(b""));
}

#[test]
fn a_null_is_found_in_any_column_of_a_key_and_never_in_the_bytes_of_a_value() {
    for column in extremes() {
        let zeros: ArrayRef = Arc::new(StringArray::from(vec!["\0\0"; column.len()]));
        let keys = keys_of(&[zeros, Arc::clone(&column)]);
        (0..keys.len()).for_each(|row| assert_eq!(has_null(keys.key(row)), column.is_null(row), "{column:?} {row}"));
    }
    let zeros: [ArrayRef; 2] =
        [Arc::new(BinaryArray::from(vec![&[0u8; 9][..]])), Arc::new(Int64Array::from(vec![i64::MIN]))];
    assert!(!has_null(keys_of(&zeros).key(0)) && !has_null(&[]));
    let last_null: [ArrayRef; 2] = [Arc::clone(&zeros[0]), Arc::new(Int64Array::from(vec![None::<i64>]))];
    assert!(has_null(keys_of(&last_null).key(0)));
}
