//! The table against a plain list, through seals, marks, dropped buckets and restores.

use std::sync::Arc;

use weir_stream::key::{hash, key_group};

use super::*;
use crate::sim::SimDisk;
use crate::spill::Spill;

const GROUPS: u16 = 4;
const TAG: u8 = 7;

#[derive(Debug, Default)]
struct Log(Vec<(u16, Vec<u8>, Option<Vec<u8>>)>);

impl DeltaWriter for Log {
    fn put(&mut self, key_group: u16, key: &[u8], value: &[u8]) {
        self.0.push((key_group, key.to_vec(), Some(value.to_vec())));
    }

    fn delete(&mut self, key_group: u16, key: &[u8]) {
        self.0.push((key_group, key.to_vec(), None));
    }
}

fn table() -> RowsTable {
    RowsTable::new(TAG, 0..GROUPS)
}

fn replay(log: &Log) -> RowsTable {
    let mut table = table();
    for (group, key, value) in &log.0 {
        match value {
            Some(value) => {
                table.restore_put(*group, key, value).unwrap();
            }
            None => table.restore_delete(*group, key).unwrap(),
        }
    }
    table
}

fn insert(table: &mut RowsTable, bucket: i64, key: &[u8], time_us: i64, row: &[u8]) -> RowId {
    let hash = hash(key);
    let row = NewRow { time_us, is_marked: false, hash, key, row };
    table.insert(bucket, key_group(hash, GROUPS), row).unwrap()
}

fn found(table: &mut RowsTable, buckets: RangeInclusive<i64>, key: &[u8]) -> Vec<(i64, Vec<u8>, bool)> {
    let hash = hash(key);
    table.warm(buckets.clone(), key_group(hash, GROUPS), hash).unwrap();
    let ids = table.find(buckets, key_group(hash, GROUPS), hash, key);
    ids.map(|id| {
        assert_eq!(table.key(id), Some(key));
        (table.time_us(id).unwrap(), table.row(id).unwrap().to_vec(), table.is_marked(id))
    })
    .collect()
}

struct Held {
    bucket: i64,
    key: Vec<u8>,
    row: (i64, Vec<u8>, bool),
}

fn expected(model: &[Held], key: &[u8]) -> Vec<(i64, Vec<u8>, bool)> {
    let mut of_key: Vec<&Held> = model.iter().filter(|held| held.key == key).collect();
    of_key.sort_by_key(|held| held.bucket);
    of_key.into_iter().map(|held| held.row.clone()).collect()
}

#[test]
fn a_random_history_is_restored_from_its_deltas_and_from_a_snapshot_at_every_seal() {
    for seed in 1..=80u64 {
        let mut random = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let mut next = |bound: u64| {
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            random % bound
        };
        let spill = Spill::new(Arc::new(SimDisk::new()), "/state".into());
        let (mut table, mut log, mut model) = (table(), Log::default(), Vec::<Held>::new());
        for step in 0..300i64 {
            match next(20) {
                0 => {
                    table.seal(&mut log);
                    if next(2) == 0 {
                        table.evict([1, usize::MAX][next(2) as usize], &spill).unwrap();
                    }
                    let mut snapshot = Log::default();
                    for group in 0..GROUPS {
                        table.for_each(group, &mut |key, value| snapshot.put(group, key, value)).unwrap();
                    }
                    for mut restored in [replay(&log), replay(&snapshot)] {
                        for key in 0..9u8 {
                            let rows = found(&mut restored, i64::MIN..=i64::MAX, &[key]);
                            assert_eq!(rows, expected(&model, &[key]), "seed {seed}");
                        }
                        assert_eq!(restored.keys(), table.keys(), "seed {seed}");
                    }
                }
                1 => {
                    let bucket = next(4) as i64 - 2;
                    table.drop_bucket(bucket);
                    model.retain(|held| held.bucket != bucket);
                }
                2..=4 => {
                    let rows: Vec<RowId> = table.rows().map(|(id, _, _)| id).collect();
                    let Some(id) = rows.get(next(rows.len().max(1) as u64) as usize) else { continue };
                    table.mark(*id);
                    let row = table.row(*id).unwrap();
                    let marked = model.iter_mut().find(|held| held.bucket == id.bucket && held.row.1 == row);
                    marked.unwrap().row.2 = true;
                }
                _ => {
                    let (bucket, key) = (next(4) as i64 - 2, vec![next(9) as u8]);
                    let bytes = [&step.to_le_bytes()[..], &vec![9; next(30) as usize]].concat();
                    insert(&mut table, bucket, &key, step, &bytes);
                    model.push(Held { bucket, key, row: (step, bytes, false) });
                }
            }
        }
        for key in 0..9u8 {
            assert_eq!(found(&mut table, i64::MIN..=i64::MAX, &[key]), expected(&model, &[key]), "seed {seed}");
        }
    }
}

#[test]
fn a_delta_holds_new_rows_whole_and_a_mark_as_one_byte() {
    let mut table = table();
    let ids: Vec<RowId> = (0..100).map(|n| insert(&mut table, 60, b"k", n, b"row")).collect();
    let mut log = Log::default();
    table.seal(&mut log);
    assert_eq!(log.0.len(), 100);
    log.0.clear();
    table.mark(ids[3]);
    table.mark(ids[3]);
    insert(&mut table, 60, b"k", 100, b"row");
    table.seal(&mut log);
    let values: Vec<usize> = log.0.iter().map(|(_, _, value)| value.as_ref().unwrap().len()).collect();
    assert_eq!(values, [1, 1 + 8 + 4 + 1 + 3]);
    log.0.clear();
    table.seal(&mut log);
    assert!(log.0.is_empty());
}

#[test]
fn a_dropped_bucket_costs_one_deletion_and_none_if_it_was_never_durable() {
    let mut table = table();
    insert(&mut table, 60, b"k", 1, b"row");
    let mut log = Log::default();
    let mut unsealed = table.clone();
    unsealed.drop_bucket(60);
    unsealed.seal(&mut log);
    assert!(log.0.is_empty());
    table.seal(&mut log);
    log.0.clear();
    table.drop_bucket(60);
    table.seal(&mut log);
    assert!(matches!(log.0.as_slice(), [(_, _, None)]) && table.is_empty());
}

#[test]
fn a_bucket_that_left_memory_comes_back_for_its_own_keys_alone() {
    let spill = Spill::new(Arc::new(SimDisk::new()), "/state".into());
    let mut table = RowsTable::new(TAG, 0..1);
    let put = |table: &mut RowsTable, bucket, key: &[u8]| {
        let row = NewRow { time_us: 5, is_marked: false, hash: hash(key), key, row: &[7; 1000] };
        table.insert(bucket, 0, row).unwrap()
    };
    let ids = [put(&mut table, 60, b"a"), put(&mut table, 120, b"b")];
    assert_eq!(table.evict(usize::MAX, &spill).unwrap(), 0, "nothing is durable yet");
    let mut log = Log::default();
    table.seal(&mut log);
    assert!(table.evict(usize::MAX, &spill).unwrap() > 2000 && table.byte_size() < 1000);
    assert!(table.row(ids[0]).is_none() && table.keys() == 2);
    table.warm(0..=200, 0, hash(b"nobody")).unwrap();
    assert!(table.row(ids[0]).is_none() && table.row(ids[1]).is_none());
    table.warm(0..=200, 0, hash(b"a")).unwrap();
    assert!(table.row(ids[0]).is_some() && table.row(ids[1]).is_none());
    table.warm_row(ids[1]).unwrap();
    assert_eq!(table.row(ids[1]), Some(&[7; 1000][..]));
    table.evict(usize::MAX, &spill).unwrap();
    log.0.clear();
    // A mark brings the rows back, and is written alone.
    table.mark(ids[0]);
    table.drop_bucket(120);
    table.seal(&mut log);
    assert_eq!(log.0.len(), 2, "a cold bucket that is dropped is deleted");
    assert!(table.is_marked(ids[0]));
}

#[test]
fn entries_that_no_table_wrote_are_refused() {
    let stored = |number: &[u8]| [&[TAG][..], &bucket_bytes(60), number].concat();
    let value = |reason: &str| TableError::Value { key_group: 0, reason: reason.into() };
    let mut table = table();
    assert_eq!(table.restore_put(0, &[TAG], &[]), Err(TableError::ShortKey { key_group: 0, bytes: 0 }));
    assert_eq!(table.restore_put(0, &stored(&[0, 0]), &[]), Err(TableError::ShortKey { key_group: 0, bytes: 11 }));
    assert_eq!(table.restore_put(0, &stored(&[0; 4]), &[0; 5]), Err(value("it is too short for a row")));
    assert_eq!(table.restore_put(0, &stored(&[0; 4]), &[1]), Err(value("a mark on a row that is not there")));
    let row = [&[0; 9][..], &[1, 0, 0, 0], b"k"].concat();
    assert_eq!(table.restore_put(0, &stored(&[0, 0, 0, 2]), &row), Err(value("row 2 where row 0 comes next")));
    let foreign = table.restore_put(GROUPS, &stored(&[0; 4]), &row);
    assert_eq!(foreign, Err(TableError::ForeignKeyGroup { key_group: GROUPS, first: 0, end: GROUPS }));
    assert_eq!(table.restore_delete(0, &stored(&[0; 4])), Err(TableError::DeleteOfOneKey { key_group: 0 }));
}

#[test]
fn parts_loaded_apart_make_one_table() {
    let mut whole = table();
    for n in 0..100i64 {
        insert(&mut whole, n % 3, &[n as u8 % 10], n, b"row");
    }
    let mut joined = table();
    for group in 0..GROUPS {
        let mut part = RowsTable::new(TAG, group..group + 1);
        whole
            .for_each(group, &mut |key, value| {
                part.restore_put(group, key, value).unwrap();
            })
            .unwrap();
        joined.absorb(part).unwrap();
    }
    assert_eq!(joined.rows().collect::<Vec<_>>(), whole.rows().collect::<Vec<_>>());
    assert!(matches!(RowsTable::new(TAG, 0..1).absorb(joined), Err(TableError::ForeignKeyGroup { .. })));
}
