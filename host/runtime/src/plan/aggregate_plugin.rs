//! A plugin among a step's aggregates: a component of the world `aggregate`, and the columns that it is given.

use std::sync::Arc;

use arrow_schema::{Field, Schema, SchemaRef};
use weir_manifest::{AggregateCall, AggregateOf, AggregatePlugin, Entries, Fault, Manifest, Spanned};
use weir_operators::{AggregateSpec, Expression, PluginSpec, Predicate};

use super::{PlannedPlugin, Planner, Side, aggregate};
use crate::clock::cpu_time;
use crate::function::Contract;
use crate::gate::PluginRole;

/// What a step asks of its aggregates beside adding rows.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Needs {
    /// Why accumulators will have to be merged, if they will.
    pub merges: Option<&'static str>,
    /// Whether rows will be taken back.
    pub retracts: bool,
}

/// The aggregates of a step.
pub(super) struct Aggregates {
    pub specs: Vec<AggregateSpec>,
    /// The component among them, if there is one.
    pub plugin: Option<PlannedPlugin>,
}

impl Planner<'_> {
    pub(super) fn aggregates(
        &mut self,
        step: &Arc<str>,
        calls: &Entries<AggregateCall>,
        needs: Needs,
        input: &Side,
        manifest: &Manifest,
    ) -> Option<Aggregates> {
        let (mut specs, mut plugin, mut sound) = (Vec::new(), None, true);
        for (name, call) in calls.iter() {
            let spec = match &call.of {
                AggregateOf::Call(of) => self.compiled(of, aggregate::plan(name, of, &input.schema), &input.from),
                AggregateOf::Plugin(of) if plugin.is_some() => self.one_plugin(of),
                AggregateOf::Plugin(of) => {
                    self.aggregate_plugin(step, name, of, needs, input, manifest).map(|planned| {
                        plugin = Some(planned.1);
                        planned.0
                    })
                }
            };
            let compiled = call.filter.as_ref().map(|text| {
                self.compiled(text, Predicate::compile(text, &input.schema), &input.from).map(|_| text.value.clone())
            });
            match (spec, compiled) {
                (Some(spec), None) => specs.push(spec),
                (Some(spec), Some(Some(filter))) => specs.push(AggregateSpec { filter: Some(filter), ..spec }),
                _ => sound = false,
            }
        }
        sound.then_some(Aggregates { specs, plugin })
    }

    /// A swap names a step, so a step has one plugin.
    fn one_plugin(&mut self, second: &AggregatePlugin) -> Option<AggregateSpec> {
        let message = "a step has one plugin among its aggregates, and this is the second";
        let fault = Fault::new(second.plugin.reference.span, "aggregate", message);
        self.fault(fault.next("give it a step of its own, from the same input"));
        None
    }

    fn aggregate_plugin(
        &mut self,
        step: &Arc<str>,
        name: &Spanned<String>,
        of: &AggregatePlugin,
        needs: Needs,
        input: &Side,
        manifest: &Manifest,
    ) -> Option<(AggregateSpec, PlannedPlugin)> {
        let given = match &of.reads {
            None => Arc::clone(&input.schema),
            Some(reads) => self.given(reads, input)?,
        };
        let Needs { merges, retracts } = needs;
        let role = PluginRole::Aggregate { column: name.value.clone(), merges, retracts };
        let (planned, contract) = self.gated(step, &of.plugin, role, &given, manifest)?;
        let Contract::Aggregate(contract) = contract else {
            unreachable!("the gate lets in what has the role's world")
        };
        let asked = of.plugin.limits.or(&manifest.limits.plugin);
        let given = |reads: &Entries<Spanned<String>>| {
            reads.iter().map(|(name, text)| (name.value.clone(), text.value.clone())).collect()
        };
        let spec = PluginSpec {
            contract: Arc::new(contract),
            reads: of.reads.as_ref().map(given),
            accumulator_bytes: asked.state_per_key().bytes() as usize,
            clock: cpu_time(),
        };
        Some((AggregateSpec::by_plugin(name, spec), planned))
    }

    /// The columns that `reads` gives the plugin.
    fn given(&mut self, reads: &Entries<Spanned<String>>, input: &Side) -> Option<SchemaRef> {
        let mut fields = Vec::new();
        for (name, text) in reads.iter() {
            let compiled = self.compiled(text, Expression::compile(text, &input.schema), &input.from);
            fields.extend(compiled.map(|made| Field::new(&name.value, made.data_type().clone(), made.is_nullable())));
        }
        (fields.len() == reads.len()).then(|| Arc::new(Schema::new(fields)))
    }
}
