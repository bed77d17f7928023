//! The chain of stateless steps behind one root, and what it writes to.

use std::collections::BTreeMap;
use std::sync::Arc;

use weir_operators::{Outputs, Waiting};

use super::{Assembly, Channels, Root};
use crate::channel::Wake;
use crate::clock::monotonic;
use crate::function::Function;
use crate::incarnation::StartError;
use crate::plan::{self, NodeRef, PlannedKind, PlannedSink, Port};
use crate::task::{Chain, Exchange, Node, PluginStep, SinkBuffer, Step, Target, TaskOutput};

/// Which node, exchange and sink stands behind which port, for the tasks of one root.
pub struct Layout<'a> {
    assembly: &'a Assembly<'a>,
    root: NodeRef,
    /// Node number by step.
    nodes: BTreeMap<usize, usize>,
    /// Exchange number by keyed step and its port.
    exchanges: BTreeMap<(usize, usize), usize>,
}

impl<'a> Layout<'a> {
    pub fn of(assembly: &'a Assembly<'a>, root: NodeRef) -> Self {
        let (mut nodes, mut exchanges) = (BTreeMap::new(), BTreeMap::new());
        for (number, step) in assembly.plan.steps.iter().enumerate() {
            for input in step.inputs.iter().filter(|input| assembly.roots_of(input.from.node).contains(&root)) {
                if step.is_keyed() {
                    let next = exchanges.len();
                    exchanges.entry((number, input.port)).or_insert(next);
                } else {
                    let next = nodes.len();
                    nodes.entry(number).or_insert(next);
                }
            }
        }
        Self { assembly, root, nodes, exchanges }
    }

    /// Everything that reads a port.
    pub fn targets(&self, port: Port) -> Vec<Target> {
        let mut targets = Vec::new();
        for (number, step) in self.assembly.plan.steps.iter().enumerate() {
            for input in step.inputs.iter().filter(|input| input.from == port) {
                let node = self.nodes.get(&number).map(|node| Target::Node(*node));
                let exchange = self.exchanges.get(&(number, input.port)).map(|number| Target::Exchange(*number));
                targets.extend(node.or(exchange));
            }
        }
        let sinks = self.assembly.plan.sinks.iter().enumerate();
        targets.extend(sinks.filter(|(_, sink)| sink.from == Some(port)).map(|(number, _)| Target::Sink(number)));
        targets
    }

    fn nodes(&self, wake: &Wake) -> Result<Vec<Node>, StartError> {
        self.nodes.keys().map(|step| self.node(*step, wake)).collect()
    }

    /// `wake`: of the task's worker.
    fn node(&self, number: usize, wake: &Wake) -> Result<Node, StartError> {
        let planned = &self.assembly.plan.steps[number];
        let step = match &planned.kind {
            PlannedKind::Stateless(planned) => Step::Operator(planned.operator().map_err(StartError::Internal)?),
            PlannedKind::Waiting(planned) => {
                let answerer = planned.answerer().map_err(StartError::Internal)?;
                Step::Waiting(Box::new(Waiting::new(answerer, planned.limits(), wake.waker(), monotonic())))
            }
            PlannedKind::Plugin(plugin) => {
                let running = &self.assembly.plugins[&planned.id];
                let site = plugin.gate.site.clone();
                let Function::Rows(factory) = &running.function else {
                    return Err(StartError::Internal(format!("step `{}` has no key", planned.id)));
                };
                let step = PluginStep::new(site, Arc::clone(factory), running.watched, wake.waker());
                Step::Plugin(Box::new(step?))
            }
            PlannedKind::Keyed(_) => unreachable!("keyed steps are roots, not nodes"),
        };
        let port = |output| Port { node: NodeRef::Step(number), output };
        Ok(Node {
            id: Arc::clone(&planned.id),
            step,
            meter: self.assembly.status.meter(&planned.id),
            targets: (0..planned.outputs.len()).map(|output| self.targets(port(output))).collect(),
        })
    }

    fn exchanges(&self, instance: usize, channels: &Channels) -> Result<Vec<Exchange>, StartError> {
        let exchange = |(step, port): &(usize, usize)| {
            let (planned, keyed) = self.assembly.keyed(*step);
            let key_groups = self.assembly.key_groups;
            let from = channels.of(*step).iter().map(|inputs| inputs.from(*port, self.root, instance));
            Ok(Exchange {
                stage: Arc::clone(&planned.id),
                keys: keyed.key_encoder(*port, key_groups).map_err(StartError::Internal)?,
                key_groups,
                channels: from.collect(),
                outputs: Outputs::default(),
            })
        };
        let mut exchanges: Vec<_> = self.exchanges.iter().collect();
        exchanges.sort_by_key(|(_, number)| **number);
        exchanges.into_iter().map(|(place, _)| exchange(place)).collect()
    }

    /// The sinks that this root's steps write to.
    fn sinks(&self) -> Result<BTreeMap<usize, SinkBuffer>, StartError> {
        let mut sinks = BTreeMap::new();
        for (number, sink) in self.assembly.plan.sinks.iter().enumerate() {
            if sink.from.is_some_and(|from| self.assembly.roots_of(from.node).contains(&self.root)) {
                sinks.insert(number, buffer(sink)?);
            }
        }
        Ok(sinks)
    }
}

fn buffer(sink: &PlannedSink) -> Result<SinkBuffer, StartError> {
    if sink.takes_columns {
        return Ok(SinkBuffer::rows());
    }
    let encoder = plan::encoder(&sink.schema, &sink.format).map_err(StartError::Internal)?;
    let key_encoder = match &sink.upsert {
        None => None,
        Some(columns) => {
            let indices = columns.iter().map(|column| sink.schema.index_of(column)).collect::<Result<Vec<_>, _>>();
            let indices = indices.map_err(|error| StartError::Internal(error.to_string()))?;
            let key = sink.schema.project(&indices).map_err(|error| StartError::Internal(error.to_string()))?;
            let encoder = plan::encoder(&Arc::new(key), &weir_manifest::Format::Json).map_err(StartError::Internal)?;
            Some((indices, encoder))
        }
    };
    Ok(SinkBuffer::payloads(encoder, key_encoder))
}

impl Assembly<'_> {
    pub(super) fn chain(&self, root: &Root, channels: &Channels) -> Result<(Chain, TaskOutput), StartError> {
        let layout = Layout::of(self, root.node);
        let entry = layout.targets(Port { node: root.node, output: 0 });
        let exchanges = layout.exchanges(root.instance, channels)?;
        let out = TaskOutput::new(Arc::clone(&self.plan.pipeline), layout.sinks()?, exchanges);
        let wake = &self.wakes[self.worker(root.number)];
        Ok((Chain::new(layout.nodes(wake)?, entry), out))
    }

    /// How many tasks run each plugin step: one instance each.
    pub(super) fn instances(&self, roots: &[Root]) -> BTreeMap<String, usize> {
        let steps = self.plan.steps.iter().enumerate();
        let plugins = steps.filter(|(_, step)| step.plugin().is_some());
        let count = |number: usize| {
            let of_step = self.roots_of(NodeRef::Step(number));
            roots.iter().filter(|task| of_step.contains(&task.node)).count()
        };
        plugins.map(|(number, step)| (step.id.to_string(), count(number))).collect()
    }
}
