//! Carries out an epoch's operations in the open transaction and finds the rows that the target refuses.
//!
//! A statement that is refused is halved until the guilty rows stand alone; its good halves stay. Two upserts that
//! the database takes for one key (its collation may be coarser than bytes) part in the same way.

use weir_stream::reject::MAX_REASON_BYTES;
use weir_stream::{SinkError, SinkReject};

use super::database::{Database, DatabaseError, Operation};
use super::operations::Operations;
use super::table::Table;
use crate::identity::fatal;
use crate::row;

/// Refused rows of one epoch after which the sink stops: then it is the table that is wrong, not the rows.
pub const MAX_REJECTS_PER_EPOCH: usize = 10_000;

/// A row that will not be in the target.
struct Refused {
    row: u32,
    code: &'static str,
    reason: String,
}

/// Applies `operations` and answers the rows that the target refused, ascending.
///
/// # Errors
/// A [`SinkError`]; the transaction must then be abandoned.
pub(super) fn apply<D: Database>(
    database: &mut D,
    table: &Table,
    operations: &mut Operations,
    epoch: u64,
) -> Result<Vec<SinkReject>, SinkError> {
    let mut applied = Application { database, table, refused: Vec::new() };
    applied.check_values(operations)?;
    let unfit: Vec<u32> = applied.refused.iter().map(|refused| refused.row).collect();
    operations.compact(table, |row| unfit.binary_search(&row).is_err())?;
    let operations = &*operations;
    let checked = applied.refused.len();
    // Deletes first, so that a value that must be unique is free for the row that takes it over.
    for operation in [Operation::Delete, Operation::Put] {
        applied.write(operation, operations, &operations.last(operation))?;
    }
    applied.fall_back(operations, checked)?;
    let Application { mut refused, .. } = applied;
    refused.sort_by_key(|refused| refused.row);
    let reject = |Refused { row, code, reason }| SinkReject {
        epoch,
        row: u64::from(row),
        code: code.to_owned(),
        reason,
        payload: row::json(&operations.rows, row as usize),
    };
    Ok(refused.into_iter().map(reject).collect())
}

struct Application<'a, D> {
    database: &'a mut D,
    table: &'a Table,
    refused: Vec<Refused>,
}

impl<D: Database> Application<'_, D> {
    /// Refuses rows whose values the target can never hold; a null in the key among them.
    fn check_values(&mut self, operations: &Operations) -> Result<(), SinkError> {
        let rows = &operations.rows;
        let suspects: Vec<usize> = (0..rows.num_columns())
            .filter(|column| {
                let null_key = self.table.key.contains(column) && rows.column(*column).null_count() > 0;
                null_key || self.database.may_be_unfit(rows, *column)
            })
            .collect();
        for row in 0..rows.num_rows() {
            let fault = suspects.iter().find_map(|column| self.value_fault(operations, *column, row));
            if let Some((code, reason)) = fault {
                self.refuse(row as u32, code, reason)?;
            }
        }
        Ok(())
    }

    fn value_fault(&self, operations: &Operations, column: usize, row: usize) -> Option<(&'static str, String)> {
        let rows = &operations.rows;
        let is_key = self.table.key.contains(&column);
        if operations.kind(row as u32) == Operation::Delete && !is_key {
            return None;
        }
        if rows.column(column).is_null(row) {
            let reason = || format!("key column {} is null", self.table.columns[column]);
            return is_key.then(|| ("sql-null-key", reason()));
        }
        self.database.unfit(rows, column, row)
    }

    fn write(&mut self, operation: Operation, operations: &Operations, numbers: &[u32]) -> Result<(), SinkError> {
        let most = self.database.rows_per_statement(self.table);
        numbers.chunks(most.max(1)).try_for_each(|numbers| self.write_or_halve(operation, operations, numbers))
    }

    /// Depth: the logarithm of the rows in a statement.
    fn write_or_halve(
        &mut self,
        operation: Operation,
        operations: &Operations,
        numbers: &[u32],
    ) -> Result<(), SinkError> {
        match self.database.write(operation, self.table, &operations.rows, numbers) {
            Ok(()) => Ok(()),
            Err(DatabaseError::Stop(error)) => Err(error),
            Err(DatabaseError::Rows { code, reason }) => match numbers {
                [] => Err(fatal(format!("the target refuses an empty statement: {reason}"), "report it")),
                [row] => self.refuse(*row, code, reason),
                _ => {
                    let (left, right) = numbers.split_at(numbers.len() / 2);
                    self.write_or_halve(operation, operations, left)?;
                    self.write_or_halve(operation, operations, right)
                }
            },
        }
    }

    /// A refused operation leaves its key to the one before it.
    fn fall_back(&mut self, operations: &Operations, checked: usize) -> Result<(), SinkError> {
        let mut open = checked;
        while open < self.refused.len() {
            if let Some(before) = operations.before(self.refused[open].row) {
                self.write_or_halve(operations.kind(before), operations, &[before])?;
            }
            open += 1;
        }
        Ok(())
    }

    fn refuse(&mut self, row: u32, code: &'static str, mut reason: String) -> Result<(), SinkError> {
        reason.truncate(reason.floor_char_boundary(MAX_REASON_BYTES));
        if self.refused.len() == MAX_REJECTS_PER_EPOCH {
            return Err(fatal(
                format!(
                    "{} refused more than {MAX_REJECTS_PER_EPOCH} rows of one epoch, the last because: {reason}",
                    self.database.target()
                ),
                "mend the table or the rows; nothing of this epoch was written",
            ));
        }
        self.refused.push(Refused { row, code, reason });
        Ok(())
    }
}
