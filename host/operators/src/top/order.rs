//! The order of `top`: expressions, each rising or falling, as bytes that compare so.
//!
//! The bytes are Arrow's row format and live in memory alone. Null is smaller than every value, NaN larger than every
//! number, -0.0 smaller than 0.0; text compares by its bytes.

use std::sync::Arc;

use arrow_array::ArrayRef;
use arrow_row::{RowConverter, Rows, SortField};
use arrow_schema::{SchemaRef, SortOptions};
use weir_stream::{Batch, Reject};

use crate::expression::{Expression, ExpressionError};
use crate::operator::StepFault;

/// What rows are compared by.
#[derive(Debug, Clone)]
pub struct Order {
    by: Vec<(Expression, SortOptions)>,
}

impl Order {
    /// `by`: expressions, each with ` asc` (or nothing) or ` desc` behind it.
    ///
    /// # Errors
    /// The position of a faulty expression, with its [`ExpressionError`].
    pub fn new(by: &[String], input: &SchemaRef) -> Result<Self, (usize, ExpressionError)> {
        let compiled = by.iter().enumerate().map(|(place, text)| {
            let (expression, descending) = direction(text);
            let compiled = Expression::compile(expression, input).map_err(|error| (place, error))?;
            // Null is the smallest value, so it comes first when rising and last when falling.
            Ok((compiled, SortOptions { descending, nulls_first: !descending }))
        });
        Ok(Self { by: compiled.collect::<Result<_, _>>()? })
    }

    /// The expressions as one text.
    pub fn text(&self) -> String {
        let one = |(expression, options): &(Expression, SortOptions)| {
            format!("{} {}", expression.text(), if options.descending { "desc" } else { "asc" })
        };
        self.by.iter().map(one).collect::<Vec<_>>().join(", ")
    }

    /// Bytes to compare each row by, and the rows for which an expression fails, ascending.
    pub(super) fn keys(&self, batch: &Batch) -> Result<(Rows, Vec<Reject>), StepFault> {
        let (mut arrays, mut rejects): (Vec<ArrayRef>, Vec<Reject>) = (Vec::new(), Vec::new());
        for (expression, _) in &self.by {
            let evaluated = expression.evaluate(batch);
            rejects.extend(evaluated.rejects);
            arrays.push(Arc::clone(&evaluated.array));
        }
        rejects.sort_by_key(|reject| reject.row);
        rejects.dedup_by_key(|reject| reject.row);
        let fields = self
            .by
            .iter()
            .map(|(expression, options)| SortField::new_with_options(expression.data_type().clone(), *options));
        let converter = RowConverter::new(fields.collect())?;
        Ok((converter.convert_columns(&arrays)?, rejects))
    }
}

/// Splits off the direction; whether it is falling.
fn direction(text: &str) -> (&str, bool) {
    let trimmed = text.trim_end();
    let (head, word) = trimmed.rsplit_once(char::is_whitespace).unwrap_or(("", trimmed));
    match (head.trim_end(), word.to_ascii_lowercase().as_str()) {
        (head, "desc") if !head.is_empty() => (head, true),
        (head, "asc") if !head.is_empty() => (head, false),
        _ => (trimmed, false),
    }
}

#[cfg(test)]
mod tests {
    use super::direction;

    #[test]
    fn the_last_word_is_a_direction_only_behind_an_expression() {
        assert_eq!(direction("price desc"), ("price", true));
        assert_eq!(direction("abs(a - b)  DESC "), ("abs(a - b)", true));
        assert_eq!(direction("at asc"), ("at", false));
        assert_eq!(direction("at"), ("at", false));
        assert_eq!(direction("desc"), ("desc", false));
    }
}
