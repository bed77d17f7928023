//! The join of a stream with a table as it was: each left row meets the version of its key that was valid at its time.
//!
//! Invariant: a left row waits until the watermark has passed it, so every version that could be valid then is there,
//! whatever the batches and tasks. A version is held until the watermark has passed the next one of its key; the newest is
//! held for ever, a deletion for [`super::versions::DELETION_KEPT_US`].
//!
//! The right side is an upsert stream, or plain rows of which the newest by event time counts. A row that comes late is still
//! the newest of its key from the watermark on, unless a newer one is known: then it leaves by the late output.
//!
//! Stored: left rows as [`RowsTable`] has them, with tag 0; versions by key ([`super::versions`]), behind a byte 1.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::ops::Range;
use std::sync::Arc;

use arrow_schema::SchemaRef;
use weir_state::Spill;
use weir_state::table::{DeltaWriter, Leaving, MapTable, NewRow, RowId, RowsTable, TableError};
use weir_stream::time::{END_OF_TIME, NO_WATERMARK};
use weir_stream::{Batch, ChangeKind, Reject};

use super::pairs::{Pairs, SideRows};
use super::streams::{PAIRS_AT_ONCE, internal};
use super::versions::{Version, Versions};
use super::{JoinKind, LEFT, RIGHT, STAGE};
use crate::held_key::{DueAt, HeldEntry};
use crate::key::{KeyedBatch, has_null};
use crate::keyed::{KeyedOperator, same};
use crate::operator::{Outputs, StepFault};
use crate::window::WindowGrid;

/// Left rows leave the state in pieces of this length.
const BUCKET_US: i64 = 5_000_000;

const VERSIONS_TAG: u8 = 1;

/// A join with a table as of event time, for a range of key groups.
#[derive(Debug, Clone)]
pub struct TemporalJoin {
    kind: JoinKind,
    pairs: Pairs,
    layout: String,
    buckets: WindowGrid,
    left: RowsTable,
    /// Left rows by time.
    waiting: BinaryHeap<Reverse<(i64, RowId)>>,
    versions: MapTable<Versions>,
    /// When versions that are held may go, by key.
    ending: BinaryHeap<Reverse<(i64, u16, Box<[u8]>)>>,
    watermark_us: i64,
}

impl TemporalJoin {
    /// `kind`: `inner` or `left`; `sides`: the columns of either; `key_groups`: those of this task.
    ///
    /// # Errors
    /// For people: columns that do not go together.
    pub fn new(
        step: &Arc<str>,
        kind: JoinKind,
        prefix: &str,
        sides: [&SchemaRef; 2],
        key_groups: Range<u16>,
    ) -> Result<Self, String> {
        let pairs = Pairs::new(step, kind, prefix, true, sides)?;
        let [left, right] = [LEFT, RIGHT].map(|side| pairs.formats[side].layout());
        Ok(Self {
            kind,
            layout: format!("join-as-of/1 {} left {left} right {right}", kind.name()),
            pairs,
            buckets: WindowGrid::tumbling(BUCKET_US, 0).expect("its size is above zero"),
            left: RowsTable::new(LEFT as u8, key_groups.clone()),
            waiting: BinaryHeap::new(),
            versions: MapTable::new(key_groups),
            ending: BinaryHeap::new(),
            watermark_us: NO_WATERMARK,
        })
    }

    pub fn output_schema(&self) -> &SchemaRef {
        self.pairs.output()
    }

    fn take_left(&mut self, keyed: &KeyedBatch, out: &mut Outputs) -> Result<(), StepFault> {
        let KeyedBatch { batch, keys } = keyed;
        let (mut late, mut alone, mut rejects) = (Vec::new(), Vec::new(), Vec::new());
        let writer = self.pairs.formats[LEFT].writer(&batch.columns);
        let mut bytes = Vec::new();
        for row in 0..batch.rows() {
            let time_us = batch.event_times_us[row];
            let kind = batch.changes.kind(row);
            if kind != ChangeKind::Insert {
                let reason = format!("a join takes new rows alone, this one is {kind:?}");
                rejects.push(Reject::new(row as u32, "change-kind", reason));
            } else if time_us < batch.watermarks_us[row].max(self.watermark_us) {
                late.push(row as u32);
            } else if has_null(keys.key(row)) {
                alone.push(row as u32);
            } else if let Some((bucket, _)) = self.buckets.pane_of(time_us) {
                bytes.clear();
                writer.write(row, &mut bytes);
                let (hash, key) = (keys.hashes()[row], keys.key(row));
                let new = NewRow { time_us, is_marked: false, hash, key, row: &bytes };
                let id = self.left.insert(bucket, keys.key_groups()[row], new).map_err(|error| internal(&error))?;
                self.waiting.push(Reverse((time_us, id)));
            } else {
                let reason = format!("nothing can be held for event time {time_us} us in 64-bit microseconds");
                rejects.push(Reject::new(row as u32, "event-time", reason));
            }
        }
        out.reject(STAGE, batch, rejects)?;
        out.push_late(LEFT, batch.take(&late)?);
        if self.kind == JoinKind::Left && !alone.is_empty() {
            let times_us: Vec<i64> = alone.iter().map(|row| batch.event_times_us[*row as usize]).collect();
            let absent = SideRows::Absent(alone.len());
            out.push(0, self.pairs.beside(&SideRows::Incoming(&batch.columns, alone), &absent, times_us)?);
        }
        Ok(())
    }

    fn take_right(&mut self, keyed: &KeyedBatch, out: &mut Outputs) -> Result<(), StepFault> {
        let KeyedBatch { batch, keys } = keyed;
        let writer = self.pairs.formats[RIGHT].writer(&batch.columns);
        let (mut late, mut bytes) = (Vec::new(), Vec::new());
        for row in 0..batch.rows() {
            let is_there = match batch.changes.kind(row) {
                ChangeKind::Insert | ChangeKind::UpdateAfter => true,
                ChangeKind::Delete => false,
                ChangeKind::UpdateBefore => continue,
            };
            if has_null(keys.key(row)) {
                continue;
            }
            bytes.clear();
            if is_there {
                writer.write(row, &mut bytes);
            }
            let version = self.version(batch, row, is_there.then(|| bytes.as_slice().into()));
            if !self.put(keys.key_groups()[row], keys.key(row), version)? {
                late.push(row as u32);
            }
        }
        out.push_late(RIGHT, batch.take(&late)?);
        Ok(())
    }

    fn version(&self, batch: &Batch, row: usize, kept: Option<Box<[u8]>>) -> Version {
        let time_us = batch.event_times_us[row];
        let from_us = time_us.max(batch.watermarks_us[row]).max(self.watermark_us);
        Version { from_us, time_us, row: kept }
    }

    /// Takes in a version, unless a newer one is valid already.
    fn put(&mut self, key_group: u16, key: &[u8], version: Version) -> Result<bool, StepFault> {
        let stored = stored_key(key);
        let (from_us, until_us) = (version.from_us, version.until_us());
        let taken = self.versions.update(key_group, &stored, |held| {
            let versions = held.get_or_insert_default();
            if versions.at(from_us).is_some_and(|newer| newer.time_us > version.time_us) {
                return None;
            }
            versions.0.push(version);
            Some(versions.0.len())
        });
        let taken = taken.map_err(|error| internal(&error))?;
        if taken.is_some() && until_us < i64::MAX {
            self.ending.push(Reverse((until_us, key_group, stored.clone().into())));
        }
        if taken.is_some_and(|versions| versions > 1) {
            self.ending.push(Reverse((from_us, key_group, stored.into())));
        }
        Ok(taken.is_some())
    }

    fn pass(&mut self, watermark_us: i64, out: &mut Outputs) -> Result<(), StepFault> {
        if watermark_us <= self.watermark_us {
            return Ok(());
        }
        self.watermark_us = watermark_us;
        let due = self.take_due();
        for rows in due.chunks(PAIRS_AT_ONCE) {
            self.give(rows, out)?;
        }
        while let Some(bucket) = self.left.first_bucket().filter(|start| self.is_past(self.buckets.end_of(*start) - 1))
        {
            self.left.drop_bucket(bucket);
        }
        self.prune()
    }

    /// Gives out left rows beside what was valid at their time.
    fn give(&mut self, rows: &[(i64, RowId)], out: &mut Outputs) -> Result<(), StepFault> {
        for (_, id) in rows {
            self.warm(*id).map_err(|error| internal(&error))?;
        }
        let (mut left, mut right, mut times_us) = (Vec::new(), Vec::new(), Vec::new());
        for (time_us, id) in rows {
            let Some(row) = self.left.row(*id) else { continue };
            let key = stored_key(self.left.key(*id).unwrap_or_default());
            let versions = self.versions.get(id.key_group, &key);
            let version = versions.and_then(|versions| versions.at(*time_us)?.row.as_deref());
            if version.is_some() || self.kind == JoinKind::Left {
                left.push(Some(row));
                right.push(version);
                times_us.push(*time_us);
            }
        }
        if !times_us.is_empty() {
            out.push(0, self.pairs.beside(&SideRows::Stored(left), &SideRows::Stored(right), times_us)?);
        }
        Ok(())
    }

    /// Brings a left row and the versions of its key into memory.
    fn warm(&mut self, id: RowId) -> Result<(), TableError> {
        self.left.warm_row(id)?;
        let key = stored_key(self.left.key(id).unwrap_or_default());
        self.versions.warm(id.key_group, &key).map(drop)
    }

    /// Left rows that the watermark has passed, by time.
    fn take_due(&mut self) -> Vec<(i64, RowId)> {
        let mut due = Vec::new();
        while let Some(Reverse((time_us, id))) = self.waiting.peek().copied().filter(|next| self.is_past(next.0.0)) {
            self.waiting.pop();
            due.push((time_us, id));
        }
        due
    }

    fn is_past(&self, time_us: i64) -> bool {
        self.watermark_us > time_us || self.watermark_us == END_OF_TIME
    }

    /// Lets versions go whose successor the watermark has reached. A key of which nothing goes is not touched: it would be
    /// written again.
    fn prune(&mut self) -> Result<(), StepFault> {
        while self.ending.peek().is_some_and(|Reverse((from_us, _, _))| *from_us <= self.watermark_us) {
            let Some(Reverse((_, key_group, key))) = self.ending.pop() else { break };
            self.versions.warm(key_group, &key).map_err(|error| internal(&error))?;
            let held = self.versions.get(key_group, &key);
            let Some(left) = held.and_then(|versions| versions.pruned(self.watermark_us)) else { continue };
            let left = Some(left).filter(|left| !left.0.is_empty());
            self.versions.update(key_group, &key, |held| *held = left).map_err(|error| internal(&error))?;
        }
        Ok(())
    }
}

fn stored_key(key: &[u8]) -> Vec<u8> {
    let mut stored = Vec::with_capacity(1 + key.len());
    stored.push(VERSIONS_TAG);
    stored.extend_from_slice(key);
    stored
}

impl KeyedOperator for TemporalJoin {
    fn process(&mut self, port: usize, rows: &KeyedBatch, out: &mut Outputs) -> Result<(), StepFault> {
        match port {
            LEFT => self.take_left(rows, out),
            _ => self.take_right(rows, out),
        }
    }

    fn advance(&mut self, watermark_us: i64, out: &mut Outputs) -> Result<(), StepFault> {
        self.pass(watermark_us, out)
    }

    fn restore_watermark(&mut self, watermark_us: i64) {
        self.watermark_us = self.watermark_us.max(watermark_us);
        // These were given out before the watermark was stored.
        self.take_due();
    }

    fn seal(&mut self, delta: &mut dyn DeltaWriter) {
        self.left.seal(delta);
        self.versions.seal(delta);
    }

    fn for_each(&self, key_group: u16, entry: &mut dyn FnMut(&[u8], &[u8])) -> Result<(), TableError> {
        self.left.for_each(key_group, entry)?;
        self.versions.for_each(key_group, entry)
    }

    fn restore_put(&mut self, key_group: u16, key: &[u8], value: &[u8]) -> Result<(), TableError> {
        if self.left.owns(key) {
            let id = self.left.restore_put(key_group, key, value)?;
            let time_us = self.left.time_us(id).unwrap_or_default();
            self.waiting.push(Reverse((time_us, id)));
            return Ok(());
        }
        self.versions.restore_put(key_group, key, value)?;
        let held = self.versions.get(key_group, key).map(|versions| versions.0.as_slice()).unwrap_or_default();
        if !matches!(held, [Version { row: Some(_), .. }]) {
            let ends = held.iter().flat_map(|version| [version.from_us, version.until_us()]);
            self.ending.extend(ends.map(|end_us| Reverse((end_us, key_group, key.into()))));
        }
        Ok(())
    }

    fn restore_delete(&mut self, key_group: u16, key: &[u8]) -> Result<(), TableError> {
        match self.left.owns(key) {
            true => self.left.restore_delete(key_group, key),
            false => self.versions.restore_delete(key_group, key),
        }
    }

    fn part(&self, key_groups: Range<u16>) -> Box<dyn KeyedOperator> {
        Box::new(Self {
            pairs: self.pairs.clone(),
            layout: self.layout.clone(),
            buckets: self.buckets.clone(),
            left: RowsTable::new(LEFT as u8, key_groups.clone()),
            waiting: BinaryHeap::new(),
            versions: MapTable::new(key_groups),
            ending: BinaryHeap::new(),
            ..*self
        })
    }

    fn absorb(&mut self, part: Box<dyn KeyedOperator>) -> Result<(), TableError> {
        let Self { left, mut waiting, versions, mut ending, .. } = same::<Self>(part);
        self.left.absorb(left)?;
        self.versions.absorb(versions)?;
        self.waiting.append(&mut waiting);
        self.ending.append(&mut ending);
        Ok(())
    }

    fn state_layout(&self) -> &str {
        &self.layout
    }

    fn late_because(&self) -> (&'static str, &'static str) {
        (STAGE, "what was valid then was let go")
    }

    fn keys(&self) -> usize {
        self.left.keys() + self.versions.len()
    }

    fn byte_size(&self) -> usize {
        let waiting = self.waiting.capacity() * size_of::<(i64, RowId)>();
        self.left.byte_size() + self.versions.byte_size() + waiting + self.ending.capacity() * 32
    }

    /// What ends versions stays in memory, so time asks for none of them.
    fn evict(&mut self, bytes: usize, spill: &Spill) -> std::io::Result<usize> {
        let evicted = self.left.evict(bytes, spill)?;
        Ok(evicted + self.versions.evict(bytes.saturating_sub(evicted), spill, |_| Leaving::UntilAsked)?)
    }

    fn held(&self, key_group: u16, key: &[u8]) -> Result<Vec<HeldEntry>, TableError> {
        let left = self.left.rows_of(key_group, weir_stream::key::hash(key), key)?;
        let left = left.into_iter().map(|(time_us, _)| {
            let due = DueAt::watermark(time_us.saturating_add(1), "comes out");
            HeldEntry::new("left row").span(time_us, time_us).due(Some(due))
        });
        let versions = self.versions.peek(key_group, &stored_key(key))?.unwrap_or_default().0;
        let versions = versions.into_iter().map(|version| {
            let what = if version.row.is_some() { "version" } else { "deletion" };
            HeldEntry::new(what).span(version.from_us, version.from_us)
        });
        Ok(left.chain(versions).collect())
    }

    fn cold_bytes(&self) -> u64 {
        self.left.cold_bytes() + self.versions.cold_bytes()
    }
}
