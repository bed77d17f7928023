//! How the numbers of accumulators are stored: integers by size, so that a count of three takes a byte and not eight.
//!
//! An integer is a base-128 varint, its low bits first, with its sign in the lowest bit (zigzag) if it can have one. A
//! float is its 8 bytes, little-endian.

use weir_state::Varint;

use super::slots::take;

/// A number in an accumulator.
pub(super) trait Number: Copy {
    fn write(self, bytes: &mut Vec<u8>);

    /// # Errors
    /// What is wrong with the bytes, when [`Number::write`] did not make them.
    fn read(rest: &mut &[u8]) -> Result<Self, String>;

    /// As versions before [`super::slots::VALUE_VERSION`] stored it: all of its bytes, little-endian.
    ///
    /// # Errors
    /// When the bytes end too early.
    fn read_whole(rest: &mut &[u8]) -> Result<Self, String>;
}

macro_rules! varints {
    ($($number:ty as $bits:ty, $fold:expr, $unfold:expr;)*) => {$(
        impl Number for $number {
            #[inline]
            fn write(self, bytes: &mut Vec<u8>) {
                <$bits as Varint>::write($fold(self), bytes);
            }

            fn read(rest: &mut &[u8]) -> Result<Self, String> {
                <$bits as Varint>::read(rest).map($unfold).ok_or_else(|| "a number ends too early, or is too large".to_owned())
            }

            fn read_whole(rest: &mut &[u8]) -> Result<Self, String> {
                Ok(Self::from_le_bytes(take(rest)?))
            }
        }
    )*};
}
varints! {
    i64 as u64, |number: i64| (number << 1 ^ number >> 63) as u64, |bits: u64| (bits >> 1) as i64 ^ -((bits & 1) as i64);
    i128 as u128, |number: i128| (number << 1 ^ number >> 127) as u128, |bits: u128| (bits >> 1) as i128 ^ -((bits & 1) as i128);
    u64 as u64, |number| number, |bits| bits;
}

impl Number for f64 {
    fn write(self, bytes: &mut Vec<u8>) {
        bytes.extend_from_slice(&self.to_le_bytes());
    }

    fn read(rest: &mut &[u8]) -> Result<Self, String> {
        Self::read_whole(rest)
    }

    fn read_whole(rest: &mut &[u8]) -> Result<Self, String> {
        Ok(Self::from_le_bytes(take(rest)?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn both_ways<T: Number + PartialEq + std::fmt::Debug>(number: T, bytes: usize) {
        let mut stored = Vec::new();
        number.write(&mut stored);
        assert_eq!(stored.len(), bytes, "{number:?}");
        assert_eq!(T::read(&mut stored.as_slice()), Ok(number));
        assert!(T::read(&mut &stored[..bytes - 1]).is_err(), "{number:?}");
    }

    #[test]
    fn numbers_of_either_sign_come_back_and_small_ones_are_short() {
        for (n, bytes) in [(0, 1), (-1, 1), (63, 1), (-64, 1), (64, 2), (i64::MAX, 10), (i64::MIN, 10)] {
            both_ways(n, bytes);
        }
        for (n, bytes) in [(0, 1), (-64, 1), (64, 2), (i128::MAX, 19), (i128::MIN, 19)] {
            both_ways(n, bytes);
        }
        both_ways(u64::MAX, 10);
        for number in [0.0, -0.5, f64::INFINITY] {
            both_ways(number, 8);
        }
    }

    #[test]
    fn whole_bytes_of_an_earlier_version_are_read() {
        assert_eq!(i64::read_whole(&mut &(-3i64).to_le_bytes()[..]), Ok(-3));
        assert_eq!(i128::read_whole(&mut &(1i128 << 90).to_le_bytes()[..]), Ok(1 << 90));
    }
}
