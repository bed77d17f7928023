//! What a keyed plugin returned. Output rows and rejects are checked as a transform's; states become arrays of their
//! declared types here. Which keys and timers they name, and how much, is checked where the state is kept.

use weir_stream::{
    Cardinality, FunctionFault, KeyedContract, OutputContract, Processed, StateChange, StateEntries, TimerAction,
    TimerChange, Transformed,
};

use super::arrays;
use crate::fault::malformed;
use crate::limits::Limits;
use crate::wire::{self, keyed};

/// Checks and converts the answer to a call of `rows` rows or firings. `outputs` are those of `contract`.
pub(crate) fn lift(
    answer: keyed::Processed,
    contract: &KeyedContract,
    outputs: &[OutputContract],
    rows: usize,
    limits: &Limits,
) -> Result<Processed, FunctionFault> {
    let keyed::Processed { outputs: given, rejects, states, timers } = answer;
    let transformed = wire::Transformed { outputs: given, rejects };
    let Transformed { outputs, rejects } = super::lift(transformed, outputs, Cardinality::Many, rows, limits)?;
    let states = states.into_iter().map(|change| state_change(change, contract)).collect::<Result<_, _>>()?;
    Ok(Processed { outputs, rejects, states, timers: timers.into_iter().map(timer_change).collect() })
}

fn state_change(change: keyed::StateChange, contract: &KeyedContract) -> Result<StateChange, FunctionFault> {
    let keyed::StateChange { state, keys, entries: keyed::OwnedEntries { offsets, columns } } = change;
    let number = state as usize;
    let Some(state) = contract.states.get(number) else {
        return Err(malformed(format!("state {number}"), format!("the contract has {}", contract.states.len())));
    };
    let entries = offsets.last().copied().unwrap_or_default() as usize;
    let place = || format!("state `{}`", state.name);
    let columns = arrays::build_all(columns, &state.fields, entries, "declared", place)?;
    Ok(StateChange { state: number, keys, entries: StateEntries { offsets, columns } })
}

fn timer_change(change: keyed::TimerChange) -> TimerChange {
    let keyed::TimerChange { key, timer, action } = change;
    let action = match action {
        keyed::TimerAction::Set(time_us) => TimerAction::Set(time_us),
        keyed::TimerAction::Clear(time_us) => TimerAction::Clear(time_us),
        keyed::TimerAction::ClearAll => TimerAction::ClearAll,
    };
    TimerChange { key, timer, action }
}
