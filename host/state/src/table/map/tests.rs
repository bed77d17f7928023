//! A map of keys that come and go, against a plain map through seals, evictions and restores.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::*;
use crate::sim::SimDisk;
use crate::spill::Spill;
use crate::table::Leaving;

/// What a replay of all deltas in order holds.
#[derive(Default)]
struct Replay(BTreeMap<(u16, Vec<u8>), Vec<u8>>, usize);

impl DeltaWriter for Replay {
    fn put(&mut self, key_group: u16, key: &[u8], value: &[u8]) {
        self.0.insert((key_group, key.to_vec()), value.to_vec());
        self.1 += 1;
    }

    fn delete(&mut self, key_group: u16, key: &[u8]) {
        self.0.remove(&(key_group, key.to_vec()));
        self.1 += 1;
    }
}

fn held(table: &MapTable<Vec<u8>>) -> BTreeMap<(u16, Vec<u8>), Vec<u8>> {
    let mut held = BTreeMap::new();
    for group in table.key_groups() {
        table.for_each(group, &mut |key, value| drop(held.insert((group, key.to_vec()), value.to_vec()))).unwrap();
    }
    held
}

fn spill() -> Spill {
    Spill::new(Arc::new(SimDisk::new()), "/state".into())
}

/// When a key's time comes: the test's values are random numbers.
fn due(value: &[u8]) -> Leaving {
    match value[0] % 4 {
        0 => Leaving::Stays,
        1 => Leaving::UntilAsked,
        _ => Leaving::Until(i64::from(value[1])),
    }
}

/// xorshift64: the test needs variety, not quality.
fn next(state: &mut u64) -> u64 {
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    *state
}

#[test]
fn deltas_replayed_in_order_give_the_table_back_whatever_came_and_went() {
    for seed in 1..=40u64 {
        let (mut random, spill) = (seed, spill());
        let (mut table, mut replay) = (MapTable::<Vec<u8>>::new(3..7), Replay::default());
        for _ in 0..60 {
            for _ in 0..next(&mut random) % 20 {
                let key = (next(&mut random) % 12).to_le_bytes();
                let group = 3 + (next(&mut random) % 4) as u16;
                match next(&mut random) % 3 {
                    0 => drop(table.remove(group, &key).unwrap()),
                    _ => drop(table.put(group, &key, next(&mut random).to_le_bytes().to_vec()).unwrap()),
                }
            }
            table.seal(&mut replay);
            if next(&mut random).is_multiple_of(2) {
                let bytes = [1, usize::MAX][(next(&mut random) % 2) as usize];
                table.evict(bytes, &spill, |value| due(value)).unwrap();
            }
            if next(&mut random).is_multiple_of(4) {
                let until_us = (next(&mut random) % 256) as i64;
                table.warm_due(until_us, |_, _, _| {}).unwrap();
                let is_cold = |(group, key): &(u16, Vec<u8>)| table.get(*group, key).is_none();
                let late = replay.0.iter().filter(|(key, _)| is_cold(key));
                for (_, value) in late {
                    assert!(!matches!(due(value), Leaving::Until(due_us) if due_us <= until_us), "seed {seed}");
                }
            }
            assert_eq!(held(&table), replay.0, "seed {seed}");
            assert_eq!(table.len(), replay.0.len(), "seed {seed}");
        }
        let mut restored = MapTable::<Vec<u8>>::new(3..7);
        for group in 3..7 {
            let mut part = MapTable::<Vec<u8>>::new(group..group + 1);
            table.for_each(group, &mut |key, value| part.restore_put(group, key, value).unwrap()).unwrap();
            restored.absorb(part).unwrap();
        }
        assert_eq!(held(&restored), replay.0, "seed {seed}");
        assert_eq!(restored.len(), replay.0.len());
    }
}

#[test]
fn a_delta_holds_the_keys_touched_and_no_others() {
    let (mut table, mut replay) = (MapTable::<Vec<u8>>::new(0..1), Replay::default());
    for number in 0..1000u32 {
        table.put(0, &number.to_le_bytes(), vec![1]).unwrap();
    }
    table.seal(&mut replay);
    replay.1 = 0;
    table.put(0, &7u32.to_le_bytes(), vec![2]).unwrap();
    table.remove(0, &8u32.to_le_bytes()).unwrap();
    // Came and went: no trace.
    table.put(0, b"new", vec![3]).unwrap();
    table.remove(0, b"new").unwrap();
    table.seal(&mut replay);
    assert_eq!(replay.1, 2);
}

#[test]
fn bytes_held_go_back_to_what_they_were_when_keys_leave() {
    let mut table = MapTable::<Vec<u8>>::new(0..1);
    for _ in 0..3 {
        for number in 0..100u32 {
            table.put(0, &number.to_le_bytes(), vec![0; 50]).unwrap();
        }
        assert_eq!(table.maps[0].heap_bytes, 100 * 54);
        (0..100u32).for_each(|number| drop(table.remove(0, &number.to_le_bytes()).unwrap()));
        assert_eq!((table.maps[0].heap_bytes, table.len()), (0, 0));
    }
    assert_eq!(table.maps[0].slots.len(), 100);
}

#[test]
fn what_nothing_touched_leaves_first_and_gives_its_memory_back() {
    let (mut table, mut replay, spill) = (MapTable::<Vec<u8>>::new(0..1), Replay::default(), spill());
    for number in 0..10_000u32 {
        table.put(0, &number.to_le_bytes(), vec![1; 100]).unwrap();
    }
    table.seal(&mut replay);
    // All are as recent: the first pass takes them all for touched.
    table.evict(0, &spill, |_| Leaving::UntilAsked).unwrap();
    let before = table.byte_size();
    assert!(table.evict(usize::MAX, &spill, |_| Leaving::UntilAsked).unwrap() > before / 5 * 4);
    assert!(table.byte_size() < before / 5, "{} of {before}", table.byte_size());
    assert!(table.cold_bytes() > 1_000_000 && table.len() == 10_000);
    assert!(table.warm(0, &7u32.to_le_bytes()).unwrap() && !table.warm(0, &7u32.to_le_bytes()).unwrap());
    assert_eq!(table.get(0, &7u32.to_le_bytes()).unwrap(), &[1; 100]);
    assert_eq!(table.peek(0, &8u32.to_le_bytes()).unwrap().unwrap(), [1; 100]);
    table.put(0, &9u32.to_le_bytes(), vec![2]).unwrap();
    table.remove(0, &10u32.to_le_bytes()).unwrap();
    replay.1 = 0;
    table.seal(&mut replay);
    assert_eq!((replay.1, table.len()), (2, 9_999), "a delta holds what was touched");
    assert_eq!(held(&table), replay.0);
}

#[test]
fn a_full_disk_loses_nothing() {
    let disk = SimDisk::new();
    let (mut table, mut replay) = (MapTable::<Vec<u8>>::new(0..1), Replay::default());
    (0..100u8).for_each(|number| drop(table.put(0, &[number], vec![number; 50]).unwrap()));
    table.seal(&mut replay);
    disk.set_capacity(Some(0));
    let spill = Spill::new(Arc::new(disk), "/state".into());
    assert!(table.evict(usize::MAX, &spill, |_| Leaving::UntilAsked).is_err());
    assert_eq!(held(&table), replay.0);
}

#[test]
fn a_key_group_of_another_task_is_refused() {
    let mut table = MapTable::<Vec<u8>>::new(2..4);
    assert_eq!(table.put(4, b"k", vec![]), Err(TableError::ForeignKeyGroup { key_group: 4, first: 2, end: 4 }));
    assert!(table.get(1, b"k").is_none());
}
