//! Rows through a plugin that aggregates in a native test, with a small host that keeps its accumulators.
//!
//! Each row is a call of its own, through the same glue as in the host. Deliberately without windows: a group is whatever
//! the test calls it.

use std::collections::BTreeMap;

use super::{Cell, batch, decode_flat, schema};
use crate::aggregate::{self, Aggregate, Named, Opened, Way};
use crate::aggregate_bindings::exports::weir::plugin::aggregate::{Accumulators, Contract, Rows};
use crate::plugin;
use crate::types::Part;
use crate::wit::{Batch, Column};

/// A plugin with the accumulators of its groups.
pub struct Instance<P> {
    opened: Opened<P>,
    contract: Contract,
    input: Vec<Part>,
    groups: BTreeMap<String, Vec<Column>>,
}

impl<P: Aggregate + Named> Instance<P> {
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
        let contract = aggregate::describe::<P>(config, &fields).map_err(in_words)?;
        let opened = aggregate::open::<P>(config, &fields).map_err(|fault| vec![fault])?;
        Ok(Self { opened, contract, input, groups: BTreeMap::new() })
    }

    /// What `describe` answered.
    pub fn contract(&self) -> &Contract {
        &self.contract
    }

    /// Adds one row to `group`, with the input's columns in the order given to [`open`](Self::open).
    ///
    /// # Errors
    /// The row's reject: `code` or `code: reason`.
    ///
    /// # Panics
    /// When a cell is not of its column's type: the test is wrong.
    pub fn row<C: AsRef<str>>(&mut self, group: &str, time_us: i64, row: &[Option<C>]) -> Result<(), String> {
        self.pass(group, time_us, row, Way::In)
    }

    /// Takes a row back from `group`.
    ///
    /// # Errors
    /// As [`row`](Self::row).
    ///
    /// # Panics
    /// As [`row`](Self::row), and when the plugin takes no rows back.
    pub fn retract<C: AsRef<str>>(&mut self, group: &str, time_us: i64, row: &[Option<C>]) -> Result<(), String> {
        self.pass(group, time_us, row, Way::Back)
    }

    fn pass<C: AsRef<str>>(&mut self, group: &str, time_us: i64, row: &[Option<C>], way: Way) -> Result<(), String> {
        let batch = batch(&self.contract.reads, &self.input, &[row]);
        let rows = Rows { batch, group: vec![0], event_time_us: vec![time_us] };
        let done = aggregate::rows(&self.opened, 1, self.held(group), rows, way);
        if !done.changed.groups.is_empty() {
            self.groups.insert(group.to_owned(), done.changed.columns);
        }
        match done.rejects.into_iter().next() {
            None => Ok(()),
            Some(reject) => Err(crate::Reject::new(reject.code, reject.reason).to_string()),
        }
    }

    /// Adds what `other` has to `group` and forgets `other`.
    ///
    /// # Panics
    /// When the plugin does not merge.
    pub fn merge(&mut self, group: &str, other: &str) {
        let Some(other) = self.groups.remove(other) else { return };
        let merged = match self.groups.remove(group) {
            None => other,
            Some(own) => {
                let one = |columns| Batch { rows: 1, columns };
                aggregate::merge(&self.opened, one(own), one(other))
            }
        };
        self.groups.insert(group.to_owned(), merged);
    }

    /// The group's result.
    ///
    /// # Panics
    /// When it does not fit its type.
    pub fn finish(&self, group: &str) -> Cell {
        let column = aggregate::finish(&self.opened, 1, self.held(group));
        let gives = Part::of_schema(std::slice::from_ref(&self.contract.gives)).remove(0);
        decode_flat(&gives, &column, 1).remove(0)
    }

    fn held(&self, group: &str) -> Accumulators {
        match self.groups.get(group) {
            Some(columns) => Accumulators { groups: vec![0], columns: columns.clone() },
            None => Accumulators { groups: Vec::new(), columns: self.nothing() },
        }
    }

    fn nothing(&self) -> Vec<Column> {
        let mut columns = Vec::new();
        let parts = Part::of_schema(&self.contract.state);
        parts.iter().for_each(|part| super::encode(part, &[], &mut columns));
        columns
    }
}
