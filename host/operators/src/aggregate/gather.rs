//! A window's result out of its panes.

use std::collections::{BTreeMap, BTreeSet};

use weir_stream::key;

use super::finish::Place;
use super::merge::{MergeOverflow, Pair};
use super::slots::Accumulators;
use super::{Aggregate, KeyTable};
use crate::operator::StepFault;

/// Keys by key group, with what their panes hold together.
#[derive(Debug, Default)]
pub(super) struct Gathered {
    groups: BTreeMap<u16, KeyTable>,
    /// Slots whose panes do not fit together.
    overflows: BTreeMap<(u16, u32), MergeOverflow>,
}

impl Gathered {
    /// For these keys alone.
    pub(super) fn of_keys(groups: BTreeMap<u16, KeyTable>) -> Self {
        Self { groups, overflows: BTreeMap::new() }
    }

    /// Adds every key of a pane.
    ///
    /// # Errors
    /// See [`Accumulators::merge`].
    pub(super) fn add(
        &mut self,
        aggregates: &[Aggregate],
        key_group: u16,
        pane: &KeyTable,
        empty: &Accumulators,
    ) -> Result<(), StepFault> {
        let group = self.groups.entry(key_group).or_insert_with(|| KeyTable::new(empty.clone()));
        let keys = (0..pane.len() as u32).map(|slot| pane.key(slot)).map(|key| (key::hash(key), key));
        let mut slots = Vec::with_capacity(pane.len());
        group.touch(keys, &mut slots);
        let pairs: Vec<Pair> = (0..).zip(slots).map(|(from, to)| Pair { to, from }).collect();
        self.merge(aggregates, key_group, &pairs, pane)
    }

    /// Adds a pane's values of the keys that are here already.
    ///
    /// # Errors
    /// See [`Accumulators::merge`].
    pub(super) fn add_known(
        &mut self,
        aggregates: &[Aggregate],
        key_group: u16,
        pane: &KeyTable,
    ) -> Result<(), StepFault> {
        let Some(group) = self.groups.get(&key_group) else { return Ok(()) };
        let find = |to: u32| {
            let key = group.key(to);
            Some(Pair { to, from: pane.find(key::hash(key), key)? })
        };
        let pairs: Vec<Pair> = (0..group.len() as u32).filter_map(find).collect();
        self.merge(aggregates, key_group, &pairs, pane)
    }

    fn merge(
        &mut self,
        aggregates: &[Aggregate],
        key_group: u16,
        pairs: &[Pair],
        pane: &KeyTable,
    ) -> Result<(), StepFault> {
        let group = self.groups.get_mut(&key_group).expect("the caller has found the key group");
        for overflow in group.slots_mut().merge(aggregates, pairs, Some(pane.slots()))? {
            self.overflows.entry((key_group, overflow.pair.to)).or_insert(overflow);
        }
        Ok(())
    }

    pub(super) fn tables(&self) -> Vec<&KeyTable> {
        self.groups.values().collect()
    }

    /// Where in [`Gathered::tables`] the slots are that do not fit.
    pub(super) fn without(&self) -> BTreeSet<Place> {
        self.overflowed().into_iter().map(|(place, _)| place).collect()
    }

    /// The same, each with why.
    pub(super) fn overflowed(&self) -> Vec<(Place, &MergeOverflow)> {
        let table = |key_group: u16| self.groups.range(..key_group).count() as u32;
        let place = |(key_group, slot): &(u16, u32)| Place { table: table(*key_group), slot: *slot };
        self.overflows.iter().map(|(at, overflow)| (place(at), overflow)).collect()
    }
}
