//! `flatten`: the items of a list column as rows of their own, or the fields of a struct column as columns.
//!
//! Each row that comes out has the time, origin and other columns of the row that it is from, in the list's order. Copies
//! are bounded: a row whose other columns would be copied into more than [`MAX_COPIED_BYTES`] is a reject. What a row weighs
//! is its own alone, so that whether it is refused does not depend on the batch that it came in.

use std::ops::Range;
use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::{Array, ArrayRef, ListArray, RecordBatch, RecordBatchOptions, UInt32Array};
use arrow_schema::{ArrowError, DataType, Field, FieldRef, Schema, SchemaRef};
use arrow_select::nullif::nullif;
use arrow_select::take::take;
use weir_stream::{Batch, Reject};

use crate::operator::{Operator, Outputs, StepFault};

/// The stage of its rejects.
pub const STAGE: &str = "flatten";

/// The most bytes that copies of one row's other columns may take.
pub const MAX_COPIED_BYTES: usize = 4 << 20;

/// Rows of one batch that comes out, and bytes of their copies.
const MAX_ROWS: usize = 8192;
const MAX_BATCH_BYTES: usize = 16 << 20;

/// Lists with fewer items are not weighed: a record's own limit bounds them.
const FEW_ITEMS: usize = 4;

/// Takes one column apart.
#[derive(Debug, Clone)]
pub struct Flatten {
    column: usize,
    part: Part,
    output: SchemaRef,
}

#[derive(Debug, Clone, Copy)]
enum Part {
    Items {
        /// A row without items stays, with null in their place.
        keep_empty: bool,
    },
    Fields,
}

impl Flatten {
    /// Column `column`, a list, gives rows with one item each, called `name`.
    ///
    /// # Errors
    /// What does not fit, in one sentence.
    pub fn items(input: &SchemaRef, column: usize, name: &str, keep_empty: bool) -> Result<Self, String> {
        let DataType::List(item) = input.field(column).data_type() else {
            return Err(format!("`{}` is no list", input.field(column).name()));
        };
        let item = Field::new(name, item.data_type().clone(), item.is_nullable() || keep_empty);
        let output = replaced(input, column, vec![Arc::new(item)])?;
        Ok(Self { column, part: Part::Items { keep_empty }, output })
    }

    /// Column `column`, a struct, gives columns with the names of its fields behind `prefix`.
    ///
    /// # Errors
    /// As [`Flatten::items`].
    pub fn fields(input: &SchemaRef, column: usize, prefix: &str) -> Result<Self, String> {
        let whole = input.field(column);
        let DataType::Struct(fields) = whole.data_type() else {
            return Err(format!("`{}` is no struct", whole.name()));
        };
        let field = |field: &FieldRef| {
            let nullable = field.is_nullable() || whole.is_nullable();
            Arc::new(Field::new(format!("{prefix}{}", field.name()), field.data_type().clone(), nullable))
        };
        let output = replaced(input, column, fields.iter().map(field).collect())?;
        Ok(Self { column, part: Part::Fields, output })
    }

    pub fn output_schema(&self) -> &SchemaRef {
        &self.output
    }

    fn take_items(&self, batch: &Batch, keep_empty: bool, out: &mut Outputs) -> Result<(), StepFault> {
        let list = batch.columns.column(self.column).as_list::<i32>();
        let (mut copies, mut rejects) = (Copies::default(), Vec::new());
        for row in 0..batch.rows() {
            let range = if list.is_null(row) { 0..0 } else { range(list, row) };
            let bytes = self.bytes_beside(batch, row);
            if let Some(reason) = too_large(range.len(), bytes) {
                rejects.push(Reject::new(row as u32, "too-large", reason));
                continue;
            }
            let empty = (range.is_empty() && keep_empty).then_some(None);
            for item in range.map(|item| Some(item as u32)).chain(empty) {
                copies.push(row as u32, item, bytes);
                if copies.is_full() {
                    out.push(0, self.copied(batch, list, std::mem::take(&mut copies))?);
                }
            }
        }
        out.push(0, self.copied(batch, list, copies)?);
        out.reject(STAGE, batch, rejects)
    }

    /// What a copy of a row takes beside the item.
    fn bytes_beside(&self, batch: &Batch, row: usize) -> usize {
        let columns = batch.columns.columns().iter().enumerate();
        columns.filter(|(number, _)| *number != self.column).map(|(_, array)| byte_size(array, row..row + 1)).sum()
    }

    fn copied(&self, batch: &Batch, list: &ListArray, copies: Copies) -> Result<Batch, ArrowError> {
        let Copies { rows, items, .. } = copies;
        let (indices, items) = (UInt32Array::from(rows.clone()), UInt32Array::from(items));
        let columns = batch.columns.columns().iter().enumerate();
        let taken = columns.map(|(number, array)| match number == self.column {
            true => take(list.values(), &items, None),
            false => take(array, &indices, None),
        });
        let options = RecordBatchOptions::new().with_row_count(Some(rows.len()));
        let columns = taken.collect::<Result<Vec<_>, _>>()?;
        Ok(Batch {
            columns: RecordBatch::try_new_with_options(Arc::clone(&self.output), columns, &options)?,
            event_times_us: rows.iter().map(|row| batch.event_times_us[*row as usize]).collect(),
            watermarks_us: rows.iter().map(|row| batch.watermarks_us[*row as usize]).collect(),
            origin: batch.origin.take(&rows),
            changes: batch.changes.take(&rows),
        })
    }

    fn take_fields(&self, batch: Batch) -> Result<Batch, ArrowError> {
        let whole = batch.columns.column(self.column).as_struct();
        let absent = whole.nulls().map(|nulls| arrow_array::BooleanArray::new(!nulls.inner(), None));
        let field = |field: &ArrayRef| match &absent {
            Some(absent) => nullif(field, absent),
            None => Ok(Arc::clone(field)),
        };
        let fields = whole.columns().iter().map(field).collect::<Result<Vec<_>, _>>()?;
        let mut columns = batch.columns.columns().to_vec();
        columns.splice(self.column..=self.column, fields);
        batch.with_columns(Arc::clone(&self.output), columns)
    }
}

/// Rows that come out: which row of the batch each is from, and its item.
#[derive(Default)]
struct Copies {
    rows: Vec<u32>,
    items: Vec<Option<u32>>,
    bytes: usize,
}

impl Copies {
    fn push(&mut self, row: u32, item: Option<u32>, bytes: usize) {
        self.rows.push(row);
        self.items.push(item);
        self.bytes += bytes;
    }

    fn is_full(&self) -> bool {
        self.rows.len() >= MAX_ROWS || self.bytes >= MAX_BATCH_BYTES
    }
}

/// Why a row has too many items beside too much else.
fn too_large(items: usize, bytes: usize) -> Option<String> {
    let copied = bytes.saturating_mul(items);
    (items >= FEW_ITEMS && copied > MAX_COPIED_BYTES).then(|| {
        format!("{items} items beside {bytes} bytes make {copied} bytes of rows, the limit is {MAX_COPIED_BYTES}")
    })
}

/// Bytes of some rows of a column; recursion ends where the column's type does.
fn byte_size(array: &ArrayRef, rows: Range<usize>) -> usize {
    let between = |offsets: &[i32]| offsets[rows.start] as usize..offsets[rows.end] as usize;
    let offsets_bytes = rows.len() * size_of::<i32>();
    match array.data_type() {
        DataType::Utf8 => offsets_bytes + between(array.as_string::<i32>().value_offsets()).len(),
        DataType::Binary => offsets_bytes + between(array.as_binary::<i32>().value_offsets()).len(),
        DataType::List(_) => {
            let list = array.as_list::<i32>();
            offsets_bytes + byte_size(list.values(), between(list.value_offsets()))
        }
        DataType::Struct(_) => array.as_struct().columns().iter().map(|part| byte_size(part, rows.clone())).sum(),
        other => rows.len() * other.primitive_width().unwrap_or(1),
    }
}

/// A schema with other columns in the place of one.
fn replaced(input: &SchemaRef, column: usize, by: Vec<FieldRef>) -> Result<SchemaRef, String> {
    let mut fields: Vec<FieldRef> = input.fields().iter().cloned().collect();
    fields.splice(column..=column, by);
    let twice =
        fields.iter().enumerate().find(|(at, field)| fields[..*at].iter().any(|other| other.name() == field.name()));
    match twice {
        Some((_, field)) => Err(format!("there are two columns `{}` then", field.name())),
        None => Ok(Arc::new(Schema::new(fields))),
    }
}

fn range(list: &ListArray, row: usize) -> Range<usize> {
    let offsets = list.value_offsets();
    offsets[row] as usize..offsets[row + 1] as usize
}

impl Operator for Flatten {
    fn process(&mut self, batch: Batch, out: &mut Outputs) -> Result<(), StepFault> {
        match self.part {
            Part::Items { keep_empty } => self.take_items(&batch, keep_empty, out),
            Part::Fields => {
                out.push(0, self.take_fields(batch)?);
                Ok(())
            }
        }
    }
}
