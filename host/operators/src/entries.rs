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
//! | list                 | number of items as u32, then each as a column of the item's type                 |
//! | struct               | its fields in order, each as a column                                            |

use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::{Array, ArrayRef, ListArray, StructArray, make_array, new_empty_array};
use arrow_buffer::{BooleanBufferBuilder, Buffer, MutableBuffer, NullBufferBuilder, OffsetBuffer, ScalarBuffer};
use arrow_schema::{DataType, FieldRef};
use weir_stream::StateEntries;

/// How a column's values lie in memory.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Shape {
    Bits,
    Fixed(usize),
    Bytes,
    List(Box<Column>),
    Struct(Vec<Column>),
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Column {
    data_type: DataType,
    shape: Shape,
    nullable: bool,
}

impl Column {
    /// How deep this goes was bounded with the function's contract.
    fn of(field: &FieldRef) -> Result<Self, String> {
        let data_type = field.data_type().clone();
        let shape = match &data_type {
            DataType::Boolean => Shape::Bits,
            DataType::Utf8 | DataType::Binary => Shape::Bytes,
            DataType::Decimal128(..) => Shape::Fixed(16),
            DataType::List(item) => Shape::List(Box::new(Self::of(item)?)),
            DataType::Struct(fields) => Shape::Struct(fields.iter().map(Self::of).collect::<Result<_, _>>()?),
            other => Shape::Fixed(other.primitive_width().ok_or_else(|| format!("state cannot hold {other}"))?),
        };
        Ok(Self { data_type, shape, nullable: field.is_nullable() })
    }
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
        Ok(Self { columns: fields.iter().map(Column::of).collect::<Result<_, _>>()? })
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
        let columns: Vec<Values> = self.columns.iter().zip(columns).map(Values::checked).collect::<Result<_, _>>()?;
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
        let columns = builders.into_iter().map(Builder::finish).collect::<Result<_, _>>()?;
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
    lies: Lies<'a>,
}

/// Where a column's values lie.
enum Lies<'a> {
    Bits,
    /// From row 0 on.
    Fixed(Buffer, usize),
    Bytes,
    Items(&'a OffsetBuffer<i32>, Box<Values<'a>>),
    Fields(Vec<Values<'a>>),
}

impl<'a> Values<'a> {
    fn checked((column, array): (&Column, &'a ArrayRef)) -> Result<Self, String> {
        if *array.data_type() != column.data_type {
            return Err(format!("a column of {} instead of {}", array.data_type(), column.data_type));
        }
        if array.null_count() > 0 && !column.nullable {
            return Err("a null in a column that is declared not null".to_owned());
        }
        Ok(Self::of(column, array))
    }

    fn of(column: &Column, array: &'a ArrayRef) -> Self {
        let lies = match &column.shape {
            Shape::Bits => Lies::Bits,
            Shape::Fixed(width) => {
                let data = array.to_data();
                Lies::Fixed(data.buffers()[0].slice_with_length(data.offset() * width, data.len() * width), *width)
            }
            Shape::Bytes => Lies::Bytes,
            Shape::List(item) => {
                let list = array.as_list::<i32>();
                Lies::Items(list.offsets(), Box::new(Self::of(item, list.values())))
            }
            Shape::Struct(fields) => {
                let children = array.as_struct().columns();
                Lies::Fields(fields.iter().zip(children).map(|(field, child)| Self::of(field, child)).collect())
            }
        };
        Self { array, nullable: column.nullable, lies }
    }

    fn write(&self, row: usize, bytes: &mut Vec<u8>) {
        if self.nullable {
            bytes.push(u8::from(!self.array.is_null(row)));
            if self.array.is_null(row) {
                return;
            }
        }
        match &self.lies {
            Lies::Fixed(values, width) => bytes.extend_from_slice(&values[row * width..(row + 1) * width]),
            Lies::Bits => bytes.push(u8::from(self.array.as_boolean().value(row))),
            Lies::Bytes => {
                let value = match self.array.data_type() {
                    DataType::Utf8 => self.array.as_string::<i32>().value(row).as_bytes(),
                    _ => self.array.as_binary::<i32>().value(row),
                };
                bytes.extend_from_slice(&(value.len() as u32).to_le_bytes());
                bytes.extend_from_slice(value);
            }
            Lies::Items(offsets, items) => {
                let [begin, end] = [row, row + 1].map(|at| offsets[at] as usize);
                bytes.extend_from_slice(&((end - begin) as u32).to_le_bytes());
                (begin..end).for_each(|item| items.write(item, bytes));
            }
            Lies::Fields(fields) => fields.iter().for_each(|field| field.write(row, bytes)),
        }
    }
}

/// A column that is being read.
struct Builder {
    data_type: DataType,
    nulls: Option<NullBufferBuilder>,
    rows: usize,
    made: Made,
}

/// What was read so far.
enum Made {
    Bits(BooleanBufferBuilder),
    Fixed(MutableBuffer, usize),
    Bytes(Vec<i32>, MutableBuffer),
    Items(Vec<i32>, Box<Builder>),
    Fields(Vec<Builder>),
}

fn offset(length: usize) -> Result<i32, String> {
    i32::try_from(length).map_err(|_| "more than 2 GiB of state in a call".to_owned())
}

impl Builder {
    fn new(column: &Column) -> Self {
        let made = match &column.shape {
            Shape::Bits => Made::Bits(BooleanBufferBuilder::new(0)),
            Shape::Fixed(width) => Made::Fixed(MutableBuffer::new(0), *width),
            Shape::Bytes => Made::Bytes(vec![0], MutableBuffer::new(0)),
            Shape::List(item) => Made::Items(vec![0], Box::new(Self::new(item))),
            Shape::Struct(fields) => Made::Fields(fields.iter().map(Self::new).collect()),
        };
        let nulls = column.nullable.then(|| NullBufferBuilder::new(0));
        Self { data_type: column.data_type.clone(), nulls, rows: 0, made }
    }

    fn read(&mut self, bytes: &mut &[u8]) -> Result<(), String> {
        let valid = self.nulls.is_none() || take(bytes, 1)?[0] == 1;
        if !valid {
            return self.fill();
        }
        self.mark(true);
        match &mut self.made {
            Made::Bits(bits) => bits.append(take(bytes, 1)?[0] == 1),
            Made::Fixed(values, width) => values.extend_from_slice(take(bytes, *width)?),
            Made::Bytes(offsets, values) => {
                let length = take_u32(bytes)?;
                values.extend_from_slice(take(bytes, length as usize)?);
                offsets.push(offset(values.len())?);
            }
            Made::Items(offsets, items) => {
                // Every item has a byte at least: a number that no bytes follow ends the loop.
                for _ in 0..take_u32(bytes)? {
                    items.read(bytes)?;
                }
                offsets.push(offset(items.rows)?);
            }
            Made::Fields(fields) => fields.iter_mut().try_for_each(|field| field.read(bytes))?,
        }
        Ok(())
    }

    fn mark(&mut self, valid: bool) {
        self.rows += 1;
        self.nulls.iter_mut().for_each(|nulls| nulls.append(valid));
    }

    /// A null, or in a field that has none what stands below the null of its struct.
    fn fill(&mut self) -> Result<(), String> {
        self.mark(false);
        match &mut self.made {
            Made::Bits(bits) => bits.append(false),
            Made::Fixed(values, width) => values.extend_zeros(*width),
            Made::Bytes(offsets, values) => offsets.push(offset(values.len())?),
            Made::Items(offsets, items) => offsets.push(offset(items.rows)?),
            Made::Fields(fields) => fields.iter_mut().try_for_each(Self::fill)?,
        }
        Ok(())
    }

    fn finish(self) -> Result<ArrayRef, String> {
        let Self { data_type, nulls, rows, made } = self;
        let nulls = nulls.and_then(|mut nulls| nulls.finish());
        let buffers = match (made, &data_type) {
            (Made::Items(offsets, items), DataType::List(item)) => {
                let offsets = OffsetBuffer::new(ScalarBuffer::from(offsets));
                let list = ListArray::try_new(item.clone(), offsets, items.finish()?, nulls);
                return Ok(Arc::new(list.map_err(|error| error.to_string())?));
            }
            (Made::Fields(children), DataType::Struct(fields)) => {
                let children = children.into_iter().map(Self::finish).collect::<Result<_, _>>()?;
                let structure = StructArray::try_new(fields.clone(), children, nulls);
                return Ok(Arc::new(structure.map_err(|error| error.to_string())?));
            }
            (Made::Bits(mut bits), _) => vec![bits.finish().into_inner()],
            (Made::Fixed(values, _), _) => vec![values.into()],
            (Made::Bytes(offsets, values), _) => vec![ScalarBuffer::from(offsets).into_inner(), values.into()],
            (Made::Items(..) | Made::Fields(_), other) => return Err(format!("{other} holds no columns")),
        };
        let data = new_empty_array(&data_type).to_data().into_builder().len(rows).buffers(buffers).nulls(nulls);
        Ok(make_array(data.build().map_err(|error| error.to_string())?))
    }
}

#[cfg(test)]
mod tests;
