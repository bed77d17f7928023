//! All tables of one step in one task: by bucket, then by key group.
//!
//! Invariant: only key groups of the task's range are held, and a bucket that was dropped after it became durable
//! is deleted by the next delta, before anything is put into it again.

use std::collections::BTreeMap;
use std::ops::Range;

use weir_stream::key;

use super::{BUCKET_BYTES, DeltaWriter, KeyTable, Slots, TableError, bucket_bytes, split_key};

/// State of one step for a range of key groups, bucketed by time.
#[derive(Debug, Clone)]
pub struct BucketedTable<S> {
    /// The columns of a table without keys.
    empty: S,
    key_groups: Range<u16>,
    /// Per bucket one entry per key group of the range.
    buckets: BTreeMap<i64, Vec<Option<Box<KeyTable<S>>>>>,
    /// Durable tables that were dropped since the last seal.
    dropped: Vec<(u16, i64)>,
}

impl<S: Slots + Clone> BucketedTable<S> {
    pub fn new(empty: S, key_groups: Range<u16>) -> Self {
        Self { empty, key_groups, buckets: BTreeMap::new(), dropped: Vec::new() }
    }

    pub fn key_groups(&self) -> Range<u16> {
        self.key_groups.clone()
    }

    /// The columns of a table without keys.
    pub fn empty(&self) -> &S {
        &self.empty
    }

    /// The table of one key group in one bucket, made if absent.
    ///
    /// # Errors
    /// When the key group is not of this task.
    pub fn table(&mut self, bucket: i64, key_group: u16) -> Result<&mut KeyTable<S>, TableError> {
        let Range { start: first, end } = self.key_groups;
        if !self.key_groups.contains(&key_group) {
            return Err(TableError::ForeignKeyGroup { key_group, first, end });
        }
        let tables = self.buckets.entry(bucket).or_insert_with(|| (first..end).map(|_| None).collect());
        let table = &mut tables[usize::from(key_group - first)];
        Ok(table.get_or_insert_with(|| Box::new(KeyTable::new(self.empty.clone()))))
    }

    /// The buckets held, ascending.
    pub fn buckets(&self) -> impl Iterator<Item = i64> {
        self.buckets.keys().copied()
    }

    pub fn first_bucket(&self) -> Option<i64> {
        self.buckets.first_key_value().map(|(bucket, _)| *bucket)
    }

    /// Takes a bucket out, with its tables in order of key group. The next delta deletes what was durable of it.
    ///
    /// # Errors
    /// When a table that is not in memory cannot be read back.
    pub fn take_bucket(&mut self, bucket: i64) -> Result<Vec<KeyTable<S>>, TableError> {
        let tables = self.buckets.remove(&bucket).unwrap_or_default();
        let numbered = self.key_groups.clone().zip(tables);
        let mut taken = Vec::new();
        for (key_group, table) in numbered.filter_map(|(group, table)| Some((group, table?))) {
            if table.is_durable() {
                self.dropped.push((key_group, bucket));
            }
            taken.push(*table);
        }
        Ok(taken)
    }

    /// Writes what changed since the last seal and starts anew.
    pub fn seal(&mut self, delta: &mut dyn DeltaWriter) {
        for (key_group, bucket) in self.dropped.drain(..) {
            delta.delete(key_group, &bucket_bytes(bucket));
        }
        let (mut stored, mut value) = (Vec::new(), Vec::new());
        for (bucket, tables) in &mut self.buckets {
            stored.clear();
            stored.extend_from_slice(&bucket_bytes(*bucket));
            let numbered = self.key_groups.clone().zip(tables);
            for (key_group, table) in numbered.filter_map(|(group, table)| Some((group, table.as_mut()?))) {
                table.seal(key_group, &mut stored, &mut value, delta);
            }
        }
    }

    /// Puts a stored entry back; it counts as durable and unchanged.
    ///
    /// # Errors
    /// When the entry cannot have been written by such a table.
    pub fn restore_put(&mut self, key_group: u16, stored: &[u8], value: &[u8]) -> Result<(), TableError> {
        let (bucket, key) = split_key(key_group, stored)?;
        self.table(bucket, key_group)?.restore(key_group, key::hash(key), key, value)
    }

    /// Replays a stored deletion: of a whole bucket, the only one there is.
    ///
    /// # Errors
    /// When the entry cannot have been written by such a table.
    pub fn restore_delete(&mut self, key_group: u16, stored: &[u8]) -> Result<(), TableError> {
        let (bucket, key) = split_key(key_group, stored)?;
        let Range { start: first, end } = self.key_groups;
        if !self.key_groups.contains(&key_group) {
            return Err(TableError::ForeignKeyGroup { key_group, first, end });
        }
        if !key.is_empty() {
            return Err(TableError::DeleteOfOneKey { key_group });
        }
        if let Some(tables) = self.buckets.get_mut(&bucket) {
            tables[usize::from(key_group - first)] = None;
            if tables.iter().all(Option::is_none) {
                self.buckets.remove(&bucket);
            }
        }
        Ok(())
    }

    /// Moves in the tables of `part`, loaded apart for some of this table's key groups (on another thread, say).
    ///
    /// # Errors
    /// When a key group of the part is not of this task.
    pub fn absorb(&mut self, part: Self) -> Result<(), TableError> {
        let Range { start: first, end } = self.key_groups;
        for (bucket, tables) in part.buckets {
            let numbered = part.key_groups.clone().zip(tables);
            for (key_group, table) in numbered.filter_map(|(group, table)| Some((group, table?))) {
                if !self.key_groups.contains(&key_group) {
                    return Err(TableError::ForeignKeyGroup { key_group, first, end });
                }
                let tables = self.buckets.entry(bucket).or_insert_with(|| (first..end).map(|_| None).collect());
                tables[usize::from(key_group - first)] = Some(table);
            }
        }
        self.dropped.extend(part.dropped);
        Ok(())
    }

    /// Every entry of one key group as a delta would put it: what a snapshot of the key group holds. Meant for the
    /// moment after a seal.
    ///
    /// # Errors
    /// When a table that is not in memory cannot be read back.
    pub fn for_each(&self, key_group: u16, mut entry: impl FnMut(&[u8], &[u8])) -> Result<(), TableError> {
        let Some(group) = key_group.checked_sub(self.key_groups.start) else { return Ok(()) };
        let (mut stored, mut value) = (Vec::new(), Vec::new());
        for (bucket, tables) in &self.buckets {
            let Some(Some(table)) = tables.get(usize::from(group)) else { continue };
            for slot in 0..table.len() as u32 {
                stored.clear();
                stored.extend_from_slice(&bucket_bytes(*bucket));
                stored.extend_from_slice(table.key(slot));
                value.clear();
                table.slots().write(slot as usize, &mut value);
                entry(&stored, &value);
            }
        }
        Ok(())
    }

    /// Keys held, in all buckets.
    pub fn keys(&self) -> usize {
        self.tables().map(KeyTable::len).sum()
    }

    /// Bytes held.
    pub fn byte_size(&self) -> usize {
        let per_bucket = usize::from(self.key_groups.end - self.key_groups.start) * size_of::<usize>() + BUCKET_BYTES;
        self.buckets.len() * per_bucket + self.tables().map(KeyTable::byte_size).sum::<usize>()
    }

    fn tables(&self) -> impl Iterator<Item = &KeyTable<S>> {
        self.buckets.values().flatten().flatten().map(Box::as_ref)
    }
}
