//! Numbers that depend on an event's number alone: SplitMix64.

pub struct Random(u64);

/// Letters of one drawn number.
const LETTERS_PER_DRAW: usize = 12;

impl Random {
    pub fn new(number: u64) -> Self {
        // Far apart for neighbouring events.
        Self(number.wrapping_add(1).wrapping_mul(0xD134_2543_DE82_EF95))
    }

    fn draw(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    /// From 0 to `end` - 1.
    pub fn below(&mut self, end: u64) -> u64 {
        ((u128::from(self.draw()) * u128::from(end)) >> 64) as u64
    }

    /// From 0 to 1, 1 excluded.
    pub fn unit(&mut self) -> f64 {
        (self.draw() >> 11) as f64 / (1_u64 << 53) as f64
    }

    pub fn pick<T: Copy>(&mut self, of: &[T]) -> T {
        of[self.below(of.len() as u64) as usize]
    }

    /// `length` small letters.
    pub fn text(&mut self, length: usize) -> String {
        let mut text = Vec::with_capacity(length + LETTERS_PER_DRAW);
        while text.len() < length {
            let mut drawn = self.draw();
            for _ in 0..LETTERS_PER_DRAW {
                // Five bits a letter: a to f are twice as likely, as nobody minds.
                text.push(b'a' + (drawn & 31) as u8 % 26);
                drawn >>= 5;
            }
        }
        text.truncate(length);
        String::from_utf8(text).expect("letters")
    }

    /// Text that is a fifth shorter or longer.
    pub fn text_around(&mut self, length: usize) -> String {
        let spread = length / 5;
        let length = length - spread + self.below(2 * spread as u64 + 1) as usize;
        self.text(length)
    }
}
