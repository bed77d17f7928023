//! The import `weir:plugin/tables`: keys that a plugin of the world `enrich` looks up.
//!
//! Invariant: only tables that the step's manifest names and the contract says are asked, and only in a `process` call; the
//! keys have the table's types, whatever the plugin sent; what the host does and waits for meanwhile is not the plugin's
//! time.

use std::sync::Arc;
use std::time::Instant;

use arrow_array::{Array, ArrayRef};
use wasmtime::StoreContextMut;
use weir_stream::{FunctionFault, KeyedTable, TableAnswer};

use crate::clock::thread_cpu_time;
use crate::fault::{malformed, too_much};
use crate::instance::HostState;
use crate::limits::{LOOK_UP_BYTES, LOOK_UP_KEYS};
use crate::lower::{Rebased, depth_first};
use crate::wire::tables as wire;
use crate::{lift, types};

pub(crate) const TABLES_INTERFACE: &str = "weir:plugin/tables@0.1.0";

/// A table that a contract says is asked.
#[derive(Clone)]
pub(crate) struct UsedTable {
    pub(crate) table: Arc<dyn KeyedTable>,
    /// Numbers of the columns that an answer has.
    pub(crate) columns: Vec<usize>,
}

/// A question that gets no answer: the call ends as a trap does.
#[derive(Debug, thiserror::Error)]
#[error("a look-up without an answer")]
pub(crate) struct NoAnswer(pub(crate) FunctionFault);

/// How `describe` and `open` are told of a table.
pub(crate) fn to_wire(table: &dyn KeyedTable) -> wire::Table {
    wire::Table {
        name: table.name().to_owned(),
        key: types::refs_to_wire(table.key()),
        columns: types::refs_to_wire(table.columns()),
    }
}

pub(crate) fn look_up(
    mut store: StoreContextMut<'_, HostState>,
    (table, keys): wire::LookUpParams,
) -> wasmtime::Result<wire::LookUpResult> {
    let state = store.data_mut();
    let (cpu, wall) = (thread_cpu_time(), Instant::now());
    let answer = state.tables.as_deref().map_or_else(
        || Err(FunctionFault::Trap("no table can be asked in `describe` and `open`".into())),
        |tables| ask(tables, table, keys),
    );
    state.deadline.pause(thread_cpu_time().saturating_sub(cpu), wall.elapsed());
    answer.map(|found| (found,)).map_err(|fault| wasmtime::Error::new(NoAnswer(fault)))
}

fn ask(tables: &[UsedTable], number: u32, keys: wire::OwnedBatch) -> Result<wire::Found, FunctionFault> {
    let Some(UsedTable { table, columns }) = tables.get(number as usize) else {
        return Err(malformed(format!("a question to table {number}"), format!("the contract has {}", tables.len())));
    };
    let rows = keys.rows as usize;
    if rows > LOOK_UP_KEYS {
        return Err(too_much(format!("{rows} keys in one look-up"), LOOK_UP_KEYS.to_string()));
    }
    let place = format!("a key of table `{}`", table.name());
    let arrays = lift::keys(keys.columns, table.key(), rows, &place)?;
    let outside = |fault: weir_stream::TableFault| FunctionFault::Outside { message: fault.message, next: fault.next };
    let TableAnswer { keys, columns: all, refused } = table.look_up(&arrays, rows).map_err(outside)?;
    let found: Vec<&ArrayRef> = columns.iter().map(|column| &all[*column]).collect();
    let bytes: usize = found
        .iter()
        .map(|array| array.to_data().get_slice_memory_size().unwrap_or(usize::MAX))
        .fold(0, usize::saturating_add);
    if bytes > LOOK_UP_BYTES {
        let what = format!("keys whose rows in table `{}` have {bytes} bytes", table.name());
        return Err(too_much(what, format!("{LOOK_UP_BYTES} bytes")));
    }
    let columns = depth_first(found.into_iter());
    let columns = columns.iter().map(|array| Rebased::new(array).column().to_owned()).collect();
    let refused = refused.into_iter().map(|(key, reason)| wire::Refusal { key, reason }).collect();
    Ok(wire::Found { keys, columns, refused })
}

#[cfg(test)]
mod tests;
