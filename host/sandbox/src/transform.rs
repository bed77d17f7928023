//! A row-wise plugin as a [`TransformFactory`] and its instances as [`Transform`]s.
//!
//! Invariant: the contract was agreed for exactly the input schema that the batches have. An instance whose call
//! failed, or whose answer broke the contract, is dropped; the next call makes a fresh one.

use std::sync::Arc;

use arrow_schema::SchemaRef;
use weir_stream::pairs::{GROUP_COLUMNS, Groups};
use weir_stream::{
    Batch, Fetch, FunctionFault, KeyedTable, Transform, TransformContract, TransformFactory, Transformed,
};

use crate::component::World;
use crate::error::ContractFault;
use crate::instance::PluginInstance;
use crate::lift;
use crate::limits::Limits;
use crate::log::{LogSink, PluginLog};
use crate::lower::{Rebased, depth_first};
use crate::plugin::PluginComponent;
use crate::tables::{UsedTable, to_wire};
use crate::{contract, types, wire};

/// A plugin in a step, its contract agreed.
pub struct WasmTransformFactory {
    shared: Arc<Shared>,
}

struct Shared {
    plugin: Arc<PluginComponent>,
    contract: TransformContract,
    config_json: String,
    input: SchemaRef,
    input_fields: Vec<wire::Field>,
    /// Positions of `contract.reads` in the input.
    reads: Vec<usize>,
    limits: Limits,
    /// What the plugin may ask, of the world `enrich`.
    asks: Option<Asks>,
    log: Arc<PluginLog>,
}

/// What the operator lets a plugin of the world `enrich` ask.
#[derive(Clone, Default)]
pub struct Grants {
    /// Services.
    pub http: Option<Arc<dyn Fetch>>,
    /// Tables.
    pub tables: Vec<Arc<dyn KeyedTable>>,
}

impl Grants {
    /// Whether there is anything to be asked.
    pub fn is_empty(&self) -> bool {
        self.http.is_none() && self.tables.is_empty()
    }
}

/// What one does.
struct Asks {
    client: Option<Arc<dyn Fetch>>,
    shown: Vec<wire::tables::Table>,
    tables: Vec<UsedTable>,
}

impl WasmTransformFactory {
    /// Asks the plugin for its contract and checks it: the gate. `config_json` is `null` for a step without
    /// configuration; `step` stands in log lines, which go to `tracing` and to `log`.
    ///
    /// # Errors
    /// Everything that does not fit, at once.
    pub fn new(
        plugin: &Arc<PluginComponent>,
        config_json: &str,
        input: SchemaRef,
        limits: &Limits,
        step: &str,
        log: Option<LogSink>,
    ) -> Result<Self, Vec<ContractFault>> {
        Self::granted(plugin, config_json, input, limits, step, log, &Grants::default())
    }

    /// [`WasmTransformFactory::new`] for a plugin of the world `enrich`, which asks what `grants` has; one of the world
    /// `transform` has none.
    ///
    /// # Errors
    /// As [`WasmTransformFactory::new`].
    pub fn granted(
        plugin: &Arc<PluginComponent>,
        config_json: &str,
        input: SchemaRef,
        limits: &Limits,
        step: &str,
        log: Option<LogSink>,
        grants: &Grants,
    ) -> Result<Self, Vec<ContractFault>> {
        match plugin.world() {
            World::Attribute => return Err(vec![contract::other_world(World::Attribute, &[])]),
            World::Process => {}
            world if grants.is_empty() == (world == World::Enrich) => return Err(vec![contract::other_grant(world)]),
            _ => {}
        }
        Self::agreed(plugin, config_json, input, limits, (step, log), grants)
    }

    /// As [`WasmTransformFactory::new`] for a plugin of the world `attribute`: its batches are pairs by group
    /// ([`weir_stream::pairs`]) without rows that close one; `input` are the columns of a pair.
    ///
    /// # Errors
    /// As [`WasmTransformFactory::new`].
    pub fn attributing(
        plugin: &Arc<PluginComponent>,
        config_json: &str,
        input: SchemaRef,
        limits: &Limits,
        step: &str,
        log: Option<LogSink>,
        grants: &Grants,
    ) -> Result<Self, Vec<ContractFault>> {
        match plugin.world() {
            World::Attribute if !grants.is_empty() => Err(vec![contract::other_grant(World::Attribute)]),
            World::Attribute => Self::agreed(plugin, config_json, input, limits, (step, log), grants),
            world => Err(vec![contract::other_world(world, &[World::Attribute])]),
        }
    }

    fn agreed(
        plugin: &Arc<PluginComponent>,
        config_json: &str,
        input: SchemaRef,
        limits: &Limits,
        (step, log): (&str, Option<LogSink>),
        grants: &Grants,
    ) -> Result<Self, Vec<ContractFault>> {
        limits.validate().map_err(contract::limits)?;
        let (contract, asks) = match plugin.world() {
            World::Enrich => {
                let (described, tables) = plugin.describe_asking(config_json, &input, &grants.tables, limits)?;
                let shown = grants.tables.iter().map(|table| to_wire(table.as_ref())).collect();
                (described.contract, Some(Asks { client: grants.http.clone(), shown, tables }))
            }
            _ => (plugin.describe(config_json, &input, limits)?, None),
        };
        let position = |name: &String| input.index_of(name).expect("the gate checked that every column read exists");
        let reads = contract.reads.iter().map(position).collect();
        let log = Arc::new(PluginLog::new(&contract.name, step, limits, log));
        let input_fields = types::fields_to_wire(&input);
        let shared = Shared {
            plugin: Arc::clone(plugin),
            contract,
            config_json: config_json.to_owned(),
            input,
            input_fields,
            reads,
            limits: limits.clone(),
            asks,
            log,
        };
        Ok(Self { shared: Arc::new(shared) })
    }

    pub fn plugin(&self) -> &Arc<PluginComponent> {
        &self.shared.plugin
    }

    pub fn limits(&self) -> &Limits {
        &self.shared.limits
    }

    /// Log lines of this step that were dropped for their rate.
    pub fn dropped_log_lines(&self) -> u64 {
        self.shared.log.dropped()
    }
}

impl TransformFactory for WasmTransformFactory {
    fn contract(&self) -> &TransformContract {
        &self.shared.contract
    }

    fn waits(&self) -> bool {
        self.shared.asks.is_some()
    }

    fn digest(&self) -> &Arc<str> {
        self.shared.plugin.digest()
    }

    fn instantiate(&self) -> Result<Box<dyn Transform>, FunctionFault> {
        let instance = Some(self.shared.open()?);
        Ok(Box::new(WasmTransform { shared: Arc::clone(&self.shared), instance, last_call_cpu_ns: 0 }))
    }
}

impl Shared {
    fn open(&self) -> Result<PluginInstance, FunctionFault> {
        let mut instance = PluginInstance::new(&self.plugin, &self.limits, &self.log)?;
        match &self.asks {
            None => instance.open(&self.config_json, &self.input_fields)?,
            Some(asks) => {
                instance.open_with(&self.config_json, &self.input_fields, &asks.shown)?;
                instance.allow(asks.client.clone(), asks.tables.clone());
            }
        }
        Ok(instance)
    }
}

/// One task's instance.
struct WasmTransform {
    shared: Arc<Shared>,
    instance: Option<PluginInstance>,
    last_call_cpu_ns: u64,
}

impl Transform for WasmTransform {
    fn process(&mut self, input: &Batch) -> Result<Transformed, FunctionFault> {
        if input.is_empty() {
            return Ok(Transformed::default());
        }
        let shared = &*self.shared;
        let mut instance = match self.instance.take() {
            Some(instance) => instance,
            None => shared.open()?,
        };
        let answer = call(&mut instance, shared, input);
        self.last_call_cpu_ns = instance.last_call_cpu().as_nanos() as u64;
        let TransformContract { outputs, cardinality, .. } = &shared.contract;
        let transformed = lift::lift(answer?, outputs, *cardinality, input.rows(), &shared.limits)?;
        self.instance = Some(instance);
        Ok(transformed)
    }

    fn last_call_cpu_ns(&self) -> u64 {
        self.last_call_cpu_ns
    }
}

fn call(instance: &mut PluginInstance, shared: &Shared, input: &Batch) -> Result<wire::Transformed, FunctionFault> {
    let is_pairs = shared.plugin.world() == World::Attribute;
    let agreed = shared.input.fields().len() + if is_pairs { GROUP_COLUMNS } else { 0 };
    let columns = input.columns.columns();
    assert_eq!(columns.len(), agreed, "batches have the schema agreed at load");
    let read = depth_first(shared.reads.iter().map(|column| &columns[*column]));
    let rebased: Vec<Rebased<'_>> = read.iter().map(|column| Rebased::new(column)).collect();
    let columns: Vec<wire::Column<'_>> = rebased.iter().map(Rebased::column).collect();
    let rows = u32::try_from(input.rows()).expect("a batch has fewer than 2^32 rows: its records are numbered by u32");
    let batch = wire::Batch { rows, columns: &columns };
    if !is_pairs {
        return instance.process(batch);
    }
    let Groups { numbers, left_times_us, right_times_us } = Groups::of(input);
    let (group, right_time_us) = (numbers, right_times_us.values().as_ref());
    instance.attribute(wire::Pairs { batch, group, left_time_us: left_times_us, right_time_us })
}
