//! Which keys changed in windows that show their results before they are gone.
//!
//! Kept in memory alone: what is pending is shown with every batch, or, where updates are throttled, again after a
//! restart.

use std::collections::{BTreeMap, BTreeSet};

use weir_state::table::{BucketedTable, TableError};
use weir_stream::key::hash;

use super::KeyTable;
use super::slots::Accumulators;
use crate::window::WindowGrid;

/// Slots by bucket and key group.
type Touched = BTreeMap<(i64, u16), Vec<u32>>;

#[derive(Debug, Clone, Default)]
pub(super) struct Pending {
    /// By pane.
    panes: Touched,
    /// By the start of the window that the rows were kept apart for.
    apart: Touched,
    /// Everything that is held: nobody knows what was shown before a restart.
    all: bool,
}

impl Pending {
    pub(super) fn is_empty(&self) -> bool {
        self.panes.is_empty() && self.apart.is_empty() && !self.all
    }

    pub(super) fn note_all(&mut self) {
        self.all = true;
    }

    pub(super) fn note(&mut self, apart: bool, bucket: i64, key_group: u16, slots: &[u32], held: usize) {
        let touched = if apart { &mut self.apart } else { &mut self.panes };
        let noted = touched.entry((bucket, key_group)).or_default();
        noted.extend_from_slice(slots);
        // A throttled key may change any number of times before it is shown.
        if noted.len() > 2 * held {
            noted.sort_unstable();
            noted.dedup();
        }
    }

    /// Notes all keys if that was put off until now.
    pub(super) fn resolve(
        &mut self,
        panes: &mut BucketedTable<Accumulators>,
        apart: &mut BucketedTable<Accumulators>,
    ) -> Result<(), TableError> {
        if !std::mem::take(&mut self.all) {
            return Ok(());
        }
        for (table, touched) in [(panes, &mut self.panes), (apart, &mut self.apart)] {
            for bucket in table.buckets().collect::<Vec<_>>() {
                for (key_group, keys) in table.bucket(bucket)? {
                    touched.insert((bucket, key_group), (0..keys.len() as u32).collect());
                }
            }
        }
        Ok(())
    }

    /// Starts of the windows with changed keys that `shows` wants, by their ends.
    pub(super) fn windows(&self, grid: &WindowGrid, shows: impl Fn(i64) -> bool) -> BTreeSet<i64> {
        let mut starts = BTreeSet::new();
        let mut last = None;
        for (pane, _) in self.panes.keys().filter(|(pane, _)| last.replace(*pane) != Some(*pane)) {
            starts.extend(grid.windows_of(*pane).filter(|(_, end)| shows(*end)).map(|(start, _)| start));
        }
        starts.extend(self.apart.keys().map(|(start, _)| *start).filter(|start| shows(grid.end_of(*start))));
        starts
    }

    /// Puts the keys that changed in a window into empty tables, by key group.
    pub(super) fn keys(
        &self,
        (start, end): (i64, i64),
        panes: &mut BucketedTable<Accumulators>,
        apart: &mut BucketedTable<Accumulators>,
    ) -> Result<BTreeMap<u16, KeyTable>, TableError> {
        let (mut keys, mut found) = (BTreeMap::new(), Vec::new());
        let of_panes = self.panes.range((start, 0)..(end, 0));
        let of_apart = self.apart.range((start, 0)..=(start, u16::MAX));
        for (held, touched) in [(panes, of_panes.collect::<Vec<_>>()), (apart, of_apart.collect())] {
            let empty = held.empty().clone();
            for ((bucket, key_group), slots) in touched {
                let Some((_, table)) = held.bucket(*bucket)?.find(|(group, _)| group == key_group) else { continue };
                let changed: &mut KeyTable = keys.entry(*key_group).or_insert_with(|| KeyTable::new(empty.clone()));
                let hashed = slots.iter().map(|slot| table.key(*slot)).map(|key| (hash(key), key));
                changed.touch(hashed, &mut found);
                found.clear();
            }
        }
        Ok(keys)
    }
}
