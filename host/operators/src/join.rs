//! Joins of two streams by key: within an interval of each other's time, within one window, or against the version of a
//! table that was valid at a row's time.
//!
//! What comes out, by kind; an unmatched row is given out when the watermark says that nothing can match it any more:
//!
//! | kind    | columns      | rows                                             | event time of a row |
//! | ------- | ------------ | ------------------------------------------------ | ------------------- |
//! | `inner` | left, right  | each pair                                        | the later of both   |
//! | `left`  | left, right  | pairs, and left rows without a match             | the later of both; its own |
//! | `right` | left, right  | pairs, and right rows without a match            | the same            |
//! | `full`  | left, right  | pairs, and rows of either side without a match   | the same            |
//! | `semi`  | left         | each left row that has a match, once             | its own             |
//! | `anti`  | left         | each left row without a match                    | its own             |
//!
//! A key with a null in it matches nothing, not even itself; -0.0 matches 0.0 and NaN matches NaN, as everywhere in keys.
//! A join that gathers gives out all pairs of a left row together, when its time is over; `left` closes each group with the
//! left row alone.
//!
//! Otherwise rows of the two sides that come together are given out in the order in which the later one came, then by the time
//! bucket of the earlier one, then in the order in which that one came.
//!
//! A row is late when its own partition's watermark just before it had passed what [`Bounds::on_time_until`] says, or the
//! step's had (which happens after an idle partition comes back). Both leave by the late output of their side.

mod bounds;
mod gather;
mod keyed;
mod pairs;
mod streams;
mod temporal;
mod versions;

use std::sync::Arc;

use arrow_schema::{DataType, Field, FieldRef, Schema, SchemaRef};

pub use bounds::Bounds;
pub use gather::MAX_CANDIDATES;
pub use streams::{JoinError, StreamJoin};
pub use temporal::TemporalJoin;

/// The stage of its rejects and late rows.
pub const STAGE: &str = "join";

/// The numbers of the inputs, and of the sides in everything here.
pub const LEFT: usize = 0;
pub const RIGHT: usize = 1;

/// The longest interval, window and lateness: ten years.
pub const MAX_KEPT_US: i64 = 3_650 * 86_400 * 1_000_000;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum JoinKind {
    Inner,
    Left,
    Right,
    Full,
    Semi,
    Anti,
}

impl JoinKind {
    /// Whether rows of a side come out without a match.
    pub fn gives_unmatched(self, side: usize) -> bool {
        match side {
            LEFT => matches!(self, Self::Left | Self::Full | Self::Anti),
            _ => matches!(self, Self::Right | Self::Full),
        }
    }

    /// Whether rows are pairs; otherwise they are left rows.
    pub fn gives_pairs(self) -> bool {
        !matches!(self, Self::Semi | Self::Anti)
    }

    /// The name in manifests.
    pub fn name(self) -> &'static str {
        match self {
            Self::Inner => "inner",
            Self::Left => "left",
            Self::Right => "right",
            Self::Full => "full",
            Self::Semi => "semi",
            Self::Anti => "anti",
        }
    }
}

/// A join of two streams as the manifest describes it.
#[derive(Debug, Clone)]
pub struct JoinSpec {
    /// Id of the step: the origin of its rows.
    pub step: Arc<str>,
    pub kind: JoinKind,
    pub bounds: Bounds,
    /// In front of the names of the right columns.
    pub prefix: String,
    /// What a pair must fulfil besides its key and time.
    pub filter: Option<String>,
    /// Pairs come out by group ([`weir_stream::pairs`]), once nothing more can come for their left row; `inner` and `left`.
    pub gathers: bool,
}

/// The columns of a pair: the left ones, then the right ones with their prefix; a side that may be absent is nullable.
///
/// # Errors
/// The name of a column that both sides have.
pub fn pair_schema(kind: JoinKind, prefix: &str, left: &SchemaRef, right: &SchemaRef) -> Result<SchemaRef, String> {
    let (left_absent, right_absent) = (kind.gives_unmatched(RIGHT), kind.gives_unmatched(LEFT));
    let absent = |field: &FieldRef, absent: bool| field.as_ref().clone().with_nullable(field.is_nullable() || absent);
    let mut fields: Vec<Field> = left.fields().iter().map(|field| absent(field, left_absent)).collect();
    for field in right.fields() {
        let name = format!("{prefix}{}", field.name());
        if fields.iter().any(|earlier| *earlier.name() == name) {
            return Err(name);
        }
        fields.push(absent(field, right_absent).with_name(name));
    }
    Ok(Arc::new(Schema::new(fields)))
}

/// Whether keys of the two types can be equal: the canonical form of keys knows integers of any width, but a number as
/// text is another key.
pub fn same_key_type(left: &DataType, right: &DataType) -> bool {
    match (left, right) {
        (DataType::Timestamp(_, left), DataType::Timestamp(_, right)) => left.is_some() == right.is_some(),
        (DataType::Decimal128(..), DataType::Decimal128(..)) => true,
        (left, right) => {
            left == right || (left.is_integer() && right.is_integer()) || (left.is_floating() && right.is_floating())
        }
    }
}
