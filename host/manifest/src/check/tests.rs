//! Tests of the pipeline: they feed sources and expect rows of sinks. What the rows may hold is for the planner, which
//! knows the columns.

use super::Names;
use crate::fault::{Fault, Faults, nearest};
use crate::model::{DEAD_LETTERS, Feed, LATE_ROWS, Manifest, Test};
use crate::span::Spanned;

pub(super) fn check(manifest: &Manifest, names: &Names, faults: &mut Faults) {
    for (_, test) in &manifest.tests {
        for part in &test.feed {
            if let Feed::Lines(lines) = part {
                lines.iter().for_each(|(source, _)| faults.extend(fed(source, names)));
            }
        }
        for (sink, _) in test.expect.iter().filter(|(name, _)| !Test::is_of_rejects(name)) {
            faults.extend(expected(sink, names));
        }
    }
}

fn fed(name: &Spanned<String>, names: &Names) -> Option<Fault> {
    if names.sources.contains(&name.value) {
        return None;
    }
    if names.steps.contains(&name.value) || names.sinks.contains(&name.value) {
        return Some(Fault::new(name.span, "unknown-source", format!("`{name}` is no source; a test feeds sources")));
    }
    let near = nearest(name, names.sources.iter().map(String::as_str));
    let meant = near.map(|near| format!("; did you mean `{near}`?")).unwrap_or_default();
    Some(Fault::new(name.span, "unknown-source", format!("no source `{name}`{meant}")))
}

fn expected(name: &Spanned<String>, names: &Names) -> Option<Fault> {
    if names.sinks.contains(&name.value) {
        return None;
    }
    if names.steps.contains(&name.value) || names.sources.contains(&name.value) {
        let message = format!("`{name}` is no sink; a test expects the rows of sinks");
        return Some(Fault::new(name.span, "unknown-sink", message));
    }
    let known = names.sinks.iter().map(String::as_str).chain([DEAD_LETTERS, LATE_ROWS]);
    let meant = nearest(name, known).map(|near| format!("; did you mean `{near}`?")).unwrap_or_default();
    Some(Fault::new(name.span, "unknown-sink", format!("no sink `{name}`{meant}")))
}
