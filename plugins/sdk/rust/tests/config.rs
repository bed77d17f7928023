//! Configurations: what is read, every fault at once with its JSON pointer, and the schema.

use std::collections::BTreeMap;

use weir_sdk::config;
use weir_sdk::plugin::fault_text;
use weir_sdk::prelude::*;

#[derive(Config, Debug, PartialEq)]
struct Rules {
    /// Larger amounts are rejected.
    max_amount: Decimal,
    #[config(default = vec!["EUR".to_owned()])]
    currencies: Vec<String>,
    rates: BTreeMap<String, Decimal>,
    #[config(default)]
    strict: bool,
    note: Option<String>,
    limits: Limits,
}

#[derive(Config, Debug, PartialEq)]
struct Limits {
    #[config(default = 3)]
    rows: u8,
    ratio: f64,
}

fn faults(text: &str) -> Vec<String> {
    config::read::<Rules>(text).unwrap_err().iter().map(fault_text).collect()
}

#[test]
fn a_configuration_is_read_with_its_defaults() {
    let rules: Rules =
        config::read(r#"{"max_amount": 10000.50, "rates": {"USD": "0.92"}, "limits": {"ratio": 0.5}}"#).unwrap();
    let expected = Rules {
        max_amount: dec!(10000.50),
        currencies: vec!["EUR".into()],
        rates: BTreeMap::from([("USD".into(), dec!(0.92))]),
        strict: false,
        note: None,
        limits: Limits { rows: 3, ratio: 0.5 },
    };
    assert_eq!(rules, expected);
}

#[test]
fn every_fault_is_told_with_its_place() {
    let text = r#"{"max_amont": 1, "currencies": ["EUR", 7, null], "rates": {"a/b": "x"}, "strict": "yes",
        "limits": {"rows": 256, "ratio": null}}"#;
    let expected = [
        "config /max_amont: unknown key; the configuration takes max_amount, currencies, rates, strict, note, limits",
        "config /max_amount: missing",
        "config /currencies/1: is a number, the plugin wants a string",
        "config /currencies/2: is null, the plugin wants a string",
        "config /rates/a~1b: \"x\": not a decimal number",
        "config /strict: is a string, the plugin wants a boolean",
        "config /limits/rows: is 256, the plugin wants an integer from 0 to 255",
        "config /limits/ratio: is null, the plugin wants a number",
    ];
    assert_eq!(faults(text), expected);
    assert_eq!(faults("[]"), ["config: is a list, the plugin wants an object"]);
    assert_eq!(faults("{"), ["config: not JSON: a key expected at byte 1, found the end"]);
    assert_eq!(faults("").len(), 3);
}

#[test]
fn a_plugin_without_configuration_takes_none() {
    for nothing in ["", "{}", " null ", "{ }"] {
        config::read::<()>(nothing).unwrap();
    }
    let faults = config::read::<()>(r#"{"a": 1}"#).unwrap_err();
    assert_eq!(fault_text(&faults[0]), "config /a: unknown key; the configuration takes no keys");
    assert_eq!(config::schema::<()>(), "");
}

#[test]
fn the_schema_says_what_is_read() {
    let schema = config::schema::<Rules>();
    let expected = concat!(
        r#"{"type":"object","properties":{"#,
        r#""max_amount":{"description":"Larger amounts are rejected.","type":["number","string"]},"#,
        r#""currencies":{"default":["EUR"],"type":"array","items":{"type":"string"}},"#,
        r#""rates":{"type":"object","additionalProperties":{"type":["number","string"]}},"#,
        r#""strict":{"default":false,"type":"boolean"},"#,
        r#""note":{"anyOf":[{"type":"string"},{"type":"null"}]},"#,
        r#""limits":{"type":"object","properties":{"#,
        r#""rows":{"default":3,"type":"integer","minimum":0,"maximum":255},"ratio":{"type":"number"}},"#,
        r#""required":["ratio"],"additionalProperties":false}},"#,
        r#""required":["max_amount","rates","limits"],"additionalProperties":false}"#,
    );
    assert_eq!(schema, expected);
    assert!(weir_sdk::json::Json::parse(&schema).is_ok());
}
