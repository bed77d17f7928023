//! A loaded component: checked, compiled, identified by its digest; and what it answers to `describe`.
//!
//! Invariant: a [`PluginComponent`] exports the transform interface with exactly the types of `wit/` and imports
//! nothing that is not granted. It has not been run yet: `describe` runs it, in an instance of its own.

use std::path::Path;
use std::sync::Arc;

use arrow_schema::Schema;
use wasmtime::component::types::ComponentItem;
use wasmtime::component::{ComponentExportIndex, ComponentNamedList, InstancePre, Lift, Lower};
use weir_stream::TransformContract;

use crate::component::{self, PluginInfo};
use crate::engine::SandboxEngine;
use crate::error::{ContractFault, SandboxError};
use crate::instance::{HostState, PluginInstance};
use crate::limits::Limits;
use crate::log::PluginLog;
use crate::{contract, types, wire};

/// Where the three functions of a transform are in a component.
pub(crate) struct Exports {
    pub(crate) describe: ComponentExportIndex,
    pub(crate) open: ComponentExportIndex,
    pub(crate) process: ComponentExportIndex,
}

/// A component that is ready to be instantiated. Share it behind an `Arc`.
pub struct PluginComponent {
    engine: SandboxEngine,
    bytes: Arc<[u8]>,
    digest: Arc<str>,
    info: PluginInfo,
    prepared: InstancePre<HostState>,
    exports: Exports,
}

/// What a plugin answered to `describe`, checked.
#[derive(Debug, Clone, PartialEq)]
pub struct Description {
    pub contract: TransformContract,
    /// JSON Schema of the configuration, if the plugin has one.
    pub config_schema: Option<serde_json::Value>,
}

impl PluginComponent {
    /// Loads a component from its bytes (a core module is encoded first): size, world, imports and types are
    /// checked, then it is compiled or taken from the cache. Takes seconds for a large component: call it away
    /// from the data path.
    ///
    /// # Errors
    /// See [`SandboxError`]; nothing of the component has run.
    pub fn load(engine: &SandboxEngine, wasm: &[u8], limits: &Limits) -> Result<Arc<Self>, SandboxError> {
        limits.validate().map_err(SandboxError::Limits)?;
        check_size(wasm.len() as u64, limits)?;
        let bytes: Arc<[u8]> = component::encode(wasm)?.into();
        let info = component::inspect_granted(&bytes)?;
        let compiled = engine.compiled(&info.digest, &bytes, limits.compile_time())?;
        let prepared = engine.linker().instantiate_pre(&compiled);
        let prepared = prepared.map_err(|error| SandboxError::Invalid(format!("{error:#}")))?;
        let exports = exports(engine, &prepared)?;
        let digest = info.digest.as_str().into();
        Ok(Arc::new(Self { engine: engine.clone(), bytes, digest, info, prepared, exports }))
    }

    /// [`PluginComponent::load`] from a file, whose size is checked before it is read.
    ///
    /// # Errors
    /// As [`PluginComponent::load`], and [`SandboxError::Read`].
    pub fn load_file(engine: &SandboxEngine, path: &Path, limits: &Limits) -> Result<Arc<Self>, SandboxError> {
        let read_error = |cause| SandboxError::Read { path: path.to_owned(), cause };
        let size = std::fs::metadata(path).map_err(read_error)?.len();
        check_size(size, limits)?;
        Self::load(engine, &std::fs::read(path).map_err(read_error)?, limits)
    }

    /// `sha256:<hex>` of [`PluginComponent::bytes`].
    pub fn digest(&self) -> &Arc<str> {
        &self.digest
    }

    /// The component, to be kept by its digest.
    pub fn bytes(&self) -> &Arc<[u8]> {
        &self.bytes
    }

    pub fn info(&self) -> &PluginInfo {
        &self.info
    }

    /// The contract for this configuration (JSON) and input, agreed by the plugin and checked by the host.
    ///
    /// # Errors
    /// Everything that does not fit, at once. A plugin that traps or answers nonsense is one fault.
    pub fn describe(
        &self,
        config_json: &str,
        input: &Schema,
        limits: &Limits,
    ) -> Result<TransformContract, Vec<ContractFault>> {
        self.describe_in_full(config_json, input, limits).map(|description| description.contract)
    }

    /// [`PluginComponent::describe`] with the configuration's schema.
    ///
    /// # Errors
    /// As [`PluginComponent::describe`].
    pub fn describe_in_full(
        &self,
        config_json: &str,
        input: &Schema,
        limits: &Limits,
    ) -> Result<Description, Vec<ContractFault>> {
        check_config(config_json)?;
        let log = Arc::new(PluginLog::new(&self.digest, "describe", limits, None));
        let answer = PluginInstance::new(self, limits, &log)
            .and_then(|mut instance| instance.describe(config_json, &types::fields_to_wire(input)));
        match answer {
            Err(fault) => Err(vec![contract::no_answer(&fault)]),
            Ok(Err(faults)) => Err(contract::refusal(faults, &log)),
            Ok(Ok(answer)) => contract::check(answer, input),
        }
    }

    pub(crate) fn engine(&self) -> &SandboxEngine {
        &self.engine
    }

    pub(crate) fn prepared(&self) -> &InstancePre<HostState> {
        &self.prepared
    }

    pub(crate) fn exports(&self) -> &Exports {
        &self.exports
    }
}

fn check_size(size: u64, limits: &Limits) -> Result<(), SandboxError> {
    let limit = limits.component_bytes;
    if size > limit as u64 { Err(SandboxError::TooLarge { size, limit }) } else { Ok(()) }
}

/// A configuration is JSON; what else it must be is the plugin's to say.
fn check_config(config_json: &str) -> Result<(), Vec<ContractFault>> {
    serde_json::from_str::<serde::de::IgnoredAny>(config_json).map(drop).map_err(|cause| {
        let message = format!("is not JSON: {cause}");
        vec![ContractFault { config_path: Some(String::new()), column: None, message }]
    })
}

/// Finds the three functions and checks their types: the ground on which they are called unchecked later.
fn exports(engine: &SandboxEngine, prepared: &InstancePre<HostState>) -> Result<Exports, SandboxError> {
    let component = prepared.component();
    let component_type = component.component_type();
    let interface = component_type
        .exports(engine.engine())
        .find(|(name, _)| name.starts_with("weir:plugin/transform@0.1."))
        .map(|(name, _)| name.to_owned());
    let interface = interface.ok_or(SandboxError::NoWorld { exports: Vec::new() })?;
    let (_, index) = component.get_export(None, &interface).ok_or(SandboxError::NoWorld { exports: Vec::new() })?;
    Ok(Exports {
        describe: export::<wire::DescribeParams<'_>, wire::DescribeResult>(prepared, &index, "describe")?,
        open: export::<wire::OpenParams<'_>, wire::OpenResult>(prepared, &index, "open")?,
        process: export::<wire::ProcessParams<'_>, wire::ProcessResult>(prepared, &index, "process")?,
    })
}

fn export<P, R>(
    prepared: &InstancePre<HostState>,
    interface: &ComponentExportIndex,
    function: &str,
) -> Result<ComponentExportIndex, SandboxError>
where
    P: ComponentNamedList + Lower,
    R: ComponentNamedList + Lift,
{
    let wrong = |cause: String| SandboxError::WrongType { function: function.to_owned(), cause };
    match prepared.component().get_export(Some(interface), function) {
        Some((ComponentItem::ComponentFunc(found), index)) => {
            let checked = found.typecheck::<P, R>(&prepared.instance_type());
            checked.map(|()| index).map_err(|error| wrong(format!("{error:#}")))
        }
        Some(_) => Err(wrong("it is not a function".into())),
        None => Err(wrong("it is missing".into())),
    }
}
