//! State by key: what a struct with `#[derive(State)]` keeps in the host, and how it comes and goes.
//!
//! Invariant: a field is written back, whole, for exactly the keys at which it was changed through `DerefMut`; reading
//! it costs nothing. A key that has nothing yet starts with every field empty.

mod entry;

use std::collections::{BTreeMap, VecDeque};
use std::ops::{Deref, DerefMut, Range};

use crate::output::OutputColumn;
use crate::process_bindings::exports::weir::plugin::process::{Entries, StateChange, StateKind};
use crate::types::Type;
use crate::wit::{Batch, Column, DataType};
use crate::write::Declared;

pub use entry::Entry;

/// The state of one key. Derived on structs whose fields are [`Value`], [`List`] and [`Map`]; `()` for none.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not the state of a key",
    label = "put #[derive(State)] on this struct"
)]
pub trait State: Sized {
    /// All keys' state in one call.
    type Bound<'a>;
    /// What is to be written back.
    type Changes;

    fn declared() -> Vec<StateSpec>;

    fn bind<'a>(held: &'a [Held], types: &[StateTypes]) -> Self::Bound<'a>;

    fn load(bound: &Self::Bound<'_>, key: usize) -> Self;

    fn changes(types: &[StateTypes]) -> Self::Changes;

    fn store(self, key: u32, changes: &mut Self::Changes);

    fn finish(changes: Self::Changes) -> Vec<StateChange>;
}

/// One declared state.
pub struct StateSpec {
    pub name: &'static str,
    pub kind: StateKind,
    pub map_key: Vec<OutputColumn>,
    pub columns: Vec<OutputColumn>,
    pub ttl_ms: Option<u64>,
}

impl StateSpec {
    pub fn of<F: Field>(name: &'static str, declared: Declared, ttl_ms: Option<u64>) -> Self {
        Self { name, kind: F::KIND, map_key: F::map_key(), columns: F::columns(declared), ttl_ms }
    }
}

/// The types of one state's columns.
#[derive(Debug, Clone, PartialEq)]
pub struct StateTypes {
    pub map_key: Vec<Type>,
    pub columns: Vec<Type>,
}

impl StateTypes {
    /// The columns of no entries.
    pub fn empty_columns(&self) -> Vec<Column> {
        let mut columns = Vec::new();
        self.map_key.iter().chain(&self.columns).for_each(|of| push_empty(of, &mut columns));
        columns
    }
}

fn push_empty(of: &Type, columns: &mut Vec<Column>) {
    use crate::wit::{Values, VarBytes};
    let values = match &of.data_type {
        DataType::Boolean => Values::Bits(Vec::new()),
        DataType::Int8 => Values::Int8(Vec::new()),
        DataType::Int16 => Values::Int16(Vec::new()),
        DataType::Int32 | DataType::Date => Values::Int32(Vec::new()),
        DataType::Int64 | DataType::Timestamp(_) => Values::Int64(Vec::new()),
        DataType::Uint8 => Values::Uint8(Vec::new()),
        DataType::Uint16 => Values::Uint16(Vec::new()),
        DataType::Uint32 => Values::Uint32(Vec::new()),
        DataType::Uint64 => Values::Uint64(Vec::new()),
        DataType::Float32 => Values::Float32(Vec::new()),
        DataType::Float64 => Values::Float64(Vec::new()),
        DataType::Decimal128(_) => Values::Decimal128(Vec::new()),
        DataType::Utf8 | DataType::Binary => Values::Bytes(VarBytes { offsets: vec![0], data: Vec::new() }),
        DataType::ListOf => Values::ListOffsets(vec![0]),
        DataType::StructOf => Values::Nothing,
    };
    columns.push(Column { validity: None, values });
    of.children.iter().for_each(|child| push_empty(&child.of, columns));
}

/// One state of all keys of a call, a map's key columns apart.
pub struct Held {
    offsets: Vec<u32>,
    map_key: Batch,
    columns: Batch,
}

impl Held {
    pub fn of(entries: Entries, types: &StateTypes) -> Self {
        let Entries { offsets, mut columns } = entries;
        let rows = offsets.last().copied().unwrap_or_default();
        // A map's key has no lists and structs: a column for each field.
        let rest = columns.split_off(types.map_key.len());
        Self { offsets, map_key: Batch { rows, columns }, columns: Batch { rows, columns: rest } }
    }
}

/// A field of a state: [`Value`], [`List`] or [`Map`].
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be a field of a state",
    note = "a state's fields are Value<T>, List<T> and Map<K, V>"
)]
pub trait Field: Sized {
    const KIND: StateKind;
    type Read<'a>;
    type Write;

    fn map_key() -> Vec<OutputColumn> {
        Vec::new()
    }

    fn columns(declared: Declared) -> Vec<OutputColumn>;

    fn bind<'a>(held: &'a Held, types: &StateTypes) -> Self::Read<'a>;

    fn load(read: &Self::Read<'_>, entries: Range<usize>) -> Self;

    fn is_changed(&self) -> bool;

    fn writer(types: &StateTypes) -> Self::Write;

    /// Writes its entries and answers how many.
    fn store(self, writer: &mut Self::Write) -> u32;

    fn finish(writer: Self::Write) -> Vec<Column>;
}

/// One field of all keys.
pub struct Bound<'a, F: Field> {
    offsets: &'a [u32],
    read: F::Read<'a>,
}

impl<'a, F: Field> Bound<'a, F> {
    pub fn new(held: &'a Held, types: &StateTypes) -> Self {
        Self { offsets: &held.offsets, read: F::bind(held, types) }
    }

    pub fn load(&self, key: usize) -> F {
        F::load(&self.read, self.offsets[key] as usize..self.offsets[key + 1] as usize)
    }
}

/// What is written back of one field.
pub struct Change<F: Field> {
    keys: Vec<u32>,
    offsets: Vec<u32>,
    writer: F::Write,
}

impl<F: Field> Change<F> {
    pub fn new(types: &StateTypes) -> Self {
        Self { keys: Vec::new(), offsets: vec![0], writer: F::writer(types) }
    }

    pub fn store(&mut self, key: u32, field: F) {
        if field.is_changed() {
            let last = self.offsets[self.keys.len()];
            self.keys.push(key);
            self.offsets.push(last + field.store(&mut self.writer));
        }
    }

    pub fn finish(self, state: u32) -> Option<StateChange> {
        let Self { keys, offsets, writer } = self;
        let entries = |columns| Entries { offsets, columns };
        (!keys.is_empty()).then(|| StateChange { state, keys, entries: entries(F::finish(writer)) })
    }
}

/// At most one `T` for each key; derefs to `Option<T>`.
#[derive(Debug, Clone, PartialEq)]
pub struct Value<T> {
    value: Option<T>,
    changed: bool,
}

/// `T`s in their order; derefs to `VecDeque<T>`.
#[derive(Debug, Clone, PartialEq)]
pub struct List<T> {
    value: VecDeque<T>,
    changed: bool,
}

/// `V`s by `K`; derefs to `BTreeMap<K, V>`.
#[derive(Debug, Clone, PartialEq)]
pub struct Map<K, V> {
    value: BTreeMap<K, V>,
    changed: bool,
}

macro_rules! holds {
    ($([$($generic:ident),*] $field:ty => $inner:ty;)*) => {$(
        impl<$($generic),*> Deref for $field {
            type Target = $inner;

            fn deref(&self) -> &$inner {
                &self.value
            }
        }

        impl<$($generic),*> DerefMut for $field {
            fn deref_mut(&mut self) -> &mut $inner {
                self.changed = true;
                &mut self.value
            }
        }

        impl<$($generic),*> Default for $field {
            fn default() -> Self {
                Self { value: Default::default(), changed: false }
            }
        }

        impl<$($generic),*> From<$inner> for $field {
            fn from(value: $inner) -> Self {
                Self { value, changed: false }
            }
        }
    )*};
}
holds! {
    [T] Value<T> => Option<T>;
    [T] List<T> => VecDeque<T>;
    [K, V] Map<K, V> => BTreeMap<K, V>;
}

macro_rules! ordered_field {
    ($($field:ident, $kind:ident;)*) => {$(
        impl<T: Entry> Field for $field<T> {
            const KIND: StateKind = StateKind::$kind;
            type Read<'a> = T::Read<'a>;
            type Write = T::Write;

            fn columns(declared: Declared) -> Vec<OutputColumn> {
                T::columns("value", declared)
            }

            fn bind<'a>(held: &'a Held, types: &StateTypes) -> T::Read<'a> {
                T::bind(&held.columns, &types.columns)
            }

            fn load(read: &T::Read<'_>, entries: Range<usize>) -> Self {
                // A value has one entry or none, so that its last is its only one.
                Self { value: entries.map(|entry| T::read(read, entry)).collect_as(), changed: false }
            }

            fn is_changed(&self) -> bool {
                self.changed
            }

            fn writer(types: &StateTypes) -> T::Write {
                T::writer(&types.columns)
            }

            fn store(self, writer: &mut T::Write) -> u32 {
                let mut entries = 0;
                self.value.into_iter().for_each(|entry| {
                    entry.write(writer);
                    entries += 1;
                });
                entries
            }

            fn finish(writer: T::Write) -> Vec<Column> {
                T::finish(writer)
            }
        }
    )*};
}
ordered_field! {
    Value, Value;
    List, List;
}

/// `collect`, also into an `Option`: its only item.
trait CollectAs<C> {
    fn collect_as(self) -> C;
}

impl<T, I: Iterator<Item = T>> CollectAs<Option<T>> for I {
    fn collect_as(mut self) -> Option<T> {
        self.next()
    }
}

impl<T, I: Iterator<Item = T>> CollectAs<VecDeque<T>> for I {
    fn collect_as(self) -> VecDeque<T> {
        self.collect()
    }
}

impl<K: Entry + Ord, V: Entry> Field for Map<K, V> {
    const KIND: StateKind = StateKind::Map;
    type Read<'a> = (K::Read<'a>, V::Read<'a>);
    type Write = (K::Write, V::Write);

    fn map_key() -> Vec<OutputColumn> {
        K::columns("key", Declared::Nothing)
    }

    fn columns(declared: Declared) -> Vec<OutputColumn> {
        V::columns("value", declared)
    }

    fn bind<'a>(held: &'a Held, types: &StateTypes) -> Self::Read<'a> {
        (K::bind(&held.map_key, &types.map_key), V::bind(&held.columns, &types.columns))
    }

    fn load((keys, values): &Self::Read<'_>, entries: Range<usize>) -> Self {
        let value = entries.map(|entry| (K::read(keys, entry), V::read(values, entry))).collect();
        Self { value, changed: false }
    }

    fn is_changed(&self) -> bool {
        self.changed
    }

    fn writer(types: &StateTypes) -> Self::Write {
        (K::writer(&types.map_key), V::writer(&types.columns))
    }

    fn store(self, (keys, values): &mut Self::Write) -> u32 {
        let mut entries = 0;
        for (key, value) in self.value {
            key.write(keys);
            value.write(values);
            entries += 1;
        }
        entries
    }

    fn finish((keys, values): Self::Write) -> Vec<Column> {
        let mut columns = K::finish(keys);
        columns.extend(V::finish(values));
        columns
    }
}

impl State for () {
    type Bound<'a> = ();
    type Changes = ();

    fn declared() -> Vec<StateSpec> {
        Vec::new()
    }

    fn bind(_: &[Held], _: &[StateTypes]) {}

    fn load((): &(), _: usize) {}

    fn changes(_: &[StateTypes]) {}

    fn store(self, _: u32, (): &mut ()) {}

    fn finish((): ()) -> Vec<StateChange> {
        Vec::new()
    }
}
