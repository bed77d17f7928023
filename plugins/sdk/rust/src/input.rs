//! Rows read from columns: views into the batch's buffers, without copies.
//!
//! Invariant: what [`Input::columns`] declares and `describe` accepted is what the host sends: buffers of the agreed
//! types, `rows` values each, UTF-8 where a column is `utf8`. The host keeps that promise; this module relies on it.

use crate::decimal::Decimal;
use crate::time::{Date, Timestamp, Unit};
use crate::types::{Part, Type, Unfit, type_name};
use crate::wit::{Batch, Column, DataType, Values};

/// One column that a row type reads, or one field of a struct in a column.
pub struct InputColumn {
    pub name: &'static str,
    /// The type that the struct's field takes, as a manifest writes it.
    pub wants: &'static str,
    pub unfit: fn(&Type) -> Option<Unfit>,
    pub nullable: bool,
}

impl InputColumn {
    pub fn of<'a, T: ReadValue<'a>>(name: &'static str) -> Self {
        Self { name, wants: T::WANTS, unfit: T::unfit, nullable: T::NULLABLE }
    }

    /// Why a column that is there cannot be read as this one.
    pub fn misfit(&self, found: &Part) -> Option<Unfit> {
        let nulls = || {
            let wants = self.wants;
            let message = format!(
                "may be null, the plugin reads {wants} without nulls; make the field an Option or the column not null"
            );
            (found.nullable && !self.nullable).then(|| Unfit::here(message))
        };
        (self.unfit)(&found.of).or_else(nulls)
    }
}

/// A column of a batch, with those in it.
#[derive(Clone)]
pub struct Node<'a, 't> {
    pub column: &'a Column,
    pub of: &'t Type,
    pub children: Vec<Node<'a, 't>>,
}

impl<'a, 't> Node<'a, 't> {
    fn next(columns: &mut std::slice::Iter<'a, Column>, of: &'t Type) -> Self {
        let column = columns.next().expect("the host sends every column that `describe` agreed on");
        let children = of.children.iter().map(|child| Self::next(columns, &child.of)).collect();
        Self { column, of, children }
    }

    /// The fields of a struct that are read, in that order.
    pub fn fields(&self, columns: &[InputColumn]) -> Nodes<'a, 't> {
        let place = |column: &InputColumn| self.of.children.iter().position(|child| child.name == column.name);
        let field = |column| self.children[place(column).expect("`describe` found the field")].clone();
        Nodes::Fields(columns.iter().map(field).collect::<Vec<_>>().into_iter())
    }
}

/// Columns to be bound, one after the other: those of a batch, which take no memory of their own, or fields of a struct.
pub enum Nodes<'a, 't> {
    Batch(std::slice::Iter<'a, Column>, std::slice::Iter<'t, Type>),
    Fields(std::vec::IntoIter<Node<'a, 't>>),
}

impl<'a, 't> Nodes<'a, 't> {
    /// Those of a batch, of these types.
    pub fn of(batch: &'a Batch, types: &'t [Type]) -> Self {
        Self::Batch(batch.columns.iter(), types.iter())
    }

    /// # Panics
    /// When a row type takes more columns than it declares.
    pub fn take(&mut self) -> Node<'a, 't> {
        let next = match self {
            Self::Batch(columns, types) => types.next().map(|of| Node::next(columns, of)),
            Self::Fields(fields) => fields.next(),
        };
        next.expect("a row type binds the columns that it declares")
    }
}

/// A batch's columns as rows of `E`; `types` are those of its columns, in that order.
pub fn bind<'a, E: Input<'a>>(batch: &'a Batch, types: &[Type]) -> E::Columns {
    E::bind(&mut Nodes::of(batch, types))
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

    /// The nodes are those of [`columns`](Self::columns), in that order.
    fn bind(nodes: &mut Nodes<'a, '_>) -> Self::Columns;

    fn read(columns: &Self::Columns, row: usize) -> Self;
}

/// A field's type: how one value is read from its column.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a type that a column can be read as",
    note = "columns are read as bool, i8 to i64, u8 to u64, f32, f64, &str, String, &[u8], Vec<u8>, Date, Timestamp, Decimal, a struct with #[derive(Input)], Vec of these, and Option of these where values may be null"
)]
pub trait ReadValue<'a>: Sized {
    type Column;
    const WANTS: &'static str;
    const NULLABLE: bool = false;

    fn fits(data_type: &DataType) -> bool;

    /// Why a column of this type cannot be read so.
    fn unfit(found: &Type) -> Option<Unfit> {
        let message = || format!("is {}, the plugin reads {}", type_name(found), Self::WANTS);
        (!Self::fits(&found.data_type)).then(|| Unfit::here(message()))
    }

    fn bind(node: &Node<'a, '_>) -> Self::Column;

    fn read(column: &Self::Column, row: usize) -> Self;
}

/// What a list may have for items: every field's type but `u8`, of which a `Vec` is a `binary`; `Vec<Option<u8>>` reads a
/// list of them.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a type that an item of a list can be read as",
    note = "columns are read as bool, i8 to i64, u8 to u64, f32, f64, &str, String, &[u8], Vec<u8>, Date, Timestamp, Decimal, a struct with #[derive(Input)], Vec of these, and Option of these where values may be null"
)]
pub trait ReadItem<'a>: ReadValue<'a> {}

/// A host that sends other buffers than agreed breaks the contract, and the call with it.
#[cold]
pub(crate) fn broken(wants: &str) -> ! {
    panic!("the host sent a column that is not {wants}, although `describe` agreed on it")
}

pub(crate) fn bit(bits: &[u8], row: usize) -> bool {
    bits[row / 8] >> (row % 8) & 1 == 1
}

impl<'a, T: ReadValue<'a>> ReadValue<'a> for Option<T> {
    type Column = (Option<&'a [u8]>, T::Column);
    const WANTS: &'static str = T::WANTS;
    const NULLABLE: bool = true;

    fn fits(data_type: &DataType) -> bool {
        T::fits(data_type)
    }

    fn unfit(found: &Type) -> Option<Unfit> {
        T::unfit(found)
    }

    fn bind(node: &Node<'a, '_>) -> Self::Column {
        (node.column.validity.as_deref(), T::bind(node))
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

            fn bind(node: &Node<'a, '_>) -> Self::Column {
                let Values::$variant(values) = &node.column.values else { broken($name) };
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

    fn bind(node: &Node<'a, '_>) -> Self::Column {
        let Values::Bits(bits) = &node.column.values else { broken("bool") };
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

            fn bind(node: &Node<'a, '_>) -> Self::Column {
                Bytes::bind(node.column, $name)
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

    fn bind(node: &Node<'a, '_>) -> Self::Column {
        let Values::Int32(days) = &node.column.values else { broken("date") };
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

    fn bind(node: &Node<'a, '_>) -> Self::Column {
        let (Values::Int64(counts), DataType::Timestamp(declared)) = (&node.column.values, &node.of.data_type) else {
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

    fn bind(node: &Node<'a, '_>) -> Self::Column {
        let (Values::Decimal128(halves), DataType::Decimal128(declared)) = (&node.column.values, &node.of.data_type)
        else {
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
