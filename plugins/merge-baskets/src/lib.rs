//! Keeps what each customer has in the basket: an order's lines are put to those that are there, line by line of one sku.
//!
//! State and rows hold lists of structs. A line that would leave less than nothing is rejected with its order.

use weir_sdk::prelude::*;

/// A line of an order, of the basket that is kept, and of the one that goes on.
#[derive(Input, Output, Debug, Clone, PartialEq)]
struct Line {
    sku: String,
    quantity: i64,
}

#[derive(Input)]
struct Order {
    lines: Vec<Line>,
}

#[derive(State)]
struct Kept {
    basket: Value<Basket>,
    /// The newest orders' skus, the newest last.
    newest: List<Vec<String>>,
}

#[derive(Input, Output, Default)]
struct Basket {
    lines: Vec<Line>,
    last: Option<Line>,
}

/// Orders whose skus are kept.
const NEWEST: usize = 2;

#[derive(Output)]
struct Merged {
    basket: Vec<Line>,
    last: Option<Line>,
    newest: Vec<Vec<String>>,
}

#[derive(Config)]
struct Baskets {}

#[process]
impl Process for Baskets {
    type Row = Order;
    type State = Kept;
    type Timer = NoTimer;
    type Output = Merged;

    fn on_row(&self, order: Order, kept: &mut Kept, _: &mut Timers<NoTimer>) -> Result<Merged, Reject> {
        let mut lines = kept.basket.as_ref().map_or(Vec::new(), |basket| basket.lines.clone());
        order.lines.iter().try_for_each(|line| put(&mut lines, line))?;
        let last = order.lines.last().cloned();
        kept.newest.push_back(order.lines.into_iter().map(|line| line.sku).collect());
        if kept.newest.len() > NEWEST {
            kept.newest.pop_front();
        }
        *kept.basket = Some(Basket { lines: lines.clone(), last: last.clone() });
        Ok(Merged { basket: lines, last, newest: kept.newest.iter().cloned().collect() })
    }
}

fn put(basket: &mut Vec<Line>, line: &Line) -> Result<(), Reject> {
    let at = basket.iter().position(|held| held.sku == line.sku);
    let held = at.map_or(0, |at| basket[at].quantity);
    let left = held.checked_add(line.quantity).filter(|left| *left >= 0);
    let left = left.ok_or_else(|| reject!("basket-short", "{} of {:?} to {held}", line.quantity, line.sku))?;
    match at {
        Some(at) if left == 0 => drop(basket.remove(at)),
        Some(at) => basket[at].quantity = left,
        None if left > 0 => basket.push(line.clone()),
        None => {}
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use weir_sdk::testing::keyed::Instance;

    #[test]
    fn baskets_grow_and_shrink_by_customer() {
        let columns = [("lines", "list(struct(sku utf8!, quantity int64!)!)!")];
        let mut plugin = Instance::<Baskets>::open("{}", &columns).unwrap();
        let mut basket = |customer: &str, lines: &str| {
            let outcome = plugin.row(customer, 0, &[Some(lines)]);
            match outcome.rows("main") {
                [row] => row.iter().map(|cell| cell.clone().unwrap_or_default()).collect::<Vec<_>>().join(" "),
                _ => outcome.rejects[0].1.clone(),
            }
        };
        let pen = r#"{"sku":"pen","quantity":2}"#;
        assert_eq!(basket("a", &format!("[{pen}]")), format!(r#"[{pen}] {pen} [["pen"]]"#));
        assert_eq!(basket("b", "[]"), "[]  [[]]");
        let cup = r#"{"sku":"cup","quantity":1}"#;
        assert_eq!(basket("a", &format!("[{cup}]")), format!(r#"[{pen},{cup}] {cup} [["pen"],["cup"]]"#));
        let less = r#"{"sku":"pen","quantity":-2}"#;
        assert_eq!(basket("a", &format!("[{less}]")), format!(r#"[{cup}] {less} [["cup"],["pen"]]"#));
        assert_eq!(basket("a", &format!("[{less}]")), r#"basket-short: -2 of "pen" to 0"#);
    }
}
