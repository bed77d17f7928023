//! The host's half of the contract gate: what a plugin answered to `describe`, held against its input.
//!
//! Invariant: a contract that passed here can be kept without further questions: every column it reads exists
//! and can cross, every column it writes has a type that can, names are unique.

pub(crate) mod aggregate;
pub(crate) mod keyed;
pub(crate) mod tables;

use std::collections::HashSet;

use arrow_schema::{FieldRef, Schema};
use weir_stream::{Cardinality, FunctionFault, OutputContract, TransformContract};

use crate::component::World;
use crate::error::ContractFault;
use crate::limits::{CONTRACT_ITEMS, LimitOutOfBounds};
use crate::log::PluginLog;
use crate::plugin::Description;
use crate::{types, wire};

/// The plugin's own refusal, made safe to print.
pub(crate) fn refusal(faults: Vec<wire::Fault>, log: &PluginLog) -> Vec<ContractFault> {
    if faults.is_empty() {
        return vec![ContractFault::general("plugin refused its configuration and input without saying why")];
    }
    let printable = |text: String| log.printable(&text);
    let shown = faults.into_iter().take(CONTRACT_ITEMS).map(|fault| ContractFault {
        config_path: fault.config_path.map(printable),
        column: fault.column.map(printable),
        message: printable(fault.message),
    });
    shown.collect()
}

/// A plugin that trapped, or answered nonsense, instead of giving a contract.
pub(crate) fn no_answer(fault: &FunctionFault) -> ContractFault {
    let what = match fault {
        FunctionFault::Timeout { limit_ms } => format!("took longer than {limit_ms} ms"),
        other => other.to_string(),
    };
    ContractFault::general(format!("plugin gave no contract: it {what}"))
}

/// A plugin where one of another world has its place.
pub(crate) fn other_world(world: World, wanted: &[World]) -> ContractFault {
    if wanted == [World::Aggregate] {
        let world = world.name();
        let message = format!("a plugin of the world `{world}` is no aggregate; one of the world `aggregate` is");
        return ContractFault::general(message);
    }
    if wanted == [World::Attribute] {
        let world = world.name();
        let message = format!("a plugin of the world `{world}` attributes nothing; one of the world `attribute` does");
        return ContractFault::general(message);
    }
    ContractFault::general(match world {
        World::Transform => "a plugin of the world `transform` has no state by key; take `key` away from the step",
        World::Process => "a plugin of the world `process` has state by key; give the step a `key`",
        World::Enrich => "a plugin of the world `enrich` has no state by key; take `key` away from the step",
        World::Aggregate => {
            "a plugin of the world `aggregate` is one of a step's aggregates: `aggregate: { name: { plugin: { use: .. } } }`"
        }
        World::Attribute => {
            "a plugin of the world `attribute` decides on the pairs of a join: `join: { attribute: { use: .. } }`"
        }
    })
}

/// A plugin that asks in a step that grants nothing to be asked, or the other way round.
pub(crate) fn other_grant(world: World) -> ContractFault {
    ContractFault::general(match world {
        World::Enrich => {
            "a plugin of the world `enrich` asks services or tables; say which in the step: `plugin: { http: { allow: [..] } }` \
             or `plugin: { tables: .. }`"
        }
        World::Transform | World::Process | World::Aggregate | World::Attribute => {
            "the plugin asks nothing; take `http` and `tables` away from the step's `plugin`"
        }
    })
}

/// Limits out of bounds, as faults of the contract.
pub(crate) fn limits(faults: Vec<LimitOutOfBounds>) -> Vec<ContractFault> {
    faults.iter().map(|fault| ContractFault::general(fault.to_string())).collect()
}

/// Checks the whole contract and reports everything at once.
pub(crate) fn check(contract: wire::Contract, input: &Schema) -> Result<Description, Vec<ContractFault>> {
    let mut faults = Vec::new();
    check_identity(&contract.name, &contract.version, &mut faults);
    check_reads(&contract.reads, input, &mut faults);
    let config_schema = check_config_schema(&contract.config_schema, &mut faults);
    let outputs = check_outputs(contract.outputs, input, &mut faults);
    if !faults.is_empty() {
        return Err(faults);
    }
    let contract = TransformContract {
        name: contract.name,
        version: contract.version,
        reads: contract.reads,
        cardinality: match contract.cardinality {
            wire::Cardinality::OneToOne => Cardinality::OneToOne,
            wire::Cardinality::Filter => Cardinality::Filter,
            wire::Cardinality::Many => Cardinality::Many,
        },
        outputs,
        deterministic: contract.deterministic,
    };
    Ok(Description { contract, config_schema })
}

fn check_identity(name: &str, version: &str, faults: &mut Vec<ContractFault>) {
    for (what, text) in [("name", name), ("version", version)] {
        if text.is_empty() || text.len() > 128 || text.chars().any(char::is_control) {
            faults.push(ContractFault::general(format!("plugin's {what} must be 1 to 128 printable bytes")));
        }
    }
}

fn check_reads(reads: &[String], input: &Schema, faults: &mut Vec<ContractFault>) {
    let mut seen = HashSet::new();
    for name in reads {
        match input.column_with_name(name) {
            None => faults.push(ContractFault::column(name, missing("read", input))),
            Some(_) if !seen.insert(name) => faults.push(ContractFault::column(name, "read twice by the plugin")),
            Some((_, field)) => {
                faults.extend(types::obstacle(field.data_type()).map(|why| ContractFault::column(name, why)));
            }
        }
    }
}

fn missing(verb: &str, input: &Schema) -> String {
    let names: Vec<&str> = input.fields().iter().map(|field| field.name().as_str()).collect();
    format!("{verb} by the plugin, not in its input (has: {})", names.join(", "))
}

fn check_config_schema(text: &str, faults: &mut Vec<ContractFault>) -> Option<serde_json::Value> {
    if text.is_empty() {
        return None;
    }
    serde_json::from_str(text)
        .inspect_err(|cause| {
            faults.push(ContractFault::general(format!("plugin's configuration schema is not JSON: {cause}")));
        })
        .ok()
}

fn check_outputs(outputs: Vec<wire::Output>, input: &Schema, faults: &mut Vec<ContractFault>) -> Vec<OutputContract> {
    let columns: usize = outputs.iter().map(|output| output.writes.len() + output.drops.len()).sum();
    if outputs.is_empty() || outputs.len() + columns > CONTRACT_ITEMS {
        let count = outputs.len();
        let message =
            format!("plugin has {count} outputs with {columns} columns; must be 1 to {CONTRACT_ITEMS} in all");
        faults.push(ContractFault::general(message));
        return Vec::new();
    }
    let mut names = HashSet::new();
    for output in &outputs {
        if output.name.is_empty() || !names.insert(output.name.clone()) {
            faults.push(ContractFault::general(format!("output name `{}` is empty or taken twice", output.name)));
        }
    }
    outputs.into_iter().map(|output| check_output(output, input, faults)).collect()
}

fn check_output(output: wire::Output, input: &Schema, faults: &mut Vec<ContractFault>) -> OutputContract {
    let wire::Output { name, writes, drops } = output;
    let mut dropped = HashSet::new();
    for column in &drops {
        if input.column_with_name(column).is_none() {
            faults.push(ContractFault::column(column, missing("dropped", input)));
        } else if !dropped.insert(column) {
            faults.push(ContractFault::column(column, format!("dropped twice in output `{name}`")));
        }
    }
    let writes = check_writes(&name, &writes, faults);
    OutputContract { name, writes, drops }
}

fn check_writes(output: &str, writes: &[wire::Field], faults: &mut Vec<ContractFault>) -> Vec<FieldRef> {
    let mut written = HashSet::new();
    let mut fields = Vec::with_capacity(writes.len());
    let mut rest = writes;
    while let Some((field, behind)) = types::split_first(rest) {
        rest = behind;
        let name = &field[0].name;
        if name.is_empty() {
            faults.push(ContractFault::general(format!("output `{output}` writes a column without a name")));
        } else if !written.insert(name) {
            faults.push(ContractFault::column(name, format!("written twice in output `{output}`")));
        }
        match types::from_wire(field) {
            Ok(field) => fields.push(field),
            Err(message) => faults.push(ContractFault::column(name, message)),
        }
    }
    fields
}

#[cfg(test)]
mod tests;
