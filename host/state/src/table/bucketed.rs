//! All tables of one step in one task: by bucket, then by key group; in memory, or cold and on disk.
//!
//! Invariant: only key groups of the task's range are held, and a bucket that was dropped after it became durable
//! is deleted by the next delta, before anything is put into it again. A table on disk has nothing that a delta would
//! write; who touches it has it in memory again, and what it holds is the same.

use std::collections::BTreeMap;
use std::io;
use std::ops::Range;

use weir_stream::key;

use super::cold::ColdTable;
use super::{BUCKET_BYTES, DeltaWriter, KeyTable, Slots, TableError, bucket_bytes, split_key};
use crate::spill::Spill;

/// State of one step for a range of key groups, bucketed by time.
#[derive(Debug, Clone)]
pub struct BucketedTable<S> {
    /// The columns of a table without keys.
    empty: S,
    key_groups: Range<u16>,
    /// Per bucket one entry per key group of the range.
    buckets: BTreeMap<i64, Vec<Held<S>>>,
    /// Durable tables that were dropped since the last seal.
    dropped: Vec<(u16, i64)>,
    /// Seals so far: how cold a table is, is told by the seal before its last touch.
    seals: u64,
}

#[derive(Debug, Clone)]
enum Held<S> {
    Nothing,
    Hot(Box<KeyTable<S>>),
    Cold(ColdTable),
}

impl<S: Slots + Clone> Held<S> {
    fn hot(&self) -> Option<&KeyTable<S>> {
        if let Self::Hot(table) = self { Some(table) } else { None }
    }

    fn is_durable(&self) -> bool {
        match self {
            Self::Nothing => false,
            Self::Hot(table) => table.is_durable(),
            Self::Cold(_) => true,
        }
    }

    /// The table in memory; `None` for nothing.
    fn into_hot(self, key_group: u16, empty: &S) -> Result<Option<Box<KeyTable<S>>>, TableError> {
        match self {
            Self::Nothing => Ok(None),
            Self::Hot(table) => Ok(Some(table)),
            Self::Cold(cold) => Ok(Some(Box::new(cold.read(key_group, empty)?))),
        }
    }
}

impl<S: Slots + Clone> BucketedTable<S> {
    pub fn new(empty: S, key_groups: Range<u16>) -> Self {
        Self { empty, key_groups, buckets: BTreeMap::new(), dropped: Vec::new(), seals: 0 }
    }

    pub fn key_groups(&self) -> Range<u16> {
        self.key_groups.clone()
    }

    /// The columns of a table without keys.
    pub fn empty(&self) -> &S {
        &self.empty
    }

    /// The table of one key group in one bucket, made if absent, read back if it was cold.
    ///
    /// # Errors
    /// When the key group is not of this task, or a cold table cannot be read back.
    pub fn table(&mut self, bucket: i64, key_group: u16) -> Result<&mut KeyTable<S>, TableError> {
        let (empty, seals) = (&self.empty, self.seals);
        let held = held(&mut self.buckets, &self.key_groups, bucket, key_group)?;
        match held {
            Held::Hot(_) => {}
            Held::Nothing => *held = Held::Hot(Box::new(KeyTable::new(empty.clone()))),
            Held::Cold(cold) => *held = Held::Hot(Box::new(cold.read(key_group, empty)?)),
        }
        let Held::Hot(table) = held else { unreachable!("it was just put there") };
        table.touched_at = seals;
        Ok(table)
    }

    /// The buckets held, ascending.
    pub fn buckets(&self) -> impl Iterator<Item = i64> {
        self.buckets.keys().copied()
    }

    pub fn first_bucket(&self) -> Option<i64> {
        self.buckets.first_key_value().map(|(bucket, _)| *bucket)
    }

    /// The first bucket that is not before `from`.
    pub fn first_bucket_from(&self, from: i64) -> Option<i64> {
        self.buckets.range(from..).next().map(|(bucket, _)| *bucket)
    }

    /// The tables of a bucket, each with its key group, in order; cold ones are read back.
    ///
    /// # Errors
    /// When a cold table cannot be read back.
    pub fn bucket(&mut self, bucket: i64) -> Result<impl Iterator<Item = (u16, &KeyTable<S>)>, TableError> {
        let (empty, seals, key_groups) = (&self.empty, self.seals, self.key_groups.clone());
        let tables = self.buckets.get_mut(&bucket).map_or(&mut [][..], Vec::as_mut_slice);
        for (key_group, held) in key_groups.clone().zip(tables.iter_mut()) {
            if let Held::Cold(cold) = held {
                let mut table = cold.read(key_group, empty)?;
                table.touched_at = seals;
                *held = Held::Hot(Box::new(table));
            }
        }
        Ok(key_groups.zip(&*tables).filter_map(|(key_group, held)| Some((key_group, held.hot()?))))
    }

    /// Takes a bucket out, with its tables in order of key group. The next delta deletes what was durable of it.
    ///
    /// # Errors
    /// When a cold table cannot be read back.
    pub fn take_bucket(&mut self, bucket: i64) -> Result<Vec<KeyTable<S>>, TableError> {
        let tables = self.buckets.remove(&bucket).unwrap_or_default();
        let mut taken = Vec::new();
        for (key_group, table) in self.key_groups.clone().zip(tables) {
            if table.is_durable() {
                self.dropped.push((key_group, bucket));
            }
            taken.extend(table.into_hot(key_group, &self.empty)?.map(|table| *table));
        }
        Ok(taken)
    }

    /// Writes what changed since the last seal and starts anew.
    pub fn seal(&mut self, delta: &mut dyn DeltaWriter) {
        self.seals += 1;
        for (key_group, bucket) in self.dropped.drain(..) {
            delta.delete(key_group, &bucket_bytes(bucket));
        }
        let (mut stored, mut value) = (Vec::new(), Vec::new());
        for (bucket, tables) in &mut self.buckets {
            stored.clear();
            stored.extend_from_slice(&bucket_bytes(*bucket));
            for (key_group, table) in self.key_groups.clone().zip(tables) {
                if let Held::Hot(table) = table {
                    table.seal(key_group, &mut stored, &mut value, delta);
                }
            }
        }
    }

    /// Writes unchanged tables away, those first that were touched longest ago, until `bytes` are out of memory.
    /// Answers how many are. Meant for the moment after a seal: what changed since the last one stays.
    ///
    /// # Errors
    /// The disk's; what was not written away is still in memory.
    pub fn evict(&mut self, bytes: usize, spill: &Spill) -> io::Result<usize> {
        let mut candidates = Vec::new();
        for (bucket, tables) in &self.buckets {
            let unchanged = |held: &Held<S>| held.hot().filter(|table| table.is_unchanged()).map(|hot| hot.touched_at);
            let numbered = tables.iter().enumerate();
            candidates.extend(numbered.filter_map(|(group, held)| Some((unchanged(held)?, *bucket, group))));
        }
        candidates.sort_unstable();
        let mut evicted = 0;
        for (_, bucket, group) in candidates {
            if evicted >= bytes {
                break;
            }
            let held = self.buckets.get_mut(&bucket).and_then(|tables| tables.get_mut(group));
            if let Some(held) = held
                && let Held::Hot(table) = held
            {
                let cold = ColdTable::write(table, spill)?;
                evicted += table.byte_size();
                *held = Held::Cold(cold);
            }
        }
        Ok(evicted)
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
            tables[usize::from(key_group - first)] = Held::Nothing;
            if tables.iter().all(|held| matches!(held, Held::Nothing)) {
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
        for (bucket, tables) in part.buckets {
            for (key_group, table) in part.key_groups.clone().zip(tables) {
                if !matches!(table, Held::Nothing) {
                    *held(&mut self.buckets, &self.key_groups, bucket, key_group)? = table;
                }
            }
        }
        self.dropped.extend(part.dropped);
        Ok(())
    }

    /// Every entry of one key group as a delta would put it: what a snapshot of the key group holds. Meant for the
    /// moment after a seal.
    ///
    /// # Errors
    /// When a cold table cannot be read back: what was given out then is not the whole.
    pub fn for_each(&self, key_group: u16, mut entry: impl FnMut(&[u8], &[u8])) -> Result<(), TableError> {
        let Some(group) = key_group.checked_sub(self.key_groups.start) else { return Ok(()) };
        let (mut stored, mut value) = (Vec::new(), Vec::new());
        for (bucket, tables) in &self.buckets {
            let mut put = |key: &[u8], value: &[u8]| {
                stored.clear();
                stored.extend_from_slice(&bucket_bytes(*bucket));
                stored.extend_from_slice(key);
                entry(&stored, value);
            };
            match tables.get(usize::from(group)) {
                None | Some(Held::Nothing) => {}
                Some(Held::Cold(cold)) => cold.for_each(key_group, put)?,
                Some(Held::Hot(table)) => {
                    for slot in 0..table.len() as u32 {
                        value.clear();
                        table.slots().write(slot as usize, &mut value);
                        put(table.key(slot), &value);
                    }
                }
            }
        }
        Ok(())
    }

    /// The buckets that hold a key, ascending; cold tables are looked at where they are.
    ///
    /// # Errors
    /// When a cold table cannot be read.
    pub fn buckets_of(&self, key_group: u16, key: &[u8]) -> Result<Vec<i64>, TableError> {
        let Some(group) = key_group.checked_sub(self.key_groups.start) else { return Ok(Vec::new()) };
        let (hash, mut found) = (key::hash(key), Vec::new());
        for (bucket, tables) in &self.buckets {
            let mut is_held = false;
            match tables.get(usize::from(group)) {
                None | Some(Held::Nothing) => {}
                Some(Held::Hot(table)) => is_held = table.find(hash, key).is_some(),
                Some(Held::Cold(cold)) => cold.for_each(key_group, |stored, _| is_held |= stored == key)?,
            }
            found.extend(is_held.then_some(*bucket));
        }
        Ok(found)
    }

    /// Keys held, in all buckets, cold ones too.
    pub fn keys(&self) -> usize {
        let keys = |held: &Held<S>| match held {
            Held::Nothing => 0,
            Held::Hot(table) => table.len(),
            Held::Cold(cold) => cold.keys(),
        };
        self.all().map(keys).sum()
    }

    /// Bytes held in memory.
    pub fn byte_size(&self) -> usize {
        let per_bucket = usize::from(self.key_groups.end - self.key_groups.start) * size_of::<Held<S>>() + BUCKET_BYTES;
        self.buckets.len() * per_bucket + self.all().filter_map(Held::hot).map(KeyTable::byte_size).sum::<usize>()
    }

    /// Bytes of cold tables, on disk.
    pub fn cold_bytes(&self) -> u64 {
        self.all().map(|held| if let Held::Cold(cold) = held { cold.bytes() } else { 0 }).sum()
    }

    fn all(&self) -> impl Iterator<Item = &Held<S>> {
        self.buckets.values().flatten()
    }
}

/// What a bucket holds of a key group, the bucket being made if it is new.
fn held<'a, S>(
    buckets: &'a mut BTreeMap<i64, Vec<Held<S>>>,
    key_groups: &Range<u16>,
    bucket: i64,
    key_group: u16,
) -> Result<&'a mut Held<S>, TableError> {
    let Range { start: first, end } = *key_groups;
    if !key_groups.contains(&key_group) {
        return Err(TableError::ForeignKeyGroup { key_group, first, end });
    }
    let tables = buckets.entry(bucket).or_insert_with(|| (first..end).map(|_| Held::Nothing).collect());
    Ok(&mut tables[usize::from(key_group - first)])
}
