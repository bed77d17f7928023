//! Prices items, a whole column at a time: one multiplication over two buffers of numbers.
//!
//! An item without a price is rejected, one that is asked for zero times is left out.

use weir_sdk::prelude::*;

#[derive(InputColumns)]
struct Items<'a> {
    quantity: ColumnView<'a, i64>,
    unit_price: ColumnView<'a, Option<f64>>,
}

#[derive(OutputColumns)]
struct Priced {
    total: ColumnBuilder<f64>,
}

#[transform(columns)]
fn price(items: Items, priced: &mut Priced, rows: &mut Rows) {
    let quantities = items.quantity.values();
    let prices = items.unit_price.values();
    priced.total.values().extend(quantities.iter().zip(prices).map(|(quantity, price)| *quantity as f64 * price));
    for (row, quantity) in quantities.iter().enumerate() {
        if *quantity == 0 {
            rows.drop(row);
        } else if items.unit_price.get(row).is_none() {
            rows.reject(row, reject!("price-missing"));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use weir_sdk::testing::Instance;

    #[test]
    fn items_are_priced_and_those_without_a_price_or_number_are_kept_apart() {
        let plugin = Instance::<price>::open("", &[("quantity", "int64!"), ("unit_price", "float64")]).unwrap();
        let outcome = plugin.process(&[
            [Some("3"), Some("1.5")],
            [Some("2"), None],
            [Some("0"), Some("9")],
            [Some("4"), Some("0.25")],
        ]);
        let total = |text: &str| vec![Some(text.to_owned())];
        assert_eq!((outcome.rows("main"), outcome.sources("main")), (&[total("4.5"), total("1")][..], &[0, 3][..]));
        assert_eq!(outcome.rejects, [(1, "price-missing".to_owned())]);
    }
}
