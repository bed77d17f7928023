//! What an epoch record says beside state and outbox: positions, time, plugins, sinks, counters.
//!
//! Stored as JSON with a version, so that a person can read it and a later Weir can add to it. Every epoch holds all of
//! it, not a delta: the newest record alone tells where the pipeline stands.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use weir_stream::Position;
use weir_stream::time::{InputTime, NO_WATERMARK};

use crate::barrier::{PartitionPosition, StepCounts};
use crate::cut::Cut;
use crate::reject_watch::Judged;

const VERSION: u32 = 1;

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EpochMeta {
    version: u32,
    /// By `source/partition`.
    pub positions: BTreeMap<String, StoredPosition>,
    /// Combined watermark by keyed stage.
    pub stages: BTreeMap<String, i64>,
    /// By step.
    pub plugins: BTreeMap<String, StoredPlugin>,
    /// Number of each sink in the outbox, what it has exposed, and its newest entry.
    pub sinks: BTreeMap<String, StoredSink>,
    /// Sums since the pipeline was created, by step.
    pub counts: BTreeMap<String, StepCounts>,
    /// The next number of a sink or keyed step: numbers are never given twice.
    next_number: u16,
    /// Number of each keyed step in the state, and what its stored entries depend on.
    pub steps: BTreeMap<String, StoredStep>,
    /// By sink, how far its target's rows go, while they are made again and kept back.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub kept: BTreeMap<String, Cut>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoredStep {
    pub number: u16,
    pub layout: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoredPosition {
    pub next_offset: Option<i64>,
    /// The file that the offset is in, where several make up the partition.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file: Option<String>,
    pub watermark_us: i64,
    pub idle: bool,
    pub max_event_time_us: i64,
}

impl StoredPosition {
    /// Where reading goes on, if anything was read.
    pub fn position(&self) -> Option<Position> {
        let file = self.file.as_deref().map(Into::into);
        self.next_offset.map(|offset| Position { offset, file })
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoredPlugin {
    /// Digest that made this epoch's rows.
    pub made_by: String,
    /// Digest that runs behind this epoch, and on after a restart.
    pub running: String,
    /// While `running` is watched: the digest to return to.
    pub previous: Option<String>,
    /// What that one made of its newest rows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before: Option<Judged>,
    /// Digest that the manifest resolved to when the pipeline last started; another one at the next start is a swap
    /// request.
    pub manifest: String,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoredSink {
    pub number: u16,
    pub acked: u64,
    /// Epoch of the sink's newest outbox entry; the next entry names it.
    pub newest: u64,
    /// Rejects of this epoch and before are dead letters already.
    pub rejects_through: u64,
    /// The generation in which it began anew in its target, under a name of its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub generation: Option<u64>,
    /// Rows given to it since the pipeline was created, kept back or not.
    #[serde(default)]
    pub given: u64,
    /// The target's number of an epoch less this state's.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub renumbered_by: i64,
}

fn is_zero(number: &i64) -> bool {
    *number == 0
}

#[derive(Debug, thiserror::Error)]
pub enum MetaError {
    #[error("epoch meta of version {0}; this Weir reads version {VERSION}")]
    Version(u32),
    #[error("epoch meta is malformed: {0}")]
    Malformed(#[from] serde_json::Error),
}

impl Default for EpochMeta {
    fn default() -> Self {
        Self {
            version: VERSION,
            positions: BTreeMap::new(),
            stages: BTreeMap::new(),
            plugins: BTreeMap::new(),
            sinks: BTreeMap::new(),
            counts: BTreeMap::new(),
            next_number: 0,
            steps: BTreeMap::new(),
            kept: BTreeMap::new(),
        }
    }
}

impl EpochMeta {
    pub fn encode(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("maps of plain values always serialise")
    }

    /// # Errors
    /// See [`MetaError`].
    pub fn decode(bytes: &[u8]) -> Result<Self, MetaError> {
        #[derive(Deserialize)]
        struct Versioned {
            version: u32,
        }
        let Versioned { version } = serde_json::from_slice(bytes)?;
        if version != VERSION {
            return Err(MetaError::Version(version));
        }
        Ok(serde_json::from_slice(bytes)?)
    }

    pub fn position(&self, source: &str, partition: u32) -> StoredPosition {
        self.positions.get(&format!("{source}/{partition}")).cloned().unwrap_or(StoredPosition {
            next_offset: None,
            file: None,
            watermark_us: NO_WATERMARK,
            idle: false,
            max_event_time_us: i64::MIN,
        })
    }

    /// Whether any partition of a source has a position.
    pub fn was_read(&self, source: &str) -> bool {
        let of_source = |key: &str| key.rsplit_once('/').is_some_and(|(of, _)| of == source);
        self.positions.iter().any(|(key, stored)| stored.next_offset.is_some() && of_source(key))
    }

    /// Notes a position; answers whether it changed.
    pub fn set_position(&mut self, position: &PartitionPosition) -> bool {
        let InputTime { watermark_us, idle } = position.time;
        let stored = StoredPosition {
            next_offset: position.position.as_ref().map(|position| position.offset),
            file: position.position.as_ref().and_then(|position| position.file.as_deref().map(str::to_owned)),
            watermark_us,
            idle,
            max_event_time_us: position.max_event_time_us,
        };
        let key = format!("{}/{}", position.source, position.partition);
        let changed = self.positions.get(&key) != Some(&stored);
        self.positions.insert(key, stored);
        changed
    }

    pub fn stage_watermark(&self, stage: &str) -> i64 {
        self.stages.get(stage).copied().unwrap_or(NO_WATERMARK)
    }

    /// What the target knows sink `name` as.
    pub fn sink_identity(&self, name: &str) -> String {
        let generation = self.sinks.get(name).and_then(|stored| stored.generation);
        generation.map_or_else(|| name.to_owned(), |generation| format!("{name}@{generation}"))
    }

    /// What the target knows sink `name` as, and how much larger it counts its epochs.
    pub fn target(&self, name: &str) -> (String, i64) {
        (self.sink_identity(name), self.sinks.get(name).map_or(0, |stored| stored.renumbered_by))
    }

    /// The number of sink `name`, a new one if it has none.
    pub fn sink_number(&mut self, name: &str) -> u16 {
        let next = &mut self.next_number;
        let stored = self
            .sinks
            .entry(name.to_owned())
            .or_insert_with(|| StoredSink { number: take(next), ..StoredSink::default() });
        stored.number
    }

    /// Forgets keyed steps that are not in the plan; one that returns begins anew. Answers their names.
    pub fn retire_steps(&mut self, planned: &[&str]) -> Vec<String> {
        let gone: Vec<String> = self.steps.keys().filter(|step| !planned.contains(&step.as_str())).cloned().collect();
        gone.iter().for_each(|step| self.drop_step(step));
        gone
    }

    /// Forgets a keyed step; its number is not given again, so what is stored under it means nothing any more.
    pub fn drop_step(&mut self, step: &str) {
        self.steps.remove(step);
        self.stages.remove(step);
    }

    /// The number of keyed step `id` in state deltas.
    ///
    /// # Errors
    /// The layout that the stored state has, when it is another one.
    pub fn step_number(&mut self, id: &str, layout: &str) -> Result<u16, String> {
        let next = &mut self.next_number;
        let stored = self.steps.entry(id.to_owned());
        let stored = stored.or_insert_with(|| StoredStep { number: take(next), layout: layout.to_owned() });
        if stored.layout == layout { Ok(stored.number) } else { Err(stored.layout.clone()) }
    }
}

fn take(next: &mut u16) -> u16 {
    let number = *next;
    *next += 1;
    number
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn meta_comes_back_and_another_version_is_named() {
        let mut meta = EpochMeta::default();
        assert_eq!((meta.sink_number("a"), meta.sink_number("b"), meta.sink_number("a")), (0, 1, 0));
        meta.counts.insert("clean".into(), StepCounts { rows_in: 3, ..StepCounts::default() });
        assert_eq!(EpochMeta::decode(&meta.encode()).unwrap(), meta);
        let newer = String::from_utf8(meta.encode()).unwrap().replace("\"version\":1", "\"version\":2");
        assert!(matches!(EpochMeta::decode(newer.as_bytes()), Err(MetaError::Version(2))));
    }

    #[test]
    fn a_position_that_stays_is_no_change() {
        let mut meta = EpochMeta::default();
        let position = PartitionPosition {
            source: "s".into(),
            partition: 1,
            position: Some(Position { offset: 5, file: Some("a".into()) }),
            time: InputTime { watermark_us: 3, idle: false },
            max_event_time_us: 4,
        };
        assert!(meta.set_position(&position));
        assert!(!meta.set_position(&position));
        assert_eq!(meta.position("s", 1).position(), position.position);
        assert!(meta.was_read("s") && !meta.was_read("t"));
    }
}
