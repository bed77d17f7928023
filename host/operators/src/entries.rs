//! Entries of one state of a user's function as bytes, one key's after the other, and as columns for a call.
//!
//! Invariant: what [`EntryCodec::encode`] wrote [`EntryCodec::decode`] gives back exactly. The bytes are part of the
//! stored state (version 1, named in the step's state layout):
//!
//! | what                 | bytes                                                                            |
//! | -------------------- | -------------------------------------------------------------------------------- |
//! | no entry             | nothing                                                                          |
//! | entries              | their number as u32, then the entries; all numbers little-endian                 |
//! | entry                | its columns in order; a nullable one begins with `00` for null or `01` for a value |
//! | boolean              | `00` or `01`                                                                     |
//! | fixed width          | the value: 1, 2, 4, 8 or 16 bytes                                                |
//! | utf8, binary         | length as u32, the bytes                                                         |

use arrow_array::cast::AsArray;
use arrow_array::{Array, ArrayRef, make_array, new_empty_array};
use arrow_buffer::{BooleanBufferBuilder, Buffer, MutableBuffer, NullBufferBuilder, ScalarBuffer};
use arrow_schema::{DataType, FieldRef};
use weir_stream::StateEntries;

/// How a column's values lie in memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Shape {
    Bits,
    Fixed(usize),
    Bytes,
}

fn shape(data_type: &DataType) -> Option<Shape> {
    Some(match data_type {
        DataType::Boolean => Shape::Bits,
        DataType::Utf8 | DataType::Binary => Shape::Bytes,
        DataType::Decimal128(..) => Shape::Fixed(16),
        other => Shape::Fixed(other.primitive_width()?),
    })
}

#[derive(Debug, Clone)]
struct Column {
    data_type: DataType,
    shape: Shape,
    nullable: bool,
}

/// Writes and reads the entries of one state.
#[derive(Debug, Clone)]
pub(crate) struct EntryCodec {
    columns: Vec<Column>,
}

const TRUNCATED: &str = "entries end too early";

impl EntryCodec {
    /// # Errors
    /// The type that cannot be kept.
    pub(crate) fn new(fields: &[FieldRef]) -> Result<Self, String> {
        let column = |field: &FieldRef| {
            let data_type = field.data_type().clone();
            let shape = shape(&data_type).ok_or_else(|| format!("state cannot hold {data_type}"))?;
            Ok(Column { data_type, shape, nullable: field.is_nullable() })
        };
        Ok(Self { columns: fields.iter().map(column).collect::<Result<_, String>>()? })
    }

    /// The bytes of each key's entries, which must be of this state's columns.
    ///
    /// # Errors
    /// What is wrong with the entries, for people.
    pub(crate) fn encode(&self, entries: &StateEntries) -> Result<Vec<Vec<u8>>, String> {
        let StateEntries { offsets, columns } = entries;
        if columns.len() != self.columns.len() {
            return Err(format!("{} columns instead of {}", columns.len(), self.columns.len()));
        }
        let rows = columns.first().map_or(0, |column| column.len());
        let last = offsets.last().copied().unwrap_or_default() as usize;
        if offsets.first() != Some(&0) || !offsets.is_sorted() || columns.iter().any(|column| column.len() != last) {
            return Err(format!("offsets that do not rise from 0 to its {rows} entries"));
        }
        let columns: Vec<Values> = self.columns.iter().zip(columns).map(Values::of).collect::<Result<_, _>>()?;
        let bytes = |bounds: &[u32]| {
            let mut bytes = Vec::new();
            if bounds[0] < bounds[1] {
                bytes.extend_from_slice(&(bounds[1] - bounds[0]).to_le_bytes());
            }
            for entry in bounds[0]..bounds[1] {
                columns.iter().for_each(|column| column.write(entry as usize, &mut bytes));
            }
            bytes
        };
        Ok(offsets.windows(2).map(bytes).collect())
    }

    /// The entries of several keys as columns.
    ///
    /// # Errors
    /// What is wrong with bytes that no such codec wrote.
    pub(crate) fn decode<'b>(&self, keys: impl Iterator<Item = &'b [u8]>) -> Result<StateEntries, String> {
        let mut builders: Vec<Builder> = self.columns.iter().map(Builder::new).collect();
        let mut offsets = vec![0];
        let mut total = 0_u32;
        for mut bytes in keys {
            let count = if bytes.is_empty() { 0 } else { take_u32(&mut bytes)? };
            for _ in 0..count {
                builders.iter_mut().try_for_each(|builder| builder.read(&mut bytes))?;
            }
            if !bytes.is_empty() {
                return Err(format!("entries have {} bytes too many", bytes.len()));
            }
            total = total.checked_add(count).ok_or("too many entries")?;
            offsets.push(total);
        }
        let columns = builders.into_iter().map(|builder| builder.finish(total as usize)).collect::<Result<_, _>>()?;
        Ok(StateEntries { offsets, columns })
    }
}

fn take<'b>(bytes: &mut &'b [u8], length: usize) -> Result<&'b [u8], String> {
    let (taken, rest) = bytes.split_at_checked(length).ok_or(TRUNCATED)?;
    *bytes = rest;
    Ok(taken)
}

fn take_u32(bytes: &mut &[u8]) -> Result<u32, String> {
    let (taken, rest) = bytes.split_first_chunk().ok_or(TRUNCATED)?;
    *bytes = rest;
    Ok(u32::from_le_bytes(*taken))
}

/// A column to write from.
struct Values<'a> {
    array: &'a ArrayRef,
    nullable: bool,
    shape: Shape,
    /// Of fixed width, from row 0 on.
    fixed: Option<Buffer>,
}

impl<'a> Values<'a> {
    fn of((column, array): (&Column, &'a ArrayRef)) -> Result<Self, String> {
        if *array.data_type() != column.data_type {
            return Err(format!("a column of {} instead of {}", array.data_type(), column.data_type));
        }
        if array.null_count() > 0 && !column.nullable {
            return Err("a null in a column that is declared not null".to_owned());
        }
        let fixed = match column.shape {
            Shape::Fixed(width) => {
                let data = array.to_data();
                Some(data.buffers()[0].slice_with_length(data.offset() * width, data.len() * width))
            }
            Shape::Bits | Shape::Bytes => None,
        };
        Ok(Self { array, nullable: column.nullable, shape: column.shape, fixed })
    }

    fn write(&self, row: usize, bytes: &mut Vec<u8>) {
        if self.nullable {
            bytes.push(u8::from(!self.array.is_null(row)));
            if self.array.is_null(row) {
                return;
            }
        }
        match (self.shape, &self.fixed) {
            (Shape::Fixed(width), Some(values)) => bytes.extend_from_slice(&values[row * width..(row + 1) * width]),
            (Shape::Bits, _) => bytes.push(u8::from(self.array.as_boolean().value(row))),
            _ => {
                let value = match self.array.data_type() {
                    DataType::Utf8 => self.array.as_string::<i32>().value(row).as_bytes(),
                    _ => self.array.as_binary::<i32>().value(row),
                };
                bytes.extend_from_slice(&(value.len() as u32).to_le_bytes());
                bytes.extend_from_slice(value);
            }
        }
    }
}

/// A column that is being read.
struct Builder {
    data_type: DataType,
    shape: Shape,
    nulls: Option<NullBufferBuilder>,
    bits: BooleanBufferBuilder,
    values: MutableBuffer,
    offsets: Vec<i32>,
}

impl Builder {
    fn new(column: &Column) -> Self {
        Self {
            data_type: column.data_type.clone(),
            shape: column.shape,
            nulls: column.nullable.then(|| NullBufferBuilder::new(0)),
            bits: BooleanBufferBuilder::new(0),
            values: MutableBuffer::new(0),
            offsets: vec![0],
        }
    }

    fn read(&mut self, bytes: &mut &[u8]) -> Result<(), String> {
        let valid = self.nulls.is_none() || take(bytes, 1)?[0] == 1;
        if let Some(nulls) = &mut self.nulls {
            nulls.append(valid);
        }
        match self.shape {
            Shape::Bits => self.bits.append(valid && take(bytes, 1)?[0] == 1),
            Shape::Fixed(width) if valid => self.values.extend_from_slice(take(bytes, width)?),
            Shape::Fixed(width) => self.values.extend_zeros(width),
            Shape::Bytes => {
                if valid {
                    let length = take_u32(bytes)?;
                    self.values.extend_from_slice(take(bytes, length as usize)?);
                }
                self.offsets.push(i32::try_from(self.values.len()).map_err(|_| "more than 2 GiB of state in a call")?);
            }
        }
        Ok(())
    }

    fn finish(mut self, rows: usize) -> Result<ArrayRef, String> {
        let values: Buffer = self.values.into();
        let buffers = match self.shape {
            Shape::Bits => vec![self.bits.finish().into_inner()],
            Shape::Fixed(_) => vec![values],
            Shape::Bytes => vec![ScalarBuffer::from(self.offsets).into_inner(), values],
        };
        let nulls = self.nulls.and_then(|mut nulls| nulls.finish());
        let data = new_empty_array(&self.data_type).to_data().into_builder().len(rows).buffers(buffers).nulls(nulls);
        Ok(make_array(data.build().map_err(|error| error.to_string())?))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow_array::{BooleanArray, Decimal128Array, Float64Array, Int64Array, StringArray};
    use arrow_schema::Field;

    use super::*;

    fn fields() -> Vec<FieldRef> {
        let field = |name: &str, data_type, nullable| Arc::new(Field::new(name, data_type, nullable));
        vec![
            field("flag", DataType::Boolean, true),
            field("count", DataType::Int64, false),
            field("text", DataType::Utf8, true),
            field("price", DataType::Decimal128(12, 2), true),
            field("level", DataType::Float64, false),
        ]
    }

    fn columns() -> Vec<ArrayRef> {
        let price = Decimal128Array::from(vec![Some(150), None, Some(-7), Some(i128::from(i64::MAX))]);
        vec![
            Arc::new(BooleanArray::from(vec![Some(true), None, Some(false), Some(true)])),
            Arc::new(Int64Array::from(vec![i64::MIN, 0, -1, i64::MAX])),
            Arc::new(StringArray::from(vec![Some(""), Some("grün"), None, Some("x")])),
            Arc::new(price.with_precision_and_scale(12, 2).unwrap()),
            Arc::new(Float64Array::from(vec![0.5, -0.0, f64::INFINITY, 3.0])),
        ]
    }

    #[test]
    fn entries_of_several_keys_come_back_as_they_were() {
        let codec = EntryCodec::new(&fields()).unwrap();
        let entries = StateEntries { offsets: vec![0, 1, 1, 4], columns: columns() };
        let bytes = codec.encode(&entries).unwrap();
        assert_eq!(bytes[1], Vec::<u8>::new());
        assert_eq!(codec.decode(bytes.iter().map(Vec::as_slice)).unwrap(), entries);
        let last = codec.decode([&*bytes[2]].into_iter()).unwrap();
        assert_eq!(last.columns[0].as_boolean(), &columns()[0].slice(1, 3).as_boolean().clone());
    }

    #[test]
    fn the_bytes_are_those_of_version_1() {
        let codec = EntryCodec::new(&fields()[1..3]).unwrap();
        let entries = StateEntries { offsets: vec![0, 2], columns: columns()[1..3].to_vec() };
        let entries =
            StateEntries { columns: entries.columns.iter().map(|column| column.slice(1, 2)).collect(), ..entries };
        let expected = [
            &[2, 0, 0, 0][..],
            &[0, 0, 0, 0, 0, 0, 0, 0, 1, 5, 0, 0, 0, b'g', b'r', 0xc3, 0xbc, b'n'],
            &[255, 255, 255, 255, 255, 255, 255, 255, 0],
        ];
        assert_eq!(codec.encode(&entries).unwrap(), [expected.concat()]);
    }

    #[test]
    fn bytes_that_no_codec_wrote_are_refused() {
        let codec = EntryCodec::new(&fields()).unwrap();
        let whole = codec.encode(&StateEntries { offsets: vec![0, 4], columns: columns() }).unwrap().remove(0);
        for length in 1..whole.len() {
            assert!(codec.decode([&whole[..length]].into_iter()).is_err(), "{length} bytes");
        }
        let longer = [&whole[..], &[0]].concat();
        assert!(codec.decode([&*longer].into_iter()).unwrap_err().contains("1 bytes too many"));
    }

    #[test]
    fn entries_of_another_schema_are_refused() {
        let codec = EntryCodec::new(&fields()[1..2]).unwrap();
        let wrong =
            |offsets: Vec<u32>, columns: Vec<ArrayRef>| codec.encode(&StateEntries { offsets, columns }).unwrap_err();
        assert_eq!(wrong(vec![0, 4], columns()), "5 columns instead of 1");
        assert_eq!(wrong(vec![0, 4], columns()[4..].to_vec()), "a column of Float64 instead of Int64");
        assert!(wrong(vec![0, 3], columns()[1..2].to_vec()).starts_with("offsets that do not rise"));
        assert!(wrong(vec![1, 4], columns()[1..2].to_vec()).starts_with("offsets that do not rise"));
        let nulls: ArrayRef = Arc::new(Int64Array::from(vec![None, Some(1)]));
        assert_eq!(wrong(vec![0, 2], vec![nulls]), "a null in a column that is declared not null");
    }
}
