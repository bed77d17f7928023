//! Mends `{ amount: decimal(12, 2) }`: between braces or brackets YAML ends a value at the comma, so that
//! `2)` becomes a key or an item of its own. One fault that says so, instead of three that do not.

use super::node::{Node, Value};
use crate::fault::{Fault, Faults};
use crate::source_text::Texts;
use crate::span::Span;

pub(crate) fn mend(texts: &Texts, node: &mut Node, faults: &mut Faults) {
    match &mut node.value {
        Value::Map(pairs) => mend_map(texts, pairs, faults),
        Value::List(items) => mend_list(texts, items, faults),
        _ => {}
    }
}

fn mend_map(texts: &Texts, pairs: &mut Vec<(Node, Node)>, faults: &mut Faults) {
    let mut at = 0;
    while at < pairs.len() {
        let rest = pairs[at + 1..].iter().take_while(|(_, value)| matches!(value.value, Value::Null));
        let parts = closing(&pairs[at].1, rest.map(|(key, _)| key));
        if let Some(count) = parts {
            let last = pairs[at + count].0.span;
            join(texts, &mut pairs[at].1, last, faults);
            pairs.drain(at + 1..=at + count);
        }
        mend(texts, &mut pairs[at].1, faults);
        at += 1;
    }
}

fn mend_list(texts: &Texts, items: &mut Vec<Node>, faults: &mut Faults) {
    let mut at = 0;
    while at < items.len() {
        if let Some(count) = closing(&items[at], items[at + 1..].iter()) {
            let last = items[at + count].span;
            join(texts, &mut items[at], last, faults);
            items.drain(at + 1..=at + count);
        }
        mend(texts, &mut items[at], faults);
        at += 1;
    }
}

/// How many of the parts behind `first` it takes to close its parentheses.
fn closing<'a>(first: &Node, parts: impl Iterator<Item = &'a Node>) -> Option<usize> {
    let depth = |text: &str| text.matches('(').count() as i64 - text.matches(')').count() as i64;
    let mut open = depth(first.as_text()?);
    if open <= 0 {
        return None;
    }
    for (count, part) in parts.enumerate() {
        open += match &part.value {
            Value::Text(text) => depth(text),
            Value::Integer(_) | Value::Float(_) => 0,
            _ => return None,
        };
        if open == 0 {
            return Some(count + 1);
        }
    }
    None
}

fn join(texts: &Texts, node: &mut Node, last: Span, faults: &mut Faults) {
    let span = Span { end: last.end, ..node.span };
    let text = texts.text(span.file).get(span.range()).unwrap_or_default().to_owned();
    let fault = Fault::new(span, "comma", "a comma ends the value here; put the whole value in quotes");
    faults.push(fault.next(format!("write \"{text}\"")));
    *node = Node { value: Value::Text(text), span, ..node.clone() };
}
