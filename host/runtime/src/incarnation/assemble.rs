//! Builds the tasks of a plan and spreads them over the workers.
//!
//! Tasks are numbered: source partitions first, in the order of the manifest, then the tasks of each keyed step. A
//! chain of stateless steps belongs to its root, the source or keyed step that feeds it, and is built anew for each of
//! the root's tasks.

mod chains;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use weir_state::RecoveredState;
use weir_stream::PartitionReader;
use weir_stream::key::task_key_groups;

use chains::Layout;

use super::plugins::RunningPlugins;
use super::restore::{self, KeyedStep, Restored};
use super::{Readers, Setup, StartError};
use crate::channel::{Channel, Wake};
use crate::meta::EpochMeta;
use crate::plan::{NodeRef, Plan, PlannedKind, PlannedStep, PlannedWindow, Port};
use crate::status::{PartitionMeter, StatusBoard};
use crate::task::source::ReadState;
use crate::task::{EventTimeAssigner, KeyedTask, KeyedTaskParts, LateRows, SourceTask};
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

/// Channels into the tasks of each keyed step: by step, task, input.
type Channels = BTreeMap<usize, Vec<Vec<Arc<Channel>>>>;

impl Assembly<'_> {
    /// # Errors
    /// See [`StartError`].
    pub fn build(mut self, readers: Readers, state: RecoveredState) -> Result<Assembled, StartError> {
        let partitions: Vec<u32> = readers.iter().map(|readers| readers.len() as u32).collect();
        let mut readers = readers.into_iter().flatten();
        let source_tasks = partitions.iter().map(|partitions| *partitions as usize).sum();
        let tasks_per_step = self.tasks_per_step();
        let keyed: Vec<usize> = (0..self.plan.steps.len()).filter(|step| self.plan.steps[*step].is_keyed()).collect();
        let roots = self.roots(&partitions, &keyed, tasks_per_step);
        let channels = self.channels(&roots, &keyed, tasks_per_step);
        let mut restored = self.restore(&keyed, state)?;

        let mut workers: Vec<Vec<Box<dyn Task>>> = (0..self.setup.workers).map(|_| Vec::new()).collect();
        let mut meters = Vec::new();
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
                    Box::new(self.keyed_task(root, step, tasks_per_step, &channels, &mut restored)?)
                }
            };
            workers[worker].push(task);
        }
        self.status.set_partitions(meters);
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

    /// The source or keyed step that feeds a step through stateless ones.
    fn root_of(&self, from: Port) -> NodeRef {
        match from.node {
            NodeRef::Step(step) if !self.plan.steps[step].is_keyed() => self.root_of(self.plan.steps[step].from),
            root => root,
        }
    }

    fn channels(&self, roots: &[Root], keyed: &[usize], tasks_per_step: usize) -> Channels {
        let upstream = |step: usize| {
            let root = self.root_of(self.plan.steps[step].from);
            roots.iter().filter(move |task| task.node == root)
        };
        let count: usize = keyed.iter().map(|step| upstream(*step).count() * tasks_per_step).sum();
        let in_flight = self.plan.manifest.limits.in_flight.bytes() as usize;
        let capacity = (in_flight / count.max(1)).max(MIN_CHANNEL_BYTES);
        let mut channels = Channels::new();
        for step in keyed {
            let into = roots.iter().filter(|task| task.node == NodeRef::Step(*step)).map(|task| {
                let consumer = &self.wakes[self.worker(task.number)];
                let from = upstream(*step)
                    .map(|from| Channel::new(capacity, self.wakes[self.worker(from.number)].clone(), consumer.clone()));
                from.collect()
            });
            channels.insert(*step, into.collect());
        }
        channels
    }

    fn restore(&mut self, keyed: &[usize], state: RecoveredState) -> Result<Restored, StartError> {
        let planned: Vec<&str> = keyed.iter().map(|step| &*self.plan.steps[*step].id).collect();
        for gone in self.meta.retire_steps(&planned) {
            tracing::warn!("step `{gone}` is no longer in the manifest; its state is let go");
        }
        let mut steps = Vec::new();
        for step in keyed {
            let (planned, window) = self.window(*step);
            let all = 0..self.key_groups;
            let empty =
                window.aggregate(&planned.id, &planned.input, self.key_groups, all).map_err(StartError::Internal)?;
            let wanted = empty.state_layout().to_owned();
            let id = Arc::clone(&planned.id);
            let number = self.meta.step_number(&id, &wanted);
            let number = number.map_err(|stored| StartError::StateLayout { step: id.to_string(), stored, wanted })?;
            steps.push(KeyedStep { id, number, empty });
        }
        restore::load(state, &steps, self.setup.workers)
    }

    fn window(&self, step: usize) -> (&PlannedStep, &PlannedWindow) {
        let planned = &self.plan.steps[step];
        match &planned.kind {
            PlannedKind::Window(window) => (planned, window),
            _ => unreachable!("only windows are keyed"),
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
        let wake = self.wakes[self.worker(root.number)].clone();
        reader.set_waker(Arc::new(move || wake.wake()));
        let decoder = planned.decoder().map_err(|error| StartError::Internal(error.to_string()))?;
        let time = EventTimeAssigner::new(planned.event_time.clone(), stored.watermark_us, stored.max_event_time_us);
        let (chain, out) = self.chain(root, channels)?;
        let partition_meter = Arc::new(PartitionMeter::new(Arc::clone(&planned.id), partition));
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
            epoch_rows: self.plan.manifest.state.epoch.max_rows,
            state: ReadState::new(stored.next_offset.or(position)),
        };
        Ok((task, partition_meter))
    }

    fn keyed_task(
        &self,
        root: &Root,
        step: usize,
        tasks_per_step: usize,
        channels: &Channels,
        restored: &mut Restored,
    ) -> Result<KeyedTask, StartError> {
        let (planned, window) = self.window(step);
        let key_groups = task_key_groups(root.instance, tasks_per_step, self.key_groups);
        let aggregate = window.aggregate(&planned.id, &planned.input, self.key_groups, key_groups.clone());
        let mut aggregate = aggregate.map_err(StartError::Internal)?;
        let step_number = self.meta.steps.get(&*planned.id).map_or(0, |stored| stored.number);
        for part in restored.take(step_number, &key_groups) {
            aggregate
                .absorb(part)
                .map_err(|error| StartError::StateEntry { step: planned.id.to_string(), cause: error.to_string() })?;
        }
        let watermark_us = self.meta.stage_watermark(&planned.id);
        aggregate.restore_watermark(watermark_us);
        let (chain, out) = self.chain(root, channels)?;
        let late_targets = Layout::of(self, root.node).targets(Port { node: root.node, output: 1 });
        Ok(KeyedTask::new(KeyedTaskParts {
            number: root.number,
            step: Arc::clone(&planned.id),
            step_number,
            inputs: channels[&step][root.instance].clone(),
            watermark_us,
            late: match (late_targets.is_empty(), self.plan.late) {
                (false, _) => LateRows::Read(late_targets),
                (true, weir_manifest::Late::DeadLetters) => LateRows::DeadLetters,
                (true, weir_manifest::Late::Count) => LateRows::CountOnly,
            },
            key_groups,
            aggregate,
            chain,
            out,
            meter: self.status.meter(&planned.id),
        }))
    }
}

/// One task's place in the graph.
#[derive(Debug, Clone, Copy)]
struct Root {
    number: usize,
    node: NodeRef,
    /// Partition, or number among the step's tasks.
    instance: usize,
}
