//! The stateless steps of a task as a tree: each node's rows go to nodes, sinks and exchanges.
//!
//! Invariant: nodes are in topological order, a node's targets stand behind it.

use std::collections::VecDeque;
use std::sync::Arc;

use weir_operators::{Operator, Outputs, StepFault};
use weir_stream::Batch;

use super::output::TaskOutput;
use super::plugin::PluginStep;
use crate::barrier::{Barrier, StepCounts};
use crate::shared::{Shared, TaskFault};
use crate::status::StepMeter;

/// Where rows go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Target {
    Node(usize),
    /// By sink number of the pipeline.
    Sink(usize),
    /// By number among the task's exchanges.
    Exchange(usize),
}

/// What a node does.
pub enum Step {
    Operator(Box<dyn Operator>),
    Plugin(Box<PluginStep>),
}

/// One step of the tree.
pub struct Node {
    pub id: Arc<str>,
    pub step: Step,
    pub meter: Arc<StepMeter>,
    /// Per named output.
    pub targets: Vec<Vec<Target>>,
}

/// The tree and its scratch space.
pub struct Chain {
    nodes: Vec<Node>,
    /// Where rows that enter the chain go.
    entry: Vec<Target>,
    counts: Vec<StepCounts>,
    outputs: Outputs,
    queue: VecDeque<(usize, Batch)>,
}

impl Chain {
    pub fn new(nodes: Vec<Node>, entry: Vec<Target>) -> Self {
        let counts = vec![StepCounts::default(); nodes.len()];
        Self { nodes, entry, counts, outputs: Outputs::default(), queue: VecDeque::new() }
    }

    /// Runs a batch through all steps to its sinks and exchanges.
    ///
    /// # Errors
    /// A [`TaskFault`]: the open epoch of this task is worthless.
    pub fn run(&mut self, batch: Batch, out: &mut TaskOutput, shared: &Shared) -> Result<(), TaskFault> {
        let entry = std::mem::take(&mut self.entry);
        let result = self.run_from(&entry, batch, out, shared);
        self.entry = entry;
        result
    }

    /// As [`Chain::run`] from other targets.
    ///
    /// # Errors
    /// As [`Chain::run`].
    pub fn run_from(
        &mut self,
        targets: &[Target],
        batch: Batch,
        out: &mut TaskOutput,
        shared: &Shared,
    ) -> Result<(), TaskFault> {
        send(targets, batch, &mut self.queue, out)?;
        while let Some((number, batch)) = self.queue.pop_front() {
            self.run_node(number, batch, out, shared)?;
        }
        Ok(())
    }

    fn run_node(
        &mut self,
        number: usize,
        batch: Batch,
        out: &mut TaskOutput,
        shared: &Shared,
    ) -> Result<(), TaskFault> {
        let node = &mut self.nodes[number];
        let rows_in = batch.rows() as u64;
        match &mut node.step {
            Step::Operator(operator) => {
                operator.process(batch, &mut self.outputs).map_err(|fault| internal(node, &fault))?
            }
            Step::Plugin(plugin) => plugin.process(batch, &mut self.outputs, shared)?,
        }
        let mut counts = StepCounts { rows_in, rejected: self.outputs.rejects.len() as u64, ..StepCounts::default() };
        let plugin = match &node.step {
            Step::Plugin(plugin) => Some(Arc::clone(plugin.digest())),
            Step::Operator(_) => None,
        };
        out.reject(&node.id, plugin.as_ref(), std::mem::take(&mut self.outputs.rejects));
        for (output, batch) in self.outputs.batches.drain(..) {
            counts.rows_out += batch.rows() as u64;
            send(&node.targets[output], batch, &mut self.queue, out)?;
        }
        node.meter.add(counts);
        self.counts[number].add(counts);
        Ok(())
    }

    /// Begins a new epoch behind `barrier`: hands over the counts and switches the plugins that ride on it.
    ///
    /// # Errors
    /// When a new version has no instance.
    pub fn pass(&mut self, barrier: &Barrier) -> Result<Vec<(Arc<str>, StepCounts)>, TaskFault> {
        let ids = self.nodes.iter().map(|node| Arc::clone(&node.id));
        let counts = ids.zip(std::mem::replace(&mut self.counts, vec![StepCounts::default(); self.nodes.len()]));
        let counts = counts.filter(|(_, counts)| !counts.is_zero()).collect();
        for node in &mut self.nodes {
            if let Step::Plugin(plugin) = &mut node.step {
                let order = barrier.swaps.iter().find(|order| order.step == node.id);
                plugin.pass(order, order.is_some() || barrier.watched.contains(&node.id))?;
            }
        }
        Ok(counts)
    }
}

/// Gives a batch to every target; the last one takes it without a copy.
fn send(
    targets: &[Target],
    batch: Batch,
    queue: &mut VecDeque<(usize, Batch)>,
    out: &mut TaskOutput,
) -> Result<(), TaskFault> {
    let Some((last, others)) = targets.split_last() else { return Ok(()) };
    for target in others {
        send_one(*target, batch.clone(), queue, out)?;
    }
    send_one(*last, batch, queue, out)
}

fn send_one(
    target: Target,
    batch: Batch,
    queue: &mut VecDeque<(usize, Batch)>,
    out: &mut TaskOutput,
) -> Result<(), TaskFault> {
    match target {
        Target::Node(node) => queue.push_back((node, batch)),
        Target::Sink(sink) => out.write(sink, batch)?,
        Target::Exchange(exchange) => out.exchange(exchange, batch)?,
    }
    Ok(())
}

fn internal(node: &Node, fault: &StepFault) -> TaskFault {
    TaskFault::Internal { step: Arc::clone(&node.id), message: fault.to_string() }
}
