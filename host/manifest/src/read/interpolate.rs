//! `${NAME}`, `${NAME:-default}` and `${NAME:?message}` in the strings of profiles; `$${` stands for `${`.
//!
//! Only the chosen profile is looked up; in the others `${}` stays as it is and fits everywhere. A variable
//! that is empty counts as unset for `:-` and `:?`. What was looked up is never looked through again.

use super::node::{Node, TextOrigin, Value};
use crate::check::Environment;
use crate::fault::{Fault, Faults};

/// Looks up every `${}` of the chosen profile, defers those of the others, and refuses them elsewhere.
pub(crate) fn interpolate(root: &mut Node, profile: Option<&str>, environment: &Environment<'_>, faults: &mut Faults) {
    let Value::Map(pairs) = &mut root.value else { return };
    for (key, value) in pairs {
        match (key.as_text(), &mut value.value) {
            (Some("profiles"), Value::Map(profiles)) => {
                for (name, bindings) in profiles {
                    if name.as_text().is_some() && name.as_text() == profile {
                        walk(bindings, &mut |node| look_up(node, environment, faults));
                    } else {
                        walk(bindings, &mut |node| node.origin = TextOrigin::Deferred);
                    }
                }
            }
            // What a test feeds may hold anything.
            (Some("description" | "tests"), _) => {}
            _ => refuse(value, faults),
        }
    }
}

/// Calls `act` for every text with a `${` in it.
fn walk(node: &mut Node, act: &mut impl FnMut(&mut Node)) {
    match &mut node.value {
        Value::Text(text) if text.contains("${") => act(node),
        Value::List(items) => items.iter_mut().for_each(|item| walk(item, act)),
        Value::Map(pairs) => pairs.iter_mut().for_each(|(_, value)| walk(value, act)),
        _ => {}
    }
}

/// A plugin's `config` is its own business and may hold anything.
fn refuse(node: &Node, faults: &mut Faults) {
    match &node.value {
        Value::Text(text) if text.contains("${") => {
            faults.push(Fault::new(node.span, "interpolation", "`${...}` is looked up in profiles only"));
        }
        Value::List(items) => items.iter().for_each(|item| refuse(item, faults)),
        Value::Map(pairs) => {
            let others = pairs.iter().filter(|(key, _)| key.as_text() != Some("config"));
            others.for_each(|(_, value)| refuse(value, faults));
        }
        _ => {}
    }
}

fn look_up(node: &mut Node, environment: &Environment<'_>, faults: &mut Faults) {
    let Some(text) = node.as_text() else { return };
    match resolved(text, environment) {
        Ok(resolved) => {
            node.value = Value::Text(resolved);
            node.origin = TextOrigin::Interpolated;
            node.inset = None;
        }
        Err((message, next)) => {
            let fault = Fault::new(node.span, "interpolation", message);
            faults.push(match next {
                Some(next) => fault.next(next),
                None => fault,
            });
            node.origin = TextOrigin::Unresolved;
        }
    }
}

type Refusal = (String, Option<String>);

fn resolved(text: &str, environment: &Environment<'_>) -> Result<String, Refusal> {
    let mut out = String::new();
    let mut rest = text;
    while let Some(at) = rest.find("${") {
        if let Some(before) = rest[..at].strip_suffix('$') {
            out.push_str(before);
            out.push_str("${");
            rest = &rest[at + 2..];
            continue;
        }
        out.push_str(&rest[..at]);
        let inside = &rest[at + 2..];
        let end = inside.find('}').ok_or_else(|| ("`${` has no closing `}`".to_owned(), None))?;
        out.push_str(&value(&inside[..end], environment)?);
        rest = &inside[end + 1..];
    }
    out.push_str(rest);
    Ok(out)
}

fn value(reference: &str, environment: &Environment<'_>) -> Result<String, Refusal> {
    let name_end = reference.find(':').unwrap_or(reference.len());
    let (name, operator) = reference.split_at(name_end);
    if !is_variable(name) {
        return Err((format!("`{name}` is no variable name in `${{{reference}}}`"), None));
    }
    let set = environment(name);
    let not_empty = set.clone().filter(|value| !value.is_empty());
    let unset = || {
        let next = format!("set it, or give a default: ${{{name}:-...}}");
        (format!("environment variable `{name}` is not set"), Some(next))
    };
    match (operator.get(..2), operator.get(2..)) {
        (None, _) if operator.is_empty() => set.ok_or_else(unset),
        (Some(":-"), default) => Ok(not_empty.unwrap_or_else(|| default.unwrap_or_default().to_owned())),
        (Some(":?"), message) => not_empty.ok_or_else(|| {
            let message = message.unwrap_or_default();
            (format!("environment variable `{name}` is not set: {message}"), None)
        }),
        _ => Err((format!("`${{{reference}}}` is none of ${{NAME}}, ${{NAME:-default}}, ${{NAME:?message}}"), None)),
    }
}

/// What environment variables may be called here.
pub(crate) fn is_variable(name: &str) -> bool {
    let first = name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_');
    first && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn environment(name: &str) -> Option<String> {
        match name {
            "HOST" => Some("kafka.example".to_owned()),
            "EMPTY" => Some(String::new()),
            "NESTED" => Some("${HOST}".to_owned()),
            _ => None,
        }
    }

    #[test]
    fn variables_defaults_and_escapes_are_resolved_once() {
        for (text, expected) in [
            ("${HOST}:9092,${OTHER:-localhost}:9093", "kafka.example:9092,localhost:9093"),
            ("${EMPTY:-filled}|${EMPTY}|${OTHER:-}", "filled||"),
            ("$${HOST} costs $5", "${HOST} costs $5"),
            ("${NESTED}", "${HOST}"),
            ("${HOST:?needed}", "kafka.example"),
        ] {
            assert_eq!(resolved(text, &environment).unwrap(), expected, "{text}");
        }
    }

    #[test]
    fn what_cannot_be_resolved_says_why() {
        for (text, message) in [
            ("${OTHER}", "environment variable `OTHER` is not set"),
            ("${OTHER:?where Kafka is}", "environment variable `OTHER` is not set: where Kafka is"),
            ("${HOST", "`${` has no closing `}`"),
            ("${}", "`` is no variable name in `${}`"),
            ("${HOST:+x}", "`${HOST:+x}` is none of ${NAME}, ${NAME:-default}, ${NAME:?message}"),
            ("${HOST:}", "`${HOST:}` is none of ${NAME}, ${NAME:-default}, ${NAME:?message}"),
        ] {
            assert_eq!(resolved(text, &environment).unwrap_err().0, message, "{text}");
        }
    }
}
