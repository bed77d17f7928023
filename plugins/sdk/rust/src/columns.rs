//! Whole columns at once: views into the batch's buffers, and builders that are the answer's buffers. For functions that
//! gain by it, numbers above all; a function over rows says the same in fewer words.
//!
//! ```
//! use weir_sdk::prelude::*;
//!
//! /// The columns that are read, without a copy.
//! #[derive(InputColumns)]
//! struct Readings<'a> {
//!     celsius: ColumnView<'a, f64>,
//!     place: ColumnView<'a, Option<&'a str>>,
//! }
//!
//! /// The columns that are written.
//! #[derive(OutputColumns)]
//! struct Judged {
//!     fahrenheit: ColumnBuilder<f64>,
//!     hot: ColumnBuilder<bool>,
//! }
//!
//! #[derive(Config)]
//! struct Rules {
//!     #[config(default = 30.0)]
//!     hot_from: f64,
//! }
//!
//! #[transform(columns, name = "judge", version = "1.0.0")]
//! fn judge(readings: Readings, judged: &mut Judged, rows: &mut Rows, rules: &Rules) {
//!     let celsius = readings.celsius.values();
//!     judged.fahrenheit.values().extend(celsius.iter().map(|celsius| celsius * 1.8 + 32.0));
//!     judged.hot.extend(celsius.iter().map(|celsius| *celsius >= rules.hot_from));
//!     for (row, place) in readings.place.iter().enumerate() {
//!         if place.is_none() {
//!             rows.reject(row, reject!("place-missing"));
//!         }
//!     }
//! }
//!
//! # fn main() {
//! # use weir_sdk::testing::Instance;
//! let plugin = Instance::<judge>::open("{}", &[("celsius", "float64!"), ("place", "utf8")]).unwrap();
//! let outcome = plugin.process(&[[Some("10"), Some("hall")], [Some("99"), None], [Some("35"), Some("roof")]]);
//! let row = |texts: [&str; 2]| texts.map(|text| Some(text.to_owned()));
//! assert_eq!(outcome.rows("main"), [row(["50", "false"]), row(["95", "true"])]);
//! assert_eq!(outcome.rejects, [(1, "place-missing".to_owned())]);
//! # }
//! ```
//!
//! Invariant: each builder ends with a value for every row of the batch, or with one for every row that is kept; values
//! of the others are taken out. There is one output; rows neither multiply nor change places.

mod lists;
mod take;

use crate::input::{InputColumn, Node, Nodes, ReadValue};
use crate::output::{OutputColumn, OutputSpec};
use crate::plugin::{Opened, Shape};
use crate::reject::Reject;
use crate::types::Type;
use crate::wit::{self, Batch, Cardinality, Column, Transformed};
use crate::write::{DecimalField, Declared, Misfit, TimestampField, WriteValue};

pub use lists::{ListView, Nullable};
use take::take;

/// One column of the batch. `T` is what a row has there: `f64`, `Option<&str>`, `Decimal` ...
pub struct ColumnView<'a, T: ReadValue<'a>> {
    column: T::Column,
    rows: usize,
}

impl<'a, T: ReadValue<'a>> ColumnView<'a, T> {
    /// Rows of the batch.
    pub fn len(&self) -> usize {
        self.rows
    }

    pub fn is_empty(&self) -> bool {
        self.rows == 0
    }

    /// The value of a row.
    ///
    /// # Panics
    /// When the batch has no such row.
    #[inline]
    pub fn get(&self, row: usize) -> T {
        T::read(&self.column, row)
    }

    /// The values in the order of the rows.
    pub fn iter(&self) -> impl Iterator<Item = T> {
        (0..self.rows).map(|row| T::read(&self.column, row))
    }
}

/// Numbers that cross as they stand in memory.
pub trait FixedWidth: Copy + for<'a> ReadValue<'a, Column = &'a [Self]> + WriteValue<Builder = Vec<Self>> {}

macro_rules! fixed_width {
    ($($number:ty)*) => { $(impl FixedWidth for $number {})* };
}
fixed_width!(i8 i16 i32 i64 u8 u16 u32 u64 f32 f64);

impl<'a, N: FixedWidth> ColumnView<'a, N> {
    /// The column's buffer.
    pub fn values(&self) -> &'a [N] {
        self.column
    }
}

impl<'a, N: FixedWidth> ColumnView<'a, Option<N>> {
    /// The column's buffer; what stands in the place of a null means nothing.
    pub fn values(&self) -> &'a [N] {
        self.column.1
    }

    /// A bit for each row, least significant first, 1 where there is a value; absent where no row is null.
    pub fn validity(&self) -> Option<&'a [u8]> {
        self.column.0
    }
}

/// One column of the answer.
pub struct ColumnBuilder<T: WriteValue> {
    name: &'static str,
    of: Type,
    builder: T::Builder,
}

impl<T: WriteValue> ColumnBuilder<T> {
    /// Values so far.
    pub fn len(&self) -> usize {
        T::rows(&self.builder)
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether the column can hold a value exactly. Only decimals and timestamps may not fit.
    ///
    /// # Errors
    /// The [`Reject`] for the value's row.
    pub fn check(&self, value: &T) -> Result<(), Reject> {
        value.check(&self.builder).map_err(|misfit: Misfit| misfit.inside(self.name).reject())
    }

    /// Adds the next value.
    ///
    /// # Panics
    /// When it does not fit, see [`check`](Self::check).
    #[inline]
    pub fn push(&mut self, value: T) {
        if let Err(reject) = self.check(&value) {
            panic!("{reject}; check() a value before push()");
        }
        value.write(&mut self.builder);
    }
}

impl<T: WriteValue> Extend<T> for ColumnBuilder<T> {
    fn extend<I: IntoIterator<Item = T>>(&mut self, values: I) {
        values.into_iter().for_each(|value| self.push(value));
    }
}

impl<N: FixedWidth> ColumnBuilder<N> {
    /// The column's buffer itself.
    pub fn values(&mut self) -> &mut Vec<N> {
        &mut self.builder
    }
}

impl<T: WriteValue + DecimalField> DecimalField for ColumnBuilder<T> {}
impl<T: WriteValue + TimestampField> TimestampField for ColumnBuilder<T> {}

/// What becomes of the batch's rows: all of them are kept, but for those that are dropped or rejected here.
pub struct Rows {
    count: usize,
    /// Empty while all are kept.
    gone: Vec<bool>,
    rejects: Vec<wit::Reject>,
}

impl Rows {
    fn new(count: usize) -> Self {
        Self { count, gone: Vec::new(), rejects: Vec::new() }
    }

    /// Rows of the batch.
    pub fn len(&self) -> usize {
        self.count
    }

    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Filters a row out.
    ///
    /// # Panics
    /// When the batch has no such row.
    pub fn drop(&mut self, row: usize) {
        self.gone.resize(self.count, false);
        self.gone[row] = true;
    }

    /// Refuses a row: it becomes a dead letter. The first reject of a row counts.
    ///
    /// # Panics
    /// When the batch has no such row.
    pub fn reject(&mut self, row: usize, Reject { code, reason }: Reject) {
        self.drop(row);
        self.rejects.push(wit::Reject { row: row as u32, code: code.into_owned(), reason });
    }

    pub fn is_kept(&self, row: usize) -> bool {
        !self.gone.get(row).is_some_and(|gone| *gone)
    }

    /// The rows that are kept so far, in order.
    pub fn kept(&self) -> impl Iterator<Item = usize> {
        (0..self.count).filter(|row| self.is_kept(*row))
    }

    fn finish<O: OutputColumns>(mut self, output: O) -> Transformed {
        let kept: Vec<u32> = self.kept().map(|row| row as u32).collect();
        let columns = output.finish().into_iter().flat_map(|column| column.of(&kept, self.count)).collect();
        let selection = if kept.len() == self.count { wit::Selection::All } else { wit::Selection::Rows(kept.clone()) };
        let rows = wit::OutputRows { output: 0, selection, columns };
        self.rejects.sort_by_key(|reject| reject.row);
        self.rejects.dedup_by_key(|reject| reject.row);
        Transformed { outputs: if kept.is_empty() { Vec::new() } else { vec![rows] }, rejects: self.rejects }
    }
}

/// The columns that a function takes. Derived: one [`ColumnView`] per column.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not what a #[transform(columns)] function can take",
    label = "put #[derive(InputColumns)] on this struct"
)]
pub trait InputColumns<'a>: Sized {
    fn columns() -> Vec<InputColumn>;

    /// The nodes are those of [`columns`](Self::columns), in that order, of `rows` rows.
    fn bind(nodes: &mut Nodes<'a, '_>, rows: usize) -> Self;
}

/// The columns that a function writes. Derived: one [`ColumnBuilder`] per column.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not what a #[transform(columns)] function can write",
    label = "put #[derive(OutputColumns)] on this struct"
)]
pub trait OutputColumns: Sized {
    fn columns() -> Vec<OutputColumn>;

    /// Input columns that do not go on.
    fn drops() -> &'static [&'static str] {
        &[]
    }

    /// `types` are those of [`columns`](Self::columns), in that order; `rows`: of the batch.
    fn new(types: &[Type], rows: usize) -> Self;

    fn finish(self) -> Vec<Finished>;
}

/// Rows go on as they are, as far as they are kept.
impl OutputColumns for () {
    fn columns() -> Vec<OutputColumn> {
        Vec::new()
    }

    fn new(_: &[Type], _: usize) {}

    fn finish(self) -> Vec<Finished> {
        Vec::new()
    }
}

/// A field of [`InputColumns`].
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a view of a column",
    note = "fields are ColumnView<'a, T>; columns are read as ColumnView<'a, f64>, ColumnView<'a, Option<&'a str>> and so on, lists as ListView<'a, ColumnView<'a, f64>>, structs as a struct with #[derive(InputColumns)]"
)]
pub trait ViewField<'a>: Sized {
    fn declared(name: &'static str) -> InputColumn;

    fn bind(node: &Node<'a, '_>, rows: usize) -> Self;
}

impl<'a, T: ReadValue<'a>> ViewField<'a> for ColumnView<'a, T> {
    fn declared(name: &'static str) -> InputColumn {
        InputColumn::of::<T>(name)
    }

    fn bind(node: &Node<'a, '_>, rows: usize) -> Self {
        Self { column: T::bind(node), rows }
    }
}

/// A field of [`OutputColumns`].
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a builder of a column",
    note = "fields are ColumnBuilder<T>; columns are written by ColumnBuilder<f64>, ColumnBuilder<Option<String>> and so on"
)]
pub trait BuilderField: Sized {
    fn declared(name: &'static str, declared: Declared) -> OutputColumn;

    fn new(name: &'static str, of: &Type, rows: usize) -> Self;

    fn finish(self) -> Finished;
}

impl<T: WriteValue> BuilderField for ColumnBuilder<T> {
    fn declared(name: &'static str, declared: Declared) -> OutputColumn {
        OutputColumn::of::<T>(name, declared)
    }

    fn new(name: &'static str, of: &Type, rows: usize) -> Self {
        Self { name, of: of.clone(), builder: T::builder(of, rows) }
    }

    fn finish(self) -> Finished {
        let (values, mut columns) = (self.len(), Vec::new());
        T::finish(self.builder, &mut columns);
        Finished { name: self.name, of: self.of, values, columns }
    }
}

/// A column that nothing more is added to.
pub struct Finished {
    name: &'static str,
    of: Type,
    values: usize,
    /// Its own, and those in it.
    columns: Vec<Column>,
}

impl Finished {
    /// The column with the values of the rows that are kept.
    fn of(self, kept: &[u32], rows: usize) -> Vec<Column> {
        let Self { name, of, values, columns } = self;
        match values {
            values if values == kept.len() => columns,
            values if values == rows => {
                let mut taken = Vec::with_capacity(columns.len());
                take(&mut columns.into_iter(), &of, kept, &mut taken);
                taken
            }
            values => panic!(
                "column `{name}`: {values} values for {rows} rows, of which {} are kept; push one for each row, or one for \
                 each that is kept",
                kept.len()
            ),
        }
    }
}

fn shape_of<'a, I: InputColumns<'a>, O: OutputColumns>() -> Shape {
    let main = OutputSpec { name: "main", columns: O::columns(), drops: O::drops(), keyed: false };
    Shape { reads: I::columns(), cardinality: Cardinality::Filter, outputs: vec![main], tables: Vec::new() }
}

/// The shape of a function without configuration.
pub fn shape<'a, I: InputColumns<'a>, O: OutputColumns>(_: impl Fn(I, &mut O, &mut Rows)) -> Shape {
    shape_of::<I, O>()
}

/// The shape of a function with configuration.
pub fn shape_with<'a, C: 'a, I: InputColumns<'a>, O: OutputColumns>(_: impl Fn(I, &mut O, &mut Rows, &'a C)) -> Shape {
    shape_of::<I, O>()
}

/// Calls the function for the batch.
pub fn each<'a, C, I: InputColumns<'a>, O: OutputColumns>(
    function: impl Fn(I, &mut O, &mut Rows),
    opened: &'a Opened<C>,
    batch: &'a Batch,
) -> Transformed {
    let count = batch.rows as usize;
    let (mut output, mut rows) = (O::new(&opened.writes[0], count), Rows::new(count));
    function(I::bind(&mut Nodes::of(batch, &opened.reads), count), &mut output, &mut rows);
    rows.finish(output)
}

/// Calls the function with its configuration for the batch.
pub fn each_with<'a, C, I: InputColumns<'a>, O: OutputColumns>(
    function: impl Fn(I, &mut O, &mut Rows, &'a C),
    opened: &'a Opened<C>,
    batch: &'a Batch,
) -> Transformed {
    each(|input, output: &mut O, rows: &mut Rows| function(input, output, rows, &opened.config), opened, batch)
}
