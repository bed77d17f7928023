//! The sink: gathers entries, exposes them by time, size or order, and clears away what a crash left.

use std::collections::HashSet;
use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use arrow_array::RecordBatch;
use weir_stream::{
    ChangeKind, Changes, ExposeOutcome, Held, RowBlock, Sink, SinkData, SinkEpoch, SinkError, SinkPosition,
};

use super::ParquetConfig;
use super::files::{Gathering, MAX_OPEN_FOLDERS, Names, is_part, is_temporary};
use super::manifest::{Manifest, Manifests, Newest};
use super::partition::Partitioner;
use crate::clock::{self, Clock};
use crate::durable;
use crate::identity::{chain_broken, fatal, fenced};

/// Rows into Parquet files, exactly once: see [`crate::parquet`].
pub struct ParquetSink {
    config: ParquetConfig,
    partitioner: Partitioner,
    manifests: Manifests,
    clock: Clock,
    /// Since the first recovery of this instance.
    owned: Option<Owned>,
}

/// What an instance knows about the folder that it owns.
struct Owned {
    names: Names,
    newest: Newest,
    gathered: Option<Gathered>,
}

struct Gathered {
    files: Gathering,
    /// Newest entry in there.
    epoch: u64,
    cut: Option<Arc<str>>,
    since: Duration,
}

impl Owned {
    /// The epoch that the next entry must follow.
    fn last_epoch(&self) -> u64 {
        self.gathered.as_ref().map_or(self.newest.manifest.epoch, |gathered| gathered.epoch)
    }
}

impl ParquetSink {
    /// Nothing is touched yet.
    ///
    /// # Errors
    /// `Fatal` when a partition column or the compression level cannot be used.
    pub fn new(config: ParquetConfig) -> Result<Self, SinkError> {
        Self::with_clock(config, clock::monotonic())
    }

    /// The same, with another clock for `max_age`.
    ///
    /// # Errors
    /// As [`ParquetSink::new`].
    pub fn with_clock(config: ParquetConfig, clock: Clock) -> Result<Self, SinkError> {
        if !(1..=22).contains(&config.zstd_level) {
            let message = format!("zstd has no level {}", config.zstd_level);
            return Err(fatal(message, "give the sink a zstd level from 1 to 22"));
        }
        let partitioner = Partitioner::new(&config.partition, &config.schema)?;
        let manifests = Manifests::new(config.identity.clone(), &config.folder);
        Ok(Self { config, partitioner, manifests, clock, owned: None })
    }

    fn target(&self) -> String {
        self.config.folder.display().to_string()
    }

    fn busy(&self) -> SinkError {
        SinkError::Retry(format!("{} is being taken over by another instance", self.target()))
    }

    /// Writes the manifest that fences older instances, unless this instance did so before.
    fn take_over(&self, newest: Option<Newest>) -> Result<(Newest, SinkPosition), SinkError> {
        let folder = self.manifests.folder();
        durable::create_folders(folder).map_err(|error| durable::sink_error("create", folder, &error))?;
        let position =
            newest.as_ref().map_or(SinkPosition::Absent, |newest| SinkPosition::Epoch(newest.manifest.epoch));
        match (newest, &self.owned) {
            (Some(newest), Some(owned)) if newest.manifest.generation != owned.names.generation => {
                Err(fenced(&self.target(), owned.names.generation, newest.manifest.generation))
            }
            (Some(newest), Some(_)) => Ok((newest, position)),
            (newest, _) => {
                let (generation, held) = newest.as_ref().map_or((1, (0, None)), |Newest { manifest, .. }| {
                    (manifest.generation + 1, (manifest.epoch, manifest.cut.clone()))
                });
                let put = self.manifests.put(newest.as_ref(), generation, held, Vec::new())?;
                put.map(|mine| (mine, position)).ok_or_else(|| self.busy())
            }
        }
    }

    /// Removes files that no manifest names. Whoever wrote them can expose them no more: the fence is up.
    fn clear_leftovers(&self) -> Result<(), SinkError> {
        let mut exposed = HashSet::new();
        for number in self.manifests.numbers()? {
            exposed.extend(self.manifests.read(number)?.files.into_iter().map(|file| file.path));
        }
        clear(&self.config.folder, "", &exposed)
    }

    fn gather(&mut self, blocks: &[RowBlock], entry: &SinkEpoch) -> Result<(), SinkError> {
        let (now, schema) = ((self.clock)(), &self.config.schema);
        let owned = self.owned.as_mut().expect("an entry is gathered only by an owner");
        let gathered = owned.gathered.get_or_insert_with(|| Gathered {
            files: Gathering::default(),
            epoch: entry.epoch,
            cut: None,
            since: now,
        });
        for RowBlock { rows, .. } in blocks.iter().filter(|block| block.rows.num_rows() > 0) {
            let rows = RecordBatch::try_new(Arc::clone(schema), rows.columns().to_vec()).map_err(|error| {
                let message =
                    format!("rows for {} are not of the agreed columns: {error}", self.config.folder.display());
                fatal(message, "this is a fault of weir: report it with the manifest")
            })?;
            gathered.files.add(&rows, &self.partitioner, &owned.names, schema, self.config.zstd_level)?;
        }
        gathered.epoch = entry.epoch;
        gathered.cut.clone_from(&entry.cut);
        Ok(())
    }

    fn is_due(&self) -> bool {
        let gathered = self.owned.as_ref().and_then(|owned| owned.gathered.as_ref());
        gathered.is_some_and(|gathered| {
            (self.clock)().saturating_sub(gathered.since) >= self.config.max_age
                || gathered.files.bytes() >= self.config.max_bytes
                || gathered.files.folders() > MAX_OPEN_FOLDERS / 2
        })
    }

    /// Is the newest manifest still the one that this instance knows?
    fn check_fence(&self, owned: &Owned) -> Result<(), SinkError> {
        let newest = self.manifests.newest()?.ok_or_else(|| {
            fatal(format!("{} lost its manifests", self.target()), "restore the folder, or start the sink on a new one")
        })?;
        if newest.number == owned.newest.number {
            return Ok(());
        }
        Err(fenced(&self.target(), owned.names.generation, newest.manifest.generation))
    }

    fn expose_gathered(&mut self) -> Result<ExposeOutcome, SinkError> {
        let Some(mut owned) = self.owned.take() else { return Ok(ExposeOutcome::default()) };
        let exposed = match owned.gathered.take() {
            Some(gathered) => self.expose_files(&owned, gathered),
            None => Ok(owned.newest.clone()),
        };
        // Kept on errors too: it is what tells a later recovery from a first one.
        let outcome = exposed.map(|newest| {
            let exposed = Some(newest.manifest.epoch);
            owned.newest = newest;
            ExposeOutcome { exposed, rejects: Vec::new() }
        });
        self.owned = Some(owned);
        outcome
    }

    fn expose_files(&self, owned: &Owned, gathered: Gathered) -> Result<Newest, SinkError> {
        self.check_fence(owned)?;
        let Gathered { files, epoch, cut, .. } = gathered;
        // A fenced instance's files may be cleared away under its hands: then the fence is the reason, not the file.
        let files =
            files.finish(&owned.names, epoch).map_err(|error| self.check_fence(owned).err().unwrap_or(error))?;
        let paths: Vec<_> = files.iter().map(|file| owned.names.target.join(&file.path)).collect();
        if let Some(newest) = self.manifests.put(Some(&owned.newest), owned.names.generation, (epoch, cut), files)? {
            return Ok(newest);
        }
        for path in paths {
            // The next owner's recovery removes what cannot be removed here.
            let _ = fs::remove_file(path);
        }
        Err(self.check_fence(owned).err().unwrap_or_else(|| self.busy()))
    }
}

impl Sink for ParquetSink {
    fn recover(&mut self, acked: u64) -> Result<SinkPosition, SinkError> {
        if let Some(owned) = &mut self.owned {
            owned.gathered = None;
        }
        let newest = self.manifests.newest()?;
        if newest.is_none() && (acked > 0 || self.owned.is_some()) {
            return Ok(SinkPosition::Absent);
        }
        let (newest, position) = self.take_over(newest)?;
        let names = Names { target: self.config.folder.clone(), generation: newest.manifest.generation };
        self.owned = Some(Owned { names, newest, gathered: None });
        self.clear_leftovers()?;
        Ok(position)
    }

    fn held(&mut self) -> Result<Option<Held>, SinkError> {
        let newest = self.manifests.newest()?;
        Ok(newest.map(|Newest { manifest: Manifest { epoch, cut, .. }, .. }| Held { epoch, cut, rejects: 0 }))
    }

    fn expose(&mut self, entry: &SinkEpoch) -> Result<ExposeOutcome, SinkError> {
        let SinkData::Rows(blocks) = &*entry.data else {
            return Err(fatal("a Parquet sink takes columns, not encoded rows", "remove `format` from the sink"));
        };
        let target = self.target();
        let owned = self.owned.as_ref().ok_or_else(|| SinkError::Retry(format!("{target} is not open yet")))?;
        if owned.last_epoch() != entry.previous {
            return Err(chain_broken(&target, owned.last_epoch(), entry.previous));
        }
        if blocks.iter().any(|block| !is_append(&block.changes)) {
            return Err(fatal(
                format!("an update or a delete came for the files in {target}, which are only appended to"),
                "write this stream to a table, or as `append` after a window that emits on close",
            ));
        }
        self.gather(blocks, entry)?;
        if self.is_due() { self.expose_gathered() } else { Ok(ExposeOutcome::default()) }
    }

    fn flush(&mut self, force: bool) -> Result<ExposeOutcome, SinkError> {
        let waiting = self.owned.as_ref().is_some_and(|owned| owned.gathered.is_some());
        if waiting && (force || self.is_due()) { self.expose_gathered() } else { Ok(ExposeOutcome::default()) }
    }
}

fn is_append(changes: &Changes) -> bool {
    match changes {
        Changes::Inserts => true,
        Changes::PerRow(kinds) => kinds.iter().all(|kind| *kind == ChangeKind::Insert as u8),
    }
}

/// Removes the sink's files below `folder` that are not exposed. Links are not followed.
fn clear(target: &Path, below: &str, exposed: &HashSet<String>) -> Result<(), SinkError> {
    let folder = target.join(below);
    let failed = |error| durable::sink_error("clear", &folder, &error);
    for entry in fs::read_dir(&folder).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        let Ok(name) = entry.file_name().into_string() else { continue };
        let path = if below.is_empty() { name.clone() } else { format!("{below}/{name}") };
        if entry.file_type().map_err(failed)?.is_dir() {
            clear(target, &path, exposed)?;
        } else if is_temporary(&name) || (is_part(&name) && !exposed.contains(&path)) {
            fs::remove_file(entry.path()).map_err(failed)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
