//! Columns of every type go into the sandbox and come out as they were, from whatever row they begin.

mod guest;

use std::sync::Arc;

use arrow_array::types::{
    Date32Type, Decimal128Type, Float32Type, Float64Type, Int8Type, Int16Type, Int32Type, Int64Type,
    TimestampMicrosecondType, TimestampMillisecondType, TimestampNanosecondType, TimestampSecondType, UInt8Type,
    UInt16Type, UInt32Type, UInt64Type,
};
use arrow_array::{Array, ArrayRef, BinaryArray, BooleanArray, PrimitiveArray, RecordBatch, StringArray};
use arrow_schema::{Field, TimeUnit};
use guest::layout::{Contract, Type};
use guest::{Guest, batch, table};
use weir_stream::Selection;

fn primitive<T: arrow_array::ArrowPrimitiveType>(value: impl Fn(i64) -> T::Native, nulls: bool) -> PrimitiveArray<T> {
    (0..100).map(|row| (!nulls || row % 7 != 3).then(|| value(row))).collect()
}

/// One column of each type that crosses, with its case in the contract.
fn columns(nulls: bool) -> Vec<(Type, ArrayRef)> {
    let null = |row: i32| nulls && row % 5 == 1;
    let text = |row: i32| (!null(row)).then(|| format!("row {row} \u{e9}\u{1f980}").repeat(row as usize % 4));
    let zoned = primitive::<TimestampMicrosecondType>(|row| row - 50, nulls).with_timezone("Europe/Paris");
    let money = primitive::<Decimal128Type>(|row| i128::from(row - 50) << 60, nulls);
    vec![
        (Type::Plain(0), Arc::new((0..100).map(|row| (!null(row)).then_some(row % 3 == 0)).collect::<BooleanArray>())),
        (Type::Plain(1), Arc::new(primitive::<Int8Type>(|row| row as i8 - 50, nulls))),
        (Type::Plain(2), Arc::new(primitive::<Int16Type>(|row| row as i16 * -300, nulls))),
        (Type::Plain(3), Arc::new(primitive::<Int32Type>(|row| row as i32 * -20_000_000, nulls))),
        (Type::Plain(4), Arc::new(primitive::<Int64Type>(|row| i64::MIN + row, nulls))),
        (Type::Plain(5), Arc::new(primitive::<UInt8Type>(|row| row as u8 * 2, nulls))),
        (Type::Plain(6), Arc::new(primitive::<UInt16Type>(|row| row as u16 * 600, nulls))),
        (Type::Plain(7), Arc::new(primitive::<UInt32Type>(|row| u32::MAX - row as u32, nulls))),
        (Type::Plain(8), Arc::new(primitive::<UInt64Type>(|row| u64::MAX - row as u64, nulls))),
        (Type::Plain(9), Arc::new(primitive::<Float32Type>(|row| row as f32 / 3.0, nulls))),
        (
            Type::Plain(10),
            Arc::new(primitive::<Float64Type>(
                |row| if row == 9 { f64::NEG_INFINITY } else { row as f64 / 3.0 },
                nulls,
            )),
        ),
        (Type::Plain(11), Arc::new((0..100).map(text).collect::<StringArray>())),
        (
            Type::Plain(12),
            Arc::new((0..100).map(|row| text(row).map(|t| [&[0xff], t.as_bytes()].concat())).collect::<BinaryArray>()),
        ),
        (Type::Plain(13), Arc::new(primitive::<Date32Type>(|row| row as i32 - 50, nulls))),
        (Type::Timestamp(0, None), Arc::new(primitive::<TimestampSecondType>(|row| row, nulls))),
        (Type::Timestamp(1, None), Arc::new(primitive::<TimestampMillisecondType>(|row| row, nulls))),
        (Type::Timestamp(2, Some("Europe/Paris")), Arc::new(zoned)),
        (Type::Timestamp(3, None), Arc::new(primitive::<TimestampNanosecondType>(|row| -row, nulls))),
        (Type::Decimal(38, 4), Arc::new(money.with_precision_and_scale(38, 4).unwrap())),
    ]
}

fn echo(nulls: bool) -> (Guest, RecordBatch) {
    let columns = columns(nulls);
    let names: Vec<String> = (0..columns.len()).map(|column| format!("c{column}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let writes: Vec<(&str, Type)> =
        names.iter().zip(&columns).map(|(name, (data_type, _))| (*name, *data_type)).collect();
    let fields =
        names.iter().zip(columns).map(|(name, (_, array))| (Field::new(*name, array.data_type().clone(), true), array));
    let input = table(fields.collect());
    (Guest::new(&Contract::writing(&writes).reading(&names).one_to_one()).echoes(), input)
}

#[test]
fn columns_of_every_type_come_back_as_they_went_in() {
    for nulls in [false, true] {
        let (guest, input) = echo(nulls);
        let answer = guest.run(&input).unwrap();
        let [output] = answer.outputs.as_slice() else { panic!("one output") };
        assert_eq!((&output.selection, output.output), (&Selection::All, 0));
        assert_eq!(output.columns, input.columns(), "nulls: {nulls}");
    }
}

#[test]
fn a_batch_that_begins_in_the_middle_of_its_buffers_is_rebased() {
    for nulls in [false, true] {
        let (guest, input) = echo(nulls);
        let mut transform = guest.transform(&input);
        for offset in 0..20 {
            let part = input.slice(offset, 37 + offset);
            let answer = transform.process(&batch(&part)).unwrap();
            assert_eq!(answer.outputs[0].columns, part.columns(), "nulls: {nulls}, offset: {offset}");
        }
    }
}

#[test]
fn the_contract_of_an_echo_is_the_schema_that_went_in() {
    let (guest, input) = echo(true);
    let contract = guest.load().describe("null", &input.schema(), &Default::default()).unwrap();
    assert_eq!(contract.output_schema(0, &input.schema()), input.schema());
}

#[test]
fn an_empty_batch_is_not_worth_a_call() {
    let (guest, input) = echo(true);
    let guest = guest.first("unreachable");
    let answer = guest.transform(&input).process(&batch(&input.slice(0, 0))).unwrap();
    assert!(answer.outputs.is_empty() && answer.rejects.is_empty());
}

#[test]
fn times_with_units_and_zones_keep_both() {
    let (_, input) = echo(false);
    let zoned = input.schema().field(16).data_type().clone();
    assert_eq!(zoned, arrow_schema::DataType::Timestamp(TimeUnit::Microsecond, Some("Europe/Paris".into())));
}
