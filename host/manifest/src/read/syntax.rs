//! Texts that are no YAML, or too much of it: one fault, at the place where the reader stopped.

use serde_saphyr::Error;
use serde_saphyr::budget::BudgetBreach;

use super::node::{MAX_ALIASES, MAX_DEPTH, MAX_NODES};
use crate::fault::Fault;
use crate::span::Span;

pub(crate) fn fault(file: u32, text: &str, error: &Error) -> Fault {
    let place = error.location().map_or(Span::new(file, 0..0), |at| place(file, text, at.line(), at.column()));
    if let Error::Budget { breach, .. } = error.without_snippet() {
        return Fault::new(place, "too-much", too_much(breach));
    }
    let message = error.to_string();
    let message = message.split(" at line ").next().unwrap_or_default();
    // Breaches behind an alias, and of the reader's own recursion, come as text only.
    if message.contains("recursion limit") {
        return Fault::new(place, "too-much", too_deep());
    }
    if message.contains("budget breached: Nodes") {
        return Fault::new(place, "too-much", too_many());
    }
    let line = text.lines().nth(text[..place.start as usize].matches('\n').count()).unwrap_or_default();
    let fault = Fault::new(place, "yaml", format!("no YAML: {message}"));
    if message.contains("tab") {
        fault.next("indent with spaces")
    } else if line.contains("${") {
        fault.next("put text with ${...} in quotes")
    } else {
        fault
    }
}

fn too_much(breach: &BudgetBreach) -> String {
    match breach {
        BudgetBreach::Nodes { .. } | BudgetBreach::Events { .. } => too_many(),
        BudgetBreach::Aliases { .. } | BudgetBreach::Anchors { .. } | BudgetBreach::AliasAnchorRatio { .. } => {
            format!("more than {MAX_ALIASES} aliases, or far more aliases than anchors")
        }
        BudgetBreach::Depth { .. } => too_deep(),
        BudgetBreach::Documents { .. } => "a second document; a manifest is one".to_owned(),
        _ => "more than a manifest may hold".to_owned(),
    }
}

fn too_many() -> String {
    format!("more than {MAX_NODES} values; each alias counts as all that it stands for")
}

fn too_deep() -> String {
    format!("nested deeper than {MAX_DEPTH}")
}

/// The character at a line and column, both from 1; the end of the text when it is behind it.
fn place(file: u32, text: &str, line: u64, column: u64) -> Span {
    let lines = text.split_inclusive('\n').take(line.saturating_sub(1) as usize);
    let line_start: usize = lines.map(str::len).sum();
    let rest = &text[line_start..];
    let offset = rest.char_indices().nth(column.saturating_sub(1) as usize).map_or(rest.len(), |(offset, _)| offset);
    let start = line_start + offset;
    let width = text[start..].chars().next().filter(|c| *c != '\n').map_or(0, char::len_utf8);
    Span::new(file, start..start + width)
}
