//! Numbers by size: base 128, low bits first, the highest bit of a byte saying that another follows.

/// A number without a sign.
pub trait Varint: Sized {
    /// Appends the number.
    fn write(self, bytes: &mut Vec<u8>);

    /// Takes a number off the front; none where the bytes are not one of this type, and then `rest` is anywhere in them.
    fn read(rest: &mut &[u8]) -> Option<Self>;
}

macro_rules! varint {
    ($($number:ty),*) => {$(
        impl Varint for $number {
            #[inline]
            fn write(mut self, bytes: &mut Vec<u8>) {
                while self >= 0x80 {
                    bytes.push(self as u8 | 0x80);
                    self >>= 7;
                }
                bytes.push(self as u8);
            }

            #[inline]
            fn read(rest: &mut &[u8]) -> Option<Self> {
                let mut number: Self = 0;
                for shift in (0..Self::BITS).step_by(7) {
                    let (&byte, behind) = rest.split_first()?;
                    *rest = behind;
                    let bits = Self::from(byte & 0x7f);
                    if bits << shift >> shift != bits {
                        return None;
                    }
                    number |= bits << shift;
                    if byte & 0x80 == 0 {
                        return Some(number);
                    }
                }
                None
            }
        }
    )*};
}
varint!(u64, u128);

#[cfg(test)]
mod tests {
    use super::*;

    fn both_ways<T: Varint + Copy + PartialEq + std::fmt::Debug>(number: T, length: usize) {
        let mut bytes = Vec::new();
        number.write(&mut bytes);
        assert_eq!(bytes.len(), length, "{number:?}");
        let mut rest = bytes.as_slice();
        assert_eq!(T::read(&mut rest), Some(number));
        assert!(rest.is_empty());
        for end in 0..length {
            assert_eq!(T::read(&mut &bytes[..end]), None, "{number:?} cut at {end}");
        }
    }

    #[test]
    fn numbers_come_back_and_small_ones_are_short() {
        for (number, length) in [(0, 1), (127, 1), (128, 2), (u64::MAX, 10)] {
            both_ways(number, length);
        }
        for (number, length) in [(0, 1), (127, 1), (128, 2), (u128::MAX, 19)] {
            both_ways(number, length);
        }
    }

    #[test]
    fn what_is_larger_than_the_type_is_no_number() {
        let mut above = [0xff; 10];
        above[9] = 2;
        assert_eq!(u64::read(&mut &above[..]), None);
        assert_eq!(u64::read(&mut &[0xff; 20][..]), None);
        assert_eq!(u128::read(&mut &[0xff; 20][..]), None);
    }
}
