//! Windows of one key group whose bounds follow the rows: by key, each with its span of time and a slot for its
//! accumulators.
//!
//! Invariant: a key's sessions are apart from each other and in order of time; slots are never given twice, those of
//! sessions that are gone are swept out together.
//!
//! Stored per key, numbers little-endian: one byte [`SPANS_VERSION`], then each session: start, end and number of rows (8
//! bytes each), one byte 1 if a result with this start has been given out, else 0, the length of the accumulators (4
//! bytes), and they, as [`super::slots`] says.
//!
//! Keys may leave memory ([`SpanTable::evict`]); who asks for one brings it there first ([`SpanTable::warm`]).

mod cold;

use std::collections::HashMap;

use weir_state::table::{ColdKeys, DeltaWriter, Slots, TableError};

use super::Aggregate;
use super::merge::{MergeOverflow, Pair};
use super::slots::Accumulators;
use crate::operator::StepFault;

pub(super) use cold::{Spans, Timers};

pub(super) const SPANS_VERSION: u8 = 1;

/// Fewest slots that are worth sweeping.
const MIN_SWEEP: usize = 64;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Session {
    pub start: i64,
    pub end: i64,
    /// Rows that came for it.
    pub rows: u64,
    pub slot: u32,
    /// Whether a result with this start has been given out.
    pub shown: bool,
    /// Whether it is different from what was given out.
    pub changed: bool,
}

#[derive(Debug, Clone, Default)]
pub(super) struct Held {
    pub sessions: Vec<Session>,
    /// When the key is to be looked at; a timer of another time is stale.
    pub due_us: i64,
    is_dirty: bool,
    is_durable: bool,
    /// Whether it was asked for since keys left memory for the last time.
    is_recent: bool,
}

#[derive(Debug, Clone)]
pub(super) struct SpanTable {
    keys: HashMap<Box<[u8]>, Held>,
    pub accumulators: Accumulators,
    empty: Accumulators,
    slots: u32,
    live: usize,
    dirty: Vec<Box<[u8]>>,
    key_bytes: usize,
    /// Keys that are not in memory.
    cold: ColdKeys,
    cold_sessions: usize,
}

/// What became of the sessions of a batch before its rows were folded.
#[derive(Debug, Default)]
pub(super) struct Joined {
    /// Sessions to be merged when all rows are folded, in this order.
    pub pairs: Vec<Pair>,
    /// Sessions that were given out and are no more, or now start earlier; they still hold what was given out.
    pub retired: Vec<(Box<[u8]>, Session)>,
}

impl SpanTable {
    pub(super) fn new(empty: Accumulators) -> Self {
        let (accumulators, keys, dirty) = (empty.clone(), HashMap::new(), Vec::new());
        let cold = ColdKeys::default();
        Self { keys, accumulators, empty, slots: 0, live: 0, dirty, key_bytes: 0, cold, cold_sessions: 0 }
    }

    pub(super) fn get(&mut self, key: &[u8]) -> Option<&mut Held> {
        self.keys.get_mut(key)
    }

    /// The keys in memory.
    pub(super) fn keys(&self) -> impl Iterator<Item = (&[u8], &Held)> {
        self.keys.iter().map(|(key, held)| (&**key, held))
    }

    /// Those that are not in memory count too.
    pub(super) fn sessions(&self) -> usize {
        self.live + self.cold_sessions
    }

    fn held(&mut self, key: &[u8]) -> &mut Held {
        if !self.keys.contains_key(key) {
            self.key_bytes += key.len();
            self.keys.insert(key.into(), Held { due_us: i64::MAX, ..Held::default() });
        }
        self.keys.get_mut(key).expect("it was put in just now")
    }

    /// Marks a key for the next seal.
    pub(super) fn touch(&mut self, key: &[u8]) {
        let held = self.held(key);
        if !std::mem::replace(&mut held.is_dirty, true) {
            self.dirty.push(key.into());
        }
    }

    /// The slot of the session that a row's span falls into, joining those that the span connects.
    pub(super) fn join(&mut self, key: &[u8], (start, end): (i64, i64), joined: &mut Joined) -> u32 {
        self.touch(key);
        let next_slot = self.slots;
        let held = self.held(key);
        let from = held.sessions.partition_point(|session| session.end <= start);
        let to = held.sessions.partition_point(|session| session.start < end);
        if from >= to {
            let session = Session { start, end, rows: 1, slot: next_slot, shown: false, changed: true };
            held.sessions.insert(from, session);
            self.slots += 1;
            self.live += 1;
            return next_slot;
        }
        for swallowed in held.sessions.drain(from + 1..to).collect::<Vec<_>>() {
            let session = &mut held.sessions[from];
            joined.pairs.push(Pair { to: session.slot, from: swallowed.slot });
            session.end = session.end.max(swallowed.end);
            session.rows += swallowed.rows;
            if swallowed.shown {
                joined.retired.push((key.into(), swallowed));
            }
        }
        let session = &mut held.sessions[from];
        if start < session.start {
            if std::mem::take(&mut session.shown) {
                joined.retired.push((key.into(), *session));
            }
            session.start = start;
        }
        session.end = session.end.max(end);
        session.rows += 1;
        session.changed = true;
        let slot = session.slot;
        self.live -= to - from - 1;
        slot
    }

    /// The key's only window, made if absent, with one row more.
    pub(super) fn gather(&mut self, key: &[u8], time_us: i64) -> Session {
        self.touch(key);
        let next_slot = self.slots;
        let held = self.held(key);
        let end = time_us.saturating_add(1);
        if let Some(window) = held.sessions.first_mut() {
            (window.start, window.end) = (window.start.min(time_us), window.end.max(end));
            window.rows += 1;
            return *window;
        }
        let window = Session { start: time_us, end, rows: 1, slot: next_slot, shown: false, changed: false };
        held.sessions.push(window);
        self.slots += 1;
        self.live += 1;
        window
    }

    /// Takes out the key's only window; its slot stays until the next sweep.
    pub(super) fn finish(&mut self, key: &[u8]) -> Option<Session> {
        let held = self.keys.get_mut(key)?;
        let window = held.sessions.pop()?;
        held.due_us = i64::MAX;
        self.live -= 1;
        self.touch(key);
        Some(window)
    }

    /// Makes room for all slots that were given.
    pub(super) fn grow(&mut self) {
        self.accumulators.resize(self.slots as usize);
    }

    pub(super) fn merge(&mut self, aggregates: &[Aggregate], pairs: &[Pair]) -> Result<Vec<MergeOverflow>, StepFault> {
        // One by one: a pair may add what an earlier one has gathered.
        let mut overflows = Vec::new();
        for pair in pairs {
            overflows.extend(self.accumulators.merge(aggregates, &[*pair], None)?);
        }
        Ok(overflows)
    }

    /// Lets go of the key's sessions that `gone` names; answers those that stay.
    pub(super) fn let_go(&mut self, key: &[u8], gone: impl Fn(&Session) -> bool) -> Option<&mut Held> {
        let held = self.keys.get_mut(key)?;
        let before = held.sessions.len();
        held.sessions.retain(|session| !gone(session));
        let left = before - held.sessions.len();
        self.live -= left;
        if left > 0 {
            self.touch(key);
        }
        self.keys.get_mut(key).filter(|held| !held.sessions.is_empty())
    }

    /// Moves the live slots together when most are not.
    pub(super) fn sweep(&mut self) {
        if (self.slots as usize) >= MIN_SWEEP && self.live * 2 <= self.slots as usize {
            self.pack();
        }
    }

    fn pack(&mut self) {
        let mut pairs = Vec::with_capacity(self.live);
        for session in self.keys.values_mut().flat_map(|held| &mut held.sessions) {
            let to = pairs.len() as u32;
            pairs.push(Pair { to, from: session.slot });
            session.slot = to;
        }
        let mut swept = self.empty.clone();
        swept.resize(pairs.len());
        let overflows = swept.merge_own(&pairs, Some(&self.accumulators));
        debug_assert!(overflows.is_empty(), "a slot fits where nothing is");
        self.accumulators = swept;
        self.slots = pairs.len() as u32;
    }

    pub(super) fn seal(&mut self, key_group: u16, delta: &mut dyn DeltaWriter) {
        let mut value = Vec::new();
        for key in std::mem::take(&mut self.dirty) {
            let Some(held) = self.keys.get_mut(&key) else { continue };
            held.is_dirty = false;
            if held.sessions.is_empty() {
                if held.is_durable {
                    delta.delete(key_group, &key);
                }
                self.key_bytes -= key.len();
                self.keys.remove(&key);
                continue;
            }
            (held.is_durable, held.is_recent) = (true, true);
            write(&held.sessions, &self.accumulators, &mut value);
            delta.put(key_group, &key, &value);
        }
    }

    pub(super) fn for_each(&self, key_group: u16, entry: &mut dyn FnMut(&[u8], &[u8])) -> Result<(), TableError> {
        let mut value = Vec::new();
        for (key, held) in self.keys.iter().filter(|(_, held)| !held.sessions.is_empty()) {
            write(&held.sessions, &self.accumulators, &mut value);
            entry(key, &value);
        }
        self.cold.for_each(key_group, entry)
    }

    /// Puts a stored key back.
    pub(super) fn restore_put(&mut self, key_group: u16, key: &[u8], value: &[u8]) -> Result<(), TableError> {
        self.restore_delete(key_group, key)?;
        self.read(key, value).map_err(|reason| TableError::Value { key_group, reason })?;
        self.held(key).is_durable = true;
        self.sweep();
        Ok(())
    }

    pub(super) fn restore_delete(&mut self, key_group: u16, key: &[u8]) -> Result<(), TableError> {
        self.warm(key_group, key)?;
        if let Some(held) = self.keys.remove(key) {
            self.live -= held.sessions.len();
            self.key_bytes -= key.len();
        }
        Ok(())
    }

    fn read(&mut self, key: &[u8], value: &[u8]) -> Result<(), String> {
        let short = || "it ends too early".to_owned();
        let (version, mut rest) = value.split_first().ok_or_else(short)?;
        if *version != SPANS_VERSION {
            return Err(format!("it is of version {version}, this Weir reads {SPANS_VERSION}"));
        }
        let mut last_end = i64::MIN;
        while !rest.is_empty() {
            let (start, tail) = rest.split_first_chunk::<8>().ok_or_else(short)?;
            let (end, tail) = tail.split_first_chunk::<8>().ok_or_else(short)?;
            let (rows, tail) = tail.split_first_chunk::<8>().ok_or_else(short)?;
            let (shown, tail) = tail.split_first().ok_or_else(short)?;
            let (length, tail) = tail.split_first_chunk::<4>().ok_or_else(short)?;
            let (accumulators, tail) = tail.split_at_checked(u32::from_le_bytes(*length) as usize).ok_or_else(short)?;
            rest = tail;
            let (start, end) = (i64::from_le_bytes(*start), i64::from_le_bytes(*end));
            if start >= end || start < last_end || *shown > 1 {
                return Err(format!("a session from {start} to {end} us cannot stand there"));
            }
            last_end = end;
            let slot = self.slots;
            self.slots += 1;
            self.grow();
            self.accumulators.read(slot as usize, accumulators)?;
            self.live += 1;
            let rows = u64::from_le_bytes(*rows);
            let session = Session { start, end, rows, slot, shown: *shown == 1, changed: false };
            self.held(key).sessions.push(session);
        }
        Ok(())
    }

    pub(super) fn byte_size(&self) -> usize {
        let entry = size_of::<Held>() + size_of::<Box<[u8]>>();
        let sessions = self.live * size_of::<Session>();
        self.accumulators.byte_size() + self.keys.len() * entry + sessions + self.key_bytes + self.cold.byte_size()
    }
}

fn write(sessions: &[Session], accumulators: &Accumulators, value: &mut Vec<u8>) {
    value.clear();
    value.push(SPANS_VERSION);
    let mut held = Vec::new();
    for session in sessions {
        value.extend_from_slice(&session.start.to_le_bytes());
        value.extend_from_slice(&session.end.to_le_bytes());
        value.extend_from_slice(&session.rows.to_le_bytes());
        value.push(session.shown.into());
        held.clear();
        accumulators.write(session.slot as usize, &mut held);
        value.extend_from_slice(&(held.len() as u32).to_le_bytes());
        value.extend_from_slice(&held);
    }
}
