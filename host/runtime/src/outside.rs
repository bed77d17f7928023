//! What a run reaches outside of itself: disk, clock, connectors, and the sudden end that a test of recovery wants. The
//! real ones are the default; tests put others in their place and run the same engine.

use std::sync::Arc;

use weir_state::{Disk, RealDisk};
use weir_stream::{Sink, SinkError, Source, SourceError};

use crate::bind::Connectors;
use crate::clock::Clock;
use crate::plan::{Plan, PlannedSink, PlannedSource};

/// Puts something real, or fed, in the place of a logical source or sink.
pub trait Bindings: Send + Sync {
    /// # Errors
    /// The connector's own, for settings that it refuses.
    fn source(&self, planned: &PlannedSource, plan: &Plan) -> Result<Box<dyn Source>, SourceError>;

    /// `identity`: what the target knows the sink as.
    ///
    /// # Errors
    /// As [`Bindings::source`].
    fn sink(&self, planned: &PlannedSink, identity: &str, plan: &Plan) -> Result<Box<dyn Sink>, SinkError>;
}

#[derive(Clone)]
pub struct Outside {
    pub disk: Arc<dyn Disk>,
    pub clock: Clock,
    pub bindings: Arc<dyn Bindings>,
    /// Ends everything at a crash point. The machine's never returns; a test's makes the disk refuse, and the run ends.
    pub crash: Arc<dyn Fn() + Send + Sync>,
}

impl Default for Outside {
    fn default() -> Self {
        Self {
            disk: Arc::new(RealDisk),
            clock: Clock::machine(),
            bindings: Arc::new(Connectors),
            crash: Arc::new(|| std::process::abort()),
        }
    }
}

impl std::fmt::Debug for Outside {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Outside").field("clock", &self.clock).finish_non_exhaustive()
    }
}
