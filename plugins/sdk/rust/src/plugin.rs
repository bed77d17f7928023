//! The glue between `wit/`'s exports and one function: `describe`, `open`, `process`.
//!
//! Invariant: `open` and `process` see exactly the types that `describe` answered for the same configuration and
//! input. Native tests and the component go through the same code; only [`export`](crate::__export) is for wasm32.

use crate::config::{self, Config};
use crate::enrich_bindings::exports::weir::plugin::enrich::Contract as EnrichContract;
use crate::enrich_bindings::weir::plugin::tables::Table;
use crate::input::{self, Input, InputColumn};
use crate::output::{Output, OutputColumn, OutputSpec};
use crate::returned::{Collector, Returned};
use crate::tables::{OpenTable, TableSpec};
use crate::types::{Part, Type};
use crate::wit::{self, Batch, Cardinality, Contract, Fault, Field, Transformed};

/// A function with what `describe` tells of it. `#[transform]` implements it on a type of the function's name.
pub trait Plugin {
    type Config: Config;
    /// What a call brings: a batch of rows, or of pairs.
    type Rows;
    const NAME: &'static str;
    const VERSION: &'static str;
    /// Whether the same rows always give the same result.
    const DETERMINISTIC: bool = true;

    fn shape() -> Shape;

    /// One call, with the columns of the shape's `reads`.
    fn process(opened: &Opened<Self::Config>, rows: &Self::Rows) -> Transformed;
}

/// What a function's signature says.
pub struct Shape {
    pub reads: Vec<InputColumn>,
    pub cardinality: Cardinality,
    pub outputs: Vec<OutputSpec>,
    /// What is asked of tables, by a function of the world `enrich`.
    pub tables: Vec<TableSpec>,
}

/// A configuration and the types that it was opened for.
pub struct Opened<C> {
    pub config: C,
    pub(crate) reads: Vec<Type>,
    pub(crate) writes: Vec<Vec<Type>>,
    pub(crate) tables: Vec<OpenTable>,
}

pub(crate) fn shape_of<'a, E: Input<'a>, R: Returned>() -> Shape {
    Shape { reads: E::columns(), cardinality: R::CARDINALITY, outputs: R::Output::outputs(), tables: Vec::new() }
}

impl<C> Opened<C> {
    pub(crate) fn reads(&self) -> &[Type] {
        &self.reads
    }

    pub(crate) fn writes(&self) -> &[Vec<Type>] {
        &self.writes
    }

    pub(crate) fn tables(&self) -> &[OpenTable] {
        &self.tables
    }
}

/// The shape of a function without configuration.
pub fn shape<'a, E: Input<'a>, R: Returned>(_: impl Fn(E) -> R) -> Shape {
    shape_of::<E, R>()
}

/// The shape of a function with configuration.
pub fn shape_with<'a, C: 'a, E: Input<'a>, R: Returned>(_: impl Fn(E, &'a C) -> R) -> Shape {
    shape_of::<E, R>()
}

/// Calls the function for each row.
pub fn each<'a, C, E: Input<'a>, R: Returned>(
    function: impl Fn(E) -> R,
    opened: &'a Opened<C>,
    batch: &'a Batch,
) -> Transformed {
    let columns = input::bind::<E>(batch, &opened.reads);
    let mut collector = Collector::new(&opened.writes, batch.rows as usize);
    for row in 0..batch.rows {
        function(E::read(&columns, row as usize)).collect(row, &mut collector);
    }
    collector.finish(batch.rows)
}

/// Calls the function with its configuration for each row.
pub fn each_with<'a, C, E: Input<'a>, R: Returned>(
    function: impl Fn(E, &'a C) -> R,
    opened: &'a Opened<C>,
    batch: &'a Batch,
) -> Transformed {
    each(|row| function(row, &opened.config), opened, batch)
}

/// Answers `describe`.
///
/// # Errors
/// Everything that does not fit, columns before configuration.
pub fn describe<P: Plugin>(config: &str, input: &[Field]) -> Result<Contract, Vec<Fault>> {
    describe_with::<P>(config, input, &[]).map(|contract| contract.rows)
}

/// Answers `describe` of a plugin that asks.
///
/// # Errors
/// As [`describe`], tables between columns and configuration.
pub fn describe_with<P: Plugin>(config: &str, input: &[Field], tables: &[Table]) -> Result<EnrichContract, Vec<Fault>> {
    let (shape, input) = (P::shape(), &Part::of_schema(input));
    let mut faults: Vec<Fault> = shape.reads.iter().filter_map(|column| read_fault(column, input)).collect();
    let mut outputs = Vec::new();
    for spec in &shape.outputs {
        if spec.keyed {
            let message = format!("output `{}` is `keyed`, which only a #[process] plugin has a key for", spec.name);
            faults.push(Fault { config_path: None, column: None, message });
        }
        let mut writes = Vec::new();
        for column in &spec.columns {
            match written(column, spec, input) {
                Ok(part) => part.list_into(&mut writes),
                Err(fault) => faults.push(fault),
            }
        }
        faults.extend(spec.drops.iter().filter(|name| field(input, name).is_none()).map(|name| {
            column_fault(name, format!("dropped by the plugin, not in its input (has: {})", names(input)))
        }));
        outputs.push(wit::Output {
            name: spec.name.into(),
            writes,
            drops: spec.drops.iter().map(|name| (*name).into()).collect(),
        });
    }
    faults.extend(shape.tables.iter().flat_map(|spec| spec.faults(tables)));
    if let Err(unfit) = config::read::<P::Config>(config) {
        faults.extend(unfit);
    }
    if !faults.is_empty() {
        return Err(faults);
    }
    let rows = Contract {
        name: P::NAME.into(),
        version: P::VERSION.into(),
        reads: shape.reads.iter().map(|column| column.name.into()).collect(),
        cardinality: shape.cardinality,
        outputs,
        // A component of this SDK has no clock, no randomness and no state: only a service may answer another time.
        deterministic: P::DETERMINISTIC,
        config_schema: config::schema::<P::Config>(),
    };
    Ok(EnrichContract { rows, tables: shape.tables.iter().map(TableSpec::usage).collect() })
}

/// Answers `open`.
///
/// # Errors
/// The faults that `describe` finds, in one text: the host opens only what `describe` accepted.
pub fn open<P: Plugin>(config: &str, input: &[Field]) -> Result<Opened<P::Config>, String> {
    open_with::<P>(config, input, &[])
}

/// Answers `open` of a plugin that asks.
///
/// # Errors
/// As [`open`].
pub fn open_with<P: Plugin>(config: &str, input: &[Field], tables: &[Table]) -> Result<Opened<P::Config>, String> {
    let in_words = |faults: Vec<Fault>| faults.iter().map(fault_text).collect::<Vec<_>>().join("; ");
    let contract = describe_with::<P>(config, input, tables).map_err(in_words)?.rows;
    Ok(Opened {
        config: config::read(config).map_err(in_words)?,
        reads: types_of(&contract.reads, input),
        writes: contract.outputs.iter().map(|output| types(&output.writes)).collect(),
        tables: P::shape().tables.iter().enumerate().map(|(number, spec)| spec.opened(number, tables)).collect(),
    })
}

/// The types of listed fields.
pub(crate) fn types(fields: &[Field]) -> Vec<Type> {
    Part::of_schema(fields).into_iter().map(|part| part.of).collect()
}

/// The types of the columns that are read.
pub(crate) fn types_of(reads: &[String], input: &[Field]) -> Vec<Type> {
    let input = Part::of_schema(input);
    reads.iter().filter_map(|name| field(&input, name)).map(|part| part.of.clone()).collect()
}

/// A fault as one line: its place and its message.
pub fn fault_text(fault: &Fault) -> String {
    let place = match (&fault.column, &fault.config_path) {
        (Some(column), _) => format!("column `{column}`: "),
        (None, Some(path)) if !path.is_empty() => format!("config {path}: "),
        (None, Some(_)) => "config: ".into(),
        (None, None) => String::new(),
    };
    format!("{place}{}", fault.message)
}

pub(crate) fn column_fault(column: &str, message: String) -> Fault {
    Fault { config_path: None, column: Some(column.into()), message }
}

pub(crate) fn field<'a>(input: &'a [Part], name: &str) -> Option<&'a Part> {
    input.iter().find(|part| part.name == name)
}

pub(crate) fn names(input: &[Part]) -> String {
    input.iter().map(|part| part.name.as_str()).collect::<Vec<_>>().join(", ")
}

pub(crate) fn read_fault(column: &InputColumn, input: &[Part]) -> Option<Fault> {
    let message = match field(input, column.name) {
        None => format!("read by the plugin, not in its input (has: {})", names(input)),
        Some(part) => column.misfit(part)?.text(),
    };
    Some(column_fault(column.name, message))
}

pub(crate) fn written(column: &OutputColumn, spec: &OutputSpec, input: &[Part]) -> Result<Part, Fault> {
    if spec.columns.iter().filter(|other| other.name == column.name).count() > 1 {
        return Err(column_fault(column.name, "written twice by one row type".into()));
    }
    let namesake = field(input, column.name).map(|part| &part.of);
    let of = column.data_type(namesake).map_err(|lack| column_fault(column.name, lack.text()))?;
    Ok(Part { name: column.name.into(), nullable: column.nullable, of })
}

/// Sends the text of a panic to the host's log before the trap; without it the host would only see `unreachable`.
#[cfg(target_arch = "wasm32")]
pub fn report_panics() {
    static ONCE: std::sync::Once = std::sync::Once::new();
    ONCE.call_once(|| {
        std::panic::set_hook(Box::new(|panic| crate::log::write(crate::log::Level::Error, &panic.to_string())));
    });
}

/// Exports a plugin as a row-wise interface of the component: `transform`, `attribute`, or `enrich`, whose functions take
/// `tables` too. The attributes call it.
#[doc(hidden)]
#[macro_export]
macro_rules! __export {
    ($plugin:ident, transform) => {
        $crate::__export!($plugin, bindings, transform, export_transform, describe -> Contract, open,);
    };
    ($plugin:ident, attribute) => {
        $crate::__export!(
            $plugin, attribute_bindings, attribute, export_attribute, describe -> Contract, open,
        );
    };
    ($plugin:ident, enrich) => {
        $crate::__export!(
            $plugin, enrich_bindings, enrich, export_enrich, describe_with -> EnrichContract, open_with, tables
        );
    };
    (
        $plugin:ident, $bindings:ident, $interface:ident, $export:ident,
        $describe:ident -> $contract:ident, $open:ident, $($tables:ident)?
    ) => {
        // Natively nothing calls the plugin but tests; this keeps the compiler from calling it dead.
        #[cfg(not(target_arch = "wasm32"))]
        const _: fn(
            &$crate::plugin::Opened<<$plugin as $crate::plugin::Plugin>::Config>,
            &<$plugin as $crate::plugin::Plugin>::Rows,
        ) -> $crate::wit::Transformed = <$plugin as $crate::plugin::Plugin>::process;

        #[cfg(target_arch = "wasm32")]
        const _: () = {
            use ::std::{string::String, vec::Vec};
            use $crate::plugin::{self, Opened, Plugin};
            use $crate::wit;

            struct Component;

            ::std::thread_local! {
                static OPENED: ::std::cell::OnceCell<Opened<<$plugin as Plugin>::Config>> =
                    const { ::std::cell::OnceCell::new() };
            }

            impl $crate::$bindings::exports::weir::plugin::$interface::Guest for Component {
                fn describe(
                    config: String,
                    input: Vec<wit::Field>
                    $(, $tables: Vec<wit::Table>)?
                ) -> Result<wit::$contract, Vec<wit::Fault>> {
                    plugin::report_panics();
                    plugin::$describe::<$plugin>(&config, &input $(, &$tables)?)
                }

                fn open(config: String, input: Vec<wit::Field> $(, $tables: Vec<wit::Table>)?) -> Result<(), String> {
                    plugin::report_panics();
                    let opened = plugin::$open::<$plugin>(&config, &input $(, &$tables)?)?;
                    OPENED.with(|cell| cell.set(opened)).map_err(|_| "opened twice".into())
                }

                fn process(rows: <$plugin as Plugin>::Rows) -> wit::Transformed {
                    OPENED.with(|cell| {
                        <$plugin as Plugin>::process(cell.get().expect("the host opens before it processes"), &rows)
                    })
                }
            }

    $crate::$bindings::$export!(Component with_types_in $crate::$bindings);
        };
    };
}
