//! Values written to columns: straight into the buffers that the host takes.
//!
//! Invariant: what is written is exact; a value that its column cannot hold is a [`Misfit`] of its row, found before
//! anything of the row is written.

use std::borrow::Cow;

use crate::decimal::Decimal;
use crate::reject::Reject;
use crate::time::{Date, Timestamp, Unit};
use crate::types::{Type, Unfit, type_name};
use crate::wit::{Column, DataType, DecimalType, TimestampType, Values, VarBytes};

/// What an attribute on a field said about its column's type.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Declared {
    Nothing,
    Decimal { precision: u8, scale: i8 },
    Timestamp(Unit),
}

/// Why one value does not fit its column.
pub struct Misfit {
    code: &'static str,
    /// From the column inwards.
    path: Vec<&'static str>,
    message: String,
}

impl Misfit {
    fn here(code: &'static str, message: String) -> Self {
        Self { code, path: Vec::new(), message }
    }

    /// As seen from what the value is in.
    pub fn inside(mut self, name: &'static str) -> Self {
        self.path.insert(0, name);
        self
    }

    /// The reject for a row with such a value.
    #[cold]
    pub fn reject(self) -> Reject {
        Reject::new(self.code, format!("column `{}`: {}", self.path.join("."), self.message))
    }
}

/// A field's type: how one value is written to its column.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a type that a column can be written from",
    note = "columns are written from bool, i8 to i64, u8 to u64, f32, f64, &str, String, Cow<str>, &[u8], Vec<u8>, Date, Timestamp, Decimal, a struct with #[derive(Output)], Vec of these, and Option of these"
)]
pub trait WriteValue: Sized {
    type Builder;
    const NULLABLE: bool = false;

    /// # Errors
    /// What the attribute or the struct lacks, for people.
    fn data_type(declared: Declared, namesake: Option<&Type>) -> Result<Type, Unfit>;

    fn builder(data_type: &Type, rows: usize) -> Self::Builder;

    /// # Errors
    /// A [`Misfit`] when `write` could not write the value exactly.
    fn check(&self, _: &Self::Builder) -> Result<(), Misfit> {
        Ok(())
    }

    fn write(self, builder: &mut Self::Builder);

    /// Fills the place of a null.
    fn write_null(builder: &mut Self::Builder);

    /// Values written.
    fn rows(builder: &Self::Builder) -> usize;

    /// Adds its column, and those in it behind it.
    fn finish(builder: Self::Builder, columns: &mut Vec<Column>);
}

/// What a list may have for items: every field's type but `u8`, of which a `Vec` is a `binary`.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a type that an item of a list can be written from",
    note = "columns are written from bool, i8 to i64, u8 to u64, f32, f64, &str, String, Cow<str>, &[u8], Vec<u8>, Date, Timestamp, Decimal, a struct with #[derive(Output)], Vec of these, and Option of these"
)]
pub trait WriteItem: WriteValue {}

fn column(values: Values) -> Column {
    Column { validity: None, values }
}

/// Bits, least significant first; nothing is stored before the first null.
#[derive(Default)]
pub struct Validity {
    bits: Vec<u8>,
    rows: usize,
    nulls: bool,
}

impl Validity {
    #[inline]
    fn push(&mut self, valid: bool) {
        if !valid && !self.nulls {
            self.nulls = true;
            self.bits = vec![0xff; self.rows.div_ceil(8)];
            if let (Some(last), used @ 1..) = (self.bits.last_mut(), self.rows % 8) {
                *last = (1 << used) - 1;
            }
        }
        if self.nulls {
            push_bit(&mut self.bits, self.rows, valid);
        }
        self.rows += 1;
    }
}

fn push_bit(bits: &mut Vec<u8>, row: usize, bit: bool) {
    if row.is_multiple_of(8) {
        bits.push(0);
    }
    let last = bits.len() - 1;
    bits[last] |= u8::from(bit) << (row % 8);
}

impl<T: WriteValue> WriteValue for Option<T> {
    type Builder = (Validity, T::Builder);
    const NULLABLE: bool = true;

    fn data_type(declared: Declared, namesake: Option<&Type>) -> Result<Type, Unfit> {
        T::data_type(declared, namesake)
    }

    fn builder(data_type: &Type, rows: usize) -> Self::Builder {
        (Validity::default(), T::builder(data_type, rows))
    }

    fn check(&self, (_, values): &Self::Builder) -> Result<(), Misfit> {
        self.as_ref().map_or(Ok(()), |value| value.check(values))
    }

    #[inline]
    fn write(self, (validity, values): &mut Self::Builder) {
        validity.push(self.is_some());
        match self {
            Some(value) => value.write(values),
            None => T::write_null(values),
        }
    }

    fn write_null(builder: &mut Self::Builder) {
        Self::write(None, builder);
    }

    fn rows((validity, _): &Self::Builder) -> usize {
        validity.rows
    }

    fn finish((validity, values): Self::Builder, columns: &mut Vec<Column>) {
        let own = columns.len();
        T::finish(values, columns);
        columns[own].validity = validity.nulls.then_some(validity.bits);
    }
}

macro_rules! write_number {
    ($($type:ty, $number:ty, $variant:ident, $data_type:ident, $value:expr;)*) => {$(
        impl WriteValue for $type {
            type Builder = Vec<$number>;

            fn data_type(_: Declared, _: Option<&Type>) -> Result<Type, Unfit> {
                Ok(DataType::$data_type.into())
            }

            fn builder(_: &Type, rows: usize) -> Self::Builder {
                Vec::with_capacity(rows)
            }

            #[inline]
            fn write(self, builder: &mut Self::Builder) {
                let value: fn(Self) -> $number = $value;
                builder.push(value(self));
            }

            fn write_null(builder: &mut Self::Builder) {
                builder.push(Default::default());
            }

            fn rows(builder: &Self::Builder) -> usize {
                builder.len()
            }

            fn finish(builder: Self::Builder, columns: &mut Vec<Column>) {
                columns.push(column(Values::$variant(builder)));
            }
        }
    )*};
}
write_number! {
    i8, i8, Int8, Int8, |value| value;
    i16, i16, Int16, Int16, |value| value;
    i32, i32, Int32, Int32, |value| value;
    i64, i64, Int64, Int64, |value| value;
    u8, u8, Uint8, Uint8, |value| value;
    u16, u16, Uint16, Uint16, |value| value;
    u32, u32, Uint32, Uint32, |value| value;
    u64, u64, Uint64, Uint64, |value| value;
    f32, f32, Float32, Float32, |value| value;
    f64, f64, Float64, Float64, |value| value;
    Date, i32, Int32, Date, |date| date.0;
}

impl WriteValue for bool {
    type Builder = (Vec<u8>, usize);

    fn data_type(_: Declared, _: Option<&Type>) -> Result<Type, Unfit> {
        Ok(DataType::Boolean.into())
    }

    fn builder(_: &Type, rows: usize) -> Self::Builder {
        (Vec::with_capacity(rows.div_ceil(8)), 0)
    }

    #[inline]
    fn write(self, (bits, rows): &mut Self::Builder) {
        push_bit(bits, *rows, self);
        *rows += 1;
    }

    fn write_null(builder: &mut Self::Builder) {
        false.write(builder);
    }

    fn rows((_, rows): &Self::Builder) -> usize {
        *rows
    }

    fn finish((bits, _): Self::Builder, columns: &mut Vec<Column>) {
        columns.push(column(Values::Bits(bits)));
    }
}

/// First guess of a value's length, so that a column of short texts grows its buffer once or never.
const GUESSED_VALUE_BYTES: usize = 16;

fn bytes_builder(rows: usize) -> VarBytes {
    let mut offsets = Vec::with_capacity(rows + 1);
    offsets.push(0);
    VarBytes { offsets, data: Vec::with_capacity(rows * GUESSED_VALUE_BYTES) }
}

#[inline]
fn push_bytes(builder: &mut VarBytes, value: &[u8]) {
    builder.data.extend_from_slice(value);
    builder.offsets.push(i32::try_from(builder.data.len()).expect("a column of one batch stays below 2 GiB"));
}

macro_rules! write_bytes {
    ($([$($lifetime:lifetime)?] $type:ty, $data_type:ident, $bytes:expr;)*) => {$(
        impl $(<$lifetime>)? WriteValue for $type {
            type Builder = VarBytes;

            fn data_type(_: Declared, _: Option<&Type>) -> Result<Type, Unfit> {
                Ok(DataType::$data_type.into())
            }

            fn builder(_: &Type, rows: usize) -> Self::Builder {
                bytes_builder(rows)
            }

            #[inline]
            fn write(self, builder: &mut Self::Builder) {
                let bytes: fn(&Self) -> &[u8] = $bytes;
                push_bytes(builder, bytes(&self));
            }

            fn write_null(builder: &mut Self::Builder) {
                push_bytes(builder, &[]);
            }

            fn rows(builder: &Self::Builder) -> usize {
                builder.offsets.len() - 1
            }

            fn finish(builder: Self::Builder, columns: &mut Vec<Column>) {
                columns.push(column(Values::Bytes(builder)));
            }
        }
    )*};
}
write_bytes! {
    ['a] &'a str, Utf8, |text| text.as_bytes();
    [] String, Utf8, |text| text.as_bytes();
    ['a] Cow<'a, str>, Utf8, |text| text.as_bytes();
    ['a] &'a [u8], Binary, |bytes| bytes;
    [] Vec<u8>, Binary, |bytes| bytes;
}

impl WriteValue for Timestamp {
    type Builder = (Vec<i64>, Unit);

    fn data_type(declared: Declared, namesake: Option<&Type>) -> Result<Type, Unfit> {
        let in_utc = |unit: Unit| TimestampType { unit: unit.into(), zone: Some("UTC".into()) };
        Ok(match (declared, namesake.map(|namesake| &namesake.data_type)) {
            (Declared::Timestamp(unit), _) => DataType::Timestamp(in_utc(unit)).into(),
            (_, Some(timestamp @ DataType::Timestamp(_))) => timestamp.clone().into(),
            _ => DataType::Timestamp(in_utc(Unit::Microsecond)).into(),
        })
    }

    fn builder(data_type: &Type, rows: usize) -> Self::Builder {
        let DataType::Timestamp(declared) = &data_type.data_type else { unreachable!("data_type() gives timestamps") };
        (Vec::with_capacity(rows), declared.unit.into())
    }

    fn check(&self, (_, unit): &Self::Builder) -> Result<(), Misfit> {
        let misfit = || {
            let message = format!("{self} is no whole number of {}; cut it with .floor(..)", unit.name());
            Misfit::here("timestamp-misfit", message)
        };
        self.in_unit(*unit).map(|_| ()).ok_or_else(misfit)
    }

    #[inline]
    fn write(self, (counts, unit): &mut Self::Builder) {
        counts.push(self.in_unit(*unit).expect("check() passed").count());
    }

    fn write_null((counts, _): &mut Self::Builder) {
        counts.push(0);
    }

    fn rows((counts, _): &Self::Builder) -> usize {
        counts.len()
    }

    fn finish((counts, _): Self::Builder, columns: &mut Vec<Column>) {
        columns.push(column(Values::Int64(counts)));
    }
}

/// Halves of the values, low first, and the column's precision and scale.
pub struct Decimals {
    halves: Vec<u64>,
    precision: u8,
    scale: u8,
}

impl WriteValue for Decimal {
    type Builder = Decimals;

    fn data_type(declared: Declared, namesake: Option<&Type>) -> Result<Type, Unfit> {
        let place = match (declared, namesake) {
            (Declared::Decimal { precision, scale }, _) => {
                return Ok(DataType::Decimal128(DecimalType { precision, scale }).into());
            }
            (_, Some(Type { data_type: DataType::Decimal128(declared), .. })) if declared.scale >= 0 => {
                return Ok(DataType::Decimal128(*declared).into());
            }
            (_, Some(other)) => format!(" in place of {}", type_name(other)),
            (_, None) => String::new(),
        };
        Err(Unfit::here(format!("is a new decimal{place}; say its digits: #[decimal(12, 2)] on the field")))
    }

    fn builder(data_type: &Type, rows: usize) -> Self::Builder {
        let DataType::Decimal128(declared) = &data_type.data_type else { unreachable!("data_type() gives decimals") };
        let (precision, scale) = (declared.precision, declared.scale.unsigned_abs());
        Decimals { halves: Vec::with_capacity(2 * rows), precision, scale }
    }

    fn check(&self, Decimals { precision, scale, .. }: &Self::Builder) -> Result<(), Misfit> {
        if self.rescale(*scale).is_some_and(|number| number.fits(*precision)) {
            return Ok(());
        }
        let message = if self.round(*scale).fits(*precision) {
            format!("{self} has more than {scale} digits behind the point; cut it with .round({scale})")
        } else {
            format!("{self} is too large for decimal({precision}, {scale})")
        };
        Err(Misfit::here("decimal-misfit", message))
    }

    #[inline]
    fn write(self, Decimals { halves, scale, .. }: &mut Self::Builder) {
        let mantissa = self.rescale(*scale).expect("check() passed").mantissa() as u128;
        halves.extend([mantissa as u64, (mantissa >> 64) as u64]);
    }

    fn write_null(Decimals { halves, .. }: &mut Self::Builder) {
        halves.extend([0, 0]);
    }

    fn rows(Decimals { halves, .. }: &Self::Builder) -> usize {
        halves.len() / 2
    }

    fn finish(builder: Self::Builder, columns: &mut Vec<Column>) {
        columns.push(column(Values::Decimal128(builder.halves)));
    }
}

/// For the derive: only a decimal field may say `#[decimal(..)]`.
#[diagnostic::on_unimplemented(
    message = "#[decimal(..)] is for fields of type Decimal, Option<Decimal> and Vec<Decimal>"
)]
pub trait DecimalField {}
impl DecimalField for Decimal {}
impl<T: DecimalField> DecimalField for Option<T> {}
impl<T: DecimalField> DecimalField for Vec<T> {}

pub fn declared_decimal<T: DecimalField>(precision: u8, scale: i8) -> Declared {
    Declared::Decimal { precision, scale }
}

/// For the derive: only a timestamp field may say `#[timestamp(..)]`.
#[diagnostic::on_unimplemented(
    message = "#[timestamp(..)] is for fields of type Timestamp, Option<Timestamp> and Vec<Timestamp>"
)]
pub trait TimestampField {}
impl TimestampField for Timestamp {}
impl<T: TimestampField> TimestampField for Option<T> {}
impl<T: TimestampField> TimestampField for Vec<T> {}

pub fn declared_timestamp<T: TimestampField>(unit: Unit) -> Declared {
    Declared::Timestamp(unit)
}
