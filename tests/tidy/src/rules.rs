//! The rules, each a function from a file to its faults, `place: what is wrong`.

use crate::SourceFile;
use crate::text::{blanked, without_tests};

/// A file that is longer does more than one thing.
pub const MAX_FILE_LINES: usize = 450;

/// A function fits on a screen.
pub const MAX_FUNCTION_LINES: usize = 70;

/// Files that the rules do not hold for, and why.
pub const EXEMPT: [(&str, &str); 5] = [
    ("plugins/sdk/rust/src/bindings.rs", GENERATED),
    ("plugins/sdk/rust/src/process_bindings.rs", GENERATED),
    ("plugins/sdk/rust/src/enrich_bindings.rs", GENERATED),
    ("plugins/sdk/rust/src/aggregate_bindings.rs", GENERATED),
    ("plugins/sdk/rust/src/attribute_bindings.rs", GENERATED),
];

const GENERATED: &str = "generated from wit/ and checked in, so that a cold plugin build takes seconds";

/// Paths that exist on somebody's machine only.
pub const ABSOLUTE_PATHS: [&str; 4] = ["/root/", "/home/", "/work/", "/Users/"];

/// Calls that end the process on a user's mistake, and what stands in their place.
const FORBIDDEN_CALLS: [(&str, &str); 5] = [
    (".unwrap()", "hand the error on, or `expect` that names the invariant"),
    (".unwrap_err()", "match on the result"),
    ("todo!(", "finish it, or leave it out and say so"),
    ("unimplemented!(", "finish it, or leave it out and say so"),
    ("dbg!(", "use tracing"),
];

/// Words that say that something is not finished; put together here so that this file does not hold them.
fn markers() -> [String; 4] {
    [["TO", "DO"], ["FIX", "ME"], ["XX", "X:"], ["HA", "CK"]].map(|halves| halves.concat())
}

/// Every file says what it is for.
pub fn module_doc_faults(file: &SourceFile) -> Vec<String> {
    if file.text.starts_with("//!") || file.text.starts_with("// @generated") || file.exemption().is_some() {
        return Vec::new();
    }
    vec![format!("{}:1: no `//!` documentation: what is it for, what does it not do?", file.path)]
}

/// Files and functions have an end.
pub fn length_faults(file: &SourceFile) -> Vec<String> {
    if file.is_test() || file.exemption().is_some() {
        return Vec::new();
    }
    let code = without_tests(&file.text);
    let mut faults = Vec::new();
    let lines = code.lines().count();
    if lines > MAX_FILE_LINES {
        faults.push(format!("{}: {lines} lines, more than {MAX_FILE_LINES}", file.path));
    }
    let lines: Vec<String> = blanked(code).lines().map(str::to_owned).collect();
    for (start, line) in lines.iter().enumerate().filter(|(_, line)| is_function(line)) {
        let indent = line.len() - line.trim_start().len();
        let end = format!("{}}}", &line[..indent]);
        let found = lines[start..].iter().position(|line| *line == end || line.trim_end() == end);
        let no_body = lines[start..].iter().position(|line| line.trim_end().ends_with(';')).unwrap_or(usize::MAX);
        let opens = lines[start..].iter().position(|line| line.trim_end().ends_with(['{', '}'])).unwrap_or(usize::MAX);
        let one_line = opens == 0 && line.trim_end().ends_with('}');
        match found {
            Some(length) if opens < no_body && !one_line && length + 1 > MAX_FUNCTION_LINES => {
                let (line, length) = (start + 1, length + 1);
                faults.push(format!("{}:{line}: {length} lines, more than {MAX_FUNCTION_LINES}", file.path));
            }
            _ => {}
        }
    }
    faults
}

fn is_function(line: &str) -> bool {
    let mut words = line.split_whitespace().map(|word| word.split('(').next().unwrap_or(word));
    let before = ["pub", "const", "async", "unsafe", "extern"];
    words.find(|word| !before.contains(word)) == Some("fn")
}

/// No call that ends the process on bad input; no `expect` that says nothing.
pub fn call_faults(file: &SourceFile) -> Vec<String> {
    if file.is_test() || file.exemption().is_some() {
        return Vec::new();
    }
    let code = without_tests(&file.text);
    let mut faults = Vec::new();
    for (number, (line, raw)) in blanked(code).lines().zip(code.lines()).enumerate() {
        let place = format!("{}:{}", file.path, number + 1);
        for (call, instead) in FORBIDDEN_CALLS.iter().filter(|(call, _)| line.contains(call)) {
            faults.push(format!("{place}: `{call}`: {instead}"));
        }
        if line.contains(".expect(") && raw.contains(".expect(\"\")") {
            faults.push(format!("{place}: `expect` without the invariant"));
        }
    }
    faults
}

/// What is not finished is not here.
pub fn marker_faults(file: &SourceFile) -> Vec<String> {
    let markers = markers();
    let lines = file.text.lines().enumerate();
    let marked = lines.filter_map(|(number, line)| {
        let words = || line.split(|character: char| !character.is_ascii_alphanumeric() && character != ':');
        let marker = markers.iter().find(|marker| words().any(|word| word.starts_with(&***marker)))?;
        Some(format!("{}:{}: `{marker}`: finish it, or say in an issue what is left", file.path, number + 1))
    });
    marked.collect()
}

/// Nothing knows the machine that it was written on.
pub fn path_faults(file: &SourceFile) -> Vec<String> {
    let lines = file.text.lines().enumerate();
    let named = lines.filter_map(|(number, line)| {
        let path = ABSOLUTE_PATHS.iter().find(|path| {
            line.match_indices(**path).any(|(at, _)| {
                let before = line[..at].chars().next_back().unwrap_or(' ');
                !before.is_alphanumeric() && !matches!(before, '_' | '-' | '.' | '}' | '/' | '*')
            })
        })?;
        Some(format!("{}:{}: `{path}` is of one machine", file.path, number + 1))
    });
    named.collect()
}
