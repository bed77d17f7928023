//! One table in one file: read, typed, indexed, judged, put in place.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use weir_codecs::{TableFormat, TableRows, read_table};
use weir_connectors::file::{FileStamp, WholeFileError, read_whole};
use weir_operators::lookup::{LookupTable, MAX_KEY_BYTES, MAX_ROWS_PER_KEY, TableFault, TableShape, TableSlot};

use crate::status::TableSize;

/// How often a file that is just being written is tried at a start.
const TRIES: u32 = 20;

/// Between two of them.
const TRY_EVERY: std::time::Duration = std::time::Duration::from_millis(50);

/// A table's file as the manifest describes it.
#[derive(Debug, Clone)]
pub struct TableFileSpec {
    /// Id of the step.
    pub step: Arc<str>,
    pub path: PathBuf,
    pub format: TableFormat,
    pub shape: TableShape,
    /// The most bytes of the file, and of the table in memory.
    pub memory_bytes: u64,
    /// The largest share of its rows that a table may lose at once.
    pub max_loss: f64,
}

/// A table's file and the place that its table is put in.
#[derive(Debug)]
pub struct TableFile {
    spec: TableFileSpec,
    slot: Arc<TableSlot>,
    /// Of the content that is in the slot.
    taken: Mutex<Option<FileStamp>>,
}

/// Why a file was not taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refused {
    pub message: String,
    /// The next act.
    pub next: String,
    /// Whether another try of the same content may go well.
    pub passes: bool,
}

impl TableFile {
    pub fn new(spec: TableFileSpec, slot: Arc<TableSlot>) -> Self {
        Self { spec, slot, taken: Mutex::default() }
    }

    pub fn step(&self) -> &Arc<str> {
        &self.spec.step
    }

    pub fn is_loaded(&self) -> bool {
        self.slot.get().is_some()
    }

    /// What the content that is in use looked like; none before the first.
    pub fn taken(&self) -> Option<FileStamp> {
        *self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What the file looks like now, if it is there.
    pub fn stamp(&self) -> Option<FileStamp> {
        FileStamp::of(&self.spec.path).ok()
    }

    /// Takes the first table; one that is being written is waited for a second.
    ///
    /// # Errors
    /// Why the file is no table.
    pub fn load(&self) -> Result<TableSize, Refused> {
        for _ in 1..TRIES {
            match self.take() {
                Err(Refused { passes: true, .. }) if self.stamp().is_some() => std::thread::sleep(TRY_EVERY),
                other => return other,
            }
        }
        self.take()
    }

    /// Puts what the file holds now in the place of the table before.
    ///
    /// # Errors
    /// Why it is not taken; the table before stays.
    pub fn take(&self) -> Result<TableSize, Refused> {
        let (rows, stamp) = self.read()?;
        let table = LookupTable::new(&self.spec.shape, &rows.columns).map_err(|fault| self.fault(fault, &rows))?;
        let size = TableSize { rows: table.rows() as u64, bytes: table.byte_size() as u64 };
        self.fits(size)?;
        self.slot.put(table);
        *self.taken.lock().unwrap_or_else(PoisonError::into_inner) = Some(stamp);
        Ok(size)
    }

    fn read(&self) -> Result<(TableRows, FileStamp), Refused> {
        let TableFileSpec { path, format, shape, memory_bytes, .. } = &self.spec;
        let (bytes, stamp) = read_whole(path, *memory_bytes).map_err(|error| {
            let next = match &error {
                WholeFileError::Io(_) => "put it there, readable for this user, or correct `path`",
                WholeFileError::TooLarge { .. } => "make it smaller, or raise `memory` of the look-up",
                WholeFileError::Changing => "write the file beside and rename it",
            };
            let passes = !matches!(error, WholeFileError::TooLarge { .. });
            Refused { passes, ..self.refused(error.to_string(), next) }
        })?;
        let rows = read_table(*format, &bytes, &shape.schema);
        let rows = rows.map_err(|error| self.refused(error.to_string(), "correct the line, or `columns`"))?;
        Ok((rows, stamp))
    }

    fn fits(&self, size: TableSize) -> Result<(), Refused> {
        let TableFileSpec { memory_bytes, max_loss, .. } = &self.spec;
        if size.bytes > *memory_bytes {
            let message = format!("the table takes {} bytes in memory, the limit is {memory_bytes}", size.bytes);
            return Err(self.refused(message, "make it smaller, or raise `memory` of the look-up"));
        }
        let before = self.slot.get().map_or(0, |table| table.rows());
        let fewest = before as f64 * (1.0 - max_loss);
        if (size.rows as f64) < fewest {
            let percent = max_loss * 100.0;
            let message = format!("{} rows, where the table has {before}: more than {percent} % are gone", size.rows);
            return Err(self.refused(message, "make it whole again, or restart to take it as it is"));
        }
        Ok(())
    }

    fn fault(&self, fault: TableFault, rows: &TableRows) -> Refused {
        let line = |row: usize| rows.lines[row];
        match fault {
            TableFault::Duplicate { first, second } => self.refused(
                format!("lines {} and {} have the same key", line(first), line(second)),
                "leave one of them out, or write `matches: all`: each gives a row then",
            ),
            TableFault::TooManyRows { row } => self.refused(
                format!("line {}: more than {MAX_ROWS_PER_KEY} rows from here on have this key", line(row)),
                "make the key finer with another column in `on`",
            ),
            TableFault::TooLarge { row } => self.refused(
                format!("line {}: the rows of this key have more than {MAX_KEY_BYTES} bytes of text", line(row)),
                "leave long columns out of `columns`",
            ),
            TableFault::Unsupported(message) => self.refused(message, "look the table up by other columns"),
        }
    }

    fn refused(&self, message: String, next: &str) -> Refused {
        let message = format!("{}: {message}", self.spec.path.display());
        Refused { message, next: next.to_owned(), passes: false }
    }
}

#[cfg(test)]
mod tests;
