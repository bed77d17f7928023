//! How far a sink's rows go: what a target remembers beside the epoch that it holds, so that a run which begins from an
//! older savepoint can make the same rows again and keep them back.
//!
//! Invariant: rows given to the sink are those of the sources' records before [`Cut::positions`] and of event time up to
//! [`Cut::stages`]: whoever reads so far from the same state, with the same logic, has made the same rows. Epoch numbers
//! play no part: a run that reads again cuts its epochs elsewhere.

pub mod logic;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use weir_stream::Position;

use crate::meta::EpochMeta;

const VERSION: u32 = 1;

/// As JSON in the target, next to the epoch.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cut {
    version: u32,
    /// The generation and epoch of the state folder that it is of.
    pub generation: u64,
    pub epoch: u64,
    /// By `source/partition`; a partition that is not here was not read from.
    pub positions: BTreeMap<String, ReadTo>,
    /// Combined watermark by keyed step.
    pub stages: BTreeMap<String, i64>,
    /// What made the rows: a fingerprint of the sink and of each source and step before it.
    pub logic: BTreeMap<String, String>,
    /// The digest that ran in each plugin step before it.
    pub plugins: BTreeMap<String, String>,
    /// Rows given to the sink since the pipeline was created.
    pub rows: u64,
}

/// Where reading of a partition goes on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReadTo {
    #[serde(rename = "to")]
    pub offset: i64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file: Option<String>,
}

impl ReadTo {
    pub fn position(&self) -> Position {
        Position { offset: self.offset, file: self.file.as_deref().map(Into::into) }
    }

    /// Files come in the order of their names.
    fn is_behind(&self, other: &Self) -> bool {
        (&self.file, self.offset) > (&other.file, other.offset)
    }
}

/// Which of two cuts is behind the other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    Before,
    Same,
    Behind,
    /// Some partitions are before, others behind: the two are not of one run.
    Neither,
}

/// Why a target's text is no cut.
#[derive(Debug, thiserror::Error)]
pub enum CutError {
    #[error("it is of version {0}, this Weir reads version {VERSION}")]
    Version(u32),
    #[error("it cannot be read: {0}")]
    Malformed(#[from] serde_json::Error),
}

/// The positions of an epoch.
pub fn positions(meta: &EpochMeta) -> BTreeMap<String, ReadTo> {
    let read = meta.positions.iter().filter_map(|(place, stored)| {
        let offset = stored.next_offset?;
        Some((place.clone(), ReadTo { offset, file: stored.file.clone() }))
    });
    read.collect()
}

impl Cut {
    /// What is so far at the end of an epoch; `logic` is what made the sink's rows.
    pub fn of(meta: &EpochMeta, (generation, epoch): (u64, u64), logic: &BTreeMap<String, String>, rows: u64) -> Self {
        let plugins = meta.plugins.iter().filter(|(step, _)| logic.contains_key(*step));
        let stages = meta.stages.iter().filter(|(step, _)| logic.contains_key(*step));
        Self {
            version: VERSION,
            generation,
            epoch,
            positions: positions(meta),
            stages: stages.map(|(step, watermark_us)| (step.clone(), *watermark_us)).collect(),
            logic: logic.clone(),
            plugins: plugins.map(|(step, stored)| (step.clone(), stored.made_by.clone())).collect(),
            rows,
        }
    }

    pub fn encode(&self) -> String {
        serde_json::to_string(self).expect("maps of plain values always serialise")
    }

    /// # Errors
    /// See [`CutError`].
    pub fn decode(text: &str) -> Result<Self, CutError> {
        #[derive(Deserialize)]
        struct Versioned {
            version: u32,
        }
        let Versioned { version } = serde_json::from_str(text)?;
        if version != VERSION {
            return Err(CutError::Version(version));
        }
        Ok(serde_json::from_str(text)?)
    }

    /// Where this cut lies as seen from `other`.
    pub fn order(&self, other: &BTreeMap<String, ReadTo>) -> Order {
        order(&self.positions, other)
    }

    /// Whether a run comes by this cut before it comes by `other`: with fewer records, or earlier in event time.
    pub fn is_before(&self, other: &Self) -> bool {
        let earlier =
            |(step, watermark_us): (&String, &i64)| other.stages.get(step).is_some_and(|at| watermark_us < at);
        match self.order(&other.positions) {
            Order::Before => true,
            Order::Same => self.stages.iter().any(earlier),
            Order::Behind | Order::Neither => false,
        }
    }

    /// Whether a run that has come to `other` has come to this cut with it.
    pub fn is_reached_at(&self, other: &Self) -> bool {
        let there = |(step, watermark_us): (&String, &i64)| other.stages.get(step).is_some_and(|at| watermark_us <= at);
        self.order(&other.positions) == Order::Same && self.stages.iter().all(there)
    }
}

/// Where `these` positions lie as seen from `others`. A partition that is not there is at its beginning.
pub fn order(these: &BTreeMap<String, ReadTo>, others: &BTreeMap<String, ReadTo>) -> Order {
    let further = |these: &BTreeMap<String, ReadTo>, others: &BTreeMap<String, ReadTo>| {
        these.iter().any(|(place, read)| others.get(place).is_none_or(|other| read.is_behind(other)))
    };
    match (further(these, others), further(others, these)) {
        (false, false) => Order::Same,
        (true, false) => Order::Behind,
        (false, true) => Order::Before,
        (true, true) => Order::Neither,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(places: &[(&str, i64, Option<&str>)]) -> BTreeMap<String, ReadTo> {
        let read = |(place, offset, file): &(&str, i64, Option<&str>)| {
            ((*place).to_owned(), ReadTo { offset: *offset, file: file.map(str::to_owned) })
        };
        places.iter().map(read).collect()
    }

    #[test]
    fn a_cut_comes_back_and_another_version_is_named() {
        let cut = Cut::of(&EpochMeta::default(), (2, 9), &BTreeMap::from([("clean".into(), "1f".into())]), 7);
        assert_eq!(Cut::decode(&cut.encode()).unwrap(), cut);
        let newer = cut.encode().replace("\"version\":1", "\"version\":2");
        assert!(matches!(Cut::decode(&newer), Err(CutError::Version(2))));
        assert!(matches!(Cut::decode("none"), Err(CutError::Malformed(_))));
    }

    #[test]
    fn of_cuts_at_the_same_records_the_one_earlier_in_event_time_comes_first() {
        let at = |stages: &[(&str, i64)]| {
            let mut cut = Cut::of(&EpochMeta::default(), (1, 1), &BTreeMap::new(), 0);
            cut.stages = stages.iter().map(|(step, watermark_us)| ((*step).to_owned(), *watermark_us)).collect();
            cut
        };
        let (none, early, late) = (at(&[]), at(&[("sums", 5)]), at(&[("sums", 9), ("top", 1)]));
        assert!(early.is_before(&late) && !late.is_before(&early));
        assert!(!none.is_before(&early) && !early.is_before(&none), "the one does not hear of the other's time");
        assert!(early.is_reached_at(&late) && none.is_reached_at(&early));
        assert!(!late.is_reached_at(&early) && !early.is_reached_at(&none));
    }

    #[test]
    fn positions_are_before_or_behind_in_every_partition_or_not_of_one_run() {
        let of = |places: &[_]| read(places);
        let two = of(&[("s/0", 5, None), ("s/1", 9, None)]);
        assert_eq!(order(&two, &two), Order::Same);
        assert_eq!(order(&of(&[("s/0", 6, None), ("s/1", 9, None)]), &two), Order::Behind);
        assert_eq!(order(&of(&[("s/0", 5, None)]), &two), Order::Before);
        assert_eq!(order(&of(&[("s/0", 6, None)]), &two), Order::Neither);
        let folder = of(&[("f/0", 3, Some("b"))]);
        assert_eq!(order(&folder, &of(&[("f/0", i64::MAX, Some("a"))])), Order::Behind);
    }
}
