//! Rows and entries for the tests.

use std::sync::Arc;

use arrow_array::{ArrayRef, Decimal128Array, Int64Array, RecordBatch, StringArray};
use arrow_schema::{DataType, Field, Schema, SchemaRef};
use weir_stream::{ChangeKind, Changes, RowBlock, SinkData, SinkEpoch};

/// `id` int64 (key), `name` utf8, `price` decimal(12, 2).
pub fn schema() -> SchemaRef {
    Arc::new(Schema::new(vec![
        Field::new("id", DataType::Int64, false),
        Field::new("name", DataType::Utf8, true),
        Field::new("price", DataType::Decimal128(12, 2), true),
    ]))
}

/// A change: kind, id, name, price in hundredths.
pub type Change<'a> = (ChangeKind, i64, &'a str, i128);

pub fn insert(id: i64, name: &str, price: i128) -> Change<'_> {
    (ChangeKind::Insert, id, name, price)
}

pub fn block(changes: &[Change]) -> RowBlock {
    let prices = Decimal128Array::from_iter_values(changes.iter().map(|change| change.3));
    let columns: Vec<ArrayRef> = vec![
        Arc::new(Int64Array::from_iter_values(changes.iter().map(|change| change.1))),
        Arc::new(StringArray::from_iter_values(changes.iter().map(|change| change.2))),
        Arc::new(prices.with_precision_and_scale(12, 2).unwrap()),
    ];
    let kinds: Vec<u8> = changes.iter().map(|change| change.0 as u8).collect();
    RowBlock { rows: RecordBatch::try_new(schema(), columns).unwrap(), changes: Changes::PerRow(kinds.into()) }
}

pub fn entry(epoch: u64, previous: u64, changes: &[Change]) -> SinkEpoch {
    of_blocks(epoch, previous, vec![block(changes)])
}

pub fn of_blocks(epoch: u64, previous: u64, blocks: Vec<RowBlock>) -> SinkEpoch {
    SinkEpoch { epoch, previous, cut: Some(format!("cut {epoch}").into()), data: Arc::new(SinkData::Rows(blocks)) }
}
