//! One arena of payload bytes per batch, with offsets: never an allocation or a copy per record.
//!
//! Every payload is followed by one NUL byte and the arena ends in [`PADDING`] zero bytes, so that a scanner
//! may load whole SIMD words past a payload's end and stops at the NUL without a bounds check. The arena does
//! not know what the bytes mean.

/// Zero bytes behind the last payload.
pub const PADDING: usize = 64;

/// The most bytes that one arena holds: positions are `u32`.
pub const MAX_ARENA_BYTES: usize = u32::MAX as usize - PADDING;

/// The payloads of one batch, in record order. Cheap to index, not to clone: share it behind an `Arc`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Payloads {
    bytes: Vec<u8>,
    /// Start of each payload, and behind them the start that the next one would have.
    starts: Vec<u32>,
    /// Row numbers of absent payloads (a Kafka tombstone has none), ascending.
    absent: Vec<u32>,
}

impl Default for Payloads {
    fn default() -> Self {
        PayloadBuilder::default().finish()
    }
}

impl Payloads {
    pub fn len(&self) -> usize {
        self.starts.len() - 1
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The bytes of payload `row`, without the NUL behind them; empty when it is absent.
    #[inline]
    pub fn get(&self, row: usize) -> &[u8] {
        &self.bytes[self.starts[row] as usize..self.starts[row + 1] as usize - 1]
    }

    /// Whether payload `row` was absent, not merely empty.
    #[inline]
    pub fn is_absent(&self, row: usize) -> bool {
        !self.absent.is_empty() && self.absent.binary_search(&(row as u32)).is_ok()
    }

    /// The whole arena, padding included. Payload `row` is at `start(row)`.
    pub fn arena(&self) -> &[u8] {
        &self.bytes
    }

    /// Position of payload `row` in [`Payloads::arena`].
    pub fn start(&self, row: usize) -> usize {
        self.starts[row] as usize
    }

    /// Bytes held, for budgets.
    pub fn byte_size(&self) -> usize {
        self.bytes.len() + self.starts.len() * 4
    }

    pub fn iter(&self) -> impl Iterator<Item = &[u8]> {
        (0..self.len()).map(|row| self.get(row))
    }
}

/// Stored form, little endian: count u32, absent count u32, arena bytes u32 (without padding), starts u32 x (count + 1),
/// absent u32 each, arena.
impl Payloads {
    pub fn encode(&self, out: &mut Vec<u8>) {
        let arena = &self.bytes[..self.bytes.len() - PADDING];
        for number in [self.len(), self.absent.len(), arena.len()] {
            out.extend_from_slice(&(number as u32).to_le_bytes());
        }
        self.starts.iter().chain(&self.absent).for_each(|number| out.extend_from_slice(&number.to_le_bytes()));
        out.extend_from_slice(arena);
    }

    /// Reads what [`Payloads::encode`] wrote and moves `input` past it; `None` when it is not whole or not consistent.
    pub fn decode(input: &mut &[u8]) -> Option<Self> {
        let mut numbers = |count: usize| -> Option<Vec<u32>> {
            let (head, rest) = input.split_at_checked(count.checked_mul(4)?)?;
            *input = rest;
            Some(head.as_chunks::<4>().0.iter().map(|bytes| u32::from_le_bytes(*bytes)).collect())
        };
        let [count, absent, length] = numbers(3)?.try_into().ok()?;
        let starts = numbers(count as usize + 1)?;
        let absent = numbers(absent as usize)?;
        let ascending = starts.windows(2).all(|pair| pair[0] < pair[1]);
        if starts[0] != 0 || starts[count as usize] != length || !ascending || absent.iter().any(|row| *row >= count) {
            return None;
        }
        let (arena, rest) = input.split_at_checked(length as usize)?;
        *input = rest;
        let mut bytes = Vec::with_capacity(arena.len() + PADDING);
        bytes.extend_from_slice(arena);
        bytes.resize(arena.len() + PADDING, 0);
        Some(Self { bytes, starts, absent })
    }
}

impl<'a> FromIterator<&'a [u8]> for Payloads {
    fn from_iter<I: IntoIterator<Item = &'a [u8]>>(payloads: I) -> Self {
        let mut builder = PayloadBuilder::default();
        payloads.into_iter().for_each(|payload| builder.push(payload));
        builder.finish()
    }
}

/// Fills an arena, either payload by payload or, for encoders, in place: write to [`PayloadBuilder::buffer`],
/// then call [`PayloadBuilder::end_payload`].
#[derive(Debug, Default)]
pub struct PayloadBuilder {
    bytes: Vec<u8>,
    starts: Vec<u32>,
    absent: Vec<u32>,
}

impl PayloadBuilder {
    pub fn with_capacity(payloads: usize, bytes: usize) -> Self {
        let mut starts = Vec::with_capacity(payloads + 1);
        starts.push(0);
        Self { bytes: Vec::with_capacity(bytes + payloads + PADDING), starts, absent: Vec::new() }
    }

    pub fn len(&self) -> usize {
        self.starts.len().saturating_sub(1)
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Bytes written so far.
    pub fn byte_len(&self) -> usize {
        self.bytes.len()
    }

    #[inline]
    pub fn push(&mut self, payload: &[u8]) {
        self.bytes.extend_from_slice(payload);
        self.end_payload();
    }

    pub fn push_absent(&mut self) {
        self.absent.push(self.len() as u32);
        self.end_payload();
    }

    /// The open payload's tail: only append to it.
    #[inline]
    pub fn buffer(&mut self) -> &mut Vec<u8> {
        &mut self.bytes
    }

    /// Closes the payload that was written to [`PayloadBuilder::buffer`].
    ///
    /// # Panics
    /// When the arena passes [`MAX_ARENA_BYTES`]; callers bound their batches far below it.
    #[inline]
    pub fn end_payload(&mut self) {
        if self.starts.is_empty() {
            self.starts.push(0);
        }
        self.bytes.push(0);
        assert!(self.bytes.len() <= MAX_ARENA_BYTES, "a payload arena holds at most 4 GiB");
        self.starts.push(self.bytes.len() as u32);
    }

    /// Forgets what was written to the open payload.
    pub fn abandon_payload(&mut self) {
        let start = self.starts.last().copied().unwrap_or(0);
        self.bytes.truncate(start as usize);
    }

    pub fn finish(mut self) -> Payloads {
        if self.starts.is_empty() {
            self.starts.push(0);
        }
        self.bytes.resize(self.bytes.len() + PADDING, 0);
        Payloads { bytes: self.bytes, starts: self.starts, absent: self.absent }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn payloads_come_back_as_they_went_in_with_a_nul_behind_each() {
        let payloads: Payloads = [b"one".as_slice(), b"", b"three"].into_iter().collect();
        assert_eq!(payloads.iter().collect::<Vec<_>>(), [b"one".as_slice(), b"", b"three"]);
        for row in 0..payloads.len() {
            assert_eq!(payloads.arena()[payloads.start(row) + payloads.get(row).len()], 0);
        }
        assert_eq!(payloads.arena().len(), 3 + 1 + 1 + 5 + 1 + PADDING);
    }

    #[test]
    fn an_absent_payload_is_not_an_empty_one() {
        let mut builder = PayloadBuilder::default();
        builder.push(b"");
        builder.push_absent();
        let payloads = builder.finish();
        assert!(!payloads.is_absent(0));
        assert!(payloads.is_absent(1));
    }

    #[test]
    fn stored_payloads_come_back_and_damaged_ones_do_not() {
        let mut builder = PayloadBuilder::default();
        builder.push(b"a");
        builder.push_absent();
        builder.push(b"");
        let payloads = builder.finish();
        let mut stored = Vec::new();
        payloads.encode(&mut stored);
        stored.push(7);
        let mut input = stored.as_slice();
        assert_eq!(Payloads::decode(&mut input).as_ref(), Some(&payloads));
        assert_eq!(input, [7]);
        for cut in 0..stored.len() - 1 {
            assert_eq!(Payloads::decode(&mut &stored[..cut]), None, "cut at {cut}");
        }
    }

    #[test]
    fn an_abandoned_payload_leaves_no_bytes() {
        let mut builder = PayloadBuilder::with_capacity(2, 16);
        builder.push(b"kept");
        builder.buffer().extend_from_slice(b"half");
        builder.abandon_payload();
        builder.push(b"next");
        assert_eq!(builder.finish().iter().collect::<Vec<_>>(), [b"kept".as_slice(), b"next"]);
    }
}
