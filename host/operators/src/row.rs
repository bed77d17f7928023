//! Whole rows as bytes: how steps keep rows in their state.
//!
//! Invariant: the bytes depend on the values and on the columns' types alone, not on Arrow's version or on how arrays were
//! cut; decoding gives back exactly what was encoded. Version 1, one row:
//!
//! | part                                   | bytes                                                                |
//! | -------------------------------------- | -------------------------------------------------------------------- |
//! | validity                               | one bit a column, lowest bit first, in whole bytes; set: not null     |
//! | then each column that is not null, in order |                                                                 |
//! | bool                                   | one byte, 0 or 1                                                     |
//! | integers, floats, date, timestamps     | the value in its width, little-endian                                |
//! | decimal                                | the digits as i128, little-endian                                    |
//! | utf8, binary                           | length as u32, little-endian, then the bytes                         |
//!
//! Owners name [`RowFormat::layout`] in their state's layout: names and types of the columns, and this version.

mod decode;
mod encode;

use arrow_schema::{DataType, SchemaRef};

use crate::expression::type_name;

pub use encode::RowWriter;

/// Rises with every change of the table above.
pub const ROW_FORMAT_VERSION: u8 = 1;

/// The columns of the rows of one input.
#[derive(Debug, Clone)]
pub struct RowFormat {
    schema: SchemaRef,
}

impl RowFormat {
    /// # Errors
    /// Names a column whose type rows cannot be kept of.
    pub fn new(schema: &SchemaRef) -> Result<Self, String> {
        for field in schema.fields() {
            let kept = field.data_type();
            let takes = kept.is_primitive() || matches!(kept, DataType::Boolean | DataType::Utf8 | DataType::Binary);
            if !takes {
                let (name, kept) = (field.name(), type_name(kept));
                return Err(format!(
                    "column `{name}` is {kept}, which no state keeps; leave it out in a `select` before"
                ));
            }
        }
        Ok(Self { schema: schema.clone() })
    }

    pub fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    /// What stored rows depend on.
    pub fn layout(&self) -> String {
        let column = |field: &arrow_schema::FieldRef| format!("{} {}", field.name(), field.data_type());
        let columns: Vec<String> = self.schema.fields().iter().map(column).collect();
        format!("row/{ROW_FORMAT_VERSION}({})", columns.join(", "))
    }

    fn validity_bytes(&self) -> usize {
        self.schema.fields().len().div_ceil(8)
    }
}

#[cfg(test)]
mod tests;
