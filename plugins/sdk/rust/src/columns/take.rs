//! The rows of a finished column that are kept.

use crate::types::Type;
use crate::wit::{Column, Values, VarBytes};

/// The rows that are kept of a column and of those in it.
pub(super) fn take(columns: &mut std::vec::IntoIter<Column>, of: &Type, kept: &[u32], taken: &mut Vec<Column>) {
    let column = columns.next().expect("a builder gives a column for each part of its type");
    let items = match &column.values {
        Values::ListOffsets(offsets) => Some(kept.iter().flat_map(|row| {
            let [begin, end] = [*row as usize, *row as usize + 1].map(|at| offsets[at] as u32);
            begin..end
        })),
        _ => None,
    };
    let items: Option<Vec<u32>> = items.map(Iterator::collect);
    taken.push(taken_of(column, kept));
    of.children.iter().for_each(|child| take(columns, &child.of, items.as_deref().unwrap_or(kept), taken));
}

fn taken_of(column: Column, kept: &[u32]) -> Column {
    let validity = column.validity.map(|bits| bits_of(&bits, kept));
    macro_rules! numbers {
        ($values:ident, $($variant:ident)*) => {
            match $values {
                $(Values::$variant(values) => {
                    Values::$variant(kept.iter().map(|row| values[*row as usize]).collect())
                })*
                Values::Bits(bits) => Values::Bits(bits_of(&bits, kept)),
                Values::Decimal128(halves) => {
                    let pair = |row: &u32| [halves[2 * *row as usize], halves[2 * *row as usize + 1]];
                    Values::Decimal128(kept.iter().flat_map(pair).collect())
                }
                Values::Bytes(bytes) => Values::Bytes(bytes_of(&bytes, kept)),
                Values::ListOffsets(offsets) => {
                    let mut end = 0;
                    let ends = kept.iter().map(|row| {
                        end += offsets[*row as usize + 1] - offsets[*row as usize];
                        end
                    });
                    Values::ListOffsets(std::iter::once(0).chain(ends).collect())
                }
                Values::Nothing => Values::Nothing,
            }
        };
    }
    let values = column.values;
    let values = numbers!(values, Int8 Int16 Int32 Int64 Uint8 Uint16 Uint32 Uint64 Float32 Float64);
    Column { validity, values }
}

fn bits_of(bits: &[u8], kept: &[u32]) -> Vec<u8> {
    let mut taken = vec![0; kept.len().div_ceil(8)];
    for (at, row) in kept.iter().enumerate() {
        taken[at / 8] |= (bits[*row as usize / 8] >> (row % 8) & 1) << (at % 8);
    }
    taken
}

fn bytes_of(bytes: &VarBytes, kept: &[u32]) -> VarBytes {
    let mut taken = VarBytes { offsets: vec![0], data: Vec::new() };
    for row in kept {
        let [begin, end] = [*row as usize, *row as usize + 1].map(|at| bytes.offsets[at] as usize);
        taken.data.extend_from_slice(&bytes.data[begin..end]);
        // No longer than what it is taken from.
        taken.offsets.push(taken.data.len() as i32);
    }
    taken
}
