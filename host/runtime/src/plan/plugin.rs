//! Plugins: the component behind a reference, and whether its contract fits the step.

use std::sync::Arc;

use arrow_schema::SchemaRef;
use weir_manifest::{Fault, Manifest};

use super::{Output, PlannedKind, PlannedPlugin, Planner, Side, component};
use crate::gate::{GateError, GateSite};
use crate::task::plugin::{PluginSite, Sample, with_digest_column};

impl Planner<'_> {
    pub(super) fn plugin(
        &mut self,
        step: &Arc<str>,
        plugin: &weir_manifest::PluginStep,
        input: &Side,
        manifest: &Manifest,
    ) -> Option<(Vec<Output>, PlannedKind)> {
        let limits = component::limits(&plugin.limits.or(&manifest.limits.plugin));
        let loaded = component::component_path(&manifest.resolve(&plugin.reference))
            .map_err(|message| Fault::new(plugin.reference.span, "plugin-missing", message))
            .and_then(|path| {
                crate::gate::load(self.engine, &path, &limits)
                    .map_err(|error| Fault::new(plugin.reference.span, "plugin", error.to_string()))
            });
        let component = loaded.map_err(|fault| self.fault(fault)).ok()?;
        let config = plugin.config.as_ref().map_or_else(|| "null".to_owned(), |config| config.value.to_string());
        let site = PluginSite {
            step: Arc::clone(step),
            input: Arc::clone(&input.schema),
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
            (0..contract.outputs.len()).map(|output| contract.output_schema(output, &input.schema)).collect();
        let named = contract.outputs.iter().zip(&raw).map(|(output, schema)| {
            let stamped = gate.site.digest_column.as_ref().map(|column| with_digest_column(schema, column));
            let schema = stamped.unwrap_or_else(|| Arc::clone(schema));
            Output { name: output.name.clone(), schema, changes: input.changes.clone() }
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
}
