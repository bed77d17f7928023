//! The tables that a plugin of the world `enrich` says it asks, held against those that its step has.

use std::sync::Arc;

use weir_stream::KeyedTable;

use crate::error::ContractFault;
use crate::limits::CONTRACT_ITEMS;
use crate::tables::UsedTable;
use crate::types;
use crate::wire::tables::TableUse;

/// Every table and column must be there, and be of a type that crosses.
pub(crate) fn check(uses: Vec<TableUse>, tables: &[Arc<dyn KeyedTable>]) -> Result<Vec<UsedTable>, Vec<ContractFault>> {
    let items: usize = uses.iter().map(|used| 1 + used.columns.len()).sum();
    if items > CONTRACT_ITEMS {
        let message = format!("plugin asks {items} tables and columns, at most {CONTRACT_ITEMS} can be");
        return Err(vec![ContractFault::general(message)]);
    }
    let mut faults = Vec::new();
    let used = uses.iter().filter_map(|used| check_use(used, tables, &mut faults)).collect();
    if faults.is_empty() { Ok(used) } else { Err(faults) }
}

fn check_use(used: &TableUse, tables: &[Arc<dyn KeyedTable>], faults: &mut Vec<ContractFault>) -> Option<UsedTable> {
    let fault = |message: String| ContractFault::general(format!("table `{}`: {message}", used.table));
    let Some(table) = tables.iter().find(|table| table.name() == used.table) else {
        let has: Vec<&str> = tables.iter().map(|table| table.name()).collect();
        let has = if has.is_empty() { "none".to_owned() } else { has.join(", ") };
        faults.push(fault(format!("looked up by the plugin, not among the step's `tables` (has: {has})")));
        return None;
    };
    let before = faults.len();
    for field in table.key() {
        if let Some(why) = types::obstacle(field.data_type()) {
            faults.push(fault(format!("key column `{}`: {why}", field.name())));
        }
    }
    let mut columns = Vec::with_capacity(used.columns.len());
    for name in &used.columns {
        match table.columns().iter().position(|field| field.name() == name) {
            None => {
                let has: Vec<&str> = table.columns().iter().map(|field| field.name().as_str()).collect();
                faults.push(fault(format!(
                    "column `{name}`: read by the plugin, not among its columns (has: {})",
                    has.join(", ")
                )));
            }
            Some(at) => match types::obstacle(table.columns()[at].data_type()) {
                Some(why) => faults.push(fault(format!("column `{name}`: {why}"))),
                None => columns.push(at),
            },
        }
    }
    (faults.len() == before).then(|| UsedTable { table: Arc::clone(table), columns })
}
