//! What a source hands on: the records of one partition, still bytes.

use std::sync::Arc;

use crate::payload::Payloads;

/// Marks an absent record timestamp in [`SourceRecords::timestamps_us`].
pub const NO_TIMESTAMP: i64 = i64::MIN;

/// Who set a record's timestamp; Kafka tells it per record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum TimestampType {
    #[default]
    None,
    /// The producer: as trustworthy as the producer's clock.
    CreateTime,
    /// The broker, at append.
    LogAppendTime,
}

/// Consecutive records of one source partition. All vectors have one entry per record.
#[derive(Debug, Clone, Default)]
pub struct SourceRecords {
    /// The source's name in the manifest.
    pub source: Arc<str>,
    /// The topic, file or generator that the records came from, as dead letters name it.
    pub topic: Arc<str>,
    pub partition: u32,
    /// Ascending; gaps are allowed (compaction, transaction markers).
    pub offsets: Vec<i64>,
    /// Microseconds, or [`NO_TIMESTAMP`].
    pub timestamps_us: Vec<i64>,
    pub timestamp_type: Vec<TimestampType>,
    pub values: Payloads,
    /// Present when the manifest asks for the key as a column.
    pub keys: Option<Payloads>,
    /// Present when the manifest asks for headers: each record's headers as one JSON object.
    pub headers: Option<Payloads>,
    /// Where reading goes on after the last record: with `file` the position that an epoch stores.
    pub next_offset: i64,
    /// Where several files make up the partition: the one that these records are from.
    pub file: Option<Arc<str>>,
    /// The row that names the records' fields, where it does not stand in every record.
    pub header: Option<Arc<[u8]>>,
    /// The line of its file on which each record begins, from 1; empty where lines are not counted.
    pub lines: Vec<u64>,
}

impl SourceRecords {
    pub fn len(&self) -> usize {
        self.offsets.len()
    }

    pub fn is_empty(&self) -> bool {
        self.offsets.is_empty()
    }

    /// Bytes held, for budgets.
    pub fn byte_size(&self) -> usize {
        let side = |payloads: &Option<Payloads>| payloads.as_ref().map_or(0, Payloads::byte_size);
        self.values.byte_size()
            + side(&self.keys)
            + side(&self.headers)
            + self.offsets.len() * 17
            + self.lines.len() * 8
    }
}
