//! What a call wants changed, checked against contract and limits before any of it is done.
//!
//! Invariant: [`ProcessStep::stage`] changes nothing, and [`ProcessStep::apply`] of what it gave cannot fail halfway.

use std::collections::{BTreeMap, HashSet};

use weir_stream::{
    FunctionFault, StateChange, StateContract, StateEntries, StateKind, TimeDomain, TimerAction, TimerChange,
};

use super::ProcessStep;
use super::call::CalledKey;
use super::firing::Firing;
use super::held::{Held, Pending};
use crate::entries::EntryCodec;
use crate::operator::StepFault;

/// What brought a call about.
pub(super) enum Cause<'a> {
    /// The newest event time of each key's rows.
    Rows(&'a [i64]),
    /// One firing for each key.
    Firings(TimeDomain, &'a [Firing]),
}

/// The changes of one key.
#[derive(Debug, Default)]
pub(super) struct Staged {
    /// Number and new bytes of each state that changes.
    states: Vec<(usize, Vec<u8>)>,
    /// All of its timers, if they change.
    timers: Option<Vec<Pending>>,
}

fn malformed(what: String) -> FunctionFault {
    FunctionFault::Malformed(what)
}

impl ProcessStep {
    pub(super) fn stage(
        &self,
        keys: &[CalledKey<'_>],
        cause: &Cause<'_>,
        states: Vec<StateChange>,
        timers: &[TimerChange],
    ) -> Result<BTreeMap<u32, Staged>, FunctionFault> {
        let mut staged: BTreeMap<u32, Staged> = BTreeMap::new();
        let mut seen = vec![false; self.codecs.len()];
        for change in states {
            let Some(seen) = seen.get_mut(change.state) else {
                return Err(malformed(format!("state {} of {}", change.state, self.codecs.len())));
            };
            if std::mem::replace(seen, true) {
                return Err(malformed(format!("state {} twice in one answer", change.state)));
            }
            self.stage_state(change, keys.len(), &mut staged)?;
        }
        if let Cause::Firings(_, firings) = cause {
            for (number, firing) in (0..).zip(*firings) {
                self.timers_of(number, keys, &mut staged).retain(|pending| *pending != firing.pending);
            }
        }
        for change in timers {
            self.stage_timer(change, keys, cause, &mut staged)?;
        }
        for (number, staged) in &staged {
            self.check_limits(keys[*number as usize], staged)?;
        }
        Ok(staged)
    }

    fn stage_state(
        &self,
        change: StateChange,
        keys: usize,
        staged: &mut BTreeMap<u32, Staged>,
    ) -> Result<(), FunctionFault> {
        let StateChange { state, keys: changed, entries } = change;
        let contract = &self.spec.contract.states[state];
        let wrong = |what: String| malformed(format!("state `{}`: {what}", contract.name));
        if entries.offsets.len() != changed.len() + 1 {
            return Err(wrong(format!("{} offsets for {} keys", entries.offsets.len(), changed.len())));
        }
        if changed.windows(2).any(|pair| pair[0] >= pair[1])
            || changed.last().is_some_and(|last| *last as usize >= keys)
        {
            return Err(wrong(format!("keys that do not ascend below {keys}")));
        }
        let bytes = self.codecs[state].encode(&entries).map_err(wrong)?;
        check_entries(contract, &entries).map_err(wrong)?;
        for (key, bytes) in changed.into_iter().zip(bytes) {
            staged.entry(key).or_default().states.push((state, bytes));
        }
        Ok(())
    }

    /// The timers that a key will have, to be changed.
    fn timers_of<'s>(
        &self,
        number: u32,
        keys: &[CalledKey<'_>],
        staged: &'s mut BTreeMap<u32, Staged>,
    ) -> &'s mut Vec<Pending> {
        let (key_group, key) = keys[number as usize];
        let held = || self.table.get(key_group, key).map(|held| held.timers.clone()).unwrap_or_default();
        staged.entry(number).or_default().timers.get_or_insert_with(held)
    }

    fn stage_timer(
        &self,
        change: &TimerChange,
        keys: &[CalledKey<'_>],
        cause: &Cause<'_>,
        staged: &mut BTreeMap<u32, Staged>,
    ) -> Result<(), FunctionFault> {
        let TimerChange { key, timer, action } = *change;
        if key as usize >= keys.len() {
            return Err(malformed(format!("a timer of key {key} of {}", keys.len())));
        }
        let Some(contract) = self.spec.contract.timers.get(timer as usize) else {
            return Err(malformed(format!("timer {timer} of {}", self.spec.contract.timers.len())));
        };
        if let (Cause::Firings(domain, firings), TimerAction::Set(time_us)) = (cause, action)
            && contract.domain == *domain
            && time_us <= firings[key as usize].pending.time_us
        {
            return Err(malformed(format!(
                "timer `{}` set to a time that is not after that of the timer that fired",
                contract.name
            )));
        }
        let timers = self.timers_of(key, keys, staged);
        match action {
            TimerAction::Set(time_us) => {
                let pending = Pending { time_us, timer };
                if let Err(place) = timers.binary_search(&pending) {
                    timers.insert(place, pending);
                }
            }
            TimerAction::Clear(time_us) => timers.retain(|pending| *pending != Pending { time_us, timer }),
            TimerAction::ClearAll => timers.retain(|pending| pending.timer != timer),
        }
        Ok(())
    }

    fn check_limits(&self, (key_group, key): CalledKey<'_>, staged: &Staged) -> Result<(), FunctionFault> {
        let limits = &self.spec.limits;
        if let Some(timers) = staged.timers.as_ref().filter(|timers| timers.len() > limits.timers_per_key) {
            let what = format!("{} timers for one key", timers.len());
            return Err(FunctionFault::TooMuch { what, limit: limits.timers_per_key.to_string() });
        }
        if staged.states.is_empty() {
            return Ok(());
        }
        let held = self.table.get(key_group, key);
        let bytes: usize = (0..self.codecs.len())
            .map(|state| match staged.states.iter().find(|(changed, _)| *changed == state) {
                Some((_, bytes)) => bytes.len(),
                None => held.and_then(|held| held.states.get(state)).map_or(0, Vec::len),
            })
            .sum();
        if bytes > limits.state_bytes_per_key {
            let what = format!("{bytes} bytes of state for one key");
            return Err(FunctionFault::TooMuch { what, limit: format!("{} bytes", limits.state_bytes_per_key) });
        }
        Ok(())
    }

    /// Puts the changes into effect and lists each key where it has something to do next.
    pub(super) fn apply(
        &mut self,
        keys: &[CalledKey<'_>],
        cause: &Cause<'_>,
        mut staged: BTreeMap<u32, Staged>,
    ) -> Result<(), StepFault> {
        let states = self.codecs.len();
        let Self { table, due, spec, .. } = self;
        for (number, (key_group, key)) in (0_u32..).zip(keys) {
            let Staged { states: changed, timers } = staged.remove(&number).unwrap_or_default();
            let newest_us = match cause {
                Cause::Rows(newest_us) => newest_us[number as usize],
                Cause::Firings(TimeDomain::Event, firings) => firings[number as usize].pending.time_us,
                Cause::Firings(TimeDomain::Processing, _) => i64::MIN,
            };
            let change = |held: &mut Option<Held>| {
                let new = held.get_or_insert_with(|| Held::new(states));
                new.newest_us = new.newest_us.max(newest_us);
                changed.into_iter().for_each(|(state, bytes)| new.states[state] = bytes);
                if let Some(timers) = timers {
                    new.timers = timers;
                }
                if new.is_empty() {
                    due.strike(*key_group, key, new);
                    *held = None;
                    return;
                }
                due.list_key(&spec.contract, *key_group, key, new);
            };
            table.update(*key_group, key, change).map_err(|error| StepFault::Internal(error.to_string()))?;
        }
        Ok(())
    }
}

/// At most one entry for a value, no two alike in a map.
fn check_entries(contract: &StateContract, entries: &StateEntries) -> Result<(), String> {
    let per_key = || entries.offsets.windows(2);
    match contract.kind {
        StateKind::List => Ok(()),
        StateKind::Value => match per_key().find(|bounds| bounds[1] - bounds[0] > 1) {
            Some(bounds) => Err(format!("{} entries for one key, a value has one", bounds[1] - bounds[0])),
            None => Ok(()),
        },
        StateKind::Map => {
            let key = EntryCodec::new(&contract.fields[..contract.map_key])?;
            let last = *entries.offsets.last().unwrap_or(&0);
            let columns = entries.columns[..contract.map_key].to_vec();
            let keys = key.encode(&StateEntries { offsets: (0..=last).collect(), columns })?;
            let alike = |bounds: &[u32]| {
                let keys = &keys[bounds[0] as usize..bounds[1] as usize];
                let distinct: HashSet<&[u8]> = keys.iter().map(Vec::as_slice).collect();
                distinct.len() < keys.len()
            };
            if per_key().any(alike) { Err("two entries of a map with one key".to_owned()) } else { Ok(()) }
        }
    }
}
