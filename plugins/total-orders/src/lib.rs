//! Totals orders by their lines, which are a list of structs: lines of nothing are left out, each other gets its amount.
//!
//! An order with a line that has no price is rejected; one without lines has a total of 0.

use weir_sdk::prelude::*;

/// Fields of a line that are not named here, as `note`, stay outside.
#[derive(Input)]
struct Line<'a> {
    sku: &'a str,
    quantity: i64,
    price: Option<Decimal>,
}

#[derive(Input)]
struct Address<'a> {
    country: Option<&'a str>,
}

#[derive(Input)]
struct Order<'a> {
    lines: Option<Vec<Line<'a>>>,
    ship_to: Option<Address<'a>>,
}

#[derive(Output, Debug, PartialEq)]
struct Priced {
    sku: String,
    quantity: i64,
    #[decimal(14, 2)]
    amount: Decimal,
}

#[derive(Output, Debug, PartialEq)]
struct Where {
    country: String,
    domestic: bool,
}

/// `lines` and `ship_to` take their namesakes' places.
#[derive(Output, Debug, PartialEq)]
struct Totalled {
    lines: Vec<Priced>,
    ship_to: Option<Where>,
    #[decimal(14, 2)]
    total: Decimal,
    #[decimal(14, 2)]
    amounts: Vec<Decimal>,
}

#[derive(Config)]
struct Shop {
    country: String,
}

#[transform]
fn total(order: Order, shop: &Shop) -> Result<Totalled, Reject> {
    let lines = order.lines.unwrap_or_default().into_iter().filter(|line| line.quantity != 0).map(priced);
    let lines: Vec<Priced> = lines.collect::<Result<_, Reject>>()?;
    let amounts: Vec<Decimal> = lines.iter().map(|line| line.amount).collect();
    let total = amounts.iter().try_fold(dec!(0.00), |total, amount| total.checked_add(*amount));
    let total = total.ok_or_else(|| reject!("total-too-large"))?;
    let ship_to = order.ship_to.and_then(|address| address.country).map(|country| {
        let country = country.to_uppercase();
        Where { domestic: country == shop.country, country }
    });
    Ok(Totalled { lines, ship_to, total, amounts })
}

fn priced(line: Line) -> Result<Priced, Reject> {
    let Line { sku, quantity, price } = line;
    let price = price.ok_or_else(|| reject!("price-missing", "{sku:?} has no price"))?;
    let amount = price.checked_mul(Decimal::from(quantity)).ok_or_else(|| reject!("amount-too-large", "{sku:?}"))?;
    Ok(Priced { sku: sku.to_owned(), quantity, amount: amount.round(2) })
}

#[cfg(test)]
mod tests {
    use super::*;
    use weir_sdk::testing::Instance;

    const COLUMNS: [(&str, &str); 3] = [
        ("id", "utf8!"),
        ("lines", "list(struct(sku utf8!, note utf8, quantity int64!, price decimal(12, 2))!)"),
        ("ship_to", "struct(street utf8, country utf8)"),
    ];

    fn shop() -> Instance<total> {
        Instance::open(r#"{"country":"DE"}"#, &COLUMNS).unwrap()
    }

    #[test]
    fn lines_get_their_amounts_and_orders_their_totals() {
        let lines = r#"[{"sku":"pen","note":"blue","quantity":3,"price":1.50},{"sku":"cup","quantity":0},
            {"sku":"ink","quantity":-1,"price":0.25}]"#;
        let rows = [
            [Some("a"), Some(lines), Some(r#"{"country":"de"}"#)],
            [Some("b"), None, None],
            [Some("c"), Some("[]"), Some(r#"{"street":"x"}"#)],
        ];
        let outcome = shop().process(&rows);
        let row = |cells: [Option<&str>; 4]| cells.map(|cell| cell.map(str::to_owned));
        let priced = r#"[{"sku":"pen","quantity":3,"amount":4.50},{"sku":"ink","quantity":-1,"amount":-0.25}]"#;
        let expected = [
            row([Some(priced), Some(r#"{"country":"DE","domestic":true}"#), Some("4.25"), Some("[4.50,-0.25]")]),
            row([Some("[]"), None, Some("0.00"), Some("[]")]),
            row([Some("[]"), None, Some("0.00"), Some("[]")]),
        ];
        assert_eq!(outcome.rows("main"), expected);
    }

    #[test]
    fn a_line_without_a_price_costs_its_order() {
        let line = Line { sku: "pen", quantity: 1, price: None };
        let order = Order { lines: Some(vec![line]), ship_to: None };
        let reject = total(order, &Shop { country: String::new() }).unwrap_err();
        assert_eq!(reject.to_string(), "price-missing: \"pen\" has no price");
    }

    #[test]
    fn columns_that_do_not_fit_are_told_with_their_place() {
        let mut columns = COLUMNS;
        columns[1].1 = "list(struct(sku utf8, quantity int64!, price utf8)!)";
        columns[2].1 = "struct(street utf8)";
        let faults = Instance::<total>::open(r#"{"country":"DE"}"#, &columns).err().unwrap();
        assert!(faults[0].starts_with("column `lines`: `item.sku` may be null, the plugin reads utf8"), "{faults:?}");
        assert_eq!(faults[1], "column `ship_to`: has no field `country` (has: street)");
    }
}
