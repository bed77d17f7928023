//! The thread that makes epochs durable: appends records and waits out a full disk. Beside it a second thread writes
//! snapshots, so that no epoch waits for one.
//!
//! Only the first thread touches the store while the pipeline runs. A failed sync is reported and ends the process; it
//! is never tried again.

use std::collections::VecDeque;
use std::path::PathBuf;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender, bounded, select, unbounded};
use weir_state::{EpochRecord, OutboxEntry, Sizes, SnapshotJob, StateDelta, Store, WriteError, WrittenSnapshot};
use weir_stream::{Bug, SinkEpoch};

/// Between two attempts on a full disk.
const FULL_BACK_OFF: Duration = Duration::from_millis(500);

/// A larger buffer is not kept.
const MAX_KEPT_BUFFER_BYTES: usize = 64 << 20;

/// What the coordinator wants of the log.
#[derive(Debug)]
pub enum LogCommand {
    /// `outbox`: what the record owes each sink, still as rows.
    Append {
        record: EpochRecord,
        outbox: Vec<Owed>,
    },
    /// The whole state of a key group as it was sealed with `epoch`, which is durable by then.
    Snapshot {
        key_group: u16,
        epoch: u64,
        deltas: Vec<StateDelta>,
    },
    Acknowledge {
        sink: u16,
        epoch: u64,
    },
    /// Copy what is durable; the answer is its last epoch, or why not.
    CopyState {
        target: PathBuf,
        reply: Sender<Result<u64, String>>,
    },
}

/// One entry of an epoch's outbox before it is encoded: number of the sink in the outbox, and its entry.
#[derive(Debug, Clone)]
pub struct Owed {
    pub sink: u16,
    pub entry: Arc<SinkEpoch>,
}

/// What the log tells.
#[derive(Debug)]
pub enum LogEvent {
    Written { epoch: u64, snapshot_due: Option<u16>, sizes: Sizes },
    Full { epoch: u64, message: String },
    Failed { message: String },
}

/// Starts the thread. It ends, and closes the store, when the commands' sender is dropped.
pub fn spawn(
    store: Store,
    commands: Receiver<LogCommand>,
    events: Sender<LogEvent>,
) -> std::io::Result<JoinHandle<()>> {
    std::thread::Builder::new().name("epoch-log".into()).spawn(move || {
        let (jobs, jobs_in) = bounded::<SnapshotJob>(1);
        let (written, written_in) = unbounded();
        let (deferred, buffers) = (VecDeque::new(), Vec::new());
        std::thread::scope(|scope| {
            let name = std::thread::Builder::new().name("snapshots".into());
            let write = move || jobs_in.iter().try_for_each(|job| written.send(job.write()));
            match name.spawn_scoped(scope, write) {
                Ok(_) => {
                    LogWriter { store, commands, events, jobs, written: written_in, deferred, buffers }.run();
                }
                Err(error) => {
                    let message = format!("no thread for snapshots: {error}");
                    let _ = events.send(LogEvent::Failed { message });
                }
            }
        });
    })
}

/// What the log's thread looks at next.
enum Next {
    Command(LogCommand),
    Written(Result<WrittenSnapshot, WriteError>),
    /// Nobody will ask for anything more.
    End,
}

struct LogWriter {
    store: Store,
    commands: Receiver<LogCommand>,
    events: Sender<LogEvent>,
    jobs: Sender<SnapshotJob>,
    written: Receiver<Result<WrittenSnapshot, WriteError>>,
    /// Commands that came while an append waited for space.
    deferred: VecDeque<LogCommand>,
    /// Used again epoch after epoch: fresh pages for each would cost more than the encoding.
    buffers: Vec<Vec<u8>>,
}

impl LogWriter {
    fn run(mut self) {
        loop {
            let result = match self.next() {
                Next::Command(LogCommand::Append { record, outbox }) => self.append(record, &outbox),
                Next::Command(LogCommand::Snapshot { key_group, epoch, deltas }) => {
                    // While epochs were on their way it may have been asked for twice: then it is asked for again when it
                    // is due.
                    if !self.store.is_snapshotting() {
                        // The channel holds the one job that there may be.
                        let _ = self.jobs.send(self.store.begin_snapshot(key_group, epoch, deltas));
                    }
                    Ok(true)
                }
                Next::Command(LogCommand::Acknowledge { sink, epoch }) => {
                    self.store.acknowledge(sink, epoch);
                    Ok(true)
                }
                Next::Command(LogCommand::CopyState { target, reply }) => {
                    // A copy that fails is its caller's trouble alone, and so is a caller that has gone.
                    let _ = reply.send(self.store.copy_to(&target).map_err(|error| error.to_string()));
                    Ok(true)
                }
                Next::Written(written) => self.finish_snapshot(written).map(|()| true),
                Next::End => break,
            };
            match result {
                Ok(true) => {}
                Ok(false) => return,
                Err(error) => {
                    self.tell(LogEvent::Failed { message: error.to_string() });
                    return;
                }
            }
        }
        let last = if self.store.is_snapshotting() { self.written.recv().ok() } else { None };
        if let Some(Err(error)) = last.map(|written| self.finish_snapshot(written)) {
            tracing::warn!("the last snapshot was not written: {error}");
        }
        if let Err(error) = self.store.close() {
            tracing::warn!("the state was not closed cleanly, the next start replays it: {error}");
        }
    }

    fn next(&mut self) -> Next {
        if let Some(command) = self.deferred.pop_front() {
            return Next::Command(command);
        }
        select! {
            recv(self.written) -> written => written.map_or(Next::End, Next::Written),
            recv(self.commands) -> command => command.map_or(Next::End, Next::Command),
        }
    }

    /// Answers whether the thread is still wanted.
    fn append(&mut self, mut record: EpochRecord, outbox: &[Owed]) -> Result<bool, WriteError> {
        let kept = if Bug::KeepNothing.is_in() { &[] } else { outbox };
        for Owed { sink, entry } in kept {
            let mut payload = self.buffers.pop().unwrap_or_default();
            if let Err(error) = crate::outbox::encode(entry.cut.as_deref(), &entry.data, &mut payload) {
                self.tell(LogEvent::Failed {
                    message: format!("rows of epoch {} cannot be stored: {error}", entry.epoch),
                });
                return Ok(false);
            }
            record.outbox.push(OutboxEntry { sink: *sink, previous: entry.previous, payload });
        }
        let wanted = self.append_encoded(&record);
        let largest = |buffer: &Vec<u8>| buffer.capacity() <= MAX_KEPT_BUFFER_BYTES;
        self.buffers.extend(record.outbox.into_iter().map(|entry| entry.payload).filter(largest));
        wanted
    }

    fn append_encoded(&mut self, record: &EpochRecord) -> Result<bool, WriteError> {
        loop {
            match self.store.append(record) {
                Ok(()) => {
                    let snapshot_due = self.store.snapshot_due();
                    self.tell(LogEvent::Written { epoch: record.epoch, snapshot_due, sizes: self.store.sizes() });
                    return Ok(true);
                }
                Err(error) if error.may_retry() => {
                    self.tell(LogEvent::Full { epoch: record.epoch, message: error.to_string() });
                    if !self.wait_for_space()? {
                        return Ok(false);
                    }
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// Waits a moment; a snapshot that is finished meanwhile may free the space. Answers whether to go on.
    fn wait_for_space(&mut self) -> Result<bool, WriteError> {
        let until = Instant::now() + FULL_BACK_OFF;
        while let Some(left) = until.checked_duration_since(Instant::now()) {
            select! {
                recv(self.written) -> written => match written {
                    Ok(written) => self.finish_snapshot(written)?,
                    Err(_) => return Ok(false),
                },
                recv(self.commands) -> command => match command {
                    Ok(command) => self.deferred.push_back(command),
                    Err(_) => return Ok(false),
                },
                default(left) => {}
            }
        }
        Ok(true)
    }

    fn finish_snapshot(&mut self, written: Result<WrittenSnapshot, WriteError>) -> Result<(), WriteError> {
        match self.store.finish_snapshot(written) {
            // The log still has everything; the key group is asked for again when it is due.
            Err(error) if error.may_retry() => {
                tracing::warn!("a snapshot was not written: {error}");
                Ok(())
            }
            result => result,
        }
    }

    fn tell(&self, event: LogEvent) {
        // The coordinator outlives this thread; when it is gone nobody needs to know.
        let _ = self.events.send(event);
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::sync::Arc;

    use weir_state::Identity;
    use weir_state::sim::SimDisk;

    use super::*;

    #[test]
    fn a_snapshot_that_is_asked_for_while_another_is_written_is_left_for_later() {
        let identity = Identity { pipeline: "p".into(), key_groups: 2, created_us: 0, generation: 1 };
        let (store, recovered) = Store::open(Arc::new(SimDisk::new()), Path::new("/state"), &identity).unwrap();
        recovered.state.check(1).unwrap();
        let (commands_out, commands) = unbounded();
        let (events, told) = unbounded();
        let (jobs, jobs_in) = bounded::<SnapshotJob>(1);
        let (written_out, written) = unbounded();
        for epoch in 1..=2 {
            let record = EpochRecord { epoch, ..EpochRecord::default() };
            commands_out.send(LogCommand::Append { record, outbox: Vec::new() }).unwrap();
        }
        for key_group in 0..2 {
            commands_out.send(LogCommand::Snapshot { key_group, epoch: 2, deltas: Vec::new() }).unwrap();
        }
        drop(commands_out);
        let waiting = commands.clone();
        // Writes the first only when the second has been asked for; answers how many there were.
        let writer = std::thread::spawn(move || {
            let mut jobs = 0;
            for job in jobs_in.iter() {
                while !waiting.is_empty() {
                    std::thread::yield_now();
                }
                jobs += 1;
                written_out.send(job.write()).unwrap();
            }
            jobs
        });
        let (deferred, buffers) = (VecDeque::new(), Vec::new());
        LogWriter { store, commands, events, jobs, written, deferred, buffers }.run();
        assert_eq!(writer.join().unwrap(), 1);
        assert!(told.try_iter().all(|event| matches!(event, LogEvent::Written { .. })));
    }
}
