//! Places orders by two tables: `rates` has the rate of the currency, `shops` the city of the shop.

use weir_sdk::prelude::*;

/// What it reads of an order.
#[derive(Input)]
pub struct Order<'a> {
    pub shop: Option<i64>,
    pub currency: Option<&'a str>,
    pub amount: Decimal,
}

/// What the table `rates` is asked with, and what is read of its rows.
#[derive(LookupKey)]
#[lookup(table = "rates", row = Rate)]
pub struct RateOf<'a> {
    pub code: &'a str,
}

#[derive(Input)]
pub struct Rate {
    pub rate: Option<Decimal>,
}

/// The same of the table `shops`.
#[derive(LookupKey)]
#[lookup(table = "shops", row = Shop)]
pub struct ShopOf {
    pub number: i64,
}

#[derive(Input)]
pub struct Shop {
    pub city: Option<String>,
}

/// What it adds.
#[derive(Output, Debug, PartialEq)]
pub struct Placed {
    pub city: Option<String>,
    #[decimal(12, 2)]
    pub amount_eur: Decimal,
}

fn ask<'a>(order: &Order<'a>) -> (Option<RateOf<'a>>, Option<ShopOf>) {
    (order.currency.map(|code| RateOf { code }), order.shop.map(|number| ShopOf { number }))
}

/// The order in euros, with its city where the shop is known.
#[enrich(asks = ask)]
pub fn table_rates(order: Order, found: (Option<Rate>, Option<Shop>)) -> Result<Placed, Reject> {
    let (rate, shop) = found;
    let currency = order.currency.ok_or(reject!("currency-missing"))?;
    let rate = rate.ok_or_else(|| reject!("currency-unknown", "{currency}"))?.rate;
    let rate = rate.ok_or_else(|| reject!("rate-missing", "{currency}"))?;
    let amount_eur = order.amount.checked_mul(rate).ok_or(reject!("amount-too-large"))?.round(2);
    Ok(Placed { city: shop.and_then(|shop| shop.city), amount_eur })
}

#[cfg(test)]
mod tests {
    use super::*;
    use weir_sdk::testing::Instance;
    use weir_sdk::testing::tables::TestTable;

    const COLUMNS: [(&str, &str); 4] =
        [("id", "int32!"), ("shop", "int64"), ("currency", "utf8"), ("amount", "decimal(8, 2)!")];

    fn rates() -> TestTable {
        let rates = TestTable::new("rates", &[("code", "utf8!")], &[("rate", "decimal(8, 4)")]);
        rates.row(&[Some("USD"), Some("0.92")]).row(&[Some("XTS"), None])
    }

    fn shops() -> TestTable {
        let shops = TestTable::new("shops", &[("number", "int64!")], &[("rent", "decimal(8, 2)"), ("city", "utf8")]);
        shops.row(&[Some("10"), None, Some("Wien")])
    }

    #[test]
    fn an_order_gets_its_rate_and_its_city_or_is_refused() {
        let plugin = Instance::<table_rates>::open_with("", &COLUMNS, vec![shops(), rates()]).unwrap();
        let row = |shop, currency| [Some("1"), shop, currency, Some("10.00")];
        let outcome = plugin.process(&[
            row(Some("10"), Some("USD")),
            row(Some("11"), Some("USD")),
            row(None, Some("XTS")),
            row(Some("10"), Some("NOK")),
            row(Some("10"), None),
        ]);
        let placed = |city: Option<&str>| vec![city.map(str::to_owned), Some("9.20".to_owned())];
        assert_eq!(outcome.rows("main"), [placed(Some("Wien")), placed(None)]);
        let refused = [(2, "rate-missing: XTS"), (3, "currency-unknown: NOK"), (4, "currency-missing")];
        assert_eq!(outcome.rejects, refused.map(|(row, text)| (row, text.to_owned())));
    }

    #[test]
    fn tables_that_do_not_fit_are_told_apart() {
        let faults = |tables| Instance::<table_rates>::open_with("", &COLUMNS, tables).err().unwrap();
        let other = TestTable::new("shops", &[("number", "utf8!"), ("land", "utf8")], &[("city", "int64")]);
        assert_eq!(
            faults(vec![other]),
            [
                "table `rates`: looked up by the plugin, not among the step's `tables` (has: shops)",
                "table `shops`: key column `number` is utf8, the plugin reads int64",
                "table `shops`: its key has `land`, the plugin's has not",
                "table `shops`: column `city`: is int64, the plugin reads utf8",
            ]
        );
        let other = TestTable::new("shops", &[("id", "int64")], &[("town", "utf8")]);
        assert_eq!(
            faults(vec![other, rates()]),
            [
                "table `shops`: the plugin's key has `number`, the table's has not",
                "table `shops`: its key has `id`, the plugin's has not",
                "table `shops`: column `city`: read by the plugin, not among its columns (has: town)",
            ]
        );
    }
}
