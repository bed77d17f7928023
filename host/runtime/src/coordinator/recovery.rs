//! What an incarnation starts from, as the store and the outer loop give it to the coordinator.

use std::collections::BTreeMap;
use std::sync::Arc;

use weir_stream::SinkEpoch;

use super::replaying::Replay;
use super::swapping::Watch;
use crate::meta::EpochMeta;

/// The starting point of a coordinator.
pub struct Recovery {
    /// The last durable epoch, 0 for none.
    pub last_epoch: u64,
    pub meta: EpochMeta,
    /// By sink number of the plan.
    pub sinks: Vec<RecoveredSink>,
    pub snapshot_due: Option<u16>,
    /// Plugins that were being watched when the last incarnation ended.
    pub watch: Vec<Watch>,
    /// Rows by which a version's share of rejects is told.
    pub reject_window: u64,
    /// Of the state folder.
    pub generation: u64,
    /// What is to be made again before the run goes on as always.
    pub replay: Option<Replay>,
}

/// One sink's acknowledged epoch and what it is still owed.
#[derive(Default)]
pub struct RecoveredSink {
    pub acked: u64,
    pub owed: Vec<SinkEpoch>,
}

impl RecoveredSink {
    pub(super) fn for_protocol(&self) -> (u64, Vec<(u64, u64)>) {
        let owed = self.owed.iter().map(|entry| (entry.epoch, super::gathering::byte_size(&entry.data)));
        (self.acked, owed.collect())
    }

    pub(super) fn into_owed(self) -> BTreeMap<u64, Arc<SinkEpoch>> {
        self.owed.into_iter().map(|entry| (entry.epoch, Arc::new(entry))).collect()
    }
}
