//! A plugin that asks a service: one function says what a row asks, the other takes the row with the answers.

use weir_sdk::prelude::*;

/// The columns that the functions read. Others pass by them untouched.
#[derive(Input)]
struct Payment<'a> {
    currency: &'a str,
    amount: Decimal,
}

/// The columns that are written: new ones, and ones that take their namesake's place.
#[derive(Output, Debug, PartialEq)]
struct InEur {
    #[decimal(18, 2)]
    amount_eur: Decimal,
}

/// The step's `config` in the manifest; its `http` says which hosts may be asked.
#[derive(Config)]
struct Service {
    /// Such as https://rates.example
    url: String,
}

/// `Request`, `Option` or `Vec` of them: what a row asks.
fn ask(payment: &Payment, service: &Service) -> Request {
    Request::get(format!("{}/eur/{}", service.url, encode(payment.currency)))
}

/// `Ok(row)` goes on, `Err(reject)` becomes a dead letter; `?` rejects a row whose request failed.
#[enrich(asks = ask)]
fn {function}(payment: Payment, answers: Answers, _: &Service) -> Result<InEur, Reject> {
    let answer = answers.one()?;
    if !answer.is_success() {
        return Err(reject!("currency-unknown", "{}: status {}", payment.currency, answer.status));
    }
    let rate: Decimal = answer.text()?.trim().parse()?;
    let amount_eur = payment.amount.checked_mul(rate).ok_or(reject!("amount-too-large"))?;
    Ok(InEur { amount_eur: amount_eur.round(2) })
}

#[cfg(test)]
mod tests {
    use super::*;
    use weir_sdk::testing::Instance;

    #[test]
    fn a_payment_gets_the_rate_of_its_currency() {
        let columns = [("id", "utf8!"), ("currency", "utf8!"), ("amount", "decimal(12, 2)!")];
        let plugin = Instance::<{function}>::open(r#"{"url": "http://rates"}"#, &columns).unwrap();
        let rows = [[Some("a"), Some("USD"), Some("10.00")], [Some("b"), Some("ZZZ"), Some("1.00")]];
        let outcome = plugin.process_with(&rows, |request| match request.url.as_str() {
            "http://rates/eur/USD" => Ok(Response::new(200, "0.92")),
            _ => Ok(Response::new(404, "")),
        });
        assert_eq!(outcome.rows("main"), [[Some("9.20".to_owned())]]);
        assert_eq!(outcome.rejects, [(1, "currency-unknown: ZZZ: status 404".to_owned())]);
    }
}
