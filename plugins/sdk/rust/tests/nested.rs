//! Lists and structs in rows, in whole columns, in state and in accumulators: there and back, with nulls at every depth, and
//! what does not fit.

use weir_sdk::prelude::*;
use weir_sdk::testing::{Cell, Instance, aggregate};
use weir_sdk::wit::{DataType, Field};

#[derive(Input, Output, Debug, Clone, PartialEq)]
struct Inner {
    flag: Option<bool>,
    texts: Vec<Option<String>>,
}

#[derive(Input, Output, Debug, Clone, PartialEq)]
struct Deep {
    n: i64,
    #[column("in-ner")]
    inner: Option<Inner>,
    bytes: Vec<u8>,
    small: Vec<Option<u8>>,
    day: Date,
    moment: Timestamp,
    money: Option<Decimal>,
}

#[derive(Input, Output)]
struct Wide {
    deep: Vec<Deep>,
    maybe: Option<Vec<Option<Deep>>>,
    lists: Vec<Vec<i32>>,
    one: Option<Inner>,
}

/// Gives back what it read.
#[transform(name = "same", version = "1.0.0")]
fn same(wide: Wide) -> Wide {
    wide
}

const DEEP: &str = "struct(n int64!, in-ner struct(flag bool, texts list(utf8)!), bytes binary!, small list(uint8)!, day date!, \
                    moment timestamp(ms)!, money decimal(20, 3))";

fn columns() -> [(&'static str, String); 4] {
    [
        ("deep", format!("list({DEEP}!)!")),
        ("maybe", format!("list({DEEP})")),
        ("lists", "list(list(int32!)!)!".to_owned()),
        ("one", "struct(flag bool, texts list(utf8)!)".to_owned()),
    ]
}

fn opened() -> Instance<same> {
    let columns = columns();
    Instance::open("", &columns.each_ref().map(|(name, text)| (*name, text.as_str()))).unwrap()
}

#[test]
fn everything_comes_back_as_it_was_with_nulls_at_every_depth() {
    let deep = r#"{"n":1,"in-ner":{"flag":null,"texts":["a\"b",null,""]},"bytes":"x","small":[1,null],"day":-1,"moment":-5,"money":-0.125}"#;
    let bare = r#"{"n":-9,"in-ner":null,"bytes":"","small":[],"day":0,"moment":0,"money":null}"#;
    let rows = [
        [Some(format!("[{deep},{bare}]")), Some(format!("[null,{deep},null]")), Some("[[1,2],[],[3]]".into()), None],
        [Some("[]".into()), None, Some("[]".into()), Some(r#"{"flag":true,"texts":[]}"#.into())],
        [
            Some(format!("[{bare}]")),
            Some("[]".into()),
            Some("[[]]".into()),
            Some(r#"{"flag":null,"texts":[null]}"#.into()),
        ],
    ];
    for rows in [&rows[..], &rows[1..], &rows[..1], &[]] {
        let expected: Vec<Vec<Cell>> = rows.iter().map(|row| row.to_vec()).collect();
        assert_eq!(opened().process(rows).rows("main"), expected);
    }
}

#[test]
fn the_contract_lists_children_behind_their_parents() {
    let one =
        |plugin: &Instance<same>| plugin.contract().outputs[0].writes.iter().rev().take(5).cloned().collect::<Vec<_>>();
    let field = |name: &str, data_type, nullable, children| Field { name: name.into(), data_type, nullable, children };
    assert_eq!(
        one(&opened()),
        [
            field("item", DataType::Utf8, true, 0),
            field("texts", DataType::ListOf, false, 1),
            field("flag", DataType::Boolean, true, 0),
            field("one", DataType::StructOf, true, 2),
            field("item", DataType::Int32, false, 0),
        ]
    );
}

#[test]
fn what_does_not_fit_is_told_with_its_place() {
    let fault = |column: &str, from: &str, to: &str| {
        let mut columns = columns();
        let place = columns.iter().position(|(name, _)| *name == column).unwrap();
        columns[place].1 = columns[place].1.replacen(from, to, 1);
        let columns = columns.each_ref().map(|(name, text)| (*name, text.as_str()));
        Instance::<same>::open("", &columns).err().unwrap().join("|")
    };
    let told = fault("deep", "n int64", "n int32");
    assert_eq!(told, "column `deep`: `item.n` is int32, the plugin reads int64");
    let told = fault("deep", "texts list(utf8)", "texts utf8");
    assert_eq!(told, "column `deep`: `item.in-ner.texts` is utf8, the plugin reads list");
    let told = fault("deep", "n int64!, ", "");
    assert!(told.starts_with("column `deep`: `item` has no field `n` (has: in-ner, bytes, small"), "{told}");
    let told = fault("lists", "int32!", "int32");
    assert!(
        told.starts_with("column `lists`: `item.item` may be null, the plugin reads int32 without nulls"),
        "{told}"
    );
    let told = fault("one", "struct(flag bool, texts list(utf8)!)", "list(utf8)");
    assert_eq!(told, "column `one`: is list(utf8), the plugin reads struct");
}

#[derive(Input)]
struct Amounts {
    amounts: Vec<Decimal>,
}

#[derive(Output)]
struct Coin {
    #[decimal(4, 1)]
    coins: Vec<Decimal>,
}

#[derive(Output)]
struct Purse {
    purse: Option<Coin>,
}

#[transform(name = "purse", version = "1.0.0")]
fn purse(row: Amounts) -> Purse {
    Purse { purse: (!row.amounts.is_empty()).then_some(Coin { coins: row.amounts }) }
}

#[test]
fn a_value_that_does_not_fit_costs_its_row_and_is_told_with_its_place() {
    let plugin = Instance::<purse>::open("", &[("amounts", "list(decimal(12, 2)!)!")]).unwrap();
    let outcome = plugin.process(&[[Some("[1.50]")], [Some("[2.00,1.25]")], [Some("[]")]]);
    let row = |cell: Option<&str>| vec![cell.map(str::to_owned)];
    assert_eq!(outcome.rows("main"), [row(Some(r#"{"coins":[1.5]}"#)), row(None)]);
    let misfit = "decimal-misfit: column `purse.coins.item`: 1.25 has more than 1 digits behind the point; cut it with .round(1)";
    assert_eq!(outcome.rejects, [(1, misfit.to_owned())]);
}

#[derive(Output)]
struct Undeclared {
    coins: Vec<Decimal>,
}

#[transform(name = "undeclared", version = "1.0.0")]
fn undeclared(row: Amounts) -> Undeclared {
    Undeclared { coins: row.amounts }
}

#[test]
fn digits_come_from_the_attribute_or_from_the_namesake() {
    let faults = Instance::<undeclared>::open("", &[("amounts", "list(decimal(12, 2)!)!")]).err().unwrap();
    assert_eq!(faults, ["column `coins`: `item` is a new decimal; say its digits: #[decimal(12, 2)] on the field"]);
    let columns = [("amounts", "list(decimal(12, 2)!)!"), ("coins", "list(decimal(9, 4))")];
    let plugin = Instance::<undeclared>::open("", &columns).unwrap();
    assert_eq!(plugin.process(&[[Some("[1]"), None]]).rows("main"), [[Some("[1.0000]".to_owned())]]);
}

#[derive(Input)]
struct Late<'a> {
    names: Items<'a, &'a str>,
}

#[transform(name = "second", version = "1.0.0")]
fn second(row: Late) -> Option<Picked> {
    let all: Vec<&str> = row.names.iter().collect();
    assert_eq!((all.len(), all.first().copied()), (row.names.len(), row.names.get(0)));
    row.names.get(1).map(|name| Picked { name: name.to_owned() })
}

#[derive(Output)]
struct Picked {
    name: String,
}

#[test]
fn items_are_read_one_by_one() {
    let plugin = Instance::<second>::open("", &[("names", "list(utf8!)!")]).unwrap();
    let outcome = plugin.process(&[[Some(r#"["a","bc"]"#)], [Some("[]")], [Some(r#"["d","e","f"]"#)]]);
    let picked = |name: &str| vec![Some(name.to_owned())];
    assert_eq!((outcome.rows("main"), outcome.sources("main")), (&[picked("bc"), picked("e")][..], &[0, 2][..]));
}

#[derive(InputColumns)]
struct Line<'a> {
    price: ColumnView<'a, f64>,
    names: Nullable<'a, ListView<'a, ColumnView<'a, Option<&'a str>>>>,
}

#[derive(InputColumns)]
struct Orders<'a> {
    id: ColumnView<'a, i64>,
    lines: ListView<'a, Line<'a>>,
    first: Nullable<'a, Line<'a>>,
}

#[derive(Output)]
struct Price {
    price: f64,
    names: Option<Vec<String>>,
}

#[derive(OutputColumns)]
struct Told {
    lines: ColumnBuilder<Vec<Price>>,
    first: ColumnBuilder<Option<Price>>,
}

/// Writes a value for each row and drops some of them: those between others must be taken out whole.
#[transform(columns, name = "told", version = "1.0.0")]
fn told(orders: Orders, told: &mut Told, rows: &mut Rows) {
    let names = |line: &Line, at: usize| {
        let all = line.names.values();
        let texts = all.span(at).map(|name| all.items().get(name).unwrap_or("?").to_owned());
        (!line.names.is_null(at)).then(|| texts.collect())
    };
    for row in 0..rows.len() {
        let lines = orders.lines.items();
        let price = |at: usize| Price { price: lines.price.values()[at] * 2.0, names: names(lines, at) };
        told.lines.push(orders.lines.span(row).map(price).collect());
        let first = orders.first.values();
        let of_first = || Price { price: first.price.get(row), names: names(first, row) };
        told.first.push((!orders.first.is_null(row)).then(of_first));
        if orders.id.get(row) < 0 {
            rows.drop(row);
        }
    }
    assert_eq!(orders.lines.offsets().len(), rows.len() + 1);
}

#[test]
fn columns_see_lists_and_structs_and_rows_between_others_are_taken_out_of_them() {
    let line = "struct(sku utf8, names list(utf8), price float64!)";
    let columns = [("id", "int64!"), ("lines", &*format!("list({line}!)!")), ("first", line)];
    let plugin = Instance::<told>::open("", &columns).unwrap();
    let (a, b) = (r#"{"sku":"a","names":["x",null],"price":1.5}"#, r#"{"names":null,"price":2}"#);
    let both = format!("[{a},{b}]");
    let rows = |ids: &[i64]| {
        let row = |id: &i64| match id.abs() {
            1 => [Some(id.to_string()), Some(both.clone()), Some(a.to_owned())],
            2 => [Some(id.to_string()), Some("[]".to_owned()), None],
            _ => [Some(id.to_string()), Some(format!("[{b}]")), Some(b.to_owned())],
        };
        ids.iter().map(row).collect::<Vec<_>>()
    };
    let (told_a, told_b) = (r#"{"price":3,"names":["x","?"]}"#, r#"{"price":4,"names":null}"#);
    let cells = |id: &i64| match id {
        1 => vec![Some(format!("[{told_a},{told_b}]")), Some(r#"{"price":1.5,"names":["x","?"]}"#.to_owned())],
        2 => vec![Some("[]".to_owned()), None],
        _ => vec![Some(format!("[{told_b}]")), Some(r#"{"price":2,"names":null}"#.to_owned())],
    };
    for ids in [&[1, 2, 3][..], &[-1, 2, 3], &[1, -2, 3, -3, 1], &[-3, -1], &[2, -1, 2, 1, 1, -1, 3, 3, 2, -2, 1], &[]]
    {
        let outcome = plugin.process(&rows(ids));
        let expected: Vec<Vec<Cell>> = ids.iter().filter(|id| **id > 0).map(cells).collect();
        assert_eq!(outcome.rows("main"), expected, "{ids:?}");
    }
    let faults =
        Instance::<told>::open("", &[columns[0], columns[1], ("first", "struct(price float64!)")]).err().unwrap();
    assert_eq!(faults, ["column `first`: has no field `names` (has: price)"]);
}

#[derive(Config)]
struct Distinct {}

#[derive(Input)]
struct Tagged {
    tags: Vec<String>,
}

#[derive(Input, Output, Default)]
struct Seen {
    tags: Vec<String>,
    latest: Option<Inner>,
}

#[aggregate(name = "distinct", version = "1.0.0")]
impl Aggregate for Distinct {
    type Row = Tagged;
    type Accumulator = Seen;
    type Gives = String;

    fn accumulate(&self, seen: &mut Seen, row: Tagged, _: Timestamp) {
        seen.latest = Some(Inner { flag: None, texts: row.tags.iter().cloned().map(Some).collect() });
        seen.tags.extend(row.tags);
        seen.tags.sort_unstable();
        seen.tags.dedup();
    }

    fn finish(&self, seen: &Seen) -> String {
        let latest = seen.latest.as_ref().map_or(0, |latest| latest.texts.len());
        format!("{} {latest}", seen.tags.join(","))
    }

    fn merge(&self, seen: &mut Seen, other: Seen) {
        seen.tags.extend(other.tags);
        seen.latest = other.latest;
    }
}

#[test]
fn accumulators_hold_lists_and_structs() {
    let mut plugin = aggregate::Instance::<Distinct>::open("{}", &[("tags", "list(utf8!)!")]).unwrap();
    for (group, tags) in [("a", r#"["x","y"]"#), ("b", "[]"), ("a", r#"["y","z","z"]"#)] {
        plugin.row(group, 0, &[Some(tags)]).unwrap();
    }
    assert_eq!((plugin.finish("a"), plugin.finish("b")), (Some("x,y,z 3".to_owned()), Some(" 0".to_owned())));
    plugin.row("b", 1, &[Some(r#"["w"]"#)]).unwrap();
    plugin.merge("a", "b");
    assert_eq!((plugin.finish("a"), plugin.finish("c")), (Some("x,y,z,w 1".to_owned()), Some(" 0".to_owned())));
}
