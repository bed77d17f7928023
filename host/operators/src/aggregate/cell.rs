//! Aggregates whose state is more than a number: a cell per slot, for every kind the same column around it.
//!
//! A kind is a [`Cell`]: a pure value that takes rows and other cells in. Its stored form is in the file of the kind and
//! covered by the version of the whole value.
//!
//! Invariant: a cell depends on the rows that it took, not on their order nor on how they were spread over cells that
//! were merged since, but for floats in their last bits.

mod distinct;
mod exact;
mod extreme;
mod hyperloglog;
mod list;
mod moments;
mod quantile;

use std::any::Any;
use std::fmt::Debug;

pub(super) use distinct::Distinct;
pub(super) use exact::{Exact, ExactSettings};
pub(super) use extreme::Extreme;
pub(super) use hyperloglog::HyperLogLog;
pub(super) use list::{List, ListSettings, Order};
pub(super) use moments::{Moments, MomentsResult};
pub(super) use quantile::{Quantile, QuantileSettings};

pub use distinct::DISTINCT_BYTES_MAX;
pub use list::LIST_BYTES_MAX;

use weir_state::table::growth;

use super::argument::Argument;
use super::merge::Pair;
use super::update::Touched;
use super::value::Value;

/// The state of one key.
pub(super) trait Cell: Clone + Debug + Default + Send + Sync + 'static {
    /// What is the same for all keys.
    type Settings: Clone + Debug + Send + Sync + 'static;

    /// Whether a row may be too much for it.
    const BOUNDED: bool = false;

    /// Takes in the value of a row, which is not null.
    fn add(&mut self, settings: &Self::Settings, argument: &Argument, row: usize);

    /// Takes back the value of a row. Only kinds of which [`super::accumulator::Accumulator::retractable`] makes columns can.
    fn retract(&mut self, _settings: &Self::Settings, _argument: &Argument, _row: usize) {
        unreachable!("only kinds that can take rows back stand behind rows that change");
    }

    fn merge(&mut self, settings: &Self::Settings, other: &Self);

    fn write(&self, bytes: &mut Vec<u8>);
    fn read(settings: &Self::Settings, rest: &mut &[u8]) -> Result<Self, String>;

    fn value(&self, settings: &Self::Settings) -> Value<'_>;

    fn heap_bytes(&self) -> usize {
        0
    }

    /// Whether the row's value alone is not too much, whatever the key.
    fn takes(_settings: &Self::Settings, _argument: &Argument, _row: usize) -> bool {
        true
    }

    /// Whether `rows` rows of the batch surely fit.
    fn surely_fits(&self, _settings: &Self::Settings, _argument: &Argument, _rows: usize) -> bool {
        true
    }

    /// Whether the row's value fits.
    fn fits(&self, _settings: &Self::Settings, _argument: &Argument, _row: usize) -> bool {
        true
    }

    /// Whether its result is within its type.
    fn has_result(&self, _settings: &Self::Settings) -> bool {
        true
    }
}

/// The cells of one aggregate, by slot.
pub(super) trait Column: Any + Debug + Send + Sync {
    fn resize(&mut self, slots: usize);
    /// Keeps these slots (ascending) as slots `0..`.
    fn keep(&mut self, slots: &[u32]);
    fn byte_size(&self) -> usize;
    fn is_bounded(&self) -> bool;
    fn takes(&self, argument: &Argument, row: usize) -> bool;
    fn surely_fits(&self, argument: &Argument, touched: Touched) -> bool;
    fn fits(&self, argument: &Argument, row: usize, slot: usize) -> bool;
    fn has_result(&self, slot: usize) -> bool;
    fn update(&mut self, argument: &Argument, touched: Touched);
    fn retract(&mut self, argument: &Argument, touched: Touched);
    fn merge(&mut self, pairs: &[Pair], other: Option<&dyn Column>);
    fn write(&self, slot: usize, bytes: &mut Vec<u8>);
    fn read(&mut self, slot: usize, rest: &mut &[u8]) -> Result<(), String>;
    fn value(&self, slot: usize) -> Value<'_>;
    fn boxed(&self) -> Box<dyn Column>;
}

impl Clone for Box<dyn Column> {
    fn clone(&self) -> Self {
        (**self).boxed()
    }
}

/// The column of any kind of cell.
#[derive(Debug, Clone)]
pub(super) struct Cells<C: Cell> {
    settings: C::Settings,
    cells: Vec<C>,
    heap_bytes: usize,
}

impl<C: Cell> Cells<C> {
    pub(super) fn boxed(settings: C::Settings) -> Box<dyn Column> {
        Box::new(Self { settings, cells: Vec::new(), heap_bytes: 0 })
    }

    fn change(&mut self, slot: usize, change: impl FnOnce(&mut C, &C::Settings)) {
        let cell = &mut self.cells[slot];
        self.heap_bytes -= cell.heap_bytes();
        change(cell, &self.settings);
        self.heap_bytes += cell.heap_bytes();
    }
}

impl<C: Cell> Column for Cells<C> {
    fn resize(&mut self, slots: usize) {
        let more = slots.saturating_sub(self.cells.len());
        growth::reserve(&mut self.cells, more);
        self.cells.resize_with(slots, C::default);
    }

    fn keep(&mut self, slots: &[u32]) {
        for (to, from) in slots.iter().enumerate() {
            self.cells.swap(to, *from as usize);
        }
        self.cells.truncate(slots.len());
        self.cells.shrink_to_fit();
        self.heap_bytes = self.cells.iter().map(C::heap_bytes).sum();
    }

    fn byte_size(&self) -> usize {
        self.cells.capacity() * size_of::<C>() + self.heap_bytes
    }

    fn is_bounded(&self) -> bool {
        C::BOUNDED
    }

    fn takes(&self, argument: &Argument, row: usize) -> bool {
        C::takes(&self.settings, argument, row)
    }

    fn surely_fits(&self, argument: &Argument, touched: Touched) -> bool {
        let fits = |slot: &u32| self.cells[*slot as usize].surely_fits(&self.settings, argument, touched.rows.len());
        !C::BOUNDED || touched.slots.iter().all(fits)
    }

    fn fits(&self, argument: &Argument, row: usize, slot: usize) -> bool {
        self.cells[slot].fits(&self.settings, argument, row)
    }

    fn has_result(&self, slot: usize) -> bool {
        self.cells[slot].has_result(&self.settings)
    }

    fn update(&mut self, argument: &Argument, touched: Touched) {
        touched.each(argument, |row, slot| {
            self.change(slot as usize, |cell, settings| cell.add(settings, argument, row));
        });
    }

    fn retract(&mut self, argument: &Argument, touched: Touched) {
        touched.each(argument, |row, slot| {
            self.change(slot as usize, |cell, settings| cell.retract(settings, argument, row));
        });
    }

    fn merge(&mut self, pairs: &[Pair], other: Option<&dyn Column>) {
        let other = other.map(|other| {
            let other: &dyn Any = other;
            other.downcast_ref::<Self>().expect("both sides are of one aggregate")
        });
        for Pair { to, from } in pairs {
            match other {
                Some(other) => {
                    self.change(*to as usize, |cell, settings| cell.merge(settings, &other.cells[*from as usize]));
                }
                None => {
                    let from = self.cells[*from as usize].clone();
                    self.change(*to as usize, |cell, settings| cell.merge(settings, &from));
                }
            }
        }
    }

    fn write(&self, slot: usize, bytes: &mut Vec<u8>) {
        self.cells[slot].write(bytes);
    }

    fn read(&mut self, slot: usize, rest: &mut &[u8]) -> Result<(), String> {
        let read = C::read(&self.settings, rest)?;
        self.change(slot, |cell, _| *cell = read);
        Ok(())
    }

    fn value(&self, slot: usize) -> Value<'_> {
        self.cells[slot].value(&self.settings)
    }

    fn boxed(&self) -> Box<dyn Column> {
        Box::new(self.clone())
    }
}

#[cfg(test)]
mod tests;
