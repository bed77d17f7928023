//! A loaded component: checked, compiled, identified by its digest; and what it answers to `describe`.
//!
//! Invariant: a [`PluginComponent`] exports the interface of one world with exactly the types of `wit/` and imports
//! nothing that is not granted. It has not been run yet: `describe` runs it, in an instance of its own.

use std::path::Path;
use std::sync::Arc;

use arrow_schema::{FieldRef, Schema};
use wasmtime::component::types::ComponentItem;
use wasmtime::component::{ComponentExportIndex, ComponentNamedList, InstancePre, Lift, Lower};
use weir_stream::{AggregateContract, KeyedContract, KeyedTable, TransformContract};

use crate::component::{self, PluginInfo, World};
use crate::engine::SandboxEngine;
use crate::error::{ContractFault, SandboxError};
use crate::instance::{HostState, PluginInstance, WorldContract};
use crate::limits::Limits;
use crate::log::PluginLog;
use crate::tables::{UsedTable, to_wire};
use crate::wire::tables::{DescribeParams, DescribeResult, EnrichContract, OpenParams, Table};
use crate::wire::{self, aggregate, keyed};
use crate::{contract, types};

/// Where the functions of a world are in a component.
pub(crate) struct Exports {
    pub(crate) describe: ComponentExportIndex,
    pub(crate) open: ComponentExportIndex,
    /// Those of the data path, in the order of [`crate::instance::calls`].
    pub(crate) calls: Vec<ComponentExportIndex>,
}

/// A component that is ready to be instantiated. Share it behind an `Arc`.
pub struct PluginComponent {
    engine: SandboxEngine,
    bytes: Arc<[u8]>,
    digest: Arc<str>,
    info: PluginInfo,
    world: World,
    prepared: InstancePre<HostState>,
    exports: Exports,
}

/// What a plugin answered to `describe`, checked.
#[derive(Debug, Clone, PartialEq)]
pub struct Description<C = TransformContract> {
    pub contract: C,
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
        let (info, world) = component::inspect_granted(&bytes)?;
        let compiled = engine.compiled(&info.digest, &bytes, limits.compile_time())?;
        let prepared = engine.linker().instantiate_pre(&compiled);
        let prepared = prepared.map_err(|error| SandboxError::Invalid(format!("{error:#}")))?;
        let exports = exports(engine, &prepared, world)?;
        let digest = info.digest.as_str().into();
        Ok(Arc::new(Self { engine: engine.clone(), bytes, digest, info, world, prepared, exports }))
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

    pub fn world(&self) -> World {
        self.world
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
        self.answer::<wire::Contract>(config_json, input, &[], limits).and_then(|answer| contract::check(answer, input))
    }

    /// The contract of a plugin of the world `enrich` in a step with these tables, and which of them it asks.
    ///
    /// # Errors
    /// As [`PluginComponent::describe`].
    pub(crate) fn describe_asking(
        &self,
        config_json: &str,
        input: &Schema,
        tables: &[Arc<dyn KeyedTable>],
        limits: &Limits,
    ) -> Result<(Description, Vec<UsedTable>), Vec<ContractFault>> {
        let shown: Vec<_> = tables.iter().map(|table| to_wire(table.as_ref())).collect();
        let answer = self.answer::<EnrichContract>(config_json, input, &shown, limits)?;
        let (rows, used) = (contract::check(answer.rows, input), contract::tables::check(answer.tables, tables));
        match (rows, used) {
            (Ok(rows), Ok(used)) => Ok((rows, used)),
            (rows, used) => Err(rows.err().into_iter().chain(used.err()).flatten().collect()),
        }
    }

    /// The contract of a plugin of the world `process`; `key` are the columns of the step's key.
    ///
    /// # Errors
    /// As [`PluginComponent::describe`].
    pub fn describe_keyed(
        &self,
        config_json: &str,
        input: &Schema,
        key: &[FieldRef],
        limits: &Limits,
    ) -> Result<Description<KeyedContract>, Vec<ContractFault>> {
        let answer = self.answer::<keyed::Contract>(config_json, input, &[], limits)?;
        contract::keyed::check(answer, input, key)
    }

    /// The contract of a plugin of the world `aggregate`.
    ///
    /// # Errors
    /// As [`PluginComponent::describe`].
    pub fn describe_aggregate(
        &self,
        config_json: &str,
        input: &Schema,
        limits: &Limits,
    ) -> Result<Description<AggregateContract>, Vec<ContractFault>> {
        let answer = self.answer::<aggregate::Contract>(config_json, input, &[], limits)?;
        contract::aggregate::check(answer, input)
    }

    fn answer<C: WorldContract>(
        &self,
        config_json: &str,
        input: &Schema,
        tables: &[Table],
        limits: &Limits,
    ) -> Result<C, Vec<ContractFault>> {
        if !C::WORLDS.contains(&self.world) {
            return Err(vec![contract::other_world(self.world, C::WORLDS)]);
        }
        check_config(config_json)?;
        let log = Arc::new(PluginLog::new(&self.digest, "describe", limits, None));
        let answer = PluginInstance::new(self, limits, &log)
            .and_then(|mut instance| instance.describe::<C>(config_json, &types::fields_to_wire(input), tables));
        match answer {
            Err(fault) => Err(vec![contract::no_answer(&fault)]),
            Ok(Err(faults)) => Err(contract::refusal(faults, &log)),
            Ok(Ok(answer)) => Ok(answer),
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

/// Finds the world's functions and checks their types: the ground on which they are called unchecked later.
fn exports(engine: &SandboxEngine, prepared: &InstancePre<HostState>, world: World) -> Result<Exports, SandboxError> {
    let component = prepared.component();
    let component_type = component.component_type();
    let prefix = format!("weir:plugin/{}@0.1.", world.name());
    let interface = component_type.exports(engine.engine()).find(|(name, _)| name.starts_with(&prefix));
    let interface = interface.ok_or(SandboxError::NoWorld { exports: Vec::new() })?.0.to_owned();
    let (_, index) = component.get_export(None, &interface).ok_or(SandboxError::NoWorld { exports: Vec::new() })?;
    let find = Finder { prepared, interface: index, world };
    let open = || find.export::<wire::OpenParams<'_>, wire::OpenResult>("open");
    Ok(match world {
        World::Transform => Exports {
            describe: find.export::<wire::DescribeParams<'_>, wire::DescribeResult>("describe")?,
            open: open()?,
            calls: vec![find.export::<wire::ProcessParams<'_>, wire::ProcessResult>("process")?],
        },
        World::Enrich => Exports {
            describe: find.export::<DescribeParams<'_>, DescribeResult>("describe")?,
            open: find.export::<OpenParams<'_>, wire::OpenResult>("open")?,
            calls: vec![find.export::<wire::ProcessParams<'_>, wire::ProcessResult>("process")?],
        },
        World::Attribute => Exports {
            describe: find.export::<wire::DescribeParams<'_>, wire::DescribeResult>("describe")?,
            open: open()?,
            calls: vec![find.export::<wire::PairsParams<'_>, wire::ProcessResult>("process")?],
        },
        World::Process => Exports {
            describe: find.export::<wire::DescribeParams<'_>, keyed::DescribeResult>("describe")?,
            open: open()?,
            calls: vec![
                find.export::<keyed::ProcessParams<'_>, keyed::ProcessedResult>("process")?,
                find.export::<keyed::FireParams<'_>, keyed::ProcessedResult>("fire")?,
            ],
        },
        World::Aggregate => Exports {
            describe: find.export::<wire::DescribeParams<'_>, aggregate::DescribeResult>("describe")?,
            open: open()?,
            calls: vec![
                find.export::<aggregate::RowsParams<'_>, aggregate::AccumulatedResult>("accumulate")?,
                find.export::<aggregate::RowsParams<'_>, aggregate::AccumulatedResult>("retract")?,
                find.export::<aggregate::MergeParams<'_>, aggregate::MergeResult>("merge")?,
                find.export::<aggregate::FinishParams<'_>, aggregate::FinishResult>("finish")?,
            ],
        },
    })
}

struct Finder<'a> {
    prepared: &'a InstancePre<HostState>,
    interface: ComponentExportIndex,
    world: World,
}

impl Finder<'_> {
    fn export<P, R>(&self, function: &str) -> Result<ComponentExportIndex, SandboxError>
    where
        P: ComponentNamedList + Lower,
        R: ComponentNamedList + Lift,
    {
        let world = self.world.name();
        let wrong = |cause: String| SandboxError::WrongType { world, function: function.to_owned(), cause };
        match self.prepared.component().get_export(Some(&self.interface), function) {
            Some((ComponentItem::ComponentFunc(found), index)) => {
                let checked = found.typecheck::<P, R>(&self.prepared.instance_type());
                checked.map(|()| index).map_err(|error| wrong(format!("{error:#}")))
            }
            Some(_) => Err(wrong("it is not a function".into())),
            None => Err(wrong("it is missing".into())),
        }
    }
}
