//! Bytes of single rows to columns, a column at a time.

use std::sync::Arc;

use arrow_array::{
    ArrayRef, ArrowPrimitiveType, BinaryArray, BooleanArray, PrimitiveArray, StringArray, downcast_primitive,
};
use arrow_buffer::{BooleanBufferBuilder, Buffer, MutableBuffer, NullBuffer, OffsetBuffer, ScalarBuffer};
use arrow_schema::DataType;

use super::RowFormat;

/// Rows being read, each up to its own place.
struct Cursors<'a> {
    /// The row and where its next value starts; none for a row that is not there.
    rows: Vec<Option<(&'a [u8], usize)>>,
}

impl RowFormat {
    /// The columns of stored rows; a row that is not there has nothing but nulls.
    ///
    /// # Errors
    /// When a row was not written by this format.
    pub fn decode(&self, rows: &[Option<&[u8]>]) -> Result<Vec<ArrayRef>, String> {
        let start = self.validity_bytes();
        if let Some(short) = rows.iter().flatten().find(|row| row.len() < start) {
            return Err(format!("a stored row of {} bytes is too short", short.len()));
        }
        let mut cursors = Cursors { rows: rows.iter().map(|row| row.map(|row| (row, start))).collect() };
        let columns = self.schema.fields().iter().enumerate();
        let columns: Vec<ArrayRef> =
            columns.map(|(number, field)| cursors.column(number, field.data_type())).collect::<Result<_, _>>()?;
        match cursors.rows.iter().flatten().find(|(row, at)| *at != row.len()) {
            Some((row, at)) => Err(format!("a stored row has {} bytes too many", row.len() - at)),
            None => Ok(columns),
        }
    }
}

impl<'a> Cursors<'a> {
    fn column(&mut self, number: usize, data_type: &DataType) -> Result<ArrayRef, String> {
        macro_rules! fixed {
            ($t:ty) => {
                self.primitive::<$t>(number, data_type)
            };
        }
        downcast_primitive! {
            data_type => (fixed),
            DataType::Boolean => self.bits(number),
            DataType::Utf8 => {
                let (offsets, values, nulls) = self.bytes(number)?;
                let text = StringArray::try_new(offsets, values, nulls);
                Ok(Arc::new(text.map_err(|error| error.to_string())?))
            }
            DataType::Binary => {
                let (offsets, values, nulls) = self.bytes(number)?;
                Ok(Arc::new(BinaryArray::new(offsets, values, nulls)))
            }
            other => Err(format!("no row holds a {other}")),
        }
    }

    /// Gives `value` the bytes of the column's value in each row; none for null.
    fn each(
        &mut self,
        number: usize,
        mut value: impl FnMut(Option<&'a [u8]>) -> Option<usize>,
    ) -> Result<Option<NullBuffer>, String> {
        let mut valid = BooleanBufferBuilder::new(self.rows.len());
        for cursor in &mut self.rows {
            let set = cursor.as_ref().is_some_and(|(row, _)| row[number / 8] & (1 << (number % 8)) != 0);
            valid.append(set);
            match cursor.as_mut().filter(|_| set) {
                Some((row, at)) => {
                    *at += value(Some(&row[*at..])).ok_or("a stored row ends within a value")?;
                }
                None => {
                    value(None);
                }
            }
        }
        Ok(Some(NullBuffer::new(valid.finish())).filter(|nulls| nulls.null_count() > 0))
    }

    fn primitive<T: ArrowPrimitiveType>(&mut self, number: usize, data_type: &DataType) -> Result<ArrayRef, String> {
        let width = size_of::<T::Native>();
        let mut values = MutableBuffer::with_capacity(self.rows.len() * width);
        let nulls = self.each(number, |row| {
            match row {
                Some(row) => values.extend_from_slice(row.get(..width)?),
                None => values.extend_zeros(width),
            }
            Some(width)
        })?;
        let values: ScalarBuffer<T::Native> = Buffer::from(values).into();
        Ok(Arc::new(PrimitiveArray::<T>::new(values, nulls).with_data_type(data_type.clone())))
    }

    fn bits(&mut self, number: usize) -> Result<ArrayRef, String> {
        let mut values = BooleanBufferBuilder::new(self.rows.len());
        let nulls = self.each(number, |row| {
            match row {
                Some(row) => values.append(*row.first()? != 0),
                None => values.append(false),
            }
            Some(1)
        })?;
        Ok(Arc::new(BooleanArray::new(values.finish(), nulls)))
    }

    fn bytes(&mut self, number: usize) -> Result<(OffsetBuffer<i32>, Buffer, Option<NullBuffer>), String> {
        let (mut values, mut lengths) = (Vec::new(), Vec::with_capacity(self.rows.len()));
        let nulls = self.each(number, |row| {
            let Some(row) = row else {
                lengths.push(0);
                return Some(0);
            };
            let (length, rest) = row.split_first_chunk::<4>()?;
            let length = u32::from_le_bytes(*length) as usize;
            values.extend_from_slice(rest.get(..length)?);
            lengths.push(length);
            Some(4 + length)
        })?;
        if i32::try_from(values.len()).is_err() {
            return Err(format!("the values of one column take {} bytes", values.len()));
        }
        Ok((OffsetBuffer::from_lengths(lengths), Buffer::from_vec(values), nulls))
    }
}
