//! Lists and structs while they are filled: columns of columns.
//!
//! Invariant: as long as no value is being put, a list's items end where its last offset says, and a struct's fields are
//! as long as it. A value that is refused half way is cut back with its record, by [`Nested::truncate`].

use std::sync::Arc;

use arrow_array::{Array, ArrayRef, ListArray, StructArray};
use arrow_buffer::{NullBuffer, OffsetBuffer};
use arrow_schema::{DataType, Field};

use super::Column;
use crate::codec::CodecError;

pub(crate) enum Nested {
    /// `offsets` has one entry more than there are lists.
    List {
        offsets: Vec<i32>,
        items: Column,
    },
    Struct {
        rows: usize,
        names: Vec<Box<str>>,
        fields: Vec<Column>,
    },
}

impl Nested {
    /// `None` for a type that has no parts.
    pub(super) fn new(data_type: &DataType, format: &'static str) -> Option<Result<Self, CodecError>> {
        let column = |field: &Arc<Field>| Column::new(field, format);
        Some(match data_type {
            DataType::List(item) => column(item).map(|items| Self::List { offsets: vec![0], items }),
            DataType::Struct(parts) => {
                let names = parts.iter().map(|part| part.name().as_str().into()).collect();
                let fields: Result<_, _> = parts.iter().map(column).collect();
                fields.map(|fields| Self::Struct { rows: 0, names, fields })
            }
            _ => return None,
        })
    }

    pub(super) fn len(&self) -> usize {
        match self {
            Self::List { offsets, .. } => offsets.len() - 1,
            Self::Struct { rows, .. } => *rows,
        }
    }

    pub(super) fn truncate(&mut self, to: usize) {
        match self {
            Self::List { offsets, items } => {
                offsets.truncate(to + 1);
                let end = offsets.last().copied().expect("offsets start with one entry");
                items.truncate(end as usize);
            }
            Self::Struct { rows, fields, .. } => {
                *rows = to.min(*rows);
                fields.iter_mut().for_each(|field| field.truncate(to));
            }
        }
    }

    /// What stands where nothing is: an empty list, or a struct of such values.
    pub(super) fn push_default(&mut self) {
        if let Self::Struct { fields, .. } = self {
            fields.iter_mut().for_each(Column::push_default);
        }
        self.end_value();
    }

    /// Ends a list whose items, or a struct whose fields, were put.
    pub(crate) fn end_value(&mut self) {
        match self {
            Self::List { offsets, items } => {
                let end = i32::try_from(items.len()).expect("a batch holds far fewer than 2^31 items in one column");
                offsets.push(end);
            }
            Self::Struct { rows, .. } => *rows += 1,
        }
    }

    pub(super) fn finish(&mut self, data_type: &DataType, nulls: Option<NullBuffer>) -> ArrayRef {
        match (self, data_type) {
            (Self::List { offsets, items }, DataType::List(item)) => {
                let offsets = std::mem::replace(offsets, vec![0]);
                Arc::new(ListArray::new(item.clone(), OffsetBuffer::new(offsets.into()), items.finish(), nulls))
            }
            (Self::Struct { rows, fields, .. }, DataType::Struct(parts)) => {
                let length = std::mem::take(rows);
                let arrays: Vec<ArrayRef> = fields.iter_mut().map(Column::finish).collect();
                debug_assert!(arrays.iter().all(|array| array.len() == length));
                Arc::new(StructArray::new(parts.clone(), arrays, nulls))
            }
            _ => unreachable!("made from this type"),
        }
    }
}

impl Column {
    /// The parts of a list or struct column.
    pub(crate) fn nested(&mut self) -> Option<&mut Nested> {
        match &mut self.values {
            super::Values::Nested(nested) => Some(nested),
            _ => None,
        }
    }

    pub(crate) fn is_nested(&self) -> bool {
        matches!(self.values, super::Values::Nested(_))
    }

    /// Null even where the column allows none: the struct around it is null, and an expression that takes the field out of
    /// it must not find a value.
    fn push_default(&mut self) {
        self.nulls.push(self.len() as u32);
        self.values.push_default();
    }
}
