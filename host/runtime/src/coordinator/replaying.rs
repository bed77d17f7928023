//! Making again what targets hold already: a run that began from an older savepoint reads up to where each target's rows
//! end, keeps those rows back, and only then goes on.
//!
//! Invariant: nothing that is kept back is owed to anyone; a target's rows go on behind its cut and not before. The
//! sources stand at the cut when its barrier is sent, so what the barrier seals is exactly what the target holds.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use weir_stream::{PartitionReader, Position, SinkData};

use super::gathering::Contents;
use super::{Coordinator, Outcome};
use crate::cut::{Cut, ReadTo};
use crate::meta::EpochMeta;
use crate::read_until::ReadUntil;

/// What an incarnation reads up to, before it goes on as always.
#[derive(Debug, Clone)]
pub struct Replay {
    pub cut: Arc<Cut>,
    /// Source partitions that have come so far.
    pub reached: Arc<AtomicUsize>,
}

impl Replay {
    /// The nearest place up to which something is kept back.
    pub fn next(meta: &EpochMeta) -> Option<Self> {
        let cuts = || meta.kept.values();
        let nearest = cuts().find(|cut| !cuts().any(|other| other.is_before(cut)))?;
        Some(Self { cut: Arc::new(nearest.clone()), reached: Arc::default() })
    }

    /// A reader of a partition that stops at the cut.
    pub fn read(
        &self,
        reader: Box<dyn PartitionReader>,
        source: &str,
        partition: u32,
        from: Option<&Position>,
    ) -> Box<dyn PartitionReader> {
        let until = self.cut.positions.get(&format!("{source}/{partition}")).map(ReadTo::position);
        Box::new(ReadUntil::new(reader, from, until, Arc::clone(&self.reached)))
    }
}

/// Where a replay is.
#[derive(Debug, Default)]
pub enum Replaying {
    /// Nothing is made again, or no more.
    #[default]
    No,
    Reading(Replay),
    /// Everything is read; the barrier of this number closes it.
    Closing(Replay, u64),
}

impl Coordinator {
    /// Asks for the closing barrier once every partition stands at the cut.
    pub(super) fn watch_replay(&mut self) {
        if self.replay_is_read() {
            self.input(weir_checkpoint::Input::BarrierWanted);
        }
    }

    fn replay_is_read(&self) -> bool {
        let Replaying::Reading(replay) = &self.replaying else { return false };
        replay.reached.load(Ordering::Acquire) >= self.wiring.source_tasks
    }

    /// How far keyed steps are to be brought by the barrier, if it is the closing one.
    pub(super) fn stages_to_reach(&mut self, barrier: u64) -> Option<Arc<Cut>> {
        if !self.replay_is_read() {
            return None;
        }
        let Replaying::Reading(replay) = std::mem::take(&mut self.replaying) else { return None };
        let cut = Arc::clone(&replay.cut);
        self.replaying = Replaying::Closing(replay, barrier);
        Some(cut)
    }

    /// Counts what is given to each sink, and takes out what its target holds. Answers whether the replay is over.
    pub(super) fn keep_back(&mut self, barrier: u64, contents: &mut Contents) -> bool {
        let letters = self.wiring.dead_letters.as_ref().map(|sink| (sink.number, contents.dead_letters.len() as u64));
        let given = contents.outputs.iter().map(|(sink, data)| (*sink, rows(data))).chain(letters);
        for (sink, rows) in given {
            if let Some(stored) = self.meta.sinks.get_mut(&*self.wiring.sinks[sink].name) {
                stored.given += rows;
            }
        }
        if self.meta.kept.is_empty() {
            return false;
        }
        let kept = |sink: usize| self.meta.kept.contains_key(&*self.wiring.sinks[sink].name);
        contents.outputs.retain(|(sink, _)| !kept(*sink));
        if letters.is_some_and(|(sink, _)| kept(sink)) {
            contents.dead_letters.clear();
        }
        matches!(&self.replaying, Replaying::Closing(_, closing) if *closing == barrier) && self.close_replay()
    }

    /// Where dead letters go, unless the target has those of this epoch.
    pub(super) fn letters_go_to(&self) -> Option<usize> {
        let sink = self.wiring.dead_letters.as_ref()?.number;
        (!self.letters_are_kept_back()).then_some(sink)
    }

    /// While they are, rows that sinks refuse are not sealed: their targets remember them.
    pub(super) fn letters_are_kept_back(&self) -> bool {
        let sink = self.wiring.dead_letters.as_ref().map(|sink| &self.wiring.sinks[sink.number].name);
        sink.is_some_and(|name| self.meta.kept.contains_key(&**name))
    }

    fn is_exact(&self, sink: &str) -> bool {
        self.wiring.sinks.iter().any(|wiring| &*wiring.name == sink && wiring.exact)
    }

    /// What was made again is as much as the targets hold, or the run ends.
    fn close_replay(&mut self) -> bool {
        let Replaying::Closing(replay, _) = std::mem::take(&mut self.replaying) else { return false };
        let reached = self.meta.kept.iter().filter(|(_, cut)| cut.is_reached_at(&replay.cut));
        let reached: Vec<String> = reached.map(|(sink, _)| sink.clone()).collect();
        for sink in reached {
            let given = self.meta.sinks.get(&sink).map_or(0, |stored| stored.given);
            let Some(cut) = self.meta.kept.remove(&sink) else { continue };
            if self.is_exact(&sink) && cut.rows != given {
                let message = format!(
                    "sink `{sink}`: up to epoch {} its target got {} rows, made again they are {given}: input or logic is another",
                    cut.epoch, cut.rows
                );
                self.fail(&message, "restore the savepoint once more, with `fresh` or `overwrite` for this sink");
                return false;
            }
            tracing::info!("sink `{sink}`: made again what its target holds, {given} rows; it goes on from there");
        }
        // Once its epoch is durable the sources go on.
        self.fault.get_or_insert(Outcome::CaughtUp);
        true
    }
}

fn rows(data: &SinkData) -> u64 {
    match data {
        SinkData::Payloads(blocks) => blocks.iter().map(|block| block.values.len() as u64).sum(),
        SinkData::Rows(blocks) => blocks.iter().map(|block| block.rows.num_rows() as u64).sum(),
    }
}
