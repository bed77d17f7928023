//! Plugins that aggregate: a struct that is the plugin's configuration, with functions that put rows into an accumulator and
//! make a result of it.
//!
//! ```
//! use weir_sdk::prelude::*;
//!
//! #[derive(Input)]
//! struct Trade {
//!     price: f64,
//!     quantity: i64,
//! }
//!
//! /// What is kept of a group's rows, in the host: a column for each field.
//! #[derive(Input, Output, Default)]
//! struct Sums {
//!     money: f64,
//!     quantity: i64,
//! }
//!
//! #[derive(Config)]
//! struct AveragePrice {}
//!
//! #[aggregate(name = "average-price", version = "1.0.0")]
//! impl Aggregate for AveragePrice {
//!     type Row = Trade;
//!     type Accumulator = Sums;
//!     type Gives = Option<f64>;
//!
//!     fn accumulate(&self, sums: &mut Sums, trade: Trade, _: Timestamp) -> Result<(), Reject> {
//!         if trade.quantity <= 0 {
//!             return Err(reject!("quantity", "{} is none", trade.quantity));
//!         }
//!         sums.money += trade.price * trade.quantity as f64;
//!         sums.quantity += trade.quantity;
//!         Ok(())
//!     }
//!
//!     fn finish(&self, sums: &Sums) -> Option<f64> {
//!         (sums.quantity > 0).then(|| sums.money / sums.quantity as f64)
//!     }
//!
//!     fn merge(&self, sums: &mut Sums, other: Sums) {
//!         sums.money += other.money;
//!         sums.quantity += other.quantity;
//!     }
//! }
//!
//! # fn main() {
//! let columns = [("price", "float64!"), ("quantity", "int64!")];
//! let mut plugin = weir_sdk::testing::aggregate::Instance::<AveragePrice>::open("{}", &columns).unwrap();
//! plugin.row("acme", 0, &[Some("10"), Some("3")]).unwrap();
//! plugin.row("acme", 1, &[Some("20"), Some("1")]).unwrap();
//! assert_eq!(plugin.finish("acme"), Some("12.5".to_owned()));
//! assert_eq!(plugin.row("acme", 2, &[Some("20"), Some("0")]).unwrap_err(), "quantity: 0 is none");
//! # }
//! ```
//!
//! What a group is, a key or a key's window, and when it gives its result the step says. A call of the host brings rows of
//! many groups with their accumulators, and what changed goes back when it returns, so a trap changes nothing. `merge` and
//! `retract` may be left out: a step that needs one of them then refuses the plugin.

use crate::aggregate_bindings::exports::weir::plugin::aggregate::{Accumulated, Accumulators, Contract, Rows};
use crate::config::{self, Config};
use crate::input::{self, Input};
use crate::output::OutputColumn;
use crate::plugin::{self, fault_text, read_fault};
use crate::reject::Reject;
use crate::state::Entry;
use crate::time::Timestamp;
use crate::types::{Part, Type};
use crate::wit::{self, Batch, Column, Fault, Field};
use crate::write::{Declared, WriteValue};

/// A plugin that aggregates. The type is its configuration; `#[aggregate]` on the implementation exports it.
pub trait Aggregate: Config {
    /// The columns that the plugin reads: a struct that owns what it reads, without a lifetime.
    type Row: for<'a> Input<'a>;
    /// What is kept of a group's rows: a number, a text, a moment; or a struct with `Input`, `Output` and `Default` derived,
    /// a column for each of its fields.
    type Accumulator: Entry + Default;
    /// The result: a value as a field of an output may be, an `Option` of one where it may be null.
    type Gives: WriteValue;

    /// To be raised when accumulators mean something else than before; their columns count of themselves.
    const STATE_VERSION: u32 = 1;

    /// What a result that is a decimal or a timestamp is declared as: `Declared::Decimal { precision: 12, scale: 2 }`.
    const GIVES: Declared = Declared::Nothing;

    /// Adds one row; `at` is its event time. A row is to be rejected before the accumulator is changed.
    fn accumulate(&self, accumulator: &mut Self::Accumulator, row: Self::Row, at: Timestamp) -> impl Taken;

    /// The result of a group. `Default` is the accumulator of one without rows.
    fn finish(&self, accumulator: &Self::Accumulator) -> Self::Gives;

    /// Adds what another accumulator has, as if its rows had come here: for windows that overlap, and for sessions.
    fn merge(&self, accumulator: &mut Self::Accumulator, other: Self::Accumulator) {
        let _ = (accumulator, other);
        unreachable!("the host merges only what says that it can be")
    }

    /// Takes a row back, as if it had never come: for aggregates over tables, whose rows change.
    fn retract(&self, accumulator: &mut Self::Accumulator, row: Self::Row, at: Timestamp) -> impl Taken {
        let _ = (accumulator, row, at);
        Err::<(), _>(Reject::new("takes-nothing-back", ""))
    }
}

/// Whether a row was taken: nothing, or a `Result` with its reject.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not what a function that takes a row into an aggregate can return",
    note = "it returns nothing, or Result<(), Reject>"
)]
pub trait Taken {
    /// # Errors
    /// The row's reject.
    fn taken(self) -> Result<(), Reject>;
}

impl Taken for () {
    fn taken(self) -> Result<(), Reject> {
        Ok(())
    }
}

impl Taken for Result<(), Reject> {
    fn taken(self) -> Result<(), Reject> {
        self
    }
}

/// A plugin's name and version, and what it can do. `#[aggregate]` implements it.
pub trait Named {
    const NAME: &'static str;
    const VERSION: &'static str;
    const MERGES: bool;
    const RETRACTS: bool;
}

/// A configured plugin and the types that it was opened for.
pub struct Opened<P> {
    plugin: P,
    reads: Vec<Type>,
    state: Vec<Type>,
    gives: Type,
}

/// Answers `describe`.
///
/// # Errors
/// Everything that does not fit.
pub fn describe<P: Aggregate + Named>(text: &str, input: &[Field]) -> Result<Contract, Vec<Fault>> {
    let (reads, input) = (<P::Row as Input<'_>>::columns(), &Part::of_schema(input));
    let mut faults: Vec<Fault> = reads.iter().filter_map(|column| read_fault(column, input)).collect();
    let columns = P::Accumulator::columns("value", Declared::Nothing);
    let mut state = Vec::new();
    let parts: Vec<Part> = columns.iter().filter_map(|column| declared("accumulator", column, &mut faults)).collect();
    parts.iter().for_each(|part| part.list_into(&mut state));
    let gives = declared("result", &OutputColumn::of::<P::Gives>("result", P::GIVES), &mut faults);
    if gives.as_ref().is_some_and(|gives| !gives.of.children.is_empty()) {
        let message = "result: it is one value, not a list or a struct".into();
        faults.push(Fault { config_path: None, column: None, message });
    }
    if let Err(unfit) = config::read::<P>(text) {
        faults.extend(unfit);
    }
    let (Some(gives), true) = (gives, faults.is_empty()) else { return Err(faults) };
    Ok(Contract {
        name: P::NAME.into(),
        version: P::VERSION.into(),
        reads: reads.iter().map(|column| column.name.into()).collect(),
        state_version: P::STATE_VERSION,
        state,
        gives: Field { name: gives.name, data_type: gives.of.data_type, nullable: gives.nullable, children: 0 },
        merges: P::MERGES,
        retracts: P::RETRACTS,
        // A component of this SDK has no clock and no randomness.
        deterministic: true,
        config_schema: config::schema::<P>(),
    })
}

fn declared(of: &str, column: &OutputColumn, faults: &mut Vec<Fault>) -> Option<Part> {
    match column.data_type(None) {
        Ok(data_type) => Some(Part { name: column.name.into(), nullable: column.nullable, of: data_type }),
        Err(lack) => {
            let message = format!("{of}: {}", lack.within(column.name).text());
            faults.push(Fault { config_path: None, column: None, message });
            None
        }
    }
}

/// Answers `open`.
///
/// # Errors
/// The faults that `describe` finds, in one text.
pub fn open<P: Aggregate + Named>(text: &str, input: &[Field]) -> Result<Opened<P>, String> {
    let in_words = |faults: Vec<Fault>| faults.iter().map(fault_text).collect::<Vec<_>>().join("; ");
    let contract = describe::<P>(text, input).map_err(in_words)?;
    Ok(Opened {
        plugin: config::read(text).map_err(in_words)?,
        reads: plugin::types_of(&contract.reads, input),
        state: plugin::types(&contract.state),
        gives: contract.gives.data_type.into(),
    })
}

/// Which way rows go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    In,
    Back,
}

/// Answers `accumulate` and `retract`.
pub fn rows<P: Aggregate>(opened: &Opened<P>, groups: u32, held: Accumulators, rows: Rows, way: Way) -> Accumulated {
    let columns = input::bind::<P::Row>(&rows.batch, &opened.reads);
    let mut loaded = load(opened, groups, held);
    let mut changed = vec![false; groups as usize];
    let mut rejects = Vec::new();
    for row in 0..rows.batch.rows {
        let (at, group) = (row as usize, rows.group[row as usize] as usize);
        let accumulator = loaded[group].get_or_insert_with(P::Accumulator::default);
        let (value, time) = (<P::Row as Input<'_>>::read(&columns, at), Timestamp::from_micros(rows.event_time_us[at]));
        let taken = match way {
            Way::In => opened.plugin.accumulate(accumulator, value, time).taken(),
            Way::Back => opened.plugin.retract(accumulator, value, time).taken(),
        };
        match taken {
            Ok(()) => changed[group] = true,
            Err(Reject { code, reason }) => rejects.push(wit::Reject { row, code: code.into_owned(), reason }),
        }
    }
    let (mut numbers, mut writer) = (Vec::new(), P::Accumulator::writer(&opened.state));
    for (group, accumulator) in (0..).zip(loaded) {
        if let Some(accumulator) = accumulator.filter(|_| changed[group as usize]) {
            numbers.push(group);
            accumulator.write(&mut writer);
        }
    }
    Accumulated { rejects, changed: Accumulators { groups: numbers, columns: P::Accumulator::finish(writer) } }
}

/// Answers `merge`.
pub fn merge<P: Aggregate>(opened: &Opened<P>, into: Batch, other: Batch) -> Vec<Column> {
    let (left, right) = (P::Accumulator::bind(&into, &opened.state), P::Accumulator::bind(&other, &opened.state));
    let mut writer = P::Accumulator::writer(&opened.state);
    for pair in 0..into.rows as usize {
        let mut merged = P::Accumulator::read(&left, pair);
        opened.plugin.merge(&mut merged, P::Accumulator::read(&right, pair));
        merged.write(&mut writer);
    }
    P::Accumulator::finish(writer)
}

/// Answers `finish`.
///
/// # Panics
/// When a result does not fit its type: the groups of the call are then tried one by one.
pub fn finish<P: Aggregate>(opened: &Opened<P>, groups: u32, held: Accumulators) -> Column {
    let mut builder = <P::Gives as WriteValue>::builder(&opened.gives, groups as usize);
    for accumulator in load(opened, groups, held) {
        let result = opened.plugin.finish(&accumulator.unwrap_or_default());
        if let Err(misfit) = result.check(&builder) {
            panic!("{}", misfit.inside("result").reject());
        }
        result.write(&mut builder);
    }
    let mut columns = Vec::new();
    <P::Gives as WriteValue>::finish(builder, &mut columns);
    columns.pop().expect("a flat result is one column")
}

/// The accumulators that there are, by number of the group.
fn load<P: Aggregate>(opened: &Opened<P>, groups: u32, held: Accumulators) -> Vec<Option<P::Accumulator>> {
    let Accumulators { groups: numbers, columns } = held;
    let batch = Batch { rows: numbers.len() as u32, columns };
    let read = P::Accumulator::bind(&batch, &opened.state);
    let mut loaded: Vec<Option<P::Accumulator>> = (0..groups).map(|_| None).collect();
    for (entry, group) in numbers.iter().enumerate() {
        loaded[*group as usize] = Some(P::Accumulator::read(&read, entry));
    }
    loaded
}

/// Exports a plugin as the component's `aggregate` interface. `#[aggregate]` calls it.
#[doc(hidden)]
#[macro_export]
macro_rules! __export_aggregate {
    ($plugin:ty) => {
        // Natively nothing calls the plugin but tests; this keeps the compiler from calling it dead.
        #[cfg(not(target_arch = "wasm32"))]
        const _: () = {
            use $crate::aggregate::{Opened, Way};
            use $crate::aggregate_bindings::exports::weir::plugin::aggregate as exported;
            use $crate::wit::{Batch, Column};

            type Held = exported::Accumulators;
            const _: fn(&Opened<$plugin>, u32, Held, exported::Rows, Way) -> exported::Accumulated =
                $crate::aggregate::rows;
            const _: fn(&Opened<$plugin>, Batch, Batch) -> ::std::vec::Vec<Column> = $crate::aggregate::merge;
            const _: fn(&Opened<$plugin>, u32, Held) -> Column = $crate::aggregate::finish;
        };

        #[cfg(target_arch = "wasm32")]
        const _: () = {
            use ::std::{string::String, vec::Vec};
            use $crate::aggregate::{self, Opened, Way};
            use $crate::aggregate_bindings::exports::weir::plugin::aggregate as exported;
            use $crate::wit;

            struct Component;

            ::std::thread_local! {
                static OPENED: ::std::cell::OnceCell<Opened<$plugin>> = const { ::std::cell::OnceCell::new() };
            }

            fn opened<T>(act: impl FnOnce(&Opened<$plugin>) -> T) -> T {
                OPENED.with(|cell| act(cell.get().expect("the host opens before it aggregates")))
            }

            impl exported::Guest for Component {
                fn describe(config: String, input: Vec<wit::Field>) -> Result<exported::Contract, Vec<wit::Fault>> {
                    $crate::plugin::report_panics();
                    aggregate::describe::<$plugin>(&config, &input)
                }

                fn open(config: String, input: Vec<wit::Field>) -> Result<(), String> {
                    $crate::plugin::report_panics();
                    let opened = aggregate::open::<$plugin>(&config, &input)?;
                    OPENED.with(|cell| cell.set(opened)).map_err(|_| "opened twice".into())
                }

                fn accumulate(
                    groups: u32,
                    held: exported::Accumulators,
                    rows: exported::Rows,
                ) -> exported::Accumulated {
                    opened(|opened| aggregate::rows(opened, groups, held, rows, Way::In))
                }

                fn retract(groups: u32, held: exported::Accumulators, rows: exported::Rows) -> exported::Accumulated {
                    opened(|opened| aggregate::rows(opened, groups, held, rows, Way::Back))
                }

                fn merge(into: wit::Batch, other: wit::Batch) -> Vec<wit::Column> {
                    opened(|opened| aggregate::merge(opened, into, other))
                }

                fn finish(groups: u32, held: exported::Accumulators) -> wit::Column {
                    opened(|opened| aggregate::finish(opened, groups, held))
                }
            }

    $crate::aggregate_bindings::export_aggregate!(Component with_types_in $crate::aggregate_bindings);
        };
    };
}
