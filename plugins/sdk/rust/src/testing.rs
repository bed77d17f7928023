//! Whole batches through a plugin in a native test: `describe`, `open` and `process` as the host calls them.
//!
//! Cells are text, so that a test reads like a table: numbers and decimals as usual, `true` and `false`, dates as
//! days since 1970, timestamps as the count of the column's unit, lists and structs as JSON of such. Deliberately not fast.
//!
//! ```
//! use weir_sdk::prelude::*;
//! use weir_sdk::testing::Instance;
//!
//! #[derive(Input)]
//! struct Order { quantity: Option<i32> }
//!
//! #[derive(Output)]
//! struct Doubled { quantity: i32 }
//!
//! #[transform(name = "double", version = "1.0.0")]
//! fn double(order: Order) -> Result<Doubled, Reject> {
//!     let quantity = order.quantity.ok_or(reject!("quantity-missing"))?;
//!     Ok(Doubled { quantity: quantity * 2 })
//! }
//!
//! # fn main() {
//! let plugin = Instance::<double>::open("", &[("id", "utf8!"), ("quantity", "int32")]).unwrap();
//! let outcome = plugin.process(&[[Some("a"), Some("21")], [Some("b"), None]]);
//! assert_eq!(outcome.rows("main"), [[Some("42".to_owned())]]);
//! assert_eq!(outcome.rejects, [(1, "quantity-missing".to_owned())]);
//! # }
//! ```

pub mod aggregate;
mod attribute;
pub mod keyed;
mod nested;
pub mod tables;

use std::str::FromStr;

use crate::decimal::Decimal;
#[cfg(not(target_arch = "wasm32"))]
use crate::http::{self, Fetched, Request};
use crate::input::{Node, ReadValue};
use crate::plugin::{self, Opened, Plugin};
use crate::time::{Date, Timestamp, Unit};
use crate::types::{ITEM, Part, SIMPLE_TYPES, Type, type_name};
use crate::wit::{self, Batch, Column, Contract, DataType, DecimalType, Field, TimeUnit, TimestampType};
use crate::write::WriteValue;

/// One cell; `None` is null.
pub type Cell = Option<String>;

/// A plugin that was described and opened for one configuration and one input.
pub struct Instance<P: Plugin> {
    opened: Opened<P::Config>,
    contract: Contract,
    input: Vec<Part>,
    /// Answers look-ups.
    tables: std::rc::Rc<dyn Fn(u32, &Batch) -> crate::enrich_bindings::weir::plugin::tables::Found>,
}

/// What one batch became.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    pub outputs: Vec<Table>,
    /// The input row and the reject as text: `code` or `code: reason`.
    pub rejects: Vec<(u32, String)>,
}

/// The rows of one output.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Table {
    pub name: String,
    /// Input row of each row.
    pub sources: Vec<u32>,
    /// The written columns.
    pub rows: Vec<Vec<Cell>>,
}

impl<P: Plugin> Instance<P> {
    /// `config` is JSON, or empty; `columns` are names and types as a manifest writes them: `("amount",
    /// "decimal(12, 2)")`, with `!` for not null.
    ///
    /// # Errors
    /// The faults that `describe` finds, a line each.
    ///
    /// # Panics
    /// When a type is not one that a manifest can write.
    pub fn open(config: &str, columns: &[(&str, &str)]) -> Result<Self, Vec<String>> {
        Self::open_with(config, columns, Vec::new())
    }

    /// As [`open`](Self::open), for a plugin that looks keys up in tables.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    ///
    /// # Panics
    /// As [`open`](Self::open).
    pub fn open_with(
        config: &str,
        columns: &[(&str, &str)],
        tables: Vec<tables::TestTable>,
    ) -> Result<Self, Vec<String>> {
        let (input, fields) = schema(columns);
        let in_words = |faults: Vec<wit::Fault>| faults.iter().map(plugin::fault_text).collect::<Vec<_>>();
        let shown: Vec<wit::Table> = tables.iter().map(tables::TestTable::table).collect();
        let contract = plugin::describe_with::<P>(config, &fields, &shown).map_err(in_words)?;
        let opened = plugin::open_with::<P>(config, &fields, &shown).map_err(|fault| vec![fault])?;
        let tables = tables::answering(&tables, &contract.tables);
        Ok(Self { opened, contract: contract.rows, input, tables })
    }

    /// What `describe` answered.
    pub fn contract(&self) -> &Contract {
        &self.contract
    }

    fn outcome(&self, transformed: wit::Transformed, input_rows: u32) -> Outcome {
        let outputs = self.contract.outputs.iter().map(|output| (output.name.as_str(), &*output.writes));
        outcome(&outputs.collect::<Vec<_>>(), &transformed, input_rows)
    }
}

impl<P: Plugin<Rows = Batch>> Instance<P> {
    /// Passes rows of the input's columns, in the order given to [`open`](Self::open).
    ///
    /// # Panics
    /// When a cell is not of its column's type: the test is wrong.
    pub fn process<R: AsRef<[Option<C>]>, C: AsRef<str>>(&self, rows: &[R]) -> Outcome {
        let batch = batch(&self.contract.reads, &self.input, rows);
        let process = || P::process(&self.opened, &batch);
        self.outcome(crate::tables::with_tables(std::rc::Rc::clone(&self.tables), process), batch.rows)
    }

    /// As [`process`](Self::process), for a plugin that asks services: `service` answers each request.
    ///
    /// # Panics
    /// As [`process`](Self::process).
    #[cfg(not(target_arch = "wasm32"))]
    pub fn process_with<R: AsRef<[Option<C>]>, C: AsRef<str>>(
        &self,
        rows: &[R],
        service: impl FnMut(&Request) -> Fetched + 'static,
    ) -> Outcome {
        http::with_service(service, || self.process(rows))
    }
}

/// The columns that a plugin reads of these rows.
fn batch<R: AsRef<[Option<C>]>, C: AsRef<str>>(reads: &[String], input: &[Part], rows: &[R]) -> Batch {
    let mut columns = Vec::new();
    for name in reads {
        let at = input.iter().position(|field| field.name == *name).expect("describe() found the column");
        let cells: Vec<Option<&str>> = rows.iter().map(|row| row.as_ref()[at].as_ref().map(C::as_ref)).collect();
        encode(&input[at], &cells, &mut columns);
    }
    Batch { rows: u32::try_from(rows.len()).expect("a batch of u32 rows"), columns }
}

/// What a call answered; `outputs` are names and written columns.
fn outcome(outputs: &[(&str, &[Field])], transformed: &wit::Transformed, input_rows: u32) -> Outcome {
    let table = |(at, (name, writes)): (usize, &(&str, &[Field]))| {
        let Some(rows) = transformed.outputs.iter().find(|rows| rows.output as usize == at) else {
            return Table { name: (*name).to_owned(), sources: Vec::new(), rows: Vec::new() };
        };
        let sources: Vec<u32> = match &rows.selection {
            wit::Selection::All => (0..input_rows).collect(),
            wit::Selection::Rows(selected) => selected.clone(),
        };
        let columns = decode_all(&Part::of_schema(writes), &rows.columns, sources.len());
        let rows = (0..sources.len()).map(|row| columns.iter().map(|column| column[row].clone()).collect());
        Table { name: (*name).to_owned(), rows: rows.collect(), sources }
    };
    let text = |reject: &wit::Reject| crate::Reject::new(reject.code.clone(), reject.reason.clone()).to_string();
    Outcome {
        outputs: outputs.iter().enumerate().map(table).collect(),
        rejects: transformed.rejects.iter().map(|reject| (reject.row, text(reject))).collect(),
    }
}

impl Outcome {
    /// The rows of the output of that name.
    ///
    /// # Panics
    /// When the plugin has no such output.
    pub fn rows(&self, output: &str) -> &[Vec<Cell>] {
        &self.table(output).rows
    }

    /// The input rows that became rows of that output.
    ///
    /// # Panics
    /// When the plugin has no such output.
    pub fn sources(&self, output: &str) -> &[u32] {
        &self.table(output).sources
    }

    fn table(&self, output: &str) -> &Table {
        self.outputs.iter().find(|table| table.name == output).unwrap_or_else(|| panic!("no output `{output}`"))
    }
}

/// Columns by name and type, and as they are listed.
fn schema(columns: &[(&str, &str)]) -> (Vec<Part>, Vec<Field>) {
    let parts: Vec<Part> = columns.iter().map(|(name, text)| column_of(name, text)).collect();
    let mut fields = Vec::new();
    parts.iter().for_each(|part| part.list_into(&mut fields));
    (parts, fields)
}

fn column_of(name: &str, text: &str) -> Part {
    part_of(name, text).unwrap_or_else(|| panic!("column `{name}`: {text:?} is not a column type"))
}

fn part_of(name: &str, text: &str) -> Option<Part> {
    let (text, nullable) = text.trim().strip_suffix('!').map_or((text, true), |text| (text, false));
    Some(Part { name: name.into(), nullable, of: type_of(text.trim())? })
}

fn type_of(text: &str) -> Option<Type> {
    if let Some((_, simple)) = SIMPLE_TYPES.iter().find(|(name, _)| *name == text) {
        return Some(simple.clone().into());
    }
    let (name, arguments) = text.strip_suffix(')')?.split_once('(')?;
    match name {
        "list" => part_of(ITEM, arguments).map(|item| Type::list(item.nullable, item.of)),
        "struct" => nested::fields_of(arguments).map(Type::structure),
        _ => flat_type_of(name, arguments).map(Type::from),
    }
}

fn flat_type_of(name: &str, arguments: &str) -> Option<DataType> {
    let (first, second) =
        arguments.split_once(',').map_or((arguments.trim(), None), |(a, b)| (a.trim(), Some(b.trim())));
    match name {
        "decimal" => Some(DataType::Decimal128(DecimalType {
            precision: first.parse().ok()?,
            scale: second.unwrap_or("0").parse().ok()?,
        })),
        "timestamp" => {
            let units = [TimeUnit::Second, TimeUnit::Millisecond, TimeUnit::Microsecond, TimeUnit::Nanosecond];
            let unit = units.into_iter().find(|unit| Unit::from(*unit).name() == first)?;
            let zone = (second != Some("local")).then(|| second.unwrap_or("UTC").to_owned());
            Some(DataType::Timestamp(TimestampType { unit, zone }))
        }
        _ => None,
    }
}

fn encode(field: &Part, cells: &[Option<&str>], columns: &mut Vec<Column>) {
    match &field.of.data_type {
        DataType::ListOf => nested::encode_lists(field, cells, columns),
        DataType::StructOf => nested::encode_structs(field, cells, columns),
        _ => columns.push(encode_flat(field, cells)),
    }
}

fn encode_flat(field: &Part, cells: &[Option<&str>]) -> Column {
    fn parsed<T: FromStr>(text: &str) -> Option<T> {
        text.parse().ok()
    }
    let unit = match &field.of.data_type {
        DataType::Timestamp(declared) => Unit::from(declared.unit),
        _ => Unit::Second,
    };
    match &field.of.data_type {
        DataType::Boolean => written::<bool>(field, cells, parsed),
        DataType::Int8 => written::<i8>(field, cells, parsed),
        DataType::Int16 => written::<i16>(field, cells, parsed),
        DataType::Int32 => written::<i32>(field, cells, parsed),
        DataType::Int64 => written::<i64>(field, cells, parsed),
        DataType::Uint8 => written::<u8>(field, cells, parsed),
        DataType::Uint16 => written::<u16>(field, cells, parsed),
        DataType::Uint32 => written::<u32>(field, cells, parsed),
        DataType::Uint64 => written::<u64>(field, cells, parsed),
        DataType::Float32 => written::<f32>(field, cells, parsed),
        DataType::Float64 => written::<f64>(field, cells, parsed),
        DataType::Utf8 => written::<String>(field, cells, parsed),
        DataType::Binary => written::<Vec<u8>>(field, cells, |text| Some(text.into())),
        DataType::Date => written::<Date>(field, cells, |text| text.parse().ok().map(Date)),
        DataType::Timestamp(_) => {
            written::<Timestamp>(field, cells, |text| text.parse().ok().map(|count| Timestamp::new(count, unit)))
        }
        DataType::Decimal128(_) => written::<Decimal>(field, cells, parsed),
        DataType::ListOf | DataType::StructOf => unreachable!("it is flat"),
    }
}

fn written<T: WriteValue>(field: &Part, cells: &[Option<&str>], parse: impl Fn(&str) -> Option<T>) -> Column {
    let mut builder = <Option<T>>::builder(&field.of, cells.len());
    for cell in cells {
        let value = cell.map(|text| {
            let wrong = || panic!("column `{}`: {text:?} is not {}", field.name, type_name(&field.of));
            parse(text).unwrap_or_else(wrong)
        });
        assert!(value.is_some() || field.nullable, "column `{}`: a null, declared not null", field.name);
        assert!(value.check(&builder).is_ok(), "column `{}`: {cell:?} does not fit its type", field.name);
        value.write(&mut builder);
    }
    let mut columns = Vec::new();
    <Option<T>>::finish(builder, &mut columns);
    columns.pop().expect("a flat column is one")
}

/// The cells of each column.
fn decode_all(fields: &[Part], columns: &[Column], rows: usize) -> Vec<Vec<Cell>> {
    let mut columns = columns.iter();
    let cells = fields.iter().map(|field| decode(field, &mut columns, rows)).collect();
    assert_eq!(columns.count(), 0, "columns that the contract does not have");
    cells
}

fn decode(field: &Part, columns: &mut std::slice::Iter<'_, Column>, rows: usize) -> Vec<Cell> {
    let column = columns.next().expect("a column for each part of the contract");
    match &field.of.data_type {
        DataType::ListOf => nested::decode_lists(field, column, columns, rows),
        DataType::StructOf => nested::decode_structs(field, column, columns, rows),
        _ => decode_flat(field, column, rows),
    }
}

fn decode_flat(field: &Part, column: &Column, rows: usize) -> Vec<Cell> {
    fn read<'a, T: ReadValue<'a>>(
        field: &Part,
        column: &'a Column,
        rows: usize,
        show: impl Fn(T) -> String,
    ) -> Vec<Cell> {
        let values = <Option<T>>::bind(&Node { column, of: &field.of, children: Vec::new() });
        (0..rows).map(|row| <Option<T>>::read(&values, row).map(&show)).collect()
    }
    macro_rules! shown {
        ($type:ty) => {
            read::<$type>(field, column, rows, |value| value.to_string())
        };
    }
    match &field.of.data_type {
        DataType::Boolean => shown!(bool),
        DataType::Int8 => shown!(i8),
        DataType::Int16 => shown!(i16),
        DataType::Int32 => shown!(i32),
        DataType::Int64 => shown!(i64),
        DataType::Uint8 => shown!(u8),
        DataType::Uint16 => shown!(u16),
        DataType::Uint32 => shown!(u32),
        DataType::Uint64 => shown!(u64),
        DataType::Float32 => shown!(f32),
        DataType::Float64 => shown!(f64),
        DataType::Utf8 => shown!(&str),
        DataType::Binary => read::<&[u8]>(field, column, rows, |bytes| String::from_utf8_lossy(bytes).into_owned()),
        DataType::Date => read::<Date>(field, column, rows, |date| date.0.to_string()),
        DataType::Timestamp(_) => read::<Timestamp>(field, column, rows, |moment| moment.count().to_string()),
        DataType::Decimal128(_) => shown!(Decimal),
        DataType::ListOf | DataType::StructOf => unreachable!("it is flat"),
    }
}
