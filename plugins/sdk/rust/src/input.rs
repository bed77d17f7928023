//! Rows read from columns: views into the batch's buffers, without copies.
//!
//! Invariant: what [`Input::columns`] declares and `describe` accepted is what the host sends: buffers of the agreed
//! types, `rows` values each, UTF-8 where a column is `utf8`. The host keeps that promise; this module relies on it.

use crate::decimal::Decimal;
use crate::time::{Date, Timestamp, Unit};
use crate::wit::{Batch, Column, DataType, Values};

/// One column that a row type reads.
pub struct InputColumn {
    pub name: &'static str,
    /// The type that the struct's field takes, as a manifest writes it.
    pub wants: &'static str,
    pub fits: fn(&DataType) -> bool,
    pub nullable: bool,
}

impl InputColumn {
    pub fn of<'a, T: ReadValue<'a>>(name: &'static str) -> Self {
        Self { name, wants: T::WANTS, fits: T::fits, nullable: T::NULLABLE }
    }
}

/// A row type that a function takes. Derived: one field per column.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a row that a #[transform] function can take",
    label = "put #[derive(Input)] on this struct"
)]
pub trait Input<'a>: Sized {
    /// The batch's columns, ready to be read by row.
    type Columns;

    fn columns() -> Vec<InputColumn>;

    /// `types` are those of [`columns`](Self::columns), in that order.
    fn bind(batch: &'a Batch, types: &[DataType]) -> Self::Columns;

    fn read(columns: &Self::Columns, row: usize) -> Self;
}

/// A field's type: how one value is read from its column.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a type that a column can be read as",
    note = "columns are read as bool, i8 to i64, u8 to u64, f32, f64, &str, String, &[u8], Vec<u8>, Date, Timestamp, Decimal, and Option of these where values may be null"
)]
pub trait ReadValue<'a>: Sized {
    type Column;
    const WANTS: &'static str;
    const NULLABLE: bool = false;

    fn fits(data_type: &DataType) -> bool;

    fn bind(column: &'a Column, data_type: &DataType) -> Self::Column;

    fn read(column: &Self::Column, row: usize) -> Self;
}

/// A host that sends other buffers than agreed breaks the contract, and the call with it.
#[cold]
fn broken(wants: &str) -> ! {
    panic!("the host sent a column that is not {wants}, although `describe` agreed on it")
}

fn bit(bits: &[u8], row: usize) -> bool {
    bits[row / 8] >> (row % 8) & 1 == 1
}

impl<'a, T: ReadValue<'a>> ReadValue<'a> for Option<T> {
    type Column = (Option<&'a [u8]>, T::Column);
    const WANTS: &'static str = T::WANTS;
    const NULLABLE: bool = true;

    fn fits(data_type: &DataType) -> bool {
        T::fits(data_type)
    }

    fn bind(column: &'a Column, data_type: &DataType) -> Self::Column {
        (column.validity.as_deref(), T::bind(column, data_type))
    }

    #[inline]
    fn read((validity, values): &Self::Column, row: usize) -> Self {
        match validity {
            Some(bits) if !bit(bits, row) => None,
            _ => Some(T::read(values, row)),
        }
    }
}

macro_rules! read_number {
    ($($type:ty, $variant:ident, $data_type:ident, $name:literal;)*) => {$(
        impl<'a> ReadValue<'a> for $type {
            type Column = &'a [$type];
            const WANTS: &'static str = $name;

            fn fits(data_type: &DataType) -> bool {
                matches!(data_type, DataType::$data_type)
            }

            fn bind(column: &'a Column, _: &DataType) -> Self::Column {
                let Values::$variant(values) = &column.values else { broken($name) };
                values
            }

            #[inline]
            fn read(column: &Self::Column, row: usize) -> Self {
                column[row]
            }
        }
    )*};
}
read_number! {
    i8, Int8, Int8, "int8";
    i16, Int16, Int16, "int16";
    i32, Int32, Int32, "int32";
    i64, Int64, Int64, "int64";
    u8, Uint8, Uint8, "uint8";
    u16, Uint16, Uint16, "uint16";
    u32, Uint32, Uint32, "uint32";
    u64, Uint64, Uint64, "uint64";
    f32, Float32, Float32, "float32";
    f64, Float64, Float64, "float64";
}

impl<'a> ReadValue<'a> for bool {
    type Column = &'a [u8];
    const WANTS: &'static str = "bool";

    fn fits(data_type: &DataType) -> bool {
        matches!(data_type, DataType::Boolean)
    }

    fn bind(column: &'a Column, _: &DataType) -> Self::Column {
        let Values::Bits(bits) = &column.values else { broken("bool") };
        bits
    }

    #[inline]
    fn read(column: &Self::Column, row: usize) -> Self {
        bit(column, row)
    }
}

/// Offsets and bytes of a `utf8` or `binary` column.
pub struct Bytes<'a> {
    offsets: &'a [i32],
    data: &'a [u8],
}

impl<'a> Bytes<'a> {
    fn bind(column: &'a Column, wants: &str) -> Self {
        let Values::Bytes(bytes) = &column.values else { broken(wants) };
        Self { offsets: &bytes.offsets, data: &bytes.data }
    }

    #[inline]
    fn value(&self, row: usize) -> &'a [u8] {
        let (start, end) = (self.offsets[row] as u32 as usize, self.offsets[row + 1] as u32 as usize);
        &self.data[start..end]
    }

    #[inline]
    fn text(&self, row: usize) -> &'a str {
        let value = self.value(row);
        debug_assert!(std::str::from_utf8(value).is_ok(), "the host sends UTF-8 in utf8 columns");
        // SAFETY: the contract of `wit/` says that every value of a utf8 column is UTF-8; `bind` is only called
        // for columns that `fits` accepted as such, and the host fills them from checked text.
        unsafe { std::str::from_utf8_unchecked(value) }
    }
}

macro_rules! read_bytes {
    ($($type:ty, $data_type:ident, $name:literal, $read:expr;)*) => {$(
        impl<'a> ReadValue<'a> for $type {
            type Column = Bytes<'a>;
            const WANTS: &'static str = $name;

            fn fits(data_type: &DataType) -> bool {
                matches!(data_type, DataType::$data_type)
            }

            fn bind(column: &'a Column, _: &DataType) -> Self::Column {
                Bytes::bind(column, $name)
            }

            #[inline]
            fn read(column: &Self::Column, row: usize) -> Self {
                let read: fn(&Bytes<'a>, usize) -> Self = $read;
                read(column, row)
            }
        }
    )*};
}
read_bytes! {
    &'a str, Utf8, "utf8", |bytes, row| bytes.text(row);
    String, Utf8, "utf8", |bytes, row| bytes.text(row).to_owned();
    &'a [u8], Binary, "binary", |bytes, row| bytes.value(row);
    Vec<u8>, Binary, "binary", |bytes, row| bytes.value(row).to_owned();
}

impl<'a> ReadValue<'a> for Date {
    type Column = &'a [i32];
    const WANTS: &'static str = "date";

    fn fits(data_type: &DataType) -> bool {
        matches!(data_type, DataType::Date)
    }

    fn bind(column: &'a Column, _: &DataType) -> Self::Column {
        let Values::Int32(days) = &column.values else { broken("date") };
        days
    }

    #[inline]
    fn read(column: &Self::Column, row: usize) -> Self {
        Self(column[row])
    }
}

impl<'a> ReadValue<'a> for Timestamp {
    type Column = (&'a [i64], Unit);
    const WANTS: &'static str = "timestamp";

    fn fits(data_type: &DataType) -> bool {
        matches!(data_type, DataType::Timestamp(_))
    }

    fn bind(column: &'a Column, data_type: &DataType) -> Self::Column {
        let (Values::Int64(counts), DataType::Timestamp(declared)) = (&column.values, data_type) else {
            broken("timestamp")
        };
        (counts, declared.unit.into())
    }

    #[inline]
    fn read((counts, unit): &Self::Column, row: usize) -> Self {
        Self::new(counts[row], *unit)
    }
}

impl<'a> ReadValue<'a> for Decimal {
    type Column = (&'a [u64], u8);
    const WANTS: &'static str = "decimal with a scale from 0 to 38";

    fn fits(data_type: &DataType) -> bool {
        matches!(data_type, DataType::Decimal128(declared) if (0..=38).contains(&declared.scale))
    }

    fn bind(column: &'a Column, data_type: &DataType) -> Self::Column {
        let (Values::Decimal128(halves), DataType::Decimal128(declared)) = (&column.values, data_type) else {
            broken("decimal")
        };
        (halves, declared.scale.unsigned_abs())
    }

    #[inline]
    fn read((halves, scale): &Self::Column, row: usize) -> Self {
        let (low, high) = (halves[2 * row], halves[2 * row + 1]);
        Self::new((u128::from(low) | u128::from(high) << 64) as i128, *scale)
    }
}
