//! Tables against a plain map, through seals, drops and restores.

use std::collections::BTreeMap;
use std::sync::Arc;

use weir_stream::key::{hash, key_group};

use super::*;
use crate::Spill;
use crate::sim::SimDisk;

const GROUPS: u16 = 8;

/// The simplest columns: one sum per key.
#[derive(Debug, Clone, Default)]
struct Sums(Vec<u64>);

impl Slots for Sums {
    fn resize(&mut self, slots: usize) {
        self.0.resize(slots, 0);
    }

    fn write(&self, slot: usize, value: &mut Vec<u8>) {
        value.extend_from_slice(&self.0[slot].to_le_bytes());
    }

    fn read(&mut self, slot: usize, value: &[u8]) -> Result<(), String> {
        let bytes = value.try_into().map_err(|_| format!("{} bytes instead of 8", value.len()))?;
        self.0[slot] = u64::from_le_bytes(bytes);
        Ok(())
    }

    fn byte_size(&self) -> usize {
        self.0.capacity() * 8
    }
}

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

fn replay(log: &Log) -> BucketedTable<Sums> {
    let mut table = BucketedTable::new(Sums::default(), 0..GROUPS);
    for (group, key, value) in &log.0 {
        match value {
            Some(value) => table.restore_put(*group, key, value).unwrap(),
            None => table.restore_delete(*group, key).unwrap(),
        }
    }
    table
}

fn add(table: &mut BucketedTable<Sums>, bucket: i64, key: &[u8], amount: u64) {
    let hash = hash(key);
    let keyed = table.table(bucket, key_group(hash, GROUPS)).unwrap();
    let mut slots = Vec::new();
    keyed.touch([(hash, key)].into_iter(), &mut slots);
    keyed.slots_mut().0[slots[0] as usize] += amount;
}

fn contents(table: &BucketedTable<Sums>) -> BTreeMap<Vec<u8>, u64> {
    let mut all = BTreeMap::new();
    for group in 0..GROUPS {
        table
            .for_each(group, |key, value| {
                all.insert(key.to_vec(), u64::from_le_bytes(value.try_into().unwrap()));
            })
            .unwrap();
    }
    all
}

#[test]
fn a_random_history_is_restored_from_its_deltas_at_every_seal() {
    for seed in 1..=60u64 {
        let mut random = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let mut next = |bound: u64| {
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            random % bound
        };
        let mut table = BucketedTable::new(Sums::default(), 0..GROUPS);
        let mut model: BTreeMap<(i64, Vec<u8>), u64> = BTreeMap::new();
        let mut log = Log::default();
        let spill = Spill::new(Arc::new(SimDisk::new()), "/state".into());
        for _ in 0..300 {
            match next(20) {
                0 => {
                    table.seal(&mut log);
                    let restored = replay(&log);
                    assert_eq!(contents(&restored), contents(&table), "seed {seed}");
                    assert_eq!(restored.keys(), model.len(), "seed {seed}");
                }
                1 => {
                    table.seal(&mut log);
                    table.evict(next(20_000) as usize, &spill).unwrap();
                }
                2 => {
                    let bucket = next(5) as i64 - 2;
                    let taken: usize = table.take_bucket(bucket).unwrap().iter().map(KeyTable::len).sum();
                    let before = model.len();
                    model.retain(|(held, _), _| *held != bucket);
                    assert_eq!(taken, before - model.len(), "seed {seed}");
                }
                _ => {
                    let bucket = next(5) as i64 - 2;
                    let key =
                        vec![b'k'; next(4) as usize * 7].into_iter().chain(next(30).to_le_bytes()).collect::<Vec<_>>();
                    add(&mut table, bucket, &key, 3);
                    *model.entry((bucket, key)).or_default() += 3;
                }
            }
        }
        let expected: BTreeMap<Vec<u8>, u64> = model
            .into_iter()
            .map(|((bucket, key), sum)| ([bucket_bytes(bucket).as_slice(), &key].concat(), sum))
            .collect();
        assert_eq!(contents(&table), expected, "seed {seed}");
    }
}

#[test]
fn a_delta_lists_only_the_keys_touched_since_the_last_seal() {
    let mut table = BucketedTable::new(Sums::default(), 0..GROUPS);
    for key in 0..1000u64 {
        add(&mut table, 0, &key.to_le_bytes(), 1);
    }
    let mut first = Log::default();
    table.seal(&mut first);
    assert_eq!(first.0.len(), 1000);
    for _ in 0..3 {
        add(&mut table, 0, &7u64.to_le_bytes(), 1);
    }
    let mut second = Log::default();
    table.seal(&mut second);
    let stored = [bucket_bytes(0), 7u64.to_le_bytes()].concat();
    assert_eq!(second.0, [(key_group(hash(&7u64.to_le_bytes()), GROUPS), stored, Some(4u64.to_le_bytes().to_vec()))]);
    let mut third = Log::default();
    table.seal(&mut third);
    assert!(third.0.is_empty());
}

#[test]
fn a_dropped_bucket_costs_one_deletion_a_key_group_and_none_if_it_was_never_durable() {
    let mut table = BucketedTable::new(Sums::default(), 0..GROUPS);
    for key in 0..500u64 {
        add(&mut table, 60, &key.to_le_bytes(), 1);
    }
    assert_eq!(table.clone().take_bucket(60).unwrap().len(), usize::from(GROUPS));
    let mut unsealed = table.clone();
    unsealed.take_bucket(60).unwrap();
    let mut log = Log::default();
    unsealed.seal(&mut log);
    assert!(log.0.is_empty());

    table.seal(&mut log);
    log.0.clear();
    table.take_bucket(60).unwrap();
    add(&mut table, 60, b"again", 1);
    table.seal(&mut log);
    let deleted = log.0.iter().take_while(|(_, _, value)| value.is_none()).count();
    assert_eq!((deleted, log.0.len()), (usize::from(GROUPS), usize::from(GROUPS) + 1));
}

#[test]
fn cold_tables_leave_memory_longest_untouched_first_and_come_back_as_they_were() {
    let spill = Spill::new(Arc::new(SimDisk::new()), "/state".into());
    let mut table = BucketedTable::new(Sums::default(), 0..GROUPS);
    for bucket in 0..3 {
        (0..300u64).for_each(|key| add(&mut table, bucket, &key.to_le_bytes(), key));
        table.seal(&mut Log::default());
    }
    add(&mut table, 0, &7u64.to_le_bytes(), 0);
    let (before, held) = (contents(&table), table.byte_size());
    let third = table.evict(held / 3, &spill).unwrap();
    assert!(third >= held / 3 && table.byte_size() <= held - third + 64, "{held} {third} {}", table.byte_size());
    let is_cold = |table: &BucketedTable<Sums>, bucket: i64| {
        let mut alone = table.clone();
        alone.buckets().filter(|other| *other != bucket).collect::<Vec<_>>().into_iter().for_each(|other| {
            alone.take_bucket(other).unwrap();
        });
        alone.cold_bytes() > 0
    };
    assert!(is_cold(&table, 1) && !is_cold(&table, 2), "bucket 0 was touched last, bucket 1 first");
    assert!(!is_cold(&table, 0) || is_cold(&table, 1));
    assert_eq!((contents(&table), table.keys()), (before.clone(), 900));
}

#[test]
fn a_touched_table_that_was_cold_writes_only_what_was_touched() {
    let spill = Spill::new(Arc::new(SimDisk::new()), "/state".into());
    let mut table = BucketedTable::new(Sums::default(), 0..GROUPS);
    (0..500u64).for_each(|key| add(&mut table, 60, &key.to_le_bytes(), 1));
    assert_eq!(table.evict(usize::MAX, &spill).unwrap(), 0, "nothing is durable yet");
    table.seal(&mut Log::default());
    let held = table.byte_size();
    assert!(table.evict(usize::MAX, &spill).unwrap() > held / 2 && table.byte_size() < held / 8);
    add(&mut table, 60, &3u64.to_le_bytes(), 1);
    let mut log = Log::default();
    table.seal(&mut log);
    let stored = [bucket_bytes(60), 3u64.to_le_bytes()].concat();
    assert_eq!(log.0, [(key_group(hash(&3u64.to_le_bytes()), GROUPS), stored, Some(2u64.to_le_bytes().to_vec()))]);
    log.0.clear();
    table.evict(usize::MAX, &spill).unwrap();
    table.take_bucket(60).unwrap();
    table.seal(&mut log);
    assert_eq!(log.0.len(), usize::from(GROUPS), "a cold bucket that fired is deleted");
}

#[test]
fn a_full_disk_leaves_state_in_memory() {
    let disk = SimDisk::new();
    let mut table = BucketedTable::new(Sums::default(), 0..GROUPS);
    (0..500u64).for_each(|key| add(&mut table, 60, &key.to_le_bytes(), 1));
    table.seal(&mut Log::default());
    let (before, held) = (contents(&table), table.byte_size());
    disk.stop_after(1);
    assert!(table.evict(usize::MAX, &Spill::new(Arc::new(disk), "/state".into())).is_err());
    assert_eq!((contents(&table), table.byte_size()), (before, held));
}

#[test]
fn keys_that_share_their_low_hash_bits_stay_apart() {
    let mut table = BucketedTable::new(Sums::default(), 0..GROUPS);
    for key in 0..20_000u64 {
        add(&mut table, 0, &key.to_le_bytes(), key);
    }
    assert!(contents(&table).iter().all(|(key, sum)| key[8..] == sum.to_le_bytes()));
}

#[test]
fn byte_size_counts_every_key_at_its_cost() {
    let mut table = BucketedTable::new(Sums::default(), 0..GROUPS);
    for key in 0..100_000u64 {
        add(&mut table, 0, &key.to_le_bytes(), 1);
    }
    table.seal(&mut Log::default());
    let per_key = table.byte_size() as f64 / 100_000.0;
    assert!((20.0..64.0).contains(&per_key), "{per_key}");
}

#[test]
fn entries_that_no_table_wrote_are_refused() {
    let mut table = BucketedTable::new(Sums::default(), 2..4);
    assert_eq!(
        table.restore_put(1, &[0; 9], &[0; 8]),
        Err(TableError::ForeignKeyGroup { key_group: 1, first: 2, end: 4 })
    );
    assert_eq!(table.restore_put(2, &[0; 7], &[0; 8]), Err(TableError::ShortKey { key_group: 2, bytes: 7 }));
    assert_eq!(table.restore_delete(2, &[0; 9]), Err(TableError::DeleteOfOneKey { key_group: 2 }));
    let refused = table.restore_put(3, &[0; 9], &[0; 3]);
    assert_eq!(refused, Err(TableError::Value { key_group: 3, reason: "3 bytes instead of 8".into() }));
}

#[test]
fn stored_keys_sort_by_bucket_before_and_after_zero() {
    let mut buckets = [i64::MIN, -60, -1, 0, 1, 60, i64::MAX].map(bucket_bytes);
    let sorted = buckets;
    buckets.sort();
    assert_eq!(buckets, sorted);
    assert_eq!(split_key(0, &bucket_bytes(-60)).unwrap(), (-60, [].as_slice()));
}

#[test]
fn parts_loaded_apart_make_one_table() {
    let mut whole = BucketedTable::new(Sums::default(), 0..GROUPS);
    for key in 0..200u64 {
        add(&mut whole, key as i64 % 3, &key.to_le_bytes(), key);
    }
    let mut joined = BucketedTable::new(Sums::default(), 0..GROUPS);
    for group in 0..GROUPS {
        let mut part = BucketedTable::new(Sums::default(), group..group + 1);
        whole.for_each(group, |key, value| part.restore_put(group, key, value).unwrap()).unwrap();
        joined.absorb(part).unwrap();
    }
    assert_eq!(contents(&joined), contents(&whole));
    let foreign = BucketedTable::new(Sums::default(), 0..1).absorb(joined);
    assert!(matches!(foreign, Err(TableError::ForeignKeyGroup { key_group: 1.., .. })));
}

#[test]
fn keys_of_one_hash_are_told_apart_by_their_bytes() {
    for width in [1, 7, 8, 9, 16, 17, 40] {
        for differing in [0, width - 1] {
            let mut index = KeyIndex::default();
            let key = vec![7u8; width];
            let mut other = key.clone();
            other[differing] = 8;
            assert_eq!((index.find_or_insert(5, &key), index.find_or_insert(5, &other)), (0, 1), "{width} {differing}");
            assert_eq!((index.find(5, &key), index.find(5, &other)), (Some(0), Some(1)));
            assert_eq!((index.key(0), index.key(1)), (key.as_slice(), other.as_slice()));
            assert_eq!(index.find(5, &key[1..]), None);
        }
    }
}
