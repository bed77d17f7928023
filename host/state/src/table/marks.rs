//! The slots that were touched since the last seal.
//!
//! Two levels of bits: a word of the upper one says which 64 words of the lower one are worth a look. So touched slots come
//! out ascending, and a seal reads the columns from front to back and not as keys happened to come; finding them costs a
//! word for every 4,096 slots and a word or less for each that was touched.
//!
//! Invariant: a word of the lower level that is not 0 has its bit in the upper one.

use super::prefetch;

/// Slots that are handed out at once: their memory can be read side by side before they are written one by one.
const TOGETHER: usize = 16;

#[derive(Debug, Clone, Default)]
pub struct Marks {
    /// A bit for each slot; those never set need no room.
    slots: Vec<u64>,
    /// A bit for each word of `slots`.
    words: Vec<u64>,
    count: usize,
}

impl Marks {
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    #[inline]
    pub fn get(&self, slot: u32) -> bool {
        self.slots.get(slot as usize / 64).is_some_and(|word| word >> (slot % 64) & 1 == 1)
    }

    #[inline]
    pub fn set(&mut self, slot: u32) {
        let (word, bit) = (slot as usize / 64, 1 << (slot % 64));
        if word >= self.slots.len() {
            self.slots.resize(word + 1, 0);
            self.words.resize(word / 64 + 1, 0);
        }
        if self.slots[word] & bit == 0 {
            self.slots[word] |= bit;
            self.words[word / 64] |= 1 << (word % 64);
            self.count += 1;
        }
    }

    pub fn clear(&mut self, slot: u32) {
        if self.get(slot) {
            self.slots[slot as usize / 64] &= !(1 << (slot % 64));
            self.count -= 1;
        }
    }

    /// Asks for the slot's bit.
    #[inline]
    pub fn prefetch(&self, slot: u32) {
        if let Some(word) = self.slots.get(slot as usize / 64) {
            prefetch::line(word);
        }
    }

    /// Gives out the slots, ascending and a few at a time, and clears them.
    pub fn drain(&mut self, mut some: impl FnMut(&[u32])) {
        let (mut together, mut held) = ([0; TOGETHER], 0);
        for (above, words) in self.words.iter_mut().enumerate() {
            for word in ones(std::mem::take(words)).map(|bit| above * 64 + bit as usize) {
                for bit in ones(std::mem::take(&mut self.slots[word])) {
                    together[held] = word as u32 * 64 + bit;
                    held += 1;
                    if held == TOGETHER {
                        some(&together);
                        held = 0;
                    }
                }
            }
        }
        some(&together[..held]);
        self.count = 0;
    }

    /// Bytes held.
    pub fn byte_size(&self) -> usize {
        (self.slots.capacity() + self.words.capacity()) * size_of::<u64>()
    }
}

/// The numbers of the bits that are set.
fn ones(mut word: u64) -> impl Iterator<Item = u32> {
    std::iter::from_fn(move || {
        let bit = (word != 0).then(|| word.trailing_zeros())?;
        word &= word - 1;
        Some(bit)
    })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn drained(marks: &mut Marks) -> Vec<u32> {
        let mut all = Vec::new();
        marks.drain(|some| all.extend_from_slice(some));
        all
    }

    #[test]
    fn slots_come_out_once_each_and_ascending() {
        let mut marks = Marks::default();
        let slots = [70_000, 3, 64, 4_095, 4_096, 3, 0, 63, 1_000_000];
        slots.iter().for_each(|slot| marks.set(*slot));
        marks.clear(4_095);
        marks.clear(4_095);
        marks.clear(5_000_000);
        assert!(marks.get(3) && !marks.get(4_095) && !marks.is_empty());
        assert_eq!(drained(&mut marks), [0, 3, 63, 64, 4_096, 70_000, 1_000_000]);
        assert!(marks.is_empty() && !marks.get(3));
        assert_eq!(drained(&mut marks), [0u32; 0]);
    }

    #[test]
    fn many_slots_come_out_as_from_a_sorted_set() {
        let (mut marks, mut state) = (Marks::default(), 7u32);
        for round in 0..50 {
            let mut model = BTreeSet::new();
            for _ in 0..round * 20 {
                state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                let slot = state >> 15;
                if state & 0x700 == 0 {
                    marks.clear(slot);
                    model.remove(&slot);
                } else {
                    marks.set(slot);
                    model.insert(slot);
                }
            }
            assert_eq!(marks.is_empty(), model.is_empty());
            assert_eq!(drained(&mut marks), model.into_iter().collect::<Vec<_>>(), "round {round}");
        }
    }
}
