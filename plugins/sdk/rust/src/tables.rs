//! Look-ups in the tables that a step's manifest names, for plugins of the world `enrich`; see [`mod@crate::enrich`].
//!
//! Invariant: a batch asks each table once, for all of its rows; a key is written in the order of the table's own key, and
//! its answer read as the types that `describe` agreed on. In a native test the tables are the test's
//! ([`testing::tables`](crate::testing::tables)).

use crate::enrich_bindings::weir::plugin::tables::{Found, Refusal, Table, TableUse};
use crate::input::{self, Input, InputColumn};
use crate::plugin::{field, names};
use crate::reject::Reject;
use crate::types::{Part, Type};
use crate::wit::{Batch, Column, Fault};

/// Code of the reject of a row whose key has an answer that is none, as in the host's own look-ups.
const REFUSED: &str = "lookup";

/// What a table is asked with. Derived: `#[derive(LookupKey)]`, a field for each column of the table's key.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a key that a table can be asked with",
    label = "put #[derive(LookupKey)] #[lookup(table = \"..\", row = Row)] on this struct",
    note = "a function for questions returns a Request or such a key, an Option, a Vec or a tuple of them"
)]
pub trait LookupKey: Sized {
    /// What is read of a row that is found: a struct with `#[derive(Input)]` and no lifetime.
    type Row: for<'t> Input<'t>;
    type Builders;
    const TABLE: &'static str;

    fn key() -> Vec<InputColumn>;

    /// `types` are those of [`key`](Self::key), in that order.
    fn builders(types: &[Type]) -> Self::Builders;

    /// # Errors
    /// When a value cannot be one of its column's.
    fn check(&self, builders: &Self::Builders) -> Result<(), Reject>;

    fn push(self, builders: &mut Self::Builders);

    fn finish(builders: Self::Builders) -> Vec<Column>;
}

/// What a function asks of one table.
pub struct TableSpec {
    pub table: &'static str,
    pub key: Vec<InputColumn>,
    pub columns: Vec<InputColumn>,
}

impl TableSpec {
    pub fn of<K: LookupKey>() -> Self {
        Self { table: K::TABLE, key: K::key(), columns: <K::Row as Input<'_>>::columns() }
    }

    pub(crate) fn usage(&self) -> TableUse {
        let columns = self.columns.iter().map(|column| column.name.into()).collect();
        TableUse { table: self.table.into(), columns }
    }

    /// What does not fit the tables that the step has.
    pub(crate) fn faults(&self, tables: &[Table]) -> Vec<Fault> {
        let Some(table) = tables.iter().find(|table| table.name == self.table) else {
            let has: Vec<&str> = tables.iter().map(|table| table.name.as_str()).collect();
            let has = if has.is_empty() { "none".to_owned() } else { has.join(", ") };
            return vec![self.fault(format!("looked up by the plugin, not among the step's `tables` (has: {has})"))];
        };
        let (has_key, has) = (Part::of_schema(&table.key), Part::of_schema(&table.columns));
        let key = self.key.iter().filter_map(|column| self.key_fault(column, &has_key));
        let missing = has_key.iter().filter(|has| !self.key.iter().any(|column| column.name == has.name));
        let missing = missing.map(|has| self.fault(format!("its key has `{}`, the plugin's has not", has.name)));
        let columns = self.columns.iter().filter_map(|column| self.column_fault(column, &has));
        key.chain(missing).chain(columns).collect()
    }

    fn key_fault(&self, column: &InputColumn, key: &[Part]) -> Option<Fault> {
        let name = column.name;
        let message = match field(key, name) {
            None => format!("the plugin's key has `{name}`, the table's has not"),
            // What may be null there may still be asked without nulls.
            Some(part) => format!("key column `{name}` {}", (column.unfit)(&part.of)?.text()),
        };
        Some(self.fault(message))
    }

    fn column_fault(&self, column: &InputColumn, columns: &[Part]) -> Option<Fault> {
        let message = match field(columns, column.name) {
            None => format!("read by the plugin, not among its columns (has: {})", names(columns)),
            Some(part) => column.misfit(part)?.text(),
        };
        Some(self.fault(format!("column `{}`: {message}", column.name)))
    }

    fn fault(&self, message: String) -> Fault {
        Fault { config_path: None, column: None, message: format!("table `{}`: {message}", self.table) }
    }

    /// # Panics
    /// When the table is not there, which [`faults`](Self::faults) says.
    pub(crate) fn opened(&self, number: usize, tables: &[Table]) -> OpenTable {
        let table = tables.iter().find(|table| table.name == self.table).expect("`describe` found the table");
        let (key, columns) = (Part::of_schema(&table.key), Part::of_schema(&table.columns));
        let place = |has: &Part| self.key.iter().position(|column| column.name == has.name);
        let of = |parts: &[Part], columns: &[InputColumn]| {
            let type_of = |column: &InputColumn| field(parts, column.name).expect("`describe` found it");
            columns.iter().map(|column| type_of(column).of.clone()).collect()
        };
        OpenTable {
            number: u32::try_from(number).expect("a handful of tables"),
            order: key.iter().map(|has| place(has).expect("`describe` found it")).collect(),
            key: of(&key, &self.key),
            columns: of(&columns, &self.columns),
        }
    }
}

/// A table that was agreed on.
#[derive(Debug, Clone)]
pub struct OpenTable {
    number: u32,
    /// Of each column of the table's key: which of the struct's it is.
    order: Vec<usize>,
    /// Types of the struct's columns.
    key: Vec<Type>,
    /// Types of the answer's.
    columns: Vec<Type>,
}

/// The keys that the rows of one batch ask one table.
pub struct Keys<K: LookupKey> {
    table: OpenTable,
    builders: K::Builders,
    count: u32,
}

impl<K: LookupKey> Keys<K> {
    pub(crate) fn new(table: &OpenTable) -> Self {
        Self { builders: K::builders(&table.key), table: table.clone(), count: 0 }
    }

    pub(crate) fn check(&self, key: &K) -> Result<(), Reject> {
        key.check(&self.builders)
    }

    pub(crate) fn push(&mut self, key: K) {
        key.push(&mut self.builders);
        self.count += 1;
    }

    /// Asks; an answer for each key, in the order of the keys.
    pub(crate) fn ask(self) -> impl Iterator<Item = Result<Option<K::Row>, Reject>> {
        let Self { table, builders, count } = self;
        let found = if count == 0 {
            Found { keys: Vec::new(), columns: Vec::new(), refused: Vec::new() }
        } else {
            let mut written: Vec<Option<Column>> = K::finish(builders).into_iter().map(Some).collect();
            let columns = table.order.iter().map(|place| written[*place].take().expect("each column once")).collect();
            look_up(table.number, &Batch { rows: count, columns })
        };
        let mut rows = rows_of::<K::Row>(found.keys, found.columns, &table.columns).into_iter().peekable();
        let mut refused = found.refused.into_iter().peekable();
        (0..count).map(move |key| match refused.next_if(|refusal| refusal.key == key) {
            Some(Refusal { reason, .. }) => Err(Reject::new(REFUSED, reason)),
            None => Ok(rows.next_if(|(of, _)| *of == key).map(|(_, row)| row)),
        })
    }
}

fn rows_of<R: for<'t> Input<'t>>(keys: Vec<u32>, columns: Vec<Column>, types: &[Type]) -> Vec<(u32, R)> {
    if keys.is_empty() {
        return Vec::new();
    }
    let batch = Batch { rows: u32::try_from(keys.len()).expect("keys are numbered by u32"), columns };
    let bound = input::bind::<R>(&batch, types);
    keys.into_iter().enumerate().map(|(row, key)| (key, <R as Input<'_>>::read(&bound, row))).collect()
}

#[cfg(target_arch = "wasm32")]
use crate::enrich_bindings::weir::plugin::tables::look_up;

#[cfg(not(target_arch = "wasm32"))]
use native::look_up;
pub(crate) use native::with_tables;

/// What answers in a native test.
mod native {
    use std::cell::RefCell;
    use std::rc::Rc;

    use super::{Batch, Found};

    type LookUp = Rc<dyn Fn(u32, &Batch) -> Found>;

    std::thread_local! {
        static TABLES: RefCell<Option<LookUp>> = const { RefCell::new(None) };
    }

    /// # Panics
    /// When the test opened the plugin without tables.
    #[cfg(not(target_arch = "wasm32"))]
    pub fn look_up(table: u32, keys: &Batch) -> Found {
        let tables = TABLES.with_borrow(Clone::clone).expect("nobody has the tables: use `Instance::open_with`");
        tables(table, keys)
    }

    /// Lets `tables` answer what `run` asks.
    pub fn with_tables<T>(tables: LookUp, run: impl FnOnce() -> T) -> T {
        let before = TABLES.replace(Some(tables));
        let result = run();
        TABLES.replace(before);
        result
    }
}
