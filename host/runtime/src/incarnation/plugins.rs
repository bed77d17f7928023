//! Which version of each plugin runs: the epoch log's word wins over the manifest's, and a manifest that means another
//! one than at the last start is a swap request through the same gate.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::{Duration, Instant};

use weir_sandbox::{PluginComponent, SandboxEngine};
use weir_state::PluginFolder;

use super::{Setup, StartError};
use crate::control::{Control, GateRoom};
use crate::coordinator::Watch;
use crate::function::Function;
use crate::meta::{EpochMeta, StoredPlugin};
use crate::plan::{Plan, PlannedPlugin};
use crate::reject_watch::{Judged, RejectLimit};
use crate::status::{PluginStatus, StatusBoard};

/// A version that must run whatever the log says: after a rollback, or a swap while paused.
pub struct Override {
    pub digest: Arc<str>,
    /// The last durable epoch when it was ordered.
    pub since_epoch: u64,
}

/// By step id.
pub type Overrides = HashMap<Arc<str>, Override>;

/// The version that runs in one step.
pub struct RunningPlugin {
    pub function: Function,
    /// While it is watched: what the version before made of its newest rows.
    pub watched: Option<Judged>,
    /// The manifest's component, when it is another one and wants in.
    wanted: Option<Arc<PluginComponent>>,
}

/// By step id.
pub type RunningPlugins = BTreeMap<Arc<str>, RunningPlugin>;

/// Chooses and loads the version of every plugin step, notes it in `meta`, and lets go of those that none may return to.
pub fn resolve(
    plan: &Plan,
    engine: &SandboxEngine,
    folder: &PluginFolder,
    overrides: &Overrides,
    meta: &mut EpochMeta,
) -> Result<RunningPlugins, StartError> {
    let before = meta.clone();
    let mut running = RunningPlugins::new();
    for step in &plan.steps {
        let Some(planned) = step.plugin() else { continue };
        let plugin = resolve_one(planned, &step.id, engine, folder, overrides.get(&step.id), meta)?;
        running.insert(Arc::clone(&step.id), plugin);
    }
    prune(folder, &before, meta);
    Ok(running)
}

fn resolve_one(
    planned: &PlannedPlugin,
    step: &Arc<str>,
    engine: &SandboxEngine,
    folder: &PluginFolder,
    ordered: Option<&Override>,
    meta: &mut EpochMeta,
) -> Result<RunningPlugin, StartError> {
    let of_manifest = planned.component.digest();
    folder
        .put(of_manifest, planned.component.bytes())
        .map_err(|error| StartError::Plugin(format!("step `{step}`: the component cannot be kept: {error}")))?;
    let stored = meta.plugins.get(&**step).cloned();
    let wanted_digest =
        ordered.map(|order| order.digest.to_string()).or_else(|| stored.as_ref().map(|stored| stored.running.clone()));
    let kept = wanted_digest.filter(|digest| *digest != **of_manifest);
    let kept = match kept {
        Some(digest) => load_kept(planned, step, engine, folder, &digest)?,
        None => None,
    };
    let (function, replaced) = match kept {
        Some(function) => (function, true),
        None => {
            let function = planned.gate.function(&planned.component);
            (function.map_err(|error| StartError::Plugin(error.to_string()))?, false)
        }
    };
    let digest = function.digest().to_string();
    let changed = stored.as_ref().is_some_and(|stored| stored.manifest != **of_manifest);
    let rolled_back = ordered.is_some();
    let previous = stored.as_ref().filter(|stored| !rolled_back && stored.running == digest);
    let previous = previous.and_then(|stored| stored.previous.clone());
    let before = previous.as_ref().and(stored.as_ref()).and_then(|stored| stored.before);
    let watched = previous.as_ref().map(|_| before.unwrap_or_default());
    let wanted = (replaced && changed && !rolled_back).then(|| Arc::clone(&planned.component));
    // A swap that the manifest asks for is asked for again until it has been in place.
    let asked = stored.filter(|_| wanted.is_some()).map(|stored| stored.manifest);
    let manifest = asked.unwrap_or_else(|| of_manifest.to_string());
    meta.plugins.insert(
        step.to_string(),
        StoredPlugin { made_by: digest.clone(), running: digest, manifest, previous, before },
    );
    Ok(RunningPlugin { function, watched, wanted })
}

/// The version that ran before, if it fits the plan; a manifest that changed the columns around it makes it unfit, and
/// then the manifest's own version starts. A version that the epochs were made with and that is not there, or not whole,
/// is never replaced silently.
fn load_kept(
    planned: &PlannedPlugin,
    step: &str,
    engine: &SandboxEngine,
    folder: &PluginFolder,
    digest: &str,
) -> Result<Option<Function>, StartError> {
    let lost = |why: String| {
        StartError::Plugin(format!(
            "step `{step}`: {digest} ran before and must run now, but {why}; name that component in `use:` once, which \
             puts it back, and swap afterwards"
        ))
    };
    let bytes = match folder.get(digest) {
        Ok(Some(bytes)) => bytes,
        Ok(None) => return Err(lost("the state folder does not have it".to_owned())),
        Err(error) => return Err(lost(error.to_string())),
    };
    let component = PluginComponent::load(engine, &bytes, &planned.gate.limits);
    let fits = component
        .map_err(|error| error.to_string())
        .and_then(|component| planned.gate.fitting(&component).map_err(|error| error.faults().join("; ")));
    let fitting = fits.map_err(|why| {
        tracing::warn!(
            "step `{step}`: {digest} ran before and does not fit this manifest: {why}; its own version starts"
        );
    });
    Ok(fitting.ok())
}

/// Removes versions that nothing may return to: of each step the running one, the one before it while it is watched, and
/// the manifest's stay.
fn prune(folder: &PluginFolder, before: &EpochMeta, now: &EpochMeta) {
    let plugins = before.plugins.values().chain(now.plugins.values());
    let kept: Vec<&str> = plugins
        .flat_map(|plugin| [&plugin.made_by, &plugin.running, &plugin.manifest].into_iter().chain(&plugin.previous))
        .map(String::as_str)
        .collect();
    if let Err(error) = folder.retain(&kept) {
        tracing::warn!("old plugin versions stay in the state folder: {error}");
    }
}

/// How long a new version is watched.
pub fn watch(plan: &Plan, setup: &Setup) -> Duration {
    setup.watch.unwrap_or_else(|| Duration::from_micros(plan.manifest.swap.watch.as_us().unsigned_abs()))
}

/// The watches that go on from an earlier life.
pub fn watches(meta: &EpochMeta, watch: Duration) -> Vec<Watch> {
    let watched = meta.plugins.iter().filter_map(|(step, plugin)| Some((step, plugin.previous.as_ref()?)));
    let until = Instant::now() + watch;
    watched
        .map(|(step, previous)| Watch {
            step: step.as_str().into(),
            previous: previous.as_str().into(),
            before: meta.plugins[step].before.unwrap_or_default(),
            until,
            released_by: None,
        })
        .collect()
}

/// Lets swaps in, and shows which versions run.
pub fn open_gate(
    plan: &Plan,
    setup: &Setup,
    engine: &SandboxEngine,
    running: &RunningPlugins,
    folder: PluginFolder,
    instances: &BTreeMap<String, usize>,
    control: &Arc<Control>,
) {
    let mut sites = BTreeMap::new();
    for step in &plan.steps {
        if let Some(planned) = step.plugin() {
            sites.insert(step.id.to_string(), Arc::clone(&planned.gate));
            show(control.status(), &step.id, planned, &running[&step.id]);
        }
    }
    control.open_gate(Arc::new(GateRoom {
        engine: engine.clone(),
        sites,
        instances: instances.clone(),
        plugins: folder,
        watch: watch(plan, setup),
        reject_limit: RejectLimit::of(&plan.manifest.swap),
    }));
}

fn show(status: &StatusBoard, step: &str, planned: &PlannedPlugin, running: &RunningPlugin) {
    let contract = running.function.contract();
    status.set_plugin(
        step,
        PluginStatus {
            name: contract.name().to_owned(),
            version: contract.version().to_owned(),
            running: running.function.digest().to_string(),
            manifest: planned.component.digest().to_string(),
            watched: running.watched.is_some(),
        },
    );
}

/// Asks for the swaps that a changed manifest means, beside the data path.
pub fn request_manifest_swaps(running: &RunningPlugins, control: &Arc<Control>) {
    for (step, plugin) in running {
        let Some(wanted) = plugin.wanted.clone() else { continue };
        let (step, control) = (Arc::clone(step), Arc::clone(control));
        let swap = move || match control.swap(&step, wanted.bytes()) {
            Ok(report) => tracing::info!("step `{step}`: the manifest's version {} is in place", report.version),
            Err(error) => {
                tracing::error!("step `{step}`: the manifest's version was refused: {error}: {:?}", error.faults())
            }
        };
        if let Err(error) = std::thread::Builder::new().name("manifest-swap".into()).spawn(swap) {
            tracing::error!("no thread for the manifest's swap: {error}");
        }
    }
}
