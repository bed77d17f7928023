//! A batch's argument values in the few widths that accumulators know.

use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::{Decimal128Type, Float64Type, Int64Type, UInt64Type};
use arrow_array::{Array, ArrayRef, BinaryArray};
use arrow_buffer::{BooleanBuffer, NullBuffer, ScalarBuffer};
use arrow_cast::cast;
use arrow_schema::{ArrowError, DataType};

use super::value::one_form;
use crate::key::KeyBatch;

/// How values of a type are accumulated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Lane {
    /// No values, only whether they are null.
    Rows,
    /// Signed integers, bool, date and timestamps (in their own unit).
    I64,
    U64,
    F64,
    /// Decimals (their digits).
    I128,
    /// Text and binary.
    Bytes,
    /// Any type that a key can have, as canonical key bytes.
    Canonical,
}

impl Lane {
    pub(super) fn of(data_type: &DataType) -> Self {
        match data_type {
            DataType::Null => Self::Rows,
            DataType::UInt8 | DataType::UInt16 | DataType::UInt32 | DataType::UInt64 => Self::U64,
            DataType::Float32 | DataType::Float64 => Self::F64,
            DataType::Decimal128(_, _) => Self::I128,
            DataType::Utf8 | DataType::Binary => Self::Bytes,
            _ => Self::I64,
        }
    }
}

#[derive(Debug, Clone)]
pub(super) enum Values {
    Rows,
    I64(ScalarBuffer<i64>),
    U64(ScalarBuffer<u64>),
    F64(ScalarBuffer<f64>),
    I128(ScalarBuffer<i128>),
    Bytes(BinaryArray),
    Canonical(KeyBatch),
    /// What a user's function reads, a value per row in each.
    Columns(Vec<ArrayRef>),
}

/// How ranks of a type are compared: numbers of at most 8 bytes as one signed number in their order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum RankLane {
    I64,
    I128,
    Bytes,
}

impl RankLane {
    pub(super) fn of(data_type: &DataType) -> Self {
        match Lane::of(data_type) {
            Lane::I128 => Self::I128,
            Lane::Bytes => Self::Bytes,
            Lane::I64 | Lane::U64 | Lane::F64 | Lane::Rows | Lane::Canonical => Self::I64,
        }
    }
}

/// One aggregate's argument, a value per row of the batch.
#[derive(Debug, Clone)]
pub(super) struct Argument {
    pub values: Values,
    /// Rows that are left out.
    nulls: Option<NullBuffer>,
    /// No value is further from zero than this; values that are null may count.
    pub largest: u128,
    /// The values take at most so much when stored one by one.
    pub stored_bytes: usize,
    /// When the rows happened.
    pub times_us: ScalarBuffer<i64>,
    /// What the rows are ordered by where one of them is chosen: when they happened, unless [`Argument::rank_by`] said more.
    pub ranks: Values,
}

impl Argument {
    /// The argument of `count()`.
    pub(super) fn rows(times_us: &ScalarBuffer<i64>) -> Self {
        let (times_us, ranks) = (times_us.clone(), Values::I64(times_us.clone()));
        Self { values: Values::Rows, nulls: None, largest: 0, stored_bytes: 0, times_us, ranks }
    }

    /// The argument of a user's function.
    pub(super) fn columns(columns: Vec<ArrayRef>, times_us: &ScalarBuffer<i64>) -> Self {
        Self { values: Values::Columns(columns), ..Self::rows(times_us) }
    }

    /// `bounded`: whether [`Argument::largest`] and [`Argument::stored_bytes`] are needed.
    pub(super) fn new(
        array: &ArrayRef,
        times_us: &ScalarBuffer<i64>,
        lane: Lane,
        bounded: bool,
    ) -> Result<Self, ArrowError> {
        let nulls = array.nulls().filter(|nulls| nulls.null_count() > 0).cloned();
        let values = values(array, lane)?;
        let (largest, stored_bytes) = if bounded { (largest(&values), stored_bytes(&values)) } else { (0, 0) };
        let (times_us, ranks) = (times_us.clone(), Values::I64(times_us.clone()));
        Ok(Self { values, nulls, largest, stored_bytes, times_us, ranks })
    }

    /// Orders the rows by these values and leaves out those without one.
    pub(super) fn rank_by(&mut self, array: &ArrayRef) -> Result<(), ArrowError> {
        self.ranks = match values(array, Lane::of(array.data_type()))? {
            Values::U64(numbers) => Values::I64(numbers.iter().map(|number| (number ^ (1 << 63)) as i64).collect()),
            Values::F64(numbers) => Values::I64(numbers.iter().map(|number| in_order(*number)).collect()),
            Values::Rows => Values::I64(vec![0; array.len()].into()),
            others => others,
        };
        self.nulls = NullBuffer::union(self.nulls.as_ref(), array.nulls());
        Ok(())
    }

    /// Leaves out every row but `rows`.
    pub(super) fn keep(&mut self, rows: BooleanBuffer) {
        let nulls = NullBuffer::union(self.nulls.as_ref(), Some(&NullBuffer::new(rows)));
        self.nulls = nulls.filter(|nulls| nulls.null_count() > 0);
    }

    #[inline]
    pub(super) fn is_null(&self, row: u32) -> bool {
        self.nulls.as_ref().is_some_and(|nulls| nulls.is_null(row as usize))
    }

    pub(super) fn has_nulls(&self) -> bool {
        self.nulls.is_some()
    }
}

fn values(array: &ArrayRef, lane: Lane) -> Result<Values, ArrowError> {
    Ok(match lane {
        Lane::Rows => Values::Rows,
        Lane::I64 => Values::I64(as_i64(array)?.as_primitive::<Int64Type>().values().clone()),
        Lane::U64 => Values::U64(cast(array, &DataType::UInt64)?.as_primitive::<UInt64Type>().values().clone()),
        Lane::F64 => Values::F64(cast(array, &DataType::Float64)?.as_primitive::<Float64Type>().values().clone()),
        Lane::I128 => Values::I128(array.as_primitive::<Decimal128Type>().values().clone()),
        Lane::Bytes => Values::Bytes(cast(array, &DataType::Binary)?.as_binary::<i32>().clone()),
        Lane::Canonical => Values::Canonical(KeyBatch::of(array).map_err(ArrowError::ComputeError)?),
    })
}

/// A number that is as much larger or smaller than others as `number` is: the order of `f64::total_cmp` on its bits.
fn in_order(number: f64) -> i64 {
    let bits = one_form(number).to_bits() as i64;
    bits ^ (((bits >> 63) as u64) >> 1) as i64
}

fn as_i64(array: &ArrayRef) -> Result<ArrayRef, ArrowError> {
    match array.data_type() {
        DataType::Int64 => Ok(Arc::clone(array)),
        DataType::Date32 => cast(&cast(array, &DataType::Int32)?, &DataType::Int64),
        _ => cast(array, &DataType::Int64),
    }
}

fn largest(values: &Values) -> u128 {
    match values {
        Values::I64(values) => values.iter().map(|value| value.unsigned_abs()).max().unwrap_or(0).into(),
        Values::U64(values) => values.iter().copied().max().unwrap_or(0).into(),
        Values::I128(values) => values.iter().map(|value| value.unsigned_abs()).max().unwrap_or(0),
        Values::Rows | Values::F64(_) | Values::Bytes(_) | Values::Canonical(_) | Values::Columns(_) => 0,
    }
}

fn stored_bytes(values: &Values) -> usize {
    match values {
        Values::Rows | Values::Columns(_) => 0,
        Values::I64(values) => values.len() * size_of::<i64>(),
        Values::U64(values) => values.len() * size_of::<u64>(),
        Values::F64(values) => values.len() * size_of::<f64>(),
        Values::I128(values) => values.len() * size_of::<i128>(),
        Values::Bytes(values) => {
            let offsets = values.value_offsets();
            (offsets[offsets.len() - 1] - offsets[0]) as usize + values.len() * size_of::<u32>()
        }
        Values::Canonical(values) => values.byte_size(),
    }
}
