//! SQL scalar expressions: the text of `where`, `select`, `key` and aggregate arguments.
//!
//! DataFusion's crates parse, plan and evaluate them. What differs from their defaults, on purpose:
//!
//! * column names are taken exactly as they are written, whatever their case; number literals with a point are
//!   decimals, and `timestamp` without a precision is in microseconds;
//! * integer arithmetic is checked: what does not fit is an error and never wraps; float arithmetic is IEEE 754
//!   (1.0 / 0.0 is infinite); a decimal result beyond its type's digits is an error;
//! * functions that depend on the moment or on chance (`now`, `random` ...) are refused when the text is compiled;
//! * an evaluation error costs only the rows that cause it. The values of the others are what evaluating each row
//!   alone would give, so `b <> 0 and a / b > 1` refuses no row.
//!
//! Nothing here knows where a text stands in a manifest: errors carry byte ranges of the text alone.

mod checked;
mod compile;
mod evaluate;
mod functions;
mod locate;

use std::ops::Range;
use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::{Array, ArrayRef, RecordBatch};
use arrow_buffer::BooleanBuffer;
use arrow_schema::{DataType, FieldRef, SchemaRef};
use datafusion_physical_expr::PhysicalExpr;
use weir_stream::{Batch, Reject};

pub(crate) use compile::type_name;

/// The longest expression that is compiled.
pub const MAX_EXPRESSION_BYTES: usize = 16 * 1024;

/// The most words and signs of an expression, apart from numbers, texts and commas: what nests, and so what takes
/// stack.
pub const MAX_EXPRESSION_TOKENS: usize = 500;

/// The most characters that `repeat`, `lpad` and `rpad` may be told to make; the number must be a literal.
pub const MAX_REPEAT: i64 = 64 * 1024;

/// Code of the rejects that evaluation makes.
pub const REJECT_CODE: &str = "expression";

/// Why a text is no expression over its input.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}{}", .suggestion.as_ref().map(|name| format!("; did you mean `{name}`?")).unwrap_or_default())]
pub struct ExpressionError {
    /// One sentence without its end: what is wrong, and where it helps the way out.
    pub message: String,
    /// Byte range of the culprit in the text, where it is known.
    pub span: Option<Range<usize>>,
    /// The name that was probably meant.
    pub suggestion: Option<String>,
}

/// A compiled expression. Cheap to clone, and evaluated from any thread.
#[derive(Debug, Clone)]
pub struct Expression {
    text: Arc<str>,
    input: SchemaRef,
    physical: Arc<dyn PhysicalExpr>,
    /// Type and nullability; the name is the text.
    field: FieldRef,
    /// The input column that this expression is, if it is nothing more.
    column: Option<usize>,
    /// Whether values must still be held against the decimal type's number of digits.
    check_digits: bool,
}

/// What an expression made of a batch.
#[derive(Debug, Clone)]
pub struct Evaluated {
    /// One value a row; null for the rejected rows.
    pub array: ArrayRef,
    /// Ascending by row, code [`REJECT_CODE`].
    pub rejects: Vec<Reject>,
}

impl Expression {
    /// Compiles `text` for rows of `input`.
    ///
    /// # Errors
    /// An [`ExpressionError`] for the first fault found.
    pub fn compile(text: &str, input: &SchemaRef) -> Result<Self, ExpressionError> {
        compile::compile(text, input)
    }

    pub fn text(&self) -> &str {
        &self.text
    }

    pub fn data_type(&self) -> &DataType {
        self.field.data_type()
    }

    pub fn is_nullable(&self) -> bool {
        self.field.is_nullable()
    }

    /// The result as a column of that name.
    pub fn field(&self, name: &str) -> FieldRef {
        Arc::new(self.field.as_ref().clone().with_name(name))
    }

    /// The number of the input column that this expression is, if it is nothing more.
    pub fn as_column(&self) -> Option<usize> {
        self.column
    }

    pub fn input(&self) -> &SchemaRef {
        &self.input
    }

    /// Evaluates every row of a batch of the input schema.
    pub fn evaluate(&self, batch: &Batch) -> Evaluated {
        self.evaluate_columns(&batch.columns)
    }

    /// The same for columns that are no batch yet.
    pub fn evaluate_columns(&self, columns: &RecordBatch) -> Evaluated {
        evaluate::evaluate(self, columns)
    }
}

/// A boolean expression; null counts as false.
#[derive(Debug, Clone)]
pub struct Predicate(Expression);

impl Predicate {
    /// Compiles `text` for rows of `input`.
    ///
    /// # Errors
    /// An [`ExpressionError`], also when the result is not boolean.
    pub fn compile(text: &str, input: &SchemaRef) -> Result<Self, ExpressionError> {
        let expression = Expression::compile(text, input)?;
        if expression.data_type() != &DataType::Boolean {
            let found = type_name(expression.data_type());
            let message = format!("this gives {found}, but a condition must be true or false");
            return Err(ExpressionError { message, span: Some(0..text.len()), suggestion: None });
        }
        Ok(Self(expression))
    }

    pub fn expression(&self) -> &Expression {
        &self.0
    }

    /// A bit for each row: whether it is true. Rejects as of [`Expression::evaluate`].
    pub fn matches(&self, batch: &Batch) -> (BooleanBuffer, Vec<Reject>) {
        let Evaluated { array, rejects } = self.evaluate(batch);
        let values = array.as_boolean();
        let matches = match values.nulls() {
            Some(nulls) => values.values() & nulls.inner(),
            None => values.values().clone(),
        };
        (matches, rejects)
    }

    /// As [`Expression::evaluate`]; the array is boolean.
    pub fn evaluate(&self, batch: &Batch) -> Evaluated {
        self.0.evaluate(batch)
    }
}

#[cfg(test)]
mod tests;
