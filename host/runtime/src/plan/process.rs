//! Keyed plugins: a component of the world `process`, with the step's key.

use std::ops::Range;
use std::sync::Arc;

use weir_operators::{KeyEncoder, KeyedOperator, ProcessLimits, ProcessSpec, ProcessStep};
use weir_stream::KeyedContract;

use super::{PlannedKeyed, PlannedPlugin};
use crate::clock::cpu_time;

pub(super) struct PlannedProcess {
    pub(super) plugin: PlannedPlugin,
    /// Name and expression.
    pub(super) keys: Vec<(String, String)>,
    pub(super) contract: Arc<KeyedContract>,
    pub(super) limits: ProcessLimits,
}

impl PlannedKeyed for PlannedProcess {
    fn key_encoder(&self, _port: usize, key_groups: u16) -> Result<KeyEncoder, String> {
        KeyEncoder::new(&self.keys, &self.plugin.gate.site.input, key_groups).map_err(|(_, error)| error.message)
    }

    fn operator(&self, key_groups: u16, owned: Range<u16>) -> Result<Box<dyn KeyedOperator>, String> {
        let spec = ProcessSpec {
            step: Arc::clone(&self.plugin.gate.site.step),
            input: Arc::clone(&self.plugin.gate.site.input),
            key: self.key_encoder(0, key_groups)?.fields().to_vec(),
            contract: Arc::clone(&self.contract),
            limits: self.limits,
            clock: cpu_time(),
        };
        Ok(Box::new(ProcessStep::new(spec, owned)?))
    }

    fn plugin(&self) -> Option<&PlannedPlugin> {
        Some(&self.plugin)
    }

    fn plugin_mut(&mut self) -> Option<&mut PlannedPlugin> {
        Some(&mut self.plugin)
    }
}
