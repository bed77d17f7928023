//! Builds the tasks of a plan and spreads them over the workers.
//!
//! Tasks are numbered: source partitions first, in the order of the manifest, then the tasks of each keyed step. A
//! chain of stateless steps belongs to its root, the source or keyed step that feeds it, and is built anew for each of
//! the root's tasks.

mod chains;

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use crossbeam_channel::{Receiver, unbounded};
use weir_operators::KeyedOperator;
use weir_state::RecoveredState;
use weir_stream::key::task_key_groups;
use weir_stream::time::NO_WATERMARK;
use weir_stream::{Bug, PartitionReader};

use chains::Layout;

use super::plugins::{RunningPlugin, RunningPlugins};
use super::restore::{self, KeyedStep, Restored};
use super::{Readers, Setup, StartError};
use crate::channel::{Channel, Wake};
use crate::held_key::KeyQuestion;
use crate::meta::EpochMeta;
use crate::plan::{NodeRef, Plan, PlannedKeyed, PlannedKind, PlannedStep, Port};
use crate::reject_watch::RejectLimit;
use crate::shared::TaskFault;
use crate::state_budget::StateBudget;
use crate::status::{PartitionMeter, Stage, StageMeter, StatusBoard};
use crate::task::source::ReadState;
use crate::task::{EventTimeAssigner, Input, KeyedTask, KeyedTaskParts, LateRows, SourceTask};
use crate::worker::Task;

/// The least that a queue between two tasks holds.
const MIN_CHANNEL_BYTES: usize = 256 << 10;

/// Tasks, ready to run.
pub struct Assembled {
    /// By worker.
    pub workers: Vec<Vec<Box<dyn Task>>>,
    pub tasks: usize,
    pub source_tasks: usize,
    /// Tasks that run each plugin step.
    pub instances: BTreeMap<String, usize>,
}

/// Everything that tasks are made from.
pub struct Assembly<'a> {
    pub plan: &'a Plan,
    pub setup: &'a Setup,
    pub key_groups: u16,
    pub plugins: &'a RunningPlugins,
    pub status: &'a Arc<StatusBoard>,
    pub wakes: &'a [Wake],
    pub meta: &'a mut EpochMeta,
}

/// Channels into the tasks of each keyed step: by step, then task.
#[derive(Default)]
struct Channels(BTreeMap<usize, Vec<Inputs>>);

/// The ways into one task, each with the task that it comes from.
struct Inputs(Vec<(Root, Input)>);

impl Channels {
    fn of(&self, step: usize) -> &[Inputs] {
        &self.0[&step]
    }
}

impl Inputs {
    fn from(&self, port: usize, node: NodeRef, instance: usize) -> Arc<Channel> {
        let is = |(root, input): &&(Root, Input)| (input.port, root.node, root.instance) == (port, node, instance);
        let (_, input) = self.0.iter().find(is).expect("a channel from every task that feeds the port");
        Arc::clone(&input.channel)
    }

    fn all(&self) -> Vec<Input> {
        self.0.iter().map(|(_, input)| input.clone()).collect()
    }
}

impl Assembly<'_> {
    /// # Errors
    /// See [`StartError`].
    pub fn build(
        mut self,
        readers: Readers,
        state: RecoveredState,
        budget: &StateBudget,
    ) -> Result<Assembled, StartError> {
        let partitions: Vec<u32> = readers.iter().map(|readers| readers.len() as u32).collect();
        let mut readers = readers.into_iter().flatten();
        let source_tasks = partitions.iter().map(|partitions| *partitions as usize).sum();
        let tasks_per_step = self.tasks_per_step();
        let keyed: Vec<usize> = (0..self.plan.steps.len()).filter(|step| self.plan.steps[*step].is_keyed()).collect();
        let roots = self.roots(&partitions, &keyed, tasks_per_step);
        let channels = self.channels(&roots, &keyed, tasks_per_step);
        let mut restored = self.restore(&keyed, state, budget)?;

        let mut workers: Vec<Vec<Box<dyn Task>>> = (0..self.setup.workers).map(|_| Vec::new()).collect();
        let (mut meters, mut stages) = (Vec::new(), self.stages(&keyed)?);
        for root in &roots {
            let worker = self.worker(root.number);
            let task: Box<dyn Task> = match root.node {
                NodeRef::Source(source) => {
                    // Source tasks come first and in the order of the readers.
                    let reader = readers.next().expect("one reader for each partition");
                    let (task, meter) = self.source_task(root, source, reader, &channels)?;
                    meters.push(meter);
                    Box::new(task)
                }
                NodeRef::Step(step) => {
                    let owned = task_key_groups(root.instance, tasks_per_step, self.key_groups);
                    let (ask, questions) = unbounded();
                    let (task, meter) =
                        self.keyed_task(root, step, owned.clone(), &channels, &mut restored, questions)?;
                    let stage = stages.iter_mut().find(|stage| stage.step == self.plan.steps[step].id);
                    if let Some(stage) = stage {
                        stage.tasks.push(meter);
                        stage.owners.push((owned, ask));
                    }
                    Box::new(task)
                }
            };
            workers[worker].push(task);
        }
        self.status.set_partitions(meters);
        self.status.set_stages(stages);
        let instances = self.instances(&roots);
        Ok(Assembled { workers, tasks: roots.len(), source_tasks, instances })
    }

    fn tasks_per_step(&self) -> usize {
        let tasks = self.plan.manifest.state.tasks.map_or(self.setup.workers, usize::from);
        tasks.clamp(1, usize::from(self.key_groups))
    }

    fn worker(&self, task: usize) -> usize {
        task % self.setup.workers
    }

    fn roots(&self, partitions: &[u32], keyed: &[usize], tasks_per_step: usize) -> Vec<Root> {
        let of_sources = partitions.iter().enumerate().flat_map(|(source, partitions)| {
            (0..*partitions as usize).map(move |instance| (NodeRef::Source(source), instance))
        });
        let of_steps =
            keyed.iter().flat_map(|step| (0..tasks_per_step).map(move |instance| (NodeRef::Step(*step), instance)));
        let numbered = of_sources.chain(of_steps).enumerate();
        numbered.map(|(number, (node, instance))| Root { number, node, instance }).collect()
    }

    /// The sources and keyed steps that feed a node through stateless steps; a root feeds itself.
    fn roots_of(&self, node: NodeRef) -> BTreeSet<NodeRef> {
        match node {
            NodeRef::Step(step) if !self.plan.steps[step].is_keyed() => {
                self.plan.steps[step].inputs.iter().flat_map(|input| self.roots_of(input.from.node)).collect()
            }
            root => BTreeSet::from([root]),
        }
    }

    /// The tasks that feed a keyed step, with the port that they feed.
    fn upstream(&self, step: usize, roots: &[Root]) -> Vec<(usize, Root)> {
        let inputs = self.plan.steps[step].inputs.iter();
        let feeds = inputs.flat_map(|input| self.roots_of(input.from.node).into_iter().map(|node| (input.port, node)));
        let feeds: BTreeSet<(usize, NodeRef)> = feeds.collect();
        let tasks = |(port, node)| roots.iter().filter(move |task| task.node == node).map(move |task| (port, *task));
        feeds.into_iter().flat_map(tasks).collect()
    }

    fn channels(&self, roots: &[Root], keyed: &[usize], tasks_per_step: usize) -> Channels {
        let count: usize = keyed.iter().map(|step| self.upstream(*step, roots).len() * tasks_per_step).sum();
        let in_flight = self.plan.manifest.limits.in_flight.bytes() as usize;
        let capacity = (in_flight / count.max(1)).max(MIN_CHANNEL_BYTES);
        let mut channels = Channels::default();
        for step in keyed {
            let upstream = self.upstream(*step, roots);
            let into = roots.iter().filter(|task| task.node == NodeRef::Step(*step)).map(|task| {
                let consumer = &self.wakes[self.worker(task.number)];
                let input = |(port, from): &(usize, Root)| {
                    let producer = self.wakes[self.worker(from.number)].clone();
                    let channel = Channel::new(capacity, producer, consumer.clone());
                    (*from, Input { port: *port, channel })
                };
                Inputs(upstream.iter().map(input).collect())
            });
            channels.0.insert(*step, into.collect());
        }
        channels
    }

    fn restore(
        &mut self,
        keyed: &[usize],
        state: RecoveredState,
        budget: &StateBudget,
    ) -> Result<Restored, StartError> {
        let planned: Vec<&str> = keyed.iter().map(|step| &*self.plan.steps[*step].id).collect();
        for gone in self.meta.retire_steps(&planned) {
            tracing::warn!("step `{gone}` is no longer in the manifest; its state is let go");
        }
        let mut steps = Vec::new();
        for step in keyed {
            let (planned, keyed) = self.keyed(*step);
            let empty = keyed.operator(self.key_groups, 0..self.key_groups).map_err(StartError::Internal)?;
            let wanted = empty.state_layout().to_owned();
            let id = Arc::clone(&planned.id);
            let number = self.meta.step_number(&id, &wanted);
            let number = number.map_err(|stored| StartError::StateLayout { step: id.to_string(), stored, wanted })?;
            steps.push(KeyedStep { id, number, empty });
        }
        restore::load(state, &steps, self.key_groups, self.setup.workers, budget)
    }

    fn keyed(&self, step: usize) -> (&PlannedStep, &dyn PlannedKeyed) {
        let planned = &self.plan.steps[step];
        match &planned.kind {
            PlannedKind::Keyed(keyed) => (planned, keyed.as_ref()),
            _ => unreachable!("asked for keyed steps only"),
        }
    }

    fn source_task(
        &self,
        root: &Root,
        source: usize,
        mut reader: Box<dyn PartitionReader>,
        channels: &Channels,
    ) -> Result<(SourceTask, Arc<PartitionMeter>), StartError> {
        let planned = &self.plan.sources[source];
        let partition = root.instance as u32;
        let stored = self.meta.position(&planned.id, partition);
        // Where a start at the end has put it: durable with the first epoch, so that no later start looks again.
        let position = reader.position();
        reader.set_waker(self.wakes[self.worker(root.number)].waker());
        let decoder = planned.decoder().map_err(|error| StartError::Internal(error.to_string()))?;
        let time = EventTimeAssigner::new(planned.event_time.clone(), stored.watermark_us, stored.max_event_time_us);
        let (chain, out) = self.chain(root, channels)?;
        let idle_after_ms = planned.event_time.idle_after_us.map(|us| us.unsigned_abs() / 1000);
        let partition_meter = Arc::new(PartitionMeter::new(Arc::clone(&planned.id), partition, idle_after_ms));
        let idle_after = planned.event_time.idle_after_us.map(|us| Duration::from_micros(us.unsigned_abs()));
        let task = SourceTask {
            number: root.number,
            source: Arc::clone(&planned.id),
            partition,
            reader,
            decoder,
            time,
            chain,
            out,
            meter: self.status.meter(&planned.id),
            partition_meter: Arc::clone(&partition_meter),
            idle_after,
            alignment_us: planned.event_time.alignment_us,
            epoch_rows: self.plan.manifest.state.epoch.max_rows,
            state: ReadState::new(stored.position().or(position), self.setup.outside.clock.monotonic()),
        };
        Ok((task, partition_meter))
    }

    fn keyed_task(
        &self,
        root: &Root,
        step: usize,
        key_groups: Range<u16>,
        channels: &Channels,
        restored: &mut Restored,
        questions: Receiver<KeyQuestion>,
    ) -> Result<(KeyedTask, Arc<StageMeter>), StartError> {
        let (planned, keyed) = self.keyed(step);
        let operator = keyed.operator(self.key_groups, key_groups.clone());
        let mut operator = operator.map_err(StartError::Internal)?;
        let step_number = self.meta.steps.get(&*planned.id).map_or(0, |stored| stored.number);
        for part in restored.take(step_number, &key_groups).filter(|_| !Bug::ForgetState.is_in()) {
            operator
                .absorb(part)
                .map_err(|error| StartError::StateEntry { step: planned.id.to_string(), cause: error.to_string() })?;
        }
        let stored_us = self.meta.stage_watermark(&planned.id);
        let watermark_us = if Bug::ForgetStageWatermark.is_in() { NO_WATERMARK } else { stored_us };
        operator.restore_watermark(watermark_us);
        if let Some(running) = self.plugins.get(&planned.id) {
            begin(operator.as_mut(), running, &planned.id)?;
        }
        let (chain, out) = self.chain(root, channels)?;
        let layout = Layout::of(self, root.node);
        let outputs = 0..planned.outputs.len();
        let targets: Vec<_> = outputs.map(|output| layout.targets(Port { node: root.node, output })).collect();
        let late = weir_manifest::LATE_OUTPUTS.iter().map(|name| {
            let output = planned.outputs.iter().position(|output| output.name == *name);
            match (output.map(|output| targets[output].clone()).unwrap_or_default(), self.plan.late) {
                (targets, _) if !targets.is_empty() => LateRows::Read(targets),
                (_, weir_manifest::Late::DeadLetters) => LateRows::DeadLetters,
                (_, weir_manifest::Late::Count) => LateRows::CountOnly,
            }
        });
        let stage_meter = Arc::new(StageMeter::new(watermark_us));
        stage_meter.look(operator.as_ref());
        let task = KeyedTask::new(KeyedTaskParts {
            number: root.number,
            step: Arc::clone(&planned.id),
            step_number,
            inputs: channels.of(step)[root.instance].all(),
            watermark_us,
            late: late.collect(),
            key_groups,
            operator,
            targets,
            chain,
            out,
            meter: self.status.meter(&planned.id),
            stage_meter: Arc::clone(&stage_meter),
            questions,
            reject_limit: RejectLimit::of(&self.plan.manifest.swap),
            watched: self.plugins.get(&planned.id).and_then(|running| running.watched),
        });
        Ok((task, stage_meter))
    }

    /// Every keyed step with what it hears of time from, its tasks still to come.
    fn stages(&self, keyed: &[usize]) -> Result<Vec<Stage>, StartError> {
        let stage = |step: &usize| {
            let (planned, keyed) = self.keyed(*step);
            let keys = keyed.key_encoder(0, self.key_groups).map_err(StartError::Internal)?;
            let (mut sources, mut stages) = (Vec::new(), Vec::new());
            let before: BTreeSet<NodeRef> =
                planned.inputs.iter().flat_map(|input| self.roots_of(input.from.node)).collect();
            for node in before {
                match node {
                    NodeRef::Source(source) => sources.push(Arc::clone(&self.plan.sources[source].id)),
                    NodeRef::Step(step) => stages.push(Arc::clone(&self.plan.steps[step].id)),
                }
            }
            let (step, put_in) = (Arc::clone(&planned.id), planned.put_in.clone());
            Ok(Stage { step, keys, owners: Vec::new(), sources, stages, put_in, tasks: Vec::new() })
        };
        keyed.iter().map(stage).collect()
    }
}

/// Gives a keyed step the version of its plugin that runs.
fn begin(operator: &mut dyn KeyedOperator, running: &RunningPlugin, step: &Arc<str>) -> Result<(), StartError> {
    let Some(next) = running.function.in_keyed_step(None) else {
        return Err(StartError::Internal(format!("step `{step}` has a key and a function without")));
    };
    operator.begin_epoch(Some(next), running.watched.is_some()).map_err(|fault| {
        let (step, digest) = (Arc::clone(step), Arc::clone(running.function.digest()));
        TaskFault::Plugin { step, digest, fault }.into()
    })
}

/// One task's place in the graph.
#[derive(Debug, Clone, Copy)]
struct Root {
    number: usize,
    node: NodeRef,
    /// Partition, or number among the step's tasks.
    instance: usize,
}
