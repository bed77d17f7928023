//! Evaluates a batch; on an error, halves it until only the guilty rows are refused.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::Decimal128Type;
use arrow_array::{Array, ArrayRef, RecordBatch, RecordBatchOptions, new_empty_array, new_null_array};
use arrow_schema::{DataType, Schema};
use datafusion_physical_expr::expressions::Column;
use datafusion_physical_expr::utils::collect_columns;
use weir_stream::Reject;

use super::locate::{cause, fault};
use super::{Evaluated, Expression, ExpressionError, REJECT_CODE};

pub(super) fn evaluate(expression: &Expression, columns: &RecordBatch) -> Evaluated {
    if let Some(column) = expression.column {
        return Evaluated { array: Arc::clone(columns.column(column)), rejects: Vec::new() };
    }
    if columns.num_rows() == 0 {
        return Evaluated { array: new_empty_array(expression.data_type()), rejects: Vec::new() };
    }
    match evaluate_whole(expression, columns) {
        Ok(array) => Evaluated { array, rejects: Vec::new() },
        Err(_) => bisect(expression, columns),
    }
}

/// Halves the batch around its guilty rows. A row alone decides whether it is guilty, so the outcome does not
/// depend on how the batch was cut.
fn bisect(expression: &Expression, columns: &RecordBatch) -> Evaluated {
    let (mut pieces, mut rejects) = (Vec::new(), Vec::new());
    let mut open = vec![(0, columns.num_rows())];
    while let Some((offset, length)) = open.pop() {
        match evaluate_whole(expression, &columns.slice(offset, length)) {
            Ok(array) => pieces.push(array),
            Err(reason) if length == 1 => {
                let reason = format!("`{}`: {reason}", expression.text);
                rejects.push(Reject::new(offset as u32, REJECT_CODE, reason));
                pieces.push(new_null_array(expression.data_type(), 1));
            }
            Err(_) => {
                let half = length / 2;
                open.push((offset + half, length - half));
                open.push((offset, half));
            }
        }
    }
    let pieces: Vec<&dyn Array> = pieces.iter().map(AsRef::as_ref).collect();
    let array = arrow_select::concat::concat(&pieces).expect("the pieces are of the expression's one type");
    Evaluated { array, rejects }
}

/// The library's own faults on odd values (an unchecked sum inside a function, say) are panics in this build; they
/// must cost a row, not the process.
fn evaluate_whole(expression: &Expression, columns: &RecordBatch) -> Result<ArrayRef, String> {
    let evaluate = || {
        let value = expression.physical.evaluate(columns).map_err(|error| cause(&error))?;
        value.into_array(columns.num_rows()).map_err(|error| cause(&error))
    };
    let array = catch_unwind(AssertUnwindSafe(evaluate)).unwrap_or_else(|panic| Err(panic_text(&*panic)))?;
    if array.data_type() != expression.data_type() {
        return Err(format!("gave {} instead of {}", array.data_type(), expression.data_type()));
    }
    if expression.check_digits {
        check_digits(&array)?;
    }
    Ok(array)
}

fn panic_text(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_else(|| "evaluation failed".to_owned())
}

fn check_digits(array: &ArrayRef) -> Result<(), String> {
    let DataType::Decimal128(precision, _) = array.data_type() else { return Ok(()) };
    let values = array.as_primitive::<Decimal128Type>();
    values.validate_decimal_precision(*precision).map_err(|_| format!("the result has more than {precision} digits"))
}

/// An expression without columns that fails would refuse every row: that is a fault of the text.
pub(super) fn refuse_constant_error(expression: &Expression) -> Result<(), ExpressionError> {
    if expression.physical.is::<Column>() || !collect_columns(&expression.physical).is_empty() {
        return Ok(());
    }
    let options = RecordBatchOptions::new().with_row_count(Some(1));
    let one_row = RecordBatch::try_new_with_options(Arc::new(Schema::empty()), Vec::new(), &options)
        .expect("a batch without columns fits any row count");
    let evaluated = evaluate_whole(expression, &one_row);
    evaluated
        .map(|_| ())
        .map_err(|reason| fault(format!("this always fails: {reason}"), Some(0..expression.text.len())))
}
