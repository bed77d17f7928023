//! What a test feeds: one script over all sources, one record an epoch, in order. It needs a single worker, so that a
//! reader that is asked again knows that every task has had its turn.
//!
//! A record was given out: its source is asked again only behind the barrier that seals it. Before the next one every
//! source is asked once more, so that none reads in front of that barrier. A wait lets every source be asked
//! [`SETTLING_LOOKS`] times: partitions become idle, timers fire, and what they make runs through all steps.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use weir_stream::source::Waker;
use weir_stream::{PartitionReader, Payloads, Poll, Position, Source, SourceError, SourceRecords, TimestampType};

use crate::clock::SimulatedClock;
use crate::control::Control;
use crate::plan::{Fed, PlannedSource};

/// How often every source is asked after the clock moved.
const SETTLING_LOOKS: u32 = 3;

/// A test that takes longer hangs.
pub const LONGEST_TRIAL: Duration = Duration::from_secs(60);

/// A script in one of its lives; clones are handles to the same.
#[derive(Clone)]
pub struct Script(Arc<Mutex<State>>);

struct State {
    feed: Vec<Fed>,
    finish: bool,
    clock: SimulatedClock,
    /// The next part.
    next: usize,
    phase: Phase,
    /// By source: parts that the last epoch covers, the position that it was opened at.
    opened: Vec<usize>,
    wakers: Vec<Waker>,
    control: Option<Arc<Control>>,
    began: Instant,
    overdue: bool,
    /// It was said that the feed is over.
    stopped: bool,
}

enum Phase {
    /// The next part may begin.
    Ready,
    /// `next` is with its source, its epoch open.
    Given,
    /// Every source is still to be asked so often.
    Settling(Vec<u32>),
}

/// What a source finds.
enum Look {
    Nothing,
    Record { position: usize, line: String, clock_us: i64 },
    End,
}

impl Script {
    pub fn new(feed: &[Fed], finish: bool, sources: usize, clock: SimulatedClock) -> Self {
        Self(Arc::new(Mutex::new(State {
            feed: feed.to_vec(),
            finish,
            clock,
            next: 0,
            phase: Phase::Ready,
            opened: vec![0; sources],
            wakers: Vec::new(),
            control: None,
            began: Instant::now(),
            overdue: false,
            stopped: false,
        })))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A start, the first or one after a crash: goes on behind the last record that an epoch covers.
    pub fn begin_life(&self, control: Arc<Control>) {
        let mut state = self.state();
        state.opened.fill(0);
        state.wakers.clear();
        (state.control, state.stopped) = (Some(control), false);
        state.phase = Phase::Settling(vec![1; state.opened.len()]);
    }

    pub fn is_overdue(&self) -> bool {
        self.state().overdue
    }

    pub fn source(&self, number: usize, planned: &PlannedSource) -> Box<dyn Source> {
        let (needs_keys, needs_headers) = (planned.needs_keys, planned.needs_headers);
        Box::new(FedPartition { script: self.clone(), number, id: Arc::clone(&planned.id), needs_keys, needs_headers })
    }
}

impl State {
    fn look(&mut self, source: usize) -> Look {
        if self.began.elapsed() > LONGEST_TRIAL && !self.overdue {
            self.overdue = true;
            self.control.iter().for_each(|control| control.abort());
        }
        match &mut self.phase {
            Phase::Given => {
                if matches!(self.feed.get(self.next), Some(Fed::Record { source: of, .. }) if *of == source) {
                    self.next += 1;
                    self.settle(1);
                }
                Look::Nothing
            }
            Phase::Settling(looks) => {
                looks[source] = looks[source].saturating_sub(1);
                if looks.iter().all(|looks| *looks == 0) {
                    self.phase = Phase::Ready;
                }
                self.wake();
                Look::Nothing
            }
            Phase::Ready => self.go_on(source),
        }
    }

    fn go_on(&mut self, source: usize) -> Look {
        match self.feed.get(self.next) {
            Some(Fed::Record { source: of, line }) if *of == source => {
                self.phase = Phase::Given;
                Look::Record { position: self.next, line: line.clone(), clock_us: self.clock.now_us() }
            }
            Some(Fed::Record { .. }) => Look::Nothing,
            Some(Fed::Wait { us }) => {
                self.clock.advance(*us);
                self.next += 1;
                self.settle(SETTLING_LOOKS);
                Look::Nothing
            }
            None if self.finish => Look::End,
            None => {
                if !std::mem::replace(&mut self.stopped, true) {
                    self.control.iter().for_each(|control| control.stop());
                }
                Look::Nothing
            }
        }
    }

    fn settle(&mut self, looks: u32) {
        self.phase = Phase::Settling(vec![looks; self.opened.len()]);
        self.wake();
    }

    fn wake(&self) {
        self.wakers.iter().for_each(|wake| wake());
    }
}

/// One source of one partition; its offsets are the numbers of the script's parts.
#[derive(Clone)]
struct FedPartition {
    script: Script,
    number: usize,
    id: Arc<str>,
    needs_keys: bool,
    needs_headers: bool,
}

impl Source for FedPartition {
    fn partitions(&mut self) -> Result<u32, SourceError> {
        Ok(1)
    }

    fn open(&mut self, _partition: u32, position: Option<Position>) -> Result<Box<dyn PartitionReader>, SourceError> {
        let mut state = self.script.state();
        state.opened[self.number] = position.and_then(|position| usize::try_from(position.offset).ok()).unwrap_or(0);
        // Records are given one an epoch: what stands before the furthest position is in some epoch.
        state.next = state.opened.iter().copied().max().unwrap_or(0);
        drop(state);
        Ok(Box::new(self.clone()))
    }
}

impl PartitionReader for FedPartition {
    fn poll(&mut self, _max_records: usize, _max_bytes: usize) -> Result<Poll, SourceError> {
        Ok(match self.script.state().look(self.number) {
            Look::Nothing => Poll::Pending { caught_up: true },
            Look::End => Poll::End,
            Look::Record { position, line, clock_us } => Poll::Records(SourceRecords {
                source: Arc::clone(&self.id),
                topic: Arc::clone(&self.id),
                partition: 0,
                offsets: vec![position as i64],
                timestamps_us: vec![clock_us],
                timestamp_type: vec![TimestampType::LogAppendTime],
                values: [line.as_bytes()].into_iter().collect(),
                keys: self.needs_keys.then(|| [b"".as_slice()].into_iter().collect::<Payloads>()),
                headers: self.needs_headers.then(|| [b"{}".as_slice()].into_iter().collect()),
                next_offset: position as i64 + 1,
                ..SourceRecords::default()
            }),
        })
    }

    fn set_waker(&mut self, waker: Waker) {
        self.script.state().wakers.push(waker);
    }
}
