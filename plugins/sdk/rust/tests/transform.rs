//! Functions of every shape, each run over a whole batch: contract, rows, selections, rejects.

use weir_sdk::prelude::*;
use weir_sdk::testing::{Cell, Instance};
use weir_sdk::wit::{Cardinality, DataType};

fn row<const N: usize>(cells: [&str; N]) -> [Option<&str>; N] {
    cells.map(|cell| (cell != "null").then_some(cell))
}

fn cells<const N: usize>(texts: [&str; N]) -> Vec<Cell> {
    row(texts).into_iter().map(|cell| cell.map(str::to_owned)).collect()
}

mod every_type {
    use super::*;

    #[derive(Input)]
    struct Wide<'a> {
        a_bool: Option<bool>,
        an_i8: Option<i8>,
        an_i16: Option<i16>,
        an_i32: Option<i32>,
        an_i64: i64,
        a_u8: Option<u8>,
        a_u16: Option<u16>,
        a_u32: Option<u32>,
        a_u64: Option<u64>,
        an_f32: Option<f32>,
        an_f64: Option<f64>,
        text: Option<&'a str>,
        bytes: Option<&'a [u8]>,
        date: Option<Date>,
        moment: Option<Timestamp>,
        money: Option<Decimal>,
    }

    #[derive(Output)]
    struct Same<'a> {
        a_bool: Option<bool>,
        an_i8: Option<i8>,
        an_i16: Option<i16>,
        an_i32: Option<i32>,
        an_i64: i64,
        a_u8: Option<u8>,
        a_u16: Option<u16>,
        a_u32: Option<u32>,
        a_u64: Option<u64>,
        an_f32: Option<f32>,
        an_f64: Option<f64>,
        text: Option<&'a str>,
        bytes: Option<&'a [u8]>,
        date: Option<Date>,
        moment: Option<Timestamp>,
        money: Option<Decimal>,
    }

    #[rustfmt::skip]
    #[transform]
    fn same<'a>(wide: Wide<'a>) -> Same<'a> {
        let Wide {
            a_bool, an_i8, an_i16, an_i32, an_i64, a_u8, a_u16, a_u32, a_u64, an_f32, an_f64, text, bytes, date, moment, money,
        } = wide;
        Same {
            a_bool, an_i8, an_i16, an_i32, an_i64, a_u8, a_u16, a_u32, a_u64, an_f32, an_f64, text, bytes, date, moment, money,
        }
    }

    const COLUMNS: [(&str, &str); 16] = [
        ("a_bool", "bool"),
        ("an_i8", "int8"),
        ("an_i16", "int16"),
        ("an_i32", "int32"),
        ("an_i64", "int64!"),
        ("a_u8", "uint8"),
        ("a_u16", "uint16"),
        ("a_u32", "uint32"),
        ("a_u64", "uint64"),
        ("an_f32", "float32"),
        ("an_f64", "float64"),
        ("text", "utf8"),
        ("bytes", "binary"),
        ("date", "date"),
        ("moment", "timestamp(ms)"),
        ("money", "decimal(20, 3)"),
    ];

    #[rustfmt::skip]
    #[test]
    fn every_type_crosses_with_its_nulls_and_its_ends() {
        let (null, low, high) = (
            ["null", "null", "null", "null", "0", "null", "null", "null", "null", "null", "null", "null", "null", "null", "null", "null"],
            ["false", "-128", "-32768", "-2147483648", "-9223372036854775808", "0", "0", "0", "0", "-0.5", "-0.0000001", "", "",
             "-719162", "-1", "-99999999999999999.999"],
            ["true", "127", "32767", "2147483647", "9223372036854775807", "255", "65535", "4294967295", "18446744073709551615",
             "1.5", "NaN", "naïve 日本", "\u{0}x", "2932896", "253402300799999", "99999999999999999.999"],
        );
        let plugin = Instance::<same>::open("", &COLUMNS).unwrap();
        // Nulls first, last and around byte borders of the validity bits.
        let pattern: Vec<_> = [null, low, high, low, null, null, high, high, null, low, low, low, high, null, low, high, null, low]
            .map(row).into();
        for rows in [&pattern[..], &pattern[1..], &pattern[1..4], &pattern[..8], &pattern[1..10], &[]] {
            let outcome = plugin.process(rows);
            let expected: Vec<Vec<Cell>> =
                rows.iter().map(|row| row.iter().map(|cell| cell.map(str::to_owned)).collect()).collect();
            assert_eq!(outcome.rows("main"), expected);
            assert_eq!(outcome.rejects, []);
        }
    }

    #[test]
    fn a_replaced_timestamp_or_decimal_keeps_its_namesakes_type() {
        let plugin = Instance::<same>::open("", &COLUMNS).unwrap();
        let writes = &plugin.contract().outputs[0].writes;
        let of = |name: &str| writes.iter().find(|field| field.name == name).unwrap().data_type.clone();
        assert!(matches!(of("moment"), DataType::Timestamp(t) if format!("{:?}", t.unit).contains("Millisecond")));
        assert!(matches!(of("money"), DataType::Decimal128(d) if (d.precision, d.scale) == (20, 3)));
    }

    #[test]
    fn each_column_that_does_not_fit_is_a_fault_of_its_own() {
        let mut columns = COLUMNS;
        columns[3].1 = "int16"; // would widen, and does not
        columns[4].1 = "int64"; // may be null
        columns[11].1 = "binary";
        columns[14].0 = "when";
        columns[15].1 = "decimal(10, -2)";
        let faults = Instance::<same>::open("", &columns).err().unwrap();
        let expected = [
            "column `an_i32`: is int16, the plugin reads int32",
            "column `an_i64`: may be null, the plugin reads int64 without nulls; make the field an Option or the column not null",
            "column `text`: is binary, the plugin reads utf8",
            "column `moment`: read by the plugin, not in its input (has: a_bool, an_i8, an_i16, an_i32, an_i64, a_u8, a_u16, \
             a_u32, a_u64, an_f32, an_f64, text, bytes, date, when, money)",
            "column `money`: is decimal(10, -2), the plugin reads decimal with a scale from 0 to 38",
            "column `money`: is a new decimal in place of decimal(10, -2); say its digits: #[decimal(12, 2)] on the field",
        ];
        assert_eq!(faults, expected);
    }
}

mod shapes {
    use super::*;

    #[derive(Input)]
    struct Number {
        n: Option<i64>,
    }

    #[derive(Output)]
    struct Half {
        n: i64,
    }

    #[derive(Config)]
    struct Factor {
        by: i64,
    }

    const COLUMNS: [(&str, &str); 1] = [("n", "int64")];
    const ROWS: [[Option<&str>; 1]; 5] = [[Some("0")], [Some("1")], [None], [Some("3")], [Some("4")]];

    macro_rules! shape {
        ($module:ident, $config:literal, $cardinality:ident, [$($source:literal: $n:literal),*], [$($reject:literal),*], $function:item) => {
            mod $module {
                use super::*;

                #[transform]
                $function

                #[test]
                fn gives_the_right_rows() {
                    let plugin = Instance::<f>::open($config, &COLUMNS).unwrap();
                    assert_eq!(plugin.contract().cardinality, Cardinality::$cardinality);
                    let outcome = plugin.process(&ROWS);
                    let expected: [(u32, i64); _] = [$(($source, $n)),*];
                    assert_eq!(outcome.sources("main"), expected.map(|(source, _)| source));
                    assert_eq!(outcome.rows("main"), expected.map(|(_, n)| vec![Some(n.to_string())]));
                    assert_eq!(outcome.rejects, [$(($reject, "odd".to_owned())),*] as [(u32, String); _]);
                }
            }
        };
    }

    shape!(a_row, "{}", OneToOne, [0: 0, 1: 1, 2: -1, 3: 3, 4: 4], [],
        fn f(number: Number) -> Half { Half { n: number.n.unwrap_or(-1) } });
    shape!(an_optional_row, "", Filter, [0: 0, 1: 1, 3: 3, 4: 4], [],
        fn f(number: Number) -> Option<Half> { number.n.map(|n| Half { n }) });
    shape!(a_row_or_a_reject, "null", OneToOne, [0: 0, 2: 0, 4: 2], [1, 3],
    fn f(number: Number) -> Result<Half, Reject> {
        let n = number.n.unwrap_or_default();
        if n % 2 == 0 { Ok(Half { n: n / 2 }) } else { Err(reject!("odd")) }
    });
    shape!(an_optional_row_or_a_reject, "{}", Filter, [0: 0, 4: 2], [1, 3],
    fn f(number: Number) -> Result<Option<Half>, Reject> {
        let Some(n) = number.n else { return Ok(None) };
        if n % 2 == 0 { Ok(Some(Half { n: n / 2 })) } else { Err(reject!("odd")) }
    });
    shape!(many_rows, "{}", Many, [1: 0, 3: 0, 3: 1, 3: 2, 4: 0, 4: 1, 4: 2, 4: 3], [],
        fn f(number: Number) -> Vec<Half> { (0..number.n.unwrap_or_default()).map(|n| Half { n }).collect() });
    shape!(many_rows_or_a_reject, r#"{"by": 2}"#, Many, [4: 0, 4: 1, 4: 2, 4: 3], [1, 3],
    fn f(number: Number, factor: &Factor) -> Result<Vec<Half>, Reject> {
        let n = number.n.unwrap_or_default();
        if n % factor.by == 0 { Ok((0..n).map(|n| Half { n }).collect()) } else { Err(reject!("odd")) }
    });
    shape!(with_a_configuration, r#"{"by": -1}"#, OneToOne, [0: 0, 1: -1, 2: 0, 3: -3, 4: -4], [],
        #[allow(clippy::needless_lifetimes, reason = "named lifetimes are taken too")]
        fn f<'a>(number: Number, factor: &'a Factor) -> Half { Half { n: number.n.unwrap_or_default() * factor.by } });

    mod a_predicate {
        use super::*;

        #[transform]
        fn f(number: Number) -> Result<bool, Reject> {
            number.n.map(|n| n > 1).ok_or(reject!("n-missing"))
        }

        #[test]
        fn keeps_rows_as_they_are() {
            let plugin = Instance::<f>::open("", &COLUMNS).unwrap();
            assert_eq!(plugin.contract().cardinality, Cardinality::Filter);
            assert_eq!(plugin.contract().outputs[0].writes, []);
            let outcome = plugin.process(&ROWS);
            assert_eq!(outcome.sources("main"), [3, 4]);
            assert_eq!(outcome.rejects, [(2, "n-missing".to_owned())]);
        }
    }
}

mod outputs {
    use super::*;

    #[derive(Input)]
    struct Order<'a> {
        #[column("order-kind")]
        kind: &'a str,
        amount: Decimal,
        r#type: i32,
    }

    #[derive(Output)]
    #[output(drop("order-kind", "secret"))]
    struct Small {
        #[decimal(4, 1)]
        amount: Decimal,
    }

    #[derive(Output)]
    struct Large<'a> {
        #[column("Kind")]
        kind: &'a str,
        #[timestamp(s)]
        at: Timestamp,
    }

    #[derive(Output)]
    enum Routed<'a> {
        Main(Small),
        LargeOrders(Large<'a>),
    }

    #[transform(name = "route", version = "2.0.0")]
    fn route<'a>(order: Order<'a>) -> Vec<Routed<'a>> {
        let large = Large { kind: order.kind, at: Timestamp::new(i64::from(order.r#type), Unit::Millisecond) };
        let mut rows = vec![Routed::Main(Small { amount: order.amount })];
        if order.amount > dec!(100) {
            rows.push(Routed::LargeOrders(large));
        }
        rows
    }

    const COLUMNS: [(&str, &str); 4] =
        [("order-kind", "utf8!"), ("secret", "utf8"), ("amount", "decimal(12, 2)!"), ("type", "int32!")];

    #[test]
    fn an_enum_routes_rows_to_named_outputs() {
        let plugin = Instance::<route>::open("", &COLUMNS).unwrap();
        let contract = plugin.contract();
        assert_eq!((contract.name.as_str(), contract.version.as_str()), ("route", "2.0.0"));
        assert_eq!(contract.reads, ["order-kind", "amount", "type"]);
        assert_eq!(contract.outputs[0].drops, ["order-kind", "secret"]);
        assert_eq!(
            (contract.outputs[1].name.as_str(), contract.outputs[1].writes[0].name.as_str()),
            ("large-orders", "Kind")
        );
        let rows = [row(["a", "x", "1.50", "0"]), row(["b", "x", "200.00", "3000"]), row(["c", "x", "2.00", "0"])];
        let outcome = plugin.process(&rows);
        assert_eq!(outcome.rows("main"), [cells(["1.5"]), cells(["200.0"]), cells(["2.0"])]);
        assert_eq!(outcome.rows("large-orders"), [cells(["b", "3"])]);
        assert_eq!((outcome.sources("main"), outcome.sources("large-orders")), (&[0, 1, 2][..], &[1][..]));
    }

    #[test]
    fn a_value_that_its_column_cannot_hold_rejects_its_row_and_only_that() {
        let plugin = Instance::<route>::open("", &COLUMNS).unwrap();
        let rows = [
            row(["a", "x", "1.55", "0"]),
            row(["b", "x", "1000.00", "1"]),
            row(["c", "x", "300.00", "1500"]),
            row(["d", "x", "7.00", "0"]),
        ];
        let outcome = plugin.process(&rows);
        let rejects = [
            "decimal-misfit: column `amount`: 1.55 has more than 1 digits behind the point; cut it with .round(1)",
            "decimal-misfit: column `amount`: 1000.00 is too large for decimal(4, 1)",
            "timestamp-misfit: column `at`: 1500 ms is no whole number of s; cut it with .floor(..)",
        ];
        assert_eq!(outcome.rejects, [(0, rejects[0].into()), (1, rejects[1].into()), (2, rejects[2].into())]);
        assert_eq!((outcome.sources("main"), outcome.rows("main")), (&[3][..], &[cells(["7.0"])][..]));
        assert!(outcome.rows("large-orders").is_empty());
    }

    #[test]
    fn a_dropped_column_must_be_there() {
        let faults = Instance::<route>::open("", &[COLUMNS[0], COLUMNS[2], COLUMNS[3]]).err().unwrap();
        assert_eq!(
            faults,
            ["column `secret`: dropped by the plugin, not in its input (has: order-kind, amount, type)"]
        );
    }

    #[derive(Output)]
    struct New {
        price: Decimal,
    }

    #[transform]
    fn price(order: Order) -> New {
        New { price: order.amount }
    }

    #[test]
    fn a_new_decimal_says_its_digits() {
        let faults = Instance::<price>::open("", &COLUMNS).err().unwrap();
        assert_eq!(faults, ["column `price`: is a new decimal; say its digits: #[decimal(12, 2)] on the field"]);
    }
}
