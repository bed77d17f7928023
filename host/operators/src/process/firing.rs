//! Timers that fire and states that lapse.
//!
//! Invariant: of one key, timers fire in the order of their times, each in a call of its own, so that one that the
//! function clears while an earlier one fires does not fire. A state lapses before a timer of the same key that is later.

use std::sync::Arc;

use arrow_array::{ArrayRef, RecordBatch, StringArray, TimestampMicrosecondArray};
use weir_stream::time::{END_OF_TIME, NO_WATERMARK};
use weir_stream::{Batch, Changes, Origin, TimeDomain};

use super::call::{CalledKey, Work};
use super::held::{Held, Pending};
use super::stage::Cause;
use super::{CALLS_PER_ADVANCE, FIRINGS_PER_CALL, ProcessStep, firing_schema, next_lapse_us, next_timer, next_us};
use crate::operator::{Outputs, StepFault};

/// One timer of one key that fires.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Firing {
    pub(super) pending: Pending,
    pub(super) key_group: u16,
    pub(super) key: Box<[u8]>,
}

impl ProcessStep {
    /// Fires everything that is due by `until_us`.
    pub(super) fn fire_due(&mut self, domain: TimeDomain, until_us: i64, out: &mut Outputs) -> Result<(), StepFault> {
        self.list_all();
        if domain == TimeDomain::Event {
            let Self { table, due, spec, .. } = self;
            let warmed =
                table.warm_due(until_us, |key_group, key, held| due.list_key(&spec.contract, key_group, key, held));
            warmed.map_err(|error| StepFault::Internal(error.to_string()))?;
        }
        let until_us = if until_us == END_OF_TIME { self.last_pending_us() } else { until_us };
        for _ in 0..CALLS_PER_ADVANCE {
            let due = self.take_due(domain, until_us)?;
            if due.is_empty() {
                return Ok(());
            }
            self.work(Work::Firings(domain, &due), (0, due.len()), out)?;
        }
        Ok(())
    }

    /// The last timer of event time: the end of time for an input that has ended.
    fn last_pending_us(&self) -> i64 {
        let timers = &self.spec.contract.timers;
        let is_event = |pending: &&Pending| {
            timers.get(pending.timer as usize).is_some_and(|timer| timer.domain == TimeDomain::Event)
        };
        let last = self.table.iter().filter_map(|(_, _, held)| held.timers.iter().rev().find(is_event));
        last.map(|pending| pending.time_us).max().unwrap_or(NO_WATERMARK)
    }

    /// The next timer of each key that is due, oldest first; on the way, states that are due to lapse do.
    fn take_due(&mut self, domain: TimeDomain, until_us: i64) -> Result<Vec<Firing>, StepFault> {
        let mut firings = Vec::new();
        while firings.len() < FIRINGS_PER_CALL
            && let Some(listed) = self.due.next(domain, until_us)
        {
            let super::due::Listed { key_group, key, .. } = listed;
            let Some(held) = self.table.get(key_group, &key) else { continue };
            held.listed_us[super::due::place(domain)].set(None);
            let contract = &self.spec.contract;
            let timer = next_timer(contract, held, domain);
            let lapse_us = (domain == TimeDomain::Event).then(|| next_lapse_us(contract, held)).flatten();
            let timer_us = timer.map_or(i64::MAX, |pending| pending.time_us);
            if let Some(lapse_us) = lapse_us.filter(|lapse_us| *lapse_us <= until_us && *lapse_us < timer_us) {
                self.lapse(lapse_us, key_group, &key)?;
            } else if let Some(pending) = timer.filter(|_| timer_us <= until_us) {
                firings.push(Firing { pending, key_group, key });
            } else {
                self.due.list(domain, next_us(contract, held, domain), key_group, &key, held);
            }
        }
        firings.sort_by(|a, b| (a.pending, &a.key).cmp(&(b.pending, &b.key)));
        Ok(firings)
    }

    /// Forgets the states of a key that lapse at `lapse_us` or before.
    fn lapse(&mut self, lapse_us: i64, key_group: u16, key: &[u8]) -> Result<(), StepFault> {
        let Self { table, due, spec, .. } = self;
        let forget = |held: &mut Option<Held>| {
            let Some(kept) = held else { return };
            let newest_us = kept.newest_us;
            for (state, bytes) in spec.contract.states.iter().zip(&mut kept.states) {
                if state.ttl_us.is_some_and(|ttl_us| newest_us.saturating_add(ttl_us) <= lapse_us) {
                    *bytes = Vec::new();
                }
            }
            if kept.is_empty() {
                due.strike(key_group, key, kept);
                *held = None;
            } else {
                due.list(TimeDomain::Event, next_us(&spec.contract, kept, TimeDomain::Event), key_group, key, kept);
            }
        };
        table.update(key_group, key, forget).map_err(|error| StepFault::Internal(error.to_string()))
    }

    /// Lets go of a timer on which the function failed.
    pub(super) fn drop_firing(&mut self, domain: TimeDomain, firing: &Firing) -> Result<(), StepFault> {
        let keys: [CalledKey<'_>; 1] = [(firing.key_group, &firing.key)];
        let cause = Cause::Firings(domain, std::slice::from_ref(firing));
        let staged = self.stage(&keys, &cause, Vec::new(), &[]);
        let staged = staged.map_err(|fault| StepFault::Internal(format!("a timer cannot be dropped: {fault}")))?;
        self.apply(&keys, &cause, staged)
    }

    /// Firings as rows: the key, the timer and its time. Their event time is the timer's, or, for one of processing
    /// time, that of the key's newest row.
    pub(super) fn firing_batch(&self, domain: TimeDomain, firings: &[Firing]) -> Result<Batch, StepFault> {
        let names = firings.iter().map(|firing| &*self.spec.contract.timers[firing.pending.timer as usize].name);
        let times = firings.iter().map(|firing| firing.pending.time_us);
        let mut columns =
            self.decoder.decode(firings.iter().map(|firing| &*firing.key)).map_err(StepFault::Internal)?;
        let own: [ArrayRef; 2] = [
            Arc::new(StringArray::from_iter_values(names)),
            Arc::new(TimestampMicrosecondArray::from_iter_values(times.clone()).with_timezone("UTC")),
        ];
        columns.extend(own);
        let newest_us = |firing: &Firing| {
            let held = self.table.get(firing.key_group, &firing.key);
            held.map(|held| held.newest_us).filter(|time_us| *time_us != i64::MIN).unwrap_or(firing.pending.time_us)
        };
        Ok(Batch {
            columns: RecordBatch::try_new(firing_schema(&self.spec.key), columns)?,
            event_times_us: match domain {
                TimeDomain::Event => times.collect(),
                TimeDomain::Processing => firings.iter().map(newest_us).collect(),
            },
            watermarks_us: vec![NO_WATERMARK; firings.len()].into(),
            origin: Origin::Step(Arc::clone(&self.spec.step)),
            changes: Changes::Inserts,
        })
    }
}
