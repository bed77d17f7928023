//! Owns a range of key groups of one keyed step: aligns barriers and watermarks of all its inputs, feeds the operator,
//! runs what it gives out through the steps behind it.

use std::ops::Range;
use std::sync::Arc;

use crossbeam_channel::Receiver;
use weir_operators::{KeyedBatch, KeyedOperator, Outputs, StepFault};
use weir_state::table::DeltaWriter;
use weir_state::{DeltaBuilder, StateDelta};
use weir_stream::Bug;
use weir_stream::time::{CombinedWatermark, END_OF_TIME, InputTime, NO_WATERMARK};

use super::chain::{Chain, Target};
use super::output::TaskOutput;
use crate::barrier::{Barrier, StepCounts, TaskPart};
use crate::channel::{Channel, Message};
use crate::held_key::{self, KeyQuestion};
use crate::reject_watch::{Judged, RejectLimit, RejectWatch};
use crate::shared::{Shared, TaskEvent, TaskFault};
use crate::state_budget::StateGauge;
use crate::status::{StageMeter, StepMeter};
use crate::worker::{Activity, Task};

/// Messages taken in one run, so that tasks of one worker take turns.
const MESSAGES_PER_RUN: usize = 64;

/// The task of one range of key groups.
pub struct KeyedTask {
    number: usize,
    step: Arc<str>,
    step_number: u16,
    inputs: Vec<Input>,
    /// Inputs that have passed the barrier being aligned.
    aligned: Vec<bool>,
    /// The barrier that all inputs have passed, while steps behind the task still wait for answers.
    passing: Option<Arc<Barrier>>,
    time: CombinedWatermark,
    /// By port.
    late: Vec<LateRows>,
    /// What a later run starts from: the watermark, or the end of the last window that fired when the input ended. So
    /// a run behind a bounded one may go on, but not into windows that have fired.
    reached_us: i64,
    key_groups: Range<u16>,
    operator: Box<dyn KeyedOperator>,
    /// What the last epoch changed, in bytes, by key group.
    delta_bytes: Vec<usize>,
    /// Who reads each of the step's outputs.
    targets: Vec<Vec<Target>>,
    chain: Chain,
    out: TaskOutput,
    outputs: Outputs,
    meter: Arc<StepMeter>,
    stage_meter: Arc<StageMeter>,
    counts: StepCounts,
    gauge: StateGauge,
    questions: Receiver<KeyQuestion>,
    reject_limit: RejectLimit,
    /// While the version of the step's plugin is watched.
    watch: Option<RejectWatch>,
}

/// One way into the task.
#[derive(Debug, Clone)]
pub struct Input {
    /// Which of the step's inputs the rows are of.
    pub port: usize,
    pub channel: Arc<Channel>,
}

/// What becomes of rows that came too late for their window. They are always counted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LateRows {
    DeadLetters,
    CountOnly,
    /// Steps or sinks read the step's `late` output.
    Read(Vec<Target>),
}

/// What a keyed task is made of.
pub struct KeyedTaskParts {
    pub number: usize,
    pub step: Arc<str>,
    /// Number of the step in state deltas.
    pub step_number: u16,
    pub inputs: Vec<Input>,
    /// Combined watermark of an earlier run.
    pub watermark_us: i64,
    /// By port.
    pub late: Vec<LateRows>,
    pub key_groups: Range<u16>,
    pub operator: Box<dyn KeyedOperator>,
    /// By number of the step's output.
    pub targets: Vec<Vec<Target>>,
    pub chain: Chain,
    pub out: TaskOutput,
    pub meter: Arc<StepMeter>,
    pub stage_meter: Arc<StageMeter>,
    pub questions: Receiver<KeyQuestion>,
    pub reject_limit: RejectLimit,
    /// While the version of the step's plugin is watched: what the one before made of its rows.
    pub watched: Option<Judged>,
}

impl KeyedTask {
    pub fn new(parts: KeyedTaskParts) -> Self {
        let KeyedTaskParts {
            number,
            step,
            step_number,
            inputs,
            watermark_us,
            late,
            key_groups,
            operator,
            targets,
            chain,
            out,
            meter,
            stage_meter,
            questions,
            reject_limit,
            watched,
        } = parts;
        let mut time = CombinedWatermark::new(inputs.len());
        time.restore(watermark_us);
        let gauge = StateGauge::new(Arc::clone(&step), Arc::clone(&meter));
        Self {
            number,
            step,
            step_number,
            aligned: vec![false; inputs.len()],
            passing: None,
            inputs,
            time,
            late,
            reached_us: watermark_us,
            delta_bytes: vec![0; key_groups.len()],
            key_groups,
            operator,
            targets,
            chain,
            out,
            outputs: Outputs::default(),
            gauge,
            meter,
            stage_meter,
            questions,
            reject_limit,
            watch: watched.map(|before| RejectWatch::new(reject_limit, before)),
            counts: StepCounts::default(),
        }
    }

    fn has_room(&self) -> bool {
        self.out.has_room() && self.chain.has_room()
    }

    /// The next message of any input that is not waiting for the others' barrier.
    fn receive(&self, from: usize) -> Option<(usize, Message)> {
        let inputs = self.inputs.len();
        let turn = (0..inputs)
            .map(|step| (from + step) % inputs)
            .filter(|input| !self.aligned[*input] || Bug::DoNotAlign.is_in());
        turn.into_iter().find_map(|input| Some((input, self.inputs[input].channel.receive()?)))
    }

    fn rows(&mut self, input: usize, rows: KeyedBatch, shared: &Shared) -> Result<(), TaskFault> {
        let rows_in = rows.batch.rows() as u64;
        let port = self.inputs[input].port;
        self.operator.process(port, &rows, &mut self.outputs).map_err(|fault| self.fault(fault))?;
        self.give_out(StepCounts { rows_in, ..StepCounts::default() }, shared)?;
        Ok(())
    }

    fn time(&mut self, input: usize, time: InputTime, shared: &Shared) -> Result<(), TaskFault> {
        let Some(watermark_us) = self.time.update(input, time) else { return Ok(()) };
        self.advance(watermark_us, shared)
    }

    fn advance(&mut self, watermark_us: i64, shared: &Shared) -> Result<(), TaskFault> {
        self.stage_meter.set_watermark(watermark_us);
        self.operator.advance(watermark_us, &mut self.outputs).map_err(|fault| self.fault(fault))?;
        if watermark_us != END_OF_TIME {
            self.reached_us = watermark_us;
        } else {
            for (_, batch) in &self.outputs.batches {
                // A result's time is the last microsecond of its window.
                let window_end_us = batch.event_times_us.last().map_or(NO_WATERMARK, |last| last.saturating_add(1));
                self.reached_us = self.reached_us.max(window_end_us);
            }
        }
        self.give_out_unasked(shared)?;
        let watermark_us = self.operator.output_watermark(watermark_us);
        self.chain.send_time(InputTime { watermark_us, idle: false }, &self.out);
        Ok(())
    }

    /// Looks at the clock for steps that work in processing time.
    fn tick(&mut self, shared: &Shared) -> Result<(), TaskFault> {
        if self.operator.wants_clock() {
            self.operator.tick(shared.clock.wall_us(), &mut self.outputs).map_err(|fault| self.fault(fault))?;
            self.give_out_unasked(shared)?;
        }
        Ok(())
    }

    /// As [`KeyedTask::give_out`], for what no row brought about: it alone must make an epoch.
    fn give_out_unasked(&mut self, shared: &Shared) -> Result<(), TaskFault> {
        let rows = self.give_out(StepCounts::default(), shared)?;
        if rows > 0 {
            shared.progressed(rows, 0);
        }
        Ok(())
    }

    /// Sends what the operator gave out on its way: results, late rows, rejects. Answers the rows of results.
    fn give_out(&mut self, mut counts: StepCounts, shared: &Shared) -> Result<u64, TaskFault> {
        let Outputs { batches, late, rejects } = std::mem::take(&mut self.outputs);
        counts.rejected += rejects.len() as u64;
        self.judge(counts)?;
        self.out.reject(&self.step, self.operator.digest().as_ref(), rejects);
        for (port, batch) in late {
            counts.late += batch.rows() as u64;
            match &self.late[port] {
                LateRows::DeadLetters => self.out.late(&self.step, self.operator.late_because(), &batch),
                LateRows::CountOnly => {}
                LateRows::Read(targets) => self.chain.run_from(targets, batch, &mut self.out, shared)?,
            }
        }
        for (output, batch) in batches {
            counts.rows_out += batch.rows() as u64;
            self.chain.run_from(&self.targets[output], batch, &mut self.out, shared)?;
        }
        self.count(counts);
        Ok(counts.rows_out)
    }

    /// A watched version that rejects more than the one before it goes back.
    fn judge(&mut self, counts: StepCounts) -> Result<(), TaskFault> {
        let (Some(watch), Some(digest)) = (&mut self.watch, self.operator.digest()) else { return Ok(()) };
        match watch.note(Judged { rows: counts.rows_in, rejected: counts.rejected }) {
            None => Ok(()),
            Some(reason) => Err(TaskFault::Rejects { step: Arc::clone(&self.step), digest, reason }),
        }
    }

    fn count(&mut self, counts: StepCounts) {
        self.meter.add(counts);
        self.counts.add(counts);
    }

    /// One input has passed the barrier. Once all have, nothing is received before the task has passed it too.
    fn align(&mut self, input: usize, barrier: Arc<Barrier>, shared: &Shared) -> Result<(), TaskFault> {
        self.aligned[input] = true;
        if self.aligned.iter().all(|aligned| *aligned) {
            // Idle partitions or the end of the input had brought it so far, which reading again does not.
            if let Some(watermark_us) = barrier.reach(&self.step).filter(|reach| *reach > self.reached_us) {
                self.time.restore(watermark_us);
                self.advance(watermark_us, shared)?;
            }
            self.passing = Some(barrier);
        }
        Ok(())
    }

    /// Passes the barrier that all inputs have passed, once everything before it has been answered.
    fn pass_aligned(&mut self, shared: &Shared) -> Result<Option<Activity>, TaskFault> {
        let Some(barrier) = self.passing.take_if(|_| self.chain.is_settled()) else { return Ok(None) };
        self.aligned.fill(false);
        self.pass(&barrier, shared)?;
        Ok(Some(if barrier.last { Activity::Done } else { Activity::Busy }))
    }

    fn pass(&mut self, barrier: &Arc<Barrier>, shared: &Shared) -> Result<(), TaskFault> {
        let (outputs, dead_letters) = self.out.seal()?;
        let mut counts = self.chain.pass(barrier)?;
        counts.push((Arc::clone(&self.step), std::mem::take(&mut self.counts)));
        let step = self.step_number;
        let mut deltas = Deltas::new(step, self.key_groups.start, &mut self.delta_bytes);
        self.operator.seal(&mut deltas);
        let deltas = deltas.finish();
        self.stage_meter.look(self.operator.as_ref());
        let snapshot = barrier.snapshot.filter(|key_group| self.key_groups.contains(key_group));
        let snapshot = snapshot.map(|key_group| self.snapshot(key_group)).transpose()?;
        let part = TaskPart {
            task: self.number,
            stage_watermark: Some((Arc::clone(&self.step), self.reached_us)),
            deltas,
            snapshot: snapshot.into_iter().collect(),
            outputs,
            dead_letters,
            counts,
            ..TaskPart::default()
        };
        self.begin_epoch(barrier)?;
        self.gauge.settle(self.operator.as_mut(), &shared.state_budget, shared.clock.wall_us());
        self.out.send_barrier(barrier);
        shared.tell(TaskEvent::Passed { barrier: barrier.id, part: Box::new(part) });
        Ok(())
    }

    fn snapshot(&self, key_group: u16) -> Result<StateDelta, TaskFault> {
        let mut builder = DeltaBuilder::new(self.step_number, key_group);
        let written = self.operator.for_each(key_group, &mut |key, value| builder.put(key, value));
        written.map_err(|error| self.fault(StepFault::Internal(error.to_string())))?;
        Ok(builder.finish())
    }

    /// A new epoch begins, maybe with another version of the step's plugin.
    fn begin_epoch(&mut self, barrier: &Barrier) -> Result<(), TaskFault> {
        let (order, watched) = (barrier.order(&self.step), barrier.watched(&self.step));
        match watched {
            None => self.watch = None,
            Some(before) if order.is_some() => self.watch = Some(RejectWatch::new(self.reject_limit, before)),
            Some(_) => {}
        }
        let begun = self.operator.begin_epoch(order.and_then(|order| order.keyed()), watched.is_some());
        begun.map_err(|fault| self.fault(StepFault::Function(fault)))
    }

    fn fault(&self, fault: StepFault) -> TaskFault {
        let step = Arc::clone(&self.step);
        match (fault, self.operator.digest()) {
            (StepFault::Function(fault) | StepFault::Bounds { fault, .. }, Some(digest)) => {
                TaskFault::Plugin { step, digest, fault }
            }
            (fault, _) => TaskFault::Internal { step, message: fault.to_string() },
        }
    }
}

impl Task for KeyedTask {
    fn run(&mut self, shared: &Shared) -> Result<Activity, TaskFault> {
        let answered = self.chain.take_answers(&mut self.out, shared)?;
        held_key::answer(&self.questions, self.operator.as_ref());
        if self.passing.is_none() {
            self.tick(shared)?;
        }
        for turn in 0..MESSAGES_PER_RUN {
            if let Some(passed) = self.pass_aligned(shared)? {
                return Ok(passed);
            }
            let message = if self.has_room() { self.receive(turn) } else { None };
            let Some((input, message)) = message else {
                return Ok(if turn == 0 && !answered { Activity::Idle } else { Activity::Busy });
            };
            match message {
                Message::Rows(rows) => self.rows(input, rows, shared)?,
                Message::Time(time) => self.time(input, time, shared)?,
                Message::Barrier(barrier) => self.align(input, barrier, shared)?,
            }
        }
        Ok(Activity::Busy)
    }
}

/// The changes of one epoch, by key group from the first of the task on.
struct Deltas<'a> {
    step: u16,
    first: u16,
    builders: Vec<Option<DeltaBuilder>>,
    /// As much room is made at once as the epoch before needed.
    bytes: &'a mut [usize],
}

impl<'a> Deltas<'a> {
    fn new(step: u16, first: u16, bytes: &'a mut [usize]) -> Self {
        Self { step, first, builders: vec![None; bytes.len()], bytes }
    }

    fn builder(&mut self, key_group: u16) -> &mut DeltaBuilder {
        let number = usize::from(key_group - self.first);
        let bytes = self.bytes[number];
        self.builders[number].get_or_insert_with(|| DeltaBuilder::with_capacity(self.step, key_group, bytes))
    }

    fn finish(self) -> Vec<StateDelta> {
        let deltas: Vec<Option<StateDelta>> =
            self.builders.into_iter().map(|builder| builder.map(DeltaBuilder::finish)).collect();
        for (bytes, delta) in self.bytes.iter_mut().zip(&deltas) {
            *bytes = delta.as_ref().map_or(0, StateDelta::byte_size);
        }
        deltas.into_iter().flatten().collect()
    }
}

impl DeltaWriter for Deltas<'_> {
    fn put(&mut self, key_group: u16, key: &[u8], value: &[u8]) {
        self.builder(key_group).put(key, value);
    }

    fn delete(&mut self, key_group: u16, key: &[u8]) {
        self.builder(key_group).delete(key);
    }
}
