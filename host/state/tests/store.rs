//! The store's promises one by one, on the simulated disk: opening rules, full disk, what is kept and what is freed.

mod model;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use model::{KEY_GROUPS, Model, dir, identity, small_options};
use weir_state::error::{OpenError, WriteError};
use weir_state::record::{DeltaBuilder, EpochRecord, OutboxEntry};
use weir_state::sim::{SimDisk, SimRng};
use weir_state::{Identity, Options, Recovered, Store};

fn open(disk: &SimDisk) -> (Store, Recovered) {
    Store::open_with(Arc::new(disk.clone()), dir(), &identity(), small_options()).unwrap()
}

fn epoch(epoch: u64) -> EpochRecord {
    EpochRecord { epoch, meta: epoch.to_le_bytes().to_vec(), ..EpochRecord::default() }
}

fn owing(number: u64, sink: u16, previous: u64) -> EpochRecord {
    let payload = vec![number as u8; 100];
    EpochRecord { outbox: vec![OutboxEntry { sink, previous, payload }], ..epoch(number) }
}

fn names(disk: &SimDisk, prefix: &str) -> Vec<String> {
    let names = disk.paths().into_iter().filter_map(|path| Some(path.file_name()?.to_str()?.to_owned()));
    names.filter(|name| name.starts_with(prefix)).collect()
}

#[test]
fn a_new_folder_is_empty_and_keeps_its_identity() {
    let disk = SimDisk::new();
    let (store, recovered) = open(&disk);
    assert_eq!((recovered.last_epoch, recovered.meta, recovered.outbox.len()), (0, None, 0));
    drop(store);
    let asked = Identity { key_groups: 9, created_us: 1, generation: 4, ..identity() };
    let (store, recovered) = Store::open(Arc::new(disk), dir(), &asked).unwrap();
    assert_eq!((store.identity(), recovered.identity), (&identity(), identity()));
}

#[test]
fn a_folder_that_is_open_is_refused_naming_its_owner() {
    let disk = SimDisk::new();
    let (store, _) = open(&disk);
    let error = Store::open(Arc::new(disk.clone()), dir(), &identity()).unwrap_err();
    let expected =
        format!("/state/shop is in use by process {}; stop it, or choose another state folder", std::process::id());
    assert_eq!(error.to_string(), expected);
    drop(store);
    open(&disk);
}

#[test]
fn a_folder_of_another_pipeline_is_refused_naming_both() {
    let disk = SimDisk::new();
    drop(open(&disk));
    let other = Identity { pipeline: "fleet".into(), ..identity() };
    let error = Store::open(Arc::new(disk), dir(), &other).unwrap_err();
    assert_eq!(
        error.to_string(),
        "/state/shop holds the state of pipeline `shop`, not of `fleet`; choose another state folder"
    );
}

#[test]
fn a_folder_of_a_newer_version_is_refused_naming_both() {
    let disk = SimDisk::new();
    drop(open(&disk));
    let path = dir().join("identity");
    let mut bytes = disk.contents(&path).unwrap();
    bytes[8..12].copy_from_slice(&7u32.to_le_bytes());
    let check = xxhash_rust::xxh3::xxh3_64(&bytes[..12]) as u32;
    bytes[12..16].copy_from_slice(&check.to_le_bytes());
    disk.put(&path, bytes);
    let error = Store::open(Arc::new(disk), dir(), &identity()).unwrap_err();
    assert_eq!(
        error.to_string(),
        "/state/shop/identity has format version 7, this Weir reads version 2; run a newer Weir"
    );
}

#[test]
#[should_panic(expected = "epochs are contiguous")]
fn an_epoch_number_never_skips() {
    let (mut store, _) = open(&SimDisk::new());
    let _ = store.append(&epoch(2));
}

#[test]
fn a_full_disk_leaves_the_store_as_it_was_and_the_same_record_fits_later() {
    let disk = SimDisk::new();
    let (mut store, _) = open(&disk);
    store.append(&owing(1, 0, 0)).unwrap();
    let before = disk.used();
    for room in [0, 100, 4096, 5000, 8000] {
        disk.set_capacity(Some(before + room));
        let large = EpochRecord { meta: vec![1; 6000], ..owing(2, 0, 1) };
        let error = store.append(&large).unwrap_err();
        assert!(matches!(error, WriteError::Full { .. }) && error.may_retry(), "{error}");
        assert_eq!((disk.used(), store.last_epoch()), (before, 1), "room {room}");
    }
    disk.set_capacity(None);
    store.append(&owing(2, 0, 1)).unwrap();
    drop(store);
    assert_eq!(open(&disk).1.last_epoch, 2);
}

#[test]
fn a_full_disk_at_a_new_segment_leaves_no_file_behind() {
    let disk = SimDisk::new();
    let (mut store, _) = open(&disk);
    (1..=3).for_each(|number| store.append(&epoch(number)).unwrap());
    let (names_before, used) = (disk.paths(), disk.used());
    // The fourth epoch begins a segment: its header fits, its frame does not.
    disk.set_capacity(Some(used + 4096));
    assert!(store.append(&epoch(4)).unwrap_err().may_retry());
    assert_eq!(disk.paths(), names_before);
    disk.set_capacity(None);
    store.append(&epoch(4)).unwrap();
    assert_eq!(names(&disk, "log-").len(), 2);
}

#[test]
fn after_a_failed_sync_nothing_is_written_any_more() {
    let disk = SimDisk::new();
    let (mut store, _) = open(&disk);
    store.append(&epoch(1)).unwrap();
    disk.fail_syncs(1);
    let error = store.append(&epoch(2)).unwrap_err();
    assert!(matches!(error, WriteError::SyncFailed { .. }), "{error}");
    let operations = disk.operations();
    assert!(!store.append(&epoch(2)).unwrap_err().may_retry());
    assert!(store.write_snapshot(0, 1, &[]).is_err() && store.close().is_err());
    assert_eq!(disk.operations(), operations);
}

#[test]
fn an_epoch_whose_sync_failed_is_made_sure_of_before_it_is_reported() {
    // The page cache holds it after the sync failed; the next process must not take that for the disk.
    let disk = SimDisk::new();
    let (mut store, _) = open(&disk);
    store.append(&epoch(1)).unwrap();
    disk.fail_syncs(1);
    store.append(&epoch(2)).unwrap_err();
    disk.kill();
    let (store, recovered) = open(&disk);
    assert_eq!(recovered.last_epoch, 2);
    disk.crash(&mut SimRng::new(0));
    drop(store);
    assert_eq!(open(&disk).1.last_epoch, 2);
}

/// Epochs until a log segment is written for the second time.
fn until_recycled(disk: &SimDisk, store: &mut Store) {
    while names(disk, "spare-log-").is_empty() {
        let last = store.last_epoch();
        store.append(&epoch(last + 1)).unwrap();
        (0..KEY_GROUPS).for_each(|key_group| store.write_snapshot(key_group, last + 1, &[]).unwrap());
    }
    while !names(disk, "spare-log-").is_empty() {
        store.append(&epoch(store.last_epoch() + 1)).unwrap();
    }
}

#[test]
fn segments_that_nobody_needs_are_written_again_and_their_old_epochs_never_come_back() {
    let disk = SimDisk::new();
    let (mut store, _) = open(&disk);
    until_recycled(&disk, &mut store);
    let last = store.last_epoch();
    drop(store);
    let newest = names(&disk, "log-").pop().unwrap();
    let bytes = disk.contents(&dir().join(&newest)).unwrap();
    assert_eq!(bytes.len(), 4 * 4096, "as long as it was before, with one epoch in it");
    assert_eq!(&bytes[3 * 4096..][..4], b"WFRM", "and with an epoch of its life before");
    assert_eq!(open(&disk).1.last_epoch, last);
}

#[test]
fn spare_segments_are_few_and_survive_a_start() {
    let disk = SimDisk::new();
    let (mut store, _) = open(&disk);
    (1..=40).for_each(|number| store.append(&owing(number, 0, number - 1)).unwrap());
    (0..KEY_GROUPS).for_each(|key_group| store.write_snapshot(key_group, 40, &[]).unwrap());
    store.acknowledge(0, 40);
    store.append(&epoch(41)).unwrap();
    store.append(&epoch(42)).unwrap();
    assert_eq!((names(&disk, "spare-log-").len(), names(&disk, "spare-outbox-").len()), (2, 2));
    drop(store);
    let (mut store, _) = open(&disk);
    (43..=44).for_each(|number| store.append(&owing(number, 0, number - 1)).unwrap());
    assert_eq!((names(&disk, "spare-log-").len(), names(&disk, "spare-outbox-").len()), (1, 1));
}

#[test]
fn what_a_full_disk_took_back_does_not_pass_for_an_epoch_in_a_segment_written_again() {
    let disk = SimDisk::new();
    let (mut store, _) = open(&disk);
    until_recycled(&disk, &mut store);
    let last = store.last_epoch();
    disk.set_capacity(Some(disk.used()));
    let large = EpochRecord { meta: vec![1; 20_000], ..epoch(last + 1) };
    assert!(store.append(&large).unwrap_err().may_retry());
    disk.set_capacity(None);
    store.close().unwrap();
    disk.kill();
    let (_, recovered) = open(&disk);
    assert_eq!((recovered.last_epoch, recovered.clean, recovered.dropped_epoch), (last, true, None));
}

#[test]
fn the_outbox_is_kept_until_every_sink_has_durably_acknowledged_it() {
    let disk = SimDisk::new();
    let (mut store, _) = open(&disk);
    for number in 1..=9 {
        let entry = |sink| OutboxEntry { sink, previous: number - 1, payload: vec![1; 50] };
        store.append(&EpochRecord { outbox: vec![entry(0), entry(1)], ..epoch(number) }).unwrap();
    }
    assert_eq!(names(&disk, "outbox-").len(), 3);
    store.acknowledge(0, 9);
    store.append(&epoch(10)).unwrap();
    assert_eq!((names(&disk, "outbox-").len(), store.sizes().pending_epochs), (3, 9));
    store.acknowledge(1, 7);
    assert_eq!(store.sizes().pending_epochs, 9, "not durable yet");
    store.append(&epoch(11)).unwrap();
    assert_eq!((names(&disk, "outbox-").len(), store.sizes().pending_epochs), (1, 2));
    drop(store);
    let (_, recovered) = open(&disk);
    assert_eq!(recovered.acked, [(0, 9), (1, 7)]);
    let owed: Vec<_> = recovered.outbox.iter().map(|entry| (entry.epoch, entry.sink, entry.previous)).collect();
    assert_eq!(owed, [(8, 1, 7), (9, 1, 8)]);
}

#[test]
fn the_log_is_kept_while_its_outbox_is_owed() {
    let disk = SimDisk::new();
    let (mut store, _) = open(&disk);
    store.append(&owing(1, 3, 0)).unwrap();
    for number in 2..=20 {
        store.append(&epoch(number)).unwrap();
    }
    (0..KEY_GROUPS).for_each(|key_group| store.write_snapshot(key_group, 20, &[]).unwrap());
    assert_eq!(names(&disk, "log-")[0], "log-00000000000000000001");
    store.acknowledge(3, 1);
    store.append(&epoch(21)).unwrap();
    assert_eq!(names(&disk, "log-"), ["log-00000000000000000019"]);
}

#[test]
fn reading_the_outbox_stops_at_its_budget_but_gives_at_least_one_entry() {
    let (mut store, _) = open(&SimDisk::new());
    (1..=5).for_each(|number| store.append(&owing(number, 0, number - 1)).unwrap());
    let epochs = |after, budget| -> Vec<u64> {
        store.read_outbox(0, after, budget).unwrap().iter().map(|item| item.epoch).collect()
    };
    assert_eq!(epochs(0, 250), [1, 2]);
    assert_eq!(epochs(2, 0), [3]);
    assert_eq!(epochs(3, 1 << 20), [4, 5]);
    assert_eq!(epochs(5, 1 << 20), [] as [u64; 0]);
    assert!(store.read_outbox(1, 0, 1 << 20).unwrap().is_empty());
}

#[test]
fn snapshots_keep_the_log_about_as_long_as_the_state_even_over_many_short_runs() {
    let (disk, mut rng, mut model) = (SimDisk::new(), SimRng::new(3), Model::default());
    let mut largest = 0;
    for _ in 0..150 {
        let (mut store, _) = open(&disk);
        for _ in 0..2 {
            store.append(&model.next(&mut rng)).unwrap();
            for sink in [0, 1] {
                store.acknowledge(sink, store.last_epoch());
                model.acked.insert(sink, store.last_epoch());
            }
            if let Some(key_group) = store.snapshot_due() {
                let epoch = store.last_epoch();
                store.write_snapshot(key_group, epoch, &model.sections(key_group, epoch)).unwrap();
            }
            largest = largest.max(store.sizes().log_bytes);
        }
    }
    let bound = 2 * small_options().min_log_bytes + 2 * small_options().log_segment_bytes;
    assert!(largest < bound, "the log grew to {largest}, bound {bound}");
    let (store, recovered) = open(&disk);
    model.compare(&store, recovered, 2).unwrap();
}

#[test]
fn an_epoch_synced_in_parallel_is_the_same_epoch() {
    let disk = SimDisk::new();
    let options = Options { parallel_sync_bytes: 0, ..small_options() };
    let (mut store, _) = Store::open_with(Arc::new(disk.clone()), dir(), &identity(), options).unwrap();
    (1..=8).for_each(|number| store.append(&owing(number, 0, number - 1)).unwrap());
    disk.fail_syncs(1);
    assert!(matches!(store.append(&owing(9, 0, 8)), Err(WriteError::SyncFailed { .. })));
    disk.kill();
    disk.crash(&mut SimRng::new(5));
    assert!(open(&disk).1.last_epoch >= 8);
}

#[test]
fn a_snapshot_replaces_its_predecessor_and_the_log_before_it() {
    let disk = SimDisk::new();
    let (mut store, _) = open(&disk);
    for number in 1..=12 {
        let mut delta = DeltaBuilder::new(7, 2);
        delta.put(b"key", &[number as u8]);
        store.append(&EpochRecord { deltas: vec![delta.finish()], ..epoch(number) }).unwrap();
    }
    for key_group in 0..KEY_GROUPS {
        let mut section = DeltaBuilder::new(7, key_group);
        if key_group == 2 {
            section.put(b"key", &[11]);
        }
        store.write_snapshot(key_group, 11, &[section.finish()]).unwrap();
    }
    assert_eq!(names(&disk, "log-"), ["log-00000000000000000010"]);
    store.write_snapshot(2, 12, &[]).unwrap();
    assert_eq!(names(&disk, "snap-00002"), ["snap-00002-00000000000000000012"]);
}

#[test]
fn a_snapshot_cut_off_at_any_call_and_again_at_any_call_of_the_next_start_loses_nothing() {
    let disk = SimDisk::new();
    let (mut store, _) = open(&disk);
    (1..=12).for_each(|number| store.append(&epoch(number)).unwrap());
    (0..KEY_GROUPS).for_each(|key_group| store.write_snapshot(key_group, 11, &[]).unwrap());
    drop(store);
    for (cut, cut_again) in (1..10).flat_map(|cut| (1..16).map(move |again| (cut, again))) {
        for seed in 0..8 {
            let disk = disk.fork();
            let (mut store, _) = open(&disk);
            disk.stop_after(cut);
            let _ = store.write_snapshot(2, 12, &[]);
            disk.kill();
            disk.stop_after(cut_again);
            let _ = Store::open_with(Arc::new(disk.clone()), dir(), &identity(), small_options());
            disk.crash(&mut SimRng::new(seed));
            let opened = Store::open_with(Arc::new(disk), dir(), &identity(), small_options());
            let (_, recovered) = opened.unwrap_or_else(|error| panic!("{error}: cut {cut}, {cut_again}, seed {seed}"));
            assert_eq!(recovered.last_epoch, 12);
            recovered.state.check(1).unwrap();
        }
    }
}

#[test]
fn a_clean_end_is_told_until_the_next_write() {
    let disk = SimDisk::new();
    let (mut store, recovered) = open(&disk);
    assert!(!recovered.clean);
    store.append(&epoch(1)).unwrap();
    store.close().unwrap();
    let (store, recovered) = open(&disk);
    assert!(recovered.clean);
    drop(store);
    let (mut store, recovered) = open(&disk);
    assert!(recovered.clean, "nothing was written since");
    store.append(&epoch(2)).unwrap();
    drop(store);
    assert!(!open(&disk).1.clean);
}

#[test]
fn a_log_that_lost_whole_epochs_is_found_out_by_the_outbox_and_the_snapshots() {
    let newest_log = |disk: &SimDisk| -> PathBuf { dir().join(names(disk, "log-").pop().unwrap()) };
    let cut_to = |disk: &SimDisk, path: &Path, length: usize| {
        let bytes = disk.contents(path).unwrap();
        disk.put(path, bytes[..length].to_vec());
    };
    let disk = SimDisk::new();
    let (mut store, _) = open(&disk);
    (1..=3).for_each(|number| store.append(&owing(number, 0, number - 1)).unwrap());
    drop(store);
    let by_outbox = disk.fork();
    cut_to(&by_outbox, &newest_log(&by_outbox), 2 * 4096);
    let error = Store::open(Arc::new(by_outbox), dir(), &identity()).unwrap_err();
    assert!(error.to_string().contains("the log ends with epoch 1, but an outbox entry is of epoch 3"), "{error}");
    let (mut store, _) = open(&disk);
    store.write_snapshot(4, 3, &[]).unwrap();
    drop(store);
    cut_to(&disk, &newest_log(&disk), 3 * 4096);
    let error = Store::open(Arc::new(disk), dir(), &identity()).unwrap_err();
    assert!(matches!(&error, OpenError::Corrupt { offset: 12288, .. }), "{error}");
    assert!(error.to_string().contains("but the snapshot of key group 4 is of epoch 3"), "{error}");
}

#[test]
fn a_digest_that_could_leave_the_folder_is_refused() {
    let (store, _) = open(&SimDisk::new());
    for digest in ["", "sha256", "sha256:", ":00", "sha256:../00", "sha256:a b", "a/b:00"] {
        assert!(store.plugins().put(digest, b"x").is_err() && store.plugins().get(digest).is_err(), "{digest}");
    }
    store.plugins().put("sha256:aa", b"a").unwrap();
    store.plugins().put("sha256:bb", b"b").unwrap();
    store.plugins().retain(&["sha256:bb"]).unwrap();
    assert_eq!(store.plugins().digests().unwrap(), ["sha256:bb"]);
    assert_eq!(store.plugins().get("sha256:aa").unwrap(), None);
}
