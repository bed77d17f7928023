//! The chain of stateless steps behind one root, and what it writes to.

use std::collections::BTreeMap;
use std::sync::Arc;

use weir_operators::{Outputs, Select, Where};

use super::{Assembly, Channels, Root};
use crate::incarnation::StartError;
use crate::plan::{self, NodeRef, PlannedKind, PlannedSink, Port};
use crate::task::{Chain, Exchange, Node, PluginStep, SinkBuffer, Step, Target, TaskOutput};

/// Which node, exchange and sink stands behind which port, for the tasks of one root.
pub struct Layout<'a> {
    assembly: &'a Assembly<'a>,
    root: NodeRef,
    /// Node number by step.
    nodes: BTreeMap<usize, usize>,
    /// Exchange number by keyed step.
    exchanges: BTreeMap<usize, usize>,
}

impl<'a> Layout<'a> {
    pub fn of(assembly: &'a Assembly<'a>, root: NodeRef) -> Self {
        let steps = assembly.plan.steps.iter().enumerate();
        let (mut nodes, mut exchanges) = (BTreeMap::new(), BTreeMap::new());
        for (number, step) in steps.filter(|(_, step)| assembly.root_of(step.from) == root) {
            let numbers = if step.is_keyed() { &mut exchanges } else { &mut nodes };
            let next = numbers.len();
            numbers.insert(number, next);
        }
        Self { assembly, root, nodes, exchanges }
    }

    /// Everything that reads a port.
    pub fn targets(&self, port: Port) -> Vec<Target> {
        let reads = |step: &usize| self.assembly.plan.steps[*step].from == port;
        let nodes = self.nodes.iter().filter(|(step, _)| reads(step)).map(|(_, node)| Target::Node(*node));
        let exchanges =
            self.exchanges.iter().filter(|(step, _)| reads(step)).map(|(_, number)| Target::Exchange(*number));
        let sinks = self.assembly.plan.sinks.iter().enumerate();
        let sinks = sinks.filter(|(_, sink)| sink.from == Some(port)).map(|(number, _)| Target::Sink(number));
        nodes.chain(exchanges).chain(sinks).collect()
    }

    fn nodes(&self) -> Result<Vec<Node>, StartError> {
        self.nodes.keys().map(|step| self.node(*step)).collect()
    }

    fn node(&self, number: usize) -> Result<Node, StartError> {
        let planned = &self.assembly.plan.steps[number];
        let step = match &planned.kind {
            PlannedKind::Where(predicate) => Step::Operator(Box::new(Where::new(predicate.clone()))),
            PlannedKind::Select(columns) => {
                let select = Select::only(columns, &planned.input);
                Step::Operator(Box::new(select.map_err(|(_, error)| StartError::Internal(error.message))?))
            }
            PlannedKind::Plugin(plugin) => {
                let running = &self.assembly.plugins[&planned.id];
                let site = plugin.gate.site.clone();
                Step::Plugin(Box::new(PluginStep::new(site, Arc::clone(&running.factory), running.watching)?))
            }
            PlannedKind::Window(_) => unreachable!("keyed steps are roots, not nodes"),
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
        let exchange = |step: &usize| {
            let (planned, window) = self.assembly.window(*step);
            let key_groups = self.assembly.key_groups;
            Ok(Exchange {
                stage: Arc::clone(&planned.id),
                keys: window.key_encoder(&planned.input, key_groups).map_err(StartError::Internal)?,
                key_groups,
                channels: channels[step].iter().map(|inputs| Arc::clone(&inputs[instance])).collect(),
                outputs: Outputs::default(),
            })
        };
        self.exchanges.keys().map(exchange).collect()
    }

    /// The sinks that this root's steps write to.
    fn sinks(&self) -> Result<BTreeMap<usize, SinkBuffer>, StartError> {
        let mut sinks = BTreeMap::new();
        for (number, sink) in self.assembly.plan.sinks.iter().enumerate() {
            if sink.from.is_some_and(|from| self.assembly.root_of(from) == self.root) {
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
    let encoder = plan::encoder(&sink.schema, sink.format).map_err(StartError::Internal)?;
    let key_encoder = match &sink.upsert {
        None => None,
        Some(columns) => {
            let indices = columns.iter().map(|column| sink.schema.index_of(column)).collect::<Result<Vec<_>, _>>();
            let indices = indices.map_err(|error| StartError::Internal(error.to_string()))?;
            let key = sink.schema.project(&indices).map_err(|error| StartError::Internal(error.to_string()))?;
            let encoder = plan::encoder(&Arc::new(key), weir_manifest::Format::Json).map_err(StartError::Internal)?;
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
        Ok((Chain::new(layout.nodes()?, entry), out))
    }

    /// How many tasks run each plugin step: one instance each.
    pub(super) fn instances(&self, roots: &[Root]) -> BTreeMap<String, usize> {
        let plugins = self.plan.steps.iter().filter(|step| matches!(step.kind, PlannedKind::Plugin(_)));
        let count = |from: Port| {
            let root = self.root_of(from);
            roots.iter().filter(|task| task.node == root).count()
        };
        plugins.map(|step| (step.id.to_string(), count(step.from))).collect()
    }
}
