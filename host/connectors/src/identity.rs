//! Who owns a target: the pipeline and the sink in it. Every sink writes this into its target, so that a target
//! that already belongs to another pipeline or sink is refused instead of mixed.

use weir_stream::SinkError;

/// Names one sink of one pipeline; the key of its progress in the target.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SinkIdentity {
    pub pipeline: String,
    pub sink: String,
}

impl SinkIdentity {
    pub fn new(pipeline: impl Into<String>, sink: impl Into<String>) -> Self {
        Self { pipeline: pipeline.into(), sink: sink.into() }
    }
}

impl std::fmt::Display for SinkIdentity {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "sink `{}` of pipeline `{}`", self.sink, self.pipeline)
    }
}

/// A [`SinkError::Fatal`] from its two halves: what is wrong, and the next act.
pub(crate) fn fatal(message: impl Into<String>, next: impl Into<String>) -> SinkError {
    SinkError::Fatal { message: message.into(), next: next.into() }
}

/// The target's chain of epochs and the entry's do not meet: state and target are not of the same history.
pub(crate) fn chain_broken(target: &str, holds: u64, previous: u64) -> SinkError {
    fatal(
        format!("{target} holds epoch {holds}, but the entry to be written follows epoch {previous}"),
        "restore the target or the state folder so that both are of the same run, or start the sink on a new target",
    )
}

/// Another instance raised the generation.
pub(crate) fn fenced(target: &str, mine: u64, found: u64) -> SinkError {
    SinkError::Fenced(format!("{target} was taken over by another instance (generation {found}, this one is {mine})"))
}
