//! What a plugin that aggregates returned: rejects checked as a transform's, columns made arrays of their declared types.
//! Which groups they name, and how large they are, is checked where accumulators are kept.

use arrow_array::ArrayRef;
use arrow_schema::{Field, FieldRef};
use weir_stream::{Accumulated, FunctionFault, GroupAccumulators, Reject};

use super::{Fates, arrays};
use crate::fault::malformed;
use crate::wire::{self, aggregate};

/// Checks and converts the answer to a call of `rows` rows.
pub(crate) fn accumulated(
    answer: aggregate::Accumulated,
    state: &[FieldRef],
    rows: usize,
) -> Result<Accumulated, FunctionFault> {
    let aggregate::Accumulated { rejects, changed: aggregate::OwnedAccumulators { groups, columns } } = answer;
    if rejects.len() > rows {
        return Err(malformed("rejects", format!("{} of them for {rows} rows", rejects.len())));
    }
    let mut fates = Fates::new(rows);
    rejects.iter().try_for_each(|reject| fates.reject(reject))?;
    super::check_ascending(&rejects)?;
    let rejects = rejects.into_iter().map(|reject| Reject::new(reject.row, reject.code, reject.reason)).collect();
    let columns = accumulators(columns, state, groups.len())?;
    Ok(Accumulated { rejects, changed: GroupAccumulators { groups, columns } })
}

/// The columns of `entries` accumulators.
pub(crate) fn accumulators(
    columns: Vec<wire::OwnedColumn>,
    state: &[FieldRef],
    entries: usize,
) -> Result<Vec<ArrayRef>, FunctionFault> {
    arrays::build_all(columns, state, entries, "declared", || "accumulators".to_owned())
}

/// The results of `groups` groups.
pub(crate) fn results(column: wire::OwnedColumn, gives: &Field, groups: usize) -> Result<ArrayRef, FunctionFault> {
    arrays::build_only(column, gives, groups, "results")
}
