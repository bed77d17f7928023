//! What the protocol knows of one sink, and the recovery decision.
//!
//! Invariant: `exposed <= sent <= newest`; entries above `exposed` are still owed.

use std::collections::VecDeque;

use weir_stream::{Bug, SinkPosition};

use crate::protocol::Refusal;

/// One entry that is durable or about to be, and not yet exposed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Owed {
    pub epoch: u64,
    pub bytes: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Link {
    /// The target's position is not known: nothing may be sent.
    Recovering,
    Ready,
    /// The entries above `sent` through this epoch are with the sink.
    Sending {
        through: u64,
    },
}

/// Progress of one sink: what it owes, was sent and has exposed.
#[derive(Debug, Clone)]
pub struct SinkProgress {
    /// The last epoch known to be visible in the target; 0 for none.
    pub(crate) exposed: u64,
    /// The last epoch that the sink accepted; it may still gather.
    pub(crate) sent: u64,
    pub(crate) owed: VecDeque<Owed>,
    pub(crate) link: Link,
}

impl SinkProgress {
    pub(crate) fn new(acked: u64, owed: impl IntoIterator<Item = (u64, u64)>) -> Self {
        let owed = owed.into_iter().map(|(epoch, bytes)| Owed { epoch, bytes }).filter(|entry| entry.epoch > acked);
        Self { exposed: acked, sent: acked, owed: owed.collect(), link: Link::Recovering }
    }

    /// The last epoch known to be visible in the target; 0 for none.
    pub fn exposed(&self) -> u64 {
        self.exposed
    }

    /// The last epoch that the sink accepted; it may still gather. Never less than what is exposed.
    pub fn sent(&self) -> u64 {
        self.sent
    }

    /// Epochs that are still owed, oldest first.
    pub fn owed_epochs(&self) -> impl Iterator<Item = u64> {
        self.owed.iter().map(|entry| entry.epoch)
    }

    pub fn is_recovering(&self) -> bool {
        self.link == Link::Recovering
    }

    /// Bytes that the sink has not yet accepted.
    pub fn waiting_bytes(&self) -> u64 {
        self.owed.iter().filter(|entry| entry.epoch > self.sent).map(|entry| entry.bytes).sum()
    }

    /// Bytes that the sink has accepted and not yet exposed.
    pub fn gathered_bytes(&self) -> u64 {
        self.owed.iter().filter(|entry| entry.epoch <= self.sent).map(|entry| entry.bytes).sum()
    }

    /// Decides by what the target says; `durable` is the last durable epoch.
    ///
    /// # Errors
    /// A [`Refusal`] when target and state do not belong together.
    pub(crate) fn recovered(&mut self, position: SinkPosition, durable: u64) -> Result<(), Refusal> {
        let held = match position {
            SinkPosition::Absent if self.exposed == 0 => 0,
            SinkPosition::Absent => return Err(Refusal::TargetForgot { acked: self.exposed }),
            SinkPosition::Epoch(held) if held < self.exposed && !Bug::TakeSinkBehind.is_in() => {
                return Err(Refusal::TargetBehind { held, acked: self.exposed });
            }
            SinkPosition::Epoch(held) if held > durable && !Bug::TakeSinkAhead.is_in() => {
                return Err(Refusal::StateBehind { held, durable });
            }
            SinkPosition::Epoch(_) if Bug::ExposeTwice.is_in() => self.exposed,
            SinkPosition::Epoch(held) => held,
        };
        self.expose_through(held);
        self.sent = held;
        self.link = Link::Ready;
        Ok(())
    }

    /// Notes that the target shows everything up to `epoch`.
    pub(crate) fn expose_through(&mut self, epoch: u64) {
        self.exposed = self.exposed.max(epoch);
        while self.owed.front().is_some_and(|entry| entry.epoch <= self.exposed) {
            self.owed.pop_front();
        }
    }

    /// The last of the entries to hand over now, if the sink is free: all that are durable, as far as `together_bytes` go,
    /// and at least one.
    pub(crate) fn next(&mut self, durable: u64, together_bytes: u64) -> Option<u64> {
        if self.link != Link::Ready {
            return None;
        }
        let sent = self.sent;
        let ready = |entry: &&Owed| entry.epoch > sent && (entry.epoch <= durable || Bug::ExposeBeforeDurable.is_in());
        let mut bytes = 0;
        let mut fits = |entry: &&Owed| {
            let first = bytes == 0;
            bytes += entry.bytes.max(1);
            first || bytes <= together_bytes
        };
        let through = self.owed.iter().filter(ready).take_while(|entry| fits(entry)).last()?.epoch;
        self.link = Link::Sending { through };
        Some(through)
    }
}
