//! Lists and structs where a contract cannot have them, and where it can.

use arrow_schema::{DataType, Schema};

use super::*;
use crate::wire::{aggregate as accumulating, keyed as processing};

fn field(name: &str, data_type: wire::DataType, children: u32) -> wire::Field {
    wire::Field { name: name.into(), data_type, nullable: true, children }
}

/// `tags: list(utf8)`, as it is listed.
fn tags() -> Vec<wire::Field> {
    vec![field("tags", wire::DataType::ListOf, 1), field("item", wire::DataType::Utf8, 0)]
}

fn told<T>(checked: Result<T, Vec<ContractFault>>) -> Vec<String> {
    checked.err().unwrap_or_default().iter().map(ToString::to_string).collect()
}

fn state(map_key: Vec<wire::Field>, columns: Vec<wire::Field>) -> processing::Contract {
    let kind = if map_key.is_empty() { processing::StateKind::Value } else { processing::StateKind::Map };
    processing::Contract {
        name: "keyed".into(),
        version: "1.0.0".into(),
        reads: Vec::new(),
        outputs: vec![processing::Output {
            name: "main".into(),
            keeps: processing::Keeps::Row,
            writes: tags(),
            drops: Vec::new(),
        }],
        states: vec![processing::State { name: "seen".into(), kind, map_key, columns, ttl_ms: None }],
        timers: Vec::new(),
        deterministic: true,
        config_schema: String::new(),
    }
}

#[test]
fn state_holds_lists_but_no_map_is_keyed_by_one() {
    let checked = keyed::check(state(Vec::new(), tags()), &Schema::empty(), &[]).unwrap();
    assert!(matches!(checked.contract.states[0].fields[0].data_type(), DataType::List(_)));
    let refused = keyed::check(state(tags(), vec![field("n", wire::DataType::Int64, 0)]), &Schema::empty(), &[]);
    assert_eq!(told(refused), ["state `seen`: its key column `tags` is a list or struct"]);
}

fn folding(gives: wire::Field) -> accumulating::Contract {
    accumulating::Contract {
        name: "folding".into(),
        version: "1.0.0".into(),
        reads: Vec::new(),
        state_version: 1,
        state: tags(),
        gives,
        merges: false,
        retracts: false,
        deterministic: true,
        config_schema: String::new(),
    }
}

#[test]
fn accumulators_hold_lists_but_a_result_is_one_value() {
    let checked = aggregate::check(folding(field("n", wire::DataType::Int64, 0)), &Schema::empty()).unwrap();
    assert!(matches!(checked.contract.state[0].data_type(), DataType::List(_)));
    let refused = aggregate::check(folding(field("n", wire::DataType::ListOf, 1)), &Schema::empty());
    assert_eq!(told(refused), ["result: it is one value, not a list or a struct"]);
}
