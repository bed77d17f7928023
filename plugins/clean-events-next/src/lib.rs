//! `clean-events` 1.1.0: the version that follows `../clean-events`, as a folder beside it so that a running pipeline
//! can be shown both. New: categories become departments.
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
    category: Option<&'a str>,
}

#[derive(Output, Debug, PartialEq)]
struct Clean<'a> {
    kind: String,
    #[decimal(12, 2)]
    amount_eur: Option<Decimal>,
    category: Option<&'a str>,
}

#[derive(Config)]
struct Rules {
    /// Larger amounts, in their own currency, are rejected.
    max_amount: Decimal,
}

#[transform(name = "clean-events")]
fn clean<'a>(event: Event<'a>, rules: &Rules) -> Result<Clean<'a>, Reject> {
    let category = event.category.map(department);
    let kind = event.kind.map(str::trim).filter(|kind| !kind.is_empty()).ok_or(reject!("kind-missing"))?;
    let kind = kind.to_ascii_lowercase();
    let Some(amount) = event.amount else {
        let owes_money = matches!(kind.as_str(), "order" | "payment" | "refund");
        return if owes_money {
            Err(reject!("amount-missing"))
        } else {
            Ok(Clean { kind, amount_eur: None, category })
        };
    };
    if amount.is_negative() {
        return Err(reject!("amount-negative", "{amount}"));
    }
    if amount > rules.max_amount {
        return Err(reject!("amount-too-large", "{amount} > {}", rules.max_amount));
    }
    let amount_eur = to_eur(amount, event.currency.unwrap_or_default())?;
    Ok(Clean { kind, amount_eur: Some(amount_eur), category })
}

/// Twelve categories are five departments; one that is in none stays as it is.
fn department(category: &str) -> &str {
    match category {
        "books" | "music" => "media",
        "electronics" | "office" => "technology",
        "fashion" | "beauty" => "style",
        "sports" | "toys" | "pets" => "leisure",
        "home" | "garden" | "grocery" => "household",
        other => other,
    }
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

    const RULES: Rules = Rules { max_amount: dec!(10000) };

    fn event<'a>(kind: &'a str, amount: Option<Decimal>, category: &'a str) -> Event<'a> {
        Event { kind: Some(kind), amount, currency: Some("EUR"), category: Some(category) }
    }

    #[test]
    fn a_category_becomes_its_department() {
        let of = |category| clean(event("page_view", None, category), &RULES).unwrap().category;
        assert_eq!((of("books"), of("garden"), of("antiques")), (Some("media"), Some("household"), Some("antiques")));
    }

    #[test]
    fn kinds_amounts_and_rules_are_those_of_the_version_before() {
        let row = clean(event(" Payment", Some(dec!(2)), "pets"), &RULES).unwrap();
        assert_eq!(row, Clean { kind: "payment".into(), amount_eur: Some(dec!(2)), category: Some("leisure") });
        let rejected = clean(event("payment", Some(dec!(10000.01)), "pets"), &RULES).unwrap_err();
        assert_eq!(rejected.code, "amount-too-large");
    }
}
