//! Puts the parts of all tasks together to the contents of one epoch. Pure bookkeeping: nothing is sent from here.

use std::collections::BTreeMap;
use std::sync::Arc;

use weir_state::StateDelta;
use weir_stream::time::NO_WATERMARK;
use weir_stream::{DeadLetter, PayloadBlock, PayloadBuilder, SinkData, SinkReject};

use super::SinkWiring;
use crate::barrier::TaskPart;
use crate::meta::EpochMeta;

/// A dead letter in the outbox, about: only for bounds.
pub const LETTER_BYTES: u64 = 512;

/// Parts of barriers on their way.
pub struct Gathering {
    tasks: usize,
    open: BTreeMap<u64, Parts>,
}

struct Parts {
    parts: Vec<TaskPart>,
    snapshot: Option<u16>,
}

/// What all tasks together handed in for one barrier.
#[derive(Default)]
pub struct Contents {
    pub changed: bool,
    pub deltas: Vec<StateDelta>,
    pub snapshot: Option<(u16, Vec<StateDelta>)>,
    /// At most one entry a sink.
    pub outputs: Vec<(usize, SinkData)>,
    pub dead_letters: Vec<DeadLetter>,
}

impl Gathering {
    pub fn new(tasks: usize) -> Self {
        Self { tasks, open: BTreeMap::new() }
    }

    pub fn expect(&mut self, barrier: u64, snapshot: Option<u16>) {
        self.open.insert(barrier, Parts { parts: Vec::with_capacity(self.tasks), snapshot });
    }

    /// Answers whether the barrier is complete.
    pub fn add(&mut self, barrier: u64, part: TaskPart) -> bool {
        let parts = self.open.get_mut(&barrier).expect("tasks pass only barriers that were injected");
        parts.parts.push(part);
        parts.parts.len() == self.tasks
    }

    /// Merges the parts, in task order so that equal parts give equal epochs, and brings `meta` up to them.
    pub fn finish(&mut self, barrier: u64, meta: &mut EpochMeta) -> Option<Contents> {
        let Parts { mut parts, snapshot } = self.open.remove(&barrier)?;
        parts.sort_by_key(|part| part.task);
        let mut contents = Contents::default();
        let mut outputs = BTreeMap::<usize, SinkData>::new();
        let mut snapshot_deltas = Vec::new();
        for part in parts {
            contents.changed |= bring_up(meta, &part) || !part.deltas.is_empty() || !part.outputs.is_empty();
            contents.deltas.extend(part.deltas);
            contents.dead_letters.extend(part.dead_letters);
            snapshot_deltas.extend(part.snapshot);
            part.outputs.into_iter().for_each(|(sink, data)| merge(&mut outputs, sink, data));
        }
        contents.snapshot = snapshot.map(|key_group| (key_group, snapshot_deltas));
        contents.outputs = outputs.into_iter().collect();
        Some(contents)
    }
}

/// Notes positions, watermarks and counts; answers whether any of them moved.
fn bring_up(meta: &mut EpochMeta, part: &TaskPart) -> bool {
    let mut changed = part.position.as_ref().is_some_and(|position| meta.set_position(position));
    if let Some((stage, watermark_us)) = &part.stage_watermark {
        // At the end of time each task says what it fired itself; the stage has reached the largest.
        let reached = meta.stages.entry(stage.to_string()).or_insert(NO_WATERMARK);
        changed |= *watermark_us > *reached;
        *reached = (*reached).max(*watermark_us);
    }
    for (step, counts) in part.counts.iter().filter(|(_, counts)| !counts.is_zero()) {
        meta.counts.entry(step.to_string()).or_default().add(*counts);
        changed = true;
    }
    changed
}

fn merge(outputs: &mut BTreeMap<usize, SinkData>, sink: usize, data: SinkData) {
    match (outputs.get_mut(&sink), data) {
        (None, data) => {
            outputs.insert(sink, data);
        }
        (Some(SinkData::Payloads(blocks)), SinkData::Payloads(more)) => blocks.extend(more),
        (Some(SinkData::Rows(blocks)), SinkData::Rows(more)) => blocks.extend(more),
        (Some(_), _) => unreachable!("a sink takes either payloads or rows, fixed by the plan"),
    }
}

pub fn byte_size(data: &SinkData) -> u64 {
    match data {
        SinkData::Payloads(blocks) => blocks.iter().map(|block| block.values.byte_size() as u64).sum(),
        SinkData::Rows(blocks) => blocks.iter().map(|block| block.rows.get_array_memory_size() as u64).sum(),
    }
}

/// Where dead letters go.
pub struct DeadLetterSink {
    /// Number among the pipeline's sinks.
    pub number: usize,
}

impl DeadLetterSink {
    /// One JSON object a letter.
    pub fn encode(&self, letters: &[DeadLetter]) -> SinkData {
        let mut values = PayloadBuilder::with_capacity(letters.len(), letters.len() * 512);
        for letter in letters {
            serde_json::to_writer(values.buffer(), letter).expect("writing plain values to memory does not fail");
            values.end_payload();
        }
        let timestamps_us = vec![weir_stream::record::NO_TIMESTAMP; letters.len()];
        SinkData::Payloads(vec![PayloadBlock { values: values.finish(), keys: None, timestamps_us }])
    }
}

/// The dead letters of an epoch: those of tasks, now that the epoch has its number, and those of sinks.
pub fn letters(
    pipeline: &Arc<str>,
    epoch: u64,
    mut of_tasks: Vec<DeadLetter>,
    of_sinks: Vec<(usize, SinkReject)>,
    sinks: &[SinkWiring],
) -> Vec<DeadLetter> {
    of_tasks.iter_mut().for_each(|letter| letter.epoch = epoch);
    of_tasks.extend(of_sinks.into_iter().map(|(sink, reject)| DeadLetter {
        pipeline: Arc::clone(pipeline),
        epoch,
        step: Arc::clone(&sinks[sink].name),
        stage: "sink".into(),
        code: reject.code.into(),
        reason: format!("epoch {}, row {}: {}", reject.epoch, reject.row, reject.reason),
        plugin: None,
        topic: "".into(),
        partition: 0,
        offset: -1,
        line: None,
        timestamp_us: None,
        payload: reject.payload,
    }));
    of_tasks
}

/// Rejects of sinks on their way to the dead letters; each counts once, whatever a target tells twice.
#[derive(Default)]
pub struct SinkRejects {
    waiting: BTreeMap<(usize, u64, u64), SinkReject>,
    /// By the epoch that holds them as dead letters: (sink, through).
    sealed: BTreeMap<u64, Vec<(usize, u64)>>,
    /// Newest epoch whose rejects were taken, by sink.
    taken: BTreeMap<usize, u64>,
}

impl SinkRejects {
    /// `through`: rejects of this epoch and before are dead letters already.
    pub fn add(&mut self, sink: usize, rejects: Vec<SinkReject>, through: u64) {
        let through = through.max(self.taken.get(&sink).copied().unwrap_or(0));
        for reject in rejects.into_iter().filter(|reject| reject.epoch > through) {
            self.waiting.insert((sink, reject.epoch, reject.row), reject);
        }
    }

    pub fn any(&self) -> bool {
        !self.waiting.is_empty()
    }

    pub fn take(&mut self) -> Vec<(usize, SinkReject)> {
        std::mem::take(&mut self.waiting).into_iter().map(|((sink, ..), reject)| (sink, reject)).collect()
    }

    pub fn sealed(&mut self, epoch: u64, rejects: &[(usize, SinkReject)]) {
        for (sink, reject) in rejects {
            let newest = self.taken.entry(*sink).or_default();
            *newest = reject.epoch.max(*newest);
            self.sealed.entry(epoch).or_default().push((*sink, *newest));
        }
    }

    /// What sinks may forget now that `epoch` is durable: (sink, through).
    pub fn durable(&mut self, epoch: u64) -> Vec<(usize, u64)> {
        self.sealed.remove(&epoch).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::barrier::StepCounts;

    fn part(task: usize, payload: &'static [u8]) -> TaskPart {
        let block = PayloadBlock { values: [payload].into_iter().collect(), keys: None, timestamps_us: vec![0] };
        TaskPart { task, outputs: vec![(0, SinkData::Payloads(vec![block]))], ..TaskPart::default() }
    }

    #[test]
    fn an_epoch_is_complete_with_its_last_part_and_merged_in_task_order() {
        let (mut gathering, mut meta) = (Gathering::new(2), EpochMeta::default());
        gathering.expect(1, None);
        assert!(!gathering.add(1, part(1, b"second")));
        assert!(gathering.add(1, part(0, b"first")));
        let contents = gathering.finish(1, &mut meta).unwrap();
        let [(0, SinkData::Payloads(blocks))] = &contents.outputs[..] else { panic!("one entry for one sink") };
        let payloads: Vec<_> = blocks.iter().map(|block| block.values.get(0)).collect();
        assert_eq!(payloads, [b"first".as_slice(), b"second"]);
    }

    #[test]
    fn parts_without_anything_are_no_change() {
        let (mut gathering, mut meta) = (Gathering::new(1), EpochMeta::default());
        gathering.expect(1, None);
        let counts = vec![("clean".into(), StepCounts::default())];
        gathering.add(1, TaskPart { counts, ..TaskPart::default() });
        assert!(!gathering.finish(1, &mut meta).unwrap().changed);
    }

    #[test]
    fn a_sinks_reject_that_is_told_twice_counts_once() {
        let reject =
            |epoch, row| SinkReject { epoch, row, code: "c".into(), reason: String::new(), payload: Vec::new() };
        let mut rejects = SinkRejects::default();
        rejects.add(0, vec![reject(4, 1), reject(4, 1), reject(2, 9)], 2);
        let taken = rejects.take();
        assert_eq!(taken.len(), 1);
        rejects.sealed(7, &taken);
        rejects.add(0, vec![reject(4, 1)], 0);
        assert!(rejects.take().is_empty());
        assert_eq!(rejects.durable(7), [(0, 4)]);
    }
}
