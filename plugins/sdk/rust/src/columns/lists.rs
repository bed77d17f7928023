//! Views of columns of lists and structs: the items of all rows as columns of their own, beside where each row's are.
//!
//! ```
//! use weir_sdk::prelude::*;
//!
//! /// A line of an order, and all lines as columns.
//! #[derive(InputColumns)]
//! struct Lines<'a> {
//!     quantity: ColumnView<'a, i64>,
//!     price: ColumnView<'a, f64>,
//! }
//!
//! #[derive(InputColumns)]
//! struct Orders<'a> { lines: ListView<'a, Lines<'a>> }
//!
//! #[derive(OutputColumns)]
//! struct Totals { total: ColumnBuilder<f64> }
//!
//! #[transform(columns, name = "totals", version = "1.0.0")]
//! fn totals(orders: Orders, totals: &mut Totals, rows: &mut Rows) {
//!     let lines = orders.lines.items();
//!     let (quantities, prices) = (lines.quantity.values(), lines.price.values());
//!     let of_line: Vec<f64> = quantities.iter().zip(prices).map(|(quantity, price)| *quantity as f64 * price).collect();
//!     totals.total.extend((0..rows.len()).map(|row| of_line[orders.lines.span(row)].iter().sum()));
//! }
//!
//! # fn main() {
//! # use weir_sdk::testing::Instance;
//! let lines = ("lines", "list(struct(sku utf8, quantity int64!, price float64!)!)!");
//! let plugin = Instance::<totals>::open("", &[lines]).unwrap();
//! let order = r#"[{"quantity":3,"price":1.5},{"quantity":1,"price":2}]"#;
//! let outcome = plugin.process(&[[Some(order)], [Some(r#"[{"quantity":1,"price":2}]"#)]]);
//! assert_eq!(outcome.rows("main"), [[Some("6.5".to_owned())], [Some("2".to_owned())]]);
//! # }
//! ```

use super::ViewField;
use crate::input::{self, InputColumn, Node};
use crate::nested::{list_unfit, offsets};
use crate::types::{ITEM, Type, Unfit};

/// A column of lists: where each row's items begin and end, and all items as columns of their own.
pub struct ListView<'a, V> {
    offsets: &'a [i32],
    items: V,
}

impl<'a, V> ListView<'a, V> {
    /// One more than rows: row `r` has the items from `offsets[r]` to before `offsets[r + 1]`.
    pub fn offsets(&self) -> &'a [i32] {
        self.offsets
    }

    /// The numbers of a row's items.
    ///
    /// # Panics
    /// When the batch has no such row.
    pub fn span(&self, row: usize) -> std::ops::Range<usize> {
        self.offsets[row] as u32 as usize..self.offsets[row + 1] as u32 as usize
    }

    /// The items of all rows, one after the other.
    pub fn items(&self) -> &V {
        &self.items
    }
}

fn list_view_unfit<'a, V: ViewField<'a>>(found: &Type) -> Option<Unfit> {
    list_unfit(found, &V::declared(ITEM))
}

impl<'a, V: ViewField<'a>> ViewField<'a> for ListView<'a, V> {
    fn declared(name: &'static str) -> InputColumn {
        InputColumn { name, wants: "list", unfit: list_view_unfit::<V>, nullable: false }
    }

    fn bind(node: &Node<'a, '_>, _: usize) -> Self {
        let offsets = offsets(node);
        let items = offsets.last().map_or(0, |last| *last as u32 as usize);
        Self { offsets, items: V::bind(&node.children[0], items) }
    }
}

/// A column of lists or structs that may be null; what stands in a null one means nothing.
pub struct Nullable<'a, V> {
    validity: Option<&'a [u8]>,
    values: V,
}

impl<V> Nullable<'_, V> {
    pub fn is_null(&self, row: usize) -> bool {
        self.validity.is_some_and(|bits| !input::bit(bits, row))
    }

    /// The column, nulls and all.
    pub fn values(&self) -> &V {
        &self.values
    }
}

impl<'a, V: ViewField<'a>> ViewField<'a> for Nullable<'a, V> {
    fn declared(name: &'static str) -> InputColumn {
        InputColumn { nullable: true, ..V::declared(name) }
    }

    fn bind(node: &Node<'a, '_>, rows: usize) -> Self {
        Self { validity: node.column.validity.as_deref(), values: V::bind(node, rows) }
    }
}

/// Makes a struct of views what a column of structs can be seen as. The derive calls it.
#[doc(hidden)]
#[macro_export]
macro_rules! __struct_view {
    ([$batch:lifetime] $columns:ty) => {
        impl<$batch> $crate::columns::ViewField<$batch> for $columns {
            fn declared(name: &'static str) -> $crate::input::InputColumn {
                $crate::input::InputColumn {
                    name,
                    wants: "struct",
                    unfit: |found| {
                        let fields = <Self as $crate::columns::InputColumns<$batch>>::columns();
                        $crate::nested::struct_unfit(found, &fields)
                    },
                    nullable: false,
                }
            }

            fn bind(node: &$crate::input::Node<$batch, '_>, rows: usize) -> Self {
                let mut fields = node.fields(&<Self as $crate::columns::InputColumns<$batch>>::columns());
                <Self as $crate::columns::InputColumns<$batch>>::bind(&mut fields, rows)
            }
        }
    };
}
