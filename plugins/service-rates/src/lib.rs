//! Asks a service for the rate of each payment's currency, and says what the payment is in euros.
//!
//! The service answers `GET /eur/<currency>` with the rate as text, and 404 for a currency that it does not know.

use weir_sdk::prelude::*;

/// What it reads of a payment.
#[derive(Input)]
pub struct Payment<'a> {
    pub currency: Option<&'a str>,
    pub amount: Decimal,
}

/// What it adds.
#[derive(Output, Debug, PartialEq)]
pub struct InEur {
    #[decimal(18, 6)]
    pub rate: Decimal,
    #[decimal(18, 2)]
    pub amount_eur: Decimal,
}

/// Where the service is.
#[derive(Config)]
pub struct Service {
    /// Scheme, host and port: https://rates.example:443
    pub url: String,
}

fn ask(payment: &Payment, service: &Service) -> Result<Option<Request>, Reject> {
    match payment.currency {
        None => Err(reject!("currency-missing")),
        Some("EUR") => Ok(None),
        Some(currency) => Ok(Some(Request::get(format!("{}/eur/{}", service.url, encode(currency))))),
    }
}

/// The payment in euros.
#[enrich(asks = ask)]
pub fn service_rates(payment: Payment, answers: Answers, _: &Service) -> Result<InEur, Reject> {
    let rate = match answers.optional()? {
        None => dec!(1),
        Some(answer) if answer.status == 404 => {
            return Err(reject!("currency-unknown", "{}", payment.currency.unwrap_or_default()));
        }
        Some(answer) if !answer.is_success() => return Err(reject!("service-failed", "status {}", answer.status)),
        Some(answer) => answer.text()?.trim().parse()?,
    };
    let amount_eur = payment.amount.checked_mul(rate).ok_or(reject!("amount-too-large"))?;
    Ok(InEur { rate: rate.round(6), amount_eur: amount_eur.round(2) })
}

#[cfg(test)]
mod tests {
    use super::*;
    use weir_sdk::testing::Instance;

    fn answered(request: &Request) -> Result<Response, FetchError> {
        match request.url.as_str() {
            "http://rates/eur/USD" => Ok(Response::new(200, "0.92\n")),
            "http://rates/eur/a%2Fb" => Ok(Response::new(404, "")),
            "http://rates/eur/BAD" => Ok(Response::new(200, "soon")),
            "http://rates/eur/DOWN" => Ok(Response::new(503, "")),
            _ => Err(FetchError::Timeout("no answer".into())),
        }
    }

    #[test]
    fn a_payment_gets_the_rate_of_its_currency_or_is_refused() {
        let columns = [("id", "utf8!"), ("currency", "utf8"), ("amount", "decimal(12, 2)!")];
        let plugin = Instance::<service_rates>::open(r#"{"url": "http://rates"}"#, &columns).unwrap();
        assert!(!plugin.contract().deterministic);
        let currencies =
            [Some("USD"), Some("EUR"), Some("a/b"), None, Some("BAD"), Some("DOWN"), Some("SLOW"), Some("USD")];
        let rows: Vec<_> = currencies.map(|currency| [Some("x"), currency, Some("10.00")]).into();
        let outcome = plugin.process_with(&rows, answered);
        let row = |rate: &str, eur: &str| vec![Some(rate.to_owned()), Some(eur.to_owned())];
        assert_eq!(outcome.rows("main"), [row("0.920000", "9.20"), row("1.000000", "10.00"), row("0.920000", "9.20")]);
        assert_eq!(outcome.sources("main"), [0, 1, 7]);
        let codes: Vec<(u32, &str)> =
            outcome.rejects.iter().map(|(row, text)| (*row, text.split(':').next().unwrap())).collect();
        assert_eq!(
            codes,
            [
                (2, "currency-unknown"),
                (3, "currency-missing"),
                (4, "decimal-syntax"),
                (5, "service-failed"),
                (6, "http-timeout")
            ]
        );
    }
}
