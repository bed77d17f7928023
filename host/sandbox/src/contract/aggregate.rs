//! The contract of a plugin that aggregates, held against its input.
//!
//! Invariant: as of the module above; also, an accumulator has columns, and the result has a type that can cross.

use std::sync::Arc;

use arrow_schema::{Field, Schema};
use weir_stream::AggregateContract;

use super::{check_config_schema, check_identity, check_reads, check_writes};
use crate::error::ContractFault;
use crate::limits::CONTRACT_ITEMS;
use crate::plugin::Description;
use crate::types;
use crate::wire::{self, aggregate};

/// Checks the whole contract and reports everything at once.
pub(crate) fn check(
    contract: aggregate::Contract,
    input: &Schema,
) -> Result<Description<AggregateContract>, Vec<ContractFault>> {
    let mut faults = Vec::new();
    check_identity(&contract.name, &contract.version, &mut faults);
    check_reads(&contract.reads, input, &mut faults);
    let config_schema = check_config_schema(&contract.config_schema, &mut faults);
    let columns = contract.state.len();
    if columns == 0 || columns > CONTRACT_ITEMS {
        let message = format!("plugin has accumulators of {columns} columns; must be 1 to {CONTRACT_ITEMS}");
        return Err(vec![ContractFault::general(message)]);
    }
    let mut of_columns = Vec::new();
    let state = check_writes("state", &contract.state, &mut of_columns);
    faults.extend(of_columns.into_iter().map(|fault| ContractFault::general(format!("accumulator: {fault}"))));
    let gives = match contract.gives.data_type {
        wire::DataType::ListOf | wire::DataType::StructOf => Err("it is one value, not a list or a struct".to_owned()),
        _ => types::from_wire(std::slice::from_ref(&contract.gives)),
    };
    let gives = gives.map_err(|message| format!("result: {message}"));
    let gives = gives.unwrap_or_else(|message| {
        faults.push(ContractFault::general(message));
        Arc::new(Field::new("result", arrow_schema::DataType::Null, true))
    });
    if !faults.is_empty() {
        return Err(faults);
    }
    let contract = AggregateContract {
        name: contract.name,
        version: contract.version,
        reads: contract.reads,
        state_version: contract.state_version,
        state,
        gives,
        merges: contract.merges,
        retracts: contract.retracts,
        deterministic: contract.deterministic,
    };
    Ok(Description { contract, config_schema })
}
