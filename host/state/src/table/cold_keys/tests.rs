//! Cold keys against a plain map, and bytes that changed on disk.

use std::sync::Arc;

use super::*;
use crate::sim::SimDisk;

fn spill() -> Spill {
    Spill::new(Arc::new(SimDisk::new()), "/state".into())
}

fn piece(entries: &[(&[u8], &[u8])], due_us: Option<i64>) -> PieceWriter {
    let mut piece = PieceWriter::default();
    entries.iter().for_each(|(key, value)| piece.put(key, due_us, |bytes| bytes.extend_from_slice(value)));
    piece
}

fn take(cold: &mut ColdKeys, key: &[u8]) -> Result<Option<Vec<u8>>, TableError> {
    cold.take(3, key::hash(key), key)
}

#[test]
fn a_random_history_gives_back_what_was_put() {
    for seed in 1..=60u64 {
        let mut random = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let mut next = |bound: u64| {
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            random % bound
        };
        let (mut cold, spill) = (ColdKeys::default(), spill());
        let mut model = BTreeMap::<Vec<u8>, (Option<i64>, Vec<u8>)>::new();
        for _ in 0..200 {
            match next(8) {
                0 | 1 => {
                    let due_us = (next(3) > 0).then(|| next(100) as i64);
                    let mut piece = PieceWriter::default();
                    for _ in 0..next(30) {
                        let key = vec![next(200) as u8; 1 + next(3) as usize];
                        if model.contains_key(&key) {
                            continue;
                        }
                        let value = vec![next(256) as u8; next(1500) as usize];
                        piece.put(&key, due_us, |bytes| bytes.extend_from_slice(&value));
                        model.insert(key, (due_us, value));
                    }
                    cold.add(piece, &spill).unwrap();
                }
                2 => {
                    let until_us = next(100) as i64;
                    while let Some(thawed) = cold.take_due(3, until_us).unwrap() {
                        for (key, value) in thawed {
                            let (due_us, held) = model.remove(&*key).expect("a key comes back once");
                            assert!(due_us <= Some(until_us) && due_us.is_some() && held == value, "seed {seed}");
                        }
                    }
                    assert!(model.values().all(|(due_us, _)| due_us.is_none_or(|due_us| due_us > until_us)));
                }
                3 => cold.tidy(3, &spill).unwrap(),
                _ => {
                    let key = vec![next(200) as u8; 1 + next(3) as usize];
                    let held = model.remove(&key).map(|(_, value)| value);
                    assert_eq!(cold.get(3, key::hash(&key), &key).unwrap(), held, "seed {seed}");
                    assert_eq!(take(&mut cold, &key).unwrap(), held, "seed {seed}");
                }
            }
            let mut all = BTreeMap::new();
            cold.for_each(3, &mut |key, value| assert!(all.insert(key.to_vec(), value.to_vec()).is_none())).unwrap();
            let held: BTreeMap<_, _> = model.iter().map(|(key, (_, value))| (key.clone(), value.clone())).collect();
            assert_eq!((all, cold.len()), (held, model.len()), "seed {seed}");
        }
    }
}

#[test]
fn every_flipped_byte_is_found_and_never_served() {
    let entries: [(&[u8], &[u8]); 2] = [(b"one", b"first value"), (b"two", &[7; 1000])];
    let mut whole = ColdKeys::default();
    whole.add(piece(&entries, Some(5)), &spill()).unwrap();
    for at in 0..whole.bytes() {
        let mut cold = ColdKeys::default();
        cold.add(piece(&entries, Some(5)), &spill()).unwrap();
        cold.pieces[&0].spilled.damage(at);
        let first_is_hit = at < (HEAD_BYTES + 3 + 11) as u64;
        let [one, two] = [b"one", b"two"].map(|key| cold.get(3, key::hash(key), key));
        assert!(if first_is_hit { &one } else { &two }.is_err(), "byte {at}: {one:?} {two:?}");
        assert!([one, two].iter().filter(|got| matches!(got, Ok(Some(_)))).count() == 1, "byte {at}");
        assert!(matches!(cold.take_due(3, 5), Err(TableError::Cold { key_group: 3, .. })), "byte {at}");
        assert!(cold.for_each(3, &mut |_, _| {}).is_err(), "byte {at}");
    }
}

#[test]
fn a_piece_of_which_most_is_gone_is_written_anew_without_that() {
    let (mut cold, spill) = (ColdKeys::default(), spill());
    let keys: Vec<[u8; 1]> = (0..100u8).map(|key| [key]).collect();
    let entries: Vec<(&[u8], &[u8])> = keys.iter().map(|key| (&key[..], &[9; 100][..])).collect();
    cold.add(piece(&entries, None), &spill).unwrap();
    let before = cold.bytes();
    keys[..40].iter().for_each(|key| drop(take(&mut cold, key).unwrap().unwrap()));
    cold.tidy(3, &spill).unwrap();
    assert_eq!(cold.bytes(), before, "most is there still");
    keys[40..60].iter().for_each(|key| drop(take(&mut cold, key).unwrap().unwrap()));
    cold.tidy(3, &spill).unwrap();
    assert_eq!((cold.bytes(), cold.len()), (before / 100 * 40, 40));
    keys[60..].iter().for_each(|key| drop(take(&mut cold, key).unwrap().unwrap()));
    assert_eq!((cold.bytes(), cold.byte_size(), cold.is_empty()), (0, 0, true));
}
