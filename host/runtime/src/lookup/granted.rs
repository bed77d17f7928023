//! Tables that plugins look keys up in: the same files and databases, caches and waiting as those of look-up steps, behind
//! the trait that the sandbox asks.
//!
//! Invariant: a database that is away is waited for as long as a task waits for the answer, which the thread that calls the
//! plugin says ([`asking_for`]); where nobody does, as in a self-test, the question ends at once.

use std::cell::RefCell;
use std::sync::{Arc, Mutex, PoisonError};

use arrow_array::ArrayRef;
use arrow_schema::FieldRef;
use weir_operators::Wanted;
use weir_operators::lookup::{TableShape, TableSlot};
use weir_stream::{KeyedTable, TableAnswer, TableFault};

use super::database::Desk;

thread_local! {
    /// Whom this thread asks for.
    static ASKED_FOR: RefCell<Option<Wanted>> = const { RefCell::new(None) };
}

/// Lets what this thread asks be asked for somebody, until the answer is dropped.
pub fn asking_for(wanted: Wanted) -> Asking {
    ASKED_FOR.set(Some(wanted));
    Asking(())
}

/// See [`asking_for`].
pub struct Asking(());

impl Drop for Asking {
    fn drop(&mut self) {
        ASKED_FOR.set(None);
    }
}

fn is_forgotten() -> bool {
    ASKED_FOR.with_borrow(|wanted| wanted.as_ref().is_none_or(Wanted::is_forgotten))
}

/// Makes a connection to a database; it connects when it is asked first.
pub type MakeDesk = Box<dyn Fn() -> Result<Desk, String> + Send + Sync>;

/// Where the rows are.
enum Kept {
    File(Arc<TableSlot>),
    /// Connections that nobody uses now: there are as many as ask at once, about one for each task.
    Database {
        idle: Mutex<Vec<Desk>>,
        make: MakeDesk,
    },
}

/// A table that a step's plugin may look up.
pub struct GrantedTable {
    name: String,
    key: Vec<FieldRef>,
    columns: Vec<FieldRef>,
    kept: Kept,
}

impl GrantedTable {
    pub fn of_file(name: &str, shape: &TableShape, slot: Arc<TableSlot>) -> Self {
        Self::new(name, shape, Kept::File(slot))
    }

    pub fn of_database(name: &str, shape: &TableShape, make: MakeDesk) -> Self {
        Self::new(name, shape, Kept::Database { idle: Mutex::default(), make })
    }

    fn new(name: &str, shape: &TableShape, kept: Kept) -> Self {
        let fields = |columns: &[usize]| columns.iter().map(|at| Arc::clone(&shape.schema.fields()[*at])).collect();
        Self { name: name.to_owned(), key: fields(&shape.key), columns: fields(&shape.values()), kept }
    }

    fn asked(&self, desk: &mut Desk, keys: &[ArrayRef], rows: usize) -> Result<TableAnswer, TableFault> {
        let now_ns = desk.now_ns();
        let mut questions = desk.table.begin(keys, rows, &[], now_ns).map_err(|message| self.broken(message))?;
        if !desk.answer(&mut questions, &is_forgotten)? {
            let message = format!("table `{}`: {} does not answer", self.name, desk.target());
            return Err(TableFault { message, next: "start it, then try again".into() });
        }
        desk.table.finish(questions).map_err(|message| self.broken(message))
    }

    /// Of Weir: the sandbox checked the keys.
    fn broken(&self, message: String) -> TableFault {
        let message = format!("table `{}`: {message}", self.name);
        TableFault { message, next: "report it with the manifest".into() }
    }
}

impl KeyedTable for GrantedTable {
    fn name(&self) -> &str {
        &self.name
    }

    fn key(&self) -> &[FieldRef] {
        &self.key
    }

    fn columns(&self) -> &[FieldRef] {
        &self.columns
    }

    fn look_up(&self, keys: &[ArrayRef], rows: usize) -> Result<TableAnswer, TableFault> {
        match &self.kept {
            Kept::File(slot) => {
                let table = slot.get().ok_or_else(|| self.broken("no table was loaded".into()))?;
                table.look_up(keys, rows).map_err(|message| self.broken(message))
            }
            Kept::Database { idle, make } => {
                let desks = || idle.lock().unwrap_or_else(PoisonError::into_inner);
                let desk = desks().pop();
                let mut desk = desk.map_or_else(make, Ok).map_err(|message| self.broken(message))?;
                let answer = self.asked(&mut desk, keys, rows);
                desks().push(desk);
                answer
            }
        }
    }
}

#[cfg(test)]
mod tests;
