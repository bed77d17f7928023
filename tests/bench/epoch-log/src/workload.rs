//! The keys, the epochs' changes and the outbox payloads.

use weir_state::{DeltaBuilder, StateDelta};
use weir_stream::key;

pub const KEY_GROUPS: u16 = 64;

/// Keys that an epoch changes.
const CHANGED_KEYS: usize = 22_000;

/// Hash-ordered keys, as hashing makes them.
pub struct Workload {
    keys: u64,
    sections: Vec<StateDelta>,
    state: u64,
}

fn mix(number: u64) -> u64 {
    let mixed = (number ^ (number >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

fn key_bytes(number: u64) -> [u8; 16] {
    let mut key = [0; 16];
    key[..8].copy_from_slice(&mix(number).to_le_bytes());
    key[8..].copy_from_slice(&number.to_le_bytes());
    key
}

fn builders() -> Vec<DeltaBuilder> {
    (0..KEY_GROUPS).map(|key_group| DeltaBuilder::new(1, key_group)).collect()
}

fn put(builders: &mut [DeltaBuilder], number: u64, value: u64) {
    let key = key_bytes(number);
    let key_group = key::key_group(key::hash(&key), KEY_GROUPS);
    builders[usize::from(key_group)].put(&key, &[value.to_le_bytes(); 3].concat());
}

impl Workload {
    pub fn new(keys: u64) -> Self {
        let mut builders = builders();
        (0..keys).for_each(|number| put(&mut builders, number, number));
        Self { keys, sections: builders.into_iter().map(DeltaBuilder::finish).collect(), state: 1 }
    }

    /// Every key of one key group; the values do not matter.
    pub fn section(&self, key_group: u16) -> StateDelta {
        self.sections[usize::from(key_group)].clone()
    }

    /// One epoch's changes.
    pub fn deltas(&mut self) -> Vec<StateDelta> {
        let mut builders = builders();
        for _ in 0..CHANGED_KEYS {
            self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
            put(&mut builders, mix(self.state) % self.keys, self.state);
        }
        builders.into_iter().map(DeltaBuilder::finish).collect()
    }
}

/// Rows as a sink would get them.
pub fn json(bytes: usize) -> Vec<u8> {
    let mut text = Vec::with_capacity(bytes + 200);
    for number in 0u64.. {
        if text.len() >= bytes {
            break;
        }
        let (event, amount, user) = (mix(number), mix(number) % 100_000, mix(number + 7) % 50_000);
        text.extend_from_slice(
            format!(
                "{{\"event_id\":\"{event:016x}\",\"kind\":\"payment\",\"occurred_at\":\"2026-03-01T10:{:02}:{:02}Z\",\
                 \"category\":\"books\",\"user\":{user},\"amount_eur\":\"{}.{:02}\"}}\n",
                number / 60 % 60,
                number % 60,
                amount / 100,
                amount % 100
            )
            .as_bytes(),
        );
    }
    text.truncate(bytes);
    text
}

/// Bytes that do not compress.
pub fn noise(bytes: usize) -> Vec<u8> {
    (0..bytes as u64 / 8).flat_map(|number| mix(number + 1).to_le_bytes()).collect()
}
