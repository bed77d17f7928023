//! The contract of a keyed plugin, held against input and key.
//!
//! Invariant: as of the module above; also, states and timers have names of their own, a map has key columns and
//! nothing else has, and an output that keeps the key writes no column of it.

use std::collections::HashSet;

use arrow_schema::{FieldRef, Schema};
use weir_stream::{
    Keeps, KeyedContract, KeyedOutput, OutputContract, StateContract, StateKind, TimeDomain, TimerContract,
};

use super::{check_config_schema, check_identity, check_output, check_reads, check_writes};
use crate::error::ContractFault;
use crate::limits::{CONTRACT_ITEMS, CONTRACT_STATES, CONTRACT_TIMERS};
use crate::plugin::Description;
use crate::wire::{self, keyed};

/// Checks the whole contract and reports everything at once.
pub(crate) fn check(
    contract: keyed::Contract,
    input: &Schema,
    key: &[FieldRef],
) -> Result<Description<KeyedContract>, Vec<ContractFault>> {
    let mut faults = Vec::new();
    check_identity(&contract.name, &contract.version, &mut faults);
    check_reads(&contract.reads, input, &mut faults);
    let config_schema = check_config_schema(&contract.config_schema, &mut faults);
    check_counts(&contract, &mut faults);
    if !faults.is_empty() {
        return Err(faults);
    }
    unique("output", contract.outputs.iter().map(|output| &output.name), &mut faults);
    unique("state", contract.states.iter().map(|state| &state.name), &mut faults);
    unique("timer", contract.timers.iter().map(|timer| &timer.name), &mut faults);
    let outputs = contract.outputs.into_iter().map(|output| check_keyed_output(output, input, key, &mut faults));
    let outputs = outputs.collect();
    let states = contract.states.into_iter().map(|state| check_state(state, &mut faults)).collect();
    let timer = |timer: keyed::Timer| TimerContract {
        name: timer.name,
        domain: match timer.domain {
            keyed::TimeDomain::Event => TimeDomain::Event,
            keyed::TimeDomain::Processing => TimeDomain::Processing,
        },
    };
    let timers = contract.timers.into_iter().map(timer).collect();
    if !faults.is_empty() {
        return Err(faults);
    }
    let (name, version, reads) = (contract.name, contract.version, contract.reads);
    let deterministic = contract.deterministic;
    let contract = KeyedContract { name, version, reads, outputs, states, timers, deterministic };
    Ok(Description { contract, config_schema })
}

fn check_counts(contract: &keyed::Contract, faults: &mut Vec<ContractFault>) {
    let (outputs, states, timers) = (contract.outputs.len(), contract.states.len(), contract.timers.len());
    let of_outputs: usize = contract.outputs.iter().map(|output| output.writes.len() + output.drops.len()).sum();
    let of_states: usize = contract.states.iter().map(|state| state.map_key.len() + state.columns.len()).sum();
    if outputs == 0 || outputs + of_outputs + of_states > CONTRACT_ITEMS {
        let columns = of_outputs + of_states;
        let message =
            format!("plugin has {outputs} outputs and {columns} columns; must be 1 to {CONTRACT_ITEMS} in all");
        faults.push(ContractFault::general(message));
    }
    if states > CONTRACT_STATES || timers > CONTRACT_TIMERS {
        faults.push(ContractFault::general(format!(
            "plugin has {states} states and {timers} timers; at most {CONTRACT_STATES} and {CONTRACT_TIMERS}"
        )));
    }
}

fn unique<'a>(what: &str, names: impl Iterator<Item = &'a String>, faults: &mut Vec<ContractFault>) {
    let mut seen = HashSet::new();
    for name in names {
        if name.is_empty() || name.chars().any(char::is_control) || !seen.insert(name) {
            faults.push(ContractFault::general(format!("{what} name {name:?} is empty, not printable or taken twice")));
        }
    }
}

fn check_keyed_output(
    output: keyed::Output,
    input: &Schema,
    key: &[FieldRef],
    faults: &mut Vec<ContractFault>,
) -> KeyedOutput {
    let keyed::Output { name, keeps, writes, drops } = output;
    match keeps {
        keyed::Keeps::Row => {
            let output = check_output(wire::Output { name, writes, drops }, input, faults);
            KeyedOutput { keeps: Keeps::Row, output }
        }
        keyed::Keeps::Key => {
            let fields = check_writes(&name, &writes, faults);
            for field in fields.iter().filter(|field| key.iter().any(|key| key.name() == field.name())) {
                let message = format!("written in output `{name}`, which has it as a column of the step's key");
                faults.push(ContractFault::column(field.name(), message));
            }
            if let Some(column) = drops.first() {
                let message = format!("dropped in output `{name}`, which keeps the key alone");
                faults.push(ContractFault::column(column, message));
            }
            KeyedOutput { keeps: Keeps::Key, output: OutputContract { name, writes: fields, drops: Vec::new() } }
        }
    }
}

fn check_state(state: keyed::State, faults: &mut Vec<ContractFault>) -> StateContract {
    let keyed::State { name, kind, map_key, columns, ttl_ms } = state;
    let kind = match kind {
        keyed::StateKind::Value => StateKind::Value,
        keyed::StateKind::List => StateKind::List,
        keyed::StateKind::Map => StateKind::Map,
    };
    let mut fault = |message: String| faults.push(ContractFault::general(format!("state `{name}`: {message}")));
    if (kind == StateKind::Map) == map_key.is_empty() {
        fault(format!("a {} with {} key columns; a map has them and nothing else has", kind.name(), map_key.len()));
    }
    if columns.is_empty() && map_key.is_empty() {
        fault("it has no columns".to_owned());
    }
    let ttl_us = ttl_ms.and_then(|ms| i64::try_from(ms).ok()?.checked_mul(1000));
    if ttl_ms.is_some() && ttl_us.is_none_or(|us| us == 0) {
        fault("its time to live must be 1 ms to 292,000 years".to_owned());
    }
    let key = check_writes(&name, &map_key, &mut Vec::new());
    let nested = key.iter().filter(|field| field.data_type().is_nested());
    nested.for_each(|field| fault(format!("its key column `{}` is a list or struct", field.name())));
    let all: Vec<wire::Field> = map_key.into_iter().chain(columns).collect();
    let (key_columns, mut of_columns) = (key.len(), Vec::new());
    let fields = check_writes(&name, &all, &mut of_columns);
    faults.extend(of_columns.into_iter().map(|fault| ContractFault::general(format!("state `{name}`: {fault}"))));
    StateContract { name, kind, map_key: key_columns, fields, ttl_us }
}
