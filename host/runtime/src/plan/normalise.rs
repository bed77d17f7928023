//! The step that the planner puts in where a table comes to a step that must take back what its rows replace.

use std::sync::Arc;

use weir_operators::Normalise;
use weir_stream::ChangeMode;

use super::by_key::PlannedByKey;
use super::{NodeRef, Output, PlannedInput, PlannedKind, PlannedStep, Planner, Port, Side, changes};

/// Its id is that of the step that it stands before, a point and this; no id of a manifest has a point.
const NAME: &str = "normalise";

impl Planner<'_> {
    /// Puts the step between a table and `step`, which reads changes with what they take back from then on.
    pub(super) fn normalise(&mut self, step: &str, inputs: &mut [PlannedInput], sides: &mut [Side]) -> Option<()> {
        // A table is read alone.
        let ([input], [side]) = (inputs, sides) else { return Some(()) };
        let ChangeMode::Upsert { key, final_after_us } = &side.changes else { return Some(()) };
        let id: Arc<str> = format!("{step}.{NAME}").into();
        let columns: Vec<_> =
            key.iter().map(|name| side.from.clone().map(|_| format!("\"{}\"", name.replace('"', "\"\"")))).collect();
        let keys = self.step_keys(&columns, side)?;
        let normalise = Normalise::new(&id, &keys.fields, keys.rows, *final_after_us);
        let planned = PlannedByKey { input: Arc::clone(&side.schema), keys: keys.named, step: normalise };
        let put_in = format!(
            "`{}` {}, and `{step}` must take back what they replace",
            side.from.value,
            changes::doing(&side.changes)
        );
        side.changes = ChangeMode::Retract;
        let outputs = vec![Output::main(&side.schema, ChangeMode::Retract)];
        let read = std::mem::replace(&mut input.from, Port { node: NodeRef::Step(self.steps.len()), output: 0 });
        let inputs = vec![PlannedInput { port: 0, from: read }];
        let kind = PlannedKind::Keyed(Box::new(planned));
        self.steps.push(PlannedStep { id, inputs, outputs, kind, put_in: Some(put_in) });
        Some(())
    }
}
