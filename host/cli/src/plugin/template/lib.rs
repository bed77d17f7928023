//! A plugin: one function that the pipeline calls for each row.

use weir_sdk::prelude::*;

/// The columns that the function reads. Others pass by it untouched.
#[derive(Input)]
struct Event<'a> {
    kind: Option<&'a str>,
    amount: Option<Decimal>,
}

/// The columns that it writes: new ones, and ones that take their namesake's place.
#[derive(Output, Debug, PartialEq)]
struct Clean {
    kind: String,
    large: bool,
}

/// The step's `config` in the manifest.
#[derive(Config)]
struct Rules {
    /// From this amount on an event is large.
    #[config(default = dec!(100))]
    large_from: Decimal,
}

/// `Ok(Some(row))` goes on, `Ok(None)` is filtered out, `Err(reject)` becomes a dead letter.
#[transform]
fn {function}(event: Event, rules: &Rules) -> Result<Option<Clean>, Reject> {
    let kind = event.kind.ok_or(reject!("kind-missing"))?.trim().to_lowercase();
    if kind == "heartbeat" {
        return Ok(None);
    }
    let amount = event.amount.unwrap_or_default();
    if amount.is_negative() {
        return Err(reject!("amount-negative", "{amount}"));
    }
    Ok(Some(Clean { kind, large: amount >= rules.large_from }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use weir_sdk::testing::Instance;

    const RULES: Rules = Rules { large_from: dec!(100) };

    #[test]
    fn a_kind_loses_its_case_and_spaces() {
        let event = Event { kind: Some(" Payment "), amount: Some(dec!(19.99)) };
        assert_eq!({function}(event, &RULES), Ok(Some(Clean { kind: "payment".into(), large: false })));
    }

    #[test]
    fn a_batch_goes_through_as_in_the_pipeline() {
        let columns = [("event_id", "utf8!"), ("kind", "utf8"), ("amount", "decimal(12, 2)")];
        let plugin = Instance::<{function}>::open(r#"{"large_from": 10}"#, &columns).unwrap();
        let outcome = plugin.process(&[
            [Some("a"), Some("ORDER"), Some("12.00")],
            [Some("b"), None, None],
            [Some("c"), Some("heartbeat"), None],
        ]);
        assert_eq!(outcome.rows("main"), [[Some("order".to_owned()), Some("true".to_owned())]]);
        assert_eq!(outcome.rejects, [(1, "kind-missing".to_owned())]);
    }
}
