//! A user's keyed function as a step: keeps its state and timers, calls it for rows and for timers that fire.
//!
//! Invariant: a call's rows, state changes and timer changes hold together or not at all; a row or timer on which the
//! function failed is quarantined alone, and what it would have changed is not changed. The function gets the state of
//! all keys of a call at once and answers what is new: nothing is looked up row by row.
//!
//! A timer fires once the watermark of all inputs (or the clock) has come to it, behind the rows that came with that
//! watermark. A state with a time to live lapses that long after its key's newest row or timer, in event time. At the
//! end of a bounded input timers fire up to the last one that was pending, so that one that sets itself anew for ever
//! ends too. What a step keeps per key is in `held`, how entries are stored in `crate::entries`, one call in `call`.

mod call;
mod due;
mod firing;
mod held;
mod keyed;
mod outputs;
mod stage;

use std::ops::Range;
use std::sync::Arc;

use arrow_schema::{DataType, Field, FieldRef, Schema, SchemaRef, TimeUnit};
use weir_state::table::MapTable;
use weir_stream::time::NO_WATERMARK;
use weir_stream::{FunctionFault, Keeps, KeyedContract, KeyedFunction, TimeDomain};

use crate::entries::EntryCodec;
use crate::key::KeyDecoder;
use crate::keyed::NextFunction;
use crate::transform::plan::OutputPlan;
use crate::transform::{BisectionBudget, Monotonic};
use due::DueList;
use held::Held;

/// The stage of its rejects.
pub const STAGE: &str = "process";

/// State that goes into one call; rows whose keys hold more go in several calls.
pub const STATE_BYTES_PER_CALL: usize = 4 << 20;

/// Timers that fire in one call.
pub const FIRINGS_PER_CALL: usize = 4096;

/// Calls that one advance of time may take; what is still due then fires with the next one.
pub const CALLS_PER_ADVANCE: usize = 100_000;

/// What one key may hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ProcessLimits {
    /// Bytes of all its states, as they are stored.
    pub state_bytes_per_key: usize,
    /// Pending timers.
    pub timers_per_key: usize,
}

/// What a step needs beside the function.
#[derive(Clone)]
pub struct ProcessSpec {
    pub step: Arc<str>,
    pub input: SchemaRef,
    pub key: Vec<FieldRef>,
    /// Of the version that the pipeline was planned with; others must have its states, timers and outputs.
    pub contract: Arc<KeyedContract>,
    pub limits: ProcessLimits,
    pub clock: Monotonic,
}

/// A keyed function as a step of one task.
pub struct ProcessStep {
    spec: ProcessSpec,
    key_schema: SchemaRef,
    /// By number of the output, as the steps behind expect it.
    schemas: Vec<SchemaRef>,
    /// By number of the state.
    codecs: Vec<EntryCodec>,
    decoder: KeyDecoder,
    layout: String,
    running: Option<Running>,
    budget: BisectionBudget,
    table: MapTable<Held>,
    due: DueList,
    /// Whether every key of the table is listed; not so after state was loaded.
    is_listed: bool,
    watermark_us: i64,
    now_us: Option<i64>,
}

/// The version that runs.
struct Running {
    function: Box<dyn KeyedFunction>,
    digest: Arc<str>,
    outputs: Vec<(Keeps, OutputPlan)>,
}

impl ProcessStep {
    /// A step without its function; [`crate::KeyedOperator::begin_epoch`] gives it before the first row.
    ///
    /// # Errors
    /// What of the contract cannot be kept.
    pub fn new(spec: ProcessSpec, owned: Range<u16>) -> Result<Self, String> {
        let contract = &spec.contract;
        let codecs = contract.states.iter().map(|state| EntryCodec::new(&state.fields));
        let codecs = codecs.collect::<Result<_, _>>()?;
        let key_schema: SchemaRef = Arc::new(Schema::new(spec.key.clone()));
        let outputs = 0..contract.outputs.len();
        let schemas = outputs.map(|output| contract.output_schema(output, &spec.input, &key_schema)).collect();
        let watermark_us = NO_WATERMARK;
        Ok(Self {
            schemas,
            codecs,
            decoder: KeyDecoder::new(&spec.key),
            layout: layout(&spec.key, contract),
            key_schema,
            running: None,
            budget: BisectionBudget::new(Arc::clone(&spec.clock)),
            table: MapTable::new(owned),
            due: DueList::default(),
            is_listed: true,
            watermark_us,
            now_us: None,
            spec,
        })
    }

    /// The schema of named output number `output`.
    pub fn output_schema(&self, output: usize) -> &SchemaRef {
        &self.schemas[output]
    }

    fn start(&mut self, next: NextFunction) -> Result<(), FunctionFault> {
        let NextFunction::Keyed { factory, instance } = next else {
            unreachable!("the gate lets in what has the step's world")
        };
        let function = instance.map_or_else(|| factory.instantiate(), Ok)?;
        let plan = |(output, schema): (&weir_stream::KeyedOutput, &SchemaRef)| {
            let input = if output.keeps == Keeps::Row { &self.spec.input } else { &self.key_schema };
            let plan = OutputPlan::new(Arc::clone(schema), &output.output, input);
            plan.map(|plan| (output.keeps, plan)).map_err(|fault| FunctionFault::Malformed(fault.to_string()))
        };
        let outputs = factory.contract().outputs.iter().zip(&self.schemas).map(plan).collect::<Result<_, _>>()?;
        self.running = Some(Running { function, digest: Arc::clone(factory.digest()), outputs });
        Ok(())
    }

    fn running(&mut self) -> &mut Running {
        self.running.as_mut().expect("a step has its function before its first row")
    }

    /// Lists what was loaded.
    fn list_all(&mut self) {
        if std::mem::replace(&mut self.is_listed, true) {
            return;
        }
        let Self { table, due, spec, .. } = self;
        for (key_group, key, held) in table.iter() {
            due.list_key(&spec.contract, key_group, key, held);
        }
    }

    /// Forgets the lists: keys that stand there have left memory.
    fn list_anew(&mut self) {
        self.due = DueList::default();
        self.table.iter().for_each(|(_, _, held)| held.listed_us.iter().for_each(|listed| listed.set(None)));
        self.is_listed = false;
    }
}

/// When a key has something to do next.
fn next_us(contract: &KeyedContract, held: &Held, domain: TimeDomain) -> Option<i64> {
    let timer = next_timer(contract, held, domain).map(|pending| pending.time_us);
    let lapse = (domain == TimeDomain::Event).then(|| next_lapse_us(contract, held)).flatten();
    timer.into_iter().chain(lapse).min()
}

fn next_timer(contract: &KeyedContract, held: &Held, domain: TimeDomain) -> Option<held::Pending> {
    let of_domain = |pending: &&held::Pending| {
        contract.timers.get(pending.timer as usize).is_some_and(|timer| timer.domain == domain)
    };
    held.timers.iter().find(of_domain).copied()
}

/// When the first of a key's states lapses.
fn next_lapse_us(contract: &KeyedContract, held: &Held) -> Option<i64> {
    let states = contract.states.iter().zip(&held.states).filter(|(_, bytes)| !bytes.is_empty());
    states.filter_map(|(state, _)| Some(held.newest_us.saturating_add(state.ttl_us?))).min()
}

/// What the stored state depends on. A time to live may change: it is counted from what is stored.
fn layout(key: &[FieldRef], contract: &KeyedContract) -> String {
    let field = |field: &FieldRef| {
        let required = if field.is_nullable() { "" } else { "!" };
        format!("{} {}{required}", field.name(), field.data_type())
    };
    let fields = |fields: &[FieldRef]| fields.iter().map(field).collect::<Vec<_>>().join(", ");
    let state = |state: &weir_stream::StateContract| {
        let (key, rest) = state.fields.split_at(state.map_key);
        format!("{} {}({}; {})", state.name, state.kind.name(), fields(key), fields(rest))
    };
    let states: Vec<String> = contract.states.iter().map(state).collect();
    let timers: Vec<String> =
        contract.timers.iter().map(|timer| format!("{} {}", timer.name, timer.domain.name())).collect();
    format!("process 1; key {}; states {}; timers {}", fields(key), states.join(", "), timers.join(", "))
}

/// Firings as rows, for their rejects: the key, the timer and its time.
fn firing_schema(key: &[FieldRef]) -> SchemaRef {
    let time = DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()));
    let own = [Field::new("timer", DataType::Utf8, false), Field::new("timer_time", time, false)];
    Arc::new(Schema::new(key.iter().cloned().chain(own.map(Arc::new)).collect::<Vec<_>>()))
}
