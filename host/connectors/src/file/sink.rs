//! Appends payloads as lines to one file, exactly once.
//!
//! Beside `<file>` lies `<file>.progress`, one JSON object: `version` (1), `pipeline`, `sink`, `generation`, `epoch`,
//! `length` and `cut`, what came with the epoch. Invariant: the first `length` bytes of the file are the epochs up to `epoch`, whole and synced;
//! what lies behind them is the torn end of a crash and is cut off before the next write. The progress is replaced
//! (written aside, synced, renamed) only after the lines are synced, and both happen under an exclusive lock on the
//! file, so that an instance that was taken over can never write between the check of its generation and its lines.
//!
//! A file cannot refuse single rows: a payload that is no line (it holds a newline, or is absent) stops the sink.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use weir_stream::{Bug, ExposeOutcome, Held, PayloadBlock, Sink, SinkData, SinkEpoch, SinkError, SinkPosition};

use crate::durable;
use crate::identity::{SinkIdentity, chain_broken, fatal, fenced};

/// How long another process may hold the file before this one answers `Retry`.
const LOCK_PATIENCE: Duration = Duration::from_secs(10);

/// Version of the progress file.
const PROGRESS_VERSION: u32 = 1;

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Progress {
    version: u32,
    pipeline: String,
    sink: String,
    generation: u64,
    epoch: u64,
    /// Bytes of the file that are the epochs up to `epoch`.
    length: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    cut: Option<Arc<str>>,
}

/// One file of lines as an exactly-once target. A file that exists without a progress file is appended to.
#[derive(Debug)]
pub struct JsonLinesSink {
    identity: SinkIdentity,
    path: PathBuf,
    progress_path: PathBuf,
    /// Set by the first recovery of this instance.
    generation: Option<u64>,
}

impl JsonLinesSink {
    pub fn new(identity: SinkIdentity, path: impl Into<PathBuf>) -> Self {
        let path = path.into();
        let mut progress_path = path.clone().into_os_string();
        progress_path.push(".progress");
        Self { identity, path, progress_path: progress_path.into(), generation: None }
    }

    fn error(&self, doing: &str, error: &io::Error) -> SinkError {
        durable::sink_error(doing, &self.path, error)
    }

    fn target(&self) -> String {
        self.path.display().to_string()
    }

    fn read_progress(&self) -> Result<Option<Progress>, SinkError> {
        let unusable = |why: String| {
            fatal(
                format!("{} cannot be used: {why}", self.progress_path.display()),
                format!("restore it, or move {} away and start the sink on a new file", self.path.display()),
            )
        };
        let bytes = match std::fs::read(&self.progress_path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(durable::sink_error("read", &self.progress_path, &error)),
        };
        let progress: Progress = serde_json::from_slice(&bytes).map_err(|error| unusable(error.to_string()))?;
        if progress.version != PROGRESS_VERSION {
            return Err(unusable(format!("its version is {}, known is {PROGRESS_VERSION}", progress.version)));
        }
        if (&progress.pipeline, &progress.sink) != (&self.identity.pipeline, &self.identity.sink) {
            let owner = SinkIdentity::new(progress.pipeline, progress.sink);
            return Err(fatal(format!("{} belongs to {owner}", self.target()), "give this sink a file of its own"));
        }
        Ok(Some(progress))
    }

    fn write_progress(&self, progress: &Progress) -> Result<(), SinkError> {
        let bytes = serde_json::to_vec(progress).expect("a progress record has only text and numbers");
        durable::replace(&self.progress_path, &bytes)
            .map_err(|error| durable::sink_error("write", &self.progress_path, &error))
    }

    /// Opens and locks the file; the lock goes with the handle.
    fn open(&self, create: bool) -> Result<File, SinkError> {
        let file = OpenOptions::new().read(true).write(true).create(create).truncate(false).open(&self.path);
        let file = match file {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound && !create => return Err(self.lost("is gone")),
            Err(error) => return Err(self.error("open", &error)),
        };
        lock(&file, &self.path)?;
        Ok(file)
    }

    /// Cuts off what a crash left behind the recorded length.
    fn cut(&self, file: &File, length: u64) -> Result<(), SinkError> {
        let found = file.metadata().map_err(|error| self.error("read", &error))?.len();
        if found < length {
            return Err(self.lost(&format!("is {found} bytes long, its progress says {length}")));
        }
        if found > length {
            file.set_len(length).map_err(|error| self.error("truncate", &error))?;
        }
        Ok(())
    }

    fn lost(&self, what: &str) -> SinkError {
        fatal(
            format!("{} {what}: it lost epochs that were written", self.target()),
            format!("restore it, or remove {} and start over with a new state folder", self.progress_path.display()),
        )
    }

    fn first_contact(&self, file: &File) -> Result<Progress, SinkError> {
        let length = file.metadata().map_err(|error| self.error("read", &error))?.len();
        let SinkIdentity { pipeline, sink } = self.identity.clone();
        let progress =
            Progress { version: PROGRESS_VERSION, pipeline, sink, generation: 1, epoch: 0, length, cut: None };
        self.write_progress(&progress)?;
        Ok(progress)
    }

    /// Takes the file over, or, when this instance already owns it, only puts it in order.
    fn take_over(&self, file: &File, mut progress: Progress) -> Result<Progress, SinkError> {
        match self.generation {
            Some(mine) if mine != progress.generation => return Err(fenced(&self.target(), mine, progress.generation)),
            Some(_) => {}
            None => {
                progress.generation += 1;
                self.write_progress(&progress)?;
            }
        }
        self.cut(file, progress.length)?;
        Ok(progress)
    }
}

impl Sink for JsonLinesSink {
    fn recover(&mut self, acked: u64) -> Result<SinkPosition, SinkError> {
        let known = self.read_progress()?.is_some();
        if !known && (acked > 0 || self.generation.is_some()) {
            return Ok(SinkPosition::Absent);
        }
        let parent = self.path.parent().unwrap_or(Path::new(""));
        durable::create_folders(parent).map_err(|error| self.error("create the folder of", &error))?;
        let file = self.open(!known)?;
        // Read again: another instance may have been first before the lock was ours.
        let (progress, position) = match self.read_progress()? {
            None => (self.first_contact(&file)?, SinkPosition::Absent),
            Some(progress) => {
                let progress = self.take_over(&file, progress)?;
                let position = SinkPosition::Epoch(progress.epoch);
                (progress, position)
            }
        };
        self.generation = Some(progress.generation);
        Ok(position)
    }

    fn held(&mut self) -> Result<Option<Held>, SinkError> {
        let progress = self.read_progress()?;
        Ok(progress.map(|Progress { epoch, cut, .. }| Held { epoch, cut, rejects: 0 }))
    }

    fn expose(&mut self, entry: &SinkEpoch) -> Result<ExposeOutcome, SinkError> {
        let SinkData::Payloads(blocks) = &*entry.data else {
            return Err(fatal("a file of lines takes encoded rows, not columns", "give the sink a `format`"));
        };
        let mine = self.generation.ok_or_else(|| SinkError::Retry("the file is not open yet".into()))?;
        let mut file = self.open(false)?;
        let mut progress = self.read_progress()?.ok_or_else(|| self.lost("has no progress file any more"))?;
        if progress.generation != mine && !Bug::TakeStaleOwner.is_in() {
            return Err(fenced(&self.target(), mine, progress.generation));
        }
        if progress.epoch != entry.previous {
            return Err(chain_broken(&self.target(), progress.epoch, entry.previous));
        }
        self.cut(&file, progress.length)?;
        let mut lines = Vec::new();
        append_lines(blocks, &mut lines)?;
        file.seek(SeekFrom::Start(progress.length))
            .and_then(|_| file.write_all(&lines))
            .and_then(|()| file.sync_data())
            .map_err(|error| self.error("write", &error))?;
        progress.epoch = entry.epoch;
        progress.cut.clone_from(&entry.cut);
        progress.length += lines.len() as u64;
        self.write_progress(&progress)?;
        Ok(ExposeOutcome { exposed: Some(entry.epoch), rejects: Vec::new() })
    }
}

fn lock(file: &File, path: &Path) -> Result<(), SinkError> {
    let start = Instant::now();
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(()),
            Err(TryLockError::Error(error)) => return Err(durable::sink_error("lock", path, &error)),
            Err(TryLockError::WouldBlock) if start.elapsed() > LOCK_PATIENCE => {
                return Err(SinkError::Retry(format!("{} is locked by another process", path.display())));
            }
            Err(TryLockError::WouldBlock) => std::thread::sleep(Duration::from_millis(5)),
        }
    }
}

/// The payloads of an entry, each with a newline behind it.
///
/// # Errors
/// `Fatal` for a payload that is no line.
pub(crate) fn append_lines(blocks: &[PayloadBlock], lines: &mut Vec<u8>) -> Result<(), SinkError> {
    for PayloadBlock { values, .. } in blocks {
        lines.reserve(values.byte_size());
        for row in 0..values.len() {
            let payload = values.get(row);
            let broken = if values.is_absent(row) {
                Some("is absent (a delete)")
            } else if payload.contains(&b'\n') {
                Some("holds a newline")
            } else {
                None
            };
            if let Some(why) = broken {
                return Err(fatal(
                    format!("a payload {why}: it cannot be a line"),
                    "use `format: json` on an append stream for this sink",
                ));
            }
            lines.extend_from_slice(payload);
            lines.push(b'\n');
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
