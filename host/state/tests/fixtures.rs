//! The format on disk, held by a folder of checked-in bytes: this Weir must still write it, and open it. An older version
//! is refused by name.
//!
//! A new format version gets a folder of its own: `WEIR_WRITE_FIXTURES=1 cargo test -p weir-state --test fixtures`
//! writes `fixtures/v<version>`; of the old one its identity stays, to be refused.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use weir_state::record::{DeltaBuilder, EpochRecord, OutboxEntry};
use weir_state::sim::SimDisk;
use weir_state::{Disk, Identity, KeyGroupEntries, Options, PendingEntry, Store};

const DIR: &str = "/state/fixture";
const DIGEST: &str = "sha256:0123abcd";

fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/v2")
}

fn identity() -> Identity {
    Identity { pipeline: "fixture".into(), key_groups: 2, created_us: 1_772_359_200_000_000, generation: 1 }
}

fn options() -> Options {
    Options { log_segment_bytes: 4 * 4096, parallel_sync_bytes: u64::MAX, ..Options::default() }
}

fn record(epoch: u64) -> EpochRecord {
    let mut first = DeltaBuilder::new(1, 0);
    first.put(format!("key {epoch}").as_bytes(), &[epoch as u8; 20]);
    let mut second = DeltaBuilder::new(300, 1);
    second.put(b"count", &epoch.to_le_bytes());
    if epoch > 1 {
        second.delete(format!("window {}", epoch - 1).as_bytes());
    }
    second.put(format!("window {epoch}").as_bytes(), &[0xee; 200]);
    let outbox = match epoch {
        2 => vec![OutboxEntry { sink: 0, previous: 0, payload: b"two".to_vec() }],
        4 => vec![
            OutboxEntry { sink: 0, previous: 2, payload: b"four, ".repeat(100) },
            OutboxEntry { sink: 7, previous: 0, payload: Vec::new() },
        ],
        _ => Vec::new(),
    };
    let meta = format!("meta of {epoch}").into_bytes();
    EpochRecord { epoch, meta, deltas: vec![first.finish(), second.finish()], outbox }
}

/// Writes the folder that the fixture holds: segments, a snapshot, an owed entry, a component, a clean end.
fn write() -> BTreeMap<String, Vec<u8>> {
    let disk = SimDisk::new();
    let shared: Arc<dyn Disk> = Arc::new(disk.clone());
    let (mut store, _) = Store::open_with(shared, Path::new(DIR), &identity(), options()).unwrap();
    store.plugins().put(DIGEST, b"\0asm").unwrap();
    for epoch in 1..=5 {
        if epoch == 4 {
            store.acknowledge(0, 2);
        }
        store.append(&record(epoch)).unwrap();
    }
    let mut section = DeltaBuilder::new(1, 0);
    for epoch in 1..=3u64 {
        section.put(format!("key {epoch}").as_bytes(), &[epoch as u8; 20]);
    }
    store.write_snapshot(0, 3, &[section.finish()]).unwrap();
    store.close().unwrap();
    let read = |path: PathBuf| {
        let name = path.strip_prefix(DIR).unwrap().to_str().unwrap().replace('/', "+");
        (name, disk.contents(&path).unwrap())
    };
    disk.paths().into_iter().map(read).collect()
}

fn checked_in() -> BTreeMap<String, Vec<u8>> {
    let entries = std::fs::read_dir(fixtures()).unwrap().map(|entry| entry.unwrap().path());
    entries.map(|path| (path.file_name().unwrap().to_str().unwrap().to_owned(), std::fs::read(path).unwrap())).collect()
}

#[test]
fn this_version_still_writes_the_checked_in_bytes() {
    let written = write();
    if std::env::var_os("WEIR_WRITE_FIXTURES").is_some() {
        std::fs::create_dir_all(fixtures()).unwrap();
        written.iter().for_each(|(name, bytes)| std::fs::write(fixtures().join(name), bytes).unwrap());
    }
    let checked_in = checked_in();
    assert_eq!(written.keys().collect::<Vec<_>>(), checked_in.keys().collect::<Vec<_>>());
    for (name, bytes) in &written {
        // A compressor may find shorter bytes one day; what it made must still be read, which the next test holds.
        let is_compressed = name.starts_with("outbox-") || name.starts_with("log-");
        assert!(*bytes == checked_in[name] || is_compressed, "{name} is written in another form");
        assert_eq!(bytes[..16], checked_in[name][..16], "{name}");
    }
}

#[test]
fn the_checked_in_folder_opens_with_all_that_was_in_it() {
    let disk = SimDisk::new();
    for (name, bytes) in checked_in() {
        disk.put(&Path::new(DIR).join(name.replace('+', "/")), bytes);
    }
    let (store, recovered) = Store::open(Arc::new(disk), Path::new(DIR), &identity()).unwrap();
    assert_eq!((recovered.last_epoch, recovered.clean, recovered.dropped_epoch), (5, true, None));
    assert_eq!(recovered.meta.as_deref(), Some(&b"meta of 5"[..]));
    assert_eq!((recovered.acked, recovered.identity), (vec![(0, 2)], identity()));
    let owed = |sink, previous, bytes| PendingEntry { epoch: 4, sink, previous, bytes };
    assert_eq!(recovered.outbox, [owed(0, 2, 600), owed(7, 0, 0)]);
    assert_eq!(store.read_outbox(0, 2, 1 << 20).unwrap()[0].payload, b"four, ".repeat(100));
    assert_eq!(store.plugins().get(DIGEST).unwrap().as_deref(), Some(&b"\0asm"[..]));
    let groups = recovered.state.load(2, |_| KeyGroupEntries::default()).unwrap();
    let keys = |group: usize| -> Vec<(u16, String)> {
        let keys = groups[group].0.keys();
        keys.map(|(step, key)| (*step, String::from_utf8(key.clone()).unwrap())).collect()
    };
    assert_eq!(keys(0), (1..=5).map(|epoch| (1, format!("key {epoch}"))).collect::<Vec<_>>());
    assert_eq!(keys(1), [(300, "count".to_owned()), (300, "window 5".to_owned())]);
    assert_eq!(groups[1].0[&(300, b"count".to_vec())], 5u64.to_le_bytes());
}

#[test]
fn a_folder_of_an_older_version_is_refused_by_name() {
    let disk = SimDisk::new();
    let identity_v1 = std::fs::read(fixtures().with_file_name("v1").join("identity")).unwrap();
    disk.put(&Path::new(DIR).join("identity"), identity_v1);
    let error = Store::open(Arc::new(disk), Path::new(DIR), &identity()).unwrap_err();
    assert_eq!(
        error.to_string(),
        "/state/fixture/identity has format version 1, this Weir reads version 2; run the Weir that wrote it, or begin \
         with an empty state folder"
    );
}
