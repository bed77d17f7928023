//! Loads keyed state: every key group into a table of its own, on several threads, then together per task.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};

use weir_operators::KeyedOperator;
use weir_state::{KeyGroupTarget, RecoveredState, Spill};

use super::StartError;
use crate::state_budget::StateBudget;

/// One keyed step to load.
pub struct KeyedStep {
    pub id: Arc<str>,
    /// Number in the stored state.
    pub number: u16,
    /// The step without state, over all key groups; parts are cut from it.
    pub empty: Box<dyn KeyedOperator>,
}

/// What one key group holds, by number of the step.
struct KeyGroup {
    key_group: u16,
    parts: BTreeMap<u16, Box<dyn KeyedOperator>>,
    fault: Option<(u16, String)>,
    /// What it may hold in memory; beyond, cold state is written away while the rest is loaded.
    share: u64,
    spill: Spill,
    /// Bytes put since the size was last looked at.
    unmeasured: usize,
}

/// The size of a key group is looked at each time this much was loaded.
const MEASURE_BYTES: usize = 1 << 20;

impl KeyGroup {
    fn note(&mut self, step: u16, result: Result<(), weir_state::table::TableError>) {
        if let Err(error) = result {
            self.fault.get_or_insert((step, error.to_string()));
        }
    }

    /// Writes away what is beyond the share. What cannot be is in memory for now; the tasks see to the rest.
    fn make_room(&mut self) {
        self.unmeasured = 0;
        let mut excess =
            self.parts.values().map(|part| part.byte_size() as u64).sum::<u64>().saturating_sub(self.share);
        for (step, part) in &mut self.parts {
            if excess == 0 {
                return;
            }
            match part.evict(excess as usize, &self.spill) {
                Ok(bytes) => excess = excess.saturating_sub(bytes as u64),
                Err(error) => tracing::warn!("state of step {step} cannot be written away: {error}"),
            }
        }
    }
}

impl KeyGroupTarget for KeyGroup {
    fn put(&mut self, step: u16, key: &[u8], value: &[u8]) {
        self.unmeasured += key.len() + value.len();
        if self.unmeasured >= MEASURE_BYTES {
            self.make_room();
        }
        // State of a step that the manifest no longer has is left where it is.
        if let Some(part) = self.parts.get_mut(&step) {
            let result = part.restore_put(self.key_group, key, value);
            self.note(step, result);
        }
    }

    fn delete(&mut self, step: u16, key: &[u8]) {
        if let Some(part) = self.parts.get_mut(&step) {
            let result = part.restore_delete(self.key_group, key);
            self.note(step, result);
        }
    }
}

/// All state, by step number and key group.
#[derive(Default)]
pub struct Restored(BTreeMap<u16, Vec<Option<Box<dyn KeyedOperator>>>>);

impl Restored {
    /// Takes out what a task owns.
    pub fn take(&mut self, step: u16, key_groups: &Range<u16>) -> impl Iterator<Item = Box<dyn KeyedOperator>> {
        let groups = self.0.get_mut(&step).map_or(&mut [][..], Vec::as_mut_slice);
        let mine = groups.iter_mut().enumerate().filter(|(group, _)| key_groups.contains(&(*group as u16)));
        mine.filter_map(|(_, part)| part.take())
    }
}

/// # Errors
/// Damage in the stored state, or entries that are not of the step's shape.
pub fn load(
    state: RecoveredState,
    steps: &[KeyedStep],
    key_groups: u16,
    threads: usize,
    budget: &StateBudget,
) -> Result<Restored, StartError> {
    // Made here: a step may hold what only one thread at a time may touch.
    let group = |key_group: u16| KeyGroup {
        key_group,
        parts: steps.iter().map(|step| (step.number, step.empty.part(key_group..key_group + 1))).collect(),
        fault: None,
        share: budget.share(key_groups),
        spill: budget.spill().clone(),
        unmeasured: 0,
    };
    let groups: Vec<Mutex<Option<KeyGroup>>> = (0..key_groups).map(|number| Mutex::new(Some(group(number)))).collect();
    let make = |key_group: u16| {
        let taken = groups[usize::from(key_group)].lock().unwrap_or_else(PoisonError::into_inner).take();
        taken.expect("every key group is loaded once")
    };
    let mut restored = Restored::default();
    for group in state.load(threads, make)? {
        if let Some((number, cause)) = group.fault {
            let step = steps.iter().find(|step| step.number == number).map_or("?", |step| &*step.id);
            return Err(StartError::StateEntry { step: step.to_owned(), cause });
        }
        for (number, part) in group.parts {
            restored.0.entry(number).or_default().push(Some(part));
        }
    }
    Ok(restored)
}
