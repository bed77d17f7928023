//! Where random tests get their seed, and where it is printed.

use std::hash::{BuildHasher, Hasher};

/// `WEIR_SEED` or a new seed each run; printed, so that a failure can be run again.
pub fn seed() -> u64 {
    let given = std::env::var("WEIR_SEED").ok().and_then(|seed| seed.parse().ok());
    let seed = given.unwrap_or_else(|| std::collections::hash_map::RandomState::new().build_hasher().finish());
    eprintln!("run again with WEIR_SEED={seed}");
    seed
}
