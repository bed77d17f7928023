//! When an incarnation is over, and what must still happen before it may be.

use std::sync::Arc;
use std::time::Instant;

use weir_checkpoint::{Input, Refusal, SealedEpoch};

use super::{Coordinator, gathering};

/// Why an incarnation ended.
#[derive(Debug)]
pub enum Outcome {
    /// Every bounded source was read to its end and everything is exposed.
    Finished,
    /// Stopped on request: all is durable. `owed`: what sinks are still owed (sink, epochs).
    Stopped {
        owed: Vec<(String, u64)>,
    },
    Aborted,
    /// A new version failed while it was watched: the open epoch is to be run again with the old one.
    RollBack {
        step: Arc<str>,
        to: Arc<str>,
        reason: String,
    },
    /// What targets hold has been made again up to the next place where one's rows go on: start again from there.
    CaughtUp,
    /// A source has more partitions: the open epoch is to be run again with all of them.
    Grown {
        source: Arc<str>,
        partitions: u32,
    },
    /// A step cannot go on; everything sealed is durable. The pipeline waits for an operator.
    Paused {
        step: String,
        reason: String,
        owed: Vec<(String, u64)>,
    },
    /// Nothing can go on; only an operator can help.
    Failed {
        message: String,
        next: String,
    },
}

impl Outcome {
    /// Whether another incarnation follows in this process.
    pub fn goes_on(&self) -> bool {
        matches!(self, Self::RollBack { .. } | Self::Paused { .. } | Self::Grown { .. } | Self::CaughtUp)
    }
}

/// Where a test of recovery ends everything, as if the process had been killed there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CrashPoint {
    /// Sealed, and not handed to the log.
    Sealed(u64),
    /// In the log, and exposed to no sink.
    Durable(u64),
    /// It or a later one, where it owes no sink anything: visible in some sink, and not acknowledged.
    Exposed(u64),
}

impl Coordinator {
    /// Ends everything here, if a test of recovery wants that; then nothing may follow.
    pub(super) fn crash_if(&mut self, here: CrashPoint) -> bool {
        let crash = match (self.wiring.crash_at, here) {
            (Some(CrashPoint::Exposed(wanted)), CrashPoint::Exposed(through)) => through >= wanted,
            (wanted, here) => wanted == Some(here),
        };
        if crash {
            (self.wiring.crash)();
            self.outcome = Some(Outcome::Aborted);
        }
        crash
    }

    /// More partitions of a source: the open epoch is given up once the others' positions are in a sealed one, for a
    /// start without them would be another start at the end of the topic.
    pub(super) fn grow(&mut self, source: Arc<str>, partitions: u32) {
        self.grown = Some((source, partitions));
        self.input(Input::BarrierWanted);
    }

    pub(super) fn look_for_end(&mut self) {
        if self.outcome.is_some() {
            return;
        }
        if let Some((source, partitions)) = self.grown.take_if(|(source, _)| self.meta.was_read(source)) {
            self.fault.get_or_insert(Outcome::Grown { source, partitions });
        }
        let past_deadline = self.stop_deadline.is_some_and(|deadline| Instant::now() >= deadline);
        if self.fault.is_some() && self.protocol.durable() == self.protocol.assigned() {
            // Told to end: a version that failed is no reason to start again or to wait for an operator.
            self.outcome =
                match self.fault.take() {
                    Some(
                        Outcome::RollBack { .. } | Outcome::Paused { .. } | Outcome::Grown { .. } | Outcome::CaughtUp,
                    ) if self.stop_deadline.is_some() => Some(Outcome::Stopped { owed: self.still_owed() }),
                    fault => fault,
                };
        } else if self.protocol.all_exposed() {
            if self.rejects.any() && !self.letters_are_kept_back() {
                self.seal_rejects();
            } else {
                self.outcome = Some(if self.finishing { Outcome::Finished } else { Outcome::Stopped { owed: vec![] } });
            }
        } else if past_deadline {
            // What the log did not take, on a full disk or a hung one, is read again at the next start.
            self.outcome = Some(Outcome::Stopped { owed: self.still_owed() });
        }
    }

    /// Rows of the last epochs that a sink refused: no barrier follows that could carry them to the dead letters.
    fn seal_rejects(&mut self) {
        let rejects = self.rejects.take();
        let letters = self.wiring.dead_letters.as_ref();
        let outbox = letters.map(|sink| (sink.number, gathering::LETTER_BYTES * rejects.len() as u64));
        let epoch = SealedEpoch { changed: true, outbox: outbox.into_iter().collect() };
        self.number(gathering::Contents::default(), rejects);
        self.input(Input::Afterwards { epoch });
    }

    pub(super) fn still_owed(&self) -> Vec<(String, u64)> {
        let owed = self.wiring.sinks.iter().zip(self.protocol.sinks());
        let counted = owed.map(|(wiring, sink)| (wiring.name.to_string(), sink.owed_epochs().count() as u64));
        counted.filter(|(_, epochs)| *epochs > 0).collect()
    }

    pub(super) fn refuse(&mut self, sink: usize, refusal: Refusal) {
        let next = match refusal {
            Refusal::TargetForgot { .. } | Refusal::TargetBehind { .. } => {
                "restore the target, or start with a fresh state folder and a fresh target"
            }
            Refusal::StateBehind { .. } => "start with the newest state folder; two copies of it must not run",
        };
        let message = format!("sink `{}`: {refusal}", self.wiring.sinks[sink].name);
        self.fail(&message, next);
    }

    /// A version that is watched goes back; any other waits for an operator.
    pub(super) fn version_failed(&self, step: Arc<str>, reason: String) -> Outcome {
        match self.swaps.watched(&step, &self.meta) {
            Some(to) => Outcome::RollBack { step, to, reason },
            None => Outcome::Paused { step: step.to_string(), reason, owed: self.still_owed() },
        }
    }

    /// The first failure is the one that is told.
    pub(super) fn fail(&mut self, message: &str, next: &str) {
        self.outcome.get_or_insert(Outcome::Failed { message: message.to_owned(), next: next.to_owned() });
    }
}
