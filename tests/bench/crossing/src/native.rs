//! The jobs in native code: what the same logic costs when it is compiled into the host.

use std::sync::Arc;

use arrow_array::Array;
use arrow_array::cast::AsArray;
use arrow_array::types::Int64Type;
use arrow_array::{ArrayRef, Int64Array, RecordBatch, StringArray};
use arrow_buffer::{OffsetBuffer, ScalarBuffer};

pub fn sum(input: &RecordBatch) -> ArrayRef {
    let left = input.column(0).as_primitive::<Int64Type>().values();
    let right = input.column(1).as_primitive::<Int64Type>().values();
    let sums: Vec<i64> = left.iter().zip(right.iter()).map(|(left, right)| left.wrapping_add(*right)).collect();
    Arc::new(Int64Array::from(sums))
}

pub fn upper(input: &RecordBatch) -> ArrayRef {
    let texts = input.column(0).as_string::<i32>();
    let mut offsets = Vec::with_capacity(texts.len() + 1);
    let mut data = Vec::with_capacity(texts.values().len());
    offsets.push(0);
    for text in texts.iter().flatten() {
        data.extend(text.bytes().map(|byte| byte.to_ascii_uppercase()));
        offsets.push(data.len() as i32);
    }
    Arc::new(StringArray::new(OffsetBuffer::new(ScalarBuffer::from(offsets)), data.into(), None))
}
