//! Savepoints: taken while epochs go on, carried away, looked into, begun from; torn or damaged ones refused.

mod model;

use std::path::Path;
use std::sync::Arc;

use model::{KEY_GROUPS, Model, dir, identity, small_options};
use weir_state::error::OpenError;
use weir_state::sim::{SimDisk, SimRng};
use weir_state::{RealDisk, Store, savepoint};

fn target() -> &'static Path {
    Path::new("/savepoints/one")
}

fn restored() -> &'static Path {
    Path::new("/state/restored")
}

fn open(disk: &SimDisk, dir: &Path) -> (Store, weir_state::Recovered) {
    Store::open_with(Arc::new(disk.clone()), dir, &identity(), small_options()).unwrap()
}

fn some_epochs(store: &mut Store, model: &mut Model, rng: &mut SimRng, count: u64) {
    for _ in 0..count {
        let record = model.next(rng);
        store.append(&record).unwrap();
        for sink in [0, 1] {
            let acked = record.epoch.saturating_sub(2);
            model.acked.insert(sink, acked);
            store.acknowledge(sink, acked);
        }
        let key_group = (record.epoch % u64::from(KEY_GROUPS)) as u16;
        store.write_snapshot(key_group, record.epoch, &model.sections(key_group, record.epoch)).unwrap();
    }
}

#[test]
fn a_savepoint_is_what_was_durable_then_however_the_pipeline_goes_on() {
    for seed in 0..30 {
        let (disk, mut rng, mut model) = (SimDisk::new(), SimRng::new(seed), Model::default());
        let (mut store, _) = open(&disk, dir());
        let before = 1 + rng.below(30);
        some_epochs(&mut store, &mut model, &mut rng, before);
        assert_eq!(store.copy_to(target()).unwrap(), before);
        let then = model.clone();
        // Long enough that every segment of then is written again, unless the savepoint's name keeps it.
        some_epochs(&mut store, &mut model, &mut rng, 40);
        savepoint::seal(&disk, target()).unwrap();
        let held = savepoint::inspect(&disk, target()).unwrap();
        assert_eq!((held.epoch, &held.meta), (before, &then.at(before).meta), "seed {seed}");
        let taken = savepoint::restore(&disk, target(), restored()).unwrap();
        assert_eq!((taken.identity.generation, taken.epoch), (2, before));
        drop(store);
        let (copy, recovered) = open(&disk, restored());
        assert!(recovered.clean && recovered.identity.generation == 2);
        then.compare(&copy, recovered, 2).unwrap_or_else(|error| panic!("{error}, seed {seed}"));
        let (store, recovered) = open(&disk, dir());
        model.compare(&store, recovered, 2).unwrap_or_else(|error| panic!("{error}, seed {seed}"));
    }
}

#[test]
fn a_savepoint_that_is_torn_or_damaged_is_refused_and_nothing_is_restored() {
    let (disk, mut rng, mut model) = (SimDisk::new(), SimRng::new(3), Model::default());
    let (mut store, _) = open(&disk, dir());
    some_epochs(&mut store, &mut model, &mut rng, 12);
    store.copy_to(target()).unwrap();
    let error = savepoint::inspect(&disk, target()).unwrap_err();
    assert!(error.to_string().contains("the list of files is missing: no savepoint, or one that is torn"), "{error}");
    savepoint::seal(&disk, target()).unwrap();
    for path in disk.paths().into_iter().filter(|path| path.starts_with(target())) {
        let bytes = disk.contents(&path).unwrap();
        for at in [0, bytes.len() / 2, bytes.len() - 1] {
            let damaged = disk.fork();
            let mut bytes = bytes.clone();
            bytes[at] ^= 4;
            damaged.put(&path, bytes);
            let error = savepoint::restore(&damaged, target(), restored()).unwrap_err();
            assert!(matches!(&error, OpenError::Corrupt { file, .. } if *file == path), "{error}");
            assert!(damaged.paths().iter().all(|path| !path.starts_with(restored())));
        }
        let missing = disk.fork();
        missing.take(&path);
        savepoint::restore(&missing, target(), restored()).unwrap_err();
    }
    disk.put(&target().join("log-00000000000000000099"), vec![1]);
    let error = savepoint::inspect(&disk, target()).unwrap_err();
    assert!(error.to_string().contains("the savepoint's list does not name the file"), "{error}");
}

#[test]
fn a_restore_cut_off_anywhere_is_refused_or_whole() {
    let (disk, mut rng, mut model) = (SimDisk::new(), SimRng::new(5), Model::default());
    let (mut store, _) = open(&disk, dir());
    some_epochs(&mut store, &mut model, &mut rng, 9);
    store.copy_to(target()).unwrap();
    savepoint::seal(&disk, target()).unwrap();
    let mut whole = 0;
    for cut in 1..60 {
        let disk = disk.fork();
        disk.stop_after(cut);
        let _ = savepoint::restore(&disk, target(), restored());
        disk.crash(&mut SimRng::new(cut));
        match Store::open_with(Arc::new(disk.clone()), restored(), &identity(), small_options()) {
            Ok((store, recovered)) if recovered.last_epoch > 0 => {
                model.compare(&store, recovered, 1).unwrap();
                whole += 1;
            }
            // Nothing of it is left: an empty folder is a new one.
            Ok((_, recovered)) => assert!(!recovered.clean),
            Err(error) => assert!(error.to_string().contains("the file is missing, though the folder holds state")),
        }
    }
    assert!(whole > 0);
}

#[test]
fn a_folder_that_holds_something_is_neither_written_nor_restored_to() {
    let (disk, mut rng, mut model) = (SimDisk::new(), SimRng::new(7), Model::default());
    let (mut store, _) = open(&disk, dir());
    some_epochs(&mut store, &mut model, &mut rng, 3);
    store.copy_to(target()).unwrap();
    savepoint::seal(&disk, target()).unwrap();
    let error = store.copy_to(target()).unwrap_err();
    assert_eq!(error.to_string(), "/savepoints/one: the folder is not empty; name a new one");
    let error = savepoint::restore(&disk, target(), dir()).unwrap_err();
    assert_eq!(error.to_string(), "/state/shop is not empty; restore into a new folder, or remove it first");
}

#[test]
fn complete_files_are_linked_on_a_real_disk_and_never_written_again() {
    use std::os::unix::fs::MetadataExt;
    let root = tempfile::tempdir().unwrap();
    let (state, target) = (root.path().join("state"), root.path().join("savepoint"));
    let (mut rng, mut model) = (SimRng::new(2), Model::default());
    let opened = Store::open_with(Arc::new(RealDisk), &state, &identity(), small_options());
    let (mut store, _) = opened.unwrap();
    some_epochs(&mut store, &mut model, &mut rng, 20);
    store.copy_to(&target).unwrap();
    savepoint::seal(&RealDisk, &target).unwrap();
    let links =
        std::fs::read_dir(&target).unwrap().filter(|entry| entry.as_ref().unwrap().metadata().unwrap().nlink() > 1);
    assert!(links.count() > 3);
    some_epochs(&mut store, &mut model, &mut rng, 40);
    assert_eq!(savepoint::inspect(&RealDisk, &target).unwrap().epoch, 20);
}
