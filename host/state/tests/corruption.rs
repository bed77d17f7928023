//! Damage to every file of a folder: each page's bits flipped, pages zeroed, files cut and taken away.
//!
//! Invariant that is tested: the store refuses with the damaged file and an offset and changes nothing, or what it
//! gives back is right. After a clean end right means the last epoch; without one the last epoch cannot be told
//! from one that was being written, and a file cut exactly between epochs not from a younger folder.

mod model;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use model::{KEY_GROUPS, Model, dir, identity, small_options};
use weir_state::error::{OpenError, ReadError};
use weir_state::sim::{SimDisk, SimRng};
use weir_state::{Recovered, Store};

/// The last epoch acknowledges nothing new and has no snapshot, so nothing else proves that it was durable.
const EPOCHS: u64 = 43;
const DIGEST: &str = "sha256:00ff";
const COMPONENT: &[u8] = b"\0asm component";

struct Folder {
    disk: SimDisk,
    model: Model,
    clean: bool,
}

fn open(disk: &SimDisk) -> Result<(Store, Recovered), OpenError> {
    Store::open_with(Arc::new(disk.clone()), dir(), &identity(), small_options())
}

/// A folder with everything in it: several segments of both kinds, snapshots, owed entries, a component.
fn folder(clean: bool) -> Folder {
    folder_of(EPOCHS, clean)
}

fn folder_of(epochs: u64, clean: bool) -> Folder {
    let (disk, mut rng, mut model) = (SimDisk::new(), SimRng::new(11), Model::default());
    let (mut store, _) = open(&disk).unwrap();
    store.plugins().put(DIGEST, COMPONENT).unwrap();
    for epoch in 1..=epochs {
        if epoch % 5 == 0 {
            // Both sinks lag, one more than the other.
            for (sink, behind) in [(0, 4), (1, 9)] {
                store.acknowledge(sink, epoch.saturating_sub(behind));
                model.acked.insert(sink, epoch.saturating_sub(behind));
            }
        }
        store.append(&model.next(&mut rng)).unwrap();
        if epoch % 3 == 0 {
            let key_group = (epoch / 3 % u64::from(KEY_GROUPS)) as u16;
            store.write_snapshot(key_group, epoch, &model.sections(key_group, epoch)).unwrap();
        }
    }
    if clean {
        store.close().unwrap();
    }
    disk.kill();
    Folder { disk, model, clean }
}

#[derive(Debug, Default)]
struct Tally {
    refused: u64,
    unharmed: u64,
    rolled_back: u64,
}

/// What became of a damaged folder; panics when it is neither refused nor right.
fn judge(folder: &Folder, disk: &SimDisk, damaged: &Path, may_shorten: bool, what: &str, tally: &mut Tally) {
    let before = contents(disk);
    let outcome = open(disk).and_then(|(store, recovered)| {
        let last = recovered.last_epoch;
        match store.plugins().get(DIGEST) {
            Ok(component) => assert!(component.is_none_or(|component| component == COMPONENT), "{what}"),
            Err(ReadError::Corrupt { file, .. }) => assert_eq!(file, damaged, "{what}"),
            Err(error) => panic!("{what}: {error}"),
        }
        // Payloads are read before the state is loaded: damage in either is a refusal.
        match folder.model.compare(&store, recovered, 1) {
            Ok(()) => Ok(last),
            Err(text) if text.contains("is damaged at byte") => {
                Err(OpenError::Corrupt { file: damaged.to_owned(), offset: 0, what: text })
            }
            Err(difference) => panic!("{what}: wrong data: {difference}"),
        }
    });
    match outcome {
        Ok(last) if last == EPOCHS => tally.unharmed += 1,
        Ok(last) => {
            assert!(!folder.clean, "{what}: a clean end was rolled back to {last}");
            assert!(may_shorten || last == EPOCHS - 1, "{what}: rolled back to {last}");
            tally.rolled_back += 1;
        }
        Err(OpenError::Corrupt { file, what: text, .. }) => {
            let blames_log = file.to_string_lossy().contains("/log-");
            assert!(file == damaged || may_shorten || blames_log, "{what}: blames {}: {text}", file.display());
            assert_eq!(contents(disk), before, "{what}: a refused folder was changed");
            tally.refused += 1;
        }
        Err(error) => panic!("{what}: {error}"),
    }
}

fn contents(disk: &SimDisk) -> BTreeMap<PathBuf, Vec<u8>> {
    let read = |path: PathBuf| disk.contents(&path).map(|bytes| (path, bytes));
    disk.paths().into_iter().filter_map(read).collect()
}

/// Damages every file of a clean and of a killed folder.
fn with_every_file(mut damage: impl FnMut(&Folder, &Path, &[u8], &mut Tally)) -> [Tally; 2] {
    [true, false].map(|clean| {
        let folder = folder(clean);
        let mut tally = Tally::default();
        for (path, bytes) in contents(&folder.disk) {
            damage(&folder, &path, &bytes, &mut tally);
        }
        println!("clean {clean}: {tally:?}");
        tally
    })
}

#[test]
fn an_undamaged_folder_is_read_as_it_was_written() {
    for clean in [true, false] {
        let folder = folder(clean);
        let (store, recovered) = open(&folder.disk).unwrap();
        assert_eq!((recovered.clean, recovered.last_epoch), (clean, EPOCHS));
        folder.model.compare(&store, recovered, 2).unwrap();
        assert_eq!(store.plugins().get(DIGEST).unwrap().as_deref(), Some(COMPONENT));
        assert_eq!(store.plugins().digests().unwrap(), [DIGEST]);
    }
}

#[test]
fn a_flipped_bit_is_refused_or_harmless() {
    let [clean, killed] = with_every_file(|folder, path, bytes, tally| {
        let mut rng = SimRng::new(bytes.len() as u64);
        // Headers and what follows them byte by byte, the rest of each page here and there.
        let dense = |at: &usize| at % 4096 < 160 || at.is_multiple_of(509);
        for at in (0..bytes.len()).filter(dense) {
            let mut damaged = bytes.to_vec();
            damaged[at] ^= 1 << rng.below(8);
            let disk = folder.disk.fork();
            disk.put(path, damaged);
            judge(folder, &disk, path, false, &format!("{} flipped at {at}", path.display()), tally);
        }
    });
    assert!(clean.refused > 3000 && killed.refused > 3000, "{clean:?} {killed:?}");
    assert!(clean.rolled_back == 0 && killed.rolled_back > 0, "{clean:?} {killed:?}");
}

#[test]
fn a_last_epoch_that_freed_something_is_not_taken_for_one_cut_off() {
    let folder = folder_of(40, false);
    let log = folder.disk.paths().into_iter().rfind(|path| path.to_string_lossy().contains("/log-")).unwrap();
    let bytes = folder.disk.contents(&log).unwrap();
    folder.disk.put(&log, bytes[..bytes.len() - 512].to_vec());
    let error = open(&folder.disk).unwrap_err();
    assert!(error.to_string().contains("epoch 40 is not whole, but was durable once"), "{error}");
}

#[test]
fn a_zeroed_page_is_refused_or_harmless() {
    let [clean, killed] = with_every_file(|folder, path, bytes, tally| {
        for start in (0..bytes.len()).step_by(4096) {
            let mut damaged = bytes.to_vec();
            damaged[start..bytes.len().min(start + 4096)].fill(0);
            let disk = folder.disk.fork();
            disk.put(path, damaged);
            judge(folder, &disk, path, false, &format!("{} zeroed at {start}", path.display()), tally);
        }
    });
    assert!(clean.refused > 20 && killed.refused > 20, "{clean:?} {killed:?}");
}

#[test]
fn a_file_cut_short_is_refused_or_harmless() {
    let [clean, killed] = with_every_file(|folder, path, bytes, tally| {
        for length in (0..bytes.len()).step_by(512) {
            let disk = folder.disk.fork();
            disk.put(path, bytes[..length].to_vec());
            judge(folder, &disk, path, true, &format!("{} cut at {length}", path.display()), tally);
        }
    });
    assert!(clean.refused > 100 && killed.refused > 100, "{clean:?} {killed:?}");
}

#[test]
fn a_file_taken_away_is_refused_or_harmless() {
    let [clean, _] = with_every_file(|folder, path, _, tally| {
        let disk = folder.disk.fork();
        disk.take(path);
        judge(folder, &disk, path, true, &format!("{} taken away", path.display()), tally);
    });
    assert!(clean.refused > 3, "{clean:?}");
}

#[test]
fn a_file_under_another_files_name_is_refused() {
    let folder = folder(true);
    let files = contents(&folder.disk);
    let mut tally = Tally::default();
    for (path, bytes) in &files {
        for (other, _) in files.iter().filter(|(other, _)| *other != path) {
            let disk = folder.disk.fork();
            disk.put(other, bytes.clone());
            let what = format!("{} as {}", path.display(), other.display());
            judge(&folder, &disk, other, true, &what, &mut tally);
        }
    }
    assert!(tally.refused > 100 && tally.rolled_back == 0, "{tally:?}");
}

#[test]
fn files_of_another_folder_of_the_same_pipeline_are_refused() {
    let (mine, model) = {
        let folder = folder(false);
        (folder.disk, folder.model)
    };
    let other = SimDisk::new();
    let other_identity = weir_state::Identity { created_us: 5, ..identity() };
    let mut rng = SimRng::new(11);
    let mut twin = Model::default();
    let disk: Arc<dyn weir_state::Disk> = Arc::new(other.clone());
    let (mut store, _) = Store::open_with(disk, dir(), &other_identity, small_options()).unwrap();
    for _ in 0..EPOCHS {
        store.append(&twin.next(&mut rng)).unwrap();
    }
    drop(store);
    let newest = |disk: &SimDisk| {
        let mut logs = disk.paths().into_iter().filter(|path| path.to_string_lossy().contains("/log-"));
        logs.next_back().unwrap()
    };
    let path = newest(&mine);
    mine.put(&path, other.contents(&newest(&other)).unwrap());
    let folder = Folder { disk: mine.clone(), model, clean: true };
    let mut tally = Tally::default();
    judge(&folder, &mine, &path, false, "another folder's log", &mut tally);
    assert_eq!(tally.refused, 1);
}
