//! How keys with their sessions leave memory and come back.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::io;

use weir_state::Spill;
use weir_state::table::{PieceWriter, TableError, evict_around};
use weir_stream::key;

use super::{Held, Session, SpanTable, write};
use crate::key::KeyBatch;

/// When keys are to be looked at.
pub(in crate::aggregate) type Timers = BinaryHeap<Reverse<(i64, u16, Box<[u8]>)>>;

/// The tables of the key groups from `first` on, and the timers of the keys in memory.
pub(in crate::aggregate) struct Spans<'a> {
    pub tables: &'a mut [SpanTable],
    pub first: u16,
    pub timers: &'a mut Timers,
}

impl Spans<'_> {
    /// Brings the keys of a batch into memory; `due_us` says when a key is to be looked at.
    pub(in crate::aggregate) fn warm(
        &mut self,
        keys: &KeyBatch,
        due_us: impl Fn(&Held) -> i64,
    ) -> Result<(), TableError> {
        if self.tables.iter().all(|table| table.cold.is_empty()) {
            return Ok(());
        }
        for (key_group, _, key) in keys.iter() {
            let number = key_group.checked_sub(self.first).map(usize::from);
            let Some(table) = number.and_then(|number| self.tables.get_mut(number)) else { continue };
            if table.warm(key_group, key)? {
                watch(table, self.timers, key_group, key.into(), &due_us);
            }
        }
        Ok(())
    }

    /// Brings the keys into memory that time asks for by `until_us`.
    pub(in crate::aggregate) fn warm_due(
        &mut self,
        until_us: i64,
        due_us: impl Fn(&Held) -> i64,
    ) -> Result<(), TableError> {
        for (key_group, table) in (self.first..).zip(self.tables.iter_mut()) {
            while let Some(thawed) = table.cold.take_due(key_group, until_us)? {
                for (key, value) in thawed {
                    table.thaw(key_group, &key, &value)?;
                    watch(table, self.timers, key_group, key, &due_us);
                }
            }
        }
        Ok(())
    }

    /// Writes unchanged keys away, but those that `stays` names, until `bytes` are out of memory; answers how many are.
    pub(in crate::aggregate) fn evict(
        &mut self,
        hand: &mut usize,
        bytes: usize,
        spill: &Spill,
        stays: impl Fn(u16, &[u8]) -> bool,
    ) -> io::Result<usize> {
        let evicted = evict_around(hand, self.tables.len(), bytes, |number, recent_too| {
            let key_group = self.first + number as u16;
            self.tables[number].evict(key_group, recent_too, spill, |key| stays(key_group, key))
        });
        let Self { tables, first, timers } = self;
        timers.retain(|Reverse((_, key_group, key))| tables[usize::from(*key_group - *first)].keys.contains_key(key));
        evicted
    }
}

/// Sets the timer of a key that came back.
fn watch(table: &mut SpanTable, timers: &mut Timers, key_group: u16, key: Box<[u8]>, due_us: &impl Fn(&Held) -> i64) {
    let Some(held) = table.get(&key) else { return };
    held.due_us = due_us(held);
    if held.due_us < i64::MAX {
        timers.push(Reverse((held.due_us, key_group, key)));
    }
}

impl SpanTable {
    /// Brings a key into memory, and answers whether it was cold. When it is to be looked at, the owner says.
    pub(super) fn warm(&mut self, key_group: u16, key: &[u8]) -> Result<bool, TableError> {
        if self.cold.is_empty() {
            return Ok(false);
        }
        let Some(value) = self.cold.take(key_group, key::hash(key), key)? else { return Ok(false) };
        self.thaw(key_group, key, &value)?;
        Ok(true)
    }

    fn thaw(&mut self, key_group: u16, key: &[u8], value: &[u8]) -> Result<(), TableError> {
        self.read(key, value).map_err(|reason| TableError::Value { key_group, reason })?;
        let held = self.held(key);
        (held.is_durable, held.is_recent) = (true, true);
        self.cold_sessions -= held.sessions.len();
        Ok(())
    }

    /// Writes unchanged keys away, each until it is to be looked at; those that `stays` names are kept, and those that were
    /// asked for lately unless `recent_too`. Answers the bytes that are out of memory.
    fn evict(
        &mut self,
        key_group: u16,
        recent_too: bool,
        spill: &Spill,
        stays: impl Fn(&[u8]) -> bool,
    ) -> io::Result<usize> {
        let before = self.byte_size();
        self.cold.tidy(key_group, spill)?;
        let mut chosen = Vec::new();
        for (key, held) in &mut self.keys {
            let was_recent = std::mem::take(&mut held.is_recent);
            if !held.is_dirty && !held.sessions.is_empty() && (recent_too || !was_recent) && !stays(key) {
                chosen.push((held.due_us, key.clone()));
            }
        }
        chosen.sort_unstable();
        let written = self.write_away(chosen, spill);
        self.keys.shrink_to_fit();
        self.pack();
        written.map(|()| before.saturating_sub(self.byte_size()))
    }

    fn write_away(&mut self, chosen: Vec<(i64, Box<[u8]>)>, spill: &Spill) -> io::Result<()> {
        let (mut rest, mut value) = (&chosen[..], Vec::new());
        while !rest.is_empty() {
            let (mut piece, mut count) = (PieceWriter::default(), 0);
            while let Some((due_us, key)) = rest.get(count).filter(|_| !piece.is_full()) {
                write(&self.keys[key].sessions, &self.accumulators, &mut value);
                let due_us = Some(*due_us).filter(|due_us| *due_us < i64::MAX);
                piece.put(key, due_us, |bytes| bytes.extend_from_slice(&value));
                count += 1;
            }
            self.cold.add(piece, spill)?;
            let (written, left) = rest.split_at(count);
            written.iter().for_each(|(_, key)| self.let_go_of(key));
            rest = left;
        }
        Ok(())
    }

    fn let_go_of(&mut self, key: &[u8]) {
        if let Some(Held { sessions, .. }) = self.keys.remove(key) {
            self.live -= sessions.len();
            self.cold_sessions += sessions.len();
            self.key_bytes -= key.len();
        }
    }

    /// The sessions of a key, wherever they are.
    pub(in crate::aggregate) fn sessions_of(&self, key_group: u16, key: &[u8]) -> Result<Vec<Session>, TableError> {
        if let Some(held) = self.keys.get(key) {
            return Ok(held.sessions.clone());
        }
        let Some(value) = self.cold.get(key_group, key::hash(key), key)? else { return Ok(Vec::new()) };
        let mut alone = Self::new(self.empty.clone());
        alone.read(key, &value).map_err(|reason| TableError::Value { key_group, reason })?;
        Ok(alone.keys.remove(key).map(|held| held.sessions).unwrap_or_default())
    }

    /// Bytes of cold keys, on disk.
    pub(in crate::aggregate) fn cold_bytes(&self) -> u64 {
        self.cold.bytes()
    }
}
