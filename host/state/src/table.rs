//! Keyed state in memory: key group x time bucket -> keys in dense slots, laid out for the cache.
//!
//! A [`BucketedTable`] holds one [`KeyTable`] per key group and bucket; the bucket is the window pane (later also
//! the join or TTL bucket), so that the unit of eviction, of snapshots and of expiry is always a whole table. A table
//! that was not touched for long may be written away ([`BucketedTable::evict`]) and comes back when it is asked for. Of
//! tables that are not by bucket, keys leave together and come back one by one, or together when their time has come
//! (`cold_keys`).
//! Keys become slot numbers once per row; what is stored per key lives in columns indexed by slot ([`Slots`]). A
//! [`SlotTable`] has such columns for keys that come and go one by one, a [`MapTable`] any value for them, a
//! [`RowsTable`] many rows of a key that leave by time.
//!
//! Invariant: between two seals a table knows exactly the keys touched since the first one, so that a delta is
//! proportional to the keys touched and never to the keys held.
//!
//! What a delta holds, per key group (all of it opaque to the epoch log):
//!
//! | key                            | operation | meaning                              |
//! | ------------------------------ | --------- | ------------------------------------ |
//! | bucket (8 bytes), then the key | put       | the key's value, whole               |
//! | bucket (8 bytes) alone         | delete    | every key of that bucket is gone     |
//!
//! The bucket is big-endian with its sign bit flipped, so that entries sort by bucket. Replaying the deltas of all
//! epochs in order through [`BucketedTable::restore_put`] and [`BucketedTable::restore_delete`] gives the table back.
//!
//! Nothing here does I/O, and nothing knows what the values mean.

mod bucketed;
mod buckets;
mod cold;
mod cold_keys;
pub mod growth;
mod index;
mod keyed;
mod map;
mod marks;
pub mod prefetch;
mod rows;
mod slot_table;

pub use bucketed::BucketedTable;
pub use cold_keys::{ColdKeys, PieceWriter, Thawed, evict_around};
pub use index::KeyIndex;
pub use keyed::KeyTable;
pub use map::{MapTable, StateValue};
pub use rows::{NewRow, RowId, RowsTable};
pub use slot_table::{CompactSlots, SlotGroup, SlotTable};

/// Bytes of the bucket in front of every key of a delta.
pub const BUCKET_BYTES: usize = 8;

/// Where a table writes what changed since it was last sealed. Operations on one key come in the order in which
/// they must be replayed.
pub trait DeltaWriter {
    fn put(&mut self, key_group: u16, key: &[u8], value: &[u8]);
    fn delete(&mut self, key_group: u16, key: &[u8]);
}

/// Whether a key may leave memory for disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Leaving {
    Stays,
    /// It comes back when somebody asks for it.
    UntilAsked,
    /// It comes back then at the latest: time will do something to it.
    Until(i64),
}

impl Leaving {
    /// `due_us`: when time does something to the key, if it ever does.
    pub fn at(due_us: Option<i64>) -> Self {
        due_us.map_or(Self::UntilAsked, Self::Until)
    }
}

/// What is stored per key: columns indexed by slot. The owner updates them directly; the table only grows, writes
/// and reads them.
pub trait Slots {
    /// Makes room for slots `0..slots`; new ones hold the value of a key without rows.
    fn resize(&mut self, slots: usize);

    /// Appends the slot's value in the owner's versioned encoding.
    fn write(&self, slot: usize, value: &mut Vec<u8>);

    /// Replaces the slot's value.
    ///
    /// # Errors
    /// What is wrong with the bytes, when they are not a value that [`Slots::write`] made.
    fn read(&mut self, slot: usize, value: &[u8]) -> Result<(), String>;

    /// Asks for the memory of the slot (see [`prefetch`]).
    fn prefetch(&self, _slot: usize) {}

    /// Bytes held.
    fn byte_size(&self) -> usize;
}

/// Asks for these slots side by side, so that writing them one by one does not wait for memory.
fn read_ahead<S: Slots>(index: &KeyIndex, values: &S, slots: &[u32]) {
    if index.is_large() {
        slots.iter().for_each(|slot| index.prefetch_key(*slot));
        slots.iter().for_each(|slot| values.prefetch(*slot as usize));
    }
}

/// Why stored bytes cannot become state again.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TableError {
    #[error("key group {key_group} belongs to another task (this one owns {first}..{end})")]
    ForeignKeyGroup { key_group: u16, first: u16, end: u16 },
    #[error("key group {key_group}: a stored key of {bytes} bytes is too short to name its bucket")]
    ShortKey { key_group: u16, bytes: usize },
    #[error("key group {key_group}: a stored deletion names a single key, but keys leave with their bucket only")]
    DeleteOfOneKey { key_group: u16 },
    #[error("key group {key_group}: a stored value cannot be read: {reason}")]
    Value { key_group: u16, reason: String },
    #[error("key group {key_group}: state that was written away for lack of memory cannot be read back: {reason}")]
    Cold { key_group: u16, reason: String },
}

/// The bucket as the first bytes of a stored key.
fn bucket_bytes(bucket: i64) -> [u8; BUCKET_BYTES] {
    (bucket as u64 ^ (1 << 63)).to_be_bytes()
}

pub fn split_key(key_group: u16, stored: &[u8]) -> Result<(i64, &[u8]), TableError> {
    let (bucket, key) =
        stored.split_first_chunk::<BUCKET_BYTES>().ok_or(TableError::ShortKey { key_group, bytes: stored.len() })?;
    Ok(((u64::from_be_bytes(*bucket) ^ (1 << 63)) as i64, key))
}

#[cfg(test)]
mod tests;
