//! Lists and structs in rows: a `Vec` of a field's type, and a struct with the derive of its row.
//!
//! ```
//! use weir_sdk::prelude::*;
//! use weir_sdk::testing::Instance;
//!
//! /// An item of a list; also a row, where a function takes it as one.
//! #[derive(Input)]
//! struct Line<'a> { sku: &'a str, quantity: i64 }
//!
//! #[derive(Input)]
//! struct Order<'a> { lines: Vec<Line<'a>> }
//!
//! #[derive(Output)]
//! struct Skus { skus: Vec<String> }
//!
//! #[transform(name = "skus", version = "1.0.0")]
//! fn skus(order: Order) -> Skus {
//!     let there = order.lines.iter().filter(|line| line.quantity > 0);
//!     Skus { skus: there.map(|line| line.sku.to_owned()).collect() }
//! }
//!
//! # fn main() {
//! let plugin = Instance::<skus>::open("", &[("lines", "list(struct(sku utf8!, quantity int64!)!)!")]).unwrap();
//! let outcome = plugin.process(&[[Some(r#"[{"sku":"pen","quantity":3},{"sku":"cup","quantity":0}]"#)]]);
//! assert_eq!(outcome.rows("main"), [[Some(r#"["pen"]"#.to_owned())]]);
//! # }
//! ```
//!
//! Invariant: what stands in a null list or struct is neither read nor checked.

use std::rc::Rc;

use crate::decimal::Decimal;
use crate::input::{Input, InputColumn, Node, ReadItem, ReadValue, broken};
use crate::output::OutputRow;
use crate::time::{Date, Timestamp};
use crate::types::{ITEM, Part, Type, Unfit, type_name};
use crate::wit::{Column, DataType, Values};
use crate::write::{Declared, Misfit, WriteItem, WriteValue};

macro_rules! items {
    ([$($read_only:ty),*] $($type:ty),*) => {
        $(impl<'a> ReadItem<'a> for $read_only {})*
        $(
            impl<'a> ReadItem<'a> for $type {}
            impl WriteItem for $type {}
        )*
    };
}
items!([&'a str, &'a [u8]] bool, i8, i16, i32, i64, u16, u32, u64, f32, f64, String, Date, Timestamp, Decimal);
impl WriteItem for &str {}
impl WriteItem for &[u8] {}
impl<'a, T: ReadValue<'a>> ReadItem<'a> for Option<T> {}
impl<T: WriteValue> WriteItem for Option<T> {}
impl<'a, T> ReadItem<'a> for Vec<T> where Vec<T>: ReadValue<'a> {}
impl<T> WriteItem for Vec<T> where Vec<T>: WriteValue {}

pub(crate) fn offsets<'a>(node: &Node<'a, '_>) -> &'a [i32] {
    let Values::ListOffsets(offsets) = &node.column.values else { broken("list") };
    offsets
}

#[inline]
fn span(offsets: &[i32], row: usize) -> std::ops::Range<usize> {
    offsets[row] as u32 as usize..offsets[row + 1] as u32 as usize
}

/// Why a column is no list, or its items are not what `item` reads.
pub(crate) fn list_unfit(found: &Type, item: &InputColumn) -> Option<Unfit> {
    match found.children.first() {
        Some(child) if found.data_type == DataType::ListOf => item.misfit(child).map(|unfit| unfit.within(ITEM)),
        _ => Some(Unfit::here(format!("is {}, the plugin reads list", type_name(found)))),
    }
}

impl<'a, T: ReadItem<'a>> ReadValue<'a> for Vec<T> {
    type Column = (&'a [i32], T::Column);
    const WANTS: &'static str = "list";

    fn fits(data_type: &DataType) -> bool {
        *data_type == DataType::ListOf
    }

    fn unfit(found: &Type) -> Option<Unfit> {
        list_unfit(found, &InputColumn::of::<T>(ITEM))
    }

    fn bind(node: &Node<'a, '_>) -> Self::Column {
        (offsets(node), T::bind(&node.children[0]))
    }

    fn read((offsets, items): &Self::Column, row: usize) -> Self {
        span(offsets, row).map(|item| T::read(items, item)).collect()
    }
}

/// A list whose items are read when they are asked for: for long lists of which few are, and for columns.
pub struct Items<'a, T: ReadValue<'a>> {
    items: Rc<T::Column>,
    span: std::ops::Range<usize>,
}

impl<'a, T: ReadValue<'a>> Items<'a, T> {
    pub fn len(&self) -> usize {
        self.span.len()
    }

    pub fn is_empty(&self) -> bool {
        self.span.is_empty()
    }

    /// An item, counted from 0; `None` behind the last.
    pub fn get(&self, item: usize) -> Option<T> {
        (item < self.len()).then(|| T::read(&self.items, self.span.start + item))
    }

    pub fn iter(&self) -> impl Iterator<Item = T> {
        self.span.clone().map(|item| T::read(&self.items, item))
    }
}

impl<'a, T: ReadValue<'a>> ReadValue<'a> for Items<'a, T> {
    type Column = (&'a [i32], Rc<T::Column>);
    const WANTS: &'static str = "list";

    fn fits(data_type: &DataType) -> bool {
        *data_type == DataType::ListOf
    }

    fn unfit(found: &Type) -> Option<Unfit> {
        list_unfit(found, &InputColumn::of::<T>(ITEM))
    }

    fn bind(node: &Node<'a, '_>) -> Self::Column {
        (offsets(node), Rc::new(T::bind(&node.children[0])))
    }

    fn read((offsets, items): &Self::Column, row: usize) -> Self {
        Self { items: Rc::clone(items), span: span(offsets, row) }
    }
}

impl<'a, T: ReadValue<'a>> ReadItem<'a> for Items<'a, T> {}

/// Why a column is no struct, or its fields are not those that are read.
pub fn struct_unfit(found: &Type, fields: &[InputColumn]) -> Option<Unfit> {
    if found.data_type != DataType::StructOf {
        return Some(Unfit::here(format!("is {}, the plugin reads struct", type_name(found))));
    }
    let unfit = |field: &InputColumn| match found.child(field.name) {
        Some(child) => field.misfit(child).map(|unfit| unfit.within(field.name)),
        None => {
            let names: Vec<&str> = found.children.iter().map(|child| child.name.as_str()).collect();
            Some(Unfit::here(format!("has no field `{}` (has: {})", field.name, names.join(", "))))
        }
    };
    fields.iter().find_map(unfit)
}

/// The columns of a row type that stands in a column of the batch.
pub struct Fields<'a, E: Input<'a>>(E::Columns);

impl<'a, E: Input<'a>> Fields<'a, E> {
    pub fn bind(node: &Node<'a, '_>) -> Self {
        Self(E::bind(&mut node.fields(&E::columns())))
    }

    #[inline]
    pub fn read(&self, row: usize) -> E {
        E::read(&self.0, row)
    }
}

/// Makes a row type what a column, or an item, can be read as. The derive calls it.
#[doc(hidden)]
#[macro_export]
macro_rules! __read_struct {
    ([$batch:lifetime] $row:ty) => {
        impl<$batch> $crate::input::ReadItem<$batch> for $row {}

        impl<$batch> $crate::input::ReadValue<$batch> for $row {
            type Column = $crate::nested::Fields<$batch, Self>;
            const WANTS: &'static str = "struct";

            fn fits(data_type: &$crate::wit::DataType) -> bool {
                ::core::matches!(data_type, $crate::wit::DataType::StructOf)
            }

            fn unfit(found: &$crate::types::Type) -> ::core::option::Option<$crate::types::Unfit> {
                $crate::nested::struct_unfit(found, &<Self as $crate::input::Input<$batch>>::columns())
            }

            fn bind(node: &$crate::input::Node<$batch, '_>) -> Self::Column {
                $crate::nested::Fields::bind(node)
            }

            #[inline]
            fn read(fields: &Self::Column, row: usize) -> Self {
                fields.read(row)
            }
        }
    };
}

/// Lists that are being written.
pub struct Lists<T: WriteValue> {
    offsets: Vec<i32>,
    items: T::Builder,
}

impl<T: WriteItem> WriteValue for Vec<T> {
    type Builder = Lists<T>;

    fn data_type(declared: Declared, namesake: Option<&Type>) -> Result<Type, Unfit> {
        let item = namesake.and_then(|list| list.child(ITEM)).map(|item| &item.of);
        let item = T::data_type(declared, item).map_err(|lack| lack.within(ITEM))?;
        Ok(Type::list(T::NULLABLE, item))
    }

    fn builder(data_type: &Type, rows: usize) -> Self::Builder {
        let mut offsets = Vec::with_capacity(rows + 1);
        offsets.push(0);
        Lists { offsets, items: T::builder(&data_type.children[0].of, rows) }
    }

    fn check(&self, lists: &Self::Builder) -> Result<(), Misfit> {
        self.iter().try_for_each(|item| item.check(&lists.items)).map_err(|misfit| misfit.inside(ITEM))
    }

    fn write(self, lists: &mut Self::Builder) {
        self.into_iter().for_each(|item| item.write(&mut lists.items));
        Self::write_null(lists);
    }

    fn write_null(lists: &mut Self::Builder) {
        lists.offsets.push(i32::try_from(T::rows(&lists.items)).expect("the lists of one batch have below 2^31 items"));
    }

    fn rows(lists: &Self::Builder) -> usize {
        lists.offsets.len() - 1
    }

    fn finish(Lists { offsets, items }: Self::Builder, columns: &mut Vec<Column>) {
        columns.push(Column { validity: None, values: Values::ListOffsets(offsets) });
        T::finish(items, columns);
    }
}

/// Structs that are being written.
pub struct Structs<R: OutputRow> {
    builders: R::Builders,
    rows: usize,
}

impl<R: OutputRow> Structs<R> {
    pub fn new(of: &Type, rows: usize) -> Self {
        let types: Vec<Type> = of.children.iter().map(|child| child.of.clone()).collect();
        Self { builders: R::builders(&types, rows), rows: 0 }
    }

    /// # Errors
    /// A [`Misfit`] when a field's value does not fit.
    pub fn check(&self, row: &R) -> Result<(), Misfit> {
        row.check(&self.builders)
    }

    pub fn write(&mut self, row: R) {
        row.push(&mut self.builders);
        self.rows += 1;
    }

    pub fn write_null(&mut self) {
        R::fill(&mut self.builders);
        self.rows += 1;
    }

    pub fn rows(&self) -> usize {
        self.rows
    }

    pub fn finish(self, columns: &mut Vec<Column>) {
        columns.push(Column { validity: None, values: Values::Nothing });
        columns.extend(R::finish(self.builders));
    }
}

/// The type of a struct that such rows are written to.
///
/// # Errors
/// The field that lacks its digits.
pub fn struct_type<R: OutputRow>(namesake: Option<&Type>) -> Result<Type, Unfit> {
    let field = |column: crate::output::OutputColumn| {
        let namesake = namesake.and_then(|whole| whole.child(column.name)).map(|child| &child.of);
        let of = column.data_type(namesake).map_err(|lack| lack.within(column.name))?;
        Ok(Part { name: column.name.into(), nullable: column.nullable, of })
    };
    let fields: Vec<Part> = R::columns().into_iter().map(field).collect::<Result<_, Unfit>>()?;
    if fields.is_empty() {
        return Err(Unfit::here("is a struct without fields"));
    }
    Ok(Type::structure(fields))
}

/// Makes a row type what a column, or an item, can be written from. The derive calls it.
#[doc(hidden)]
#[macro_export]
macro_rules! __write_struct {
    ([$($generics:tt)*] $row:ty) => {
        impl $($generics)* $crate::write::WriteItem for $row {}

        impl $($generics)* $crate::write::WriteValue for $row {
            type Builder = $crate::nested::Structs<Self>;

            fn data_type(
                _: $crate::write::Declared,
                namesake: ::core::option::Option<&$crate::types::Type>,
            ) -> ::core::result::Result<$crate::types::Type, $crate::types::Unfit> {
                $crate::nested::struct_type::<Self>(namesake)
            }

            fn builder(data_type: &$crate::types::Type, rows: usize) -> Self::Builder {
                $crate::nested::Structs::new(data_type, rows)
            }

            fn check(&self, builder: &Self::Builder) -> ::core::result::Result<(), $crate::write::Misfit> {
                builder.check(self)
            }

            fn write(self, builder: &mut Self::Builder) {
                builder.write(self);
            }

            fn write_null(builder: &mut Self::Builder) {
                builder.write_null();
            }

            fn rows(builder: &Self::Builder) -> usize {
                builder.rows()
            }

            fn finish(builder: Self::Builder, columns: &mut ::std::vec::Vec<$crate::wit::Column>) {
                builder.finish(columns);
            }
        }
    };
}
