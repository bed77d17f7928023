//! The process step as a keyed step.

use std::ops::Range;
use std::sync::Arc;

use weir_state::Spill;
use weir_state::table::{DeltaWriter, Leaving, TableError};
use weir_stream::{FunctionFault, StateContract, TimeDomain};

use super::call::Work;
use super::held::{Held, Pending};
use super::{ProcessStep, next_timer, next_us};
use crate::held_key::{DueAt, HeldEntry};
use crate::key::{KeyBatch, KeyedBatch};
use crate::keyed::{KeyedOperator, NextFunction, same};
use crate::operator::{Outputs, StepFault};

impl KeyedOperator for ProcessStep {
    fn process(&mut self, _port: usize, rows: &KeyedBatch, out: &mut Outputs) -> Result<(), StepFault> {
        if rows.batch.is_empty() {
            return Ok(());
        }
        self.list_all();
        self.warm(&rows.keys).map_err(|error| internal(&error))?;
        self.pieces(rows).into_iter().try_for_each(|piece| self.work(Work::Rows(rows), piece, out))
    }

    fn advance(&mut self, watermark_us: i64, out: &mut Outputs) -> Result<(), StepFault> {
        self.watermark_us = self.watermark_us.max(watermark_us);
        self.fire_due(TimeDomain::Event, watermark_us, out)
    }

    fn tick(&mut self, now_us: i64, out: &mut Outputs) -> Result<(), StepFault> {
        // A clock that is set back fires nothing twice: what fired is gone.
        self.now_us = self.now_us.max(Some(now_us));
        self.fire_due(TimeDomain::Processing, now_us, out)
    }

    fn wants_clock(&self) -> bool {
        self.spec.contract.uses(TimeDomain::Processing)
    }

    fn restore_watermark(&mut self, watermark_us: i64) {
        self.watermark_us = self.watermark_us.max(watermark_us);
    }

    fn begin_epoch(&mut self, function: Option<NextFunction>, watching: bool) -> Result<(), FunctionFault> {
        function.map_or(Ok(()), |next| self.start(next))?;
        self.budget.renew();
        self.budget.set_watching(watching);
        Ok(())
    }

    fn digest(&self) -> Option<Arc<str>> {
        self.running.as_ref().map(|running| Arc::clone(&running.digest))
    }

    fn seal(&mut self, delta: &mut dyn DeltaWriter) {
        self.table.seal(delta);
    }

    fn for_each(&self, key_group: u16, entry: &mut dyn FnMut(&[u8], &[u8])) -> Result<(), TableError> {
        self.table.for_each(key_group, entry)
    }

    fn restore_put(&mut self, key_group: u16, key: &[u8], value: &[u8]) -> Result<(), TableError> {
        self.is_listed = false;
        self.table.restore_put(key_group, key, value)
    }

    fn restore_delete(&mut self, key_group: u16, key: &[u8]) -> Result<(), TableError> {
        self.is_listed = false;
        self.table.restore_delete(key_group, key)
    }

    fn part(&self, key_groups: Range<u16>) -> Box<dyn KeyedOperator> {
        Box::new(Self::new(self.spec.clone(), key_groups).expect("its contract was accepted for the whole"))
    }

    fn absorb(&mut self, part: Box<dyn KeyedOperator>) -> Result<(), TableError> {
        self.is_listed = false;
        self.table.absorb(same::<Self>(part).table)
    }

    fn state_layout(&self) -> &str {
        &self.layout
    }

    fn keys(&self) -> usize {
        self.table.len()
    }

    fn byte_size(&self) -> usize {
        self.table.byte_size()
    }

    /// Keys that wait for the clock stay.
    fn evict(&mut self, bytes: usize, spill: &Spill) -> std::io::Result<usize> {
        let contract = &self.spec.contract;
        let leaving = |held: &Held| match next_timer(contract, held, TimeDomain::Processing) {
            Some(_) => Leaving::Stays,
            None => Leaving::at(next_us(contract, held, TimeDomain::Event)),
        };
        let evicted = self.table.evict(bytes, spill, leaving);
        if !matches!(evicted, Ok(0)) {
            self.list_anew();
        }
        evicted
    }

    fn held(&self, key_group: u16, key: &[u8]) -> Result<Vec<HeldEntry>, TableError> {
        let Some(held) = self.table.peek(key_group, key)? else { return Ok(Vec::new()) };
        let contract = &self.spec.contract;
        let timer = |pending: &Pending| {
            let timer = contract.timers.get(pending.timer as usize);
            let (name, domain) = timer.map_or(("?", TimeDomain::Event), |timer| (&*timer.name, timer.domain));
            let by_clock = domain == TimeDomain::Processing;
            let due = DueAt { at_us: pending.time_us, by_clock, then: "fires" };
            HeldEntry::new(format!("timer {name}")).due(Some(due))
        };
        let state = |(state, bytes): (&StateContract, &Vec<u8>)| {
            let lapse_us = state.ttl_us.map(|ttl_us| held.newest_us.saturating_add(ttl_us));
            let what = format!("state {}, {} bytes", state.name, bytes.len());
            HeldEntry::new(what).due(lapse_us.map(|at_us| DueAt::watermark(at_us, "is forgotten")))
        };
        let states = contract.states.iter().zip(&held.states).filter(|(_, bytes)| !bytes.is_empty());
        Ok(held.timers.iter().map(timer).chain(states.map(state)).collect())
    }

    fn cold_bytes(&self) -> u64 {
        self.table.cold_bytes()
    }
}

impl ProcessStep {
    /// Brings the keys of a batch into memory.
    fn warm(&mut self, keys: &KeyBatch) -> Result<(), TableError> {
        if !self.table.has_cold() {
            return Ok(());
        }
        for (key_group, _, key) in keys.iter() {
            if self.table.warm(key_group, key)?
                && let Some(held) = self.table.get(key_group, key)
            {
                self.due.list_key(&self.spec.contract, key_group, key, held);
            }
        }
        Ok(())
    }
}

fn internal(error: &TableError) -> StepFault {
    StepFault::Internal(error.to_string())
}
