//! Rows as steps hold them, and rows that they hold as a batch again.
//!
//! One stored row (version 1, little-endian): event time i64, length u32, the row in its [`RowFormat`]. A list of them:
//! count u32, then the rows. Both stand behind a byte with the version.

use std::sync::Arc;

use arrow_array::{ArrayRef, Int64Array, RecordBatch, RecordBatchOptions};
use arrow_schema::{DataType, Field, Schema, SchemaRef};
use weir_state::table::StateValue;
use weir_stream::time::NO_WATERMARK;
use weir_stream::{Batch, ChangeKind, Changes, Origin};

use crate::operator::StepFault;
use crate::row::RowFormat;

/// First byte of every value here; rises with every change of the stored form.
pub const VALUE_VERSION: u8 = 1;

/// A row with its event time. They compare by time, then by their bytes: an order that all tasks agree on.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct TimedRow {
    pub time_us: i64,
    pub row: Arc<[u8]>,
}

impl TimedRow {
    /// Appends the row without a version.
    pub fn write_plain(&self, bytes: &mut Vec<u8>) {
        bytes.extend_from_slice(&self.time_us.to_le_bytes());
        bytes.extend_from_slice(&(self.row.len() as u32).to_le_bytes());
        bytes.extend_from_slice(&self.row);
    }

    fn held_bytes(&self) -> usize {
        // The counters of the shared row stand in front of it.
        self.row.len() + 2 * size_of::<usize>()
    }
}

/// Reads stored values from front to back.
pub struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    /// # Errors
    /// When the value is of another version.
    pub fn new(bytes: &'a [u8]) -> Result<Self, String> {
        match bytes.split_first() {
            Some((&VALUE_VERSION, rest)) => Ok(Self(rest)),
            Some((version, _)) => Err(format!("version {version}, known is {VALUE_VERSION}")),
            None => Err("it is empty".into()),
        }
    }

    fn take(&mut self, count: usize) -> Result<&'a [u8], String> {
        let (head, rest) = self.0.split_at_checked(count).ok_or("it is cut off")?;
        self.0 = rest;
        Ok(head)
    }

    /// # Errors
    /// When the value ends before.
    pub fn i64(&mut self) -> Result<i64, String> {
        Ok(i64::from_le_bytes(*self.take(8)?.first_chunk().ok_or("it is cut off")?))
    }

    /// # Errors
    /// When the value ends before.
    pub fn u32(&mut self) -> Result<u32, String> {
        Ok(u32::from_le_bytes(*self.take(4)?.first_chunk().ok_or("it is cut off")?))
    }

    /// # Errors
    /// When the value ends before.
    pub fn row(&mut self) -> Result<TimedRow, String> {
        let time_us = self.i64()?;
        let length = self.u32()? as usize;
        Ok(TimedRow { time_us, row: self.take(length)?.into() })
    }

    /// # Errors
    /// When the value ends before.
    pub fn rows(&mut self) -> Result<Vec<TimedRow>, String> {
        (0..self.u32()?).map(|_| self.row()).collect()
    }

    /// # Errors
    /// When something is left.
    pub fn end(self) -> Result<(), String> {
        if self.0.is_empty() { Ok(()) } else { Err(format!("it has {} bytes too many", self.0.len())) }
    }
}

impl StateValue for TimedRow {
    fn write(&self, bytes: &mut Vec<u8>) {
        bytes.push(VALUE_VERSION);
        self.write_plain(bytes);
    }

    fn read(bytes: &[u8]) -> Result<Self, String> {
        let mut reader = Reader::new(bytes)?;
        let row = reader.row()?;
        reader.end()?;
        Ok(row)
    }

    fn heap_bytes(&self) -> usize {
        self.held_bytes()
    }
}

/// Several rows of one key.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TimedRows(pub Vec<TimedRow>);

impl TimedRows {
    /// Appends count and rows, without a version.
    pub fn write_plain(&self, bytes: &mut Vec<u8>) {
        bytes.extend_from_slice(&(self.0.len() as u32).to_le_bytes());
        self.0.iter().for_each(|row| row.write_plain(bytes));
    }

    pub fn held_bytes(&self) -> usize {
        self.0.capacity() * size_of::<TimedRow>() + self.0.iter().map(TimedRow::held_bytes).sum::<usize>()
    }
}

/// Held rows on their way out: the columns that they came with, and where a step adds one, a number behind them.
#[derive(Debug, Clone)]
pub struct Made {
    step: Arc<str>,
    format: RowFormat,
    schema: SchemaRef,
    is_numbered: bool,
    rows: Vec<(TimedRow, ChangeKind, i64)>,
}

impl Made {
    /// `number`: name of the column of numbers.
    pub fn new(step: &Arc<str>, format: &RowFormat, number: Option<&str>) -> Self {
        let input = format.schema();
        let schema = number.map_or_else(
            || Arc::clone(input),
            |name| {
                let number = Arc::new(Field::new(name, DataType::Int64, false));
                let fields: Vec<_> = input.fields().iter().cloned().chain([number]).collect();
                Arc::new(Schema::new(fields))
            },
        );
        let (step, format, is_numbered) = (Arc::clone(step), format.clone(), number.is_some());
        Self { step, format, schema, is_numbered, rows: Vec::new() }
    }

    pub fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    pub fn push(&mut self, row: TimedRow, kind: ChangeKind, number: i64) {
        self.rows.push((row, kind, number));
    }

    /// Brings the rows into the order of their event times; rows of one time stay as they are.
    pub fn sort_by_time(&mut self) {
        self.rows.sort_by_key(|(row, ..)| row.time_us);
    }

    /// Everything pushed since the last call; empty if nothing was.
    ///
    /// # Errors
    /// [`StepFault::Internal`] when a held row cannot be read.
    pub fn take(&mut self) -> Result<Batch, StepFault> {
        let made = std::mem::take(&mut self.rows);
        let rows: Vec<Option<&[u8]>> = made.iter().map(|(row, ..)| Some(&*row.row)).collect();
        let mut columns: Vec<ArrayRef> = self.format.decode(&rows).map_err(StepFault::Internal)?;
        if self.is_numbered {
            columns.push(Arc::new(made.iter().map(|(_, _, number)| *number).collect::<Int64Array>()));
        }
        let options = RecordBatchOptions::new().with_row_count(Some(made.len()));
        let inserts = made.iter().all(|(_, kind, _)| *kind == ChangeKind::Insert);
        Ok(Batch {
            columns: RecordBatch::try_new_with_options(Arc::clone(&self.schema), columns, &options)?,
            event_times_us: made.iter().map(|(row, ..)| row.time_us).collect(),
            watermarks_us: vec![NO_WATERMARK; made.len()].into(),
            origin: Origin::Step(Arc::clone(&self.step)),
            changes: match inserts {
                true => Changes::Inserts,
                false => Changes::PerRow(made.iter().map(|(_, kind, _)| *kind as u8).collect()),
            },
        })
    }
}
