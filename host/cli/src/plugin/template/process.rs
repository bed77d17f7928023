//! A keyed plugin: it keeps state by key, and timers. What a key is the step says, with `key`.

use weir_sdk::prelude::*;

/// The columns that the function reads. Others pass by it untouched.
#[derive(Input)]
struct Payment {
    amount: Decimal,
}

/// The rows that it writes: those of the first variant are the step's own, others are read as `step.variant-name`.
#[derive(Output)]
enum Told {
    Main(Numbered),
    Silence(Silence),
}

#[derive(Output)]
struct Numbered {
    number: i64,
    first: bool,
}

/// Made by a timer, not of a row: its key stands in front.
#[derive(Output)]
#[output(keyed)]
struct Silence {
    payments: i64,
}

/// What is kept of a key: `Value`, `List` and `Map`, each with a time to live if it is to be forgotten.
#[derive(State)]
struct Customer {
    #[state(ttl = "30d")]
    payments: Value<i64>,
}

#[derive(Timer)]
enum Alarm {
    Silent,
}

/// The step's `config` in the manifest.
#[derive(Config)]
struct Settings {
    #[config(default = 600)]
    silent_after_s: i64,
}

#[process]
impl Process for Settings {
    type Row = Payment;
    type State = Customer;
    type Timer = Alarm;
    type Output = Told;

    /// `Ok(row)` goes on, `Err(reject)` becomes a dead letter; `Option` and `Vec` of rows do too.
    fn on_row(&self, payment: Payment, customer: &mut Customer, timers: &mut Timers<Alarm>) -> Result<Told, Reject> {
        if payment.amount.mantissa() < 0 {
            return Err(reject!("amount-negative", "{}", payment.amount));
        }
        let number = customer.payments.unwrap_or(0) + 1;
        *customer.payments = Some(number);
        let silent_at_us = timers.time().micros().saturating_add(self.silent_after_s.saturating_mul(1_000_000));
        timers.reset(Alarm::Silent, Timestamp::from_micros(silent_at_us));
        Ok(Told::Main(Numbered { number, first: number == 1 }))
    }

    /// Called when event time has come to the timer.
    fn on_timer(&self, _: Alarm, customer: &mut Customer, _: &mut Timers<Alarm>) -> Option<Told> {
        customer.payments.take().map(|payments| Told::Silence(Silence { payments }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use weir_sdk::testing::keyed::Instance;

    const S: i64 = 1_000_000;

    #[test]
    fn payments_are_numbered_by_customer_until_one_falls_silent() {
        let mut customers = Instance::<Settings>::open("{}", &[("amount", "decimal(12, 2)!")]).unwrap();
        let mut number = |customer: &str, at_s: i64| {
            customers.row(customer, at_s * S, &[Some("9.99")]).rows("main")[0][0].clone().unwrap()
        };
        assert_eq!([number("ann", 0), number("bob", 1), number("ann", 2)], ["1", "1", "2"]);
        let fired = customers.advance(602 * S);
        let silent: Vec<_> = fired.iter().flat_map(|outcome| outcome.rows("silence")).flatten().flatten().collect();
        assert_eq!(silent.len(), 2, "{silent:?}");
        let refused = customers.row("ann", 603 * S, &[Some("-1.00")]).rejects;
        assert_eq!(refused, [(0, "amount-negative: -1.00".to_owned())]);
    }
}
