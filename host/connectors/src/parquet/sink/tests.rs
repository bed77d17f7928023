//! The exactly-once promise of the folder, crashed after every effect.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Mutex;

use arrow_array::cast::AsArray;
use arrow_array::types::Int64Type;
use arrow_array::{ArrayRef, Int64Array, StringArray};
use arrow_schema::{DataType, Field, Schema};

use super::*;
use crate::identity::SinkIdentity;
use crate::parquet::{OWN_FOLDER, count_parquet_rows, read_parquet};

fn config(folder: &Path) -> ParquetConfig {
    let fields = vec![Field::new("n", DataType::Int64, false), Field::new("shelf", DataType::Utf8, true)];
    let config = ParquetConfig::new(SinkIdentity::new("shop", "raw"), folder, Arc::new(Schema::new(fields)));
    ParquetConfig { partition: vec!["shelf".parse().unwrap()], ..config }
}

/// One row on each of two shelves.
fn entry(epoch: u64, previous: u64) -> SinkEpoch {
    let numbers: ArrayRef = Arc::new(Int64Array::from(vec![epoch as i64 * 10, epoch as i64 * 10 + 1]));
    let shelves: ArrayRef = Arc::new(StringArray::from(vec![Some("a/b"), None]));
    let schema = config(Path::new("")).schema;
    let rows = RecordBatch::try_new(schema, vec![numbers, shelves]).unwrap();
    SinkEpoch {
        epoch,
        previous,
        cut: Some(format!("cut {epoch}").into()),
        data: Arc::new(SinkData::Rows(vec![RowBlock { rows, changes: Changes::Inserts }])),
    }
}

fn open(folder: &Path) -> ParquetSink {
    let mut sink = ParquetSink::new(config(folder)).unwrap();
    sink.recover(0).unwrap();
    sink
}

fn numbers(folder: &Path) -> Vec<i64> {
    let batches = read_parquet(folder).unwrap();
    let mut numbers: Vec<i64> =
        batches.iter().flat_map(|batch| batch.column(0).as_primitive::<Int64Type>().values().to_vec()).collect();
    numbers.sort_unstable();
    assert_eq!(count_parquet_rows(folder).unwrap(), numbers.len() as u64);
    numbers
}

/// Every file that a reader without manifests would take.
fn visible(folder: &Path) -> Vec<String> {
    tree(folder).into_keys().filter(|path| path.ends_with(".parquet") && !path.contains("/.")).collect()
}

fn tree(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    fn walk(root: &Path, folder: &Path, into: &mut BTreeMap<String, Vec<u8>>) {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                walk(root, &path, into);
            } else {
                into.insert(path.strip_prefix(root).unwrap().display().to_string(), fs::read(&path).unwrap());
            }
        }
    }
    let mut files = BTreeMap::new();
    walk(folder, folder, &mut files);
    files
}

#[test]
fn what_the_folder_holds_is_seen_without_taking_it_over() {
    let folder = tempfile::tempdir().unwrap();
    let held = || ParquetSink::new(config(folder.path())).unwrap().held().unwrap();
    assert_eq!(held(), None);
    let mut owner = open(folder.path());
    owner.expose(&entry(2, 0)).unwrap();
    owner.expose(&entry(3, 2)).unwrap();
    owner.flush(true).unwrap();
    owner.expose(&entry(5, 3)).unwrap();
    let exposed = Some(Held { epoch: 3, cut: Some("cut 3".into()), rejects: 0 });
    assert_eq!(held(), exposed, "what is gathered is not held");
    ParquetSink::new(config(folder.path())).unwrap().recover(3).unwrap();
    assert_eq!(held(), exposed, "the next owner leaves it");
}

#[test]
fn entries_are_gathered_and_exposed_by_force_size_and_age() {
    let folder = tempfile::tempdir().unwrap();
    let now = Arc::new(Mutex::new(Duration::ZERO));
    let clock: Clock = {
        let now = Arc::clone(&now);
        Arc::new(move || *now.lock().unwrap())
    };
    let mut sink = ParquetSink::with_clock(config(folder.path()), clock).unwrap();
    assert_eq!(sink.recover(0).unwrap(), SinkPosition::Absent);
    assert_eq!(sink.flush(true).unwrap().exposed, None, "nothing was gathered");
    assert_eq!(sink.expose(&entry(1, 0)).unwrap().exposed, None);
    assert_eq!(sink.expose(&entry(4, 1)).unwrap().exposed, None);
    assert_eq!((visible(folder.path()).len(), numbers(folder.path()).len()), (0, 0));
    assert_eq!(sink.flush(false).unwrap().exposed, None);
    assert_eq!(sink.flush(true).unwrap().exposed, Some(4));
    assert_eq!(numbers(folder.path()), [10, 11, 40, 41]);
    let expected = ["shelf=__HIVE_DEFAULT_PARTITION__", "shelf=a%2Fb"];
    for (number, (path, folder)) in visible(folder.path()).iter().zip(expected).enumerate() {
        assert_eq!(*path, format!("{folder}/part-00000000000000000004-1-{number}.parquet"));
    }
    sink.expose(&entry(5, 4)).unwrap();
    *now.lock().unwrap() += Duration::from_secs(61);
    assert_eq!(sink.flush(false).unwrap().exposed, Some(5));
    let mut small = ParquetSink::new(ParquetConfig { max_bytes: 1, ..config(folder.path()) }).unwrap();
    assert_eq!(small.recover(5).unwrap(), SinkPosition::Epoch(5));
    assert_eq!(small.expose(&entry(6, 5)).unwrap().exposed, Some(6));
    assert_eq!(numbers(folder.path()), [10, 11, 40, 41, 50, 51, 60, 61]);
}

/// An exposure's effects in order, from what it leaves: data files one by one, then the manifest. A crash after any
/// number of them is rebuilt from copies of the folder before and after.
#[test]
fn a_crash_after_any_effect_of_an_exposure_loses_and_doubles_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().join("raw");
    let mut sink = open(&root);
    sink.expose(&entry(1, 0)).unwrap();
    sink.flush(true).unwrap();
    let before = tree(&root);
    sink.expose(&entry(2, 1)).unwrap();
    let gathered = tree(&root);
    sink.flush(true).unwrap();
    let after = tree(&root);
    drop(sink);
    let mut effects: Vec<&String> = after.keys().filter(|path| !before.contains_key(*path)).collect();
    effects.sort_by_key(|path| path.starts_with(OWN_FOLDER));
    assert_eq!(effects.len(), 3, "two files and a manifest: {effects:?}");
    for done in 0..=effects.len() {
        let crashed = folder.path().join(format!("crashed-{done}"));
        let mut files = before.clone();
        files.extend(
            gathered
                .iter()
                .filter(|(path, _)| path.ends_with(".tmp"))
                .skip(done)
                .map(|(path, bytes)| (path.clone(), bytes.clone())),
        );
        files.extend(effects[..done].iter().map(|path| ((*path).clone(), after[*path].clone())));
        for (path, bytes) in files {
            let path = crashed.join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, bytes).unwrap();
        }
        let mut next = ParquetSink::new(config(&crashed)).unwrap();
        let exposed = u64::from(done == effects.len()) + 1;
        assert_eq!(next.recover(1).unwrap(), SinkPosition::Epoch(exposed), "{done} effects done");
        assert_eq!(visible(&crashed).len() as u64, exposed * 2, "unfinished files must be gone, {done} effects done");
        for epoch in exposed + 1..=3 {
            next.expose(&entry(epoch, epoch - 1)).unwrap();
        }
        assert_eq!(next.flush(true).unwrap().exposed, Some(3));
        assert_eq!(numbers(&crashed), [10, 11, 20, 21, 30, 31]);
        assert!(tree(&crashed).keys().all(|path| !path.ends_with(".tmp")));
    }
}

#[test]
fn the_older_of_two_instances_is_fenced_wherever_it_stands() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path();
    let mut gathering = open(root);
    gathering.expose(&entry(1, 0)).unwrap();
    let mut idle = open(root);
    let mut owner = open(root);
    // Its temporary files were cleared away.
    assert!(matches!(gathering.flush(true), Err(SinkError::Fenced(_))));
    assert!(
        matches!(gathering.recover(0), Err(SinkError::Fenced(_))),
        "a fenced instance must not take the folder back"
    );
    owner.expose(&entry(1, 0)).unwrap();
    owner.flush(true).unwrap();
    idle.expose(&entry(1, 0)).unwrap();
    assert!(matches!(idle.flush(true), Err(SinkError::Fenced(_))));
    owner.expose(&entry(2, 1)).unwrap();
    owner.flush(true).unwrap();
    assert_eq!(numbers(root), [10, 11, 20, 21]);
    assert_eq!(visible(root).len(), 4);
}

#[test]
fn of_two_instances_that_expose_at_once_only_one_does() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path();
    let mut old = open(root);
    old.expose(&entry(1, 0)).unwrap();
    // The old one has passed its check and renamed its files when the new one takes over.
    let owned = old.owned.take().unwrap();
    let files = owned.gathered.unwrap().files.finish(&owned.names, 1).unwrap();
    let mut new = open(root);
    assert_eq!(old.manifests.put(Some(&owned.newest), 1, (1, None), files).unwrap().map(|newest| newest.number), None);
    new.expose(&entry(1, 0)).unwrap();
    new.flush(true).unwrap();
    assert_eq!(numbers(root), [10, 11]);
    assert_eq!(visible(root).len(), 2);
}

#[test]
fn what_is_not_the_sinks_is_refused_or_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path();
    fs::create_dir(root.join("notes")).unwrap();
    for name in ["README.md", "notes/partial.csv", "notes/part-of-it.txt"] {
        fs::write(root.join(name), "mine").unwrap();
    }
    let mut sink = open(root);
    assert_eq!(tree(root).iter().filter(|(_, bytes)| *bytes == b"mine").count(), 3);
    let mut other =
        ParquetSink::new(ParquetConfig { identity: SinkIdentity::new("shop", "other"), ..config(root) }).unwrap();
    let Err(SinkError::Fatal { message, next }) = other.recover(0) else { panic!("another sink's folder was taken") };
    assert!(
        message.contains("belongs to sink `raw` of pipeline `shop`") && next.contains("folder of its own"),
        "{message}"
    );
    let Err(SinkError::Fatal { message, .. }) = sink.expose(&entry(3, 2)) else {
        panic!("a gap in the chain was taken")
    };
    assert!(message.contains("holds epoch 0, but the entry to be written follows epoch 2"), "{message}");
    let mut deletes = entry(1, 0);
    let SinkData::Rows(blocks) = Arc::make_mut(&mut deletes.data) else { panic!() };
    blocks[0].changes = Changes::PerRow(vec![0, ChangeKind::Delete as u8].into());
    assert!(matches!(sink.expose(&deletes), Err(SinkError::Fatal { .. })));
    let newest = root.join(OWN_FOLDER).join("manifest-0000000001.json");
    fs::write(&newest, "{").unwrap();
    let Err(SinkError::Fatal { message, next }) = ParquetSink::new(config(root)).unwrap().recover(0) else {
        panic!("a torn manifest was taken")
    };
    assert!(message.contains("manifest-0000000001.json cannot be used") && next.contains("restore it"), "{message}");
}

#[test]
fn a_folder_that_was_lost_is_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().join("raw");
    assert_eq!(ParquetSink::new(config(&root)).unwrap().recover(7).unwrap(), SinkPosition::Absent);
    assert!(!root.exists());
}

#[test]
fn too_many_folders_are_exposed_early_and_refused_within_one_entry() {
    let folder = tempfile::tempdir().unwrap();
    let mut sink =
        ParquetSink::new(ParquetConfig { partition: vec!["n".parse().unwrap()], ..config(folder.path()) }).unwrap();
    sink.recover(0).unwrap();
    let wide = |epoch: u64, previous: u64, rows: i64| {
        let numbers: ArrayRef = Arc::new(Int64Array::from_iter_values(0..rows));
        let shelves: ArrayRef = Arc::new(StringArray::from(vec!["s"; rows as usize]));
        let rows = RecordBatch::try_new(config(Path::new("")).schema, vec![numbers, shelves]).unwrap();
        SinkEpoch {
            cut: None,
            epoch,
            previous,
            data: Arc::new(SinkData::Rows(vec![RowBlock { rows, changes: Changes::Inserts }])),
        }
    };
    assert_eq!(sink.expose(&wide(1, 0, 129)).unwrap().exposed, Some(1));
    let Err(SinkError::Fatal { message, next }) = sink.expose(&wide(2, 1, 257)) else {
        panic!("257 folders were opened")
    };
    assert!(message.contains("more than 256 partition folders") && next.contains("fewer values"), "{message}");
}

#[test]
fn a_folder_that_cannot_be_written_to_is_an_operators_matter() {
    let folder = tempfile::tempdir().unwrap();
    let file: PathBuf = folder.path().join("file");
    fs::write(&file, "").unwrap();
    let error = ParquetSink::new(config(&file.join("raw"))).unwrap().recover(0).unwrap_err();
    assert!(matches!(error, SinkError::Fatal { .. }), "{error:?}");
}
