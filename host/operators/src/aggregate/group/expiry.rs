//! When to look whether a key's time to live is over: slots by the time at which that may be, in steps of a sixteenth of
//! it, so that a key is looked at about once in its time to live however often it is touched.

use std::collections::BTreeMap;

use weir_state::table::growth;

/// A key is looked at within this part of the time to live after it is over.
const STEPS: i64 = 16;

/// The slots of one key group; each that is held is in exactly one step.
#[derive(Debug, Clone)]
pub(super) struct Expiry {
    ttl_us: Option<i64>,
    /// By the number of the step at whose beginning the time is over for all of them.
    steps: BTreeMap<i64, Vec<u32>>,
}

impl Expiry {
    /// `ttl_us`: none to never forget.
    pub(super) fn new(ttl_us: Option<i64>) -> Self {
        Self { ttl_us, steps: BTreeMap::new() }
    }

    /// Notes a slot whose newest row is of `last_us`.
    pub(super) fn note(&mut self, slot: u32, last_us: i64) {
        let Some(ttl_us) = self.ttl_us else { return };
        let step = step(last_us, ttl_us);
        let slots = self.steps.entry(step).or_default();
        growth::reserve(slots, 1);
        slots.push(slot);
    }

    /// Starts anew with these slots and the times of their newest rows.
    pub(super) fn renew(&mut self, slots: impl Iterator<Item = (u32, i64)>) {
        self.steps.clear();
        slots.for_each(|(slot, last_us)| self.note(slot, last_us));
    }

    /// The slots whose time is over at `watermark_us`; `last_us` tells the newest row of a slot that is still held.
    pub(super) fn advance(&mut self, watermark_us: i64, last_us: impl Fn(u32) -> Option<i64>) -> Vec<u32> {
        let (Some(ttl_us), mut over) = (self.ttl_us, Vec::new()) else { return Vec::new() };
        let step_us = step_us(ttl_us);
        while let Some(entry) =
            self.steps.first_entry().filter(|entry| entry.key().saturating_mul(step_us) <= watermark_us)
        {
            for slot in entry.remove() {
                match last_us(slot) {
                    Some(last_us) if last_us.saturating_add(ttl_us) <= watermark_us => over.push(slot),
                    Some(last_us) => self.note(slot, last_us),
                    None => {}
                }
            }
        }
        over
    }

    pub(super) fn byte_size(&self) -> usize {
        self.steps.values().map(|slots| slots.capacity() * size_of::<u32>() + size_of::<(i64, Vec<u32>)>()).sum()
    }
}

fn step_us(ttl_us: i64) -> i64 {
    (ttl_us / STEPS).max(1)
}

fn step(last_us: i64, ttl_us: i64) -> i64 {
    let (over_us, step_us) = (last_us.saturating_add(ttl_us), step_us(ttl_us));
    over_us.div_euclid(step_us) + i64::from(over_us.rem_euclid(step_us) > 0)
}
