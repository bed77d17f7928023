//! Aggregation by key without a window: its plan.

use std::ops::Range;
use std::sync::Arc;

use arrow_schema::SchemaRef;
use weir_manifest::{Fault, GroupStep, LATE_OUTPUT, Manifest};
use weir_operators::{AggregateSpec, GroupAggregate, GroupSpec, KeyEncoder, KeyedOperator};
use weir_stream::ChangeMode;

use super::aggregate_plugin::{Aggregates, Needs};
use super::{Output, PlannedKeyed, PlannedKind, PlannedPlugin, Planner, Side};

struct PlannedGroup {
    step: Arc<str>,
    input: SchemaRef,
    /// Name and expression.
    keys: Vec<(String, String)>,
    aggregates: Vec<AggregateSpec>,
    ttl_us: Option<i64>,
    retracts: bool,
    /// Among the aggregates.
    plugin: Option<PlannedPlugin>,
}

impl PlannedGroup {
    fn build(&self, key_groups: u16, owned: Range<u16>) -> Result<GroupAggregate, (usize, String)> {
        let key = self.key_encoder(0, key_groups).map_err(|error| (0, error))?.fields().to_vec();
        let spec = GroupSpec {
            step: Arc::clone(&self.step),
            key,
            aggregates: self.aggregates.clone(),
            ttl_us: self.ttl_us,
            retracts: self.retracts,
        };
        GroupAggregate::new(&spec, &self.input, owned).map_err(|(place, error)| (place, error.message))
    }
}

impl PlannedKeyed for PlannedGroup {
    fn key_encoder(&self, _port: usize, key_groups: u16) -> Result<KeyEncoder, String> {
        KeyEncoder::new(&self.keys, &self.input, key_groups).map_err(|(_, error)| error.message)
    }

    fn operator(&self, key_groups: u16, owned: Range<u16>) -> Result<Box<dyn KeyedOperator>, String> {
        Ok(Box::new(self.build(key_groups, owned).map_err(|(_, message)| message)?))
    }

    fn plugin(&self) -> Option<&PlannedPlugin> {
        self.plugin.as_ref()
    }

    fn plugin_mut(&mut self) -> Option<&mut PlannedPlugin> {
        self.plugin.as_mut()
    }
}

impl Planner<'_> {
    pub(super) fn group(
        &mut self,
        step: &Arc<str>,
        group: &GroupStep,
        input: &Side,
        manifest: &Manifest,
    ) -> Option<(Vec<Output>, PlannedKind)> {
        if input.changes == ChangeMode::Retract && group.ttl.limit.is_some() {
            let message = "with a time to live, keys would be forgotten whose rows may still be taken back";
            let fault = Fault::new(group.ttl.span, "time-to-live", message);
            self.fault(fault.next("write `ttl: never`: a key goes when all of its rows have been taken back"));
            return None;
        }
        let keys = self.keys(&group.key, input);
        let needs = Needs { merges: None, retracts: input.changes == ChangeMode::Retract };
        let aggregates = self.aggregates(step, &group.aggregate, needs, input, manifest);
        let (keys, Aggregates { specs: aggregates, plugin }) = (keys?, aggregates?);
        let planned = PlannedGroup {
            step: Arc::clone(step),
            input: Arc::clone(&input.schema),
            keys,
            aggregates,
            ttl_us: group.ttl.limit.map(weir_manifest::Duration::as_us),
            retracts: needs.retracts,
            plugin,
        };
        match planned.build(1, 0..1) {
            Ok(built) => {
                let key = planned.keys.iter().map(|(name, _)| name.clone()).collect();
                let main = Output::main(built.output_schema(), ChangeMode::Upsert { key, final_after_us: None });
                let late = Output { name: LATE_OUTPUT.into(), ..Output::main(&input.schema, input.changes.clone()) };
                Some((vec![main, late], PlannedKind::Keyed(Box::new(planned))))
            }
            Err((place, message)) => {
                let span = group.aggregate.iter().nth(place).map_or(group.ttl.span, |(_, call)| call.span());
                self.fault(Fault::new(span, "aggregate", message));
                None
            }
        }
    }
}
