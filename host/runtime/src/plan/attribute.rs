//! Attribution: a step of its own is put behind a join, `step.attribute`, which runs the plugin on the pairs that the join has
//! gathered; who reads the join reads what comes of it. So the plugin is swapped, watched and bisected as any other.

use std::sync::Arc;

use arrow_schema::SchemaRef;
use weir_manifest::{Fault, JoinStep, JoinTime, JoinWord, Manifest, Spanned};
use weir_operators::JoinKind;
use weir_operators::join::pair_schema;
use weir_stream::ChangeMode;

use super::join::kind;
use super::plugin::PluginUse;
use super::{NodeRef, PlannedInput, PlannedStep, Planner, Port, Side};
use crate::gate::PairColumns;

impl Planner<'_> {
    /// Whether the pairs of a join can be decided on by left row.
    pub(super) fn can_attribute(&mut self, join: &JoinStep) -> bool {
        let Some(plugin) = &join.attribute else { return true };
        let mut faults = Vec::new();
        if join.time == JoinTime::AsOf {
            let message = "a left row meets one version of a table `as_of` its time: there is nothing to attribute";
            let fault = Fault::new(plugin.reference.span, "join-attribute", message);
            faults
                .push(fault.next("take `attribute` away, or join with `within` the stream that the table is made of"));
        }
        let word = join.kind.as_ref().filter(|word| !matches!(word.value, JoinWord::Inner | JoinWord::Left));
        if let Some(word) = word {
            let message = "an attribution decides on each left row's pairs, so its join is inner or left";
            let fault = Fault::new(word.span, "join-attribute", message);
            faults
                .push(fault.next("to decide on the right rows, make them the left side: turn `from` and `with` round"));
        }
        let sound = faults.is_empty();
        faults.into_iter().for_each(|fault| self.fault(fault));
        sound
    }

    /// Puts the plugin of the join planned last, if it has one, behind it; `left` is what the join is `from`.
    pub(super) fn attributed(
        &mut self,
        id: &Spanned<String>,
        join: &JoinStep,
        left: &Spanned<String>,
        manifest: &Manifest,
    ) {
        let (Some(plugin), Some(join_number)) = (&join.attribute, self.steps.len().checked_sub(1)) else { return };
        let step: Arc<str> = format!("{}.attribute", id.value).into();
        let made = self.pair_columns(join, left).and_then(|(schema, columns)| {
            let side = Side { from: id.clone(), schema, changes: ChangeMode::Append };
            self.plugin(&step, plugin, PluginUse::Pairs(columns), &side, manifest)
        });
        let (Some((outputs, kind)), Some(main)) =
            (made, self.ports.get_mut(&id.value).and_then(|ports| ports.first_mut()))
        else {
            self.ports.remove(&id.value);
            return;
        };
        *main = (Port { node: NodeRef::Step(join_number + 1), output: 0 }, outputs[0].clone());
        let from = Port { node: NodeRef::Step(join_number), output: 0 };
        let inputs = vec![PlannedInput { port: 0, from }];
        let put_in = Some(format!("a plugin decides which pairs of `{}` go on", id.value));
        self.steps.push(PlannedStep { id: step, inputs, outputs, kind, put_in });
    }

    /// The columns of the pairs of a join that is sound, as they come out and as the plugin sees them.
    fn pair_columns(&mut self, join: &JoinStep, left: &Spanned<String>) -> Option<(SchemaRef, PairColumns)> {
        let (left, right) = (self.port(left)?.1.schema, self.port(&join.with)?.1.schema);
        let prefix = join.prefix.as_ref().map(|prefix| prefix.value.as_str()).unwrap_or_default();
        let kind = kind(join.kind.as_ref().map(|kind| kind.value).unwrap_or_default());
        let schema = |kind| pair_schema(kind, prefix, &left, &right).ok();
        let columns =
            PairColumns { pair: schema(JoinKind::Inner)?, left: Arc::clone(&left), keeps_left: kind == JoinKind::Left };
        Some((schema(kind)?, columns))
    }
}
