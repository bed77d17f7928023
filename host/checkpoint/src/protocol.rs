//! The state machine. See the crate's documentation for what it guarantees.
//!
//! A *barrier* is the marker that runs through the tasks; an *epoch* is what the log knows. They are numbered
//! apart because a barrier that found nothing to commit gets no epoch number.

use std::collections::VecDeque;

use weir_stream::{Bug, SinkPosition};

use crate::sink::{Link, Owed, SinkProgress};

/// Bounds of one pipeline's protocol.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Longest time between the first row of an epoch and its barrier, microseconds.
    pub epoch_interval_us: u64,
    /// Rows after which an epoch is sealed early.
    pub epoch_rows: u64,
    /// Input bytes after which an epoch is sealed early.
    pub epoch_bytes: u64,
    /// Sealed epochs that may wait for the log, the one being written included.
    pub sealed_not_durable: usize,
    /// Bytes that may wait for sinks before the sources pause.
    pub unexposed_bytes: u64,
    /// Bytes of the entries that a sink behind gets at once; a single entry may be larger.
    pub exposed_together_bytes: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            epoch_interval_us: 1_000_000,
            epoch_rows: u64::MAX,
            epoch_bytes: 64 << 20,
            sealed_not_durable: 2,
            unexposed_bytes: 128 << 20,
            exposed_together_bytes: 16 << 20,
        }
    }
}

/// What the runtime tells about a barrier that every task has passed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SealedEpoch {
    /// Whether anything happened: input, output, state, watermark or a plugin's digest changed.
    pub changed: bool,
    /// (sink, bytes) of the entries, at most one a sink.
    pub outbox: Vec<(usize, u64)>,
}

/// What happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Input {
    /// Time passed; also the way to learn the first time.
    Tick { now_us: u64 },
    /// Tasks read this much since the last such input.
    Progressed { rows: u64, bytes: u64 },
    /// Someone needs a barrier soon (a swap rides on it).
    BarrierWanted,
    /// All tasks have passed the barrier and handed in their parts.
    Sealed { barrier: u64, epoch: SealedEpoch },
    /// The log holds the epoch.
    Written { epoch: u64 },
    /// The log is full: nothing was written, the append may be tried again.
    LogFull { epoch: u64 },
    /// The sink's target was asked what it holds.
    Recovered { sink: usize, position: SinkPosition },
    /// The sink took the entries through this epoch and exposes now or later.
    Accepted { sink: usize, through: u64 },
    /// Everything up to the epoch is visible in the target.
    Exposed { sink: usize, through: u64 },
    /// The sink lost its target: what is with it may be applied or not.
    Lost { sink: usize },
    /// End the pipeline: seal, make durable, expose what can be.
    Stop,
    /// Something came up behind the last barrier that must not wait for the next start (rows that a sink refused):
    /// an epoch without a barrier. Only while draining.
    Afterwards { epoch: SealedEpoch },
}

/// What must happen, in this order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Effect {
    /// Send the marker through all tasks. `last`: no rows may follow it.
    InjectBarrier {
        barrier: u64,
        last: bool,
    },
    /// The barrier's contents become this epoch: write it to the log.
    Append {
        barrier: u64,
        epoch: u64,
    },
    /// The barrier found nothing: forget its (empty) contents.
    Discard {
        barrier: u64,
    },
    /// Hand the sink all entries that it has not accepted, through this epoch: one, or several when it is behind.
    Expose {
        sink: usize,
        through: u64,
    },
    /// Ask the target what it holds.
    Recover {
        sink: usize,
    },
    /// Let a gathering sink expose what it has.
    Flush {
        sink: usize,
    },
    PauseSources,
    ResumeSources,
    /// Target and state do not belong together; the pipeline must not run.
    Refuse {
        sink: usize,
        refusal: Refusal,
    },
}

/// Why a sink's target and the state do not belong together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    #[error("the target does not know this sink any more, but epoch {acked} was already exposed to it")]
    TargetForgot { acked: u64 },
    #[error("the target holds epoch {held}, but epoch {acked} was already exposed to it: it lost epochs")]
    TargetBehind { held: u64, acked: u64 },
    #[error(
        "the target holds epoch {held}, but this state ends at epoch {durable}: the state is older than the target"
    )]
    StateBehind { held: u64, durable: u64 },
}

/// Where the pipeline is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    Running,
    /// The last barrier is to be sent or on its way.
    Stopping,
    /// Everything is sealed; the log or sinks may still be busy.
    Draining,
}

/// The epoch protocol of one running pipeline.
#[derive(Debug, Clone)]
pub struct Protocol {
    limits: Limits,
    phase: Phase,
    sinks: Vec<SinkProgress>,
    /// Last epoch number given out and last one in the log.
    assigned: u64,
    durable: u64,
    /// Epochs given out and not yet durable, oldest first; the first is being written.
    unwritten: VecDeque<(u64, u64)>,
    next_barrier: u64,
    barrier_in_flight: Option<u64>,
    last_barrier: Option<u64>,
    barrier_wanted: bool,
    log_full: bool,
    paused: bool,
    now_us: u64,
    /// When the open epoch got its first row.
    opened_us: Option<u64>,
    open_rows: u64,
    open_bytes: u64,
}

impl Protocol {
    /// `durable`: the last epoch in the log. `sinks`: per sink the acknowledged epoch and the pending entries
    /// (epoch, bytes), as the store recovered them. The first effects ask every target what it holds.
    pub fn new(limits: Limits, durable: u64, sinks: Vec<(u64, Vec<(u64, u64)>)>) -> (Self, Vec<Effect>) {
        let sinks: Vec<_> = sinks.into_iter().map(|(acked, owed)| SinkProgress::new(acked, owed)).collect();
        let effects = (0..sinks.len()).map(|sink| Effect::Recover { sink }).collect();
        let protocol = Self {
            limits,
            phase: Phase::Running,
            sinks,
            assigned: durable,
            durable,
            unwritten: VecDeque::new(),
            next_barrier: 1,
            barrier_in_flight: None,
            last_barrier: None,
            barrier_wanted: false,
            log_full: false,
            paused: false,
            now_us: 0,
            opened_us: None,
            open_rows: 0,
            open_bytes: 0,
        };
        (protocol, effects)
    }

    pub fn phase(&self) -> Phase {
        self.phase
    }

    pub fn durable(&self) -> u64 {
        self.durable
    }

    /// The last epoch number given out.
    pub fn assigned(&self) -> u64 {
        self.assigned
    }

    pub fn sinks(&self) -> &[SinkProgress] {
        &self.sinks
    }

    /// Whether the log refused for lack of space and has not taken an epoch since.
    pub fn log_full(&self) -> bool {
        self.log_full
    }

    /// The pipeline may end: all is durable.
    pub fn all_durable(&self) -> bool {
        self.phase == Phase::Draining && self.unwritten.is_empty()
    }

    /// The pipeline may end and owes nothing.
    pub fn all_exposed(&self) -> bool {
        self.all_durable() && self.sinks.iter().all(|sink| sink.owed.is_empty())
    }

    /// Takes one input and answers what must happen now.
    pub fn step(&mut self, input: Input) -> Vec<Effect> {
        let mut effects = Vec::new();
        match input {
            Input::Tick { now_us } => self.now_us = self.now_us.max(now_us),
            Input::Progressed { rows, bytes } => self.progressed(rows, bytes),
            Input::BarrierWanted => self.barrier_wanted = true,
            Input::Sealed { barrier, epoch } => self.sealed(barrier, &epoch, &mut effects),
            Input::Written { epoch } => self.written(epoch, &mut effects),
            Input::LogFull { epoch } => self.append_again(epoch, &mut effects),
            Input::Recovered { sink, position } => self.recovered(sink, position, &mut effects),
            Input::Accepted { sink, through } => self.accepted(sink, through, &mut effects),
            Input::Exposed { sink, through } => self.sinks[sink].expose_through(through),
            Input::Lost { sink } => {
                self.sinks[sink].link = Link::Recovering;
                effects.push(Effect::Recover { sink });
            }
            Input::Stop if self.phase == Phase::Running => self.phase = Phase::Stopping,
            Input::Stop => {}
            Input::Afterwards { epoch } => {
                assert_eq!(self.phase, Phase::Draining, "only behind the last barrier is there an epoch without one");
                self.number(self.next_barrier, &epoch, &mut effects);
            }
        }
        self.expose_next(&mut effects);
        self.maybe_inject(&mut effects);
        self.balance(&mut effects);
        effects
    }

    fn progressed(&mut self, rows: u64, bytes: u64) {
        if rows > 0 && self.opened_us.is_none() {
            self.opened_us = Some(self.now_us);
        }
        self.open_rows += rows;
        self.open_bytes += bytes;
    }

    fn sealed(&mut self, barrier: u64, epoch: &SealedEpoch, effects: &mut Vec<Effect>) {
        assert_eq!(self.barrier_in_flight.take(), Some(barrier), "a barrier is sealed once, in order");
        if self.phase == Phase::Stopping && self.last_barrier == Some(barrier) {
            self.phase = Phase::Draining;
        }
        if !epoch.changed {
            effects.push(Effect::Discard { barrier });
        } else {
            self.number(barrier, epoch, effects);
        }
        if self.phase == Phase::Draining && self.unwritten.is_empty() {
            self.flush(effects);
        }
    }

    fn number(&mut self, barrier: u64, epoch: &SealedEpoch, effects: &mut Vec<Effect>) {
        self.assigned += 1;
        for (sink, bytes) in &epoch.outbox {
            self.sinks[*sink].owed.push_back(Owed { epoch: self.assigned, bytes: *bytes });
        }
        self.unwritten.push_back((barrier, self.assigned));
        if self.unwritten.len() == 1 {
            effects.push(Effect::Append { barrier, epoch: self.assigned });
        }
    }

    fn written(&mut self, epoch: u64, effects: &mut Vec<Effect>) {
        let written = self.unwritten.pop_front().map(|(_, epoch)| epoch);
        assert_eq!(written, Some(epoch), "epochs become durable in order");
        self.durable = epoch;
        self.log_full = false;
        if let Some((barrier, epoch)) = self.unwritten.front() {
            effects.push(Effect::Append { barrier: *barrier, epoch: *epoch });
        } else if self.phase == Phase::Draining {
            self.flush(effects);
        }
    }

    fn append_again(&mut self, epoch: u64, effects: &mut Vec<Effect>) {
        let (barrier, waiting) = self.unwritten.front().copied().expect("only an append can find the log full");
        assert_eq!(waiting, epoch, "only the epoch being written can find the log full");
        self.log_full = true;
        effects.push(Effect::Append { barrier, epoch });
    }

    fn recovered(&mut self, sink: usize, position: SinkPosition, effects: &mut Vec<Effect>) {
        if let Err(refusal) = self.sinks[sink].recovered(position, self.durable) {
            effects.push(Effect::Refuse { sink, refusal });
        }
    }

    fn accepted(&mut self, sink: usize, through: u64, effects: &mut Vec<Effect>) {
        let progress = &mut self.sinks[sink];
        if progress.link == (Link::Sending { through }) {
            progress.link = Link::Ready;
            progress.sent = through;
            if Bug::AcknowledgeGathered.is_in() {
                progress.expose_through(through);
            }
            let sent_all = progress.owed.back().is_none_or(|newest| newest.epoch <= through);
            let gathered = progress.gathered_bytes() > self.limits.unexposed_bytes;
            if gathered || (sent_all && self.all_durable()) {
                effects.push(Effect::Flush { sink });
            }
        }
    }

    /// Lets gathering sinks expose what they have, once nothing more will come.
    fn flush(&self, effects: &mut Vec<Effect>) {
        let idle = self.sinks.iter().enumerate().filter(|(_, sink)| sink.link == Link::Ready && !sink.owed.is_empty());
        let accepted = idle.filter(|(_, sink)| sink.owed.back().is_some_and(|newest| newest.epoch <= sink.sent));
        effects.extend(accepted.map(|(sink, _)| Effect::Flush { sink }));
    }

    fn expose_next(&mut self, effects: &mut Vec<Effect>) {
        for (number, sink) in self.sinks.iter_mut().enumerate() {
            if let Some(through) = sink.next(self.durable, self.limits.exposed_together_bytes) {
                effects.push(Effect::Expose { sink: number, through });
            }
        }
    }

    /// Pauses the sources while too much waits for log or sinks, or the open epoch is full and its barrier must wait.
    fn balance(&mut self, effects: &mut Vec<Effect>) {
        let waiting: u64 = self.sinks.iter().map(SinkProgress::waiting_bytes).sum();
        let full = self.open_bytes >= self.limits.epoch_bytes;
        let pause = self.log_full || full || waiting > self.limits.unexposed_bytes;
        if pause != self.paused {
            self.paused = pause;
            effects.push(if pause { Effect::PauseSources } else { Effect::ResumeSources });
        }
    }

    fn maybe_inject(&mut self, effects: &mut Vec<Effect>) {
        let free = self.barrier_in_flight.is_none() && self.unwritten.len() < self.limits.sealed_not_durable;
        let last = self.phase == Phase::Stopping;
        if !free || self.phase == Phase::Draining || !(last || self.barrier_wanted || self.epoch_is_due()) {
            return;
        }
        let barrier = self.next_barrier;
        self.next_barrier += 1;
        self.barrier_in_flight = Some(barrier);
        self.last_barrier = last.then_some(barrier);
        self.barrier_wanted = false;
        (self.opened_us, self.open_rows, self.open_bytes) = (None, 0, 0);
        effects.push(Effect::InjectBarrier { barrier, last });
    }

    fn epoch_is_due(&self) -> bool {
        let by_time = self.opened_us.is_some_and(|opened| self.now_us >= opened + self.limits.epoch_interval_us);
        by_time || self.open_rows >= self.limits.epoch_rows || self.open_bytes >= self.limits.epoch_bytes
    }
}
