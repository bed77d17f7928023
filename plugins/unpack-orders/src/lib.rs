//! Makes a row of each item of an order; where one is asked for very often, an alert too, on an output of its own.
//!
//! `pen*3,cup*1` are three pens and a cup. An order that cannot be read is rejected whole, one without items is left out.

use weir_sdk::prelude::*;

/// From this number on an item is suspicious.
const MANY: i64 = 100;

#[derive(Input)]
struct Order<'a> {
    items: &'a str,
}

#[derive(Output, Debug, PartialEq)]
#[output(drop("items"))]
struct Item {
    item: String,
    quantity: i64,
}

#[derive(Output, Debug, PartialEq)]
struct Alert {
    why: String,
}

#[derive(Output, Debug, PartialEq)]
enum Unpacked {
    Main(Item),
    Suspicious(Alert),
}

#[transform]
fn unpack(order: Order) -> Result<Vec<Unpacked>, Reject> {
    let mut rows = Vec::new();
    for text in order.items.split(',').filter(|text| !text.is_empty()) {
        let (item, quantity) = item(text).ok_or_else(|| reject!("item-syntax", "{text:?} is no item*quantity"))?;
        if quantity >= MANY {
            rows.push(Unpacked::Suspicious(Alert { why: format!("{quantity} of {item}") }));
        }
        rows.push(Unpacked::Main(Item { item: item.to_owned(), quantity }));
    }
    Ok(rows)
}

fn item(text: &str) -> Option<(&str, i64)> {
    let (item, quantity) = text.split_once('*')?;
    Some((item, quantity.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use weir_sdk::testing::Instance;

    fn of(item: &str, quantity: i64) -> Unpacked {
        Unpacked::Main(Item { item: item.to_owned(), quantity })
    }

    #[test]
    fn each_item_is_a_row_and_many_of_one_are_an_alert_too() {
        assert_eq!(unpack(Order { items: "pen*3,cup*1" }), Ok(vec![of("pen", 3), of("cup", 1)]));
        let alert = Unpacked::Suspicious(Alert { why: "100 of ink".to_owned() });
        assert_eq!(unpack(Order { items: "ink*100" }), Ok(vec![alert, of("ink", 100)]));
        assert_eq!(unpack(Order { items: "" }), Ok(vec![]));
    }

    #[test]
    fn an_order_that_cannot_be_read_is_rejected_whole() {
        for items in ["pen*3,cup", "pen*three", "*"] {
            assert_eq!(unpack(Order { items }).unwrap_err().code, "item-syntax");
        }
    }

    #[test]
    fn rows_of_a_batch_go_to_the_outputs_that_they_name() {
        let plugin = Instance::<unpack>::open("", &[("id", "utf8!"), ("items", "utf8!")]).unwrap();
        let outcome = plugin.process(&[[Some("a"), Some("pen*1,ink*200")], [Some("b"), Some("cup*2")]]);
        assert_eq!((outcome.sources("main"), outcome.sources("suspicious")), (&[0, 0, 1][..], &[0][..]));
    }
}
