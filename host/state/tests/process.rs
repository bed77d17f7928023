//! The store on the real disk, in processes of its own: killed in the middle, locked out, out of room.
//!
//! The test binary starts itself again with `WEIR_STATE_CHILD` set; the child then runs only the ignored test that
//! is its work. The parent kills it after a random number of reported epochs, so nothing waits for luck.

mod model;

use std::io::{BufRead, BufReader, Write};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;

use model::{KEY_GROUPS, Model, identity, seeds, small_options};
use weir_state::error::{OpenError, WriteError};
use weir_state::sim::SimRng;
use weir_state::{RealDisk, Recovered, Store};

const ROUNDS: u64 = 10;

/// More epochs than a child lives for.
const MAX_EPOCHS: u64 = 5000;

fn open(dir: &Path) -> Result<(Store, Recovered), OpenError> {
    Store::open_with(Arc::new(RealDisk), dir, &identity(), small_options())
}

/// This binary again, running one ignored test on `dir`.
fn child(test: &str, dir: &Path, seed: u64) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args([test, "--exact", "--ignored", "--nocapture", "--test-threads=1"])
        .env("WEIR_STATE_CHILD", dir)
        .env("WEIR_SEED", seed.to_string())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}

fn child_dir() -> Option<PathBuf> {
    std::env::var_os("WEIR_STATE_CHILD").map(PathBuf::from)
}

/// The number in a line that a child reported; the test harness may have begun the line.
fn reported(line: &str) -> Option<u64> {
    line.rsplit_once("durable ")?.1.trim().parse().ok()
}

/// The history of a seed: parent and child make the same one, epoch by epoch.
struct History {
    rng: SimRng,
    model: Model,
}

impl History {
    fn new(seed: u64) -> Self {
        Self { rng: SimRng::new(seed), model: Model::default() }
    }

    fn next(&mut self) -> weir_state::EpochRecord {
        let last = self.model.last_epoch();
        self.model.acked = (0..model::SINKS).map(|sink| (sink, last.saturating_sub(3))).collect();
        self.model.next(&mut self.rng)
    }
}

#[test]
#[ignore = "the work of a child process"]
fn child_appends_and_snapshots() {
    let Some(dir) = child_dir() else { return };
    let mut history = History::new(seeds(1)[0]);
    let (mut store, recovered) = open(&dir).unwrap();
    (0..recovered.last_epoch).for_each(|_| drop(history.next()));
    history.model.compare(&store, recovered, 2).unwrap();
    let mut out = std::io::stdout();
    for _ in 0..MAX_EPOCHS {
        let record = history.next();
        history.model.acked.iter().for_each(|(sink, epoch)| store.acknowledge(*sink, *epoch));
        store.append(&record).unwrap();
        writeln!(out, "durable {}", record.epoch).unwrap();
        let key_group = store.snapshot_due().unwrap_or((record.epoch % u64::from(KEY_GROUPS)) as u16);
        store.write_snapshot(key_group, record.epoch, &history.model.sections(key_group, record.epoch)).unwrap();
    }
}

#[test]
fn killed_at_random_moments_the_store_keeps_every_reported_epoch() {
    let given = std::env::var("WEIR_SEED").ok().and_then(|seed| seed.parse().ok());
    let seed = given.unwrap_or_else(|| u64::from(std::process::id()));
    println!("again with WEIR_SEED={seed}");
    let dir = tempfile::tempdir().unwrap();
    let mut rng = SimRng::new(seed);
    let mut durable = 0;
    for _ in 0..ROUNDS {
        let mut child = child("child_appends_and_snapshots", dir.path(), seed);
        let kill_after = durable + 1 + rng.below(40);
        for line in BufReader::new(child.stdout.take().unwrap()).lines() {
            durable = reported(&line.unwrap()).unwrap_or(durable);
            if durable == kill_after {
                // Somewhere in the next epoch or snapshot.
                (0..rng.below(200_000)).for_each(|_| std::hint::spin_loop());
                child.kill().unwrap();
            }
        }
        assert_eq!(child.wait().unwrap().signal(), Some(libc::SIGKILL), "the child ended by itself at {durable}");
        let (store, recovered) = open(dir.path()).unwrap();
        let last = recovered.last_epoch;
        assert!(last >= durable, "epoch {durable} was reported, {last} recovered");
        let mut history = History::new(seed);
        (0..last).for_each(|_| drop(history.next()));
        history.model.compare(&store, recovered, 2).unwrap();
        durable = last;
    }
    assert!(durable >= ROUNDS);
}

#[test]
#[ignore = "the work of a child process"]
fn child_holds_the_folder() {
    let Some(dir) = child_dir() else { return };
    let _store = open(&dir).unwrap();
    println!("durable 0");
    let _ = std::io::stdin().read_line(&mut String::new());
}

#[test]
fn a_second_process_is_refused_with_the_number_of_the_first() {
    let dir = tempfile::tempdir().unwrap();
    let mut child = child("child_holds_the_folder", dir.path(), 0);
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    assert!(lines.any(|line| reported(&line.unwrap()) == Some(0)), "the child has the folder");
    match open(dir.path()) {
        Err(OpenError::InUse { pid, .. }) => assert_eq!(pid, Some(child.id())),
        other => panic!("{other:?}"),
    }
    child.kill().unwrap();
    child.wait().unwrap();
    open(dir.path()).unwrap();
}

#[test]
#[ignore = "the work of a child process"]
fn child_runs_into_its_file_size_limit() {
    let Some(dir) = child_dir() else { return };
    let limit = |bytes: u64| {
        let limit = libc::rlimit { rlim_cur: bytes, rlim_max: libc::RLIM_INFINITY };
        // SAFETY: plain system calls on this process's own limits and signal, with valid pointers.
        unsafe {
            libc::signal(libc::SIGXFSZ, libc::SIG_IGN);
            assert_eq!(libc::setrlimit(libc::RLIMIT_FSIZE, &raw const limit), 0);
        }
    };
    let mut history = History::new(seeds(1)[0]);
    let (mut store, _) = open(&dir).unwrap();
    let mut full = 0;
    for number in 1..=60 {
        let record = history.next();
        history.model.acked.iter().for_each(|(sink, epoch)| store.acknowledge(*sink, *epoch));
        limit(if number % 2 == 0 { 9000 } else { libc::RLIM_INFINITY });
        if let Err(error) = store.append(&record) {
            assert!(matches!(error, WriteError::Full { .. }), "{error}");
            full += 1;
            limit(libc::RLIM_INFINITY);
            store.append(&record).unwrap();
        }
    }
    limit(libc::RLIM_INFINITY);
    println!("durable {full}");
}

#[test]
fn a_file_that_may_not_grow_is_a_full_disk_and_the_epoch_fits_later() {
    let dir = tempfile::tempdir().unwrap();
    let mut child = child("child_runs_into_its_file_size_limit", dir.path(), 5);
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let full = lines.filter_map(|line| reported(&line.unwrap())).last();
    assert!(child.wait().unwrap().success());
    assert!(full.is_some_and(|full| full > 5), "{full:?}");
    let (store, recovered) = open(dir.path()).unwrap();
    let mut history = History::new(5);
    (0..60).for_each(|_| drop(history.next()));
    history.model.compare(&store, recovered, 2).unwrap();
}
