//! What an epoch costs, and how long a restart takes: 10 M keys of 16 bytes with values of 24, and per epoch 22,000
//! random keys of them and 5 MB of outbox, on the real disk.
//!
//! Units: milliseconds per epoch, CPU of the appending thread and of the whole process, wall time with its tail;
//! seconds for the restart, files in the page cache. The disk's answer to a sync is part of the wall time only.
//!
//!     cargo run --release -p weir-bench-epoch-log -- [millions of keys] [epochs]

mod clock;
mod restart;
mod workload;

use std::path::Path;
use std::sync::Arc;

use weir_state::{EpochRecord, Identity, OutboxEntry, RealDisk, SnapshotJob, Store};

use crate::clock::Stopwatch;
use crate::workload::{KEY_GROUPS, Workload};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const OUTBOX_BYTES: usize = 5_000_000;

fn main() {
    let mut arguments = std::env::args().skip(1).map(|argument| argument.parse::<u64>().expect("a number"));
    let keys = arguments.next().unwrap_or(10) * 1_000_000;
    let epochs = arguments.next().unwrap_or(200);
    let dir = tempfile::tempdir().expect("a temporary folder");
    println!("{keys} keys, {epochs} epochs, load {}", clock::load());
    let mut workload = Workload::new(keys);
    let mut store = prepare(dir.path(), &workload);
    let json = workload::json(OUTBOX_BYTES);
    let noise = workload::noise(OUTBOX_BYTES);
    append_all(&mut store, &mut workload, epochs, "state only", None);
    append_all(&mut store, &mut workload, epochs, "state + 5 MB outbox of JSON", Some(&json));
    append_all(&mut store, &mut workload, epochs, "state + 5 MB outbox of noise", Some(&noise));
    println!("{:?}", store.sizes());
    drop(store);
    for _ in 0..3 {
        restart::run(dir.path(), &identity(), keys);
    }
    println!("load at the end {}", clock::load());
}

fn identity() -> Identity {
    Identity { pipeline: "bench".into(), key_groups: KEY_GROUPS, created_us: 0, generation: 1 }
}

/// A folder in which every key is in a snapshot.
fn prepare(dir: &Path, workload: &Workload) -> Store {
    let (mut store, recovered) = Store::open(Arc::new(RealDisk), dir, &identity()).expect("a new folder opens");
    recovered.state.check(1).expect("a new folder is whole");
    store.append(&EpochRecord { epoch: 1, ..EpochRecord::default() }).expect("the disk has room");
    let mut watch = Stopwatch::start();
    for key_group in 0..KEY_GROUPS {
        let sections = [workload.section(key_group)];
        watch.lap(|| store.write_snapshot(key_group, 1, &sections).expect("the disk has room"));
    }
    watch.print("write a snapshot of a key group");
    store
}

fn append_all(store: &mut Store, workload: &mut Workload, epochs: u64, name: &str, payload: Option<&[u8]>) {
    let mut watch = Stopwatch::start();
    let (jobs, jobs_in) = std::sync::mpsc::sync_channel::<SnapshotJob>(1);
    let (written, written_in) = std::sync::mpsc::channel();
    let snapshots = std::thread::spawn(move || jobs_in.iter().try_for_each(|job| written.send(job.write())));
    let (mut log, mut before) = (0, store.sizes().log_bytes);
    for _ in 0..epochs {
        let epoch = store.last_epoch() + 1;
        let previous = epoch - 1;
        let owe = |payload: &[u8]| OutboxEntry { sink: 0, previous, payload: payload.to_vec() };
        let outbox = payload.map(owe).into_iter().collect();
        let record = EpochRecord { epoch, meta: vec![1; 2000], deltas: workload.deltas(), outbox };
        store.acknowledge(0, epoch.saturating_sub(2));
        watch.lap(|| store.append(&record).expect("the disk has room"));
        log += store.sizes().log_bytes.saturating_sub(before);
        for snapshot in written_in.try_iter() {
            store.finish_snapshot(snapshot).expect("the disk has room");
        }
        // The whole state of a key group is made beside the laps: in life it comes from the tasks.
        if let Some(key_group) = store.snapshot_due() {
            let sections = vec![workload.section(key_group)];
            jobs.send(store.begin_snapshot(key_group, epoch, sections)).expect("the thread lives");
        }
        before = store.sizes().log_bytes;
    }
    drop(jobs);
    snapshots.join().expect("the thread does not panic").expect("the receiver lives");
    for snapshot in written_in.try_iter() {
        store.finish_snapshot(snapshot).expect("the disk has room");
    }
    watch.print(name);
    println!("{:44} {:.2} MB of log per epoch", "", log as f64 / epochs as f64 / 1e6);
}
