//! Aggregate calls of a manifest, `sum(quantity)`: the call is split here, its argument is an expression.

use arrow_schema::{DataType, SchemaRef};
use weir_manifest::{Spanned, nearest};
use weir_operators::aggregate::result_type;
use weir_operators::{AggregateKind, AggregateSpec, Expression, ExpressionError};

/// # Errors
/// What is wrong with the call, with its place in the text.
pub(super) fn plan(
    name: &Spanned<String>,
    call: &Spanned<String>,
    input: &SchemaRef,
) -> Result<AggregateSpec, ExpressionError> {
    let (function, argument, argument_at) = split(call)?;
    let kind = kind(function, call)?;
    let argument = Some(argument).filter(|argument| !argument.is_empty() && *argument != "*");
    if kind != AggregateKind::Count && argument.is_none() {
        return Err(error(call, format!("`{function}` needs something to aggregate: {function}(column)")));
    }
    let argument_type = match argument {
        None => DataType::Null,
        Some(argument) => {
            let compiled = Expression::compile(argument, input).map_err(|error| shift(error, argument_at))?;
            compiled.data_type().clone()
        }
    };
    result_type(kind, &argument_type).map_err(|message| error(call, message))?;
    Ok(AggregateSpec { name: name.value.clone(), kind, argument: argument.map(str::to_owned) })
}

fn split(call: &str) -> Result<(&str, &str, usize), ExpressionError> {
    let text = call.trim_end();
    let open = text.find('(').filter(|_| text.ends_with(')'));
    let open = open.ok_or_else(|| error(call, "an aggregate is a call such as `sum(quantity)` or `count()`".into()))?;
    let inside = &text[open + 1..text.len() - 1];
    let lead = inside.len() - inside.trim_start().len();
    Ok((text[..open].trim(), inside.trim(), open + 1 + lead))
}

fn kind(function: &str, call: &str) -> Result<AggregateKind, ExpressionError> {
    AggregateKind::from_name(&function.to_lowercase()).ok_or_else(|| {
        let names: Vec<&str> = AggregateKind::ALL.iter().map(|kind| kind.name()).collect();
        let hint = nearest(function, names.iter().copied()).map(|name| format!("; did you mean `{name}`?"));
        let message = format!("no aggregate `{function}`; there are {}{}", names.join(", "), hint.unwrap_or_default());
        ExpressionError { message, span: call.find(function).map(|at| at..at + function.len()), suggestion: None }
    })
}

fn error(call: &str, message: String) -> ExpressionError {
    ExpressionError { message, span: Some(0..call.len()), suggestion: None }
}

fn shift(error: ExpressionError, by: usize) -> ExpressionError {
    let span = error.span.map(|span| span.start + by..span.end + by);
    ExpressionError { span, ..error }
}
