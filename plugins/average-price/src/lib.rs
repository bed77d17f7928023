//! The average price of trades, by their quantity: a trade of ten counts ten times as much as a trade of one.
//!
//! Exact: money is kept to six digits behind the point and divided once, halves away from zero. So trades can be taken back
//! and averages be joined, and it makes no difference in which order trades come.

use weir_sdk::prelude::*;
use weir_sdk::write::Declared;

const MONEY_SCALE: u8 = 6;

#[derive(Input)]
struct Trade {
    price: Decimal,
    quantity: i64,
}

#[derive(Input, Output, Default)]
struct Sums {
    #[decimal(38, 6)]
    money: Decimal,
    quantity: i64,
}

#[derive(Config)]
struct AveragePrice {
    /// Trades of fewer pieces are left out.
    #[config(default = 1)]
    min_quantity: i64,
}

#[aggregate]
impl Aggregate for AveragePrice {
    type Row = Trade;
    type Accumulator = Sums;
    type Gives = Option<Decimal>;
    const GIVES: Declared = Declared::Decimal { precision: 18, scale: 4 };

    fn accumulate(&self, sums: &mut Sums, trade: Trade, _: Timestamp) -> Result<(), Reject> {
        self.add(sums, trade, 1)
    }

    fn retract(&self, sums: &mut Sums, trade: Trade, _: Timestamp) -> Result<(), Reject> {
        self.add(sums, trade, -1)
    }

    fn merge(&self, sums: &mut Sums, other: Sums) {
        sums.money = sums.money + other.money;
        sums.quantity += other.quantity;
    }

    fn finish(&self, sums: &Sums) -> Option<Decimal> {
        if sums.quantity <= 0 {
            return None;
        }
        let (money, quantity) = (sums.money.rescale(MONEY_SCALE)?.mantissa(), i128::from(sums.quantity));
        let away = (money % quantity).abs() * 2 >= quantity;
        let average = money / quantity + if away { money.signum() } else { 0 };
        Some(Decimal::new(average, MONEY_SCALE).round(4))
    }
}

impl AveragePrice {
    fn add(&self, sums: &mut Sums, trade: Trade, sign: i64) -> Result<(), Reject> {
        let Trade { price, quantity } = trade;
        if quantity <= 0 {
            return Err(reject!("quantity-not-positive", "{quantity}"));
        }
        if quantity < self.min_quantity {
            return Ok(());
        }
        let too_large = || reject!("too-much-money", "{price} x {quantity}");
        let money = price.checked_mul((quantity * sign).into()).and_then(|money| money.rescale(MONEY_SCALE));
        let money = money.and_then(|money| sums.money.checked_add(money)).filter(|money| money.fits(38));
        let pieces = sums.quantity.checked_add(quantity * sign);
        (sums.money, sums.quantity) = money.zip(pieces).ok_or_else(too_large)?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use weir_sdk::testing::aggregate::Instance;

    fn trades() -> Instance<AveragePrice> {
        Instance::open("{}", &[("price", "decimal(12, 2)!"), ("quantity", "int64!")]).unwrap()
    }

    #[test]
    fn a_trade_counts_by_its_quantity() {
        let mut trades = trades();
        assert_eq!(trades.finish("acme"), None);
        trades.row("acme", 0, &[Some("10.00"), Some("3")]).unwrap();
        trades.row("acme", 1, &[Some("20.00"), Some("1")]).unwrap();
        trades.row("other", 1, &[Some("1.00"), Some("7")]).unwrap();
        assert_eq!(trades.finish("acme"), Some("12.5000".to_owned()));
        trades.row("acme", 2, &[Some("0.01"), Some("2")]).unwrap();
        assert_eq!(trades.finish("acme"), Some("8.3367".to_owned()), "50.02 / 6, rounded");
    }

    #[test]
    fn what_is_taken_back_never_came_and_what_is_merged_came_here() {
        let mut trades = trades();
        trades.row("a", 0, &[Some("10.00"), Some("3")]).unwrap();
        trades.row("a", 1, &[Some("99.99"), Some("9")]).unwrap();
        trades.retract("a", 1, &[Some("99.99"), Some("9")]).unwrap();
        trades.row("b", 2, &[Some("20.00"), Some("1")]).unwrap();
        trades.merge("a", "b");
        assert_eq!((trades.finish("a"), trades.finish("b")), (Some("12.5000".to_owned()), None));
        trades.retract("a", 2, &[Some("10.00"), Some("3")]).unwrap();
        trades.retract("a", 2, &[Some("20.00"), Some("1")]).unwrap();
        assert_eq!(trades.finish("a"), None);
    }

    #[test]
    fn a_trade_of_nothing_is_rejected_and_a_small_one_left_out() {
        let refused = trades().row("acme", 0, &[Some("10.00"), Some("0")]).unwrap_err();
        assert_eq!(refused, "quantity-not-positive: 0");
        let columns = [("price", "decimal(12, 2)!"), ("quantity", "int64!")];
        let mut large = Instance::<AveragePrice>::open(r#"{"min_quantity": 5}"#, &columns).unwrap();
        large.row("acme", 0, &[Some("10.00"), Some("4")]).unwrap();
        assert_eq!(large.finish("acme"), None);
    }

    #[test]
    fn what_it_says_of_itself_is_what_its_functions_are() {
        let trades = trades();
        let contract = trades.contract();
        assert_eq!((contract.merges, contract.retracts, contract.state_version), (true, true, 1));
        assert_eq!(contract.reads, ["price", "quantity"]);
    }
}
