//! The re-key inside one process: rows to the tasks that own their key groups.
//!
//! Invariant: rows of one key reach one task, in the order in which they came.

use weir_stream::key;

use crate::key::KeyedBatch;
use crate::operator::StepFault;

/// Splits a batch over `tasks` tasks; entry `n` is what task `n` gets. A batch whose rows all go to one task is
/// handed on whole.
///
/// # Errors
/// None for a batch whose parts belong together.
pub fn split(keyed: KeyedBatch, key_groups: u16, tasks: usize) -> Result<Vec<Option<KeyedBatch>>, StepFault> {
    let mut parts: Vec<Option<KeyedBatch>> = (0..tasks).map(|_| None).collect();
    if keyed.batch.is_empty() {
        return Ok(parts);
    }
    let mut rows: Vec<Vec<u32>> = vec![Vec::new(); tasks];
    if tasks > 1 {
        let owners: Vec<usize> = (0..key_groups).map(|group| key::owner(group, tasks, key_groups)).collect();
        for (row, group) in keyed.keys.key_groups().iter().enumerate() {
            rows[owners[usize::from(*group)]].push(row as u32);
        }
    }
    if let Some(only) = only_owner(&rows, keyed.batch.rows()) {
        parts[only] = Some(keyed);
        return Ok(parts);
    }
    for (part, rows) in parts.iter_mut().zip(rows).filter(|(_, rows)| !rows.is_empty()) {
        *part = Some(KeyedBatch { batch: keyed.batch.take(&rows)?, keys: keyed.keys.take(&rows) });
    }
    Ok(parts)
}

fn only_owner(rows: &[Vec<u32>], all: usize) -> Option<usize> {
    if rows.len() == 1 { Some(0) } else { rows.iter().position(|rows| rows.len() == all) }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow_array::cast::AsArray;
    use arrow_array::types::Int64Type;
    use arrow_array::{Int64Array, RecordBatch};
    use arrow_schema::{DataType, Field, Schema};
    use weir_stream::{Batch, Changes, Origin};

    use super::*;
    use crate::key::KeyEncoder;
    use crate::operator::Outputs;

    fn keyed(values: Vec<i64>) -> KeyedBatch {
        let schema = Arc::new(Schema::new(vec![Field::new("k", DataType::Int64, false)]));
        let rows = values.len();
        let columns = RecordBatch::try_new(Arc::clone(&schema), vec![Arc::new(Int64Array::from(values))]).unwrap();
        let batch = Batch {
            columns,
            event_times_us: (0..rows as i64).collect(),
            watermarks_us: vec![0; rows].into(),
            origin: Origin::Step("s".into()),
            changes: Changes::Inserts,
        };
        let encoder = KeyEncoder::new(&[("k".into(), "k".into())], &schema, 64).unwrap();
        encoder.encode(batch, &mut Outputs::default()).unwrap()
    }

    #[test]
    fn every_row_reaches_the_owner_of_its_key_group_in_order() {
        let whole = keyed((0..1000).map(|n| n % 37).collect());
        for tasks in [1, 2, 3, 4, 64] {
            let parts = split(whole.clone(), 64, tasks).unwrap();
            assert_eq!(parts.len(), tasks);
            let mut seen = 0;
            for (task, part) in parts.iter().enumerate() {
                let Some(part) = part else { continue };
                let range = key::task_key_groups(task, tasks, 64);
                assert!(part.keys.key_groups().iter().all(|group| range.contains(group)));
                assert!(part.batch.event_times_us.is_sorted(), "order was lost");
                let values = part.batch.columns.column(0).as_primitive::<Int64Type>();
                for row in 0..part.batch.rows() {
                    let expected = keyed(vec![values.value(row)]);
                    assert_eq!(part.keys.key(row), expected.keys.key(0));
                }
                seen += part.batch.rows();
            }
            assert_eq!(seen, 1000);
        }
    }

    #[test]
    fn a_batch_for_one_task_is_handed_on_without_a_copy() {
        let one = keyed(vec![5; 10]);
        let address = one.batch.columns.column(0).as_primitive::<Int64Type>().values().as_ptr();
        let parts = split(one, 64, 4).unwrap();
        let part = parts.iter().flatten().next().unwrap();
        assert_eq!(part.batch.columns.column(0).as_primitive::<Int64Type>().values().as_ptr(), address);
        assert_eq!(parts.iter().flatten().count(), 1);
    }
}
