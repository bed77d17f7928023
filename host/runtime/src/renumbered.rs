//! A sink whose target counts epochs otherwise than the state folder: a run that begins from an older savepoint counts on
//! from there, its target from what it holds.
//!
//! Invariant: the target's number of an epoch is the state's plus a constant, both ways, wherever a number passes.

use weir_stream::{ExposeOutcome, Held, Sink, SinkEpoch, SinkError, SinkPosition, SinkReject};

pub struct Renumbered {
    inner: Box<dyn Sink>,
    /// The target's numbers are so much larger.
    by: i64,
}

/// `by`: the target's number of an epoch less the state's. The sink as it is, when they are the same.
pub fn renumbered(inner: Box<dyn Sink>, by: i64) -> Box<dyn Sink> {
    if by == 0 { inner } else { Box::new(Renumbered { inner, by }) }
}

/// The state's number of an epoch that the target knows as `epoch`.
pub fn in_state(epoch: u64, by: i64) -> u64 {
    epoch.saturating_add_signed(by.saturating_neg())
}

fn in_target(epoch: u64, by: i64) -> u64 {
    // None is none, in either numbering.
    if epoch == 0 { 0 } else { epoch.saturating_add_signed(by) }
}

impl Renumbered {
    fn entry(&self, entry: &SinkEpoch) -> SinkEpoch {
        let (epoch, previous) = (in_target(entry.epoch, self.by), in_target(entry.previous, self.by));
        SinkEpoch { epoch, previous, ..entry.clone() }
    }

    fn reject(&self, reject: SinkReject) -> SinkReject {
        SinkReject { epoch: in_state(reject.epoch, self.by), ..reject }
    }

    fn outcome(&self, outcome: ExposeOutcome) -> ExposeOutcome {
        ExposeOutcome {
            exposed: outcome.exposed.map(|epoch| in_state(epoch, self.by)),
            rejects: outcome.rejects.into_iter().map(|reject| self.reject(reject)).collect(),
        }
    }
}

impl Sink for Renumbered {
    fn recover(&mut self, acked: u64) -> Result<SinkPosition, SinkError> {
        let position = self.inner.recover(in_target(acked, self.by))?;
        Ok(match position {
            SinkPosition::Absent => SinkPosition::Absent,
            SinkPosition::Epoch(epoch) => SinkPosition::Epoch(in_state(epoch, self.by)),
        })
    }

    fn held(&mut self) -> Result<Option<Held>, SinkError> {
        self.inner.held()
    }

    fn expose(&mut self, entry: &SinkEpoch) -> Result<ExposeOutcome, SinkError> {
        let outcome = self.inner.expose(&self.entry(entry))?;
        Ok(self.outcome(outcome))
    }

    fn expose_together(&mut self, entries: &[SinkEpoch]) -> Result<ExposeOutcome, SinkError> {
        let entries: Vec<SinkEpoch> = entries.iter().map(|entry| self.entry(entry)).collect();
        let outcome = self.inner.expose_together(&entries)?;
        Ok(self.outcome(outcome))
    }

    fn flush(&mut self, force: bool) -> Result<ExposeOutcome, SinkError> {
        let outcome = self.inner.flush(force)?;
        Ok(self.outcome(outcome))
    }

    fn remembered_rejects(&mut self) -> Result<Vec<SinkReject>, SinkError> {
        let rejects = self.inner.remembered_rejects()?;
        Ok(rejects.into_iter().map(|reject| self.reject(reject)).collect())
    }

    fn forget_rejects(&mut self, through_epoch: u64) -> Result<(), SinkError> {
        self.inner.forget_rejects(in_target(through_epoch, self.by))
    }
}
