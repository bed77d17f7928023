//! From a manifest to a plan: which columns flow where, which expression, plugin and codec stands at which step, and
//! everything that does not fit, with its place.
//!
//! Planning opens components and asks them for their contracts, but connects to nothing and starts nothing. A step whose
//! input is unknown, because the step before it is faulty, is not looked at: one cause, one fault.

mod aggregate;
mod aggregate_plugin;
mod assign;
mod attribute;
mod by_key;
mod changes;
mod component;
mod flatten;
mod group;
mod join;
mod lookup;
mod normalise;
mod plugin;
mod process;
mod route;
mod sink;
mod source;
mod stateless;
mod tables;
mod test;
mod window;

use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;

use arrow_schema::SchemaRef;
use weir_manifest::{Checked, Fault, Faults, Late, MAIN_OUTPUT, Manifest, Spanned, StepKind, Until, from_reference};
use weir_operators::{Answerer, ExpressionError, KeyEncoder, KeyedOperator, Operator, WaitingLimits};
use weir_sandbox::{PluginComponent, SandboxEngine};
use weir_stream::ChangeMode;

pub use component::component_path;
pub use sink::{PlannedSink, encoder};
pub use source::PlannedSource;
pub use test::{Expectation, ExpectedColumns, Fed, PlannedTest};

use crate::gate::GateSite;
use crate::lookup::TableFile;
use crate::status::StatusBoard;

/// Where rows come from: an output of a source or step.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Port {
    pub node: NodeRef,
    /// Number of the named output.
    pub output: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum NodeRef {
    Source(usize),
    Step(usize),
}

#[derive(Debug, Clone)]
pub struct Output {
    pub name: String,
    pub schema: SchemaRef,
    /// What the rows' change kinds may be.
    pub changes: ChangeMode,
}

impl Output {
    /// The only output of most steps.
    fn main(schema: &SchemaRef, changes: ChangeMode) -> Self {
        Self { name: MAIN_OUTPUT.into(), schema: Arc::clone(schema), changes }
    }
}

/// One way into a step.
#[derive(Debug, Clone)]
pub struct PlannedInput {
    /// Which of the step's inputs the rows are of: 0, but for the other side of a join.
    pub port: usize,
    pub from: Port,
}

/// One step, ready to be built any number of times.
pub struct PlannedStep {
    pub id: Arc<str>,
    /// At least one; several of one port are read together.
    pub inputs: Vec<PlannedInput>,
    pub outputs: Vec<Output>,
    pub kind: PlannedKind,
    /// Why it is there, of a step that is not in the manifest.
    pub put_in: Option<String>,
}

pub enum PlannedKind {
    Stateless(Box<dyn PlannedStateless>),
    Waiting(Box<dyn PlannedWaiting>),
    Plugin(Box<PlannedPlugin>),
    Keyed(Box<dyn PlannedKeyed>),
}

/// A step without state, planned: it compiles, so building it fails only by a fault of Weir.
pub trait PlannedStateless: Send + Sync {
    /// One for each task.
    ///
    /// # Errors
    /// A fault of Weir: the plan saw that it can be built.
    fn operator(&self) -> Result<Box<dyn Operator>, String>;

    /// The files of tables that the step looks up: to be loaded before the step runs.
    fn table_files(&self) -> &[Arc<TableFile>] {
        &[]
    }
}

/// A step that answers later, planned: what it asks is asked once the pipeline runs.
pub trait PlannedWaiting: Send + Sync {
    /// One for each task.
    ///
    /// # Errors
    /// A fault of Weir: the plan saw that it can be built.
    fn answerer(&self) -> Result<Box<dyn Answerer>, String>;

    /// How much each task may have outstanding.
    fn limits(&self) -> WaitingLimits {
        WaitingLimits::default()
    }

    /// Where the step says from now on that it waits for something that is away.
    fn tell(&self, _board: &Arc<StatusBoard>) {}
}

/// A step with state by key, planned.
pub trait PlannedKeyed: Send + Sync {
    /// The encoder of the keys of rows on `port`, for the tasks before this step.
    ///
    /// # Errors
    /// A fault of Weir: the plan saw that the keys compile.
    fn key_encoder(&self, port: usize, key_groups: u16) -> Result<KeyEncoder, String>;

    /// The operator of a task that owns `owned` of the pipeline's `key_groups`.
    ///
    /// # Errors
    /// A fault of Weir: the plan saw that it can be built.
    fn operator(&self, key_groups: u16, owned: Range<u16>) -> Result<Box<dyn KeyedOperator>, String>;

    /// The user's component that runs in the step, if one does.
    fn plugin(&self) -> Option<&PlannedPlugin> {
        None
    }

    /// As [`PlannedKeyed::plugin`], while the plan is being made.
    fn plugin_mut(&mut self) -> Option<&mut PlannedPlugin> {
        None
    }
}

pub struct PlannedPlugin {
    pub gate: Arc<GateSite>,
    /// What the manifest's reference resolved to.
    pub component: Arc<PluginComponent>,
}

impl PlannedStep {
    pub fn is_keyed(&self) -> bool {
        matches!(self.kind, PlannedKind::Keyed(_))
    }

    /// The user's component that runs in the step, if one does.
    pub fn plugin(&self) -> Option<&PlannedPlugin> {
        match &self.kind {
            PlannedKind::Plugin(plugin) => Some(plugin),
            PlannedKind::Keyed(keyed) => keyed.plugin(),
            PlannedKind::Stateless(_) | PlannedKind::Waiting(_) => None,
        }
    }

    /// A step that waits says so on this board from now on.
    pub fn tell(&self, board: &Arc<StatusBoard>) {
        match &self.kind {
            PlannedKind::Waiting(waiting) => waiting.tell(board),
            PlannedKind::Plugin(plugin) => plugin.gate.tables.tell(board),
            PlannedKind::Stateless(_) | PlannedKind::Keyed(_) => {}
        }
    }

    /// The files of tables that the step looks up.
    pub fn table_files(&self) -> &[Arc<TableFile>] {
        match &self.kind {
            PlannedKind::Stateless(step) => step.table_files(),
            PlannedKind::Plugin(plugin) => &plugin.gate.tables.files,
            PlannedKind::Waiting(_) | PlannedKind::Keyed(_) => &[],
        }
    }

    fn plugin_mut(&mut self) -> Option<&mut PlannedPlugin> {
        match &mut self.kind {
            PlannedKind::Plugin(plugin) => Some(plugin),
            PlannedKind::Keyed(keyed) => keyed.plugin_mut(),
            PlannedKind::Stateless(_) | PlannedKind::Waiting(_) => None,
        }
    }
}

/// A whole pipeline.
pub struct Plan {
    pub pipeline: Arc<str>,
    pub sources: Vec<PlannedSource>,
    /// Each behind what it reads.
    pub steps: Vec<PlannedStep>,
    pub sinks: Vec<PlannedSink>,
    /// Number of the sink that takes dead letters.
    pub dead_letters: Option<usize>,
    pub late: Late,
    pub until_end: bool,
    pub key_groups: u16,
    pub tests: Vec<PlannedTest>,
    pub manifest: Manifest,
}

/// What a plan is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// Sources and sinks are those of the profile.
    Run,
    /// Sources are fed, every sink takes columns; see [`crate::trial`].
    Test,
}

/// Makes a plan of what is sound in a manifest, or tells everything that is wrong with it.
///
/// # Errors
/// The faults that the manifest's own check found, and those found here.
pub fn plan(checked: Checked, engine: &SandboxEngine, purpose: Purpose) -> Result<Plan, Faults> {
    let Checked { manifest, faults } = checked;
    let Some(manifest) = manifest else { return Err(faults) };
    let mut planner = Planner { engine, purpose, faults, ports: HashMap::new(), steps: Vec::new() };
    let sources = planner.sources(&manifest);
    planner.steps(&manifest);
    let (sinks, dead_letters) = planner.sinks(&manifest);
    let tests = planner.tests(&manifest);
    let Planner { faults, mut steps, .. } = planner;
    if faults.has_errors() {
        return Err(faults);
    }
    name_consumers(&mut steps, &sinks);
    Ok(Plan {
        pipeline: manifest.pipeline.value.as_str().into(),
        sources,
        steps,
        sinks,
        dead_letters,
        late: manifest.late,
        until_end: manifest.until == Until::End,
        key_groups: manifest.state.key_groups,
        tests,
        manifest,
    })
}

/// Tells every plugin step who stands behind it.
fn name_consumers(steps: &mut [PlannedStep], sinks: &[PlannedSink]) {
    let consumers = |of: usize, steps: &[PlannedStep]| -> Vec<String> {
        let reads = |from: Port| from.node == NodeRef::Step(of);
        let of_steps = steps.iter().filter(|step| step.inputs.iter().any(|input| reads(input.from)));
        let of_steps = of_steps.map(|step| step.id.to_string());
        let of_sinks = sinks.iter().filter(|sink| sink.from.is_some_and(reads)).map(|sink| sink.id.to_string());
        of_steps.chain(of_sinks).collect()
    };
    for number in 0..steps.len() {
        let names = consumers(number, steps);
        if let Some(plugin) = steps[number].plugin_mut() {
            Arc::get_mut(&mut plugin.gate).expect("nobody shares a plan that is being made").consumers = names;
        }
    }
}

struct Planner<'a> {
    engine: &'a SandboxEngine,
    purpose: Purpose,
    faults: Faults,
    /// Outputs by source or step id, and where each is; a faulty one is absent.
    ports: HashMap<String, Vec<(Port, Output)>>,
    steps: Vec<PlannedStep>,
}

impl Planner<'_> {
    /// Notes a fault, unless the manifest's own check has said something about the very place.
    fn fault(&mut self, fault: Fault) {
        if fault.place.is_none() || self.faults.sorted().iter().all(|known| known.place != fault.place) {
            self.faults.push(fault);
        }
    }

    fn sources(&mut self, manifest: &Manifest) -> Vec<PlannedSource> {
        let mut sources = Vec::new();
        for (id, source) in manifest.sources.iter() {
            match source::plan(id, source, manifest) {
                Ok(planned) => {
                    let output = Output::main(&planned.schema, ChangeMode::Append);
                    self.publish(id, NodeRef::Source(sources.len()), &[output]);
                    sources.push(planned);
                }
                Err(fault) => self.fault(fault),
            }
        }
        sources
    }

    /// Steps in an order in which each stands behind what it reads; the manifest's check saw that there is one.
    fn steps(&mut self, manifest: &Manifest) {
        let mut waiting: Vec<_> = manifest.steps.iter().collect();
        while !waiting.is_empty() {
            let ids: Vec<String> = waiting.iter().map(|(id, _)| id.value.clone()).collect();
            let (ready, later): (Vec<_>, Vec<_>) = waiting.into_iter().partition(|(_, step)| {
                step.inputs().all(|(_, from)| !ids.iter().any(|id| id == from_reference(from).id))
            });
            if ready.is_empty() {
                return;
            }
            for (id, step) in ready {
                if let Some(planned) = self.step(id, step, manifest) {
                    self.publish(id, NodeRef::Step(self.steps.len()), &planned.outputs);
                    self.steps.push(planned);
                    if let (StepKind::Join(join), Some(left)) = (&step.kind, step.from.first()) {
                        self.attributed(id, join, left, manifest);
                    }
                }
            }
            waiting = later;
        }
    }

    fn publish(&mut self, id: &Spanned<String>, node: NodeRef, outputs: &[Output]) {
        let ports = outputs.iter().enumerate().map(|(output, of)| (Port { node, output }, of.clone()));
        self.ports.insert(id.value.clone(), ports.collect());
    }

    /// The port that a `from` names and what comes out of it, if what it names is sound.
    fn port(&mut self, from: &Spanned<String>) -> Option<(Port, Output)> {
        let reference = from_reference(from);
        let outputs = self.ports.get(reference.id)?;
        let name = reference.output.unwrap_or(MAIN_OUTPUT);
        let found = match reference.output {
            None => Some(0),
            Some(_) => outputs.iter().position(|(_, output)| output.name == name),
        };
        let Some(output) = found else {
            let has = outputs.iter().map(|(_, output)| format!("`{}`", output.name)).collect::<Vec<_>>().join(", ");
            let message = format!("`{}` has no output `{name}`; it has {has}", reference.id);
            self.fault(Fault::new(from.span, "unknown-output", message));
            return None;
        };
        Some(outputs[output].clone())
    }

    fn step(&mut self, id: &Spanned<String>, step: &weir_manifest::Step, manifest: &Manifest) -> Option<PlannedStep> {
        let mut inputs = Vec::new();
        let mut sides: Vec<Side> = Vec::new();
        for (port, from) in step.inputs() {
            let (read, output) = self.port(from)?;
            inputs.push(PlannedInput { port, from: read });
            match sides.get(port) {
                Some(first) => self.same_rows(first, from, &output)?,
                None => sides.push(Side { from: from.clone(), schema: output.schema, changes: output.changes }),
            }
        }
        let step_id: Arc<str> = id.value.as_str().into();
        self.changes_fit(&step.kind, &sides)?;
        if changes::takes_back(&step.kind) {
            self.normalise(&step_id, &mut inputs, &mut sides)?;
        }
        if let StepKind::Window(window) = &step.kind {
            self.assigned(&step_id, window, &mut inputs, &mut sides, manifest)?;
        }
        let main = sides.first()?;
        let (outputs, kind) = match &step.kind {
            StepKind::Where(condition) => self.filter(condition, main)?,
            StepKind::Select(columns) => self.select(columns, main)?,
            StepKind::Split(conditions) => self.split(conditions, main)?,
            StepKind::Sample(sample) => self.sample(sample, &inputs, main)?,
            StepKind::Flatten(flatten) => self.flatten(flatten, main)?,
            StepKind::Dedup(dedup) => self.dedup(&step_id, dedup, main)?,
            StepKind::Latest(latest) => self.latest(&step_id, latest, main)?,
            StepKind::Top(top) => self.top(&step_id, top, main)?,
            StepKind::Sessions(sessions) => self.sessions(&step_id, sessions, main)?,
            StepKind::Plugin(plugin) => self.plugin(&step_id, plugin, plugin::PluginUse::Step, main, manifest)?,
            StepKind::Window(window) => self.window(&step_id, window, main, manifest)?,
            StepKind::Group(group) => self.group(&step_id, group, main, manifest)?,
            StepKind::Join(join) => self.join(&step_id, join, main, sides.get(1)?)?,
            StepKind::Lookup(lookup) => self.lookup(&step_id, lookup, main, manifest)?,
        };
        Some(PlannedStep { id: step_id, inputs, outputs, kind, put_in: None })
    }

    /// What is read together must be of one kind.
    fn same_rows(&mut self, first: &Side, from: &Spanned<String>, other: &Output) -> Option<()> {
        if first.schema == other.schema {
            return self.one_table(first, from, other);
        }
        let columns = |schema: &SchemaRef| {
            let column = |field: &Arc<arrow_schema::Field>| {
                let required = if field.is_nullable() { "" } else { "!" };
                format!("{} {}{required}", field.name(), weir_manifest::type_text(field.data_type()))
            };
            schema.fields().iter().map(column).collect::<Vec<_>>().join(", ")
        };
        let message = format!(
            "`{}` and `{}` are read together but are not alike: ({}) and ({})",
            first.from.value,
            from.value,
            columns(&first.schema),
            columns(&other.schema)
        );
        self.fault(Fault::new(from.span, "unlike", message).next("make them alike with `select`"));
        None
    }

    fn compiled<T>(
        &mut self,
        text: &Spanned<String>,
        result: Result<T, ExpressionError>,
        from: &Spanned<String>,
    ) -> Option<T> {
        result.map_err(|error| self.fault(expression_fault(text, error, from))).ok()
    }
}

/// What comes into a step on one port.
struct Side {
    /// Where it comes from, for messages.
    from: Spanned<String>,
    schema: SchemaRef,
    changes: ChangeMode,
}

fn expression_fault(text: &Spanned<String>, error: ExpressionError, from: &Spanned<String>) -> Fault {
    let place = error.span.clone().map_or(text.span, |part| text.part(part));
    let mut message = error.message.clone();
    if message.starts_with("no column") {
        let (first, hint) =
            message.split_once(';').map_or((message.as_str(), None), |(first, hint)| (first, Some(hint)));
        let first = first.trim_end_matches(" here");
        message = format!("{first} after `{}`{}", from.value, hint.map_or(String::new(), |hint| format!(";{hint}")));
    }
    Fault::new(place, "expression", message)
}
