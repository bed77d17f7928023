//! One entry of a state: how it is read from columns and written to them.

use crate::decimal::Decimal;
use crate::input::{Input, ReadValue};
use crate::output::{OutputColumn, OutputRow};
use crate::time::{Date, Timestamp};
use crate::wit::{Batch, Column, DataType};
use crate::write::{Declared, WriteValue};

/// What a list or map holds, or a value is: a number, a text, a moment; or a struct with both `#[derive(Input)]` and
/// `#[derive(Output)]`, a column for each of its fields.
pub trait Entry: Sized {
    type Read<'a>;
    type Write;

    fn columns(name: &'static str, declared: Declared) -> Vec<OutputColumn>;

    fn bind<'a>(columns: &'a Batch, types: &[DataType]) -> Self::Read<'a>;

    fn read(read: &Self::Read<'_>, entry: usize) -> Self;

    fn writer(types: &[DataType]) -> Self::Write;

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

    fn bind<'a>(columns: &'a Batch, types: &[DataType]) -> Self::Read<'a> {
        <T as Input<'a>>::bind(columns, types)
    }

    fn read(read: &Self::Read<'_>, entry: usize) -> Self {
        <T as Input<'_>>::read(read, entry)
    }

    fn writer(types: &[DataType]) -> Self::Write {
        T::builders(types, 0)
    }

    fn write(self, writer: &mut Self::Write) {
        if let Err(reject) = self.check(writer) {
            panic!("state cannot hold it: {reject}");
        }
        self.push(writer);
    }

    fn finish(writer: Self::Write) -> Vec<Column> {
        <T as OutputRow>::finish(writer)
    }
}

macro_rules! scalar_entry {
    ($($type:ty),*) => {$(
        impl Entry for $type {
            type Read<'a> = <$type as ReadValue<'a>>::Column;
            type Write = <$type as WriteValue>::Builder;

            fn columns(name: &'static str, declared: Declared) -> Vec<OutputColumn> {
                vec![OutputColumn::of::<$type>(name, declared)]
            }

            fn bind<'a>(columns: &'a Batch, types: &[DataType]) -> Self::Read<'a> {
                <$type as ReadValue<'a>>::bind(&columns.columns[0], &types[0])
            }

            fn read(read: &Self::Read<'_>, entry: usize) -> Self {
                <$type as ReadValue<'_>>::read(read, entry)
            }

            fn writer(types: &[DataType]) -> Self::Write {
                <$type as WriteValue>::builder(&types[0], 0)
            }

            fn write(self, writer: &mut Self::Write) {
                if let Err(misfit) = <$type as WriteValue>::check(&self, writer) {
                    panic!("state cannot hold it: {}", misfit.in_column("value"));
                }
                <$type as WriteValue>::write(self, writer);
            }

            fn finish(writer: Self::Write) -> Vec<Column> {
                vec![<$type as WriteValue>::finish(writer)]
            }
        }
    )*};
}
scalar_entry!(bool, i8, i16, i32, i64, u8, u16, u32, u64, f32, f64, String, Vec<u8>, Date, Timestamp, Decimal);
