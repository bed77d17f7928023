//! Functions over whole columns: every type there and back, rows taken out between others, and what goes wrong.

use weir_sdk::prelude::*;
use weir_sdk::testing::{Cell, Instance};
use weir_sdk::wit::Cardinality;

fn row<const N: usize>(cells: [&str; N]) -> [Option<&str>; N] {
    cells.map(|cell| (cell != "null").then_some(cell))
}

#[derive(InputColumns)]
struct Wide<'a> {
    #[column("row-fate")]
    fate: ColumnView<'a, &'a str>,
    a_bool: ColumnView<'a, Option<bool>>,
    an_i8: ColumnView<'a, i8>,
    an_i64: ColumnView<'a, Option<i64>>,
    an_f32: ColumnView<'a, f32>,
    text: ColumnView<'a, Option<&'a str>>,
    bytes: ColumnView<'a, &'a [u8]>,
    date: ColumnView<'a, Date>,
    moment: ColumnView<'a, Timestamp>,
    money: ColumnView<'a, Option<Decimal>>,
}

#[derive(OutputColumns)]
#[output(drop("row-fate"))]
struct Same<'a> {
    a_bool: ColumnBuilder<Option<bool>>,
    an_i8: ColumnBuilder<i8>,
    an_i64: ColumnBuilder<Option<i64>>,
    an_f32: ColumnBuilder<f32>,
    text: ColumnBuilder<Option<&'a str>>,
    bytes: ColumnBuilder<&'a [u8]>,
    date: ColumnBuilder<Date>,
    moment: ColumnBuilder<Timestamp>,
    money: ColumnBuilder<Option<Decimal>>,
}

/// Writes some columns for every row and some only for those that are kept: both must come to the same.
#[transform(columns, name = "same", version = "3.0.0")]
fn same<'a>(wide: Wide<'a>, same: &mut Same<'a>, rows: &mut Rows) {
    for (row, fate) in wide.fate.iter().enumerate() {
        match fate {
            "drop" => rows.drop(row),
            "reject" => rows.reject(row, reject!("told-to")),
            _ => {}
        }
    }
    same.a_bool.extend(wide.a_bool.iter());
    same.an_i8.values().extend_from_slice(wide.an_i8.values());
    same.an_i64.extend(wide.an_i64.iter());
    same.an_f32.extend(wide.an_f32.iter());
    same.text.extend(wide.text.iter());
    same.bytes.extend(wide.bytes.iter());
    same.date.extend(rows.kept().map(|row| wide.date.get(row)));
    same.moment.extend(wide.moment.iter());
    same.money.extend(wide.money.iter());
}

const COLUMNS: [(&str, &str); 10] = [
    ("row-fate", "utf8!"),
    ("a_bool", "bool"),
    ("an_i8", "int8!"),
    ("an_i64", "int64"),
    ("an_f32", "float32!"),
    ("text", "utf8"),
    ("bytes", "binary!"),
    ("date", "date!"),
    ("moment", "timestamp(ms)!"),
    ("money", "decimal(20, 3)"),
];

#[test]
fn every_type_crosses_and_rows_between_others_are_taken_out() {
    let kept = row(["keep", "true", "-128", "9223372036854775807", "1.5", "naïve", "x", "-1", "-5", "-0.125"]);
    let nulls = row(["keep", "null", "0", "null", "0", "null", "", "0", "0", "null"]);
    let (dropped, refused) = ([Some("drop"); 1], [Some("reject"); 1]);
    let with = |fate: [Option<&'static str>; 1], row: &[Option<&'static str>; 10]| {
        let mut row = *row;
        row[0] = fate[0];
        row
    };
    let plugin = Instance::<same>::open("", &COLUMNS).unwrap();
    assert_eq!((plugin.contract().name.as_str(), plugin.contract().cardinality), ("same", Cardinality::Filter));
    let pattern: Vec<_> = [0, 1, 2, 3, 0, 0, 1, 2, 1, 3, 0, 1, 0, 0, 2, 1, 0, 1, 3]
        .map(|kind| match kind {
            0 => kept,
            1 => nulls,
            2 => with(dropped, &kept),
            _ => with(refused, &nulls),
        })
        .into();
    for rows in [&pattern[..], &pattern[1..], &pattern[..1], &pattern[2..4], &pattern[4..6], &[]] {
        let outcome = plugin.process(rows);
        let stays = |row: &&[Option<&str>; 10]| row[0] == Some("keep");
        let cells = |row: &[Option<&str>; 10]| row[1..].iter().map(|cell| cell.map(str::to_owned)).collect();
        let expected: Vec<Vec<Cell>> = rows.iter().filter(stays).map(cells).collect();
        assert_eq!(outcome.rows("main"), expected);
        let rejected = rows.iter().filter(|row| row[0] == Some("reject")).count();
        assert_eq!(outcome.rejects.len(), rejected);
    }
}

#[test]
fn columns_that_do_not_fit_are_faults_as_for_rows() {
    let mut columns = COLUMNS;
    columns[2].1 = "int8";
    columns[9].0 = "cash";
    let faults = Instance::<same>::open("", &columns).err().unwrap();
    assert!(faults[0].starts_with("column `an_i8`: may be null, the plugin reads int8 without nulls"), "{faults:?}");
    assert!(faults[1].starts_with("column `money`: read by the plugin, not in its input"), "{faults:?}");
}

#[derive(InputColumns)]
struct Amounts<'a> {
    amount: ColumnView<'a, Decimal>,
}

#[derive(OutputColumns)]
struct Cents {
    #[decimal(4, 1)]
    cents: ColumnBuilder<Decimal>,
}

#[derive(Config)]
struct Care {
    checks: bool,
}

#[transform(columns)]
fn cents(amounts: Amounts, cents: &mut Cents, rows: &mut Rows, care: &Care) {
    for (row, amount) in amounts.amount.iter().enumerate() {
        match cents.cents.check(&amount) {
            Err(reject) if care.checks => rows.reject(row, reject),
            _ => cents.cents.push(amount),
        }
    }
}

const AMOUNTS: [(&str, &str); 1] = [("amount", "decimal(12, 2)!")];

#[test]
fn a_value_that_does_not_fit_is_told_before_it_is_pushed() {
    let plugin = Instance::<cents>::open(r#"{"checks": true}"#, &AMOUNTS).unwrap();
    let outcome = plugin.process(&[row(["1.50"]), row(["1000.00"]), row(["2.00"])]);
    assert_eq!(outcome.sources("main"), [0, 2]);
    let reject = "decimal-misfit: column `cents`: 1000.00 is too large for decimal(4, 1)";
    assert_eq!(outcome.rejects, [(1, reject.to_owned())]);
}

#[test]
#[should_panic = "decimal-misfit: column `cents`: 1000.00 is too large for decimal(4, 1); check() a value before push()"]
fn a_value_that_does_not_fit_is_never_written() {
    let plugin = Instance::<cents>::open(r#"{"checks": false}"#, &AMOUNTS).unwrap();
    plugin.process(&[row(["1000.00"])]);
}

#[derive(InputColumns)]
struct Number<'a> {
    n: ColumnView<'a, i64>,
}

#[derive(OutputColumns)]
struct Twice {
    twice: ColumnBuilder<i64>,
}

#[transform(columns)]
fn forgets(number: Number, twice: &mut Twice, rows: &mut Rows) {
    rows.drop(0);
    twice.twice.extend(number.n.iter().skip(2).map(|n| n * 2));
}

#[test]
#[should_panic = "column `twice`: 2 values for 4 rows, of which 3 are kept"]
fn a_builder_without_a_value_for_each_row_is_told() {
    let plugin = Instance::<forgets>::open("", &[("n", "int64!")]).unwrap();
    plugin.process(&[row(["1"]), row(["2"]), row(["3"]), row(["4"])]);
}

#[transform(columns)]
fn odd(number: Number, _: &mut (), rows: &mut Rows) {
    let even = number.n.values().iter().enumerate().filter(|(_, n)| *n % 2 == 0);
    even.for_each(|(row, _)| rows.drop(row));
}

#[test]
fn a_filter_writes_nothing() {
    let plugin = Instance::<odd>::open("", &[("n", "int64!")]).unwrap();
    assert_eq!(plugin.contract().outputs[0].writes, []);
    assert_eq!(plugin.process(&[row(["1"]), row(["2"]), row(["3"])]).sources("main"), [0, 2]);
}
