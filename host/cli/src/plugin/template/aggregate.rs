//! An aggregate: what is kept of the rows of a window or a key, and what comes of it. It stands among a step's aggregates.

use weir_sdk::prelude::*;

/// The columns that it reads.
#[derive(Input)]
struct Payment {
    amount: Decimal,
}

/// What is kept of a group's rows.
#[derive(Input, Output, Default)]
struct Counts {
    all: i64,
    large: i64,
}

/// The plugin's `config` in the manifest.
#[derive(Config)]
struct Settings {
    /// From which amount on a payment is large.
    #[config(default = 100)]
    large_from: i64,
}

#[aggregate]
impl Aggregate for Settings {
    type Row = Payment;
    type Accumulator = Counts;
    /// The result; an `Option` where it may be null.
    type Gives = Option<f64>;

    /// `Err(reject!(...))` makes the row a dead letter; the accumulator must not have changed then.
    fn accumulate(&self, counts: &mut Counts, payment: Payment, _at: Timestamp) -> Result<(), Reject> {
        self.add(counts, &payment, 1)
    }

    /// For aggregates over tables, whose rows change. Without it such a step refuses the plugin.
    fn retract(&self, counts: &mut Counts, payment: Payment, _at: Timestamp) -> Result<(), Reject> {
        self.add(counts, &payment, -1)
    }

    /// For windows that overlap and for sessions. Without it such a step refuses the plugin.
    fn merge(&self, counts: &mut Counts, other: Counts) {
        counts.all += other.all;
        counts.large += other.large;
    }

    fn finish(&self, counts: &Counts) -> Option<f64> {
        (counts.all > 0).then(|| counts.large as f64 / counts.all as f64)
    }
}

impl Settings {
    fn add(&self, counts: &mut Counts, payment: &Payment, sign: i64) -> Result<(), Reject> {
        if payment.amount.mantissa() < 0 {
            return Err(reject!("amount-negative", "{}", payment.amount));
        }
        counts.all += sign;
        if payment.amount >= self.large_from.into() {
            counts.large += sign;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use weir_sdk::testing::aggregate::Instance;

    #[test]
    fn the_share_of_large_payments_follows_what_comes_and_what_is_taken_back() {
        let mut groups = Instance::<Settings>::open("{}", &[("amount", "decimal(12, 2)!")]).unwrap();
        groups.row("books", 0, &[Some("99.99")]).unwrap();
        groups.row("books", 1, &[Some("100.00")]).unwrap();
        assert_eq!(groups.finish("books"), Some("0.5".to_owned()));
        groups.retract("books", 1, &[Some("99.99")]).unwrap();
        assert_eq!(groups.finish("books"), Some("1".to_owned()));
        assert_eq!(groups.finish("toys"), None);
    }
}
