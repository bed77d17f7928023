//! What makes a sink's rows: the steps before it, as fingerprints, and whether they would make the same rows again.

use std::collections::{BTreeMap, BTreeSet};

use weir_stream::key::hash;

use crate::plan::{NodeRef, Plan, PlannedKind, PlannedSink, PlannedStep};

/// A fingerprint of the sink and of each source and step before it, by name. A plugin is known by its digest and
/// not here.
pub fn of_sink(plan: &Plan, sink: &PlannedSink) -> BTreeMap<String, String> {
    let before = before(plan, sink);
    let names = before.iter().map(|node| match node {
        NodeRef::Source(source) => plan.sources[*source].id.to_string(),
        NodeRef::Step(step) => plan.steps[*step].id.to_string(),
    });
    names
        .chain([format!("-> {}", sink.id)])
        .map(|name| (fingerprint(plan, &name), name))
        .map(|(of, name)| (name, of))
        .collect()
}

/// Steps that the planner puts in say nothing themselves.
fn fingerprint(plan: &Plan, name: &str) -> String {
    plan.manifest.logic.get(name).map_or_else(String::new, |text| format!("{:016x}", hash(text.as_bytes())))
}

/// Steps before the sink that may make other rows of the same input, and why.
pub fn not_again(plan: &Plan, sink: &PlannedSink) -> Vec<(String, &'static str)> {
    let steps = before(plan, sink).into_iter().filter_map(|node| match node {
        NodeRef::Step(step) => Some(&plan.steps[step]),
        NodeRef::Source(_) => None,
    });
    steps.filter_map(|step| Some((step.id.to_string(), why_not(step, plan.key_groups)?))).collect()
}

fn why_not(step: &PlannedStep, key_groups: u16) -> Option<&'static str> {
    let plugin = step.plugin();
    if plugin.is_some_and(|plugin| !plugin.gate.grants.is_empty()) {
        return Some("asks services or tables, which may answer otherwise");
    }
    if plugin.and_then(|plugin| plugin.gate.planned.as_ref()).is_some_and(|contract| !contract.is_deterministic()) {
        return Some("runs a plugin that does not call itself deterministic");
    }
    match &step.kind {
        PlannedKind::Stateless(stateless) => {
            let files = stateless.table_files();
            (!files.is_empty()).then_some("looks up a file, which may be another by now")
        }
        PlannedKind::Waiting(_) => Some("asks what may answer otherwise"),
        PlannedKind::Plugin(_) => None,
        PlannedKind::Keyed(keyed) => {
            let by_clock = keyed.operator(key_groups, 0..key_groups).is_ok_and(|operator| operator.wants_clock());
            by_clock.then_some("goes by the clock")
        }
    }
}

/// Dead letters come from everywhere.
fn before(plan: &Plan, sink: &PlannedSink) -> BTreeSet<NodeRef> {
    let mut found = BTreeSet::new();
    let mut open: Vec<NodeRef> = match sink.from {
        Some(from) => vec![from.node],
        None => (0..plan.sources.len()).map(NodeRef::Source).chain((0..plan.steps.len()).map(NodeRef::Step)).collect(),
    };
    while let Some(node) = open.pop() {
        if found.insert(node)
            && let NodeRef::Step(step) = node
        {
            open.extend(plan.steps[step].inputs.iter().map(|input| input.from.node));
        }
    }
    found
}
