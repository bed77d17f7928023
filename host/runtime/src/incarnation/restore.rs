//! Loads keyed state: every key group into a table of its own, on several threads, then together per task.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};

use weir_operators::KeyedOperator;
use weir_state::{KeyGroupTarget, RecoveredState};

use super::StartError;

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
}

impl KeyGroup {
    fn note(&mut self, step: u16, result: Result<(), weir_state::table::TableError>) {
        if let Err(error) = result {
            self.fault.get_or_insert((step, error.to_string()));
        }
    }
}

impl KeyGroupTarget for KeyGroup {
    fn put(&mut self, step: u16, key: &[u8], value: &[u8]) {
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
) -> Result<Restored, StartError> {
    // Made here: a step may hold what only one thread at a time may touch.
    let group = |key_group: u16| KeyGroup {
        key_group,
        parts: steps.iter().map(|step| (step.number, step.empty.part(key_group..key_group + 1))).collect(),
        fault: None,
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
