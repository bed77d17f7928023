//! Windows that a plugin gives out: a step of its own is put in front, `step.windows`, which runs the plugin row by row; the
//! window's step then finds each row's window in two columns. So the plugin is swapped, watched and bisected as any other.

use std::sync::Arc;

use weir_manifest::{Manifest, WindowShape, WindowStep};
use weir_stream::ChangeMode;

use super::plugin::PluginUse;
use super::{NodeRef, PlannedInput, PlannedStep, Planner, Port, Side};

impl Planner<'_> {
    /// Puts the plugin of such a window in front of it: `inputs` and `sides` are the plugin's from there on. Other windows
    /// stay as they are.
    pub(super) fn assigned(
        &mut self,
        step: &Arc<str>,
        window: &WindowStep,
        inputs: &mut Vec<PlannedInput>,
        sides: &mut [Side],
        manifest: &Manifest,
    ) -> Option<()> {
        let WindowShape::Plugin(plugin) = &window.shape else { return Some(()) };
        let side = sides.first_mut()?;
        let id: Arc<str> = format!("{step}.windows").into();
        let (outputs, kind) = self.plugin(&id, plugin, PluginUse::Windows, side, manifest)?;
        (side.schema, side.changes) = (Arc::clone(&outputs.first()?.schema), ChangeMode::Append);
        let put_in = format!("a plugin says which windows of `{step}` a row is in");
        let from = Port { node: NodeRef::Step(self.steps.len()), output: 0 };
        let inputs = std::mem::replace(inputs, vec![PlannedInput { port: 0, from }]);
        self.steps.push(PlannedStep { id, inputs, outputs, kind, put_in: Some(put_in) });
        Some(())
    }
}
