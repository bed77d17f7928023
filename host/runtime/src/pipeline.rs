//! A pipeline from start to end: incarnation after incarnation, until it is finished, stopped or only an operator can
//! help.

use std::sync::Arc;

use crossbeam_channel::{Receiver, unbounded};
use weir_sandbox::SandboxEngine;

use crate::control::Control;
use crate::coordinator::{Command, Outcome, SwapRequest, SwapResult};
use crate::incarnation::{self, Override, Overrides, Setup, StartError};
use crate::plan::Plan;
use crate::status::{PipelineState, StatusBoard};

/// How a pipeline ended.
#[derive(Debug, PartialEq, Eq)]
pub enum End {
    /// Every bounded source was read to its end and everything is exposed.
    Finished,
    /// Stopped on request; `owed`: what sinks are still owed, by sink and number of epochs.
    Stopped {
        owed: Vec<(String, u64)>,
    },
    Aborted,
}

/// Why a pipeline ended with a fault.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    #[error(transparent)]
    Start(#[from] StartError),
    #[error("{message}")]
    Failed { message: String, next: String },
}

impl RunError {
    /// The next act, where the message does not say it.
    pub fn next(&self) -> Option<&str> {
        match self {
            Self::Failed { next, .. } => Some(next),
            Self::Start(
                StartError::Source { next, .. } | StartError::Sink { next, .. } | StartError::Lookup { next, .. },
            ) => Some(next),
            Self::Start(_) => None,
        }
    }
}

/// One pipeline, planned and not yet started.
pub struct Pipeline {
    plan: Plan,
    setup: Setup,
    engine: SandboxEngine,
    control: Arc<Control>,
    commands: Receiver<Command>,
}

impl Pipeline {
    pub fn new(plan: Plan, setup: Setup, engine: SandboxEngine) -> Self {
        let profile = plan.manifest.profile().unwrap_or("").into();
        let status = Arc::new(StatusBoard::new(Arc::clone(&plan.pipeline), profile));
        let (sender, commands) = unbounded();
        Self { plan, setup, engine, control: Arc::new(Control::new(status, sender)), commands }
    }

    /// The handle to look at it and to steer it, valid before, during and after the run.
    pub fn control(&self) -> &Arc<Control> {
        &self.control
    }

    /// Runs to the end on the calling thread and threads of its own.
    ///
    /// # Errors
    /// See [`RunError`]; what was durable stays so.
    pub fn run(self) -> Result<End, RunError> {
        let status = Arc::clone(self.control.status());
        let mut overrides = Overrides::new();
        loop {
            // An order stands until an epoch made under it is durable; then the log has it.
            let durable = status.status().durable_epoch;
            overrides.retain(|_, order| order.since_epoch >= durable);
            match self.incarnation(&overrides)? {
                Outcome::Finished => {
                    status.state(PipelineState::Finished);
                    return Ok(End::Finished);
                }
                Outcome::Stopped { owed } => return Ok(End::Stopped { owed }),
                Outcome::Aborted => return Ok(End::Aborted),
                Outcome::CaughtUp => {}
                Outcome::RollBack { step, to, reason } => {
                    tracing::error!("step `{step}`: {reason}; the version before comes back");
                    status.rolled_back(&step, &reason);
                    let since_epoch = status.status().durable_epoch;
                    overrides.insert(step, Override { digest: to, since_epoch });
                }
                Outcome::Grown { source, partitions } => {
                    tracing::info!("source {source} has {partitions} partitions now; those that came are read as well");
                }
                Outcome::Paused { step, reason, owed } => {
                    let why = format!("step `{step}` is paused: {reason}; swap in a version that works, or stop");
                    tracing::error!("{why}");
                    status.stuck(PipelineState::Paused, why);
                    match self.wait_for_operator() {
                        Some(request) => self.swap_while_paused(&request, &mut overrides),
                        None => return Ok(End::Stopped { owed }),
                    }
                }
                Outcome::Failed { message, next } => {
                    status.stuck(PipelineState::Failed, message.clone());
                    return Err(RunError::Failed { message, next });
                }
            }
        }
    }

    fn incarnation(&self, overrides: &Overrides) -> Result<Outcome, RunError> {
        let ran = incarnation::run(&self.plan, &self.setup, &self.engine, overrides, &self.control, &self.commands);
        match ran {
            Err(StartError::Stopped) => Ok(Outcome::Stopped { owed: Vec::new() }),
            other => Ok(other?),
        }
    }

    /// While paused only a swap or the end changes anything.
    fn wait_for_operator(&self) -> Option<SwapRequest> {
        loop {
            match self.commands.recv() {
                Ok(Command::Swap(request)) => return Some(request),
                // Its state is closed: the dropped reply says so.
                Ok(Command::CopyState { .. }) => {}
                Ok(Command::Stop { .. } | Command::Abort) | Err(_) => return None,
            }
        }
    }

    fn swap_while_paused(&self, request: &SwapRequest, overrides: &mut Overrides) {
        let order = &request.order;
        let status = self.control.status().status();
        let digest = Arc::clone(order.function.digest());
        overrides.insert(Arc::clone(&order.step), Override { digest, since_epoch: status.durable_epoch });
        let epoch = status.durable_epoch + 1;
        // The caller may have given up; the swap stands.
        let _ = request.reply.send(SwapResult { epoch, pause_ns: None, counts_before: status.steps });
    }
}
