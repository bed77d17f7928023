//! Rows by time bucket and key, many of one key: what the sides of a join hold.
//!
//! Invariant: rows enter one by one and leave with their bucket only; the rows of a key in one bucket keep the order in
//! which they came. A delta is proportional to the rows that came or were marked since the last seal.
//!
//! Stored, per key group; `tag` tells apart several tables of one step:
//!
//! | key                                        | value                                             | meaning |
//! | ------------------------------------------ | ------------------------------------------------- | ------- |
//! | tag, bucket (8 bytes), row number (u32, big-endian) | mark (1 byte), time (i64), length of the key (u32), both little-endian, the key, the row | the row, whole |
//! | the same                                   | `01` alone                                        | the row, stored before, is marked |
//! | tag, bucket                                | deletion                                          | every row of that bucket is gone |
//!
//! What a mark says, and the bytes of a row, are the owner's.
//!
//! The rows of a bucket and key group may leave memory together ([`RowsTable::evict`]). Who changes them has them in memory
//! again; who only looks brings them there first ([`RowsTable::warm`], [`RowsTable::warm_row`]).

mod cold;

use std::collections::BTreeMap;
use std::ops::{Range, RangeInclusive};

use super::{BUCKET_BYTES, DeltaWriter, KeyIndex, TableError, bucket_bytes, split_key};
use cold::Held;

/// One row's place.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RowId {
    pub bucket: i64,
    pub key_group: u16,
    pub number: u32,
}

/// A row that comes in.
#[derive(Debug, Clone, Copy)]
pub struct NewRow<'a> {
    pub time_us: i64,
    pub is_marked: bool,
    /// `weir_stream::key::hash` of the key.
    pub hash: u64,
    pub key: &'a [u8],
    pub row: &'a [u8],
}

/// Rows of one step and input for a range of key groups.
#[derive(Debug, Clone)]
pub struct RowsTable {
    tag: u8,
    key_groups: Range<u16>,
    buckets: BTreeMap<i64, Vec<Held>>,
    /// Durable buckets dropped since the last seal.
    dropped: Vec<(u16, i64)>,
    /// Seals so far: how cold rows are, is told by the seal before their last touch.
    seals: u64,
}

/// No next row.
const END: u32 = u32::MAX;

/// The rows of one key group in one bucket.
#[derive(Debug, Clone, Default)]
struct Bucket {
    index: KeyIndex,
    /// First and last row by the key's slot.
    ends: Vec<(u32, u32)>,
    rows: Vec<Row>,
    bytes: Vec<u8>,
    /// Rows before this one are durable.
    sealed: u32,
    /// Durable rows marked since the last seal.
    marked: Vec<u32>,
    /// The seal before the last touch.
    touched_at: u64,
}

#[derive(Debug, Clone, Copy)]
struct Row {
    time_us: i64,
    start: u64,
    slot: u32,
    /// The next row of the same key.
    next: u32,
    is_marked: bool,
}

impl RowsTable {
    pub fn new(tag: u8, key_groups: Range<u16>) -> Self {
        Self { tag, key_groups, buckets: BTreeMap::new(), dropped: Vec::new(), seals: 0 }
    }

    /// The rows of a bucket, made if absent, read back if they were cold.
    fn bucket(&mut self, bucket: i64, key_group: u16) -> Result<&mut Bucket, TableError> {
        let Range { start: first, end } = self.key_groups;
        if !self.key_groups.contains(&key_group) {
            return Err(TableError::ForeignKeyGroup { key_group, first, end });
        }
        let groups = self.buckets.entry(bucket).or_insert_with(|| (first..end).map(|_| Held::Nothing).collect());
        let held = &mut groups[usize::from(key_group - first)];
        match held {
            Held::Hot(_) => {}
            Held::Nothing => *held = Held::Hot(Box::default()),
            Held::Cold(cold) => *held = Held::Hot(Box::new(cold.read(key_group)?)),
        }
        let bucket = held.hot_mut().expect("it was put there just now");
        bucket.touched_at = self.seals;
        Ok(bucket)
    }

    fn held(&self, bucket: i64, key_group: u16) -> Option<&Bucket> {
        let group = key_group.checked_sub(self.key_groups.start)?;
        self.buckets.get(&bucket)?.get(usize::from(group))?.hot()
    }

    /// # Errors
    /// When the key group is not of this task, or the rows of its bucket cannot be read back.
    pub fn insert(&mut self, bucket: i64, key_group: u16, row: NewRow) -> Result<RowId, TableError> {
        let number = self.bucket(bucket, key_group)?.push(row);
        Ok(RowId { bucket, key_group, number })
    }

    /// The rows of a key in a range of buckets, of those that are in memory: by bucket, then in the order in which they came.
    pub fn find(
        &self,
        buckets: RangeInclusive<i64>,
        key_group: u16,
        hash: u64,
        key: &[u8],
    ) -> impl Iterator<Item = RowId> {
        let group = key_group.checked_sub(self.key_groups.start).map(usize::from);
        let groups = self.buckets.range(buckets).filter_map(move |(start, groups)| {
            let bucket = groups.get(group?)?.hot()?;
            Some((*start, bucket, bucket.first(hash, key)?))
        });
        groups.flat_map(move |(start, bucket, first)| {
            bucket.chain(first).map(move |number| RowId { bucket: start, key_group, number })
        })
    }

    /// The bytes of a row, if it is held in memory.
    pub fn row(&self, id: RowId) -> Option<&[u8]> {
        let bucket = self.held(id.bucket, id.key_group)?;
        (id.number < bucket.rows.len() as u32).then(|| bucket.bytes_of(id.number))
    }

    pub fn time_us(&self, id: RowId) -> Option<i64> {
        Some(self.held(id.bucket, id.key_group)?.rows.get(id.number as usize)?.time_us)
    }

    /// Whether a row is marked; one that is not held is not.
    pub fn is_marked(&self, id: RowId) -> bool {
        let row = self.held(id.bucket, id.key_group).and_then(|bucket| bucket.rows.get(id.number as usize));
        row.is_some_and(|row| row.is_marked)
    }

    /// The key that a held row was put in under.
    pub fn key(&self, id: RowId) -> Option<&[u8]> {
        let bucket = self.held(id.bucket, id.key_group)?;
        Some(bucket.index.key(bucket.rows.get(id.number as usize)?.slot))
    }

    /// Marks a held row.
    pub fn mark(&mut self, id: RowId) {
        if let Ok(bucket) = self.bucket(id.bucket, id.key_group) {
            bucket.mark(id.number);
        }
    }

    pub fn first_bucket(&self) -> Option<i64> {
        self.buckets.first_key_value().map(|(bucket, _)| *bucket)
    }

    /// Lets a bucket go with all its rows. The next delta deletes what was durable of it.
    pub fn drop_bucket(&mut self, bucket: i64) {
        let groups = self.buckets.remove(&bucket).unwrap_or_default();
        for (key_group, held) in self.key_groups.clone().zip(groups) {
            let is_durable = match held {
                Held::Nothing => false,
                Held::Hot(bucket) => bucket.sealed > 0,
                Held::Cold(_) => true,
            };
            if is_durable {
                self.dropped.push((key_group, bucket));
            }
        }
    }

    /// Every row in memory, with its time and whether it is marked: by bucket, key group and number.
    pub fn rows(&self) -> impl Iterator<Item = (RowId, i64, bool)> {
        self.buckets.iter().flat_map(move |(start, groups)| {
            let held = self.key_groups.clone().zip(groups);
            let held = held.filter_map(|(key_group, bucket)| Some((key_group, bucket.hot()?)));
            held.flat_map(move |(key_group, bucket)| {
                let id = move |number| RowId { bucket: *start, key_group, number };
                (0u32..).zip(&bucket.rows).map(move |(number, row)| (id(number), row.time_us, row.is_marked))
            })
        })
    }

    /// Writes what changed since the last seal and starts anew.
    pub fn seal(&mut self, delta: &mut dyn DeltaWriter) {
        self.seals += 1;
        for (key_group, bucket) in self.dropped.drain(..) {
            delta.delete(key_group, &stored_bucket(self.tag, bucket));
        }
        let mut value = Vec::new();
        for (start, groups) in &mut self.buckets {
            let mut stored = stored_bucket(self.tag, *start);
            let held = self.key_groups.clone().zip(groups);
            for (key_group, bucket) in held.filter_map(|(group, bucket)| Some((group, bucket.hot_mut()?))) {
                bucket.seal(key_group, &mut stored, &mut value, delta);
            }
        }
    }

    /// Whether a stored entry is of this table, by its tag.
    pub fn owns(&self, stored: &[u8]) -> bool {
        stored.first() == Some(&self.tag)
    }

    /// Puts a stored entry back; it counts as durable and unchanged.
    ///
    /// # Errors
    /// When the entry cannot have been written by such a table.
    pub fn restore_put(&mut self, key_group: u16, stored: &[u8], value: &[u8]) -> Result<RowId, TableError> {
        let (bucket, number) = split_key(key_group, stored.get(1..).unwrap_or_default())?;
        let short = TableError::ShortKey { key_group, bytes: stored.len() };
        let number = u32::from_be_bytes(*number.first_chunk().filter(|_| number.len() == 4).ok_or(short)?);
        let refused = |reason: &str| TableError::Value { key_group, reason: reason.into() };
        let held = self.bucket(bucket, key_group)?;
        if value == [MARKED] {
            let row = held.rows.get_mut(number as usize).ok_or_else(|| refused("a mark on a row that is not there"))?;
            row.is_marked = true;
        } else {
            let row = parse(value).ok_or_else(|| refused("it is too short for a row"))?;
            if number as usize != held.rows.len() {
                return Err(refused(&format!("row {number} where row {} comes next", held.rows.len())));
            }
            held.push(row);
            held.sealed = held.rows.len() as u32;
        }
        Ok(RowId { bucket, key_group, number })
    }

    /// Replays a stored deletion: of a whole bucket, the only one there is.
    ///
    /// # Errors
    /// When the entry cannot have been written by such a table.
    pub fn restore_delete(&mut self, key_group: u16, stored: &[u8]) -> Result<(), TableError> {
        let (bucket, rest) = split_key(key_group, stored.get(1..).unwrap_or_default())?;
        let Range { start: first, end } = self.key_groups;
        if !self.key_groups.contains(&key_group) {
            return Err(TableError::ForeignKeyGroup { key_group, first, end });
        }
        if !rest.is_empty() {
            return Err(TableError::DeleteOfOneKey { key_group });
        }
        if let Some(groups) = self.buckets.get_mut(&bucket) {
            groups[usize::from(key_group - first)] = Held::Nothing;
            if groups.iter().all(|held| matches!(held, Held::Nothing)) {
                self.buckets.remove(&bucket);
            }
        }
        Ok(())
    }

    /// Moves in the rows of `part`, loaded apart for some of this table's key groups.
    ///
    /// # Errors
    /// When a key group of the part is not of this task.
    pub fn absorb(&mut self, part: Self) -> Result<(), TableError> {
        let Range { start: first, end } = self.key_groups;
        for (start, groups) in part.buckets {
            let held = part.key_groups.clone().zip(groups);
            for (key_group, held) in held.filter(|(_, held)| !matches!(held, Held::Nothing)) {
                if !self.key_groups.contains(&key_group) {
                    return Err(TableError::ForeignKeyGroup { key_group, first, end });
                }
                let groups = self.buckets.entry(start).or_insert_with(|| (first..end).map(|_| Held::Nothing).collect());
                groups[usize::from(key_group - first)] = held;
            }
        }
        self.dropped.extend(part.dropped);
        Ok(())
    }

    /// Every entry of one key group as a delta would put it: what a snapshot of the key group holds. Meant for the
    /// moment after a seal.
    ///
    /// # Errors
    /// When rows cannot be read back: what was given out then is not the whole.
    pub fn for_each(&self, key_group: u16, entry: &mut dyn FnMut(&[u8], &[u8])) -> Result<(), TableError> {
        let Some(group) = key_group.checked_sub(self.key_groups.start).map(usize::from) else { return Ok(()) };
        let mut value = Vec::new();
        for (start, groups) in &self.buckets {
            let mut stored = stored_bucket(self.tag, *start);
            match groups.get(group) {
                None | Some(Held::Nothing) => {}
                Some(Held::Cold(cold)) => cold.for_each(key_group, |number, value| {
                    stored.truncate(1 + BUCKET_BYTES);
                    stored.extend_from_slice(number);
                    entry(&stored, value);
                })?,
                Some(Held::Hot(bucket)) => {
                    for number in 0..bucket.rows.len() as u32 {
                        bucket.write(number, &mut stored, &mut value);
                        entry(&stored, &value);
                    }
                }
            }
        }
        Ok(())
    }

    /// Keys held, also those that are not in memory; a key counts once per bucket.
    pub fn keys(&self) -> usize {
        let keys = |held: &Held| match held {
            Held::Nothing => 0,
            Held::Hot(bucket) => bucket.index.len(),
            Held::Cold(cold) => cold.keys(),
        };
        self.all().map(keys).sum()
    }

    pub fn is_empty(&self) -> bool {
        self.buckets.is_empty()
    }

    /// Bytes held in memory.
    pub fn byte_size(&self) -> usize {
        let per_bucket = self.key_groups.len() * size_of::<Held>() + BUCKET_BYTES;
        let bytes = |held: &Held| match held {
            Held::Nothing => 0,
            Held::Hot(bucket) => bucket.byte_size(),
            Held::Cold(cold) => cold.byte_size(),
        };
        self.buckets.len() * per_bucket + self.all().map(bytes).sum::<usize>()
    }

    fn all(&self) -> impl Iterator<Item = &Held> {
        self.buckets.values().flatten()
    }
}

const MARKED: u8 = 1;

fn stored_bucket(tag: u8, bucket: i64) -> Vec<u8> {
    let mut stored = vec![tag];
    stored.extend_from_slice(&bucket_bytes(bucket));
    stored
}

fn parse(value: &[u8]) -> Option<NewRow<'_>> {
    let (mark, rest) = value.split_first()?;
    let (time_us, rest) = rest.split_first_chunk()?;
    let (length, rest) = rest.split_first_chunk()?;
    let (key, row) = rest.split_at_checked(u32::from_le_bytes(*length) as usize)?;
    let (time_us, is_marked) = (i64::from_le_bytes(*time_us), *mark == MARKED);
    Some(NewRow { time_us, is_marked, hash: weir_stream::key::hash(key), key, row })
}

impl Bucket {
    fn push(&mut self, row: NewRow) -> u32 {
        let number = u32::try_from(self.rows.len()).ok().filter(|number| *number != END);
        let number = number.expect("a bucket of one key group holds fewer than 2^32 rows");
        let slot = self.index.find_or_insert(row.hash, row.key);
        match self.ends.get_mut(slot as usize) {
            None => self.ends.push((number, number)),
            Some((_, last)) => {
                self.rows[*last as usize].next = number;
                *last = number;
            }
        }
        let (start, is_marked) = (self.bytes.len() as u64, row.is_marked);
        self.bytes.extend_from_slice(row.row);
        self.rows.push(Row { time_us: row.time_us, start, slot, next: END, is_marked });
        number
    }

    fn first(&self, hash: u64, key: &[u8]) -> Option<u32> {
        Some(self.ends[self.index.find(hash, key)? as usize].0)
    }

    /// The rows of one key.
    fn chain(&self, first: u32) -> impl Iterator<Item = u32> {
        let next = |number: &u32| Some(self.rows[*number as usize].next).filter(|next| *next != END);
        std::iter::successors(Some(first), next)
    }

    fn bytes_of(&self, number: u32) -> &[u8] {
        let start = self.rows[number as usize].start as usize;
        let end = self.rows.get(number as usize + 1).map_or(self.bytes.len(), |next| next.start as usize);
        &self.bytes[start..end]
    }

    fn mark(&mut self, number: u32) {
        let Some(row) = self.rows.get_mut(number as usize) else { return };
        if !std::mem::replace(&mut row.is_marked, true) && number < self.sealed {
            self.marked.push(number);
        }
    }

    /// The entry of a row; `stored` has the tag and bucket in front.
    fn write(&self, number: u32, stored: &mut Vec<u8>, value: &mut Vec<u8>) {
        let row = &self.rows[number as usize];
        stored.truncate(1 + BUCKET_BYTES);
        stored.extend_from_slice(&number.to_be_bytes());
        let key = self.index.key(row.slot);
        value.clear();
        value.push(u8::from(row.is_marked));
        value.extend_from_slice(&row.time_us.to_le_bytes());
        value.extend_from_slice(&(key.len() as u32).to_le_bytes());
        value.extend_from_slice(key);
        value.extend_from_slice(self.bytes_of(number));
    }

    fn seal(&mut self, key_group: u16, stored: &mut Vec<u8>, value: &mut Vec<u8>, delta: &mut dyn DeltaWriter) {
        for number in std::mem::take(&mut self.marked) {
            stored.truncate(1 + BUCKET_BYTES);
            stored.extend_from_slice(&number.to_be_bytes());
            delta.put(key_group, stored, &[MARKED]);
        }
        for number in self.sealed..self.rows.len() as u32 {
            self.write(number, stored, value);
            delta.put(key_group, stored, value);
        }
        self.sealed = self.rows.len() as u32;
    }

    fn byte_size(&self) -> usize {
        let lists = self.ends.capacity() * size_of::<(u32, u32)>() + self.marked.capacity() * size_of::<u32>();
        size_of::<Self>()
            + self.index.byte_size()
            + lists
            + self.rows.capacity() * size_of::<Row>()
            + self.bytes.capacity()
    }
}

#[cfg(test)]
mod tests;
