//! Slot numbers by the hash of their key: open addressing with linear probing, 32 bits an entry, so that most look-ups read
//! one cache line before they read the key.
//!
//! An entry is the slot's number plus one in its low bits and a tag from the hash in the others; 0 is none. The fuller the
//! table, the more bits the number takes: at 40,000 keys 15 are left for the tag, and one look-up in 32,768 compares a key in
//! vain.
//!
//! Invariant: an entry lies at its home bucket or behind it with no empty bucket between.

use super::prefetch;

/// Buckets of a table that gets its first entry.
const FEWEST: usize = 8;

#[derive(Debug, Clone, Default)]
pub struct Buckets {
    /// None, or a power of two of them.
    words: Vec<u32>,
    held: usize,
}

impl Buckets {
    /// The slot under `hash` for which `is_it`, if there is one.
    #[inline]
    pub fn find(&self, hash: u64, mut is_it: impl FnMut(u32) -> bool) -> Option<u32> {
        if self.words.is_empty() {
            return None;
        }
        let slots = self.slot_mask();
        let tag = self.tag(hash);
        let mut at = self.home(hash);
        loop {
            let word = self.words[at];
            if word == 0 {
                return None;
            }
            if word & !slots == tag {
                let slot = (word & slots) - 1;
                if is_it(slot) {
                    return Some(slot);
                }
            }
            at = self.behind(at);
        }
    }

    /// The first slot whose tag is that of `hash`: mostly the one that a look-up finds.
    #[inline]
    pub fn likely(&self, hash: u64) -> Option<u32> {
        self.find(hash, |_| true)
    }

    /// Asks for the home bucket of `hash`.
    #[inline]
    pub fn prefetch(&self, hash: u64) {
        if let Some(word) = self.words.get(self.home(hash)) {
            prefetch::line(word);
        }
    }

    /// Adds a slot that is not there. `hash_of` gives the hash of a slot that is.
    pub fn insert(&mut self, hash: u64, slot: u32, hash_of: impl Fn(u32) -> u64) {
        while self.held >= self.words.len() / 4 * 3 || slot >= self.slot_mask() {
            self.grow(&hash_of);
        }
        self.put(hash, slot);
        self.held += 1;
    }

    /// Takes out a slot that is there, or nothing.
    pub fn remove(&mut self, hash: u64, slot: u32, hash_of: impl Fn(u32) -> u64) {
        let Some(mut hole) = self.position(hash, slot) else { return };
        let (mask, slots) = (self.words.len() - 1, self.slot_mask());
        let mut at = self.behind(hole);
        // What lies behind closes up, unless it would come before its home (Knuth, volume 3, 6.4, algorithm R).
        while self.words[at] != 0 {
            let home = self.home(hash_of((self.words[at] & slots) - 1));
            if at.wrapping_sub(home) & mask >= at.wrapping_sub(hole) & mask {
                self.words[hole] = self.words[at];
                hole = at;
            }
            at = self.behind(at);
        }
        self.words[hole] = 0;
        self.held -= 1;
    }

    /// Entries held.
    pub fn len(&self) -> usize {
        self.held
    }

    /// Bytes held.
    pub fn byte_size(&self) -> usize {
        self.words.capacity() * size_of::<u32>()
    }

    fn position(&self, hash: u64, slot: u32) -> Option<usize> {
        let wanted = self.tag(hash) | (slot + 1);
        let mut at = self.home(hash);
        while *self.words.get(at)? != 0 {
            if self.words[at] == wanted {
                return Some(at);
            }
            at = self.behind(at);
        }
        None
    }

    fn grow(&mut self, hash_of: impl Fn(u32) -> u64) {
        let buckets = (self.words.len() * 2).max(FEWEST);
        let old = std::mem::replace(&mut self.words, vec![0; buckets]);
        // Half as many buckets as now, and so one bit less.
        let slots = self.slot_mask() >> 1;
        for word in old.into_iter().filter(|word| *word != 0) {
            let slot = (word & slots) - 1;
            self.put(hash_of(slot), slot);
        }
    }

    fn put(&mut self, hash: u64, slot: u32) {
        let mut at = self.home(hash);
        while self.words[at] != 0 {
            at = self.behind(at);
        }
        self.words[at] = self.tag(hash) | (slot + 1);
    }

    #[inline]
    fn behind(&self, at: usize) -> usize {
        (at + 1) & (self.words.len() - 1)
    }

    /// The bits of a slot's number plus one. One more than the buckets need, because numbers are not reused.
    #[inline]
    fn slot_mask(&self) -> u32 {
        match self.words.len() {
            0 => 0,
            buckets => (buckets as u64 * 2 - 1) as u32,
        }
    }

    /// From the hash's high bits: its low ones say the key group, which all keys of a table share.
    #[inline]
    fn home(&self, hash: u64) -> usize {
        hash.checked_shr(64 - self.words.len().trailing_zeros()).unwrap_or(0) as usize
    }

    /// From the bits between those of the key group and of the home.
    #[inline]
    fn tag(&self, hash: u64) -> u32 {
        (hash >> 16) as u32 & !self.slot_mask()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Keys are numbers, slots their places in a list.
    #[derive(Default)]
    struct Model {
        buckets: Buckets,
        keys: Vec<u64>,
        live: std::collections::BTreeMap<u64, u32>,
    }

    impl Model {
        fn insert(&mut self, key: u64, hash: impl Fn(u64) -> u64) {
            let slot = self.keys.len() as u32;
            self.keys.push(key);
            self.buckets.insert(hash(key), slot, |slot| hash(self.keys[slot as usize]));
            self.live.insert(key, slot);
        }

        fn remove(&mut self, key: u64, hash: impl Fn(u64) -> u64) {
            let slot = self.live.remove(&key).unwrap();
            self.buckets.remove(hash(key), slot, |slot| hash(self.keys[slot as usize]));
        }

        fn check(&self, hash: impl Fn(u64) -> u64) {
            for key in 0..400 {
                let found = self.buckets.find(hash(key), |slot| self.keys[slot as usize] == key);
                assert_eq!(found, self.live.get(&key).copied(), "key {key}");
            }
            assert_eq!(self.buckets.held, self.live.len());
        }
    }

    fn run(seed: u64, hash: impl Fn(u64) -> u64 + Copy) {
        let mut model = Model::default();
        let mut state = seed;
        for step in 0..3_000 {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let key = (state >> 33) % 400;
            match model.live.contains_key(&key) {
                true => model.remove(key, hash),
                false => model.insert(key, hash),
            }
            if step % 50 == 0 {
                model.check(hash);
            }
        }
        model.check(hash);
    }

    #[test]
    fn what_was_inserted_and_not_removed_is_found() {
        let seed = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_nanos() as u64;
        println!("seed {seed}");
        run(seed, |key| key.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        // Few homes, and the last bucket among them: chains run over the end.
        run(seed, |key| u64::MAX << 62 | (key % 3) << 16);
    }

    #[test]
    fn slots_far_beyond_the_number_of_entries_make_room_for_their_numbers() {
        let mut buckets = Buckets::default();
        buckets.insert(1 << 40, 1_000_000, |_| unreachable!());
        assert_eq!(buckets.likely(1 << 40), Some(1_000_000));
        assert_eq!(Buckets::default().likely(7), None);
        Buckets::default().remove(7, 7, |_| unreachable!());
    }
}
