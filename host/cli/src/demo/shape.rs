//! The shape of a pipeline that the demo can run and reconcile: one bounded generator, one plugin, one filter, one
//! window; the plugin's rows go to Parquet, the windows to SQLite, dead letters to a file, all in a folder named `demo`.

use std::path::{Path, PathBuf};

use weir_manifest::{AggregateOf, Connector, DEAD_LETTERS, Manifest, PluginStep, StepKind, WindowStep};
use weir_runtime::Plan;
use weir_runtime::plan::{NodeRef, PlannedKind, PlannedSink, PlannedStep};

/// Names and places, all found in the plan.
pub struct Shape {
    pub source: String,
    /// How many events the generator gives.
    pub events: u64,
    pub plugin: String,
    /// Folder of the version that comes halfway, unless another is named.
    pub next_plugin: PathBuf,
    pub filtered: String,
    pub window: String,
    /// The key's column.
    pub key: String,
    /// The window's column that counts rows.
    pub count: String,
    pub table_path: PathBuf,
    pub table_name: String,
    pub raw_folder: PathBuf,
    /// The column of `raw` that holds the digest of the version that made a row.
    pub digest: String,
    pub dead_letters: PathBuf,
    pub folder: PathBuf,
}

impl Shape {
    /// # Errors
    /// The first thing that is missing, for people.
    pub fn of(plan: &Plan) -> Result<Self, String> {
        let manifest = &plan.manifest;
        let [source] = &plan.sources[..] else { return Err("it has not exactly one source".into()) };
        let events = match manifest.binding(&source.id).map(|binding| &binding.connector) {
            Some(Connector::Generate(generate)) => generate.events.ok_or("its generator has no end (`events`)")?,
            _ => return Err("its source is no generator".into()),
        };
        let plugin = step(plan, "plugin", |kind| matches!(kind, PlannedKind::Plugin(_)))?;
        let window_step = step(plan, "window", |kind| matches!(kind, PlannedKind::Keyed(_)))?;
        let window = manifest.steps.get(&window_step.id).map(|step| &step.kind);
        let Some(StepKind::Window(window)) = window else { return Err("it has no window".into()) };
        let NodeRef::Step(filtered) = window_step.inputs[0].from.node else {
            return Err("nothing filters its window".into());
        };
        let (table_path, table_name) = table(plan, manifest, window_step)?;
        let declared = declared(manifest, plugin)?;
        let digest = declared.digest_column.as_ref().ok_or("its plugin adds no `digest_column`")?;
        let running = manifest.resolve(&declared.reference.value);
        let folder = table_path.parent().filter(|folder| folder.ends_with("demo"));
        Ok(Self {
            source: source.id.to_string(),
            events,
            plugin: plugin.id.to_string(),
            next_plugin: with_next(&running),
            filtered: plan.steps[filtered].id.to_string(),
            window: window_step.id.to_string(),
            key: window.key.first().ok_or("its window has no key")?.value.clone(),
            count: count_column(window)?,
            raw_folder: raw(plan, manifest, plugin)?,
            digest: digest.value.clone(),
            dead_letters: dead_letters(manifest)?,
            folder: folder.ok_or("its table is not in a folder named `demo`")?.to_owned(),
            table_path,
            table_name,
        })
    }
}

fn step<'a>(plan: &'a Plan, what: &str, is: impl Fn(&PlannedKind) -> bool) -> Result<&'a PlannedStep, String> {
    let mut steps = plan.steps.iter().filter(|step| is(&step.kind));
    match (steps.next(), steps.next()) {
        (Some(only), None) => Ok(only),
        _ => Err(format!("it has not exactly one {what}")),
    }
}

fn declared<'a>(manifest: &'a Manifest, plugin: &PlannedStep) -> Result<&'a PluginStep, String> {
    match manifest.steps.get(&plugin.id).map(|step| &step.kind) {
        Some(StepKind::Plugin(declared)) => Ok(declared),
        _ => Err("its plugin is not in the manifest".into()),
    }
}

fn sink<'a>(plan: &'a Plan, from: &PlannedStep) -> Option<&'a PlannedSink> {
    plan.sinks.iter().find(|sink| match sink.from.map(|port| port.node) {
        Some(NodeRef::Step(number)) => plan.steps[number].id == from.id,
        _ => false,
    })
}

fn table(plan: &Plan, manifest: &Manifest, window: &PlannedStep) -> Result<(PathBuf, String), String> {
    let binding = sink(plan, window).and_then(|sink| manifest.binding(&sink.id));
    match binding.map(|binding| &binding.connector) {
        Some(Connector::Sqlite(table)) => Ok((manifest.resolve(&table.path.value), table.table.value.clone())),
        _ => Err("its window does not go to SQLite".into()),
    }
}

fn raw(plan: &Plan, manifest: &Manifest, plugin: &PlannedStep) -> Result<PathBuf, String> {
    let binding = sink(plan, plugin).and_then(|sink| manifest.binding(&sink.id));
    match binding.map(|binding| &binding.connector) {
        Some(Connector::Parquet(folder)) => Ok(manifest.resolve(&folder.path.value)),
        _ => Err("its plugin's rows do not go to Parquet".into()),
    }
}

fn dead_letters(manifest: &Manifest) -> Result<PathBuf, String> {
    match manifest.binding(DEAD_LETTERS).map(|binding| &binding.connector) {
        Some(Connector::File(file)) => match file.path.as_slice() {
            [path] => Ok(manifest.resolve(&path.value)),
            _ => Err("its dead letters go to several files".into()),
        },
        _ => Err("its dead letters do not go to a file".into()),
    }
}

fn count_column(window: &WindowStep) -> Result<String, String> {
    let mut aggregates = window.aggregate.iter();
    let is_count = |of: &AggregateOf| matches!(of, AggregateOf::Call(call) if call.value == "count()");
    let count = aggregates.find(|(_, call)| is_count(&call.of) && call.filter.is_none());
    count.map(|(name, _)| name.value.clone()).ok_or_else(|| "its window does not count its rows".into())
}

/// `plugins/clean-events` as `plugins/clean-events-next`.
fn with_next(folder: &Path) -> PathBuf {
    let name = folder.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    folder.with_file_name(format!("{name}-next"))
}
