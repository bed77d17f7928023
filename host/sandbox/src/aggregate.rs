//! A plugin of the world `aggregate` as an [`AggregateFactory`] and its instances as [`AggregateFunction`]s.
//!
//! Invariant: as of a transform: the contract was agreed for the columns that calls bring, and an instance whose call
//! failed, or whose answer broke the contract, is dropped.

use std::borrow::Cow;
use std::sync::Arc;

use arrow_array::ArrayRef;
use arrow_schema::SchemaRef;
use weir_stream::{
    Accumulated, AggregateContract, AggregateFactory, AggregateFunction, FunctionFault, GroupAccumulators, GroupRows,
};

use crate::error::ContractFault;
use crate::instance::{PluginInstance, RowsCall};
use crate::lift;
use crate::limits::Limits;
use crate::log::{LogSink, PluginLog};
use crate::lower::{Rebased, depth_first};
use crate::plugin::PluginComponent;
use crate::wire::{self, aggregate};
use crate::{contract, types};

/// A plugin that aggregates in a step, its contract agreed.
pub struct WasmAggregateFactory {
    shared: Arc<Shared>,
}

struct Shared {
    plugin: Arc<PluginComponent>,
    contract: AggregateContract,
    config_json: String,
    input_fields: Vec<wire::Field>,
    limits: Limits,
    log: Arc<PluginLog>,
}

impl WasmAggregateFactory {
    /// Asks the plugin for its contract and checks it: the gate. `input` are the columns that it may read, the rest is as
    /// for [`crate::WasmTransformFactory::new`].
    ///
    /// # Errors
    /// Everything that does not fit, at once.
    pub fn new(
        plugin: &Arc<PluginComponent>,
        config_json: &str,
        input: &SchemaRef,
        limits: &Limits,
        step: &str,
        log: Option<LogSink>,
    ) -> Result<Self, Vec<ContractFault>> {
        limits.validate().map_err(contract::limits)?;
        let contract = plugin.describe_aggregate(config_json, input, limits)?.contract;
        let shared = Shared {
            plugin: Arc::clone(plugin),
            log: Arc::new(PluginLog::new(&contract.name, step, limits, log)),
            contract,
            config_json: config_json.to_owned(),
            input_fields: types::fields_to_wire(input),
            limits: limits.clone(),
        };
        Ok(Self { shared: Arc::new(shared) })
    }
}

impl AggregateFactory for WasmAggregateFactory {
    fn contract(&self) -> &AggregateContract {
        &self.shared.contract
    }

    fn digest(&self) -> &Arc<str> {
        self.shared.plugin.digest()
    }

    fn instantiate(&self) -> Result<Box<dyn AggregateFunction>, FunctionFault> {
        let instance = Some(self.shared.open()?);
        Ok(Box::new(WasmAggregate { shared: Arc::clone(&self.shared), instance }))
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
struct WasmAggregate {
    shared: Arc<Shared>,
    instance: Option<PluginInstance>,
}

impl WasmAggregate {
    /// One call and the check of its answer; the instance is kept only when all went well.
    fn call<T>(
        &mut self,
        call: impl FnOnce(&mut PluginInstance, &AggregateContract) -> Result<T, FunctionFault>,
    ) -> Result<T, FunctionFault> {
        let mut instance = match self.instance.take() {
            Some(instance) => instance,
            None => self.shared.open()?,
        };
        let answer = call(&mut instance, &self.shared.contract)?;
        self.instance = Some(instance);
        Ok(answer)
    }

    fn rows(
        &mut self,
        which: RowsCall,
        rows: &GroupRows,
        held: &GroupAccumulators,
    ) -> Result<Accumulated, FunctionFault> {
        let (columns, accumulators) = (depth_first(rows.columns.iter()), depth_first(held.columns.iter()));
        let (columns, accumulators) = (rebased(&columns), rebased(&accumulators));
        let (columns, accumulators) = (lowered(&columns), lowered(&accumulators));
        let batch = wire::Batch { rows: count(rows.group.len()), columns: &columns };
        let given = aggregate::Rows { batch, group: &rows.group, event_time_us: &rows.event_times_us };
        let held = aggregate::Accumulators { groups: &held.groups, columns: &accumulators };
        self.call(|instance, contract| {
            let answer = instance.aggregate_rows(which, (count(rows.groups), held, given))?;
            lift::aggregate::accumulated(answer, &contract.state, rows.group.len())
        })
    }
}

fn rebased<'a>(columns: &'a [Cow<'_, ArrayRef>]) -> Vec<Rebased<'a>> {
    columns.iter().map(|column| Rebased::new(column)).collect()
}

fn lowered<'a>(columns: &'a [Rebased<'_>]) -> Vec<wire::Column<'a>> {
    columns.iter().map(Rebased::column).collect()
}

fn count(entries: usize) -> u32 {
    u32::try_from(entries)
        .expect("a call has fewer groups than rows or keys shown at once, and fewer than 2^32 of either")
}

impl AggregateFunction for WasmAggregate {
    fn accumulate(&mut self, rows: &GroupRows, held: &GroupAccumulators) -> Result<Accumulated, FunctionFault> {
        self.rows(RowsCall::Accumulate, rows, held)
    }

    fn retract(&mut self, rows: &GroupRows, held: &GroupAccumulators) -> Result<Accumulated, FunctionFault> {
        self.rows(RowsCall::Retract, rows, held)
    }

    fn merge(&mut self, into: &[ArrayRef], other: &[ArrayRef]) -> Result<Vec<ArrayRef>, FunctionFault> {
        let pairs = into.first().map_or(0, |column| column.len());
        let (into, other) = (depth_first(into.iter()), depth_first(other.iter()));
        let (into, other) = (rebased(&into), rebased(&other));
        let (into, other) = (lowered(&into), lowered(&other));
        let batch = |columns| wire::Batch { rows: count(pairs), columns };
        self.call(|instance, contract| {
            let merged = instance.merge((batch(&into), batch(&other)))?;
            lift::aggregate::accumulators(merged, &contract.state, pairs)
        })
    }

    fn finish(&mut self, groups: usize, held: &GroupAccumulators) -> Result<ArrayRef, FunctionFault> {
        let columns = depth_first(held.columns.iter());
        let columns = rebased(&columns);
        let columns = lowered(&columns);
        let held = aggregate::Accumulators { groups: &held.groups, columns: &columns };
        self.call(|instance, contract| {
            let results = instance.finish((count(groups), held))?;
            lift::aggregate::results(results, &contract.gives, groups)
        })
    }
}
