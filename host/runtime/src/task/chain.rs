//! The stateless steps of a task as a tree: each node's rows go to nodes, sinks and exchanges.
//!
//! Invariant: nodes are in topological order, a node's targets stand behind it. A step that answers later lets the rows
//! go on in their order when its answers have come; until then the chain is not settled, the task passes no barrier, and
//! event time is held behind them.

use std::collections::VecDeque;
use std::sync::Arc;

use weir_operators::{Operator, Outputs, StepFault, Waiting};
use weir_stream::Batch;
use weir_stream::time::InputTime;

use super::held_time::HeldTime;
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
    Waiting(Box<Waiting>),
}

impl Step {
    /// What is outstanding, for a step that answers later.
    fn waiting(&self) -> Option<&Waiting> {
        match self {
            Self::Waiting(waiting) => Some(waiting),
            Self::Plugin(plugin) => plugin.waiting(),
            Self::Operator(_) => None,
        }
    }
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
    /// Nodes that answer later, in their order.
    waiting: Vec<usize>,
    /// The ticket of the newest batch that entered; what became of a batch keeps its ticket.
    entered: u64,
    held: HeldTime,
}

impl Chain {
    pub fn new(nodes: Vec<Node>, entry: Vec<Target>) -> Self {
        let counts = vec![StepCounts::default(); nodes.len()];
        let waiting = (0..nodes.len()).filter(|node| nodes[*node].step.waiting().is_some()).collect();
        let (outputs, queue, held) = (Outputs::default(), VecDeque::new(), HeldTime::default());
        Self { nodes, entry, counts, outputs, queue, waiting, entered: 0, held }
    }

    /// Runs a batch through all steps to its sinks and exchanges, or to where it waits for an answer.
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
        self.entered += 1;
        send(targets, batch, &mut self.queue, out)?;
        self.run_queue(self.entered, out, shared)
    }

    /// Goes on with the answers that have come. To be called often; answers whether there was one.
    ///
    /// # Errors
    /// As [`Chain::run`], and when an answer is a fault.
    pub fn take_answers(&mut self, out: &mut TaskOutput, shared: &Shared) -> Result<bool, TaskFault> {
        let mut taken = false;
        // The last node first, and none whose rows might wait where there is no room: so what is outstanding stays
        // bounded.
        for place in (0..self.waiting.len()).rev() {
            while out.has_room() && self.waiting_steps(place + 1).all(Waiting::has_room) {
                let number = self.waiting[place];
                let Some(ticket) = self.take_answer(number)? else { break };
                self.send_on(number, 0, out)?;
                self.run_queue(ticket, out, shared)?;
                taken = true;
            }
        }
        if let Some(time) = self.held.release(self.waiting_steps(0).filter_map(Waiting::oldest).min()) {
            out.send_time(time);
        }
        Ok(taken)
    }

    fn take_answer(&mut self, number: usize) -> Result<Option<u64>, TaskFault> {
        let node = &mut self.nodes[number];
        match &mut node.step {
            Step::Waiting(waiting) => waiting.take(&mut self.outputs).map_err(|fault| failed(&node.id, fault)),
            Step::Plugin(plugin) => plugin.take(&mut self.outputs),
            Step::Operator(_) => Ok(None),
        }
    }

    fn waiting_steps(&self, from: usize) -> impl Iterator<Item = &Waiting> {
        self.waiting[from..].iter().filter_map(|node| self.nodes[*node].step.waiting())
    }

    /// Whether everything that entered has gone on: only then may a barrier pass.
    pub fn is_settled(&self) -> bool {
        self.waiting_steps(0).all(Waiting::is_settled)
    }

    /// Whether more may enter.
    pub fn has_room(&self) -> bool {
        self.waiting_steps(0).all(Waiting::has_room)
    }

    /// Says how far event time is, once everything that entered before has gone on.
    pub fn send_time(&mut self, time: InputTime, out: &TaskOutput) {
        match self.waiting_steps(0).filter_map(Waiting::newest).max() {
            None => out.send_time(time),
            Some(newest) => self.held.hold(newest, time),
        }
    }

    fn run_queue(&mut self, ticket: u64, out: &mut TaskOutput, shared: &Shared) -> Result<(), TaskFault> {
        while let Some((number, batch)) = self.queue.pop_front() {
            self.run_node(number, batch, ticket, out, shared)?;
        }
        Ok(())
    }

    fn run_node(
        &mut self,
        number: usize,
        batch: Batch,
        ticket: u64,
        out: &mut TaskOutput,
        shared: &Shared,
    ) -> Result<(), TaskFault> {
        let node = &mut self.nodes[number];
        let rows_in = batch.rows() as u64;
        match &mut node.step {
            Step::Operator(operator) => {
                operator.process(batch, &mut self.outputs).map_err(|fault| failed(&node.id, fault))?
            }
            Step::Plugin(plugin) => plugin.process(batch, ticket, &mut self.outputs, shared)?,
            Step::Waiting(waiting) => waiting.ask(batch, ticket),
        }
        self.send_on(number, rows_in, out)
    }

    /// Sends what a node gave out on its way, and counts.
    fn send_on(&mut self, number: usize, rows_in: u64, out: &mut TaskOutput) -> Result<(), TaskFault> {
        let node = &mut self.nodes[number];
        let mut counts = StepCounts { rows_in, rejected: self.outputs.rejects.len() as u64, ..StepCounts::default() };
        if let Step::Plugin(plugin) = &mut node.step {
            plugin.judge(rows_in, counts.rejected)?;
        }
        let plugin = match &node.step {
            Step::Plugin(plugin) => Some(Arc::clone(plugin.digest())),
            Step::Operator(_) | Step::Waiting(_) => None,
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
        assert!(self.is_settled(), "a barrier stands behind everything of its epoch");
        let ids = self.nodes.iter().map(|node| Arc::clone(&node.id));
        let counts = ids.zip(std::mem::replace(&mut self.counts, vec![StepCounts::default(); self.nodes.len()]));
        let counts = counts.filter(|(_, counts)| !counts.is_zero()).collect();
        for node in &mut self.nodes {
            if let Step::Plugin(plugin) = &mut node.step {
                plugin.pass(barrier.order(&node.id), barrier.watched(&node.id))?;
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

fn failed(step: &Arc<str>, fault: StepFault) -> TaskFault {
    let step = Arc::clone(step);
    match fault {
        StepFault::Outside { message, next } => TaskFault::Outside { step, message, next },
        fault => TaskFault::Internal { step, message: fault.to_string() },
    }
}

#[cfg(test)]
mod tests;
