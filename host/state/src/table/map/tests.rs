//! A map of keys that come and go, against a plain map through seals and restores.

use std::collections::BTreeMap;

use super::*;

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
    table.iter().map(|(group, key, value)| ((group, key.to_vec()), value.clone())).collect()
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
        let mut random = seed;
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
            assert_eq!(held(&table), replay.0, "seed {seed}");
        }
        let mut restored = MapTable::<Vec<u8>>::new(3..7);
        for group in 3..7 {
            let mut part = MapTable::<Vec<u8>>::new(group..group + 1);
            table.for_each(group, &mut |key, value| part.restore_put(group, key, value).unwrap());
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
fn a_key_group_of_another_task_is_refused() {
    let mut table = MapTable::<Vec<u8>>::new(2..4);
    assert_eq!(table.put(4, b"k", vec![]), Err(TableError::ForeignKeyGroup { key_group: 4, first: 2, end: 4 }));
    assert!(table.get(1, b"k").is_none());
}
