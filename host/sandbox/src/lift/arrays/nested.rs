//! Lists and structs of an answer, put together of the columns that follow theirs.
//!
//! Invariant: how deep this goes was bounded with the contract. A list says how many items follow, and nothing is sized by
//! that number before the items' own buffers were found to be as many.

use std::sync::Arc;
use std::vec::IntoIter;

use arrow_array::{ArrayRef, ListArray, StructArray};
use arrow_buffer::NullBuffer;
use arrow_schema::{ArrowError, FieldRef, Fields};

use super::wrong::{Cause, Wrong};
use super::{build, rising_offsets};
use crate::limits::LIST_ITEMS;
use crate::wire::OwnedColumn;

pub(super) fn list(
    columns: &mut IntoIter<OwnedColumn>,
    item: &FieldRef,
    offsets: Vec<i32>,
    nulls: Option<NullBuffer>,
    rows: usize,
) -> Result<ArrayRef, Wrong> {
    let offsets = rising_offsets(offsets, rows)?;
    let count = offsets[rows] as usize;
    if count > LIST_ITEMS {
        return Err(Cause::TooManyItems(count).into());
    }
    let items = build(columns, item, count, None).map_err(Wrong::in_items)?;
    let list = ListArray::try_new(item.clone(), offsets, items, nulls).map_err(unbuilt)?;
    Ok(Arc::new(list))
}

pub(super) fn structure(
    columns: &mut IntoIter<OwnedColumn>,
    fields: &Fields,
    nulls: Option<NullBuffer>,
    rows: usize,
) -> Result<ArrayRef, Wrong> {
    let child =
        |field: &FieldRef| build(columns, field, rows, nulls.as_ref()).map_err(|wrong| wrong.in_field(field.name()));
    let children: Vec<ArrayRef> = fields.iter().map(child).collect::<Result<_, _>>()?;
    Ok(Arc::new(StructArray::try_new(fields.clone(), children, nulls).map_err(unbuilt)?))
}

/// What Arrow itself still finds; everything that it asks for was checked above.
fn unbuilt(error: ArrowError) -> Wrong {
    Cause::whole(error.to_string()).into()
}
