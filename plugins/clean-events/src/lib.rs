use weir_sdk::prelude::*;

#[derive(Input)]
struct Event<'a> {
    kind: Option<&'a str>,
    amount: Option<Decimal>,
    currency: Option<&'a str>,
}

#[derive(Output)]
struct Clean {
    kind: String,
    #[decimal(12, 2)]
    amount_eur: Decimal,
}

/// x
#[derive(Config)]
struct Rules {
    /// Larger amounts are rejected.
    #[config(default = dec!(10000))]
    max_amount: Decimal,
}

#[transform]
fn clean(event: Event, rules: &Rules) -> Result<Option<Clean>, Reject> {
    let kind = event.kind.ok_or(reject!("kind-missing"))?.trim().to_lowercase();
    let amount = event.amount.unwrap_or_default();
    if amount > rules.max_amount {
        return Err(reject!("amount-too-large", "{amount} > {}", rules.max_amount));
    }
    let _ = event.currency;
    Ok(Some(Clean { kind, amount_eur: amount.round(2) }))
}
