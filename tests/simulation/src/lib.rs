//! The whole way of an epoch, simulated from one seed: the real protocol and the real store on a simulated disk, between
//! a model of sources and tasks and targets that misbehave.
//!
//! Safety phase: several lives, in which replies come in any order or not at all, deliveries come twice or from an owner
//! that was taken over, the disk is full, syncs fail, barriers find nothing, and the power goes at any operation. Liveness
//! phase: nothing fails any more, and the pipeline must come to its end within a bound. Then every row is in its target
//! once and in order, the state is what the rows make, and a state or a target of yesterday is refused.

mod life;
mod model;
mod target;
mod world;

pub use world::{Seen, simulate};

/// Runs `count` seeds from `first` on and answers what was met; the message of a failure tells how to run it again.
///
/// # Errors
/// The first broken promise.
pub fn simulate_all(first: u64, count: u64) -> Result<Seen, String> {
    let mut all = Seen::default();
    for seed in first..first + count {
        let seen = simulate(seed).map_err(|broken| format!("{broken}\nagain with WEIR_SEED={seed} WEIR_SEEDS=1"))?;
        all.add(&seen);
    }
    Ok(all)
}
