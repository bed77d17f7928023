//! A plugin as a step of one task: calls it, or has it called on a thread of its own if it waits for services; switches to
//! another version behind a barrier, and keeps a sample of its input for the next version's self-test.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use arrow_array::{ArrayRef, StringArray};
use arrow_schema::{DataType, Field, Schema, SchemaRef};
use weir_operators::{BisectionBudget, Operator, Outputs, StepFault, TransformStep, Waiting, WaitingLimits};
use weir_stream::source::Waker;
use weir_stream::{Batch, TransformFactory};

use super::own_thread::OwnThread;

use crate::barrier::SwapOrder;
use crate::clock::{cpu_time, monotonic};
use crate::reject_watch::{Judged, RejectLimit, RejectWatch};
use crate::shared::{Shared, TaskEvent, TaskFault};

/// Rows of input that are kept for self-tests.
pub const SAMPLE_ROWS: usize = 1024;

/// Batches that they come from at most: each keeps the payloads of its records.
const SAMPLE_BATCHES: usize = 16;

/// The newest input of a plugin step, about [`SAMPLE_ROWS`] of it, and the version that ran on it; shared with the gate.
#[derive(Default)]
pub struct Sample(Mutex<(VecDeque<Batch>, Option<Arc<dyn TransformFactory>>)>);

impl Sample {
    fn keep(&self, batch: &Batch, running: &Arc<dyn TransformFactory>) {
        // The gate holds the lock only to clone; a batch that is skipped is followed by another.
        let Ok(mut kept) = self.0.try_lock() else { return };
        let (sample, version) = &mut *kept;
        *version = Some(Arc::clone(running));
        sample.push_back(batch.slice(0, batch.rows().min(SAMPLE_ROWS)));
        let mut rows: usize = sample.iter().map(Batch::rows).sum();
        let oldest = |sample: &VecDeque<Batch>, rows: usize| {
            let oldest = sample.front().map(Batch::rows)?;
            (rows - oldest >= SAMPLE_ROWS || sample.len() > SAMPLE_BATCHES).then_some(oldest)
        };
        while let Some(oldest) = oldest(sample, rows) {
            rows -= oldest;
            sample.pop_front();
        }
    }

    pub fn get(&self) -> Vec<Batch> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).0.iter().cloned().collect()
    }

    /// The version that the newest rows went through.
    pub fn running(&self) -> Option<Arc<dyn TransformFactory>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).1.clone()
    }
}

/// What stays the same when the version changes.
#[derive(Clone)]
pub struct PluginSite {
    pub step: Arc<str>,
    pub input: SchemaRef,
    pub sample: Arc<Sample>,
    /// What the steps behind expect, per named output: every version must give just this.
    pub outputs: Vec<SchemaRef>,
    /// Their names, in the same order.
    pub output_names: Vec<String>,
    /// How much a plugin that waits for services may have outstanding.
    pub waiting: WaitingLimits,
    /// Name of a column that says which digest made the row, if the manifest asks for one.
    pub digest_column: Option<String>,
    /// How many more rejects than the version before a version may make.
    pub reject_limit: RejectLimit,
    /// The left columns of a pair, where the rows are pairs by group: what a refused group is shown as.
    pub left: Option<SchemaRef>,
}

/// Where the running version is called.
enum Calls {
    Here(Box<TransformStep>),
    /// On a thread of its own, of which `thread` is another way to it.
    Away {
        waiting: Box<Waiting>,
        thread: OwnThread<TransformStep>,
    },
}

/// The running version in one task.
pub struct PluginStep {
    site: PluginSite,
    factory: Arc<dyn TransformFactory>,
    calls: Calls,
    /// While the version is watched.
    watch: Option<RejectWatch>,
    last_row_at: Option<Instant>,
    /// The new version's first row is still to come.
    just_switched: bool,
}

impl PluginStep {
    /// # Errors
    /// When the plugin has no instance, or its contract does not fit the input after all.
    pub fn new(
        site: PluginSite,
        factory: Arc<dyn TransformFactory>,
        watched: Option<Judged>,
        waker: Waker,
    ) -> Result<Self, TaskFault> {
        let transform = instantiate(&site, &factory, None, watched.is_some())?;
        let watch = watched.map(|before| RejectWatch::new(site.reject_limit, before));
        let calls = if factory.waits() {
            let thread = own_thread(&site.step, transform)?;
            let answerer = Box::new(thread.clone());
            let waiting = Waiting::new(answerer, site.waiting, waker, monotonic());
            Calls::Away { waiting: Box::new(waiting), thread }
        } else {
            Calls::Here(Box::new(transform))
        };
        Ok(Self { site, factory, calls, watch, last_row_at: None, just_switched: false })
    }

    /// What is outstanding, if the plugin is called on a thread of its own.
    pub fn waiting(&self) -> Option<&Waiting> {
        match &self.calls {
            Calls::Here(_) => None,
            Calls::Away { waiting, .. } => Some(waiting),
        }
    }

    pub fn digest(&self) -> &Arc<str> {
        self.factory.digest()
    }

    /// Calls the plugin, or has it called; then the answer comes with `ticket`.
    ///
    /// # Errors
    /// The plugin's fault, when guilty rows were not to be looked for or were too many.
    pub fn process(&mut self, batch: Batch, ticket: u64, out: &mut Outputs, shared: &Shared) -> Result<(), TaskFault> {
        if std::mem::take(&mut self.just_switched) {
            let pause = self.last_row_at.map_or(0, |at| at.elapsed().as_nanos() as u64);
            shared.tell(TaskEvent::Swapped { step: Arc::clone(&self.site.step), pause_ns: pause });
        }
        self.site.sample.keep(&batch, &self.factory);
        let made = out.batches.len();
        match &mut self.calls {
            Calls::Away { waiting, .. } => waiting.ask(batch, ticket),
            Calls::Here(transform) => {
                transform.process(batch, out).map_err(|fault| self.fault(fault))?;
                self.finish(&mut out.batches[made..])?;
            }
        }
        Ok(())
    }

    /// The answer to the oldest batch that the plugin was called with elsewhere, if it has come: the batch's ticket.
    ///
    /// # Errors
    /// As [`PluginStep::process`].
    pub fn take(&mut self, out: &mut Outputs) -> Result<Option<u64>, TaskFault> {
        let Calls::Away { waiting, .. } = &mut self.calls else { return Ok(None) };
        let made = out.batches.len();
        let taken = waiting.take(out).map_err(|fault| self.fault(fault))?;
        if taken.is_some() {
            self.finish(&mut out.batches[made..])?;
        }
        Ok(taken)
    }

    /// Gives what the plugin made the columns that the steps behind were built for.
    fn finish(&mut self, made: &mut [(usize, Batch)]) -> Result<(), TaskFault> {
        for (output, batch) in made {
            let conformed = conform(batch, &self.site.outputs[*output]);
            let stamped = conformed.and_then(|batch| match &self.site.digest_column {
                Some(column) => stamp(batch, column, self.factory.digest()),
                None => Ok(batch),
            });
            *batch = stamped.map_err(|fault| self.fault(fault.into()))?;
        }
        self.last_row_at = Some(Instant::now());
        Ok(())
    }

    /// Rows have gone through, and so many of them were rejected.
    ///
    /// # Errors
    /// [`TaskFault::Rejects`] when the version is watched and makes too many.
    pub fn judge(&mut self, rows: u64, rejected: u64) -> Result<(), TaskFault> {
        let burst = self.watch.as_mut().and_then(|watch| watch.note(Judged { rows, rejected }));
        let (step, digest) = (&self.site.step, self.factory.digest());
        burst.map_or(Ok(()), |reason| {
            Err(TaskFault::Rejects { step: Arc::clone(step), digest: Arc::clone(digest), reason })
        })
    }

    /// A new epoch begins; `order` is the version that runs from here on, if another one was ordered. While it is
    /// `watched`, no guilty row is looked for, and rejects are measured by what the version before made of its rows.
    ///
    /// # Errors
    /// When the new version has no instance.
    pub fn pass(&mut self, order: Option<&Arc<SwapOrder>>, watched: Option<Judged>) -> Result<(), TaskFault> {
        let watching = watched.is_some();
        match watched {
            None => self.watch = None,
            Some(before) if order.is_some() => self.watch = Some(RejectWatch::new(self.site.reject_limit, before)),
            Some(_) => {}
        }
        if let Some((factory, instance)) = order.and_then(|order| order.rows()) {
            let transform = instantiate(&self.site, factory, instance, watching)?;
            match &mut self.calls {
                Calls::Here(running) => **running = transform,
                Calls::Away { thread, .. } => thread.change(|running| *running = transform),
            }
            self.factory = Arc::clone(factory);
            self.just_switched = true;
        }
        let begin_epoch = move |transform: &mut TransformStep| {
            transform.budget().renew();
            transform.budget().set_watching(watching);
        };
        match &mut self.calls {
            Calls::Here(transform) => begin_epoch(transform),
            Calls::Away { thread, .. } => thread.change(begin_epoch),
        }
        Ok(())
    }

    fn fault(&self, fault: StepFault) -> TaskFault {
        let (step, digest) = (Arc::clone(&self.site.step), Arc::clone(self.factory.digest()));
        match fault {
            StepFault::Function(fault) | StepFault::Bounds { fault, .. } => TaskFault::Plugin { step, digest, fault },
            StepFault::Outside { message, next } => TaskFault::Outside { step, message, next },
            StepFault::Internal(message) => TaskFault::Internal { step, message },
        }
    }
}

fn instantiate(
    site: &PluginSite,
    factory: &Arc<dyn TransformFactory>,
    ready: Option<Box<dyn weir_stream::Transform>>,
    watching: bool,
) -> Result<TransformStep, TaskFault> {
    let step = || Arc::clone(&site.step);
    let transform = ready.map_or_else(|| factory.instantiate(), Ok);
    let transform = transform.map_err(|fault| {
        let digest = Arc::clone(factory.digest());
        TaskFault::Plugin { step: step(), digest, fault }
    })?;
    let mut budget = BisectionBudget::new(cpu_time());
    budget.set_watching(watching);
    TransformStep::new(transform, factory.contract(), &site.input, budget)
        .map(|step| step.by_group(site.left.clone()))
        .map_err(|fault| TaskFault::Internal { step: step(), message: fault.to_string() })
}

fn own_thread(step: &Arc<str>, transform: TransformStep) -> Result<OwnThread<TransformStep>, TaskFault> {
    OwnThread::spawn(step, transform)
        .map_err(|error| TaskFault::Internal { step: Arc::clone(step), message: format!("no thread: {error}") })
}

/// The schema of an output that also says which digest made each row.
pub fn with_digest_column(schema: &SchemaRef, column: &str) -> SchemaRef {
    let fields = schema.fields().iter().cloned();
    Arc::new(Schema::new(fields.chain([Arc::new(Field::new(column, DataType::Utf8, false))]).collect::<Vec<_>>()))
}

/// The batch with its columns in the order that the steps behind were built for. The gate saw that all are there.
fn conform(batch: &Batch, expected: &SchemaRef) -> Result<Batch, arrow_schema::ArrowError> {
    if *batch.columns.schema_ref() == *expected {
        return Ok(batch.clone());
    }
    let column = |field: &Arc<Field>| {
        batch.columns.column_by_name(field.name()).cloned().ok_or_else(|| {
            arrow_schema::ArrowError::SchemaError(format!("no column `{}` behind the plugin", field.name()))
        })
    };
    let columns = expected.fields().iter().map(column).collect::<Result<_, _>>()?;
    batch.clone().with_columns(Arc::clone(expected), columns)
}

fn stamp(batch: Batch, column: &str, digest: &str) -> Result<Batch, arrow_schema::ArrowError> {
    let schema = with_digest_column(&batch.schema(), column);
    let stamps: ArrayRef = Arc::new(StringArray::from_iter_values(std::iter::repeat_n(digest, batch.rows())));
    let columns = batch.columns.columns().iter().cloned().chain([stamps]).collect();
    batch.with_columns(schema, columns)
}
