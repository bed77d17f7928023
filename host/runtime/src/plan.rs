//! From a manifest to a plan: which columns flow where, which expression, plugin and codec stands at which step, and
//! everything that does not fit, with its place.
//!
//! Planning opens components and asks them for their contracts, but connects to nothing and starts nothing. A step whose
//! input is unknown, because the step before it is faulty, is not looked at: one cause, one fault.

mod aggregate;
mod component;
mod sink;
mod source;

use std::collections::HashMap;
use std::sync::Arc;

use arrow_schema::SchemaRef;
use weir_manifest::{Checked, Fault, Faults, LATE_OUTPUT, Late, Manifest, Spanned, StepKind, Until, from_reference};
use weir_operators::{
    AggregateSpec, Expression, ExpressionError, KeyEncoder, Predicate, Select, TumblingWindow, WindowAggregate,
    WindowSpec,
};
use weir_sandbox::{PluginComponent, SandboxEngine};

pub use component::component_path;
pub use sink::{PlannedSink, encoder};
pub use source::PlannedSource;

use crate::gate::{GateError, GateSite};
use crate::task::plugin::{PluginSite, Sample, with_digest_column};

/// Where rows come from: an output of a source or step.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Port {
    pub node: NodeRef,
    /// Number of the named output.
    pub output: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum NodeRef {
    Source(usize),
    Step(usize),
}

pub struct Output {
    pub name: String,
    pub schema: SchemaRef,
}

/// One step, ready to be built any number of times.
pub struct PlannedStep {
    pub id: Arc<str>,
    pub from: Port,
    pub input: SchemaRef,
    pub outputs: Vec<Output>,
    pub kind: PlannedKind,
}

pub enum PlannedKind {
    Where(Predicate),
    Select(Vec<(String, String)>),
    Plugin(Box<PlannedPlugin>),
    Window(Box<PlannedWindow>),
}

pub struct PlannedPlugin {
    pub gate: Arc<GateSite>,
    /// What the manifest's reference resolved to.
    pub component: Arc<PluginComponent>,
}

pub struct PlannedWindow {
    /// Name and expression.
    pub keys: Vec<(String, String)>,
    pub size_us: i64,
    pub aggregates: Vec<AggregateSpec>,
}

impl PlannedStep {
    pub fn is_keyed(&self) -> bool {
        matches!(self.kind, PlannedKind::Window(_))
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
    pub manifest: Manifest,
}

/// Makes a plan of what is sound in a manifest, or tells everything that is wrong with it.
///
/// # Errors
/// The faults that the manifest's own check found, and those found here.
pub fn plan(checked: Checked, engine: &SandboxEngine) -> Result<Plan, Faults> {
    let Checked { manifest, faults } = checked;
    let Some(manifest) = manifest else { return Err(faults) };
    let mut planner = Planner { engine, faults, ports: HashMap::new(), steps: Vec::new() };
    let sources = planner.sources(&manifest);
    planner.steps(&manifest);
    let (sinks, dead_letters) = planner.sinks(&manifest);
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
        manifest,
    })
}

/// Tells every plugin step who stands behind it.
fn name_consumers(steps: &mut [PlannedStep], sinks: &[PlannedSink]) {
    let consumers = |of: usize, steps: &[PlannedStep]| -> Vec<String> {
        let reads = |from: Port| from.node == NodeRef::Step(of);
        let of_steps = steps.iter().filter(|step| reads(step.from)).map(|step| step.id.to_string());
        let of_sinks = sinks.iter().filter(|sink| sink.from.is_some_and(reads)).map(|sink| sink.id.to_string());
        of_steps.chain(of_sinks).collect()
    };
    for number in 0..steps.len() {
        let names = consumers(number, steps);
        if let PlannedKind::Plugin(plugin) = &mut steps[number].kind {
            Arc::get_mut(&mut plugin.gate).expect("nobody shares a plan that is being made").consumers = names;
        }
    }
}

struct Planner<'a> {
    engine: &'a SandboxEngine,
    faults: Faults,
    /// Outputs by source or step id; a faulty one is absent.
    ports: HashMap<String, (NodeRef, Vec<Output>)>,
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
                    let output = Output { name: "main".into(), schema: Arc::clone(&planned.schema) };
                    self.ports.insert(id.value.clone(), (NodeRef::Source(sources.len()), vec![output]));
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
            let (ready, later): (Vec<_>, Vec<_>) =
                waiting.into_iter().partition(|(_, step)| !ids.iter().any(|id| id == from_reference(&step.from).id));
            if ready.is_empty() {
                return;
            }
            for (id, step) in ready {
                if let Some(planned) = self.step(id, step, manifest) {
                    let outputs = planned.outputs.iter();
                    let outputs =
                        outputs.map(|output| Output { name: output.name.clone(), schema: Arc::clone(&output.schema) });
                    self.ports.insert(id.value.clone(), (NodeRef::Step(self.steps.len()), outputs.collect()));
                    self.steps.push(planned);
                }
            }
            waiting = later;
        }
    }

    /// The port that a `from` names, if what it names is sound.
    fn port(&mut self, from: &Spanned<String>) -> Option<(Port, SchemaRef)> {
        let reference = from_reference(from);
        let (node, outputs) = self.ports.get(reference.id)?;
        let name = reference.output.unwrap_or("main");
        let found = match reference.output {
            None => Some(0),
            Some(_) => outputs.iter().position(|output| output.name == name),
        };
        let Some(output) = found else {
            let has = outputs.iter().map(|output| format!("`{}`", output.name)).collect::<Vec<_>>().join(", ");
            let message = format!("`{}` has no output `{name}`; it has {has}", reference.id);
            self.fault(Fault::new(from.span, "unknown-output", message));
            return None;
        };
        Some((Port { node: *node, output }, Arc::clone(&outputs[output].schema)))
    }

    fn step(&mut self, id: &Spanned<String>, step: &weir_manifest::Step, manifest: &Manifest) -> Option<PlannedStep> {
        let (from, input) = self.port(&step.from)?;
        let step_id: Arc<str> = id.value.as_str().into();
        let main = |schema: &SchemaRef| vec![Output { name: "main".into(), schema: Arc::clone(schema) }];
        let (outputs, kind) = match &step.kind {
            StepKind::Where(condition) => {
                let predicate = Predicate::compile(condition, &input);
                (main(&input), PlannedKind::Where(self.compiled(condition, predicate, &step.from)?))
            }
            StepKind::Select(columns) => self.select(columns, &input, &step.from)?,
            StepKind::Plugin(plugin) => self.plugin(&step_id, plugin, &input, manifest)?,
            StepKind::Window(window) => self.window(&step_id, window, &input, &step.from)?,
        };
        Some(PlannedStep { id: step_id, from, input, outputs, kind })
    }

    fn compiled<T>(
        &mut self,
        text: &Spanned<String>,
        result: Result<T, ExpressionError>,
        from: &Spanned<String>,
    ) -> Option<T> {
        result.map_err(|error| self.fault(expression_fault(text, error, from))).ok()
    }

    fn select(
        &mut self,
        columns: &weir_manifest::Entries<Spanned<String>>,
        input: &SchemaRef,
        from: &Spanned<String>,
    ) -> Option<(Vec<Output>, PlannedKind)> {
        let mut sound = true;
        for (_, text) in columns.iter() {
            sound &= self.compiled(text, Expression::compile(text, input), from).is_some();
        }
        let pairs: Vec<_> = columns.iter().map(|(name, text)| (name.value.clone(), text.value.clone())).collect();
        let select = sound.then(|| Select::only(&pairs, input))?;
        let select = select.map_err(|(column, error)| {
            let (_, text) = columns.iter().nth(column).expect("the position is one of the columns given");
            self.fault(expression_fault(text, error, from));
        });
        let schema = Arc::clone(select.ok()?.output_schema());
        Some((vec![Output { name: "main".into(), schema }], PlannedKind::Select(pairs)))
    }

    fn plugin(
        &mut self,
        step: &Arc<str>,
        plugin: &weir_manifest::PluginStep,
        input: &SchemaRef,
        manifest: &Manifest,
    ) -> Option<(Vec<Output>, PlannedKind)> {
        let limits = component::limits(&plugin.limits.or(&manifest.limits.plugin));
        let loaded = component_path(&manifest.resolve(&plugin.reference))
            .map_err(|message| Fault::new(plugin.reference.span, "plugin-missing", message))
            .and_then(|path| {
                crate::gate::load(self.engine, &path, &limits)
                    .map_err(|error| Fault::new(plugin.reference.span, "plugin", error.to_string()))
            });
        let component = loaded.map_err(|fault| self.fault(fault)).ok()?;
        let config = plugin.config.as_ref().map_or_else(|| "null".to_owned(), |config| config.value.to_string());
        let site = PluginSite {
            step: Arc::clone(step),
            input: Arc::clone(input),
            sample: Arc::new(Sample::default()),
            outputs: Vec::new(),
            output_names: Vec::new(),
            digest_column: plugin.digest_column.as_ref().map(|column| column.value.clone()),
        };
        let mut gate = GateSite { site, config, limits, consumers: Vec::new() };
        let factory = gate.factory(&component);
        let factory = factory.map_err(|error| self.contract_faults(plugin, &error)).ok()?;
        let contract = weir_stream::TransformFactory::contract(&factory);
        let raw: Vec<SchemaRef> =
            (0..contract.outputs.len()).map(|output| contract.output_schema(output, input)).collect();
        let named = contract.outputs.iter().zip(&raw).map(|(output, schema)| {
            let stamped = gate.site.digest_column.as_ref().map(|column| with_digest_column(schema, column));
            Output { name: output.name.clone(), schema: stamped.unwrap_or_else(|| Arc::clone(schema)) }
        });
        let outputs = named.collect();
        gate.site.output_names = contract.outputs.iter().map(|output| output.name.clone()).collect();
        gate.site.outputs = raw;
        Some((outputs, PlannedKind::Plugin(Box::new(PlannedPlugin { gate: Arc::new(gate), component }))))
    }

    fn contract_faults(&mut self, plugin: &weir_manifest::PluginStep, error: &GateError) {
        for fault in error.faults() {
            let place = match (&plugin.config, fault.starts_with("config ")) {
                (Some(config), true) => config.span,
                _ => plugin.reference.span,
            };
            self.fault(Fault::new(place, "plugin-contract", fault.clone()));
        }
    }

    fn window(
        &mut self,
        step: &Arc<str>,
        window: &weir_manifest::WindowStep,
        input: &SchemaRef,
        from: &Spanned<String>,
    ) -> Option<(Vec<Output>, PlannedKind)> {
        let mut sound = true;
        for key in &window.key {
            sound &= self.compiled(key, Expression::compile(key, input), from).is_some();
        }
        let mut aggregates = Vec::new();
        for (name, call) in window.aggregate.iter() {
            match aggregate::plan(name, call, input) {
                Ok(spec) => aggregates.push(spec),
                Err(error) => {
                    self.fault(expression_fault(call, error, from));
                    sound = false;
                }
            }
        }
        if !sound {
            return None;
        }
        let keys = window.key.iter().map(|key| (key_name(key), key.value.clone())).collect();
        let weir_manifest::WindowShape::Tumbling { size } = &window.shape;
        let planned = PlannedWindow { keys, size_us: size.value.as_us(), aggregates };
        match planned.aggregate(step, input, 1, 0..1) {
            Ok(built) => {
                let main = Output { name: "main".into(), schema: Arc::clone(built.output_schema()) };
                let late = Output { name: LATE_OUTPUT.into(), schema: Arc::clone(input) };
                Some((vec![main, late], PlannedKind::Window(Box::new(planned))))
            }
            Err(message) => {
                self.fault(Fault::new(size.span, "window", message));
                None
            }
        }
    }
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

/// A key that is a plain column keeps its name; an expression is named by its text.
fn key_name(key: &Spanned<String>) -> String {
    key.value.trim_matches('"').to_owned()
}

impl PlannedWindow {
    /// The key encoder of the tasks before this step.
    ///
    /// # Errors
    /// Of a key that does not compile; the plan saw that all do.
    pub fn key_encoder(&self, input: &SchemaRef, key_groups: u16) -> Result<KeyEncoder, String> {
        KeyEncoder::new(&self.keys, input, key_groups).map_err(|(_, error)| error.message)
    }

    /// The aggregate of a task that owns `key_groups`.
    ///
    /// # Errors
    /// When key or window are not possible; the plan saw that they are.
    pub fn aggregate(
        &self,
        step: &Arc<str>,
        input: &SchemaRef,
        all_key_groups: u16,
        key_groups: std::ops::Range<u16>,
    ) -> Result<WindowAggregate, String> {
        let spec = WindowSpec {
            step: Arc::clone(step),
            window: TumblingWindow::new(self.size_us, 0).map_err(|error| error.to_string())?,
            key: self.key_encoder(input, all_key_groups)?.fields().to_vec(),
            aggregates: self.aggregates.clone(),
        };
        WindowAggregate::new(&spec, input, key_groups).map_err(|(_, error)| error.message)
    }
}
