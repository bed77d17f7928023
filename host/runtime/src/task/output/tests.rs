//! What sinks get of rows that do more than add.

use arrow_array::{Int64Array, StringArray};
use arrow_schema::{DataType, Field, Schema};
use weir_codecs::{JsonEncodeOptions, JsonEncoder};
use weir_stream::Origin;

use super::*;

fn batch(kinds: &[ChangeKind]) -> Batch {
    let fields = vec![Field::new("user", DataType::Utf8, false), Field::new("n", DataType::Int64, false)];
    let users = StringArray::from_iter_values((0..kinds.len()).map(|row| format!("u{row}")));
    let numbers = Int64Array::from_iter_values(0..kinds.len() as i64);
    Batch {
        columns: RecordBatch::try_new(Arc::new(Schema::new(fields)), vec![Arc::new(users), Arc::new(numbers)]).unwrap(),
        event_times_us: (0..kinds.len() as i64).collect(),
        watermarks_us: vec![0; kinds.len()].into(),
        origin: Origin::Step("s".into()),
        changes: match kinds.iter().all(|kind| *kind == ChangeKind::Insert) {
            true => Changes::Inserts,
            false => Changes::PerRow(kinds.iter().map(|kind| *kind as u8).collect()),
        },
    }
}

#[test]
fn a_row_that_leaves_its_table_is_a_payload_that_is_not_there() {
    use ChangeKind::{Delete, Insert, UpdateAfter, UpdateBefore};
    let rows = batch(&[Delete, UpdateAfter, Insert, UpdateBefore, Delete, UpdateAfter]);
    let encoder = |columns: &[usize]| {
        let schema = Arc::new(rows.columns.schema().project(columns).unwrap());
        Box::new(JsonEncoder::new(schema, JsonEncodeOptions::default()).unwrap()) as Box<dyn Encoder>
    };
    let mut buffer = SinkBuffer::payloads(encoder(&[0, 1]), Some((vec![0], encoder(&[0]))));
    buffer.write(rows.clone()).unwrap();
    let Some(SinkData::Payloads(blocks)) = buffer.take().unwrap() else { panic!("no payloads") };
    let [PayloadBlock { values, keys: Some(keys), .. }] = &blocks[..] else { panic!("not one block with keys") };
    let absent: Vec<bool> = (0..6).map(|row| values.is_absent(row)).collect();
    assert_eq!(absent, [true, false, false, true, true, false]);
    assert_eq!(values.get(1), br#"{"user":"u1","n":1}"#);
    assert_eq!(values.get(5), br#"{"user":"u5","n":5}"#);
    assert_eq!((keys.len(), keys.get(0), keys.get(4)), (6, &br#"{"user":"u0"}"#[..], &br#"{"user":"u4"}"#[..]));
}

#[test]
fn changes_of_small_batches_are_put_together_in_their_order() {
    use ChangeKind::{Delete, Insert, UpdateAfter};
    let parts: [&[ChangeKind]; 4] = [&[Insert], &[UpdateAfter, Delete], &[Insert], &[Delete]];
    let mut buffer = SinkBuffer::rows();
    parts.iter().for_each(|kinds| buffer.write(batch(kinds)).unwrap());
    let Some(SinkData::Rows(blocks)) = buffer.take().unwrap() else { panic!("no rows") };
    let [RowBlock { rows, changes }] = &blocks[..] else { panic!("{} blocks", blocks.len()) };
    let kinds: Vec<ChangeKind> = (0..rows.num_rows()).map(|row| changes.kind(row)).collect();
    assert_eq!(kinds, [Insert, UpdateAfter, Delete, Insert, Delete]);
}
