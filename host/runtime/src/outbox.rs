//! How an outbox entry is stored: what one epoch owes one sink.
//!
//! Little endian. Version u8 (2), cut u32 (its length, 0 for none) + text, shape u8 (1 payloads, 2 rows), blocks u32, then
//! each block.
//! * payload block: keys u8 (0 or 1), timestamps u32 + i64 each, values, keys if any (both as `Payloads` stores itself);
//! * row block: changes u8 (0 inserts, 1 per row), change kinds u32 + u8 each if per row, length u32, Arrow IPC stream.

use std::io::Cursor;
use std::sync::Arc;

use arrow_array::RecordBatch;
use arrow_ipc::reader::StreamReader;
use arrow_ipc::writer::StreamWriter;
use arrow_schema::ArrowError;
use weir_stream::{Changes, PayloadBlock, Payloads, RowBlock, SinkData};

const VERSION: u8 = 2;
const PAYLOADS: u8 = 1;
const ROWS: u8 = 2;

/// Why stored bytes are not an entry. The store's checksums held, so it is another version or our fault.
#[derive(Debug, thiserror::Error)]
pub enum DecodeError {
    #[error("outbox entry of version {0}; this Weir reads version {VERSION}")]
    Version(u8),
    #[error("outbox entry is malformed")]
    Malformed,
    #[error("outbox entry holds no readable Arrow data: {0}")]
    Arrow(#[from] ArrowError),
}

/// Writes an entry to `out`, a buffer that may be used again.
///
/// # Errors
/// Arrow's, when rows cannot be written as IPC.
pub fn encode(cut: Option<&str>, data: &SinkData, out: &mut Vec<u8>) -> Result<(), ArrowError> {
    out.clear();
    out.push(VERSION);
    let cut = cut.unwrap_or_default();
    out.extend_from_slice(&(cut.len() as u32).to_le_bytes());
    out.extend_from_slice(cut.as_bytes());
    match data {
        SinkData::Payloads(blocks) => {
            out.push(PAYLOADS);
            out.extend_from_slice(&(blocks.len() as u32).to_le_bytes());
            blocks.iter().for_each(|block| encode_payloads(block, out));
        }
        SinkData::Rows(blocks) => {
            out.push(ROWS);
            out.extend_from_slice(&(blocks.len() as u32).to_le_bytes());
            blocks.iter().try_for_each(|block| encode_rows(block, out))?;
        }
    }
    Ok(())
}

fn encode_payloads(block: &PayloadBlock, out: &mut Vec<u8>) {
    out.push(u8::from(block.keys.is_some()));
    out.extend_from_slice(&(block.timestamps_us.len() as u32).to_le_bytes());
    block.timestamps_us.iter().for_each(|timestamp| out.extend_from_slice(&timestamp.to_le_bytes()));
    block.values.encode(out);
    if let Some(keys) = &block.keys {
        keys.encode(out);
    }
}

fn encode_rows(block: &RowBlock, out: &mut Vec<u8>) -> Result<(), ArrowError> {
    match &block.changes {
        Changes::Inserts => out.push(0),
        Changes::PerRow(kinds) => {
            out.push(1);
            out.extend_from_slice(&(kinds.len() as u32).to_le_bytes());
            out.extend_from_slice(kinds);
        }
    }
    let mut writer = StreamWriter::try_new(Vec::new(), &block.rows.schema())?;
    writer.write(&block.rows)?;
    let ipc = writer.into_inner()?;
    out.extend_from_slice(&(ipc.len() as u32).to_le_bytes());
    out.extend_from_slice(&ipc);
    Ok(())
}

/// # Errors
/// See [`DecodeError`].
pub fn decode(mut input: &[u8]) -> Result<(Option<Arc<str>>, SinkData), DecodeError> {
    let input = &mut input;
    match take(input, 1)?[0] {
        VERSION => {}
        other => return Err(DecodeError::Version(other)),
    }
    let length = number(input)?;
    let cut = std::str::from_utf8(take(input, length)?).map_err(|_| DecodeError::Malformed)?;
    let shape = take(input, 1)?[0];
    let blocks = number(input)?;
    let data = match shape {
        PAYLOADS => SinkData::Payloads((0..blocks).map(|_| decode_payloads(input)).collect::<Result<_, _>>()?),
        ROWS => SinkData::Rows((0..blocks).map(|_| decode_rows(input)).collect::<Result<_, _>>()?),
        _ => return Err(DecodeError::Malformed),
    };
    Ok(((!cut.is_empty()).then(|| cut.into()), data))
}

fn decode_payloads(input: &mut &[u8]) -> Result<PayloadBlock, DecodeError> {
    let keyed = take(input, 1)?[0] == 1;
    let count = number(input)?;
    let timestamps = take(input, count.checked_mul(8).ok_or(DecodeError::Malformed)?)?;
    let timestamps_us = timestamps.as_chunks::<8>().0.iter().map(|bytes| i64::from_le_bytes(*bytes)).collect();
    let values = Payloads::decode(input).ok_or(DecodeError::Malformed)?;
    let keys = if keyed { Some(Payloads::decode(input).ok_or(DecodeError::Malformed)?) } else { None };
    Ok(PayloadBlock { values, keys, timestamps_us })
}

fn decode_rows(input: &mut &[u8]) -> Result<RowBlock, DecodeError> {
    let changes = match take(input, 1)?[0] {
        0 => Changes::Inserts,
        _ => {
            let count = number(input)?;
            Changes::PerRow(take(input, count)?.to_vec().into())
        }
    };
    let length = number(input)?;
    let ipc = take(input, length)?;
    let reader = StreamReader::try_new(Cursor::new(ipc), None)?;
    let schema = reader.schema();
    let batches = reader.collect::<Result<Vec<RecordBatch>, _>>()?;
    Ok(RowBlock { rows: arrow_select::concat::concat_batches(&schema, &batches)?, changes })
}

fn take<'a>(input: &mut &'a [u8], count: usize) -> Result<&'a [u8], DecodeError> {
    let (head, rest) = input.split_at_checked(count).ok_or(DecodeError::Malformed)?;
    *input = rest;
    Ok(head)
}

fn number(input: &mut &[u8]) -> Result<usize, DecodeError> {
    let bytes = take(input, 4)?.first_chunk::<4>().ok_or(DecodeError::Malformed)?;
    Ok(u32::from_le_bytes(*bytes) as usize)
}

#[cfg(test)]
mod tests {
    use arrow_array::{Int64Array, StringArray};
    use arrow_schema::{DataType, Field, Schema};

    use super::*;

    fn rows() -> RowBlock {
        let schema = Arc::new(Schema::new(vec![
            Field::new("n", DataType::Int64, false),
            Field::new("text", DataType::Utf8, true),
        ]));
        let n = Arc::new(Int64Array::from(vec![1, 2]));
        let text = Arc::new(StringArray::from(vec![Some("a"), None]));
        let rows = RecordBatch::try_new(schema, vec![n, text]).unwrap();
        RowBlock { rows, changes: Changes::PerRow(vec![0, 3].into()) }
    }

    fn payloads() -> PayloadBlock {
        let values: Payloads = [b"one".as_slice(), b"two"].into_iter().collect();
        let keys: Payloads = [b"k".as_slice(), b""].into_iter().collect();
        PayloadBlock { values, keys: Some(keys), timestamps_us: vec![-1, 7] }
    }

    fn encoded(data: &SinkData) -> Vec<u8> {
        let mut stored = b"left over".to_vec();
        encode(Some("so far"), data, &mut stored).unwrap();
        stored
    }

    #[test]
    fn an_entry_comes_back_as_it_was_stored() {
        for data in [SinkData::Rows(vec![rows(), rows()]), SinkData::Payloads(vec![payloads()])] {
            assert_eq!(decode(&encoded(&data)).unwrap(), (Some("so far".into()), data.clone()));
            let mut without = Vec::new();
            encode(None, &data, &mut without).unwrap();
            assert_eq!(decode(&without).unwrap(), (None, data));
        }
    }

    #[test]
    fn a_cut_entry_is_malformed_and_never_a_panic() {
        for data in [SinkData::Rows(vec![rows()]), SinkData::Payloads(vec![payloads()])] {
            let stored = encoded(&data);
            for cut in 0..stored.len() {
                assert!(decode(&stored[..cut]).is_err(), "cut at {cut}");
            }
        }
    }

    #[test]
    fn another_version_is_named() {
        assert!(matches!(decode(&[9, 1]), Err(DecodeError::Version(9))));
    }
}
