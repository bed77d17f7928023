//! Which partition each row goes to.
//!
//! Rows with a key go where Java's default partitioner sends them, so that every client agrees on a key's partition.
//! Rows without one are spread in runs: records of one partition next to each other compress and batch best.

use weir_stream::PayloadBlock;

/// Rows without a key that go to one partition before the next one is taken.
const RUN: u32 = 1000;

/// Chooses partitions; remembers only where the last run went.
pub struct Partitioner {
    partitions: u32,
    current: u32,
    in_run: u32,
}

impl Partitioner {
    pub fn new(partitions: u32) -> Self {
        Self { partitions: partitions.max(1), current: 0, in_run: 0 }
    }

    pub fn partitions(&self) -> u32 {
        self.partitions
    }

    /// The partition of each row of a block.
    pub fn assign(&mut self, block: &PayloadBlock) -> Vec<i32> {
        (0..block.values.len())
            .map(|row| match &block.keys {
                Some(keys) if !keys.is_absent(row) => self.of_key(keys.get(row)),
                _ => self.next_in_run(),
            })
            .collect()
    }

    fn of_key(&self, key: &[u8]) -> i32 {
        ((murmur2(key) & 0x7fff_ffff) % self.partitions) as i32
    }

    fn next_in_run(&mut self) -> i32 {
        if self.in_run == RUN {
            self.current = (self.current + 1) % self.partitions;
            self.in_run = 0;
        }
        self.in_run += 1;
        self.current as i32
    }
}

/// MurmurHash2, 32 bits, with the seed of Kafka's Java client.
fn murmur2(key: &[u8]) -> u32 {
    const M: u32 = 0x5bd1_e995;
    const SEED: u32 = 0x9747_b28c;
    let mut hash = SEED ^ key.len() as u32;
    let mut words = key.chunks_exact(4);
    for word in words.by_ref() {
        let mut k = u32::from_le_bytes(word.try_into().expect("chunks of four")).wrapping_mul(M);
        k = (k ^ (k >> 24)).wrapping_mul(M);
        hash = hash.wrapping_mul(M) ^ k;
    }
    let tail = words.remainder();
    if !tail.is_empty() {
        let k = tail.iter().rev().fold(0, |k, byte| (k << 8) | u32::from(*byte));
        hash = (hash ^ k).wrapping_mul(M);
    }
    hash = (hash ^ (hash >> 13)).wrapping_mul(M);
    hash ^ (hash >> 15)
}

#[cfg(test)]
mod tests {
    use weir_stream::PayloadBuilder;

    use super::*;

    #[test]
    fn the_hash_is_the_one_of_the_java_client() {
        // The values are those of Kafka's own unit test.
        let expected = [
            ("21", -973_932_308),
            ("foobar", -790_332_482),
            ("a-little-bit-long-string", -985_981_536),
            ("a-little-bit-longer-string", -1_486_304_829),
            ("lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58_897_971),
            ("abc", 479_470_107),
        ];
        for (key, hash) in expected {
            assert_eq!(murmur2(key.as_bytes()) as i32, hash, "{key}");
        }
    }

    #[test]
    fn rows_without_a_key_fill_a_run_and_then_the_next_partition() {
        let rows = RUN as usize + 1;
        let values = (0..rows).map(|_| b"v".as_slice()).collect();
        let mut keys = PayloadBuilder::default();
        (0..rows).for_each(|_| keys.push_absent());
        for keys in [None, Some(keys.finish())] {
            let block = PayloadBlock { values: weir_stream::Payloads::clone(&values), keys, timestamps_us: vec![] };
            let to = Partitioner::new(2).assign(&block);
            assert!(to[..RUN as usize].iter().all(|partition| *partition == 0));
            assert_eq!(to[RUN as usize], 1);
        }
    }
}
