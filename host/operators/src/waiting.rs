//! A step that answers later: a look-up elsewhere, a call to a service. It takes batches without waiting and gives their
//! answers back in the order in which the batches came.
//!
//! Invariant: what was taken and not yet given back is bounded in batches and bytes; answers come out in the order of
//! their batches, whatever order they arrive in, so order by key is kept; each batch has one answer, or the step fails.
//! Dropping the step drops what is outstanding: an answer that arrives after it is heard by nobody.
//!
//! Who answers, and where, is the [`Answerer`]'s to know. Nothing here waits, or has a thread.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use weir_stream::Batch;
use weir_stream::source::Waker;

use crate::operator::{Outputs, StepFault};
use crate::transform::Monotonic;

/// Everything that became of one batch.
pub type Answer = Result<Outputs, StepFault>;

/// Answers batches away from the task's thread.
pub trait Answerer: Send {
    /// Takes a batch and returns at once. Called on the task's thread, in the order of the rows; may be asked again
    /// before it has answered, up to [`WaitingLimits`]. The answer goes through `reply`, from any thread.
    fn ask(&mut self, batch: Batch, reply: Reply);
}

/// How much may be outstanding, and for how long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WaitingLimits {
    pub batches: usize,
    pub bytes: usize,
    /// From when a batch is the oldest that has no answer. An answerer gives up by itself long before: this is for one
    /// that hangs, since nobody else would notice.
    pub answer_ms: u64,
}

impl Default for WaitingLimits {
    fn default() -> Self {
        Self { batches: 8, bytes: 16 << 20, answer_ms: 120_000 }
    }
}

type Slot = Arc<Mutex<Option<Answer>>>;

/// Where the answer to one batch goes. Dropped without one, the step fails: its answerer ended.
pub struct Reply {
    /// `None` once answered.
    slot: Option<Slot>,
    waker: Waker,
}

impl Reply {
    pub fn answer(mut self, answer: Answer) {
        self.put(answer);
    }

    /// Whether nobody waits for the answer any more.
    pub fn is_forgotten(&self) -> bool {
        self.wanted().is_forgotten()
    }

    /// The same question, to be asked from elsewhere.
    pub fn wanted(&self) -> Wanted {
        Wanted(self.slot.as_ref().map_or_else(Weak::new, Arc::downgrade))
    }

    fn put(&mut self, answer: Answer) {
        if let Some(slot) = self.slot.take() {
            *slot.lock().unwrap_or_else(PoisonError::into_inner) = Some(answer);
            (self.waker)();
        }
    }
}

/// Whether somebody waits for an answer.
#[derive(Debug, Clone)]
pub struct Wanted(Weak<Mutex<Option<Answer>>>);

impl Wanted {
    pub fn is_forgotten(&self) -> bool {
        self.0.strong_count() <= 1
    }
}

impl Drop for Reply {
    fn drop(&mut self) {
        self.put(Err(StepFault::Internal("what answers the step's batches ended without an answer".into())));
    }
}

/// One batch that was asked about.
struct Asked {
    ticket: u64,
    bytes: usize,
    slot: Slot,
}

/// The step itself: what is outstanding, oldest first.
pub struct Waiting {
    answerer: Box<dyn Answerer>,
    limits: WaitingLimits,
    waker: Waker,
    now_ns: Monotonic,
    asked: VecDeque<Asked>,
    bytes: usize,
    /// When the oldest became the oldest.
    oldest_since_ns: u64,
}

impl Waiting {
    /// `waker` is called when an answer has come.
    pub fn new(answerer: Box<dyn Answerer>, limits: WaitingLimits, waker: Waker, now_ns: Monotonic) -> Self {
        Self { answerer, limits, waker, now_ns, asked: VecDeque::new(), bytes: 0, oldest_since_ns: 0 }
    }

    /// Asks about a batch. `ticket` comes back with its answer. The caller looks for [`Waiting::has_room`] before it makes
    /// more, and may overshoot by what one batch became.
    pub fn ask(&mut self, batch: Batch, ticket: u64) {
        if self.asked.is_empty() {
            self.oldest_since_ns = (self.now_ns)();
        }
        let (slot, bytes) = (Slot::default(), batch.byte_size());
        self.bytes += bytes;
        self.asked.push_back(Asked { ticket, bytes, slot: Arc::clone(&slot) });
        self.answerer.ask(batch, Reply { slot: Some(slot), waker: Arc::clone(&self.waker) });
    }

    /// Puts the oldest batch's answer into `out`, if it has come, and says the batch's ticket.
    ///
    /// # Errors
    /// The answer's own fault, or that there was none in time: the step cannot go on.
    pub fn take(&mut self, out: &mut Outputs) -> Result<Option<u64>, StepFault> {
        let Some(oldest) = self.asked.front() else { return Ok(None) };
        let answer = oldest.slot.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some(answer) = answer else { return self.still_in_time().map(|()| None) };
        let Asked { ticket, bytes, .. } = self.asked.pop_front().expect("looked at just now");
        self.bytes -= bytes;
        self.oldest_since_ns = (self.now_ns)();
        let Outputs { mut batches, mut late, mut rejects } = answer?;
        out.batches.append(&mut batches);
        out.late.append(&mut late);
        out.rejects.append(&mut rejects);
        Ok(Some(ticket))
    }

    fn still_in_time(&self) -> Result<(), StepFault> {
        let waited_ns = (self.now_ns)().saturating_sub(self.oldest_since_ns);
        if waited_ns < self.limits.answer_ms.saturating_mul(1_000_000) {
            return Ok(());
        }
        let message = format!("no answer to a batch within {} ms", self.limits.answer_ms);
        Err(StepFault::Outside { message, next: "look at what the step asks, then start again".into() })
    }

    /// Whether another batch may be asked about.
    pub fn has_room(&self) -> bool {
        self.asked.len() < self.limits.batches && self.bytes < self.limits.bytes
    }

    pub fn is_settled(&self) -> bool {
        self.asked.is_empty()
    }

    /// The smallest ticket of what is outstanding. Behind another step that waits, tickets may come out of order.
    pub fn oldest(&self) -> Option<u64> {
        self.asked.iter().map(|asked| asked.ticket).min()
    }

    /// The greatest.
    pub fn newest(&self) -> Option<u64> {
        self.asked.iter().map(|asked| asked.ticket).max()
    }

    /// Puts another in the answerer's place; nothing may be outstanding.
    pub fn replace(&mut self, answerer: Box<dyn Answerer>) {
        assert!(self.is_settled(), "an answerer goes between two epochs, when nothing is outstanding");
        self.answerer = answerer;
    }
}

#[cfg(test)]
mod tests;
