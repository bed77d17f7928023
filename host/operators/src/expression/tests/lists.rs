//! Lists and structs in expressions: what is taken out of them, with nulls at every depth, and what is refused.

use arrow_array::{Array, Int64Array, ListArray, StructArray};
use arrow_buffer::{NullBuffer, OffsetBuffer};
use arrow_schema::Fields;

use super::*;

/// Five rows: `[10, null, 30]`, `[]`, null, `[null]`, `[7]`, as `numbers`; as `lines` the same prices in structs; as
/// `place` a struct that is null in the third row.
fn nested() -> RecordBatch {
    let offsets = || OffsetBuffer::from_lengths([3, 0, 0, 1, 1]);
    let nulls = || Some(NullBuffer::from(vec![true, true, false, true, true]));
    let prices: ArrayRef = Arc::new(Int64Array::from(vec![Some(10), None, Some(30), None, Some(7)]));
    let price = Fields::from(vec![Field::new("price", DataType::Int64, true)]);
    let lines: ArrayRef = Arc::new(StructArray::new(price, vec![Arc::clone(&prices)], None));
    let list = |items: ArrayRef| -> ArrayRef {
        let item = Arc::new(Field::new_list_field(items.data_type().clone(), true));
        Arc::new(ListArray::new(item, offsets(), items, nulls()))
    };
    let city = Fields::from(vec![Field::new("city", DataType::Utf8, true)]);
    let cities: ArrayRef = Arc::new(StringArray::from(vec![Some("Bonn"), None, None, Some("Ulm"), Some("Köln")]));
    let place: ArrayRef = Arc::new(StructArray::new(city, vec![cities], nulls()));
    let wanted: ArrayRef = Arc::new(Int64Array::from(vec![Some(30), Some(1), Some(1), None, Some(7)]));
    let columns = [("numbers", list(prices)), ("lines", list(lines)), ("place", place), ("wanted", wanted)];
    RecordBatch::try_from_iter(columns.map(|(name, array)| (name, array))).unwrap()
}

fn given(text: &str) -> ArrayRef {
    let rows = nested();
    let batch = Batch {
        event_times_us: vec![0; rows.num_rows()].into(),
        watermarks_us: vec![i64::MIN; rows.num_rows()].into(),
        ..super::batch()
    };
    let expression = Expression::compile(text, &rows.schema()).unwrap_or_else(|error| panic!("{text}: {error}"));
    let evaluated = expression.evaluate(&Batch { columns: rows, ..batch });
    assert!(evaluated.rejects.is_empty(), "{text}: {:?}", evaluated.rejects);
    evaluated.array
}

fn numbers(text: &str) -> Vec<Option<i64>> {
    let array = arrow_cast::cast(&given(text), &DataType::Int64).unwrap();
    array.as_primitive::<Int64Type>().iter().collect()
}

fn refusal(text: &str) -> ExpressionError {
    match Expression::compile(text, &nested().schema()) {
        Ok(made) => panic!("`{text}` was compiled to {made:?}"),
        Err(error) => error,
    }
}

#[test]
fn the_length_of_a_list_is_null_where_the_list_is() {
    assert_eq!(numbers("array_length(numbers)"), [Some(3), Some(0), None, Some(1), Some(1)]);
    assert_eq!(numbers("array_length(lines) * 2"), [Some(6), Some(0), None, Some(2), Some(2)]);
}

#[test]
fn an_element_counts_from_1_and_is_null_outside_of_its_list() {
    let first = [Some(10), None, None, None, Some(7)];
    assert_eq!(numbers("array_element(numbers, 1)"), first);
    assert_eq!(numbers("numbers[1]"), first);
    assert_eq!(numbers("numbers[3]"), [Some(30), None, None, None, None]);
    assert_eq!(numbers("numbers[-1]"), [Some(30), None, None, None, Some(7)]);
    for outside in ["numbers[0]", "numbers[4]", "numbers[-9]"] {
        assert_eq!(numbers(outside), [None; 5], "{outside}");
    }
    assert_eq!(numbers("numbers[cast(array_length(numbers) as bigint)]"), [Some(30), None, None, None, Some(7)]);
    assert_eq!(numbers("numbers[wanted]"), [None; 5]);
}

#[test]
fn a_list_contains_values_and_no_null() {
    let truths = |text: &str| given(text).as_boolean().iter().collect::<Vec<_>>();
    assert_eq!(truths("array_contains(numbers, 30)"), [Some(true), Some(false), None, Some(false), Some(false)]);
    assert_eq!(truths("array_contains(numbers, wanted)")[..3], [Some(true), Some(false), None]);
    assert_eq!(truths("array_contains(numbers, wanted)")[4], Some(true));
    assert_eq!(truths("array_contains(numbers, 7) is true"), [false, false, false, false, true].map(Some));
}

#[test]
fn fields_are_taken_out_of_structs_also_of_those_in_lists() {
    let cities =
        |text: &str| given(text).as_string::<i32>().iter().map(|city| city.map(str::to_owned)).collect::<Vec<_>>();
    let expected = [Some("Bonn"), None, None, Some("Ulm"), Some("Köln")].map(|city| city.map(str::to_owned));
    for text in ["get_field(place, 'city')", "place['city']", "place.city"] {
        assert_eq!(cities(text), expected, "{text}");
    }
    for text in ["lines[1]['price']", "get_field(array_element(lines, 1), 'price')"] {
        assert_eq!(numbers(text), [Some(10), None, None, None, Some(7)], "{text}");
    }
}

#[test]
fn what_is_no_list_or_gives_one_is_refused_at_its_place() {
    let told = |text: &str| {
        let error = refusal(text);
        let place = error.span.clone().map_or("", |place| &text[place]);
        format!("{place}: {error}")
    };
    let texts = [
        "1 + array_length(wanted)",
        "array_contains(wanted, 1)",
        "array_element(numbers, 'x')",
        "lines[1]",
        "numbers",
        "place.town",
        "array_lenght(numbers)",
        "array_sort(numbers)",
    ];
    assert_eq!(
        texts.map(told),
        [
            "array_length: `array_length` does not take int64",
            "array_contains: `array_contains` does not take int64",
            "array_element: `array_element` does not take list(int64), utf8",
            "lines[1]: this gives struct(\"price\": int64), which no expression may; take a part of it, or `flatten` it before",
            "numbers: this gives list(int64), which no expression may; take a part of it, or `flatten` it before",
            "town: the struct has no field `town`",
            "array_lenght: no function `array_lenght`; did you mean `array_length`?",
            "array_sort: no function `array_sort`; did you mean `array_has`?",
        ]
    );
}
