//! One entry of a state: how it is read from columns and written to them.

use crate::decimal::Decimal;
use crate::input::{self, Input, Nodes, ReadValue};
use crate::output::{OutputColumn, OutputRow};
use crate::time::{Date, Timestamp};
use crate::types::Type;
use crate::wit::{Batch, Column};
use crate::write::{Declared, WriteValue};

/// What a list or map holds, or a value is: a number, a text, a moment, a `Vec` of such; or a struct with both `#[derive(Input)]` and
/// `#[derive(Output)]`, a column for each of its fields.
pub trait Entry: Sized {
    type Read<'a>;
    type Write;

    fn columns(name: &'static str, declared: Declared) -> Vec<OutputColumn>;

    fn bind<'a>(columns: &'a Batch, types: &[Type]) -> Self::Read<'a>;

    fn read(read: &Self::Read<'_>, entry: usize) -> Self;

    fn writer(types: &[Type]) -> Self::Write;

    /// # Panics
    /// When a value does not fit its column: the rows of the call are then tried one by one.
    fn write(self, writer: &mut Self::Write);

    fn finish(writer: Self::Write) -> Vec<Column>;
}

impl<T> Entry for T
where
    T: for<'a> Input<'a> + OutputRow,
{
    type Read<'a> = <T as Input<'a>>::Columns;
    type Write = <T as OutputRow>::Builders;

    fn columns(_: &'static str, _: Declared) -> Vec<OutputColumn> {
        <T as OutputRow>::columns()
    }

    fn bind<'a>(columns: &'a Batch, types: &[Type]) -> Self::Read<'a> {
        input::bind::<T>(columns, types)
    }

    fn read(read: &Self::Read<'_>, entry: usize) -> Self {
        <T as Input<'_>>::read(read, entry)
    }

    fn writer(types: &[Type]) -> Self::Write {
        T::builders(types, 0)
    }

    fn write(self, writer: &mut Self::Write) {
        if let Err(misfit) = self.check(writer) {
            panic!("state cannot hold it: {}", misfit.reject());
        }
        self.push(writer);
    }

    fn finish(writer: Self::Write) -> Vec<Column> {
        <T as OutputRow>::finish(writer)
    }
}

macro_rules! of_value {
    ($type:ty) => {
        type Read<'a> = <$type as ReadValue<'a>>::Column;
        type Write = <$type as WriteValue>::Builder;

        fn columns(name: &'static str, declared: Declared) -> Vec<OutputColumn> {
            vec![OutputColumn::of::<$type>(name, declared)]
        }

        fn bind<'a>(columns: &'a Batch, types: &[Type]) -> Self::Read<'a> {
            <$type as ReadValue<'a>>::bind(&Nodes::of(columns, types).take())
        }

        fn read(read: &Self::Read<'_>, entry: usize) -> Self {
            <$type as ReadValue<'_>>::read(read, entry)
        }

        fn writer(types: &[Type]) -> Self::Write {
            <$type as WriteValue>::builder(&types[0], 0)
        }

        fn write(self, writer: &mut Self::Write) {
            if let Err(misfit) = <$type as WriteValue>::check(&self, writer) {
                panic!("state cannot hold it: {}", misfit.inside("value").reject());
            }
            <$type as WriteValue>::write(self, writer);
        }

        fn finish(writer: Self::Write) -> Vec<Column> {
            let mut columns = Vec::new();
            <$type as WriteValue>::finish(writer, &mut columns);
            columns
        }
    };
}

macro_rules! scalar_entry {
    ($($type:ty),*) => {$(
        impl Entry for $type {
            of_value!($type);
        }
    )*};
}
scalar_entry!(bool, i8, i16, i32, i64, u8, u16, u32, u64, f32, f64, String, Date, Timestamp, Decimal);

/// Also bytes: `Vec<u8>`.
impl<T> Entry for Vec<T>
where
    Vec<T>: for<'a> ReadValue<'a> + WriteValue,
{
    of_value!(Vec<T>);
}
