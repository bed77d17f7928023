//! Aggregate calls of a manifest, `percentile(price * quantity, 0.95)`: the call is split here, its first argument is
//! an expression, what stands behind it a number, or for `max_by(bidder, price)` an expression too.

use std::ops::Range;

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
    let Call { function, arguments } = split(call)?;
    let kind = kind(function, call)?;
    let second = arguments.get(1).map(|place| (&call[place.clone()], place.start));
    if let Some(extra) = arguments.get(2) {
        let message = format!("`{}` takes no third argument", kind.name());
        return Err(ExpressionError { span: Some(extra.clone()), ..error(call, message) });
    }
    let argument = arguments.first().map(|place| (&call[place.clone()], place.start));
    let argument = argument.filter(|(argument, _)| !argument.is_empty() && *argument != "*");
    if kind != AggregateKind::Count && argument.is_none() {
        let name = kind.name();
        return Err(error(call, format!("`{name}` needs something to aggregate: {name}(column)")));
    }
    let (number, order) = if kind.is_ranked() { (None, second) } else { (second, None) };
    if kind.is_ranked() && order.is_none() {
        let name = kind.name();
        return Err(error(call, format!("`{name}` needs what its rows are ordered by: {name}(column, other)")));
    }
    let kind = kind.with(number.map(|(number, _)| number)).map_err(|message| {
        let span = arguments.get(1).cloned().filter(|place| !place.is_empty());
        ExpressionError { span: span.or(Some(0..call.len())), ..error(call, message) }
    })?;
    let compile = |(text, at)| Expression::compile(text, input).map_err(|error| shift(error, at));
    let argument_type = argument.map(compile).transpose()?.map_or(DataType::Null, |made| made.data_type().clone());
    result_type(kind, &argument_type).map_err(|message| error(call, message))?;
    order.map(compile).transpose()?;
    let order = order.map(|(order, _)| order.to_owned());
    Ok(AggregateSpec { order, ..AggregateSpec::new(name, kind, argument.map(|(argument, _)| argument)) })
}

/// A call in its parts; the arguments are places in its text, without the space around them.
#[derive(Debug, PartialEq)]
struct Call<'a> {
    function: &'a str,
    arguments: Vec<Range<usize>>,
}

fn split(call: &str) -> Result<Call<'_>, ExpressionError> {
    let no_call = || error(call, "an aggregate is a call such as `sum(quantity)` or `count()`".into());
    let open = call.find('(').ok_or_else(no_call)?;
    let (mut arguments, mut start, mut depth, mut close) = (Vec::new(), open + 1, 0usize, None);
    let mut letters = call.char_indices().skip_while(|(at, _)| *at <= open);
    while let Some((at, letter)) = letters.next() {
        match letter {
            // Doubled inside of the text, a quote ends it and begins the next at once, which comes to the same.
            '\'' | '"' => {
                letters.by_ref().find(|(_, other)| *other == letter).ok_or_else(|| {
                    let message = format!("the text that begins with {letter} here has no end");
                    ExpressionError { span: Some(at..call.len()), ..error(call, message) }
                })?;
            }
            '(' | '[' => depth += 1,
            ')' if depth == 0 => {
                arguments.push(trimmed(call, start..at));
                close = Some(at);
                break;
            }
            ')' | ']' => depth = depth.saturating_sub(1),
            ',' if depth == 0 => {
                arguments.push(trimmed(call, start..at));
                start = at + 1;
            }
            _ => {}
        }
    }
    let close = close.ok_or_else(|| error(call, "the call has no `)`".into()))?;
    let rest = call[close + 1..].trim();
    if !rest.is_empty() {
        let message = format!("`{rest}` stands behind the call; compute with results in a `select` behind this step");
        return Err(ExpressionError { span: Some(close + 1..call.len()), ..error(call, message) });
    }
    if arguments.len() > 1 && arguments.iter().any(Range::is_empty) {
        return Err(error(call, "an argument is empty".into()));
    }
    Ok(Call { function: call[..open].trim(), arguments })
}

fn trimmed(text: &str, place: Range<usize>) -> Range<usize> {
    let inside = &text[place.clone()];
    let start = place.start + inside.len() - inside.trim_start().len();
    start..start + inside.trim().len()
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

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow_schema::{Field, Schema};

    use super::*;

    fn planned(call: &str) -> Result<AggregateSpec, ExpressionError> {
        let column = |name: &str, data_type| Field::new(name, data_type, true);
        let schema = Schema::new(vec![
            column("price", DataType::Int64),
            column("name", DataType::Utf8),
            column("a,b(", DataType::Float64),
        ]);
        let unplaced = |text: &str| Spanned::unplaced(text.to_owned());
        plan(&unplaced("result"), &unplaced(call), &Arc::new(schema))
    }

    fn refused(call: &str) -> (String, String) {
        let error = planned(call).unwrap_err();
        (error.message, error.span.map_or(String::new(), |span| call[span].to_owned()))
    }

    #[test]
    fn commas_parentheses_and_quotes_inside_of_an_argument_do_not_split_the_call() {
        let argument = |call: &str| planned(call).unwrap().argument.unwrap();
        assert_eq!(argument("count( coalesce(name, ',)(') )"), "coalesce(name, ',)(')");
        assert_eq!(argument(r#"sum("a,b(")"#), r#""a,b(""#);
        assert_eq!(argument("count(name || 'it''s, (')"), "name || 'it''s, ('");
        let percentile = planned("Percentile(greatest(price, 1), 0.95)").unwrap();
        assert_eq!(percentile.argument.as_deref(), Some("greatest(price, 1)"));
        assert_eq!(percentile.kind, AggregateKind::Percentile { millionths: 950_000 });
        assert_eq!(planned("count( * )").unwrap().argument, None);
        assert_eq!(planned("top(name, 3)").unwrap().kind, AggregateKind::Top { values: 3 });
        let dearest = planned("max_by(name, coalesce(price, 0))").unwrap();
        assert_eq!((dearest.argument.as_deref(), dearest.order.as_deref()), (Some("name"), Some("coalesce(price, 0)")));
        assert_eq!(planned("collect(name)").unwrap().kind, AggregateKind::Collect { values: None });
    }

    #[test]
    fn a_call_that_cannot_be_is_refused_with_its_place_and_the_way_out() {
        let cases = [
            ("sum", "an aggregate is a call such as `sum(quantity)` or `count()`", "sum"),
            ("sum(price", "the call has no `)`", "sum(price"),
            ("count('a)", "the text that begins with ' here has no end", "'a)"),
            (
                "sum(price) / 2",
                "`/ 2` stands behind the call; compute with results in a `select` behind this step",
                " / 2",
            ),
            ("sum(price,)", "an argument is empty", "sum(price,)"),
            ("sum()", "`sum` needs something to aggregate: sum(column)", "sum()"),
            ("sum(price, 2)", "`sum` takes one argument; `, 2` is one too many", "2"),
            ("top(price, 2, 3)", "`top` takes no third argument", "3"),
            ("top(price)", "`top` needs how many values to keep: top(column, 5)", "top(price)"),
            ("top(price, 0)", "`top` keeps 1 to 10000 values, not `0`: top(column, 5)", "0"),
            ("collect(price, 1e9)", "`collect` keeps 1 to 10000 values, not `1e9`: collect(column, 5)", "1e9"),
            (
                "percentile(price)",
                "`percentile` needs a share between 0 and 1: percentile(column, 0.95)",
                "percentile(price)",
            ),
            (
                "percentile(price, 95)",
                "`95` is no share between 0 and 1 of at most 6 digits: percentile(column, 0.95)",
                "95",
            ),
            (
                "percentile(price, 0.1234567)",
                "`0.1234567` is no share between 0 and 1 of at most 6 digits: percentile(column, 0.95)",
                "0.1234567",
            ),
            ("max_by(name)", "`max_by` needs what its rows are ordered by: max_by(column, other)", "max_by(name)"),
            ("max_by(name, prise)", "no column `prise` here", "prise"),
            ("max_by(name, price, 2)", "`max_by` takes no third argument", "2"),
            ("median(name)", "`median` takes numbers, not utf8", "median(name)"),
            ("bool_and(price)", "`bool_and` takes bool, not int64", "bool_and(price)"),
            ("first(nme)", "no column `nme` here", "nme"),
        ];
        for (call, message, place) in cases {
            assert_eq!(refused(call), (message.to_owned(), place.to_owned()), "{call}");
        }
        let (message, place) = refused("stdev(price)");
        assert!(message.starts_with("no aggregate `stdev`; there are count, sum,"), "{message}");
        assert!(message.ends_with("did you mean `stddev`?"), "{message}");
        assert_eq!(place, "stdev");
    }
}
