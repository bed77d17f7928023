//! Rows written to outputs, each with the row of the input that it came from.
//!
//! Invariant: a row is checked whole before its first value is pushed, so that all builders of an output always hold
//! the same number of rows.

use crate::reject::Reject;
use crate::types::{Type, Unfit};
use crate::wit::{self, Column};
use crate::write::{Declared, Misfit, WriteValue};

/// One column that a row type writes.
pub struct OutputColumn {
    pub name: &'static str,
    pub nullable: bool,
    declared: Declared,
    data_type: fn(Declared, Option<&Type>) -> Result<Type, Unfit>,
}

impl OutputColumn {
    pub fn of<T: WriteValue>(name: &'static str, declared: Declared) -> Self {
        Self { name, nullable: T::NULLABLE, declared, data_type: T::data_type }
    }

    /// The column's type; `namesake` is the input column that it replaces, if there is one.
    ///
    /// # Errors
    /// When neither the field's attribute nor its namesake says it.
    pub fn data_type(&self, namesake: Option<&Type>) -> Result<Type, Unfit> {
        (self.data_type)(self.declared, namesake)
    }
}

/// One named output: what `describe` tells of it.
pub struct OutputSpec {
    pub name: &'static str,
    pub columns: Vec<OutputColumn>,
    pub drops: &'static [&'static str],
    /// Its rows are the key's columns and these, not an input row with these.
    pub keyed: bool,
}

/// The columns of one output's rows. Derived on structs: one field per column.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a row that a plugin can write",
    label = "put #[derive(Output)] on this struct"
)]
pub trait OutputRow: Sized {
    type Builders;

    fn columns() -> Vec<OutputColumn>;

    /// Input columns that do not go on.
    fn drops() -> &'static [&'static str] {
        &[]
    }

    /// Whether its rows are the key's columns and these, in a `#[process]` plugin.
    fn keyed() -> bool {
        false
    }

    /// `types` are those of [`columns`](Self::columns), in that order.
    fn builders(types: &[Type], rows: usize) -> Self::Builders;

    /// # Errors
    /// A [`Misfit`] when a value does not fit its column.
    fn check(&self, builders: &Self::Builders) -> Result<(), Misfit>;

    fn push(self, builders: &mut Self::Builders);

    /// Fills the place of a row that is null where it stands in a column.
    fn fill(builders: &mut Self::Builders);

    fn finish(builders: Self::Builders) -> Vec<Column>;
}

/// The builders of one output and the input rows that its rows come from.
pub struct Sink<R: OutputRow> {
    builders: R::Builders,
    /// Absent while the rows are the first ones of the input, once each, in order.
    selected: Option<Vec<u32>>,
    rows: u32,
}

impl<R: OutputRow> Sink<R> {
    pub fn new(types: &[Type], rows: usize) -> Self {
        Self { builders: R::builders(types, rows), selected: None, rows: 0 }
    }

    /// # Errors
    /// A [`Reject`] when a value does not fit its column.
    #[inline]
    pub fn check(&self, row: &R) -> Result<(), Reject> {
        row.check(&self.builders).map_err(Misfit::reject)
    }

    #[inline]
    pub fn push(&mut self, row: R, source: u32) {
        row.push(&mut self.builders);
        match &mut self.selected {
            Some(selected) => selected.push(source),
            None if source == self.rows => {}
            None => self.selected = Some((0..self.rows).chain([source]).collect()),
        }
        self.rows += 1;
    }

    /// The rows, if there are any, of a batch that had `input_rows`.
    pub fn finish(self, output: u32, input_rows: u32) -> Option<wit::OutputRows> {
        let selection = match self.selected {
            _ if self.rows == 0 => return None,
            Some(selected) => wit::Selection::Rows(selected),
            None if self.rows == input_rows => wit::Selection::All,
            None => wit::Selection::Rows((0..self.rows).collect()),
        };
        Some(wit::OutputRows { output, selection, columns: R::finish(self.builders) })
    }
}

/// What a function writes: rows of one output (a struct), or of one of several (an enum of such structs).
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not what a #[transform] function can return",
    note = "it returns a struct or enum with #[derive(Output)], bool, Option<Row>, Vec<Row>, or Result<_, Reject> of these"
)]
pub trait Output: Sized {
    type Sinks;

    fn outputs() -> Vec<OutputSpec>;

    /// `types` has an entry per output, in the order of [`outputs`](Self::outputs).
    fn sinks(types: &[Vec<Type>], rows: usize) -> Self::Sinks;

    /// # Errors
    /// A [`Reject`] when a value does not fit its column.
    fn check(&self, sinks: &Self::Sinks) -> Result<(), Reject>;

    fn push(self, source: u32, sinks: &mut Self::Sinks);

    fn finish(sinks: Self::Sinks, input_rows: u32) -> Vec<wit::OutputRows>;
}

/// Keeps a row as it is: nothing is written, nothing dropped.
impl OutputRow for () {
    type Builders = ();

    fn columns() -> Vec<OutputColumn> {
        Vec::new()
    }

    fn builders(_: &[Type], _: usize) {}

    fn check(&self, (): &()) -> Result<(), Misfit> {
        Ok(())
    }

    fn push(self, (): &mut ()) {}

    fn fill((): &mut ()) {}

    fn finish((): ()) -> Vec<Column> {
        Vec::new()
    }
}

/// Makes a row type the only output of its plugin, `main`. The derive calls it.
#[doc(hidden)]
#[macro_export]
macro_rules! __only_output {
    ([$($generics:tt)*] $row:ty) => {
        impl $($generics)* $crate::output::Output for $row {
            type Sinks = $crate::output::Sink<Self>;

            fn outputs() -> ::std::vec::Vec<$crate::output::OutputSpec> {
                ::std::vec![$crate::output::OutputSpec {
                    name: "main",
                    columns: <Self as $crate::output::OutputRow>::columns(),
                    drops: <Self as $crate::output::OutputRow>::drops(),
                    keyed: <Self as $crate::output::OutputRow>::keyed(),
                }]
            }

            fn sinks(types: &[::std::vec::Vec<$crate::types::Type>], rows: usize) -> Self::Sinks {
                $crate::output::Sink::new(&types[0], rows)
            }

            #[inline]
            fn check(&self, sinks: &Self::Sinks) -> ::core::result::Result<(), $crate::Reject> {
                sinks.check(self)
            }

            #[inline]
            fn push(self, source: u32, sinks: &mut Self::Sinks) {
                sinks.push(self, source);
            }

            fn finish(sinks: Self::Sinks, input_rows: u32) -> ::std::vec::Vec<$crate::wit::OutputRows> {
                sinks.finish(0, input_rows).into_iter().collect()
            }
        }
    };
}
__only_output!([]());
