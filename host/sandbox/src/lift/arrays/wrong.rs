//! What is wrong with a column, and where in it: kept apart until the column's name and place are known.

use weir_stream::FunctionFault;

use crate::fault::too_much;
use crate::limits::LIST_ITEMS;

/// A fault of a column, or of one in it.
#[derive(Debug)]
pub(super) struct Wrong {
    /// From the column inwards: `.item.price`.
    path: String,
    /// What the innermost column has one value for.
    counts: &'static str,
    cause: Cause,
}

#[derive(Debug)]
pub(super) enum Cause {
    Whole(String),
    At(usize, String),
    Length { what: &'static str, found: usize, expected: usize, rows: usize },
    TooManyItems(usize),
}

impl Cause {
    pub(super) fn whole(what: impl Into<String>) -> Self {
        Self::Whole(what.into())
    }

    pub(super) fn at(row: usize, what: impl Into<String>) -> Self {
        Self::At(row, what.into())
    }
}

impl From<Cause> for Wrong {
    fn from(cause: Cause) -> Self {
        Self { path: String::new(), counts: "row", cause }
    }
}

impl Wrong {
    /// As seen from the struct whose field it is in.
    pub(super) fn in_field(mut self, name: &str) -> Self {
        self.path.insert_str(0, &format!(".{name}"));
        self
    }

    /// As seen from the list whose items it is in.
    pub(super) fn in_items(self) -> Self {
        Self { counts: "item", ..self.in_field(crate::types::ITEM) }
    }

    pub(super) fn into_fault(self, place: &str, name: &str) -> FunctionFault {
        let Self { path, counts, cause } = self;
        let column = if place.is_empty() { format!("{name}{path}") } else { format!("{place}`{name}{path}`") };
        FunctionFault::Malformed(match cause {
            Cause::Whole(what) => format!("{column}: {what}"),
            Cause::At(row, what) => format!("{column} {counts} {row}: {what}"),
            Cause::Length { what, found, expected, rows } => {
                format!("{column}: {found} {what} for {rows} {counts}s, not {expected}")
            }
            Cause::TooManyItems(items) => {
                return too_much(format!("{items} items in {column}"), format!("{LIST_ITEMS} items"));
            }
        })
    }
}
