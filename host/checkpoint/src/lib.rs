//! The epoch protocol, pure: `open -> seal -> durable -> expose -> acknowledge`.
//!
//! [`Protocol`] decides; it has no threads, no clock and does no I/O. The runtime feeds it [`Input`]s (what
//! happened) and carries out the [`Effect`]s that it answers (what must happen), so that a simulator can run the same
//! code against a model of log and sinks and crash after every effect.
//!
//! What it guarantees, whatever the order and delay of inputs:
//! * an epoch is exposed only after it is durable, each sink gets its entries in order and one at a time;
//! * after any crash each sink is sent exactly the entries that its target does not have, or the start is refused;
//! * an epoch in which nothing happened gets no number;
//! * at most [`Limits::sealed_not_durable`] epochs wait for the log, and a bounded number of bytes waits for sinks.
//!
//! It does not know what an epoch contains: contents stay with the runtime, named by barrier and epoch.

mod protocol;
mod sink;

pub use protocol::{Effect, Input, Limits, Phase, Protocol, Refusal, SealedEpoch};
pub use sink::SinkProgress;

#[cfg(test)]
mod tests;
