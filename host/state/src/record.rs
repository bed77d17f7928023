//! What one epoch makes durable, and the compact encoding of state changes that writers build and loaders read.
//!
//! Invariant: a [`StateDelta`]'s bytes are what its [`DeltaBuilder`] wrote: operations in order, each
//! `varint(key length * 2 + is put), key`, and for a put `varint(value length), value`. Steps, sinks and meta are
//! numbers and bytes here; the runtime knows what they stand for.

use crate::varint::Varint;

/// Everything that one epoch makes durable together.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct EpochRecord {
    /// One more than the store's last epoch; the first is 1.
    pub epoch: u64,
    /// The runtime's own: offsets, watermarks, timers, plugin digests, the names behind step and sink numbers.
    pub meta: Vec<u8>,
    /// Changes of keyed state, applied in this order.
    pub deltas: Vec<StateDelta>,
    /// What the epoch owes its sinks.
    pub outbox: Vec<OutboxEntry>,
}

/// What an epoch owes one sink; at most one entry for a sink in an epoch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OutboxEntry {
    pub sink: u16,
    /// The epoch of this sink's entry before, 0 for the first.
    pub previous: u64,
    pub payload: Vec<u8>,
}

/// Changes of one step's state in one key group. A snapshot is a delta of puts only.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct StateDelta {
    pub(crate) step: u16,
    pub(crate) key_group: u16,
    pub(crate) puts: u64,
    pub(crate) deletes: u64,
    pub(crate) bytes: Vec<u8>,
}

impl StateDelta {
    pub fn step(&self) -> u16 {
        self.step
    }

    pub fn key_group(&self) -> u16 {
        self.key_group
    }

    /// Number of puts: what to reserve before applying.
    pub fn puts(&self) -> u64 {
        self.puts
    }

    pub fn deletes(&self) -> u64 {
        self.deletes
    }

    /// Encoded size in bytes.
    pub fn byte_size(&self) -> usize {
        self.bytes.len()
    }

    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// The operations in the order in which they were added.
    pub fn ops(&self) -> impl Iterator<Item = Op<'_>> {
        Ops::new(&self.bytes).map(|op| op.expect("a delta's bytes come from its builder"))
    }
}

/// One change of keyed state.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Op<'a> {
    Put { key: &'a [u8], value: &'a [u8] },
    Delete { key: &'a [u8] },
}

/// Builds a [`StateDelta`] in one byte buffer.
#[derive(Debug, Clone)]
pub struct DeltaBuilder {
    delta: StateDelta,
}

impl DeltaBuilder {
    pub fn new(step: u16, key_group: u16) -> Self {
        Self { delta: StateDelta { step, key_group, ..StateDelta::default() } }
    }

    /// With room for so many bytes.
    pub fn with_capacity(step: u16, key_group: u16, bytes: usize) -> Self {
        Self { delta: StateDelta { step, key_group, bytes: Vec::with_capacity(bytes), ..StateDelta::default() } }
    }

    pub fn put(&mut self, key: &[u8], value: &[u8]) {
        self.put_with(key, value.len(), |bytes| bytes.extend_from_slice(value));
    }

    /// As [`DeltaBuilder::put`] for a value that is encoded in place; `write` must append `value_len` bytes.
    ///
    /// # Panics
    /// When `write` appends another number of bytes.
    pub fn put_with(&mut self, key: &[u8], value_len: usize, write: impl FnOnce(&mut Vec<u8>)) {
        let bytes = &mut self.delta.bytes;
        ((key.len() as u64) << 1 | 1).write(bytes);
        bytes.extend_from_slice(key);
        (value_len as u64).write(bytes);
        let start = bytes.len();
        write(bytes);
        assert_eq!(bytes.len() - start, value_len, "a value has the length that was said");
        self.delta.puts += 1;
    }

    pub fn delete(&mut self, key: &[u8]) {
        ((key.len() as u64) << 1).write(&mut self.delta.bytes);
        self.delta.bytes.extend_from_slice(key);
        self.delta.deletes += 1;
    }

    pub fn is_empty(&self) -> bool {
        self.delta.is_empty()
    }

    pub fn byte_size(&self) -> usize {
        self.delta.byte_size()
    }

    pub fn finish(self) -> StateDelta {
        self.delta
    }
}

/// Reads operations; an item is `None` where the bytes are not an encoding, and then the end is reached.
pub(crate) struct Ops<'a> {
    rest: &'a [u8],
}

impl<'a> Ops<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    fn read(&mut self) -> Option<Op<'a>> {
        let head = u64::read(&mut self.rest)?;
        let key = self.slice(head >> 1)?;
        if head & 1 == 0 {
            return Some(Op::Delete { key });
        }
        let length = u64::read(&mut self.rest)?;
        Some(Op::Put { key, value: self.slice(length)? })
    }

    fn slice(&mut self, length: u64) -> Option<&'a [u8]> {
        let (slice, rest) = self.rest.split_at_checked(usize::try_from(length).ok()?)?;
        self.rest = rest;
        Some(slice)
    }
}

impl<'a> Iterator for Ops<'a> {
    type Item = Option<Op<'a>>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        let op = self.read();
        if op.is_none() {
            self.rest = &[];
        }
        Some(op)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_delta_gives_back_its_operations_in_order() {
        let long = vec![7u8; 300];
        let mut builder = DeltaBuilder::new(3, 9);
        builder.put(b"a", b"1");
        builder.delete(b"a");
        builder.put(&long, b"");
        builder.put(b"", &long);
        let delta = builder.finish();
        assert_eq!((delta.step(), delta.key_group(), delta.puts(), delta.deletes()), (3, 9, 3, 1));
        let ops: Vec<Op> = delta.ops().collect();
        assert_eq!(ops[0], Op::Put { key: b"a", value: b"1" });
        assert_eq!(ops[1], Op::Delete { key: b"a" });
        assert_eq!(ops[2], Op::Put { key: &long, value: b"" });
        assert_eq!(ops[3], Op::Put { key: b"", value: &long });
        assert_eq!(ops.len(), 4);
    }

    #[test]
    fn bytes_that_are_no_encoding_end_in_a_fault_and_never_in_a_panic() {
        let mut builder = DeltaBuilder::new(0, 0);
        builder.put(b"key", b"value");
        let bytes = builder.finish().bytes;
        for end in 1..bytes.len() {
            assert_eq!(Ops::new(&bytes[..end]).last(), Some(None), "cut at {end}");
        }
        for bytes in [&[0xff; 20][..], &[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f]] {
            assert_eq!(Ops::new(bytes).collect::<Vec<_>>(), vec![None]);
        }
    }
}
