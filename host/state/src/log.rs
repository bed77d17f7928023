//! Log records: what a frame of a log segment holds.
//!
//! The head (acknowledged epochs, outbox entries, meta) is read at every start; the body (deltas, with a table of
//! steps and key groups in front) only for replay. Invariant: reading never panics, whatever the bytes.

use std::collections::BTreeMap;

use crate::format::Fields;
use crate::frame;
use crate::record::{EpochRecord, StateDelta};

/// What a log record's head holds.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct LogHead {
    /// Per sink the last exposed epoch that was known.
    pub acked: BTreeMap<u16, u64>,
    pub outbox: Vec<EntryHead>,
    pub meta: Vec<u8>,
}

/// An outbox entry without its payload.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct EntryHead {
    pub sink: u16,
    pub previous: u64,
    pub bytes: u64,
}

/// Writes a record's frame content into `buffer` and answers where the head ends.
pub(crate) fn encode(buffer: &mut Vec<u8>, record: &EpochRecord, acked: &BTreeMap<u16, u64>) -> usize {
    frame::begin(buffer);
    put_u32(buffer, acked.len());
    put_u32(buffer, record.outbox.len());
    put_u64(buffer, record.meta.len() as u64);
    for (sink, epoch) in acked {
        buffer.extend_from_slice(&sink.to_le_bytes());
        put_u64(buffer, *epoch);
    }
    for entry in &record.outbox {
        buffer.extend_from_slice(&entry.sink.to_le_bytes());
        put_u64(buffer, entry.previous);
        put_u64(buffer, entry.payload.len() as u64);
    }
    buffer.extend_from_slice(&record.meta);
    let head_end = buffer.len();
    put_u32(buffer, record.deltas.len());
    for delta in &record.deltas {
        buffer.extend_from_slice(&delta.step.to_le_bytes());
        buffer.extend_from_slice(&delta.key_group.to_le_bytes());
        for field in [delta.puts, delta.deletes, delta.bytes.len() as u64] {
            put_u64(buffer, field);
        }
    }
    for delta in &record.deltas {
        buffer.extend_from_slice(&delta.bytes);
    }
    head_end
}

fn put_u32(buffer: &mut Vec<u8>, value: usize) {
    let value = u32::try_from(value).expect("an epoch has fewer than 2^32 deltas, sinks and entries");
    buffer.extend_from_slice(&value.to_le_bytes());
}

fn put_u64(buffer: &mut Vec<u8>, value: u64) {
    buffer.extend_from_slice(&value.to_le_bytes());
}

pub(crate) fn decode_head(bytes: &[u8]) -> Option<LogHead> {
    let mut fields = Fields::new(bytes);
    let (acked, outbox, meta_len) = (fields.u32()?, fields.u32()?, fields.u64()?);
    let acked = (0..acked).map(|_| Some((fields.u16()?, fields.u64()?))).collect::<Option<_>>()?;
    let entry =
        |fields: &mut Fields| Some(EntryHead { sink: fields.u16()?, previous: fields.u64()?, bytes: fields.u64()? });
    let outbox = (0..outbox).map(|_| entry(&mut fields)).collect::<Option<_>>()?;
    let meta = fields.bytes(meta_len)?.to_vec();
    fields.is_empty().then_some(LogHead { acked, outbox, meta })
}

/// A delta in a body that is still in its buffer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct DeltaRef<'a> {
    pub step: u16,
    pub key_group: u16,
    pub puts: u64,
    pub bytes: &'a [u8],
}

pub(crate) fn decode_body(bytes: &[u8]) -> Option<Vec<DeltaRef<'_>>> {
    let mut table = Fields::new(bytes);
    let count = table.u32()?;
    let mut rest = Fields::new(bytes);
    rest.bytes(4 + u64::from(count) * DELTA_ROW)?;
    let mut deltas = Vec::new();
    for _ in 0..count {
        let (step, key_group) = (table.u16()?, table.u16()?);
        let (puts, _deletes) = (table.u64()?, table.u64()?);
        deltas.push(DeltaRef { step, key_group, puts, bytes: rest.bytes(table.u64()?)? });
    }
    rest.is_empty().then_some(deltas)
}

/// Length of a row of the delta table in bytes.
const DELTA_ROW: u64 = 28;

/// Panics unless every delta is of one of the pipeline's key groups.
pub(crate) fn assert_key_groups(deltas: &[StateDelta], key_groups: u16) {
    for delta in deltas {
        assert!(delta.key_group < key_groups, "key group {} of {key_groups}", delta.key_group);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frame::FRAME_HEADER;
    use crate::record::{DeltaBuilder, OutboxEntry};

    fn record() -> EpochRecord {
        let mut first = DeltaBuilder::new(1, 5);
        first.put(b"k", b"v");
        let mut second = DeltaBuilder::new(2, 6);
        second.delete(b"k");
        EpochRecord {
            epoch: 1,
            meta: b"meta".to_vec(),
            deltas: vec![first.finish(), second.finish()],
            outbox: vec![OutboxEntry { sink: 3, previous: 0, payload: vec![9; 100] }],
        }
    }

    #[test]
    fn a_record_is_read_as_it_was_written_and_no_cut_of_it_is() {
        let mut buffer = Vec::new();
        let head_end = encode(&mut buffer, &record(), &BTreeMap::from([(3, 17)]));
        let (head, body) = (&buffer[FRAME_HEADER..head_end], &buffer[head_end..]);
        let read = decode_head(head).unwrap();
        assert_eq!((read.acked, read.meta), (BTreeMap::from([(3, 17)]), b"meta".to_vec()));
        assert_eq!(read.outbox, vec![EntryHead { sink: 3, previous: 0, bytes: 100 }]);
        let deltas = decode_body(body).unwrap();
        assert_eq!(deltas.len(), 2);
        assert_eq!((deltas[1].step, deltas[1].key_group, deltas[1].puts), (2, 6, 0));
        assert_eq!(deltas[0].bytes, record().deltas[0].bytes);
        (0..head.len()).for_each(|end| assert_eq!(decode_head(&head[..end]), None));
        (0..body.len()).for_each(|end| assert_eq!(decode_body(&body[..end]), None));
    }
}
