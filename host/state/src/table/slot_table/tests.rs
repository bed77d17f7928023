//! The table against a plain map, through seals, removals, compactions and restores.

use std::collections::BTreeMap;
use std::sync::Arc;

use weir_stream::key::{hash, key_group};

use super::*;
use crate::sim::SimDisk;
use crate::spill::Spill;
use crate::table::Leaving;

const GROUPS: u16 = 4;

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

impl CompactSlots for Sums {
    fn keep(&mut self, slots: &[u32]) {
        self.0 = slots.iter().map(|slot| self.0[*slot as usize]).collect();
    }
}

#[derive(Default)]
struct Log(Vec<(u16, Vec<u8>, Option<Vec<u8>>)>);

impl DeltaWriter for Log {
    fn put(&mut self, key_group: u16, key: &[u8], value: &[u8]) {
        self.0.push((key_group, key.to_vec(), Some(value.to_vec())));
    }

    fn delete(&mut self, key_group: u16, key: &[u8]) {
        self.0.push((key_group, key.to_vec(), None));
    }
}

fn replay(log: &Log) -> SlotTable<Sums> {
    let mut table = SlotTable::new(Sums::default(), 0..GROUPS);
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

fn contents(table: &SlotTable<Sums>) -> BTreeMap<Vec<u8>, u64> {
    let mut all = BTreeMap::new();
    for group in 0..GROUPS {
        table
            .for_each(group, &mut |key, value| {
                all.insert(key.to_vec(), u64::from_le_bytes(value.try_into().unwrap()));
            })
            .unwrap();
    }
    all
}

fn add(table: &mut SlotTable<Sums>, key: &[u8], amount: u64) {
    let hash = hash(key);
    table.warm(key_group(hash, GROUPS), hash, key).unwrap();
    let group = table.group(key_group(hash, GROUPS)).unwrap();
    let slot = group.find(hash, key).unwrap_or_else(|| group.insert(hash, key));
    group.mark(slot);
    group.slots_mut().0[slot as usize] += amount;
}

fn remove(table: &mut SlotTable<Sums>, key: &[u8]) {
    let hash = hash(key);
    table.warm(key_group(hash, GROUPS), hash, key).unwrap();
    let group = table.group(key_group(hash, GROUPS)).unwrap();
    if let Some(slot) = group.find(hash, key) {
        group.remove(slot);
        assert!(!group.is_held(slot) && group.find(hash, key).is_none());
    }
}

#[test]
fn a_random_history_is_restored_from_its_deltas_at_every_seal() {
    for seed in 1..=40u64 {
        let mut random = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let mut next = |bound: u64| {
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            random % bound
        };
        let spill = Spill::new(Arc::new(SimDisk::new()), "/state".into());
        let mut table = SlotTable::new(Sums::default(), 0..GROUPS);
        let mut model: BTreeMap<Vec<u8>, u64> = BTreeMap::new();
        let (mut log, mut compactions) = (Log::default(), 0);
        for round in 0..3000u64 {
            let number = (round / 8 + next(60)).to_le_bytes();
            let key: Vec<u8> = if next(9) == 0 { [number, number].concat() } else { number.to_vec() };
            match next(30) {
                0 => {
                    table.seal(&mut log);
                    // Eviction numbers slots anew too: without it there is something to compact.
                    if seed % 2 == 0 && next(2) == 0 {
                        let due = |sums: &Sums, slot: u32| Leaving::at(Some(sums.0[slot as usize] as i64));
                        table.evict([1, usize::MAX][next(2) as usize], &spill, due).unwrap();
                        table.warm_due(next(50) as i64, |_, _, _| {}).unwrap();
                    }
                    let restored = replay(&log);
                    assert_eq!(contents(&restored), contents(&table), "seed {seed}");
                    assert_eq!(restored.len(), model.len(), "seed {seed}");
                }
                1 => compactions += table.groups_mut().iter_mut().filter_map(|g| g.compact().then_some(())).count(),
                2..15 => {
                    remove(&mut table, &key);
                    model.remove(&key);
                }
                _ => {
                    add(&mut table, &key, round);
                    *model.entry(key).or_default() += round;
                }
            }
        }
        assert_eq!(contents(&table), model, "seed {seed}");
        assert!(compactions > 0 || seed % 2 == 0, "seed {seed}");
    }
}

#[test]
fn a_delta_names_only_what_was_touched_or_removed_since_the_last_seal() {
    let mut table = SlotTable::new(Sums::default(), 0..GROUPS);
    (0..1000u64).for_each(|key| add(&mut table, &key.to_le_bytes(), 1));
    let mut first = Log::default();
    table.seal(&mut first);
    assert_eq!(first.0.len(), 1000);
    add(&mut table, &7u64.to_le_bytes(), 1);
    remove(&mut table, &8u64.to_le_bytes());
    remove(&mut table, &9u64.to_le_bytes());
    add(&mut table, &9u64.to_le_bytes(), 5);
    let mut second = Log::default();
    table.seal(&mut second);
    let puts = second.0.iter().filter(|(_, _, value)| value.is_some()).count();
    assert_eq!((puts, second.0.len()), (2, 4));
    assert_eq!(contents(&replay(&second)).get(9u64.to_le_bytes().as_slice()), Some(&5));
    let mut third = Log::default();
    table.seal(&mut third);
    assert!(third.0.is_empty());
}

#[test]
fn parts_loaded_apart_make_one_table_and_foreign_key_groups_are_refused() {
    let mut whole = SlotTable::new(Sums::default(), 0..GROUPS);
    (0..200u64).for_each(|key| add(&mut whole, &key.to_le_bytes(), key));
    let mut joined = SlotTable::new(Sums::default(), 0..GROUPS);
    for group in 0..GROUPS {
        let mut part = SlotTable::new(Sums::default(), group..group + 1);
        whole
            .for_each(group, &mut |key, value| {
                part.restore_put(group, key, value).unwrap();
            })
            .unwrap();
        joined.absorb(part).unwrap();
    }
    assert_eq!(contents(&joined), contents(&whole));
    let foreign = SlotTable::new(Sums::default(), 0..1).absorb(joined);
    assert!(matches!(foreign, Err(TableError::ForeignKeyGroup { key_group: 1.., .. })));
}
