//! Rows of one bucket and key group that are not in memory.
//!
//! On disk they are puts of a delta, under their number alone, in its order: read back, every row has its number again.
//! Of their keys half of each hash stays in memory, so that a key that has no row there brings nothing back.

use std::io;
use std::ops::RangeInclusive;

use super::{BUCKET_BYTES, Bucket, RowId, RowsTable, parse};
use crate::record::{DeltaBuilder, Op, Ops};
use crate::spill::{Spill, Spilled};
use crate::table::TableError;

/// What is held of one bucket and key group.
#[derive(Debug, Clone)]
pub(super) enum Held {
    Nothing,
    Hot(Box<Bucket>),
    Cold(ColdBucket),
}

impl Held {
    pub(super) fn hot(&self) -> Option<&Bucket> {
        if let Self::Hot(bucket) = self { Some(bucket) } else { None }
    }

    pub(super) fn hot_mut(&mut self) -> Option<&mut Bucket> {
        if let Self::Hot(bucket) = self { Some(bucket) } else { None }
    }
}

#[derive(Debug, Clone)]
pub(super) struct ColdBucket {
    spilled: Spilled,
    /// Of each key, ascending.
    tags: Box<[u32]>,
}

impl RowsTable {
    /// Brings the rows into memory that a key may have in a range of buckets.
    ///
    /// # Errors
    /// When they cannot be read back.
    pub fn warm(&mut self, buckets: RangeInclusive<i64>, key_group: u16, hash: u64) -> Result<(), TableError> {
        let Some(group) = key_group.checked_sub(self.key_groups.start).map(usize::from) else { return Ok(()) };
        let seals = self.seals;
        for held in self.buckets.range_mut(buckets).filter_map(|(_, groups)| groups.get_mut(group)) {
            if let Held::Cold(cold) = held
                && cold.may_hold(hash)
            {
                *held = Held::Hot(Box::new(Bucket { touched_at: seals, ..cold.read(key_group)? }));
            }
        }
        Ok(())
    }

    /// Brings the rows into memory that `id` is one of, if they are held.
    ///
    /// # Errors
    /// When they cannot be read back.
    pub fn warm_row(&mut self, id: RowId) -> Result<(), TableError> {
        let group = id.key_group.checked_sub(self.key_groups.start).map(usize::from);
        let held = group.and_then(|group| self.buckets.get(&id.bucket)?.get(group));
        if matches!(held, Some(Held::Cold(_))) {
            self.bucket(id.bucket, id.key_group)?;
        }
        Ok(())
    }

    /// Writes unchanged rows away, those first that were touched longest ago, until `bytes` are out of memory; answers how
    /// many are. Meant for the moment after a seal: what changed since the last one stays.
    ///
    /// # Errors
    /// The disk's; what was not written away is still in memory.
    pub fn evict(&mut self, bytes: usize, spill: &Spill) -> io::Result<usize> {
        let mut candidates = Vec::new();
        for (start, groups) in &self.buckets {
            let unchanged = |held: &Held| held.hot().filter(|hot| hot.is_unchanged()).map(|hot| hot.touched_at);
            let numbered = groups.iter().enumerate();
            candidates.extend(numbered.filter_map(|(group, held)| Some((unchanged(held)?, *start, group))));
        }
        candidates.sort_unstable();
        let mut evicted = 0;
        for (_, start, group) in candidates {
            if evicted >= bytes {
                break;
            }
            let held = self.buckets.get_mut(&start).and_then(|groups| groups.get_mut(group));
            if let Some(held) = held
                && let Held::Hot(bucket) = held
            {
                let cold = ColdBucket::write(bucket, spill)?;
                evicted += bucket.byte_size().saturating_sub(cold.byte_size());
                *held = Held::Cold(cold);
            }
        }
        Ok(evicted)
    }

    /// Time of each row of a key and whether it is marked, wherever they are; they stay there.
    ///
    /// # Errors
    /// When cold rows cannot be read.
    pub fn rows_of(&self, key_group: u16, hash: u64, key: &[u8]) -> Result<Vec<(i64, bool)>, TableError> {
        let Some(group) = key_group.checked_sub(self.key_groups.start).map(usize::from) else { return Ok(Vec::new()) };
        let mut rows = Vec::new();
        let mut look = |bucket: &Bucket| {
            let row = |number: u32| (bucket.rows[number as usize].time_us, bucket.rows[number as usize].is_marked);
            rows.extend(bucket.first(hash, key).into_iter().flat_map(|first| bucket.chain(first)).map(row));
        };
        for held in self.buckets.values().filter_map(|groups| groups.get(group)) {
            match held {
                Held::Hot(bucket) => look(bucket),
                Held::Cold(cold) if cold.may_hold(hash) => look(&cold.read(key_group)?),
                Held::Nothing | Held::Cold(_) => {}
            }
        }
        Ok(rows)
    }

    /// Bytes of cold rows, on disk.
    pub fn cold_bytes(&self) -> u64 {
        self.all().map(|held| if let Held::Cold(cold) = held { cold.spilled.bytes() } else { 0 }).sum()
    }
}

impl Bucket {
    /// Whether a snapshot and the deltas so far hold all of it.
    fn is_unchanged(&self) -> bool {
        self.sealed > 0 && self.sealed as usize == self.rows.len() && self.marked.is_empty()
    }
}

impl ColdBucket {
    fn write(bucket: &Bucket, spill: &Spill) -> io::Result<Self> {
        let mut puts = DeltaBuilder::new(0, 0);
        let (mut stored, mut value) = (vec![0; 1 + BUCKET_BYTES], Vec::new());
        for number in 0..bucket.rows.len() as u32 {
            bucket.write(number, &mut stored, &mut value);
            puts.put(&stored[1 + BUCKET_BYTES..], &value);
        }
        let keys = 0..bucket.index.len() as u32;
        let mut tags: Vec<u32> = keys.map(|slot| tag(weir_stream::key::hash(bucket.index.key(slot)))).collect();
        tags.sort_unstable();
        Ok(Self { spilled: spill.write(&puts.finish().bytes)?, tags: tags.into() })
    }

    fn may_hold(&self, hash: u64) -> bool {
        self.tags.binary_search(&tag(hash)).is_ok()
    }

    pub(super) fn keys(&self) -> usize {
        self.tags.len()
    }

    pub(super) fn byte_size(&self) -> usize {
        self.tags.len() * size_of::<u32>()
    }

    /// The rows as they were.
    pub(super) fn read(&self, key_group: u16) -> Result<Bucket, TableError> {
        let (mut bucket, mut whole) = (Bucket::default(), true);
        self.for_each(key_group, |_, value| match parse(value) {
            Some(row) => {
                bucket.push(row);
            }
            None => whole = false,
        })?;
        if !whole {
            return Err(cold(key_group, "a row is too short"));
        }
        bucket.sealed = bucket.rows.len() as u32;
        Ok(bucket)
    }

    /// Every row: its number as it is stored, and its value.
    pub(super) fn for_each(&self, key_group: u16, mut row: impl FnMut(&[u8], &[u8])) -> Result<(), TableError> {
        let bytes = self.spilled.read().map_err(|reason| cold(key_group, &reason))?;
        for op in Ops::new(&bytes) {
            match op {
                Some(Op::Put { key, value }) => row(key, value),
                _ => return Err(cold(key_group, "its rows cannot be told apart")),
            }
        }
        Ok(())
    }
}

fn cold(key_group: u16, reason: &str) -> TableError {
    TableError::Cold { key_group, reason: reason.to_owned() }
}

fn tag(hash: u64) -> u32 {
    (hash >> 32) as u32
}
