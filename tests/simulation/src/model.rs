//! The pipeline that is simulated: rows of numbered partitions are counted by key and handed to some of the sinks. What
//! any prefix of the input must have made can be computed from nothing but the positions.

use std::collections::BTreeMap;

use weir_state::record::{DeltaBuilder, StateDelta};

pub const PARTITIONS: usize = 2;
pub const SINKS: usize = 3;
/// The sink that gathers several entries for one exposure.
pub const GATHERING: usize = 2;
pub const KEY_GROUPS: u16 = 4;
const KEYS: u64 = 7;
const STEP: u16 = 0;

/// A row is known by its partition and offset.
pub type Row = (u64, u64);

/// Next offset of each partition.
pub type Positions = [u64; PARTITIONS];

pub fn key(row: Row) -> u64 {
    (row.0 * 3 + row.1 * 5) % KEYS
}

/// Some epochs owe a sink nothing.
pub fn goes_to(row: Row, sink: usize) -> bool {
    (row.0 + row.1 / 3 + sink as u64).is_multiple_of(SINKS as u64)
}

/// Rows counted by key.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Counts(pub BTreeMap<u64, u64>);

impl Counts {
    pub fn of(positions: &Positions) -> Self {
        let mut counts = Self::default();
        rows_before(positions).for_each(|row| counts.add(row));
        counts
    }

    pub fn add(&mut self, row: Row) {
        *self.0.entry(key(row)).or_default() += 1;
    }

    /// Puts of `keys`, by key group.
    pub fn deltas(&self, keys: impl IntoIterator<Item = u64>) -> Vec<StateDelta> {
        let mut builders: BTreeMap<u16, DeltaBuilder> = BTreeMap::new();
        for key in keys {
            let group = key_group(key);
            let builder = builders.entry(group).or_insert_with(|| DeltaBuilder::new(STEP, group));
            builder.put(&key.to_le_bytes(), &self.0.get(&key).copied().unwrap_or(0).to_le_bytes());
        }
        builders.into_values().map(DeltaBuilder::finish).collect()
    }

    pub fn key_group(&self, group: u16) -> Vec<StateDelta> {
        self.deltas(self.0.keys().copied().filter(|key| key_group(*key) == group))
    }
}

fn key_group(key: u64) -> u16 {
    (key % u64::from(KEY_GROUPS)) as u16
}

pub fn rows_before(positions: &Positions) -> impl Iterator<Item = Row> {
    (0u64..).zip(positions).flat_map(|(partition, next)| (0..*next).map(move |offset| (partition, offset)))
}

/// What an epoch's record says beside state and outbox.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Meta {
    pub positions: Positions,
    pub newest: [u64; SINKS],
    pub acked: [u64; SINKS],
}

impl Meta {
    pub fn encode(&self) -> Vec<u8> {
        let numbers = self.positions.iter().chain(&self.newest).chain(&self.acked);
        numbers.flat_map(|number| number.to_le_bytes()).collect()
    }

    pub fn decode(bytes: &[u8]) -> Self {
        let mut numbers = numbers(bytes);
        let mut next = || numbers.next().unwrap_or(0);
        Self {
            positions: std::array::from_fn(|_| next()),
            newest: std::array::from_fn(|_| next()),
            acked: std::array::from_fn(|_| next()),
        }
    }
}

pub fn encode_rows(rows: &[Row]) -> Vec<u8> {
    rows.iter().flat_map(|row| [row.0, row.1]).flat_map(u64::to_le_bytes).collect()
}

pub fn decode_rows(bytes: &[u8]) -> Vec<Row> {
    let numbers: Vec<u64> = numbers(bytes).collect();
    numbers.chunks_exact(2).map(|pair| (pair[0], pair[1])).collect()
}

fn numbers(bytes: &[u8]) -> impl Iterator<Item = u64> {
    bytes.as_chunks::<8>().0.iter().map(|bytes| u64::from_le_bytes(*bytes))
}
