//! Decimals as text, exactly: never through a float.
//!
//! A text is a JSON number, with leading zeros allowed. It is refused when the column's scale cannot hold its
//! value to the last digit; zeros at its end do not count.

/// Why a text is no decimal of the column.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum DecimalError {
    Malformed,
    OutOfRange,
}

/// Sum of significant digits read so far, with the zeros behind them kept apart: a text of many zeros must not
/// overflow.
#[derive(Default)]
struct Digits {
    value: u128,
    zeros: u32,
    overflow: bool,
}

impl Digits {
    fn push(&mut self, digit: u8) {
        if digit == 0 {
            self.zeros = self.zeros.saturating_add(1);
            return;
        }
        let shifted = if self.value == 0 { Some(0) } else { shift_up(self.value, i64::from(self.zeros) + 1) };
        match shifted.and_then(|value| value.checked_add(u128::from(digit))) {
            Some(value) => self.value = value,
            None => self.overflow = true,
        }
        self.zeros = 0;
    }
}

fn shift_up(value: u128, places: i64) -> Option<u128> {
    value.checked_mul(10u128.checked_pow(u32::try_from(places).ok()?)?)
}

fn shift_down(value: u128, places: i64) -> Option<u128> {
    let divisor = 10u128.checked_pow(u32::try_from(places).ok()?)?;
    value.is_multiple_of(divisor).then(|| value / divisor)
}

/// Exponents beyond this give the same answer as this.
const MAX_EXPONENT: i64 = 100_000;

fn parse_exponent(text: &[u8]) -> Option<i64> {
    let (negative, digits) = match text {
        [b'-', digits @ ..] => (true, digits),
        [b'+', digits @ ..] => (false, digits),
        digits => (false, digits),
    };
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let value = digits.iter().fold(0i64, |value, digit| (value * 10 + i64::from(digit - b'0')).min(MAX_EXPONENT));
    Some(if negative { -value } else { value })
}

/// The unscaled value of `text` for a column of `precision` and `scale`.
pub(crate) fn parse(text: &str, precision: u8, scale: i8) -> Result<i128, DecimalError> {
    let (negative, unsigned) = match text.as_bytes() {
        [b'-', rest @ ..] => (true, rest),
        rest => (false, rest),
    };
    let end = unsigned.iter().position(|byte| matches!(byte, b'e' | b'E')).unwrap_or(unsigned.len());
    let exponent = match unsigned.get(end + 1..) {
        Some(exponent) => parse_exponent(exponent).ok_or(DecimalError::Malformed)?,
        None => 0,
    };
    let mut digits = Digits::default();
    let (mut whole, mut fraction, mut in_fraction) = (0i64, 0i64, false);
    for byte in &unsigned[..end] {
        match byte {
            b'0'..=b'9' => {
                digits.push(byte - b'0');
                *(if in_fraction { &mut fraction } else { &mut whole }) += 1;
            }
            b'.' if !in_fraction => in_fraction = true,
            _ => return Err(DecimalError::Malformed),
        }
    }
    if whole == 0 || (in_fraction && fraction == 0) {
        return Err(DecimalError::Malformed);
    }
    let places = i64::from(digits.zeros) + exponent - fraction + i64::from(scale);
    place(&digits, places, precision, negative).ok_or(DecimalError::OutOfRange)
}

/// The digits moved by `places`, if the result is exact and within the precision.
fn place(digits: &Digits, places: i64, precision: u8, negative: bool) -> Option<i128> {
    if digits.value == 0 && !digits.overflow {
        return Some(0);
    }
    if digits.overflow {
        return None;
    }
    let value = if places >= 0 { shift_up(digits.value, places)? } else { shift_down(digits.value, -places)? };
    let limit = 10u128.checked_pow(u32::from(precision))?;
    let value = (value < limit).then_some(value as i128)?;
    Some(if negative { -value } else { value })
}

/// Appends an unscaled value as text with exactly `scale` fraction digits; none for a scale of zero or less.
pub(crate) fn write(value: i128, scale: i8, out: &mut Vec<u8>) {
    let mut buffer = itoa::Buffer::new();
    let digits = buffer.format(value.unsigned_abs()).as_bytes();
    if value < 0 {
        out.push(b'-');
    }
    let Ok(places) = usize::try_from(scale) else {
        out.extend_from_slice(digits);
        let zeros = if value == 0 { 0 } else { usize::from(scale.unsigned_abs()) };
        out.resize(out.len() + zeros, b'0');
        return;
    };
    if places == 0 {
        return out.extend_from_slice(digits);
    }
    let whole = digits.len().saturating_sub(places);
    out.extend_from_slice(if whole == 0 { b"0" } else { &digits[..whole] });
    out.push(b'.');
    out.resize(out.len() + places.saturating_sub(digits.len()), b'0');
    out.extend_from_slice(&digits[whole..]);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(value: i128, scale: i8) -> String {
        let mut out = Vec::new();
        write(value, scale, &mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn a_decimal_is_read_to_its_last_digit() {
        for (text, value) in [
            ("0", 0),
            ("-0", 0),
            ("10.00", 1000),
            ("10", 1000),
            ("10.5", 1050),
            ("-0.01", -1),
            ("1e1", 1000),
            ("1.5E-1", 15),
            ("007.50", 750),
            ("12000e-3", 1200),
            ("0e99999999999", 0),
            ("99999999.99", 9_999_999_999),
        ] {
            assert_eq!(parse(text, 10, 2), Ok(value), "{text}");
        }
        let zeros = format!("1.{}", "0".repeat(200));
        assert_eq!(parse(&zeros, 10, 2), Ok(100));
        let moved = format!("1{}e-200", "0".repeat(200));
        assert_eq!(parse(&moved, 10, 2), Ok(100));
    }

    #[test]
    fn what_does_not_fit_exactly_is_out_of_range() {
        let nines = "9".repeat(60);
        for text in ["0.001", "100000000", "99999999.999", "1e9", "1e99999999999999999999", "1e-99999", "1e-3", &nines]
        {
            assert_eq!(parse(text, 10, 2), Err(DecimalError::OutOfRange), "{text}");
        }
    }

    #[test]
    fn what_is_no_number_is_malformed() {
        for text in ["", "-", "+1", ".5", "5.", "1.2.3", "1e", "1e+", "0x1", " 1", "1 ", "NaN", "1,5", "--1", "1e1e1"] {
            assert_eq!(parse(text, 10, 2), Err(DecimalError::Malformed), "{text}");
        }
    }

    #[test]
    fn a_decimal_is_written_with_its_scales_digits() {
        assert_eq!(written(0, 2), "0.00");
        assert_eq!(written(-5, 2), "-0.05");
        assert_eq!(written(123_456, 2), "1234.56");
        assert_eq!(written(7, 0), "7");
        assert_eq!(written(7, -3), "7000");
    }

    #[test]
    fn the_ends_of_every_scale_come_back() {
        let most = 10i128.pow(38) - 1;
        for scale in [-5i8, 0, 1, 9, 37, 38] {
            for value in [0, 1, -1, 10, most, -most] {
                assert_eq!(parse(&written(value, scale), 38, scale), Ok(value), "{value} {scale}");
            }
        }
    }
}
