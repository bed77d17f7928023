//! Arrow columns on their way into the sandbox.
//!
//! Invariant: what is lowered begins at row 0, has the lengths of `wit/README.md`, and shows no bit behind the
//! last row and no item of a row that is not in the batch. Values are borrowed from Arrow; only bits and shifted offsets
//! are copied here.

use std::borrow::Cow;

use arrow_array::cast::AsArray;
use arrow_array::types as ty;
use arrow_array::{Array, ArrayRef};
use arrow_buffer::{BooleanBuffer, OffsetBuffer};
use arrow_schema::{DataType, TimeUnit};

use crate::wire;

/// Columns with everything in them, depth first; the items of a list from its first row's first to its last row's last.
pub(crate) fn depth_first<'a>(columns: impl Iterator<Item = &'a ArrayRef>) -> Vec<Cow<'a, ArrayRef>> {
    let mut flat = Vec::with_capacity(columns.size_hint().0);
    columns.for_each(|column| push(Cow::Borrowed(column), &mut flat));
    flat
}

fn push<'a>(column: Cow<'a, ArrayRef>, flat: &mut Vec<Cow<'a, ArrayRef>>) {
    let children = match column.data_type() {
        DataType::List(_) => vec![items(&column)],
        DataType::Struct(_) => column.as_struct().columns().to_vec(),
        _ => Vec::new(),
    };
    flat.push(column);
    children.into_iter().for_each(|child| push(Cow::Owned(child), flat));
}

fn items(list: &ArrayRef) -> ArrayRef {
    let (list, rows) = (list.as_list::<i32>(), list.len());
    let [first, last] = [0, rows].map(|row| list.offsets()[row] as usize);
    list.values().slice(first, last - first)
}

/// One column's own buffers, rebased.
pub(crate) struct Rebased<'a> {
    validity: Option<Vec<u8>>,
    values: RebasedValues<'a>,
}

enum RebasedValues<'a> {
    Borrowed(wire::Values<'a>),
    Bits(Vec<u8>),
    Bytes { offsets: Cow<'a, [i32]>, data: &'a [u8] },
    Offsets(Cow<'a, [i32]>),
}

impl<'a> Rebased<'a> {
    /// # Panics
    /// For a type that cannot cross: contracts that read one are refused at load.
    pub(crate) fn new(array: &'a ArrayRef) -> Self {
        let nulls = array.nulls().filter(|nulls| nulls.null_count() > 0);
        Self { validity: nulls.map(|nulls| packed(nulls.inner())), values: rebase(array) }
    }

    pub(crate) fn column(&self) -> wire::Column<'_> {
        let values = match &self.values {
            RebasedValues::Borrowed(values) => *values,
            RebasedValues::Bits(bits) => wire::Values::Bits(bits),
            RebasedValues::Bytes { offsets, data } => wire::Values::Bytes(wire::VarBytes { offsets, data }),
            RebasedValues::Offsets(offsets) => wire::Values::ListOffsets(offsets),
        };
        wire::Column { validity: self.validity.as_deref(), values }
    }
}

impl wire::Column<'_> {
    /// With buffers of its own.
    pub(crate) fn to_owned(self) -> wire::OwnedColumn {
        use wire::{OwnedValues, Values};
        let values = match self.values {
            Values::Bits(bits) => OwnedValues::Bits(bits.to_vec()),
            Values::Int8(values) => OwnedValues::Int8(values.to_vec()),
            Values::Int16(values) => OwnedValues::Int16(values.to_vec()),
            Values::Int32(values) => OwnedValues::Int32(values.to_vec()),
            Values::Int64(values) => OwnedValues::Int64(values.to_vec()),
            Values::Uint8(values) => OwnedValues::Uint8(values.to_vec()),
            Values::Uint16(values) => OwnedValues::Uint16(values.to_vec()),
            Values::Uint32(values) => OwnedValues::Uint32(values.to_vec()),
            Values::Uint64(values) => OwnedValues::Uint64(values.to_vec()),
            Values::Float32(values) => OwnedValues::Float32(values.to_vec()),
            Values::Float64(values) => OwnedValues::Float64(values.to_vec()),
            Values::Decimal128(halves) => OwnedValues::Decimal128(halves.to_vec()),
            Values::Bytes(wire::VarBytes { offsets, data }) => {
                OwnedValues::Bytes(wire::OwnedVarBytes { offsets: offsets.to_vec(), data: data.to_vec() })
            }
            Values::ListOffsets(offsets) => OwnedValues::ListOffsets(offsets.to_vec()),
            Values::Nothing => OwnedValues::Nothing,
        };
        wire::OwnedColumn { validity: self.validity.map(<[u8]>::to_vec), values }
    }
}

fn rebase(array: &ArrayRef) -> RebasedValues<'_> {
    use wire::Values;
    RebasedValues::Borrowed(match array.data_type() {
        DataType::Boolean => return RebasedValues::Bits(packed(array.as_boolean().values())),
        DataType::Utf8 => {
            let strings = array.as_string::<i32>();
            return bytes(strings.offsets(), strings.values());
        }
        DataType::Binary => {
            let binary = array.as_binary::<i32>();
            return bytes(binary.offsets(), binary.values());
        }
        DataType::List(_) => return RebasedValues::Offsets(from_zero(array.as_list::<i32>().offsets())),
        DataType::Struct(_) => Values::Nothing,
        DataType::Int8 => Values::Int8(array.as_primitive::<ty::Int8Type>().values()),
        DataType::Int16 => Values::Int16(array.as_primitive::<ty::Int16Type>().values()),
        DataType::Int32 => Values::Int32(array.as_primitive::<ty::Int32Type>().values()),
        DataType::Int64 => Values::Int64(array.as_primitive::<ty::Int64Type>().values()),
        DataType::UInt8 => Values::Uint8(array.as_primitive::<ty::UInt8Type>().values()),
        DataType::UInt16 => Values::Uint16(array.as_primitive::<ty::UInt16Type>().values()),
        DataType::UInt32 => Values::Uint32(array.as_primitive::<ty::UInt32Type>().values()),
        DataType::UInt64 => Values::Uint64(array.as_primitive::<ty::UInt64Type>().values()),
        DataType::Float32 => Values::Float32(array.as_primitive::<ty::Float32Type>().values()),
        DataType::Float64 => Values::Float64(array.as_primitive::<ty::Float64Type>().values()),
        DataType::Date32 => Values::Int32(array.as_primitive::<ty::Date32Type>().values()),
        DataType::Timestamp(unit, _) => Values::Int64(match unit {
            TimeUnit::Second => array.as_primitive::<ty::TimestampSecondType>().values(),
            TimeUnit::Millisecond => array.as_primitive::<ty::TimestampMillisecondType>().values(),
            TimeUnit::Microsecond => array.as_primitive::<ty::TimestampMicrosecondType>().values(),
            TimeUnit::Nanosecond => array.as_primitive::<ty::TimestampNanosecondType>().values(),
        }),
        DataType::Decimal128(..) => {
            Values::Decimal128(halves(array.as_primitive::<ty::Decimal128Type>().values().inner()))
        }
        other => unreachable!("a contract that reads {other} is refused at load"),
    })
}

/// Decimals as their 64-bit halves: low first, as a little-endian machine holds them.
#[cfg(target_endian = "little")]
fn halves(decimals: &arrow_buffer::Buffer) -> &[u64] {
    decimals.typed_data()
}

fn bytes<'a>(offsets: &'a OffsetBuffer<i32>, data: &'a [u8]) -> RebasedValues<'a> {
    let (first, last) = (offsets[0], offsets[offsets.len() - 1]);
    RebasedValues::Bytes { offsets: from_zero(offsets), data: &data[first as usize..last as usize] }
}

fn from_zero(offsets: &OffsetBuffer<i32>) -> Cow<'_, [i32]> {
    match offsets[0] {
        0 => Cow::Borrowed(&offsets[..]),
        first => Cow::Owned(offsets.iter().map(|offset| offset - first).collect()),
    }
}

/// Bits from row 0 on, zero behind the last row.
fn packed(bits: &BooleanBuffer) -> Vec<u8> {
    let mut bytes = bits.inner().bit_slice(bits.offset(), bits.len())[..bits.len().div_ceil(8)].to_vec();
    if let (Some(last), tail @ 1..) = (bytes.last_mut(), bits.len() % 8) {
        *last &= (1 << tail) - 1;
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bits_are_repacked_from_any_row_and_nothing_shows_behind_the_last() {
        let all = BooleanBuffer::from_iter((0..40).map(|row| row % 3 == 0));
        for offset in 0..20 {
            for length in 0..20 {
                let bytes = packed(&all.slice(offset, length));
                assert_eq!(bytes.len(), length.div_ceil(8));
                for bit in 0..bytes.len() * 8 {
                    let expected = bit < length && (offset + bit) % 3 == 0;
                    assert_eq!(bytes[bit / 8] >> (bit % 8) & 1 == 1, expected, "{offset} {length} {bit}");
                }
            }
        }
    }
}
