//! Random runs of the real store on the simulated disk, cut off after random disk operations and opened again.
//!
//! Invariant that is tested: what was reported as durable is never lost, nothing is half there, and opening never
//! refuses what a crash may leave. `WEIR_SEED=7` runs one seed again, `WEIR_SEEDS=100000` more of them.

mod model;

use std::sync::Arc;

use model::{KEY_GROUPS, Model, SINKS, dir, identity, seeds, small_options};
use weir_state::error::{OpenError, WriteError};
use weir_state::record::EpochRecord;
use weir_state::sim::{SimDisk, SimRng};
use weir_state::{Recovered, SnapshotJob, Store};

const LIVES: u64 = 8;

/// What the runs passed through: a suite that never meets a case does not test it.
#[derive(Debug, Default)]
struct Seen {
    epochs: u64,
    dropped: u64,
    unreported: u64,
    clean: u64,
    full: u64,
    failed_syncs: u64,
    snapshots: u64,
    cut_opens: u64,
    /// Starts that found a segment waiting to be written again.
    spares: u64,
}

struct Run {
    disk: SimDisk,
    rng: SimRng,
    model: Model,
    /// The last epoch that was said to be durable.
    reported: u64,
    closed: bool,
    /// A snapshot that is being written, and its length once it is under its temporary name.
    job: Option<(SnapshotJob, Option<u64>)>,
    seen: Seen,
}

impl Run {
    fn new(seed: u64) -> Self {
        Self {
            disk: SimDisk::new(),
            rng: SimRng::new(seed),
            model: Model::default(),
            reported: 0,
            closed: false,
            job: None,
            seen: Seen::default(),
        }
    }

    /// Several lives of the machine, each ended by a crash or a kill; an error is a broken promise.
    fn play(mut self) -> Result<Seen, String> {
        for _ in 0..LIVES {
            self.live()?;
            if self.rng.one_in(4) { self.disk.kill() } else { self.disk.crash(&mut self.rng) }
        }
        Ok(self.seen)
    }

    fn live(&mut self) -> Result<(), String> {
        self.disk.stop_after(1 + self.rng.below(150));
        let opened = Store::open_with(Arc::new(self.disk.clone()), dir(), &identity(), small_options());
        let (mut store, recovered) = match opened {
            Ok(opened) => opened,
            Err(OpenError::Io { source, .. }) if source.to_string().contains("has stopped") => {
                self.seen.cut_opens += 1;
                return Ok(());
            }
            Err(error) => return Err(format!("refused: {error}")),
        };
        let is_spare = |path: std::path::PathBuf| path.to_string_lossy().contains("/spare-");
        self.seen.spares += u64::from(self.disk.paths().into_iter().any(is_spare));
        self.job = None;
        self.check(&store, recovered)?;
        while let Ok(()) = self.act(&mut store)? {
            if self.rng.one_in(40) {
                self.closed = store.close().is_ok();
                break;
            }
        }
        Ok(())
    }

    fn check(&mut self, store: &Store, recovered: Recovered) -> Result<(), String> {
        let last = recovered.last_epoch;
        let attempted = self.model.last_epoch();
        if last < self.reported || last > attempted {
            return Err(format!("epoch {last} recovered, {} was durable, {attempted} was written", self.reported));
        }
        if self.closed && !recovered.clean {
            return Err("the clean end was forgotten".to_owned());
        }
        self.seen.clean += u64::from(recovered.clean);
        self.seen.dropped += u64::from(recovered.dropped_epoch.is_some());
        self.seen.unreported += last - self.reported;
        let threads = 1 + self.rng.below(2) as usize;
        match self.model.compare(store, recovered, threads) {
            // Reading was cut off, not refused.
            Err(difference) if difference.contains("has stopped") => {}
            other => other?,
        }
        self.model.cut(last);
        self.reported = last;
        self.closed = false;
        Ok(())
    }

    /// One random act. The inner error is the machine's end; the outer one a broken promise.
    fn act(&mut self, store: &mut Store) -> Result<Result<(), WriteError>, String> {
        match self.rng.below(12) {
            0 => self.acknowledge(store),
            1 | 11 => {
                let key_group = self.rng.below(u64::from(KEY_GROUPS)) as u16;
                return self.snapshot(store, key_group);
            }
            2 if self.rng.one_in(6) => self.disk.fail_syncs(1),
            3 => self.disk.set_capacity(Some(self.disk.used() + self.rng.below(30_000))),
            4 => return self.store_plugin(store),
            _ => {
                let result = self.append(store);
                if let (Ok(Ok(())), Some(key_group)) = (&result, store.snapshot_due()) {
                    return self.snapshot(store, key_group);
                }
                return result;
            }
        }
        Ok(Ok(()))
    }

    fn acknowledge(&mut self, store: &mut Store) {
        let sink = self.rng.below(u64::from(SINKS)) as u16;
        let acked = self.model.acked.entry(sink).or_default();
        *acked += self.rng.below(store.last_epoch() - *acked + 1);
        store.acknowledge(sink, *acked);
    }

    fn append(&mut self, store: &mut Store) -> Result<Result<(), WriteError>, String> {
        let record: EpochRecord = self.model.next(&mut self.rng);
        self.seen.epochs += 1;
        let result = self.with_room(|_| store.append(&record));
        if matches!(result, Ok(Ok(()))) {
            self.reported = record.epoch;
        }
        result
    }

    /// Begins a snapshot, or goes on with the one that is begun: epochs come between any two of its steps.
    fn snapshot(&mut self, store: &mut Store, key_group: u16) -> Result<Result<(), WriteError>, String> {
        match self.job.take() {
            None => self.begin_snapshot(store, key_group),
            Some((job, None)) => {
                let mut bytes = None;
                let result = self.with_room(|_| job.write_temporary().map(|written| bytes = Some(written)));
                self.job = Some((job, bytes));
                result
            }
            Some((job, Some(bytes))) => {
                let mut written = None;
                let result = self.with_room(|_| job.publish(bytes).map(|snapshot| written = Some(snapshot)))?;
                match (result, written) {
                    (Ok(()), Some(written)) => Ok(store.finish_snapshot(Ok(written))),
                    (result, _) => Ok(result),
                }
            }
        }
    }

    fn begin_snapshot(&mut self, store: &mut Store, key_group: u16) -> Result<Result<(), WriteError>, String> {
        // Snapshots are written behind: the last epoch may be newer than the snapshot's.
        let epoch = store.last_epoch() - self.rng.below(2).min(store.last_epoch());
        let newest = format!("snap-{key_group:05}-");
        let names = self.disk.paths();
        let names = names.iter().filter_map(|path| path.file_name()?.to_str()?.strip_prefix(&newest)?.parse().ok());
        if epoch <= names.max().unwrap_or(0) {
            return Ok(Ok(()));
        }
        let sections = self.model.sections(key_group, epoch);
        self.seen.snapshots += 1;
        self.job = Some((store.begin_snapshot(key_group, epoch, sections), None));
        Ok(Ok(()))
    }

    fn store_plugin(&mut self, store: &Store) -> Result<Result<(), WriteError>, String> {
        let component = vec![7; self.rng.below(5000) as usize];
        let digest = format!("sha256:{:04x}", component.len());
        let plugins = store.plugins();
        let result = self.with_room(|_| plugins.put(&digest, &component))?;
        match (result, plugins.get(&digest)) {
            (Ok(()), Ok(read)) if read.as_ref() != Some(&component) => Err("a plugin came back changed".to_owned()),
            (result, _) => Ok(result),
        }
    }

    /// Writes, and when the disk is full makes room and writes again, as the runtime does.
    fn with_room(
        &mut self,
        mut write: impl FnMut(&mut Self) -> Result<(), WriteError>,
    ) -> Result<Result<(), WriteError>, String> {
        let mut result = write(self);
        if result.as_ref().is_err_and(WriteError::may_retry) {
            self.seen.full += 1;
            self.disk.set_capacity(None);
            result = write(self);
        }
        match &result {
            Err(WriteError::SyncFailed { .. }) => self.seen.failed_syncs += 1,
            Err(error) if !error.to_string().contains("has stopped") => return Err(format!("write: {error}")),
            _ => {}
        }
        Ok(result)
    }
}

fn play(seed: u64, prepare: impl FnOnce(&SimDisk)) -> Result<Seen, String> {
    let run = Run::new(seed);
    prepare(&run.disk);
    run.play()
}

#[test]
fn no_crash_loses_what_was_durable_or_leaves_half_an_epoch() {
    let seeds = seeds(400);
    let mut all = Seen::default();
    for seed in &seeds {
        let seen = play(*seed, |_| {}).unwrap_or_else(|broken| panic!("{broken}\nagain with WEIR_SEED={seed}"));
        all.epochs += seen.epochs;
        all.dropped += seen.dropped;
        all.unreported += seen.unreported;
        all.clean += seen.clean;
        all.full += seen.full;
        all.failed_syncs += seen.failed_syncs;
        all.snapshots += seen.snapshots;
        all.cut_opens += seen.cut_opens;
        all.spares += seen.spares;
    }
    println!("seeds 0..{}: {all:?}", seeds.len());
    let cases = [all.epochs, all.dropped, all.unreported, all.clean, all.full, all.failed_syncs, all.snapshots];
    assert!(seeds.len() < 100 || cases.iter().chain([&all.cut_opens, &all.spares]).all(|count| *count > 0), "{all:?}");
}

#[test]
fn a_store_whose_syncs_do_nothing_is_caught() {
    let caught = (0..50).filter(|seed| play(*seed, SimDisk::ignore_syncs).is_err()).count();
    assert!(caught >= 25, "only {caught} of 50 seeds noticed");
}
