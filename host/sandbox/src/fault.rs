//! The one place where what went wrong in the sandbox becomes a [`FunctionFault`].

use wasmtime::{Store, Trap};
use weir_stream::FunctionFault;

use crate::fetch::TooManyRequests;
use crate::instance::HostState;
use crate::limits::{CONTRACT_BYTES, FETCH_REQUESTS};
use crate::tables::NoAnswer;

/// wasmtime has no public type for this error; a test holds the text.
const COPY_BUDGET_EXHAUSTED: &str = "fuel allocated for hostcalls has been exhausted";

/// Converts the error of a call. The order matters: a refusal of memory or time surfaces as some trap, and the
/// refusal is what its reader needs.
pub(crate) fn from_call(error: &wasmtime::Error, store: &Store<HostState>, copy_bytes: usize) -> FunctionFault {
    let state = store.data();
    if state.deadline.expired() {
        return FunctionFault::Timeout { limit_ms: state.deadline.limit().as_millis() as u64 };
    }
    if state.memory.refused {
        return FunctionFault::Memory { limit_bytes: state.memory.limit_bytes };
    }
    if let Some(TooManyRequests(requests)) = error.downcast_ref::<TooManyRequests>() {
        return too_much(format!("{requests} requests to one fetch"), format!("{FETCH_REQUESTS}"));
    }
    if let Some(NoAnswer(fault)) = error.downcast_ref::<NoAnswer>() {
        return fault.clone();
    }
    let cause = error.root_cause().to_string();
    if cause.contains(COPY_BUDGET_EXHAUSTED) {
        return too_much("more bytes than may leave the sandbox in one call", format!("{copy_bytes} bytes"));
    }
    match (error.downcast_ref::<Trap>(), &state.last_error) {
        (Some(_), Some(line)) => FunctionFault::Trap(line.clone()),
        (Some(trap), None) => FunctionFault::Trap(trap.to_string()),
        (None, _) => FunctionFault::Malformed(format!("a value outside the component model's rules: {cause}")),
    }
}

/// Converts the error of an instantiation: what is not the plugin's code is about room for it.
pub(crate) fn from_instantiation(error: &wasmtime::Error, store: &Store<HostState>) -> FunctionFault {
    match from_call(error, store, CONTRACT_BYTES) {
        FunctionFault::Malformed(_) => FunctionFault::Trap(format!("cannot be instantiated: {:#}", error.root_cause())),
        fault => fault,
    }
}

pub(crate) fn malformed(place: impl std::fmt::Display, what: impl std::fmt::Display) -> FunctionFault {
    FunctionFault::Malformed(format!("{place}: {what}"))
}

pub(crate) fn too_much(what: impl Into<String>, limit: impl Into<String>) -> FunctionFault {
    FunctionFault::TooMuch { what: what.into(), limit: limit.into() }
}
