//! Whether the sources pause: the protocol may want it, and so may the budget of state.

use std::time::{Duration, Instant};

use weir_checkpoint::Input;

use super::Coordinator;

/// How often a barrier is asked for while the state is beyond its budget: state leaves memory at barriers, and sources that
/// pause bring none about. No more often than tasks measure their state.
const ASK_EVERY: Duration = Duration::from_millis(250);

/// Who wants the sources to pause.
#[derive(Debug, Default)]
pub struct Pausing {
    by_protocol: bool,
    by_budget: bool,
    asked_at: Option<Instant>,
}

impl Coordinator {
    pub(super) fn pause_by_protocol(&mut self, pause: bool) {
        self.pausing.by_protocol = pause;
        self.apply_pausing();
    }

    /// Looks whether the state has outgrown or come back into its budget.
    pub(super) fn watch_state_budget(&mut self) {
        let budget = &self.wiring.shared.state_budget;
        let exceeded = budget.is_exceeded();
        if exceeded != self.pausing.by_budget {
            self.pausing.by_budget = exceeded;
            self.wiring.status.trouble("state", exceeded.then(|| budget.message()));
            self.apply_pausing();
        }
        if exceeded && self.pausing.asked_at.is_none_or(|asked_at| asked_at.elapsed() >= ASK_EVERY) {
            self.pausing.asked_at = Some(Instant::now());
            self.input(Input::BarrierWanted);
        }
    }

    fn apply_pausing(&self) {
        self.wiring.shared.set_paused(self.pausing.by_protocol || self.pausing.by_budget);
    }
}
