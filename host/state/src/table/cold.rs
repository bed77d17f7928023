//! A table that is not in memory: where its entries are on disk, and how it comes back.
//!
//! Its entries are stored as puts of a delta, without the bucket, in the order of their slots: read back, every key has
//! the slot that it had.

use std::io;

use weir_stream::key;

use super::{KeyTable, Slots, TableError};
use crate::record::{DeltaBuilder, Op, Ops};
use crate::spill::{Spill, Spilled};

/// One key group of one bucket, on disk.
#[derive(Debug, Clone)]
pub(super) struct ColdTable {
    spilled: Spilled,
    keys: usize,
}

impl ColdTable {
    pub(super) fn write<S: Slots>(table: &KeyTable<S>, spill: &Spill) -> io::Result<Self> {
        let (mut puts, mut value) = (DeltaBuilder::new(0, 0), Vec::new());
        for slot in 0..table.len() as u32 {
            value.clear();
            table.slots().write(slot as usize, &mut value);
            puts.put(table.key(slot), &value);
        }
        Ok(Self { spilled: spill.write(&puts.finish().bytes)?, keys: table.len() })
    }

    pub(super) fn keys(&self) -> usize {
        self.keys
    }

    pub(super) fn bytes(&self) -> u64 {
        self.spilled.bytes()
    }

    /// The table as it was.
    pub(super) fn read<S: Slots + Clone>(&self, key_group: u16, empty: &S) -> Result<KeyTable<S>, TableError> {
        let mut table = KeyTable::new(empty.clone());
        let mut read = Ok(());
        self.for_each(key_group, |stored, value| {
            if read.is_ok() {
                read = table.restore(key_group, key::hash(stored), stored, value);
            }
        })?;
        read.map(|()| table)
    }

    /// Every key with its value.
    pub(super) fn for_each(&self, key_group: u16, mut entry: impl FnMut(&[u8], &[u8])) -> Result<(), TableError> {
        let cold = |reason: &str| TableError::Cold { key_group, reason: reason.to_owned() };
        let bytes = self.spilled.read().map_err(|reason| cold(&reason))?;
        for op in Ops::new(&bytes) {
            match op {
                Some(Op::Put { key, value }) => entry(key, value),
                _ => return Err(cold("its entries cannot be told apart")),
            }
        }
        Ok(())
    }
}
