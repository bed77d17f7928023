//! Steps that hold one value per key and let go of it by event time: dedup, latest, top, sessions, normalise.
//!
//! A step says what rows do to the value of their key and when time alone does something; [`ByKey`] makes a
//! [`KeyedOperator`] of it: table, deadlines, seal and restore. Invariant: a value with a deadline is looked at once the
//! watermark has come to it, so that state that time has passed by is gone. The keys of a batch, and those whose time has
//! come, are in memory before the step sees them.
//!
//! Lateness is judged by the larger of a row's own watermark and the step's, which is the smaller of the two but after an
//! idle partition comes back. So what becomes of a row does not depend on how rows were cut into batches.

mod deadlines;
mod timed_row;

use std::ops::Range;

use weir_state::Spill;
use weir_state::table::{DeltaWriter, Leaving, MapTable, StateValue, TableError};
use weir_stream::Changes;
use weir_stream::time::{END_OF_TIME, NO_WATERMARK};

use crate::held_key::HeldEntry;
use crate::key::{KeyBatch, KeyedBatch};
use crate::keyed::{KeyedOperator, same};
use crate::operator::{Outputs, StepFault};
use deadlines::Deadlines;

pub use timed_row::{Made, Reader, TimedRow, TimedRows, VALUE_VERSION};

/// What a step does with one value per key.
pub trait PerKey: Clone + Send + 'static {
    type Value: StateValue + Clone + Send + 'static;

    /// Whether the end of the input is the end of time for it. Not where time takes results back: what a bounded run has
    /// shown stays.
    const ENDS_WITH_INPUT: bool = false;

    /// Whether rows may do more than add.
    const TAKES_CHANGES: bool = false;

    /// Takes in rows.
    ///
    /// # Errors
    /// [`StepFault::Internal`] when the state cannot be read.
    fn take_in(
        &mut self,
        held: &mut Held<'_, Self::Value>,
        rows: &KeyedBatch,
        out: &mut Outputs,
    ) -> Result<(), StepFault>;

    /// The watermark that brings something about for this value; `None`: time alone does nothing.
    fn due_us(&self, value: &Self::Value) -> Option<i64>;

    /// The watermark has come to the value's deadline. What is left of it has a later one.
    ///
    /// # Errors
    /// As [`PerKey::take_in`].
    fn expire(&mut self, value: &mut Option<Self::Value>, watermark_us: i64) -> Result<(), StepFault>;

    /// Whether the end of the input does something to a value. One that stays as it is must not be touched: a run that
    /// begins at the end would make an epoch every time.
    fn ends(&self, _value: &Self::Value) -> bool {
        true
    }

    /// What is held for a key, for people.
    fn held(&self, value: &Self::Value) -> HeldEntry;

    /// Gives out what [`PerKey::expire`] made.
    ///
    /// # Errors
    /// As [`PerKey::take_in`].
    fn give_out(&mut self, out: &mut Outputs) -> Result<(), StepFault>;

    /// The watermark of results; see [`KeyedOperator::output_watermark`].
    fn output_watermark(&self, watermark_us: i64) -> i64 {
        watermark_us
    }

    /// See [`KeyedOperator::late_because`].
    fn late_because(&self) -> (&'static str, &'static str);

    /// See [`KeyedOperator::state_layout`].
    fn layout(&self) -> &str;
}

/// The values of a task's keys, with their deadlines.
pub struct Held<'a, V> {
    table: &'a mut MapTable<V>,
    deadlines: &'a mut Deadlines,
    watermark_us: i64,
}

impl<V: StateValue> Held<'_, V> {
    /// What a row's lateness is judged by.
    pub fn watermark_us(&self, of_row_us: i64) -> i64 {
        self.watermark_us.max(of_row_us)
    }

    pub fn get(&self, key_group: u16, key: &[u8]) -> Option<&V> {
        self.table.get(key_group, key)
    }

    /// Changes a key's value and notes its deadline.
    ///
    /// # Errors
    /// When the key group is not of this task.
    pub fn update<S: PerKey<Value = V>, R>(
        &mut self,
        step: &S,
        key_group: u16,
        key: &[u8],
        change: impl FnOnce(&mut Option<V>) -> R,
    ) -> Result<R, StepFault> {
        let changed = self.table.update(key_group, key, |value| {
            let before = value.as_ref().and_then(|value| step.due_us(value));
            let result = change(value);
            let due = value.as_ref().and_then(|value| step.due_us(value));
            // A later deadline is found when the earlier one is due.
            (result, due.filter(|due| before.is_none_or(|before| *due < before)))
        });
        let (result, due) = changed.map_err(|error| internal(&error))?;
        if let Some(due) = due {
            self.deadlines.add(due, key_group, key);
        }
        Ok(result)
    }
}

fn internal(error: &TableError) -> StepFault {
    StepFault::Internal(error.to_string())
}

/// A step over one value per key as a keyed operator.
pub struct ByKey<S: PerKey> {
    step: S,
    table: MapTable<S::Value>,
    deadlines: Deadlines,
    /// Whether values came into the table whose deadlines are not noted.
    restored: bool,
    watermark_us: i64,
}

impl<S: PerKey> ByKey<S> {
    pub fn new(step: S, key_groups: Range<u16>) -> Self {
        let table = MapTable::new(key_groups);
        Self { step, table, deadlines: Deadlines::default(), restored: false, watermark_us: NO_WATERMARK }
    }

    fn note_restored(&mut self) {
        if std::mem::take(&mut self.restored) {
            let due = |(key_group, key, value)| Some((self.step.due_us(value)?, key_group, key));
            self.deadlines = self.table.iter().filter_map(due).collect();
        }
    }

    /// Brings the keys of a batch into memory.
    fn warm(&mut self, keys: &KeyBatch) -> Result<(), TableError> {
        if !self.table.has_cold() {
            return Ok(());
        }
        for (key_group, _, key) in keys.iter() {
            if self.table.warm(key_group, key)?
                && let Some(due) = self.table.get(key_group, key).and_then(|value| self.step.due_us(value))
            {
                self.deadlines.add(due, key_group, key);
            }
        }
        Ok(())
    }

    /// Brings the keys into memory whose time has come.
    fn warm_due(&mut self) -> Result<(), TableError> {
        let Self { step, table, deadlines, watermark_us, .. } = self;
        table.warm_due(*watermark_us, |key_group, key, value| {
            if let Some(due) = step.due_us(value) {
                deadlines.add(due, key_group, key);
            }
        })
    }
}

impl<S: PerKey> KeyedOperator for ByKey<S> {
    fn process(&mut self, _port: usize, rows: &KeyedBatch, out: &mut Outputs) -> Result<(), StepFault> {
        self.note_restored();
        self.warm(&rows.keys).map_err(|error| internal(&error))?;
        if !S::TAKES_CHANGES && rows.batch.changes != Changes::Inserts {
            return Err(StepFault::Internal("the step takes new rows alone, and changes came".into()));
        }
        let Self { table, deadlines, watermark_us, .. } = self;
        let mut held = Held { table, deadlines, watermark_us: *watermark_us };
        self.step.take_in(&mut held, rows, out)
    }

    fn advance(&mut self, watermark_us: i64, out: &mut Outputs) -> Result<(), StepFault> {
        self.note_restored();
        if watermark_us == END_OF_TIME && !S::ENDS_WITH_INPUT {
            return Ok(());
        }
        self.watermark_us = self.watermark_us.max(watermark_us);
        self.warm_due().map_err(|error| internal(&error))?;
        for (key_group, key) in self.deadlines.take_due(self.watermark_us) {
            let step = &mut self.step;
            let ended = self.watermark_us == END_OF_TIME;
            let value = self.table.get(key_group, &key).filter(|value| !ended || step.ends(value));
            let due = value.and_then(|value| step.due_us(value));
            let Some(due) = due else { continue };
            if due > self.watermark_us {
                self.deadlines.add(due, key_group, &key);
                continue;
            }
            let watermark_us = self.watermark_us;
            let next = self.table.update(key_group, &key, |value| {
                step.expire(value, watermark_us)?;
                Ok::<_, StepFault>(value.as_ref().and_then(|value| step.due_us(value)))
            });
            if let Some(next) = next.map_err(|error| internal(&error))?? {
                self.deadlines.add(next, key_group, &key);
            }
        }
        self.step.give_out(out)
    }

    fn output_watermark(&self, watermark_us: i64) -> i64 {
        if watermark_us == END_OF_TIME { watermark_us } else { self.step.output_watermark(watermark_us) }
    }

    fn restore_watermark(&mut self, watermark_us: i64) {
        self.watermark_us = self.watermark_us.max(watermark_us);
    }

    fn seal(&mut self, delta: &mut dyn DeltaWriter) {
        self.table.seal(delta);
    }

    fn for_each(&self, key_group: u16, entry: &mut dyn FnMut(&[u8], &[u8])) -> Result<(), TableError> {
        self.table.for_each(key_group, entry)
    }

    fn restore_put(&mut self, key_group: u16, key: &[u8], value: &[u8]) -> Result<(), TableError> {
        self.restored = true;
        self.table.restore_put(key_group, key, value)
    }

    fn restore_delete(&mut self, key_group: u16, key: &[u8]) -> Result<(), TableError> {
        self.restored = true;
        self.table.restore_delete(key_group, key)
    }

    fn part(&self, key_groups: Range<u16>) -> Box<dyn KeyedOperator> {
        let step = self.step.clone();
        Box::new(Self { watermark_us: self.watermark_us, ..Self::new(step, key_groups) })
    }

    fn absorb(&mut self, part: Box<dyn KeyedOperator>) -> Result<(), TableError> {
        self.restored = true;
        self.table.absorb(same::<Self>(part).table)
    }

    fn state_layout(&self) -> &str {
        self.step.layout()
    }

    fn late_because(&self) -> (&'static str, &'static str) {
        self.step.late_because()
    }

    fn keys(&self) -> usize {
        self.table.len()
    }

    fn byte_size(&self) -> usize {
        self.table.byte_size() + self.deadlines.byte_size()
    }

    fn evict(&mut self, bytes: usize, spill: &Spill) -> std::io::Result<usize> {
        let step = &self.step;
        let evicted = self.table.evict(bytes, spill, |value| Leaving::at(step.due_us(value)));
        if !matches!(evicted, Ok(0)) {
            // Of keys that left nothing is listed.
            (self.deadlines, self.restored) = (Deadlines::default(), true);
        }
        evicted
    }

    fn held(&self, key_group: u16, key: &[u8]) -> Result<Vec<HeldEntry>, TableError> {
        let held = self.table.peek(key_group, key)?;
        Ok(held.iter().map(|value| self.step.held(value)).collect())
    }

    fn cold_bytes(&self) -> u64 {
        self.table.cold_bytes()
    }
}
