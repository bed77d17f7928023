//! How faults look: plain text with a caret, or JSON.
//!
//! Pure: texts and faults in, a string out. Whether there is a terminal is the caller's business.

use std::fmt::Write;

use serde_json::json;

use crate::fault::{Fault, Severity};
use crate::source_text::Texts;
use crate::span::Span;

/// More faults than this are counted, not shown.
pub const MAX_FAULTS_SHOWN: usize = 50;

/// The most characters of a source line that are shown.
const MAX_LINE_CHARS: usize = 160;

/// Characters kept before the caret when a line is cut.
const CONTEXT_CHARS: usize = 60;

pub(crate) fn text(texts: &Texts, faults: &[&Fault], more: usize, secrets: &[Span], colour: bool) -> String {
    let paint = Paint { colour };
    let mut out = String::new();
    for fault in faults.iter().take(MAX_FAULTS_SHOWN) {
        match fault.place {
            Some(place) => placed(&mut out, texts, fault, place, secrets, &paint),
            None => {
                let _ = writeln!(out, "{}: {}", texts.path(0).display(), paint.message(fault, &fault.message));
            }
        }
        if let Some(next) = &fault.next {
            let _ = writeln!(out, "  next: {next}");
        }
    }
    let unseen = faults.len().saturating_sub(MAX_FAULTS_SHOWN) + more;
    if unseen > 0 {
        let _ = writeln!(out, "... and {unseen} more");
    }
    out.push_str(&summary(faults, more));
    out
}

fn summary(faults: &[&Fault], more: usize) -> String {
    let errors = faults.iter().filter(|fault| fault.severity == Severity::Error).count();
    let (errors, warnings) = (errors + more, faults.len() - errors);
    let counted = |count: usize, what: &str| format!("{count} {what}{}", if count == 1 { "" } else { "s" });
    match (errors, warnings) {
        (0, 0) => String::new(),
        (0, _) => counted(warnings, "warning") + "\n",
        (_, 0) => counted(errors, "fault") + ", nothing was started\n",
        _ => format!("{}, {}, nothing was started\n", counted(errors, "fault"), counted(warnings, "warning")),
    }
}

fn placed(out: &mut String, texts: &Texts, fault: &Fault, place: Span, secrets: &[Span], paint: &Paint) {
    let at = texts.locate(place);
    let _ = writeln!(out, "{}:{}:{}", texts.path(place.file).display(), at.line, at.column);
    let line = masked_line(texts, place.file, &at.range, secrets);
    let marked = texts.text(place.file).get(place.start as usize..(place.end as usize).min(at.range.end));
    let width = marked.map_or(1, |marked| marked.chars().count()).max(1);
    let (shown, caret_column) = cut(&line, at.column - 1);
    let gutter = at.line.to_string().len();
    let padding: String = shown.chars().take(caret_column).map(|c| if c == '\t' { '\t' } else { ' ' }).collect();
    let carets = "^".repeat(width.min(MAX_LINE_CHARS));
    let _ = writeln!(out, "{:gutter$} |", "");
    let _ = writeln!(out, "{} | {shown}", at.line);
    let message = paint.message(fault, &format!("{carets} {}", fault.message));
    let _ = writeln!(out, "{:gutter$} | {padding}{message}", "");
}

/// A line of the text with every secret in it turned to asterisks.
fn masked_line(texts: &Texts, file: u32, range: &std::ops::Range<usize>, secrets: &[Span]) -> String {
    let text = &texts.text(file)[range.clone()];
    let secret = |at: usize| secrets.iter().any(|span| span.file == file && span.range().contains(&at));
    text.char_indices().map(|(offset, c)| if secret(range.start + offset) { '*' } else { c }).collect()
}

/// The part of a long line around column `column` (from 0), and where that column is in it.
fn cut(line: &str, column: usize) -> (String, usize) {
    if line.chars().count() <= MAX_LINE_CHARS {
        return (line.to_owned(), column);
    }
    let skipped = column.saturating_sub(CONTEXT_CHARS);
    let shown: String = line.chars().skip(skipped).take(MAX_LINE_CHARS).collect();
    if skipped == 0 { (shown + "...", column) } else { (format!("...{shown}..."), column - skipped + 3) }
}

struct Paint {
    colour: bool,
}

impl Paint {
    fn message(&self, fault: &Fault, text: &str) -> String {
        let text =
            if fault.severity == Severity::Warning { text.replacen("^ ", "^ warning: ", 1) } else { text.to_owned() };
        let code = match fault.severity {
            Severity::Error => "31",
            Severity::Warning => "33",
        };
        if self.colour { format!("\u{1b}[{code}m{text}\u{1b}[0m") } else { text }
    }
}

pub(crate) fn json(texts: &Texts, faults: &[&Fault]) -> serde_json::Value {
    let fault = |fault: &&Fault| {
        let file = fault.place.map_or(0, |place| place.file);
        let at = fault.place.map(|place| texts.locate(place));
        json!({
            "file": texts.path(file).display().to_string(),
            "line": at.as_ref().map(|at| at.line),
            "column": at.as_ref().map(|at| at.column),
            "severity": match fault.severity { Severity::Error => "error", Severity::Warning => "warning" },
            "code": fault.code,
            "message": fault.message,
            "next": fault.next,
        })
    };
    faults.iter().map(fault).collect()
}
