//! Rows and timers through a keyed plugin in a native test, with a small host that keeps its state.
//!
//! Each row is a call of its own, through the same glue as in the host. Deliberately without limits and time to live:
//! those are the host's.

use std::collections::BTreeMap;

use super::{Outcome, batch, outcome, schema};
use crate::plugin;
use crate::process::{self, Named, Opened, Process};
use crate::process_bindings::exports::weir::plugin::process::{
    Contract, Entries, Firings, Keys, Processed, Rows, TimeDomain, TimerAction,
};
use crate::types::Part;
use crate::wit::Transformed;

/// A keyed plugin with the state of its keys.
pub struct Instance<P> {
    opened: Opened<P>,
    contract: Contract,
    input: Vec<Part>,
    keys: BTreeMap<String, Key>,
    now_us: Option<i64>,
}

#[derive(Default)]
struct Key {
    /// By number of the state; absent for no entries.
    states: BTreeMap<usize, Entries>,
    /// Time and number of the timer, ascending.
    timers: Vec<(i64, u32)>,
}

impl<P: Process + Named> Instance<P> {
    /// As [`super::Instance::open`].
    ///
    /// # Errors
    /// The faults that `describe` finds, a line each.
    ///
    /// # Panics
    /// When a type is not one that a manifest can write.
    pub fn open(config: &str, columns: &[(&str, &str)]) -> Result<Self, Vec<String>> {
        let (input, fields) = schema(columns);
        let in_words = |faults: Vec<crate::wit::Fault>| faults.iter().map(plugin::fault_text).collect::<Vec<_>>();
        let contract = process::describe::<P>(config, &fields).map_err(in_words)?;
        let opened = process::open::<P>(config, &fields).map_err(|fault| vec![fault])?;
        Ok(Self { opened, contract, input, keys: BTreeMap::new(), now_us: None })
    }

    /// What `describe` answered.
    pub fn contract(&self) -> &Contract {
        &self.contract
    }

    /// Passes one row of `key`, with the input's columns in the order given to [`open`](Self::open).
    ///
    /// # Panics
    /// When a cell is not of its column's type: the test is wrong.
    pub fn row<C: AsRef<str>>(&mut self, key: &str, time_us: i64, row: &[Option<C>]) -> Outcome {
        let batch = batch(&self.contract.reads, &self.input, &[row]);
        let rows = Rows { batch, key: vec![0], event_time_us: vec![time_us] };
        let processed = process::process(&self.opened, self.held(key), rows);
        self.keep(key, processed)
    }

    /// The watermark has come to `time_us`: fires every timer of event time that is due, oldest first.
    pub fn advance(&mut self, time_us: i64) -> Vec<Outcome> {
        self.fire_due(TimeDomain::Event, time_us)
    }

    /// The clock has come to `now_us`: fires every timer of processing time that is due.
    pub fn tick(&mut self, now_us: i64) -> Vec<Outcome> {
        self.now_us = Some(now_us);
        self.fire_due(TimeDomain::Processing, now_us)
    }

    /// The pending timers of a key, by time.
    pub fn timers(&self, key: &str) -> Vec<(String, i64)> {
        let timers = self.keys.get(key).map_or(&[][..], |key| &key.timers);
        timers.iter().map(|(time_us, timer)| (self.contract.timers[*timer as usize].name.clone(), *time_us)).collect()
    }

    fn fire_due(&mut self, domain: TimeDomain, until_us: i64) -> Vec<Outcome> {
        let mut fired = Vec::new();
        loop {
            let of_domain = |timer: u32| self.contract.timers[timer as usize].domain == domain;
            let due = self.keys.iter().flat_map(|(key, held)| held.timers.iter().map(move |timer| (*timer, key)));
            let due = due.filter(|((time_us, timer), _)| *time_us <= until_us && of_domain(*timer)).min();
            let Some(((time_us, timer), key)) = due.map(|(timer, key)| (timer, key.clone())) else { return fired };
            let held = self.keys.entry(key.clone()).or_default();
            held.timers.retain(|pending| *pending != (time_us, timer));
            let firings = Firings { timer: vec![timer], key: vec![0], time_us: vec![time_us] };
            let processed = process::fire(&self.opened, self.held(&key), firings);
            fired.push(self.keep(&key, processed));
        }
    }

    fn held(&self, key: &str) -> Keys {
        let held = self.keys.get(key);
        let states = self.opened.states().iter().enumerate().map(|(number, types)| {
            let kept = held.and_then(|held| held.states.get(&number)).cloned();
            kept.unwrap_or_else(|| Entries { offsets: vec![0, 0], columns: types.empty_columns() })
        });
        Keys { count: 1, states: states.collect(), now_us: self.now_us }
    }

    fn keep(&mut self, key: &str, processed: Processed) -> Outcome {
        let Processed { outputs, rejects, states, timers } = processed;
        let held = self.keys.entry(key.to_owned()).or_default();
        held.states.extend(states.into_iter().map(|change| (change.state as usize, change.entries)));
        for change in timers {
            match change.action {
                TimerAction::Set(time_us) => held.timers.push((time_us, change.timer)),
                TimerAction::Clear(time_us) => held.timers.retain(|pending| *pending != (time_us, change.timer)),
                TimerAction::ClearAll => held.timers.retain(|(_, timer)| *timer != change.timer),
            }
        }
        held.timers.sort_unstable();
        held.timers.dedup();
        let written = self.contract.outputs.iter().map(|output| (output.name.as_str(), &*output.writes));
        outcome(&written.collect::<Vec<_>>(), &Transformed { outputs, rejects }, 1)
    }
}
