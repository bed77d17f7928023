//! Tables that steps look up, seen from outside of the tasks: loaded before a start, watched while the pipeline runs.
//!
//! Invariant: a task never waits for a file, and a step never sees half a table: a new one is made beside the old and put in
//! its place between two batches. What is durable was given out once and stays; an open epoch that is run again after a crash
//! may meet a newer table. A file that is no table (any more) changes nothing but what the status says.

mod database;
mod file;
mod granted;
mod watch;

pub use database::{Board, DatabaseAnswerer, Desk};
pub use file::{TableFile, TableFileSpec};
pub use granted::{GrantedTable, asking_for};
pub use watch::TableWatch;

use std::sync::{Arc, PoisonError};

use crate::incarnation::StartError;
use crate::plan::Plan;
use crate::status::StatusBoard;

/// What the tables of one step need beside the tables.
#[derive(Default)]
pub struct StepTables {
    pub files: Vec<Arc<TableFile>>,
    /// Where databases say that they are waited for.
    pub board: Board,
    /// Whether one of them is a database.
    pub wait: bool,
}

impl StepTables {
    /// They say so on this board from now on.
    pub fn tell(&self, board: &Arc<StatusBoard>) {
        *self.board.lock().unwrap_or_else(PoisonError::into_inner) = Some(Arc::clone(board));
    }
}

/// Loads every table that is not there yet, and watches the files until the answer is dropped. A pipeline that begins again
/// in the same process keeps the tables that it had.
///
/// # Errors
/// [`StartError::Lookup`] for the first file that is no table.
pub fn open(plan: &Plan, status: &Arc<StatusBoard>) -> Result<Option<TableWatch>, StartError> {
    plan.steps.iter().for_each(|step| step.tell(status));
    let files: Vec<Arc<TableFile>> = plan.steps.iter().flat_map(|step| step.table_files().to_vec()).collect();
    for file in &files {
        if !file.is_loaded() {
            let loaded = file.load().map_err(|refused| StartError::Lookup {
                message: format!("look-up `{}`: {}", file.step(), refused.message),
                next: refused.next,
            })?;
            status.lookups.loaded(file.step(), loaded);
        }
    }
    if files.is_empty() { Ok(None) } else { Ok(Some(TableWatch::spawn(files, status)?)) }
}
