//! From the parts of a sealed barrier to a numbered epoch: its record, and what it owes each sink.

use std::sync::Arc;

use weir_checkpoint::{Input, SealedEpoch};
use weir_state::EpochRecord;
use weir_stream::{Bug, SinkData, SinkEpoch, SinkReject};

use super::{Coordinator, SinkWiring, gathering};
use crate::cut::Cut;
use crate::log_writer::{LogCommand, Owed};

impl Coordinator {
    /// All parts of a barrier are in: number the epoch, if something happened, and build its record.
    pub(super) fn seal(&mut self, barrier: u64) {
        let Some(mut contents) = self.gathering.finish(barrier, &mut self.meta) else { return };
        let caught_up = self.keep_back(barrier, &mut contents);
        if self.outcome.is_some() {
            return;
        }
        let dead_letters = self.letters_go_to();
        let rejects = if self.letters_are_kept_back() { Vec::new() } else { self.rejects.take() };
        let mut outbox: Vec<(usize, u64)> =
            contents.outputs.iter().map(|(sink, data)| (*sink, gathering::byte_size(data))).collect();
        let letters = !contents.dead_letters.is_empty() || !rejects.is_empty();
        if let (true, Some(sink)) = (letters, dead_letters) {
            outbox.push((sink, gathering::LETTER_BYTES * (contents.dead_letters.len() + rejects.len()) as u64));
        }
        let swapped = self.swaps.sealed(barrier, self.protocol.assigned() + 1, &mut self.meta);
        let changed = contents.changed || letters || swapped || caught_up;
        // The record must be ready before the protocol's effects name it.
        if changed {
            self.wiring.status.sealed(barrier, self.protocol.assigned() + 1);
            self.number(contents, rejects);
        }
        self.input(Input::Sealed { barrier, epoch: SealedEpoch { changed, outbox } });
    }

    pub(super) fn number(&mut self, contents: gathering::Contents, rejects: Vec<(usize, SinkReject)>) {
        let epoch = self.protocol.assigned() + 1;
        for (sink, reject) in &rejects {
            if let Some(stored) = self.meta.sinks.get_mut(&*self.wiring.sinks[*sink].name) {
                stored.rejects_through = stored.rejects_through.max(reject.epoch);
            }
        }
        self.rejects.sealed(epoch, &rejects);
        let mut outputs = contents.outputs;
        let letters =
            gathering::letters(&self.wiring.pipeline, epoch, contents.dead_letters, rejects, &self.wiring.sinks);
        if let (Some(_), Some(sink), false) = (self.letters_go_to(), &self.wiring.dead_letters, letters.is_empty()) {
            outputs.push((sink.number, sink.encode(&letters)));
        }
        self.wiring.status.dead_letters(letters.len() as u64);
        let mut outbox = Vec::with_capacity(outputs.len());
        for (sink, data) in outputs {
            outbox.extend(self.owe(sink, epoch, data));
        }
        if let Some((key_group, deltas)) = contents.snapshot {
            self.snapshots.insert(epoch, LogCommand::Snapshot { key_group, epoch, deltas });
        }
        self.meta_at_append.insert(epoch, self.meta.clone());
        let record = EpochRecord { epoch, meta: Vec::new(), deltas: contents.deltas, outbox: Vec::new() };
        self.sealed.insert(epoch, (record, outbox));
    }

    fn owe(&mut self, sink: usize, epoch: u64, data: SinkData) -> Option<Owed> {
        let SinkWiring { name, logic, .. } = &self.wiring.sinks[sink];
        let given = self.meta.sinks.get(&**name)?.given;
        let cut = Cut::of(&self.meta, (self.generation, epoch), logic, given).encode();
        let stored = self.meta.sinks.get_mut(&**name)?;
        let newest = std::mem::replace(&mut stored.newest, epoch);
        let previous = if Bug::PreviousIsEpochBefore.is_in() { epoch - 1 } else { newest };
        let entry = Arc::new(SinkEpoch { epoch, previous, cut: Some(cut.into()), data: Arc::new(data) });
        self.owed[sink].insert(epoch, Arc::clone(&entry));
        Some(Owed { sink: stored.number, entry })
    }
}
