//! What a running pipeline holds for one key of a step: asked by people, answered by the task that owns the key, between
//! two pieces of its work. Nothing is changed by it.

use crossbeam_channel::{Receiver, Sender};
use serde::{Deserialize, Serialize};
use weir_operators::{HeldEntry, KeyedOperator};
use weir_stream::time::NO_WATERMARK;

/// One question to one task.
#[derive(Debug)]
pub struct KeyQuestion {
    pub key_group: u16,
    pub key: Vec<u8>,
    pub reply: Sender<Result<Vec<HeldEntry>, String>>,
}

/// Answers what was asked since the last time.
pub fn answer(questions: &Receiver<KeyQuestion>, operator: &dyn KeyedOperator) {
    while let Ok(KeyQuestion { key_group, key, reply }) = questions.try_recv() {
        // Who asked may have gone.
        let _ = reply.send(operator.held(key_group, &key).map_err(|error| error.to_string()));
    }
}

/// What a step holds for one key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyReport {
    pub step: String,
    /// As it was asked for.
    pub key: Vec<String>,
    pub key_group: u16,
    /// Of the task that owns the key.
    pub watermark_us: Option<i64>,
    pub entries: Vec<KeyEntry>,
}

/// One window, session, row, timer or value.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyEntry {
    pub what: String,
    /// Of a row both are its event time.
    pub start_us: Option<i64>,
    pub end_us: Option<i64>,
    pub rows: Option<u64>,
    /// When time does something to it: the watermark, or the wall clock.
    pub due_us: Option<i64>,
    pub by_clock: bool,
    /// What happens then.
    pub then: Option<String>,
}

impl From<HeldEntry> for KeyEntry {
    fn from(entry: HeldEntry) -> Self {
        let HeldEntry { what, span_us, rows, due } = entry;
        let (start_us, end_us) = span_us.unzip();
        let known = |us: Option<i64>| us.filter(|us| *us != NO_WATERMARK);
        let by_clock = due.as_ref().is_some_and(|due| due.by_clock);
        let (due_us, then) = due.map(|due| (due.at_us, due.then.to_owned())).unzip();
        Self { what, start_us: known(start_us), end_us: known(end_us), rows, due_us, by_clock, then }
    }
}
