//! Turns DataFusion's errors into one sentence, a byte range of the text and a suggestion.

use std::ops::Range;

use datafusion_common::{DataFusionError, Location, SchemaError};
use datafusion_sql::sqlparser::parser::ParserError;
use datafusion_sql::sqlparser::tokenizer::{Token, TokenWithSpan, Word};

use super::ExpressionError;
use super::functions::{AGGREGATES, Functions};

/// Suggested names are at least this similar (Jaro-Winkler, 1 = equal).
const SIMILAR: f64 = 0.8;

/// What faults are explained with: the text, its tokens and the input's column names.
pub(super) struct Locator<'a> {
    pub text: &'a str,
    pub tokens: &'a [TokenWithSpan],
    pub columns: &'a [String],
}

impl Locator<'_> {
    pub(super) fn explain(&self, error: &DataFusionError) -> ExpressionError {
        match error {
            DataFusionError::SchemaError(schema, _) => self.schema_error(schema),
            DataFusionError::SQL(error, _) => parser_error(self.text, error),
            DataFusionError::Diagnostic(_, inner) | DataFusionError::Context(_, inner) => self.explain(inner),
            DataFusionError::Shared(inner) => self.explain(inner),
            DataFusionError::Collection(errors) if !errors.is_empty() => self.explain(&errors[0]),
            other => self.message(&cause(other)),
        }
    }

    fn schema_error(&self, error: &SchemaError) -> ExpressionError {
        let SchemaError::FieldNotFound { field, .. } = error else {
            return fault(cause_text(&error.to_string()), None);
        };
        let message = match &field.relation {
            Some(relation) => format!("no column `{}.{}`; columns are named without a table", relation, field.name),
            None => format!("no column `{}` here (has: {})", field.name, self.columns.join(", ")),
        };
        let suggestion = closest(&field.name, self.columns.iter().map(String::as_str));
        let suggestion = suggestion.filter(|_| field.relation.is_none());
        let message = if suggestion.is_some() { format!("no column `{}` here", field.name) } else { message };
        ExpressionError { message, span: self.word(&field.name), suggestion }
    }

    fn message(&self, message: &str) -> ExpressionError {
        if let Some((name, given)) = refused_arguments(message) {
            let span = Functions::get().names_of(name).find_map(|name| self.word(name));
            return fault(
                format!("`{}` does not take {given}", span.clone().map_or(name, |span| &self.text[span])),
                span,
            );
        }
        let field = message.strip_prefix("Field ").and_then(|rest| rest.strip_suffix(" not found in struct"));
        if let Some(field) = field {
            return fault(format!("the struct has no field `{field}`"), self.word(field));
        }
        let quoted = message.strip_prefix("Invalid function '").and_then(|rest| rest.split('\'').next());
        let Some(name) = quoted else { return fault(message.to_owned(), None) };
        let span = self.word(name);
        if AGGREGATES.contains(&name) {
            let message = format!("`{name}` is an aggregate: it goes under `aggregate` of a step with a window");
            return ExpressionError { message, span, suggestion: None };
        }
        let suggestion = closest(name, Functions::get().deterministic_names());
        ExpressionError { message: format!("no function `{name}`"), span, suggestion }
    }

    /// Where a name stands first in the text.
    pub(super) fn word(&self, name: &str) -> Option<Range<usize>> {
        let found = self.tokens.iter().find(|token| match &token.token {
            Token::Word(Word { value, .. }) => value.eq_ignore_ascii_case(name),
            _ => false,
        })?;
        let start = byte_of(self.text, found.span.start.into())?;
        Some(start..byte_of(self.text, found.span.end.into())?)
    }
}

/// The function and the types of the arguments that it was given, where it takes no such.
fn refused_arguments(message: &str) -> Option<(&str, String)> {
    if let Some((name, given)) = message.split_once(" does not support type ") {
        return Functions::get().names_of(name).next().map(|_| (name, given.to_lowercase()));
    }
    let (name, rest) = message.strip_prefix("Failed to coerce arguments to satisfy a call to '")?.split_once('\'')?;
    let (given, _) = rest.strip_prefix(" function: coercion from ")?.split_once(" to the signature ")?;
    Some((name, given.to_lowercase()))
}

pub(super) fn fault(message: String, span: Option<Range<usize>>) -> ExpressionError {
    ExpressionError { message, span, suggestion: None }
}

/// A syntax error; its place is written in the parser's message.
pub(super) fn parser_error(text: &str, error: &ParserError) -> ExpressionError {
    let message = match error {
        ParserError::TokenizerError(message) | ParserError::ParserError(message) => message.as_str(),
        ParserError::RecursionLimitExceeded => return fault("it is nested too deeply".to_owned(), None),
    };
    let (message, place) = message.rsplit_once(" at Line: ").unwrap_or((message, ""));
    let location = place.split_once(", Column: ").and_then(|(line, column)| {
        Some(Location { line: line.trim().parse().ok()?, column: column.trim().parse().ok()? })
    });
    let start = location.and_then(|location| byte_of(text, location));
    let span = start.map(|start| start..start + text[start..].chars().next().map_or(0, char::len_utf8));
    let message = message.replace("found: EOF", "found the end");
    fault(message, span)
}

/// The byte at which a line's character stands; both count from 1.
fn byte_of(text: &str, location: Location) -> Option<usize> {
    let line = text.split_inclusive('\n').nth(usize::try_from(location.line).ok()?.checked_sub(1)?);
    let line = line.or_else(|| (text.is_empty() && location.line == 1).then_some(""))?;
    let start = line.as_ptr() as usize - if line.is_empty() { line.as_ptr() } else { text.as_ptr() } as usize;
    let column = usize::try_from(location.column).ok()?.checked_sub(1)?;
    let within = line.char_indices().nth(column).map_or(line.len(), |(byte, _)| byte);
    Some(start + within)
}

/// What went wrong, without the layers that it came through.
pub(super) fn cause(error: &DataFusionError) -> String {
    match error {
        DataFusionError::Context(_, inner) | DataFusionError::Diagnostic(_, inner) => cause(inner),
        DataFusionError::Shared(inner) => cause(inner),
        DataFusionError::ArrowError(inner, _) => cause_text(&inner.to_string()),
        other => cause_text(&other.message()),
    }
}

fn cause_text(message: &str) -> String {
    let mut message = message;
    let prefixes = ["Arrow error: ", "Compute error: ", "Arithmetic overflow: ", "Invalid argument error: "];
    let others = ["Cast error: ", "Parser error: ", "Execution error: ", "Error during planning: ", "External error: "];
    while let Some(rest) = prefixes.iter().chain(&others).find_map(|prefix| message.strip_prefix(prefix)) {
        message = rest;
    }
    let message = message.split("\n\nbacktrace").next().unwrap_or(message);
    match message.trim() {
        "Divide by zero error" => "division by zero".to_owned(),
        other => other.to_owned(),
    }
}

fn closest<'a>(name: &str, known: impl Iterator<Item = &'a str>) -> Option<String> {
    let wanted = name.to_lowercase();
    let scored = known.map(|known| (strsim::jaro_winkler(&wanted, &known.to_lowercase()), known));
    let best = scored.filter(|(score, _)| *score >= SIMILAR).max_by(|a, b| a.0.total_cmp(&b.0).then(b.1.cmp(a.1)))?;
    Some(best.1.to_owned())
}
