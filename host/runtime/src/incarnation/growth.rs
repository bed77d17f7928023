//! Looks for partitions that are added to a source while it is read, on a thread of its own: asking may take seconds.
//!
//! The thread only looks and tells. What follows is a new incarnation, which opens all partitions where the last epoch
//! left them and the added ones at their beginning.

use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender, bounded};

use super::OpenSource;
use crate::shared::{Shared, TaskEvent};

/// Ends the thread when it is dropped; a look that hangs in the network is left behind.
pub(super) struct Growth {
    _end: Sender<()>,
}

/// # Errors
/// When there is no thread to be had.
pub(super) fn watch(sources: Vec<OpenSource>, shared: &Arc<Shared>) -> io::Result<Growth> {
    let (end, ended) = bounded(0);
    let now = Instant::now();
    let growing = sources.into_iter().filter_map(|open| {
        let every = open.source.refresh()?;
        Some(Growing { open, every, due: now + every })
    });
    let growing: Vec<Growing> = growing.collect();
    if growing.is_empty() {
        return Ok(Growth { _end: end });
    }
    let shared = Arc::clone(shared);
    let thread = std::thread::Builder::new().name("partitions".into());
    thread.spawn(move || look(growing, &ended, &shared))?;
    Ok(Growth { _end: end })
}

struct Growing {
    open: OpenSource,
    every: Duration,
    due: Instant,
}

fn look(mut sources: Vec<Growing>, ended: &Receiver<()>, shared: &Shared) {
    while let Some(next) = sources.iter_mut().min_by_key(|growing| growing.due) {
        let waited = ended.recv_timeout(next.due.saturating_duration_since(Instant::now()));
        if waited != Err(crossbeam_channel::RecvTimeoutError::Timeout) {
            return;
        }
        next.due = Instant::now() + next.every;
        match next.open.source.partitions() {
            Ok(partitions) if partitions > next.open.partitions => {
                shared.tell(TaskEvent::PartitionsAdded { source: Arc::clone(&next.open.id), partitions });
                return;
            }
            // Fewer, or no answer: the readers tell what is wrong with a topic.
            Ok(_) => {}
            Err(error) => tracing::debug!("source {}: no look at its partitions: {error}", next.open.id),
        }
    }
}
