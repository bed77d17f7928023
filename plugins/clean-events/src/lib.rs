//! Checks the shop's events and writes their amounts in euro.
//!
//! Kinds lose their case and the spaces around them. What breaks the shop's rules is rejected: no kind, a payment
//! without amount, an amount that is negative or too large, a currency without rate. Events without money (page
//! views, cart changes) keep no amount.

use weir_sdk::prelude::*;

#[derive(Input)]
struct Event<'a> {
    kind: Option<&'a str>,
    amount: Option<Decimal>,
    currency: Option<&'a str>,
}

#[derive(Output, Debug, PartialEq)]
struct Clean {
    kind: String,
    #[decimal(12, 2)]
    amount_eur: Option<Decimal>,
}

#[derive(Config)]
struct Rules {
    /// Larger amounts, in their own currency, are rejected.
    max_amount: Decimal,
}

#[transform]
fn clean(event: Event, rules: &Rules) -> Result<Clean, Reject> {
    let kind = event.kind.map(str::trim).filter(|kind| !kind.is_empty()).ok_or(reject!("kind-missing"))?;
    let kind = kind.to_ascii_lowercase();
    let Some(amount) = event.amount else {
        let owes_money = matches!(kind.as_str(), "order" | "payment" | "refund");
        return if owes_money { Err(reject!("amount-missing")) } else { Ok(Clean { kind, amount_eur: None }) };
    };
    if amount.is_negative() {
        return Err(reject!("amount-negative", "{amount}"));
    }
    if amount > rules.max_amount {
        return Err(reject!("amount-too-large", "{amount} > {}", rules.max_amount));
    }
    let amount_eur = to_eur(amount, event.currency.unwrap_or_default())?;
    Ok(Clean { kind, amount_eur: Some(amount_eur) })
}

/// Fixed rates, so that the same events give the same amounts on every run.
fn to_eur(amount: Decimal, currency: &str) -> Result<Decimal, Reject> {
    let rate = match currency {
        "EUR" => return Ok(amount),
        "USD" => dec!(0.92),
        "GBP" => dec!(1.17),
        "CHF" => dec!(1.05),
        "PLN" => dec!(0.23),
        unknown => return Err(reject!("unknown-currency", "no rate for {unknown:?}")),
    };
    Ok((amount * rate).round(2))
}

#[cfg(test)]
mod tests {
    use super::*;
    use weir_sdk::testing::Instance;

    const RULES: Rules = Rules { max_amount: dec!(10000) };

    fn event<'a>(kind: &'a str, amount: Option<Decimal>, currency: &'a str) -> Event<'a> {
        Event { kind: Some(kind), amount, currency: Some(currency) }
    }

    fn code(event: Event) -> String {
        clean(event, &RULES).unwrap_err().code.into_owned()
    }

    #[test]
    fn a_kind_loses_its_case_and_spaces() {
        assert_eq!(clean(event(" Page_View", None, ""), &RULES).unwrap().kind, "page_view");
        assert_eq!(code(event("  ", None, "")), "kind-missing");
        assert_eq!(code(Event { kind: None, amount: None, currency: None }), "kind-missing");
    }

    #[test]
    fn an_amount_becomes_euro_to_the_cent() {
        let paid = |amount, currency| clean(event("payment", Some(amount), currency), &RULES).unwrap().amount_eur;
        assert_eq!(paid(dec!(10.00), "EUR"), Some(dec!(10.00)));
        assert_eq!(paid(dec!(19.99), "USD"), Some(dec!(18.39)));
        assert_eq!(paid(dec!(0.50), "GBP"), Some(dec!(0.59)));
        assert_eq!(paid(dec!(10000.00), "PLN"), Some(dec!(2300)));
    }

    #[test]
    fn what_breaks_the_rules_is_rejected() {
        assert_eq!(code(event("payment", Some(dec!(10000.01)), "EUR")), "amount-too-large");
        assert_eq!(code(event("refund", Some(dec!(-0.01)), "EUR")), "amount-negative");
        assert_eq!(code(event("payment", Some(dec!(1)), "XXX")), "unknown-currency");
        assert_eq!(code(event("order", None, "EUR")), "amount-missing");
    }

    #[test]
    fn a_batch_of_events_keeps_its_order_and_names_its_rejects() {
        let columns = [("event_id", "utf8!"), ("kind", "utf8"), ("amount", "decimal(12, 2)"), ("currency", "utf8")];
        let plugin = Instance::<clean>::open(r#"{"max_amount": 10000}"#, &columns).unwrap();
        let outcome = plugin.process(&[
            [Some("a"), Some("PAYMENT"), Some("2.00"), Some("CHF")],
            [Some("b"), None, None, None],
            [Some("c"), Some("page_view"), None, None],
        ]);
        let cells = |texts: [Option<&str>; 2]| texts.map(|cell| cell.map(str::to_owned));
        assert_eq!(outcome.rows("main"), [cells([Some("payment"), Some("2.10")]), cells([Some("page_view"), None])]);
        assert_eq!(
            (outcome.sources("main"), &outcome.rejects[..]),
            (&[0, 2][..], &[(1, "kind-missing".to_owned())][..])
        );
    }
}
