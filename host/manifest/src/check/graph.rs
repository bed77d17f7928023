//! The graph: every `from` names something, nothing runs in a circle, windows have event time, someone reads
//! every step.

use std::collections::{BTreeMap, BTreeSet};

use super::Names;
use crate::fault::{Fault, Faults, nearest};
use crate::model::{LATE_OUTPUT, MAIN_OUTPUT, Manifest, REST_OUTPUT, SinkMode, StepKind, from_reference};
use crate::read::format::is_reserved;
use crate::read::shape::either;
use crate::span::{Span, Spanned};

/// Checks the graph and takes out what hangs on a faulty part, so that later passes do not speak of it.
pub(super) fn check(manifest: &mut Manifest, names: &Names, faults: &mut Faults) {
    ids(manifest, faults);
    let mut broken = broken(manifest, names);
    for (_, step) in &manifest.steps {
        step.inputs().for_each(|(_, from)| reference(from, manifest, names, faults));
    }
    for (id, sink) in &manifest.sinks {
        reference(&sink.from, manifest, names, faults);
        if let SinkMode::Upsert(key) = &sink.mode {
            key_columns(id, key, faults);
        }
    }
    cycles(manifest, &mut broken, faults);
    // Whatever is faulty may have been meant as the reader.
    if !faults.has_errors() {
        unread(manifest, faults);
    }
    event_time(manifest, faults);
    output_names(manifest, faults);
    prune(manifest, broken);
}

fn ids(manifest: &Manifest, faults: &mut Faults) {
    let sources = manifest.sources.iter().map(|(id, _)| (id, "source"));
    let steps = manifest.steps.iter().map(|(id, _)| (id, "step"));
    let sinks = manifest.sinks.iter().map(|(id, _)| (id, "sink"));
    let mut taken: BTreeMap<&str, &str> = BTreeMap::new();
    for (id, what) in sources.chain(steps).chain(sinks) {
        if is_reserved(id) {
            faults.push(Fault::new(id.span, "reserved", format!("`{id}` is taken by Weir; choose another id")));
        }
        if let Some(other) = taken.insert(id, what) {
            let message = format!("`{id}` is already a {other}; ids are unique across sources, steps and sinks");
            faults.push(Fault::new(id.span, "duplicate-id", message));
        }
    }
}

/// Ids that the manifest names and the structural check took out.
fn broken(manifest: &Manifest, names: &Names) -> BTreeSet<String> {
    let lost_sources = names.sources.iter().filter(|id| manifest.sources.get(id).is_none());
    let lost_steps = names.steps.iter().filter(|id| manifest.steps.get(id).is_none());
    lost_sources.chain(lost_steps).cloned().collect()
}

fn reference(from: &Spanned<String>, manifest: &Manifest, names: &Names, faults: &mut Faults) {
    let reference = from_reference(from);
    let id_span = from.part(0..reference.id.len());
    if names.sources.contains(reference.id) {
        if let Some(output) = reference.output {
            let message = format!("source `{}` has no output `{output}`; write `{}`", reference.id, reference.id);
            faults.push(Fault::new(from.span, "unknown-output", message));
        }
        return;
    }
    if names.steps.contains(reference.id) {
        let Some(step) = manifest.steps.get(reference.id) else { return };
        let place = from.part(reference.id.len() + 1..from.len());
        faults.extend(match reference.output {
            Some(output) => unknown_output(reference.id, output, &step.kind, place),
            None => no_main_output(reference.id, &step.kind, id_span),
        });
        return;
    }
    let message = if names.sinks.contains(reference.id) {
        format!("`{}` is a sink; rows do not come out of it", reference.id)
    } else {
        let known = names.sources.iter().chain(&names.steps).map(String::as_str);
        let meant = nearest(reference.id, known).map(|near| format!("; did you mean `{near}`?")).unwrap_or_default();
        format!("no source or step `{}`{meant}", reference.id)
    };
    faults.push(Fault::new(id_span, "unknown-from", message));
}

fn no_main_output(id: &str, kind: &StepKind, place: Span) -> Option<Fault> {
    if kind.has_main_output() {
        return None;
    }
    let outputs = kind.named_outputs().unwrap_or_default();
    let outputs: Vec<String> = outputs.iter().map(|output| format!("`{id}.{output}`")).collect();
    let message = format!("step `{id}` sends its rows to named outputs; write {}", either(&outputs));
    Some(Fault::new(place, "unknown-output", message))
}

fn unknown_output(id: &str, output: &str, kind: &StepKind, place: Span) -> Option<Fault> {
    let named = kind.named_outputs()?;
    if named.contains(&output) {
        return None;
    }
    let has = match named.as_slice() {
        [] => format!("write `{id}`"),
        named => {
            let near = nearest(output, named.iter().copied());
            let meant = near.map(|near| format!("did you mean `{near}`? ")).unwrap_or_default();
            let named: Vec<String> = named.iter().map(|name| format!("`{name}`")).collect();
            format!("{meant}it has {}", named.join(", "))
        }
    };
    Some(Fault::new(place, "unknown-output", format!("step `{id}` has no output `{output}`; {has}")))
}

/// Names that mean something else as an output.
fn output_names(manifest: &Manifest, faults: &mut Faults) {
    for (_, step) in &manifest.steps {
        let StepKind::Split(conditions) = &step.kind else { continue };
        for (name, _) in
            conditions.iter().filter(|(name, _)| [MAIN_OUTPUT, LATE_OUTPUT, REST_OUTPUT].contains(&&***name))
        {
            let message = format!("`{name}` is taken by Weir; choose another name for the output");
            faults.push(Fault::new(name.span, "reserved", message));
        }
    }
}

fn key_columns(id: &str, key: &[Spanned<String>], faults: &mut Faults) {
    let mut seen = BTreeSet::new();
    for column in key {
        if !seen.insert(&column.value) {
            let message = format!("`{column}` is in the key of sink `{id}` twice");
            faults.push(Fault::new(column.span, "duplicate-key-column", message));
        }
    }
}

/// Reports each circle once, at the `from` of its step that stands first, and counts its steps as broken.
fn cycles(manifest: &Manifest, broken: &mut BTreeSet<String>, faults: &mut Faults) {
    let mut walk = Walk { manifest, finished: BTreeSet::new(), circles: Vec::new() };
    for (id, _) in &manifest.steps {
        walk.upstream(id, &mut Vec::new());
    }
    for circle in walk.circles {
        faults.push(cycle(manifest, &circle));
        broken.extend(circle.iter().map(|id| (*id).to_owned()));
    }
}

/// A walk against the flow that finds circles.
struct Walk<'a> {
    manifest: &'a Manifest,
    finished: BTreeSet<&'a str>,
    circles: Vec<Vec<&'a str>>,
}

impl<'a> Walk<'a> {
    fn upstream(&mut self, at: &'a str, path: &mut Vec<&'a str>) {
        // An id that is also a source's has had its fault.
        if self.finished.contains(at) || self.manifest.sources.get(at).is_some() {
            return;
        }
        let Some(step) = self.manifest.steps.get(at) else { return };
        if let Some(start) = path.iter().position(|seen| *seen == at) {
            self.circles.push(path[start..].to_vec());
            return;
        }
        path.push(at);
        for (_, from) in step.inputs() {
            self.upstream(from_reference(from).id, path);
        }
        path.pop();
        self.finished.insert(at);
    }
}

fn cycle(manifest: &Manifest, circle: &[&str]) -> Fault {
    // Upstream order becomes the order in which rows would flow.
    let flow: Vec<&str> = circle.iter().rev().chain(circle.last()).copied().collect();
    let next = circle.get(1).unwrap_or(&circle[0]);
    let inputs = manifest.steps.get(circle[0]).map(|step| step.inputs().map(|(_, from)| from));
    let place = inputs.and_then(|mut inputs| inputs.find(|from| from_reference(from).id == *next));
    let place = place.map(|from| from.span).unwrap_or_default();
    Fault::new(place, "cycle", format!("rows would run in a circle: {}", flow.join(" -> ")))
}

fn unread(manifest: &Manifest, faults: &mut Faults) {
    let steps = manifest.steps.iter().flat_map(|(_, step)| step.inputs().map(|(_, from)| from));
    let sinks = manifest.sinks.iter().map(|(_, sink)| &sink.from);
    let read: BTreeSet<&str> = steps.chain(sinks).map(|from| from_reference(from).id).collect();
    let sources = manifest.sources.iter().map(|(id, _)| (id, "source"));
    unread_outputs(manifest, faults);
    let ids = sources.chain(manifest.steps.iter().map(|(id, _)| (id, "step")));
    for (id, what) in ids.filter(|(id, _)| !read.contains(id.as_str())) {
        faults.push(Fault::warning(id.span, "unread", format!("no step or sink reads {what} `{id}`")));
    }
}

/// Rows of a `split` that go nowhere are lost on purpose or by mistake; say so.
fn unread_outputs(manifest: &Manifest, faults: &mut Faults) {
    let steps = manifest.steps.iter().flat_map(|(_, step)| step.inputs().map(|(_, from)| from));
    let read: BTreeSet<&str> =
        steps.chain(manifest.sinks.iter().map(|(_, sink)| &sink.from)).map(|from| from.as_str()).collect();
    for (id, step) in manifest.steps.iter().filter(|(_, step)| !step.kind.has_main_output()) {
        let outputs = step.kind.named_outputs().unwrap_or_default();
        let outputs: Vec<String> = outputs.iter().map(|output| format!("{id}.{output}")).collect();
        if outputs.iter().all(|output| !read.contains(output.as_str())) {
            continue; // The step as a whole is said to be unread.
        }
        for output in outputs.iter().filter(|output| !read.contains(output.as_str())) {
            let message = format!("no step or sink reads `{output}`: its rows are dropped");
            faults.push(Fault::warning(id.span, "unread", message));
        }
    }
}

/// A window works in event time, so the sources before it must say which.
fn event_time(manifest: &Manifest, faults: &mut Faults) {
    for (id, _) in manifest.steps.iter().filter(|(_, step)| step.works_in_event_time()) {
        for source_id in sources_of(manifest, id) {
            if manifest.sources.get(source_id).is_some_and(|source| source.event_time.is_some()) {
                continue;
            }
            let message = format!("step `{id}` works in event time, but source `{source_id}` has none");
            let fault = Fault::new(id.span, "event-time", message);
            faults.push(fault.next(format!("add `event_time: {{ column: ... }}` to source `{source_id}`")));
        }
    }
}

/// The sources whose rows reach a step.
fn sources_of<'a>(manifest: &'a Manifest, step: &'a str) -> BTreeSet<&'a str> {
    let (mut sources, mut seen, mut waiting) = (BTreeSet::new(), BTreeSet::new(), vec![step]);
    while let Some(at) = waiting.pop() {
        match manifest.steps.get(at) {
            Some(step) if seen.insert(at) => waiting.extend(step.inputs().map(|(_, from)| from_reference(from).id)),
            Some(_) => {}
            None => sources.extend(manifest.sources.get(at).map(|_| at)),
        }
    }
    sources
}

/// Takes out every step and sink behind something that is broken or not there.
fn prune(manifest: &mut Manifest, broken: BTreeSet<String>) {
    manifest.steps.retain(|id, _| !broken.contains(id));
    loop {
        let Manifest { sources, steps, .. } = &*manifest;
        let known: BTreeSet<String> = sources.names().chain(steps.names()).map(str::to_owned).collect();
        let before = manifest.steps.len();
        manifest.steps.retain(|_, step| step.inputs().all(|(_, from)| known.contains(from_reference(from).id)));
        manifest.sinks.retain(|_, sink| known.contains(from_reference(&sink.from).id));
        if manifest.steps.len() == before {
            return;
        }
    }
}
