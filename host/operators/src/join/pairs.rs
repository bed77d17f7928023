//! Rows of both sides put beside each other, as columns.

use std::sync::Arc;

use arrow_array::{ArrayRef, Int64Array, RecordBatch, UInt32Array};
use arrow_schema::{Schema, SchemaRef};
use arrow_select::take::take;
use weir_stream::pairs::group_columns;
use weir_stream::time::NO_WATERMARK;
use weir_stream::{Batch, Changes, Origin};

use super::{JoinKind, LEFT, RIGHT, pair_schema};
use crate::operator::StepFault;
use crate::row::RowFormat;

/// How the rows that come out are made.
#[derive(Debug, Clone)]
pub(super) struct Pairs {
    step: Arc<str>,
    /// Left columns, then right ones.
    schema: SchemaRef,
    output: SchemaRef,
    left: SchemaRef,
    pub formats: [RowFormat; 2],
}

/// Rows of one side, to be put beside the other's.
pub(super) enum SideRows<'a> {
    /// Rows of a batch that has just come.
    Incoming(&'a RecordBatch, Vec<u32>),
    /// Rows of the state; none for one that is absent.
    Stored(Vec<Option<&'a [u8]>>),
    /// No row at all.
    Absent(usize),
}

/// Of each row the number of its group and the times of its sides.
#[derive(Debug, Default)]
pub(super) struct GroupTimes {
    pub numbers: Vec<u32>,
    pub left_times_us: Vec<i64>,
    pub right_times_us: Vec<Option<i64>>,
}

impl Pairs {
    /// `makes_pairs`: whether pairs are made, be it for a condition alone.
    ///
    /// # Errors
    /// For people: a column of both sides' names, or of a type that no state keeps.
    pub fn new(
        step: &Arc<str>,
        kind: JoinKind,
        prefix: &str,
        makes_pairs: bool,
        sides: [&SchemaRef; 2],
    ) -> Result<Self, String> {
        let clash = |name| format!("both sides have a column `{name}`");
        let schema = match makes_pairs {
            false => Arc::clone(sides[LEFT]),
            true => pair_schema(kind, prefix, sides[LEFT], sides[RIGHT]).map_err(clash)?,
        };
        let output = Arc::clone(if kind.gives_pairs() { &schema } else { sides[LEFT] });
        let formats = [RowFormat::new(sides[LEFT])?, RowFormat::new(sides[RIGHT])?];
        Ok(Self { step: Arc::clone(step), schema, output, left: Arc::clone(sides[LEFT]), formats })
    }

    /// With the columns behind a pair's that say which group it is of.
    pub fn by_group(self) -> Self {
        let fields = self.output.fields().iter().cloned().chain(group_columns().map(Arc::new));
        Self { output: Arc::new(Schema::new(fields.collect::<Vec<_>>())), ..self }
    }

    /// Of the rows that come out.
    pub fn output(&self) -> &SchemaRef {
        &self.output
    }

    /// Of a pair, where pairs are made.
    pub fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    fn columns(&self, side: usize, rows: &SideRows) -> Result<Vec<ArrayRef>, StepFault> {
        match rows {
            SideRows::Incoming(batch, rows) => {
                let indices = UInt32Array::from(rows.clone());
                let taken = batch.columns().iter().map(|column| take(column, &indices, None));
                Ok(taken.collect::<Result<_, _>>()?)
            }
            SideRows::Stored(rows) => self.formats[side].decode(rows).map_err(StepFault::Internal),
            SideRows::Absent(rows) => self.formats[side].decode(&vec![None; *rows]).map_err(StepFault::Internal),
        }
    }

    /// Left rows beside right rows; as many of either.
    pub fn beside(&self, left: &SideRows, right: &SideRows, times_us: Vec<i64>) -> Result<Batch, StepFault> {
        let mut columns = self.columns(LEFT, left)?;
        columns.append(&mut self.columns(RIGHT, right)?);
        self.batch(&self.schema, columns, times_us)
    }

    /// Left rows beside right rows by group.
    pub fn grouped(&self, left: &SideRows, right: &SideRows, groups: GroupTimes) -> Result<Batch, StepFault> {
        let GroupTimes { numbers, left_times_us, right_times_us } = groups;
        let later = |(left, right): (&i64, &Option<i64>)| right.map_or(*left, |right| right.max(*left));
        let times_us = left_times_us.iter().zip(&right_times_us).map(later).collect();
        let mut columns = self.columns(LEFT, left)?;
        columns.append(&mut self.columns(RIGHT, right)?);
        columns.push(Arc::new(UInt32Array::from(numbers)));
        columns.push(Arc::new(Int64Array::from(left_times_us)));
        columns.push(Arc::new(Int64Array::from(right_times_us)));
        self.batch(&self.output, columns, times_us)
    }

    /// Left rows alone.
    pub fn left(&self, rows: &SideRows, times_us: Vec<i64>) -> Result<Batch, StepFault> {
        self.batch(&self.left, self.columns(LEFT, rows)?, times_us)
    }

    fn batch(&self, schema: &SchemaRef, columns: Vec<ArrayRef>, times_us: Vec<i64>) -> Result<Batch, StepFault> {
        let rows = times_us.len();
        Ok(Batch {
            columns: RecordBatch::try_new(Arc::clone(schema), columns)?,
            event_times_us: times_us.into(),
            watermarks_us: vec![NO_WATERMARK; rows].into(),
            origin: Origin::Step(Arc::clone(&self.step)),
            changes: Changes::Inserts,
        })
    }
}
