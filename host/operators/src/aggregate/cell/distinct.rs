//! `count_distinct`: the set of all values, by their canonical key bytes.
//!
//! Equal is what is equal as a key: -0.0 and 0.0, every NaN, 1.50 and 1.5 are one value each.
//!
//! Stored: number of values (u32), then each as a u32 length and its bytes.

use weir_state::table::KeyIndex;
use weir_stream::key;

use super::Cell;
use crate::aggregate::argument::{Argument, Values};
use crate::aggregate::slots::take;
use crate::aggregate::value::{Value, read_bytes, write_bytes};
use crate::key::KeyBatch;

/// The most bytes that the stored values of one key may take: about 300,000 numbers.
pub const DISTINCT_BYTES_MAX: usize = 4 << 20;

#[derive(Debug, Clone, Default)]
pub(in crate::aggregate) struct Distinct {
    values: Option<Box<KeyIndex>>,
    /// Bytes of the stored form.
    bytes: usize,
}

fn canonical(argument: &Argument) -> &KeyBatch {
    match &argument.values {
        Values::Canonical(values) => values,
        other => unreachable!("distinct values are told apart by canonical bytes, not by {other:?}"),
    }
}

fn stored_bytes(value: &[u8]) -> usize {
    size_of::<u32>() + value.len()
}

impl Distinct {
    fn insert(&mut self, hash: u64, value: &[u8]) {
        let values = self.values.get_or_insert_default();
        let before = values.len();
        values.find_or_insert(hash, value);
        if values.len() > before {
            self.bytes += stored_bytes(value);
        }
    }

    fn each(&self) -> impl Iterator<Item = &[u8]> {
        self.values.iter().flat_map(|values| (0..values.len() as u32).map(|slot| values.key(slot)))
    }

    fn len(&self) -> usize {
        self.values.as_ref().map_or(0, |values| values.len())
    }
}

impl Cell for Distinct {
    type Settings = ();

    const BOUNDED: bool = true;

    fn add(&mut self, (): &(), argument: &Argument, row: usize) {
        let values = canonical(argument);
        self.insert(values.hashes()[row], values.key(row));
    }

    fn merge(&mut self, (): &(), other: &Self) {
        other.each().for_each(|value| self.insert(key::hash(value), value));
    }

    fn write(&self, bytes: &mut Vec<u8>) {
        bytes.extend_from_slice(&(self.len() as u32).to_le_bytes());
        self.each().for_each(|value| write_bytes(value, bytes));
    }

    fn read((): &(), rest: &mut &[u8]) -> Result<Self, String> {
        let mut read = Self::default();
        let count = u32::from_le_bytes(take(rest)?) as usize;
        for _ in 0..count {
            let value = read_bytes(rest)?;
            read.insert(key::hash(value), value);
        }
        if read.len() == count { Ok(read) } else { Err("a distinct value is there twice".to_owned()) }
    }

    fn value(&self, (): &()) -> Value<'_> {
        Value::I64(self.len() as i64)
    }

    fn heap_bytes(&self) -> usize {
        self.values.as_ref().map_or(0, |values| size_of::<KeyIndex>() + values.byte_size())
    }

    fn takes((): &(), argument: &Argument, row: usize) -> bool {
        stored_bytes(canonical(argument).key(row)) <= DISTINCT_BYTES_MAX
    }

    fn surely_fits(&self, (): &(), argument: &Argument, _rows: usize) -> bool {
        self.bytes + argument.stored_bytes <= DISTINCT_BYTES_MAX
    }

    fn fits(&self, (): &(), argument: &Argument, row: usize) -> bool {
        let value = canonical(argument).key(row);
        let is_known = || self.values.as_ref().is_some_and(|values| values.find(key::hash(value), value).is_some());
        self.bytes + stored_bytes(value) <= DISTINCT_BYTES_MAX || is_known()
    }
}
