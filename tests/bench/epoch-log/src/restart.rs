//! A restart: open, then load every key into a hash table per key group.

use std::hash::{BuildHasher, Hasher};
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use hashbrown::HashMap;
use weir_state::{Identity, KeyGroupTarget, RealDisk, Store};

use crate::clock;

const THREADS: usize = 2;

/// The first eight bytes of a key are a hash already.
#[derive(Clone, Default)]
struct FirstBytes(u64);

impl BuildHasher for FirstBytes {
    type Hasher = Self;

    fn build_hasher(&self) -> Self {
        Self(0)
    }
}

impl Hasher for FirstBytes {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        if let Some(first) = bytes.first_chunk() {
            self.0 = u64::from_le_bytes(*first);
        }
    }
}

#[derive(Default)]
struct Table(HashMap<[u8; 16], [u8; 24], FirstBytes>);

impl KeyGroupTarget for Table {
    fn reserve(&mut self, _step: u16, entries: u64) {
        self.0.reserve(entries as usize);
    }

    fn put(&mut self, _step: u16, key: &[u8], value: &[u8]) {
        let (Ok(key), Ok(value)) = (key.try_into(), value.try_into()) else { panic!("another workload's folder") };
        self.0.insert(key, value);
    }

    fn delete(&mut self, _step: u16, key: &[u8]) {
        self.0.remove(key);
    }
}

/// Opens and loads the folder and prints how long that took.
pub fn run(dir: &Path, identity: &Identity, keys: u64) {
    let (start, cpu) = (Instant::now(), clock::process_cpu_s());
    let (store, recovered) = Store::open(Arc::new(RealDisk), dir, identity).expect("the folder opens");
    let opened = start.elapsed();
    let tables = recovered.state.load(THREADS, |_| Table::default()).expect("the folder is whole");
    let (loaded, cpu) = (start.elapsed(), clock::process_cpu_s() - cpu);
    let found: usize = tables.iter().map(|table| table.0.len()).sum();
    assert_eq!(found as u64, keys);
    println!(
        "{:44} open {:.2} s, open + load {:.2} s, cpu {:.2} s; {} MB of snapshots, {} MB of log",
        format!("restart of {keys} keys, {THREADS} threads"),
        opened.as_secs_f64(),
        loaded.as_secs_f64(),
        cpu,
        store.sizes().snapshot_bytes / 1_000_000,
        store.sizes().log_bytes / 1_000_000,
    );
}
