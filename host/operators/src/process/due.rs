//! Which keys have something to do at which time.
//!
//! Invariant: a key with a pending timer or a state that lapses stands in the list of its domain exactly once, at that
//! time or before it. A timer that is put off leaves its key where it stands: found too early, the key is listed anew.
//! So a timer that every row puts off costs no search.

use std::collections::BTreeSet;

use weir_stream::{KeyedContract, TimeDomain};

use super::held::Held;
use super::next_us;

/// A key in a list.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Listed {
    pub(super) time_us: i64,
    pub(super) key_group: u16,
    pub(super) key: Box<[u8]>,
}

/// The lists of both domains.
#[derive(Debug, Default)]
pub(super) struct DueList {
    lists: [BTreeSet<Listed>; 2],
}

pub(super) fn place(domain: TimeDomain) -> usize {
    match domain {
        TimeDomain::Event => 0,
        TimeDomain::Processing => 1,
    }
}

impl DueList {
    /// Lists a key whose next time in `domain` is `due_us`, unless it stands there early enough.
    pub(super) fn list(&mut self, domain: TimeDomain, due_us: Option<i64>, key_group: u16, key: &[u8], held: &Held) {
        let Some(due_us) = due_us else { return };
        let listed = &held.listed_us[place(domain)];
        if listed.get().is_some_and(|listed| listed <= due_us) {
            return;
        }
        let list = &mut self.lists[place(domain)];
        if let Some(time_us) = listed.replace(Some(due_us)) {
            list.remove(&Listed { time_us, key_group, key: key.into() });
        }
        list.insert(Listed { time_us: due_us, key_group, key: key.into() });
    }

    /// Lists a key in both domains.
    pub(super) fn list_key(&mut self, contract: &KeyedContract, key_group: u16, key: &[u8], held: &Held) {
        for domain in [TimeDomain::Event, TimeDomain::Processing] {
            self.list(domain, next_us(contract, held, domain), key_group, key, held);
        }
    }

    /// Takes out the first key that stands at `until_us` or before.
    pub(super) fn next(&mut self, domain: TimeDomain, until_us: i64) -> Option<Listed> {
        let list = &mut self.lists[place(domain)];
        if list.first()?.time_us > until_us { None } else { list.pop_first() }
    }

    /// Takes a key out of every list that it stands in.
    pub(super) fn strike(&mut self, key_group: u16, key: &[u8], held: &Held) {
        for (list, listed) in self.lists.iter_mut().zip(&held.listed_us) {
            if let Some(time_us) = listed.take() {
                list.remove(&Listed { time_us, key_group, key: key.into() });
            }
        }
    }
}
