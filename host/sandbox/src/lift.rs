//! What a plugin returned, checked against the contract before any array is built of it.
//!
//! Invariant: whatever bytes a plugin returns, the answer is either a [`Transformed`] that keeps the contract in
//! every row or a [`FunctionFault`] that names output, column and row. Row counts are checked first, so that
//! nothing is walked that is over a limit. Columns are built in `lift::arrays`.

pub(crate) mod aggregate;
mod arrays;
pub(crate) mod keyed;

use std::sync::Arc;

use weir_stream::{Cardinality, FunctionFault, OutputContract, OutputRows, Reject, Selection, Transformed};

use crate::fault::{malformed, too_much};
use crate::limits::{Limits, REJECT_CODE_BYTES};
use crate::wire;

/// The keys that a plugin asks a table with; `place` says which table.
pub(crate) fn keys(
    columns: Vec<wire::OwnedColumn>,
    key: &[arrow_schema::FieldRef],
    rows: usize,
    place: &str,
) -> Result<Vec<arrow_array::ArrayRef>, FunctionFault> {
    let nullable = |field: &arrow_schema::FieldRef| Arc::new(field.as_ref().clone().with_nullable(true));
    let fields: Vec<_> = key.iter().map(nullable).collect();
    arrays::build_all(columns, &fields, rows, "the table's key has", || place.to_owned())
}

/// Checks and converts one answer to a batch of `rows` rows; `contracts` are those of the outputs.
pub(crate) fn lift(
    answer: wire::Transformed,
    contracts: &[OutputContract],
    cardinality: Cardinality,
    rows: usize,
    limits: &Limits,
) -> Result<Transformed, FunctionFault> {
    check_shape(&answer, contracts, rows, limits)?;
    if !is_all_to_one_output(&answer) {
        check_fates(&answer, contracts, cardinality, rows)?;
    }
    let rejects =
        answer.rejects.into_iter().map(|reject| Reject::new(reject.row, reject.code, reject.reason)).collect();
    let outputs = answer.outputs.into_iter().map(|output| {
        let written = &contracts[output.output as usize];
        convert(output, written, rows)
    });
    Ok(Transformed { outputs: outputs.collect::<Result<_, _>>()?, rejects })
}

/// Counts before contents: nothing behind this walks more rows than the limits allow.
fn check_shape(
    answer: &wire::Transformed,
    contracts: &[OutputContract],
    rows: usize,
    limits: &Limits,
) -> Result<(), FunctionFault> {
    let mut seen = vec![false; contracts.len()];
    let mut total = 0_usize;
    for output in &answer.outputs {
        let index = output.output as usize;
        let Some(seen) = seen.get_mut(index) else {
            let outputs = contracts.len();
            return Err(malformed(format!("output {index}"), format!("the contract has {outputs}")));
        };
        let name = &contracts[index].name;
        if std::mem::replace(seen, true) {
            return Err(malformed(format!("output `{name}`"), "it stands twice in one answer"));
        }
        total = total.saturating_add(selected(&output.selection, rows));
    }
    if total > limits.output_rows {
        return Err(too_much(format!("{total} rows"), format!("{} rows", limits.output_rows)));
    }
    if answer.rejects.len() > rows {
        return Err(malformed("rejects", format!("{} of them for {rows} rows", answer.rejects.len())));
    }
    Ok(())
}

fn selected(selection: &wire::Selection, rows: usize) -> usize {
    match selection {
        wire::Selection::All => rows,
        wire::Selection::Rows(selected) => selected.len(),
    }
}

/// The common answer, of which no row needs to be looked at.
fn is_all_to_one_output(answer: &wire::Transformed) -> bool {
    matches!(answer.outputs.as_slice(), [wire::OutputRows { selection: wire::Selection::All, .. }])
        && answer.rejects.is_empty()
}

fn check_fates(
    answer: &wire::Transformed,
    contracts: &[OutputContract],
    cardinality: Cardinality,
    rows: usize,
) -> Result<(), FunctionFault> {
    let mut fates = Fates::new(rows);
    for output in &answer.outputs {
        let name = &contracts[output.output as usize].name;
        fates.select(name, &output.selection, cardinality)?;
    }
    for reject in &answer.rejects {
        fates.reject(reject)?;
    }
    fates.finish(cardinality, answer)
}

/// What became of each row of the input.
struct Fates {
    rows: usize,
    fate: Vec<u8>,
}

const NONE: u8 = 0;
const WRITTEN: u8 = 1;
const REJECTED: u8 = 2;

impl Fates {
    fn new(rows: usize) -> Self {
        Self { rows, fate: vec![NONE; rows] }
    }

    fn select(
        &mut self,
        output: &str,
        selection: &wire::Selection,
        cardinality: Cardinality,
    ) -> Result<(), FunctionFault> {
        let wire::Selection::Rows(selected) = selection else {
            return self.select_all(output, cardinality);
        };
        let single = cardinality != Cardinality::Many;
        let mut before = None;
        for (position, row) in selected.iter().enumerate() {
            let place = || format!("output `{output}` entry {position}");
            let Some(fate) = self.fate.get_mut(*row as usize) else {
                return Err(malformed(place(), format!("row {row} of an input of {} rows", self.rows)));
            };
            if before > Some(*row) {
                return Err(malformed(place(), format!("row {row} behind a later one; rows must ascend")));
            }
            if single && *fate == WRITTEN {
                return Err(malformed(place(), format!("row {row} a second time, against its cardinality")));
            }
            *fate = WRITTEN;
            before = Some(*row);
        }
        Ok(())
    }

    fn select_all(&mut self, output: &str, cardinality: Cardinality) -> Result<(), FunctionFault> {
        if cardinality != Cardinality::Many
            && let Some(row) = self.fate.iter().position(|fate| *fate == WRITTEN)
        {
            let what = format!("row {row} a second time, against its cardinality");
            return Err(malformed(format!("output `{output}`"), what));
        }
        self.fate.fill(WRITTEN);
        Ok(())
    }

    fn reject(&mut self, reject: &wire::Reject) -> Result<(), FunctionFault> {
        let place = || format!("reject of row {}", reject.row);
        let code = &reject.code;
        let kebab = code.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-');
        if code.is_empty() || code.len() > REJECT_CODE_BYTES || !kebab {
            let what = format!("its code must be 1 to {REJECT_CODE_BYTES} of a-z, 0-9 and -, is {:.80?}", code);
            return Err(malformed(place(), what));
        }
        match self.fate.get_mut(reject.row as usize) {
            None => Err(malformed(place(), format!("the input has {} rows", self.rows))),
            Some(&mut WRITTEN) => Err(malformed(place(), "the row is also in an output")),
            Some(&mut REJECTED) => Err(malformed(place(), "the row was rejected before")),
            Some(fate) => {
                *fate = REJECTED;
                Ok(())
            }
        }
    }

    /// What only the whole answer shows: rejects in order, and no row lost by a one-to-one plugin.
    fn finish(&self, cardinality: Cardinality, answer: &wire::Transformed) -> Result<(), FunctionFault> {
        check_ascending(&answer.rejects)?;
        if cardinality == Cardinality::OneToOne
            && let Some(row) = self.fate.iter().position(|fate| *fate == NONE)
        {
            return Err(malformed(format!("row {row}"), "nothing, though the plugin is one-to-one"));
        }
        Ok(())
    }
}

fn check_ascending(rejects: &[wire::Reject]) -> Result<(), FunctionFault> {
    match rejects.windows(2).find(|pair| pair[0].row > pair[1].row) {
        None => Ok(()),
        Some(pair) => {
            let place = format!("reject of row {}", pair[1].row);
            Err(malformed(place, format!("it stands behind that of row {}; they must ascend", pair[0].row)))
        }
    }
}

fn convert(output: wire::OutputRows, contract: &OutputContract, rows: usize) -> Result<OutputRows, FunctionFault> {
    let wire::OutputRows { output, selection, columns } = output;
    let length = selected(&selection, rows);
    let place = || format!("output `{}`", contract.name);
    let columns = arrays::build_all(columns, &contract.writes, length, "writes", place)?;
    let selection = match selection {
        wire::Selection::All => Selection::All,
        wire::Selection::Rows(rows) => Selection::Rows(rows),
    };
    Ok(OutputRows { output: output as usize, selection, columns })
}
