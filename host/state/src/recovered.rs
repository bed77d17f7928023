//! What opening found: the last durable epoch, what the sinks are still owed, and the state, ready to be loaded.
//!
//! Invariant: a key group's target sees its snapshot first and then, in order, exactly the changes of later
//! epochs. Everything handed over was checked; what does not check is an error with file and offset. It builds no
//! tables of its own.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use crate::disk::Disk;
use crate::error::OpenError;
use crate::frame::FrameAt;
use crate::identity::Identity;
use crate::log::{DeltaRef, decode_body};
use crate::record::{Op, Ops};
use crate::segment::Segment;
use crate::snapshot::Snapshot;

/// Log records are read and replayed in portions of about this size.
const REPLAY_BYTES: usize = 32 << 20;

/// The outcome of opening a folder.
#[derive(Debug)]
pub struct Recovered {
    /// As stored: the key groups and generation that count, whatever the caller asked for.
    pub identity: Identity,
    /// The last durable epoch, 0 for a new folder.
    pub last_epoch: u64,
    /// The meta of the last durable epoch.
    pub meta: Option<Vec<u8>>,
    /// Per sink the last epoch that was known to be exposed when the last epoch was written.
    pub acked: Vec<(u16, u64)>,
    /// What is newer than that, in the order of epochs. Payloads: [`crate::Store::read_outbox`].
    pub outbox: Vec<PendingEntry>,
    /// Whether the process before ended by [`crate::Store::close`].
    pub clean: bool,
    /// An epoch that was being written at the crash and is not part of the store.
    pub dropped_epoch: Option<u64>,
    pub state: RecoveredState,
}

/// An outbox entry that its sink has not acknowledged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PendingEntry {
    pub epoch: u64,
    pub sink: u16,
    /// The epoch of this sink's entry before, 0 for the first.
    pub previous: u64,
    /// Payload bytes, uncompressed.
    pub bytes: u64,
}

/// Takes in one key group's state. Calls never overlap and come in the order in which the state was written.
pub trait KeyGroupTarget: Send {
    /// About `entries` entries of `step` are to come.
    fn reserve(&mut self, _step: u16, _entries: u64) {}

    fn put(&mut self, step: u16, key: &[u8], value: &[u8]);

    fn delete(&mut self, step: u16, key: &[u8]);
}

/// One key group's entries by step and key: for tools and tests; a running step has faster tables.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct KeyGroupEntries(pub BTreeMap<(u16, Vec<u8>), Vec<u8>>);

impl KeyGroupTarget for KeyGroupEntries {
    fn put(&mut self, step: u16, key: &[u8], value: &[u8]) {
        self.0.insert((step, key.to_vec()), value.to_vec());
    }

    fn delete(&mut self, step: u16, key: &[u8]) {
        self.0.remove(&(step, key.to_vec()));
    }
}

/// Checks without keeping.
struct Nothing;

impl KeyGroupTarget for Nothing {
    fn put(&mut self, _step: u16, _key: &[u8], _value: &[u8]) {}

    fn delete(&mut self, _step: u16, _key: &[u8]) {}
}

/// State that is still on disk: snapshots, and log records behind them.
#[must_use = "damage in stored state is found by loading it"]
pub struct RecoveredState {
    pub(crate) disk: Arc<dyn Disk>,
    pub(crate) store_id: u64,
    /// By key group; without one the key group's state begins empty, before epoch 1.
    pub(crate) snapshots: Vec<Option<Snapshot>>,
    pub(crate) log: Vec<(Segment, Vec<FrameAt>)>,
}

impl std::fmt::Debug for RecoveredState {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RecoveredState").field("key_groups", &self.snapshots.len()).finish_non_exhaustive()
    }
}

/// The snapshot's epoch, 0 without one.
pub(crate) fn snapshot_epoch(snapshot: &Option<Snapshot>) -> u64 {
    snapshot.as_ref().map_or(0, |snapshot| snapshot.epoch)
}

impl RecoveredState {
    /// Loads every key group on `threads` threads, into what `make` gives for its number, and answers them in the
    /// order of key groups. To be called before the store's first append.
    ///
    /// # Errors
    /// [`OpenError::Corrupt`] or [`OpenError::Io`]; the targets are gone then.
    pub fn load<T: KeyGroupTarget>(self, threads: usize, make: impl Fn(u16) -> T + Sync) -> Result<Vec<T>, OpenError> {
        let threads = threads.clamp(1, self.snapshots.len());
        let mut targets = self.load_snapshots(threads, make)?;
        let oldest = self.snapshots.iter().map(snapshot_epoch).min().unwrap_or(0);
        let mut buffer = Vec::new();
        for (segment, frames) in &self.log {
            let needed = frames.iter().filter(|frame| frame.header.epoch > oldest).peekable();
            self.replay_segment(segment, needed, threads, &mut targets, &mut buffer)?;
        }
        Ok(targets)
    }

    /// Reads and checks everything that [`RecoveredState::load`] would, for a pipeline without keyed state.
    ///
    /// # Errors
    /// As [`RecoveredState::load`].
    pub fn check(self, threads: usize) -> Result<(), OpenError> {
        self.load(threads, |_| Nothing).map(|_| ())
    }

    fn load_snapshots<T: KeyGroupTarget>(
        &self,
        threads: usize,
        make: impl Fn(u16) -> T + Sync,
    ) -> Result<Vec<T>, OpenError> {
        let next = AtomicUsize::new(0);
        let loaded = Mutex::new(Vec::with_capacity(self.snapshots.len()));
        let work = || {
            let mut buffer = Vec::new();
            loop {
                let index = next.fetch_add(1, Ordering::Relaxed);
                let Some(snapshot) = self.snapshots.get(index) else { return Ok(()) };
                let mut target = make(index as u16);
                if let Some(snapshot) = snapshot {
                    self.load_snapshot(snapshot, &mut target, &mut buffer)?;
                }
                loaded.lock().unwrap_or_else(PoisonError::into_inner).push((index, target));
            }
        };
        on_threads(threads, |_| work())?;
        let mut loaded = loaded.into_inner().unwrap_or_else(PoisonError::into_inner);
        loaded.sort_unstable_by_key(|(index, _)| *index);
        Ok(loaded.into_iter().map(|(_, target)| target).collect())
    }

    fn load_snapshot(
        &self,
        snapshot: &Snapshot,
        target: &mut impl KeyGroupTarget,
        buffer: &mut Vec<u8>,
    ) -> Result<(), OpenError> {
        for section in snapshot.read(&*self.disk, self.store_id, buffer)? {
            target.reserve(section.step, section.puts);
            apply(target, section.step, section.bytes)
                .ok_or_else(|| OpenError::corrupt(&snapshot.path, section.offset, "its operations cannot be read"))?;
        }
        Ok(())
    }

    fn replay_segment<'a, T: KeyGroupTarget>(
        &self,
        segment: &Segment,
        mut frames: std::iter::Peekable<impl Iterator<Item = &'a FrameAt>>,
        threads: usize,
        targets: &mut [T],
        buffer: &mut Vec<u8>,
    ) -> Result<(), OpenError> {
        while frames.peek().is_some() {
            buffer.clear();
            let mut portion = Vec::new();
            while let Some(frame) = frames.next_if(|_| buffer.len() < REPLAY_BYTES) {
                let start = buffer.len();
                let good = frame.read_body(&*segment.file, segment.salt, buffer);
                if !good.map_err(|error| OpenError::io(&segment.path, error))? {
                    return Err(damaged(segment, frame, "do not match their checksum"));
                }
                portion.push((frame, start..buffer.len()));
            }
            let mut records = Vec::with_capacity(portion.len());
            for (frame, range) in portion {
                let deltas = decode_body(&buffer[range]).filter(|deltas| self.are_of_key_groups(deltas));
                records.push((frame, deltas.ok_or_else(|| damaged(segment, frame, "cannot be read"))?));
            }
            self.replay(segment, &records, threads, targets)?;
        }
        Ok(())
    }

    fn are_of_key_groups(&self, deltas: &[DeltaRef<'_>]) -> bool {
        deltas.iter().all(|delta| usize::from(delta.key_group) < self.snapshots.len())
    }

    /// Each thread replays all records into its own run of key groups.
    fn replay<T: KeyGroupTarget>(
        &self,
        segment: &Segment,
        records: &[(&FrameAt, Vec<DeltaRef<'_>>)],
        threads: usize,
        targets: &mut [T],
    ) -> Result<(), OpenError> {
        let run = targets.len().div_ceil(threads);
        let runs: Vec<Mutex<&mut [T]>> = targets.chunks_mut(run).map(Mutex::new).collect();
        on_threads(runs.len(), |thread| {
            let mut targets = runs[thread].lock().unwrap_or_else(PoisonError::into_inner);
            let first = thread * run;
            for (frame, deltas) in records {
                for delta in deltas {
                    let key_group = usize::from(delta.key_group);
                    let Some(target) = key_group.checked_sub(first).and_then(|index| targets.get_mut(index)) else {
                        continue;
                    };
                    if frame.header.epoch > snapshot_epoch(&self.snapshots[key_group]) {
                        apply(target, delta.step, delta.bytes)
                            .ok_or_else(|| damaged(segment, frame, "hold operations that cannot be read"))?;
                    }
                }
            }
            Ok(())
        })
    }
}

fn damaged(segment: &Segment, frame: &FrameAt, what: &str) -> OpenError {
    let what = format!("the state changes of epoch {} {what}", frame.header.epoch);
    OpenError::corrupt(&segment.path, frame.body_offset(), what)
}

/// `None` when the bytes are not operations.
fn apply(target: &mut impl KeyGroupTarget, step: u16, bytes: &[u8]) -> Option<()> {
    for op in Ops::new(bytes) {
        match op? {
            Op::Put { key, value } => target.put(step, key, value),
            Op::Delete { key } => target.delete(step, key),
        }
    }
    Some(())
}

/// Runs `work` with the numbers below `threads`, the last of them here, and answers the first error.
fn on_threads(threads: usize, work: impl Fn(usize) -> Result<(), OpenError> + Sync) -> Result<(), OpenError> {
    std::thread::scope(|scope| {
        let work = &work;
        let others: Vec<_> = (0..threads - 1).map(|thread| scope.spawn(move || work(thread))).collect();
        let own = work(threads - 1);
        let others =
            others.into_iter().map(|thread| thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)));
        others.chain([own]).collect()
    })
}
