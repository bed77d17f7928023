//! A plugin of the world `process` as a [`KeyedFunctionFactory`] and its instances as [`KeyedFunction`]s.
//!
//! Invariant: as of a transform: the contract was agreed for the schema and key that rows have, and an instance whose
//! call failed, or whose answer broke the contract, is dropped.

use std::sync::Arc;

use arrow_schema::{FieldRef, SchemaRef};
use weir_stream::{
    Batch, CallKeys, Firings, FunctionFault, KeyedContract, KeyedFunction, KeyedFunctionFactory, OutputContract,
    Processed,
};

use crate::error::ContractFault;
use crate::instance::PluginInstance;
use crate::lift;
use crate::limits::Limits;
use crate::log::{LogSink, PluginLog};
use crate::lower::{Rebased, depth_first};
use crate::plugin::PluginComponent;
use crate::wire::{self, keyed};
use crate::{contract, types};

/// A keyed plugin in a step, its contract agreed.
pub struct WasmKeyedFactory {
    shared: Arc<Shared>,
}

struct Shared {
    plugin: Arc<PluginComponent>,
    contract: KeyedContract,
    /// Those of `contract`.
    outputs: Vec<OutputContract>,
    config_json: String,
    input: SchemaRef,
    input_fields: Vec<wire::Field>,
    /// Positions of `contract.reads` in the input.
    reads: Vec<usize>,
    limits: Limits,
    log: Arc<PluginLog>,
}

impl WasmKeyedFactory {
    /// Asks the plugin for its contract and checks it: the gate. `key` are the columns of the step's key, the rest is as
    /// for [`crate::WasmTransformFactory::new`].
    ///
    /// # Errors
    /// Everything that does not fit, at once.
    pub fn new(
        plugin: &Arc<PluginComponent>,
        config_json: &str,
        input: SchemaRef,
        key: &[FieldRef],
        limits: &Limits,
        step: &str,
        log: Option<LogSink>,
    ) -> Result<Self, Vec<ContractFault>> {
        limits.validate().map_err(contract::limits)?;
        let contract = plugin.describe_keyed(config_json, &input, key, limits)?.contract;
        let position = |name: &String| input.index_of(name).expect("the gate checked that every column read exists");
        let reads = contract.reads.iter().map(position).collect();
        let log = Arc::new(PluginLog::new(&contract.name, step, limits, log));
        let shared = Shared {
            plugin: Arc::clone(plugin),
            outputs: contract.outputs.iter().map(|output| output.output.clone()).collect(),
            contract,
            config_json: config_json.to_owned(),
            input_fields: types::fields_to_wire(&input),
            input,
            reads,
            limits: limits.clone(),
            log,
        };
        Ok(Self { shared: Arc::new(shared) })
    }
}

impl KeyedFunctionFactory for WasmKeyedFactory {
    fn contract(&self) -> &KeyedContract {
        &self.shared.contract
    }

    fn digest(&self) -> &Arc<str> {
        self.shared.plugin.digest()
    }

    fn instantiate(&self) -> Result<Box<dyn KeyedFunction>, FunctionFault> {
        let instance = Some(self.shared.open()?);
        Ok(Box::new(WasmKeyed { shared: Arc::clone(&self.shared), instance }))
    }
}

impl Shared {
    fn open(&self) -> Result<PluginInstance, FunctionFault> {
        let mut instance = PluginInstance::new(&self.plugin, &self.limits, &self.log)?;
        instance.open(&self.config_json, &self.input_fields)?;
        Ok(instance)
    }
}

/// One task's instance.
struct WasmKeyed {
    shared: Arc<Shared>,
    instance: Option<PluginInstance>,
}

impl WasmKeyed {
    /// One call with the state of its keys; the instance is kept only when all went well.
    fn call(
        &mut self,
        keys: &CallKeys,
        rows: usize,
        call: impl FnOnce(&mut PluginInstance, keyed::Keys<'_>) -> Result<keyed::Processed, FunctionFault>,
    ) -> Result<Processed, FunctionFault> {
        let shared = &*self.shared;
        let mut instance = match self.instance.take() {
            Some(instance) => instance,
            None => shared.open()?,
        };
        let held: Vec<_> = keys.states.iter().map(|state| depth_first(state.columns.iter())).collect();
        let rebased: Vec<Vec<Rebased<'_>>> =
            held.iter().map(|columns| columns.iter().map(|column| Rebased::new(column)).collect()).collect();
        let columns: Vec<Vec<wire::Column<'_>>> =
            rebased.iter().map(|columns| columns.iter().map(Rebased::column).collect()).collect();
        let entries = keys.states.iter().zip(&columns);
        let states: Vec<keyed::Entries<'_>> =
            entries.map(|(state, columns)| keyed::Entries { offsets: &state.offsets, columns }).collect();
        let count = u32::try_from(keys.count).expect("a call has fewer keys than rows, and fewer than 2^32 rows");
        let answer = call(&mut instance, keyed::Keys { count, states: &states, now_us: keys.now_us })?;
        let processed = lift::keyed::lift(answer, &shared.contract, &shared.outputs, rows, &shared.limits)?;
        self.instance = Some(instance);
        Ok(processed)
    }
}

impl KeyedFunction for WasmKeyed {
    fn process(&mut self, keys: &CallKeys, rows: &Batch, row_keys: &[u32]) -> Result<Processed, FunctionFault> {
        let shared = Arc::clone(&self.shared);
        assert_eq!(rows.columns.num_columns(), shared.input.fields().len(), "rows have the schema agreed at load");
        let columns = rows.columns.columns();
        let read = depth_first(shared.reads.iter().map(|column| &columns[*column]));
        let rebased: Vec<Rebased<'_>> = read.iter().map(|column| Rebased::new(column)).collect();
        let columns: Vec<wire::Column<'_>> = rebased.iter().map(Rebased::column).collect();
        let count = u32::try_from(rows.rows()).expect("a batch has fewer than 2^32 rows");
        let batch = wire::Batch { rows: count, columns: &columns };
        let given = keyed::Rows { batch, key: row_keys, event_time_us: &rows.event_times_us };
        self.call(keys, rows.rows(), |instance, keys| instance.process_keyed(keys, given))
    }

    fn fire(&mut self, keys: &CallKeys, firings: &Firings) -> Result<Processed, FunctionFault> {
        let given = keyed::Firings { timer: &firings.timers, key: &firings.keys, time_us: &firings.times_us };
        self.call(keys, firings.timers.len(), |instance, keys| instance.fire(keys, given))
    }
}
