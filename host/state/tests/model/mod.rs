//! What the store should hold: the plain model that its tests compare it with, and random epochs to fill both.
//!
//! Invariant: the model keeps every epoch whole, in the simplest form there is. It does no I/O.

#![allow(dead_code, reason = "each test binary uses its part of the model")]

use std::collections::BTreeMap;
use std::path::Path;

use weir_state::record::{DeltaBuilder, EpochRecord, OutboxEntry, StateDelta};
use weir_state::sim::SimRng;
use weir_state::{Identity, KeyGroupEntries, Options, Recovered, Store};

pub const KEY_GROUPS: u16 = 5;
pub const STEPS: u16 = 2;
pub const SINKS: u16 = 2;

pub fn identity() -> Identity {
    Identity { pipeline: "shop".into(), key_groups: KEY_GROUPS, created_us: 1_772_359_200_000_000, generation: 1 }
}

/// So small that a few epochs pass through every case.
pub fn small_options() -> Options {
    Options {
        log_segment_bytes: 4 * 4096,
        outbox_segment_bytes: 4 * 4096,
        min_log_bytes: 12 * 4096,
        parallel_sync_bytes: u64::MAX,
    }
}

type State = BTreeMap<(u16, u16, Vec<u8>), Vec<u8>>;

/// What an epoch left behind.
#[derive(Debug, Clone, Default)]
pub struct ModelEpoch {
    pub meta: Vec<u8>,
    /// By key group, step and key.
    pub state: State,
    pub outbox: Vec<OutboxEntry>,
    pub acked: BTreeMap<u16, u64>,
}

/// Every epoch so far; epoch 0 is the empty beginning.
#[derive(Debug, Clone)]
pub struct Model {
    pub epochs: Vec<ModelEpoch>,
    /// What the sinks have acknowledged, durable or not.
    pub acked: BTreeMap<u16, u64>,
}

impl Default for Model {
    fn default() -> Self {
        Self { epochs: vec![ModelEpoch::default()], acked: BTreeMap::new() }
    }
}

impl Model {
    pub fn last_epoch(&self) -> u64 {
        self.epochs.len() as u64 - 1
    }

    pub fn at(&self, epoch: u64) -> &ModelEpoch {
        &self.epochs[epoch as usize]
    }

    /// Forgets epochs after `epoch` and acknowledgements that did not survive.
    pub fn cut(&mut self, epoch: u64) {
        self.epochs.truncate(epoch as usize + 1);
        self.acked = self.at(epoch).acked.clone();
    }

    /// A random next epoch, which the model already has.
    pub fn next(&mut self, rng: &mut SimRng) -> EpochRecord {
        let epoch = self.last_epoch() + 1;
        let mut next = ModelEpoch {
            meta: format!("offsets of {epoch}").repeat(rng.below(40) as usize).into_bytes(),
            state: self.at(epoch - 1).state.clone(),
            outbox: Vec::new(),
            acked: self.acked.clone(),
        };
        let deltas = (0..rng.below(4)).map(|_| random_delta(rng, &mut next.state)).collect();
        for sink in 0..SINKS {
            if rng.one_in(2) {
                continue;
            }
            next.outbox.push(OutboxEntry { sink, previous: self.previous(sink), payload: random_payload(rng) });
        }
        let record = EpochRecord { epoch, meta: next.meta.clone(), deltas, outbox: next.outbox.clone() };
        self.epochs.push(next);
        record
    }

    fn previous(&self, sink: u16) -> u64 {
        let owes = |epoch: &ModelEpoch| epoch.outbox.iter().any(|entry| entry.sink == sink);
        self.epochs.iter().rposition(owes).unwrap_or(0) as u64
    }

    /// A key group's whole state as of an epoch, as its snapshot takes it.
    pub fn sections(&self, key_group: u16, epoch: u64) -> Vec<StateDelta> {
        let mut sections = Vec::new();
        for step in 0..STEPS {
            let mut builder = DeltaBuilder::new(step, key_group);
            for ((of, in_step, key), value) in &self.at(epoch).state {
                if (*of, *in_step) == (key_group, step) {
                    builder.put(key, value);
                }
            }
            sections.push(builder.finish());
        }
        sections
    }

    /// Compares everything that can be read back with the model's epoch; answers what differs.
    pub fn compare(&self, store: &Store, recovered: Recovered, threads: usize) -> Result<(), String> {
        let expected = self.at(recovered.last_epoch);
        let epoch = recovered.last_epoch;
        same("last epoch", store.last_epoch(), epoch)?;
        same("meta", recovered.meta.unwrap_or_default(), expected.meta.clone())?;
        same("acked", recovered.acked.into_iter().collect(), expected.acked.clone())?;
        for sink in 0..SINKS {
            let acked = expected.acked.get(&sink).copied().unwrap_or(0);
            let owed = self.owed(sink, acked, epoch);
            let listed = recovered.outbox.iter().filter(|entry| entry.sink == sink);
            let listed: Vec<_> = listed.map(|entry| (entry.epoch, entry.previous, entry.bytes)).collect();
            let heads = owed.iter().map(|(epoch, previous, payload)| (*epoch, *previous, payload.len() as u64));
            same("outbox entries", listed, heads.collect())?;
            let read = store.read_outbox(sink, acked, usize::MAX).map_err(|error| error.to_string())?;
            same(
                "outbox payloads",
                read.into_iter().map(|item| (item.epoch, item.previous, item.payload)).collect(),
                owed,
            )?;
        }
        let groups = recovered.state.load(threads, |_| KeyGroupEntries::default());
        let groups = groups.map_err(|error| error.to_string())?;
        let mut state = State::new();
        for (key_group, entries) in (0u16..).zip(groups) {
            state.extend(entries.0.into_iter().map(|((step, key), value)| ((key_group, step, key), value)));
        }
        same("state", state, expected.state.clone())
    }

    fn owed(&self, sink: u16, acked: u64, last: u64) -> Vec<(u64, u64, Vec<u8>)> {
        let of_epoch = |epoch: u64| {
            let entries = self.at(epoch).outbox.iter().filter(|entry| entry.sink == sink);
            entries.map(move |entry| (epoch, entry.previous, entry.payload.clone())).collect::<Vec<_>>()
        };
        (acked + 1..=last).flat_map(of_epoch).collect()
    }
}

fn same<T: PartialEq + std::fmt::Debug>(what: &str, found: T, expected: T) -> Result<(), String> {
    if found == expected { Ok(()) } else { Err(format!("{what}: found {found:?}, expected {expected:?}")) }
}

fn random_delta(rng: &mut SimRng, state: &mut State) -> StateDelta {
    let (step, key_group) = (rng.below(u64::from(STEPS)) as u16, rng.below(u64::from(KEY_GROUPS)) as u16);
    let mut builder = DeltaBuilder::new(step, key_group);
    for _ in 0..rng.below(6) {
        let key = vec![b'k'; 1 + rng.below(3) as usize];
        if rng.one_in(4) {
            builder.delete(&key);
            state.remove(&(key_group, step, key));
        } else {
            let below = if rng.one_in(8) { 3000 } else { 40 };
            let value = random_bytes(rng, below);
            builder.put(&key, &value);
            state.insert((key_group, step, key), value);
        }
    }
    builder.finish()
}

/// Some that compress well, some that do not.
fn random_payload(rng: &mut SimRng) -> Vec<u8> {
    if rng.one_in(2) { random_bytes(rng, 6000) } else { b"{\"paid\":12.50}".repeat(rng.below(400) as usize) }
}

fn random_bytes(rng: &mut SimRng, below: u64) -> Vec<u8> {
    let length = rng.below(below);
    (0..length).map(|_| rng.next_u64() as u8).collect()
}

pub fn dir() -> &'static Path {
    Path::new("/state/shop")
}

/// The seeds of a random test: `WEIR_SEED` alone, or `WEIR_SEEDS` many, or `default_count`.
pub fn seeds(default_count: u64) -> Vec<u64> {
    let number = |name| std::env::var(name).ok().map(|text| text.parse::<u64>().expect("a number"));
    match number("WEIR_SEED") {
        Some(seed) => vec![seed],
        None => (0..number("WEIR_SEEDS").unwrap_or(default_count)).collect(),
    }
}
