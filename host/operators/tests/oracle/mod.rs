//! What the oracles of keyed steps share: chance from a printed seed, deltas, and tasks that are made anew from them.
//!
//! `WEIR_TEST_SEED` repeats a run; `WEIR_TEST_CASES` changes the number of cases. Each test uses a part of this.
#![allow(dead_code)]

use std::ops::Range;

use weir_operators::KeyedOperator;
use weir_state::Spill;
use weir_state::table::DeltaWriter;

/// After so many entries of a key group all that may leave memory does, while it is restored.
const ENTRIES_IN_MEMORY: usize = 7;

/// A xorshift generator: the tests' only source of chance.
pub struct Random(u64);

impl Random {
    pub fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    pub fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) % bound
    }

    pub fn one_in(&mut self, chances: u64) -> bool {
        self.below(chances) == 0
    }

    pub fn of<T: Copy>(&mut self, choices: &[T]) -> T {
        choices[self.below(choices.len() as u64) as usize]
    }

    pub fn tasks(&mut self) -> usize {
        self.of(&[1, 2, 4])
    }

    /// A partition that has events left.
    pub fn partition<T>(&mut self, partitions: &[Vec<T>], next: &[usize]) -> Option<usize> {
        let open: Vec<usize> = (0..partitions.len()).filter(|open| next[*open] < partitions[*open].len()).collect();
        (!open.is_empty()).then(|| self.of(&open))
    }
}

/// The seed of each case; the first is printed.
pub fn seeds(cases: u64) -> impl Iterator<Item = u64> {
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    let clock = || std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().subsec_nanos();
    let base = number("WEIR_TEST_SEED").unwrap_or_else(|| u64::from(clock()));
    let cases = number("WEIR_TEST_CASES").unwrap_or(cases);
    println!("WEIR_TEST_SEED={base} ({cases} cases)");
    (0..cases).map(move |case| base.wrapping_add(case))
}

/// (key group, key, value or none) in the order of sealing: all that outlives a task.
#[derive(Default)]
pub struct Deltas(pub Vec<(u16, Vec<u8>, Option<Vec<u8>>)>);

impl DeltaWriter for Deltas {
    fn put(&mut self, key_group: u16, key: &[u8], value: &[u8]) {
        self.0.push((key_group, key.to_vec(), Some(value.to_vec())));
    }

    fn delete(&mut self, key_group: u16, key: &[u8]) {
        self.0.push((key_group, key.to_vec(), None));
    }
}

impl Deltas {
    /// Puts what was sealed of some key groups into a new task, part by part, as a start does; with `spill`, in little
    /// memory.
    pub fn restore(&self, made: &mut (impl KeyedOperator + ?Sized), groups: Range<u16>, spill: Option<&Spill>) {
        for group in groups {
            let mut part = made.part(group..group + 1);
            let entries = self.0.iter().filter(|(of, _, _)| *of == group);
            for (number, (_, key, value)) in entries.enumerate() {
                match value {
                    Some(value) => part.restore_put(group, key, value).unwrap(),
                    None => part.restore_delete(group, key).unwrap(),
                }
                if let Some(spill) = spill.filter(|_| (number + 1) % ENTRIES_IN_MEMORY == 0) {
                    part.evict(usize::MAX, spill).unwrap();
                }
            }
            made.absorb(part).unwrap();
        }
    }

    /// What is held takes the place of all deltas, as a snapshot does.
    pub fn snapshot(&mut self, tasks: &[impl KeyedOperator], key_groups: u16) {
        self.0.clear();
        for (task, group) in tasks.iter().flat_map(|task| (0..key_groups).map(move |group| (task, group))) {
            task.for_each(group, &mut |key, value| self.put(group, key, value)).unwrap();
        }
    }
}
