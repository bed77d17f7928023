//! Where a test's rows go: targets in memory that keep the contract of a real one. They outlive the runs that write to
//! them, remember their last epoch, fence older owners and refuse an entry out of turn.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use weir_stream::{DeadLetter, ExposeOutcome, RowBlock, Sink, SinkData, SinkEpoch, SinkError, SinkPosition};

/// One target; clones are handles to the same.
#[derive(Clone, Default)]
pub struct Target(Arc<Mutex<Held>>);

/// What a target holds.
#[derive(Default)]
pub struct Held {
    /// Starts that took it over; 0: it was never seen.
    generation: u64,
    epoch: u64,
    pub rows: Vec<RowBlock>,
    pub dead_letters: Vec<DeadLetter>,
}

impl Target {
    pub fn held(&self) -> MutexGuard<'_, Held> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn sink(&self, name: &str) -> Box<dyn Sink> {
        Box::new(CollectingSink { name: name.to_owned(), target: self.clone(), generation: None })
    }
}

struct CollectingSink {
    name: String,
    target: Target,
    generation: Option<u64>,
}

impl Sink for CollectingSink {
    fn recover(&mut self, _acked: u64) -> Result<SinkPosition, SinkError> {
        let mut held = self.target.held();
        let seen = held.generation > 0;
        if self.generation.is_none() {
            held.generation += 1;
            self.generation = Some(held.generation);
        }
        Ok(if seen { SinkPosition::Epoch(held.epoch) } else { SinkPosition::Absent })
    }

    fn expose(&mut self, entry: &SinkEpoch) -> Result<ExposeOutcome, SinkError> {
        let mut held = self.target.held();
        if self.generation != Some(held.generation) {
            return Err(SinkError::Fenced(format!("`{}` was taken over", self.name)));
        }
        if held.epoch != entry.previous {
            let (held, previous) = (held.epoch, entry.previous);
            let message = format!("holds epoch {held}, an entry behind epoch {previous} came");
            return Err(SinkError::Fatal { message, next: "report it".into() });
        }
        match &*entry.data {
            SinkData::Rows(blocks) => held.rows.extend(blocks.iter().cloned()),
            SinkData::Payloads(blocks) => {
                for payload in blocks.iter().flat_map(|block| block.values.iter()) {
                    let letter = serde_json::from_slice(payload);
                    let letter = letter.map_err(|error| SinkError::Fatal {
                        message: format!("a dead letter is malformed: {error}"),
                        next: "report it".into(),
                    })?;
                    held.dead_letters.push(letter);
                }
            }
        }
        held.epoch = entry.epoch;
        Ok(ExposeOutcome { exposed: Some(entry.epoch), rejects: Vec::new() })
    }
}
