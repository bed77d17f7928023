//! Batches of a join's pairs by group: all pairs of one left row side by side, to be looked at together.
//!
//! Layout: the columns of a pair, then those of [`group_columns`], which no manifest names. The groups of a batch are
//! numbered in their order; none is cut by the end of a batch. A row without a right side closes its group: what the left
//! row comes out as unless one of its pairs does.

use arrow_array::cast::AsArray;
use arrow_array::types::{Int64Type, UInt32Type};
use arrow_array::{Array, Int64Array};
use arrow_schema::{DataType, Field};

use crate::batch::Batch;

/// How many columns stand behind those of a pair.
pub const GROUP_COLUMNS: usize = 3;

/// The number of a pair's group, and the event times of its two rows in microseconds.
pub fn group_columns() -> [Field; GROUP_COLUMNS] {
    [
        Field::new("$group", DataType::UInt32, false),
        Field::new("$left_time_us", DataType::Int64, false),
        Field::new("$right_time_us", DataType::Int64, true),
    ]
}

/// The last columns of a batch of pairs.
#[derive(Debug, Clone, Copy)]
pub struct Groups<'a> {
    /// Ascending.
    pub numbers: &'a [u32],
    pub left_times_us: &'a [i64],
    /// Null for the row that closes a group.
    pub right_times_us: &'a Int64Array,
}

impl<'a> Groups<'a> {
    /// # Panics
    /// When the batch is none of pairs by group.
    pub fn of(batch: &'a Batch) -> Self {
        let columns = batch.columns.columns();
        let [.., numbers, left, right] = columns else { panic!("a batch of pairs ends with its group columns") };
        Self {
            numbers: numbers.as_primitive::<UInt32Type>().values(),
            left_times_us: left.as_primitive::<Int64Type>().values(),
            right_times_us: right.as_primitive::<Int64Type>(),
        }
    }

    /// The first row of each group, and behind the last one the number of rows.
    pub fn starts(&self) -> Vec<usize> {
        let groups = self.numbers.chunk_by(|one, other| one == other);
        let mut starts = vec![0];
        starts.extend(groups.scan(0, |end, group| {
            *end += group.len();
            Some(*end)
        }));
        starts
    }

    /// Whether a row is a pair, and not what closes a group.
    pub fn is_pair(&self, row: usize) -> bool {
        self.right_times_us.is_valid(row)
    }
}
