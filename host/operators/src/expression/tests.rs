//! What expressions give, what they refuse and where they point.

use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::{Decimal128Type, Float64Type, Int32Type, Int64Type};
use arrow_array::{
    Array, ArrayRef, Decimal128Array, Float64Array, Int32Array, Int64Array, RecordBatch, StringArray,
    TimestampMillisecondArray,
};
use arrow_schema::{Field, Schema, TimeUnit};
use weir_stream::{Changes, Origin};

mod lists;

use super::*;

fn schema() -> SchemaRef {
    let timestamp = DataType::Timestamp(TimeUnit::Millisecond, None);
    Arc::new(Schema::new(vec![
        Field::new("kind", DataType::Utf8, true),
        Field::new("quantity", DataType::Int32, true),
        Field::new("price", DataType::Int64, false),
        Field::new("amount", DataType::Decimal128(12, 2), true),
        Field::new("ratio", DataType::Float64, false),
        Field::new("occurred_at", timestamp, false),
        Field::new("userId", DataType::Int64, false),
    ]))
}

fn batch() -> Batch {
    let columns: Vec<ArrayRef> = vec![
        Arc::new(StringArray::from(vec![Some("payment"), Some("view"), None, Some("payment")])),
        Arc::new(Int32Array::from(vec![Some(2), Some(0), Some(5), None])),
        Arc::new(Int64Array::from(vec![10, i64::MAX, -7, i64::MIN])),
        Arc::new(
            Decimal128Array::from(vec![Some(1050), None, Some(-33), Some(999_999_999_999)])
                .with_precision_and_scale(12, 2)
                .unwrap(),
        ),
        Arc::new(Float64Array::from(vec![0.5, 0.0, -1.5, 4.0])),
        Arc::new(TimestampMillisecondArray::from(vec![0, 1_772_359_210_000, -1, 253_402_300_800_000])),
        Arc::new(Int64Array::from(vec![1, 2, 3, 4])),
    ];
    Batch {
        columns: RecordBatch::try_new(schema(), columns).unwrap(),
        event_times_us: vec![0; 4].into(),
        watermarks_us: vec![0; 4].into(),
        origin: Origin::Step("s".into()),
        changes: Changes::Inserts,
    }
}

fn evaluated(text: &str) -> Evaluated {
    Expression::compile(text, &schema()).unwrap_or_else(|error| panic!("{text}: {error}")).evaluate(&batch())
}

fn integers(text: &str) -> Vec<Option<i64>> {
    let evaluated = evaluated(text);
    assert!(evaluated.rejects.is_empty(), "{:?}", evaluated.rejects);
    evaluated.array.as_primitive::<Int64Type>().iter().collect()
}

fn truths(text: &str) -> Vec<Option<bool>> {
    let evaluated = Predicate::compile(text, &schema()).unwrap().evaluate(&batch());
    assert!(evaluated.rejects.is_empty(), "{:?}", evaluated.rejects);
    evaluated.array.as_boolean().iter().collect()
}

fn refused(text: &str) -> ExpressionError {
    match Expression::compile(text, &schema()) {
        Ok(made) => panic!("`{text}` was compiled to {made:?}"),
        Err(error) => error,
    }
}

/// The rows that are rejected, and the first reason.
fn rejected(text: &str) -> (Vec<u32>, String) {
    let evaluated = evaluated(text);
    assert!(evaluated.rejects.iter().all(|reject| reject.code == REJECT_CODE));
    assert!(evaluated.rejects.iter().all(|reject| evaluated.array.is_null(reject.row as usize)));
    assert_eq!(evaluated.array.len(), 4);
    let reason = evaluated.rejects.first().map(|reject| reject.reason.clone()).unwrap_or_default();
    (evaluated.rejects.iter().map(|reject| reject.row).collect(), reason)
}

#[test]
fn conditions_of_the_manifest_hold_for_the_rows_they_should() {
    let yes = Some(true);
    let no = Some(false);
    assert_eq!(truths("kind = 'payment' and amount > 0"), [yes, no, no, yes]);
    assert_eq!(truths("quantity in (2, 5)"), [yes, no, yes, None]);
    assert_eq!(truths("amount between -1 and 11"), [yes, None, yes, no]);
    assert_eq!(truths("kind like 'pay%' or quantity is null"), [yes, no, None, yes]);
    assert_eq!(truths("occurred_at >= '2026-01-01'"), [no, yes, no, yes]);
    assert_eq!(truths("occurred_at < timestamp '9999-12-31 23:59:59'"), [yes, yes, yes, no]);
    assert_eq!(truths("regexp_like(kind, '^v')"), [no, yes, None, no]);
    assert_eq!(truths("not (price % 2 = 0)"), [no, yes, yes, no]);
}

#[test]
fn values_have_the_types_of_sql() {
    assert_eq!(integers("price % 10"), [Some(0), Some(7), Some(-7), Some(-8)]);
    assert_eq!(integers("case when quantity > 0 then quantity * 10 else -1 end"), [20, -1, 50, -1].map(Some));
    assert_eq!(integers("coalesce(quantity, 7) + 0"), [2, 0, 5, 7].map(Some));
    let upper = evaluated("upper(kind) || '!'");
    assert_eq!(upper.array.as_string::<i32>().iter().next().unwrap(), Some("PAYMENT!"));
    let exact = evaluated("amount * 1.1");
    assert_eq!(exact.array.data_type(), &DataType::Decimal128(15, 3));
    assert_eq!(exact.array.as_primitive::<Decimal128Type>().value(0), 11550);
    let year = Expression::compile("extract(year from occurred_at)", &schema()).unwrap();
    assert_eq!(year.data_type(), &DataType::Int32);
    assert_eq!(year.evaluate(&batch()).array.as_primitive::<Int32Type>().values(), &[1970, 2026, 1969, 10000]);
    let moment = Expression::compile("cast('2026-03-01T10:00:00Z' as timestamp)", &schema()).unwrap();
    assert_eq!(moment.data_type(), &DataType::Timestamp(TimeUnit::Microsecond, None));
    let minute = Expression::compile("date_trunc('minute', occurred_at)", &schema()).unwrap();
    assert_eq!(minute.data_type(), &DataType::Timestamp(TimeUnit::Millisecond, None));
    let half = evaluated("ratio * 0.5");
    assert_eq!(half.array.as_primitive::<Float64Type>().values(), &[0.25, 0.0, -0.75, 2.0]);
}

#[test]
fn column_names_are_exact_and_a_plain_column_is_not_copied() {
    let expression = Expression::compile("userId", &schema()).unwrap();
    assert_eq!((expression.as_column(), expression.is_nullable()), (Some(6), false));
    let batch = batch();
    let array = expression.evaluate(&batch).array;
    assert!(Arc::ptr_eq(&array, batch.columns.column(6)));
    assert_eq!(refused("userid").suggestion.as_deref(), Some("userId"));
    assert_eq!(Expression::compile("\"userId\"", &schema()).unwrap().as_column(), Some(6));
}

#[test]
fn an_error_costs_only_the_guilty_rows_and_names_expression_and_cause() {
    assert_eq!(rejected("price / quantity"), (vec![1], "`price / quantity`: division by zero".to_owned()));
    let (rows, reason) = rejected("price + 1");
    assert_eq!(rows, [1]);
    assert!(reason.starts_with("`price + 1`: ") && reason.contains("9223372036854775807 + 1"), "{reason}");
    assert_eq!(rejected("cast(kind as int)").0, [0, 1, 3]);
    assert!(rejected("cast(kind as int)").1.contains("payment"));
    assert_eq!(rejected("cast(price as int)").0, [1, 3]);
    assert_eq!(rejected("cast(amount as decimal(4, 2))").0, [3]);
}

#[test]
fn integer_arithmetic_never_wraps() {
    assert_eq!(rejected("-price").0, [3]);
    assert_eq!(rejected("abs(price)").0, [3]);
    assert_eq!(rejected("price * 2").0, [1, 3]);
    assert_eq!(rejected("price - 1").0, [3]);
    assert_eq!(rejected("price / -1").0, [3]);
    assert_eq!(rejected("quantity + cast(2147483646 as int)").0, [0, 2]);
    assert_eq!(rejected("case when true then price + price else 0 end").0, [1, 3]);
    let power = evaluated("power(price, 2)");
    assert_eq!((power.array.data_type(), power.rejects.len()), (&DataType::Float64, 0));
}

#[test]
fn a_decimal_result_with_too_many_digits_is_an_error() {
    let (rows, reason) = rejected("cast(amount as decimal(38, 2)) * 100000000000000000000000000000");
    assert_eq!(rows, [3], "{reason}");
}

#[test]
fn float_division_by_zero_is_infinite_as_ieee_says() {
    let evaluated = evaluated("1.0e0 / ratio");
    assert!(evaluated.rejects.is_empty());
    assert_eq!(evaluated.array.as_primitive::<Float64Type>().value(1), f64::INFINITY);
}

#[test]
fn a_guarded_division_refuses_no_row_whatever_the_other_rows_are() {
    let expression = Predicate::compile("quantity <> 0 and price / quantity > 1", &schema()).unwrap();
    let whole = expression.evaluate(&batch());
    assert_eq!(whole.rejects, []);
    for row in 0..4 {
        let alone = expression.evaluate(&batch().slice(row, 1));
        assert_eq!(alone.array.as_boolean().iter().next(), whole.array.as_boolean().iter().nth(row));
    }
}

#[test]
fn an_unknown_column_is_named_placed_and_likened() {
    let error = refused("kind = 'payment' and amuont > 0");
    assert_eq!(error.span, Some(21..27));
    assert_eq!(error.to_string(), "no column `amuont` here; did you mean `amount`?");
    let error = refused("zzz + 1");
    assert_eq!(error.span, Some(0..3));
    let has = "(has: kind, quantity, price, amount, ratio, occurred_at, userId)";
    assert_eq!(error.to_string(), format!("no column `zzz` here {has}"));
    let error = refused("'é' = kind\n and amuont > 0");
    assert_eq!(&"'é' = kind\n and amuont > 0"[error.span.unwrap()], "amuont");
    assert!(refused("events.kind = 'x'").message.contains("without a table"));
}

#[test]
fn an_unknown_function_is_likened_and_an_aggregate_is_sent_to_its_place() {
    let error = refused("lowr(kind)");
    assert_eq!((error.to_string().as_str(), error.span), ("no function `lowr`; did you mean `lower`?", Some(0..4)));
    let error = refused("1 + sum(price)");
    assert_eq!(error.span, Some(4..7));
    assert_eq!(error.message, "`sum` is an aggregate: it goes under `aggregate` of a step with a window");
}

#[test]
fn functions_of_the_moment_or_of_chance_are_refused() {
    for text in ["now()", "random()", "uuid()", "current_date()", "occurred_at < now()", "current_timestamp"] {
        let error = refused(text);
        assert!(error.message.contains("must depend on its row alone"), "{text}: {error}");
        assert!(error.span.is_some(), "{text}");
    }
}

#[test]
fn syntax_errors_point_at_the_word() {
    let error = refused("kind = ");
    assert!(error.message.starts_with("Expected: an expression, found the end"), "{error}");
    let error = refused("price + + * 2");
    assert_eq!(error.span, Some(10..11), "{error}");
    let error = refused("price quantity");
    assert_eq!(error.span, Some(6..7), "{error}");
    assert!(error.message.contains("the end of the expression"), "{error}");
    assert!(refused("kind = 'open").message.contains("Unterminated string"));
}

#[test]
fn types_that_do_not_meet_are_refused_in_words() {
    for text in [
        "kind + 1 = price and kind and price",
        "price and true",
        "upper()",
        "abs('x', 2)",
        "ratio || occurred_at and kind",
    ] {
        let error = refused(text);
        assert!(!error.message.contains("Internal") && !error.message.is_empty(), "{text}: {error}");
    }
    let error = Predicate::compile("price + 1", &schema()).unwrap_err();
    assert_eq!(error.to_string(), "this gives int64, but a condition must be true or false");
    assert!(refused("null").message.contains("no type"));
    assert!(refused("regexp_match(kind, 'x')").message.contains("which no expression may"));
    assert!(refused("occurred_at - occurred_at").message.contains("which no column can hold"));
}

#[test]
fn what_is_no_scalar_expression_is_refused() {
    for text in
        ["", "  ", "select 1", "(select 1)", "exists (select 1)", "price > all (select 1)", "$1", "*", "1; 2", "a => 1"]
    {
        refused(text);
    }
    refused("row_number() over ()");
    refused("price in (select price)");
}

#[test]
fn constants_are_folded_with_checked_arithmetic() {
    assert_eq!(integers("1 + 2 * 3"), [Some(7); 4]);
    let error = refused("9223372036854775807 + 1");
    assert!(error.message.starts_with("this always fails: "), "{error}");
    assert!(refused("1 / 0").message.contains("division by zero"));
    assert_eq!(integers("case when price = 10 then 1 else 2 + 3 end"), [1, 5, 5, 5].map(Some));
    assert_eq!(rejected("case when price = 10 then 1 / 0 else 2 end").0, [0]);
}

#[test]
fn long_and_deep_expressions_are_bounded() {
    let sum = |terms: usize| format!("price{}", " + quantity".repeat(terms));
    let longest = MAX_EXPRESSION_TOKENS / 2 - 1;
    Expression::compile(&sum(longest), &schema()).unwrap().evaluate(&batch());
    let error = refused(&sum(longest + 1));
    assert!(error.message.contains("over the limit of 500"), "{error}");
    let list = format!("price in (1{})", ", 2".repeat(2000));
    Predicate::compile(&list, &schema()).unwrap();
    assert!(refused(&format!("'{}'", "x".repeat(MAX_EXPRESSION_BYTES))).message.contains("over the limit of 16384"));
    let deep = format!("{}1{}", "(".repeat(200), ")".repeat(200));
    assert!(refused(&deep).message.contains("nested too deeply"));
    refused(&format!("{}true", "not ".repeat(400)));
    refused(&format!("{}price", "- ".repeat(400)));
}

#[test]
fn data_cannot_ask_for_strings_without_end() {
    assert!(refused("repeat(kind, price)").message.contains("must be a number, not computed"));
    assert!(refused("lpad(kind, 10000000, 'x')").message.contains("over the limit of 65536"));
    let repeated = evaluated("repeat(kind, 2)");
    assert_eq!(repeated.array.as_string::<i32>().value(1), "viewview");
}

#[test]
fn an_empty_batch_gives_an_empty_array() {
    let expression = Expression::compile("price / quantity", &schema()).unwrap();
    assert_eq!(expression.evaluate(&batch().slice(0, 0)).array.len(), 0);
    let constant = Expression::compile("1 + 1", &schema()).unwrap();
    assert_eq!(constant.evaluate(&batch().slice(0, 0)).array.len(), 0);
}
