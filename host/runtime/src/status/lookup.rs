//! What look-up steps show of their tables.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use serde::{Deserialize, Serialize};

/// How large a table is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TableSize {
    pub rows: u64,
    /// In memory.
    pub bytes: u64,
}

/// The table of one look-up step at one moment.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LookupStatus {
    #[serde(flatten)]
    pub size: TableSize,
    /// Tables that were put in place since the process started.
    pub loads: u64,
    /// Since the last of them.
    pub loaded_ago_ms: u64,
    /// Why the table is not what the file, or the database, has now.
    pub trouble: Option<String>,
}

#[derive(Debug, Default)]
struct Entry {
    size: TableSize,
    loads: u64,
    loaded_at: Option<Instant>,
    trouble: Option<String>,
    /// Rows wait for it.
    waits: bool,
}

/// The tables by step.
#[derive(Debug, Default)]
pub struct LookupBoard(Mutex<BTreeMap<Arc<str>, Entry>>);

impl LookupBoard {
    fn entries(&self) -> MutexGuard<'_, BTreeMap<Arc<str>, Entry>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes that a table was put in place.
    pub fn loaded(&self, step: &Arc<str>, size: TableSize) {
        tracing::info!("look-up `{step}`: a table of {} rows, {} bytes in memory", size.rows, size.bytes);
        let mut entries = self.entries();
        let entry = entries.entry(Arc::clone(step)).or_default();
        (entry.size, entry.loads, entry.loaded_at) = (size, entry.loads + 1, Some(Instant::now()));
    }

    /// Notes why the table cannot be brought up to date, or that it can again; said in the log when it changes.
    pub fn trouble(&self, step: &Arc<str>, trouble: Option<String>) {
        let mut entries = self.entries();
        let entry = entries.entry(Arc::clone(step)).or_default();
        match (&entry.trouble, &trouble) {
            (before, Some(message)) if before.as_ref() != Some(message) => {
                tracing::warn!("look-up `{step}`: {message}");
            }
            (Some(_), None) => tracing::info!("look-up `{step}` is up to date again"),
            _ => {}
        }
        entry.trouble = trouble;
    }

    /// As [`LookupBoard::trouble`], where rows wait until it is over.
    pub fn waits(&self, step: &Arc<str>, trouble: Option<String>) {
        let waits = trouble.is_some();
        self.trouble(step, trouble);
        self.entries().entry(Arc::clone(step)).or_default().waits = waits;
    }

    /// Why rows wait, for the first step of which they do.
    pub fn is_waited_for(&self) -> Option<String> {
        let entries = self.entries();
        let (step, entry) = entries.iter().find(|(_, entry)| entry.waits)?;
        Some(format!("look-up `{step}`: {}", entry.trouble.as_deref().unwrap_or_default()))
    }

    pub fn status(&self) -> BTreeMap<String, LookupStatus> {
        let status = |entry: &Entry| LookupStatus {
            size: entry.size,
            loads: entry.loads,
            loaded_ago_ms: entry.loaded_at.map_or(0, |at| at.elapsed().as_millis() as u64),
            trouble: entry.trouble.clone(),
        };
        self.entries().iter().map(|(step, entry)| (step.to_string(), status(entry))).collect()
    }
}
