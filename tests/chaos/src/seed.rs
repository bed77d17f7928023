//! Random choices that can be repeated: splitmix64 from one seed.

/// Steele, Lea, Flood: Fast splittable pseudorandom number generators (2014).
#[derive(Debug, Clone)]
pub struct Draws(u64);

impl Draws {
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    fn draw(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number of the range, near enough to even.
    pub fn within(&mut self, range: std::ops::Range<u64>) -> u64 {
        range.start + self.draw() % (range.end - range.start)
    }
}

/// The seed that `WEIR_SEED` names, or a new one; said either way.
pub fn printed() -> u64 {
    let named = std::env::var("WEIR_SEED").ok().and_then(|seed| seed.parse().ok());
    // Small enough to be typed again.
    let seed = named.unwrap_or_else(|| u64::from(getrandom::u32().unwrap_or(std::process::id())));
    eprintln!("WEIR_SEED={seed}");
    seed
}
