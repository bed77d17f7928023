//! Exact decimal numbers: what `decimal(precision, scale)` columns hold.
//!
//! Invariant: a value is `mantissa / 10^scale` with `scale <= 38`; no operation loses a digit unless its name says
//! so ([`Decimal::round`]). Deliberately light: no division, no roots.

use std::cmp::Ordering;
use std::fmt;
use std::ops::{Add, Mul, Neg, Sub};
use std::str::FromStr;

/// Digits that a decimal column can hold at most.
pub const MAX_PRECISION: u8 = 38;

/// An exact decimal number. `1.0 == 1.00`; the scale only shows in [`Display`](fmt::Display).
#[derive(Clone, Copy, Default)]
pub struct Decimal {
    mantissa: i128,
    scale: u8,
}

/// Why a text is no [`Decimal`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DecimalError {
    /// Not a number in decimal notation.
    Syntax,
    /// More than 38 digits.
    Overflow,
}

impl fmt::Display for DecimalError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Syntax => "not a decimal number",
            Self::Overflow => "more than 38 digits",
        })
    }
}

impl std::error::Error for DecimalError {}

/// What [`Decimal::round_with`] does with the digits it cuts off.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rounding {
    /// To the nearest, a half away from zero: as on an invoice.
    HalfUp,
    /// To the nearest, a half to the even neighbour: without bias over many values.
    HalfEven,
    /// Towards zero.
    Down,
}

const fn power_of_ten(exponent: u8) -> i128 {
    10i128.pow(exponent as u32)
}

/// The quotient and remainder. Amounts of money fit in 64 bits, for which wasm32 has an instruction.
fn divide(value: i128, by: i128) -> (i128, i128) {
    match (i64::try_from(value), i64::try_from(by)) {
        (Ok(value), Ok(by)) => (i128::from(value / by), i128::from(value % by)),
        _ => (value / by, value % by),
    }
}

impl Decimal {
    pub const ZERO: Self = Self { mantissa: 0, scale: 0 };

    /// `mantissa / 10^scale`: `Decimal::new(1999, 2)` is 19.99.
    ///
    /// # Panics
    /// When `scale` is over 38.
    pub const fn new(mantissa: i128, scale: u8) -> Self {
        assert!(scale <= MAX_PRECISION, "a decimal has a scale of at most 38");
        Self { mantissa, scale }
    }

    /// The value times `10^scale`.
    pub const fn mantissa(self) -> i128 {
        self.mantissa
    }

    /// Digits behind the point.
    pub const fn scale(self) -> u8 {
        self.scale
    }

    pub const fn is_zero(self) -> bool {
        self.mantissa == 0
    }

    pub const fn is_negative(self) -> bool {
        self.mantissa < 0
    }

    pub const fn abs(self) -> Self {
        Self { mantissa: self.mantissa.abs(), scale: self.scale }
    }

    /// The same number with `scale` digits behind the point; `None` when that would lose a digit or overflow.
    pub fn rescale(self, scale: u8) -> Option<Self> {
        if scale == self.scale {
            return Some(self);
        }
        if scale > self.scale {
            let factor = (scale <= MAX_PRECISION).then(|| power_of_ten(scale - self.scale))?;
            return self.mantissa.checked_mul(factor).map(|mantissa| Self { mantissa, scale });
        }
        let (mantissa, rest) = divide(self.mantissa, power_of_ten(self.scale - scale));
        (rest == 0).then_some(Self { mantissa, scale })
    }

    /// At most `scale` digits behind the point, a half away from zero.
    #[must_use]
    pub fn round(self, scale: u8) -> Self {
        self.round_with(scale, Rounding::HalfUp)
    }

    /// At most `scale` digits behind the point.
    #[must_use]
    pub fn round_with(self, scale: u8, rounding: Rounding) -> Self {
        if scale >= self.scale {
            return self;
        }
        let unit = power_of_ten(self.scale - scale);
        let (mantissa, rest) = divide(self.mantissa, unit);
        let away = match (rest.abs().cmp(&(unit / 2)), rounding) {
            (_, Rounding::Down) | (Ordering::Less, _) => false,
            (Ordering::Equal, Rounding::HalfEven) => mantissa % 2 != 0,
            _ => true,
        };
        Self { mantissa: mantissa + if away { self.mantissa.signum() } else { 0 }, scale }
    }

    /// Both with the larger scale of the two.
    fn aligned(self, other: Self) -> Option<(i128, i128, u8)> {
        let scale = self.scale.max(other.scale);
        Some((self.rescale(scale)?.mantissa, other.rescale(scale)?.mantissa, scale))
    }

    /// The exact sum; `None` on overflow.
    pub fn checked_add(self, other: Self) -> Option<Self> {
        let (left, right, scale) = self.aligned(other)?;
        left.checked_add(right).map(|mantissa| Self { mantissa, scale })
    }

    /// The exact difference; `None` on overflow.
    pub fn checked_sub(self, other: Self) -> Option<Self> {
        let (left, right, scale) = self.aligned(other)?;
        left.checked_sub(right).map(|mantissa| Self { mantissa, scale })
    }

    /// The exact product, with the sum of both scales; `None` on overflow.
    pub fn checked_mul(self, other: Self) -> Option<Self> {
        let scale = self.scale.checked_add(other.scale).filter(|scale| *scale <= MAX_PRECISION)?;
        self.mantissa.checked_mul(other.mantissa).map(|mantissa| Self { mantissa, scale })
    }

    /// Reads `[+-]digits[.digits][e[+-]digits]`, also in constants: this is what [`dec!`](crate::dec) calls.
    ///
    /// # Errors
    /// [`DecimalError`] when the text is something else or too long.
    pub const fn parse(text: &str) -> Result<Self, DecimalError> {
        let bytes = text.as_bytes();
        let negative = matches!(bytes, [b'-', ..]);
        let mut at = matches!(bytes, [b'-' | b'+', ..]) as usize;
        let (mut mantissa, mut scale, mut digits, mut point) = (0i128, 0i32, 0, false);
        while at < bytes.len() {
            match bytes[at] {
                digit @ b'0'..=b'9' => {
                    let shifted = match mantissa.checked_mul(10) {
                        Some(shifted) => shifted,
                        None => return Err(DecimalError::Overflow),
                    };
                    mantissa = match shifted.checked_add((digit - b'0') as i128) {
                        Some(sum) => sum,
                        None => return Err(DecimalError::Overflow),
                    };
                    digits += 1;
                    scale += point as i32;
                }
                b'.' if !point => point = true,
                b'e' | b'E' => break,
                _ => return Err(DecimalError::Syntax),
            }
            at += 1;
        }
        if digits == 0 || (point && bytes[at - 1] == b'.') {
            return Err(DecimalError::Syntax);
        }
        match parse_exponent(bytes, at) {
            Ok(exponent) => Self::with_exponent(if negative { -mantissa } else { mantissa }, exponent - scale),
            Err(error) => Err(error),
        }
    }

    /// `mantissa * 10^exponent`.
    const fn with_exponent(mantissa: i128, exponent: i32) -> Result<Self, DecimalError> {
        if mantissa == 0 {
            return Ok(Self { mantissa, scale: if exponent < 0 && exponent > -39 { -exponent as u8 } else { 0 } });
        }
        if exponent < -(MAX_PRECISION as i32) || exponent > MAX_PRECISION as i32 {
            return Err(DecimalError::Overflow);
        }
        if exponent <= 0 {
            return Ok(Self { mantissa, scale: -exponent as u8 });
        }
        match mantissa.checked_mul(power_of_ten(exponent as u8)) {
            Some(mantissa) => Ok(Self { mantissa, scale: 0 }),
            None => Err(DecimalError::Overflow),
        }
    }

    /// Whether the number has at most `precision` digits in all, written with its own scale.
    pub fn fits(self, precision: u8) -> bool {
        self.mantissa.unsigned_abs() < power_of_ten(precision.min(MAX_PRECISION)).unsigned_abs()
    }
}

/// The exponent that starts with the `e` at `at`; 0 at the end of the text.
const fn parse_exponent(bytes: &[u8], mut at: usize) -> Result<i32, DecimalError> {
    if at == bytes.len() {
        return Ok(0);
    }
    at += 1;
    let negative = at < bytes.len() && bytes[at] == b'-';
    if at < bytes.len() && matches!(bytes[at], b'-' | b'+') {
        at += 1;
    }
    if at == bytes.len() {
        return Err(DecimalError::Syntax);
    }
    let mut exponent = 0i32;
    while at < bytes.len() {
        if !bytes[at].is_ascii_digit() {
            return Err(DecimalError::Syntax);
        }
        // Far past any scale the sum stands still, so that it cannot overflow.
        if exponent < 10_000 {
            exponent = exponent * 10 + (bytes[at] - b'0') as i32;
        }
        at += 1;
    }
    Ok(if negative { -exponent } else { exponent })
}

impl FromStr for Decimal {
    type Err = DecimalError;

    fn from_str(text: &str) -> Result<Self, DecimalError> {
        Self::parse(text)
    }
}

impl fmt::Display for Decimal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (digits, scale) = (self.mantissa.unsigned_abs().to_string(), usize::from(self.scale));
        let text = if scale == 0 {
            digits
        } else {
            let padded = format!("{digits:0>width$}", width = scale + 1);
            let (whole, fraction) = padded.split_at(padded.len() - scale);
            format!("{whole}.{fraction}")
        };
        f.pad_integral(self.mantissa >= 0, "", &text)
    }
}

impl fmt::Debug for Decimal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Ord for Decimal {
    fn cmp(&self, other: &Self) -> Ordering {
        if let Some((left, right, _)) = self.aligned(*other) {
            return left.cmp(&right);
        }
        // Aligning overflowed: one of them is far larger, so whole parts decide unless both are equal.
        let whole = |number: &Self| divide(number.mantissa, power_of_ten(number.scale));
        let (left, right) = (whole(self), whole(other));
        let fraction = |rest: i128, scale: u8| rest * power_of_ten(MAX_PRECISION - scale);
        left.0.cmp(&right.0).then_with(|| fraction(left.1, self.scale).cmp(&fraction(right.1, other.scale)))
    }
}

impl PartialOrd for Decimal {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Decimal {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Decimal {}

impl Neg for Decimal {
    type Output = Self;

    fn neg(self) -> Self {
        Self { mantissa: -self.mantissa, scale: self.scale }
    }
}

macro_rules! operator {
    ($trait:ident, $method:ident, $checked:ident) => {
        /// Exact; panics on overflow, which costs the row. The checked form returns `None` instead.
        impl $trait for Decimal {
            type Output = Self;

            fn $method(self, other: Self) -> Self {
                self.$checked(other).expect("more than 38 digits in a decimal result")
            }
        }
    };
}
operator!(Add, add, checked_add);
operator!(Sub, sub, checked_sub);
operator!(Mul, mul, checked_mul);

macro_rules! from_integer {
    ($($integer:ty),*) => {$(
        impl From<$integer> for Decimal {
            fn from(value: $integer) -> Self {
                Self { mantissa: i128::from(value), scale: 0 }
            }
        }
    )*};
}
from_integer!(i8, i16, i32, i64, u8, u16, u32, u64);

impl std::iter::Sum for Decimal {
    fn sum<I: Iterator<Item = Self>>(numbers: I) -> Self {
        numbers.fold(Self::ZERO, Add::add)
    }
}

/// A decimal constant, checked by the compiler: `dec!(19.99)`, `dec!(-0.5)`.
#[macro_export]
macro_rules! dec {
    (- $number:literal) => {
        -$crate::dec!($number)
    };
    ($number:literal) => {
        const {
            match $crate::Decimal::parse(stringify!($number)) {
                Ok(number) => number,
                Err(_) => panic!("not a decimal number of at most 38 digits"),
            }
        }
    };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_decimal_reads_and_writes_the_same_text() {
        for text in ["0", "0.00", "1", "-1", "19.99", "-0.05", "0.000001", "99999999999999999999999999999999999999"] {
            assert_eq!(text.parse::<Decimal>().unwrap().to_string(), text);
        }
        assert_eq!(dec!(19.99), Decimal::new(1999, 2));
        assert_eq!(dec!(-0.5).to_string(), "-0.5");
        assert_eq!(format!("{:>8}|{:+}", dec!(1.5), dec!(2)), "     1.5|+2");
    }

    #[test]
    fn an_exponent_moves_the_point() {
        for (text, value) in [("1e3", "1000"), ("1.5E2", "150"), ("25e-1", "2.5"), ("0e99", "0"), ("0.0e-2", "0.000")] {
            assert_eq!(text.parse::<Decimal>().unwrap().to_string(), value);
        }
    }

    #[test]
    fn what_is_no_number_is_refused() {
        for text in ["", "-", ".", "1.", "1.2.3", "1,5", "1e", "1e+", "e5", "NaN", "0x1", " 1"] {
            assert_eq!(text.parse::<Decimal>(), Err(DecimalError::Syntax), "{text:?}");
        }
        for text in ["999999999999999999999999999999999999999999", "1e39", "1e-39", "1e999999999999"] {
            assert_eq!(text.parse::<Decimal>(), Err(DecimalError::Overflow), "{text:?}");
        }
    }

    #[test]
    fn numbers_compare_by_value_not_by_scale() {
        assert_eq!(dec!(1.0), dec!(1.00));
        assert!(dec!(2) > dec!(1.99) && dec!(-2) < dec!(-1.99));
        let (huge, tiny) = (Decimal::new(i128::MAX, 0), Decimal::new(1, 38));
        assert!(huge > tiny && -huge < tiny && tiny > Decimal::ZERO);
        assert!(Decimal::new(i128::MAX, 30) > Decimal::new(i128::MAX - 1, 31));
    }

    #[test]
    fn sums_and_products_are_exact_or_none() {
        assert_eq!((dec!(0.1) + dec!(0.02)).to_string(), "0.12");
        assert_eq!((dec!(19.99) * dec!(1.08)).to_string(), "21.5892");
        assert_eq!(dec!(1) - dec!(1.5), dec!(-0.5));
        assert_eq!(Decimal::new(i128::MAX, 0).checked_add(dec!(1)), None);
        assert_eq!(Decimal::new(1, 20).checked_mul(Decimal::new(1, 20)), None);
        assert_eq!([dec!(1.5), dec!(2)].into_iter().sum::<Decimal>(), dec!(3.5));
    }

    #[test]
    fn rounding_says_what_it_does_with_a_half() {
        let cases = [
            ("2.345", "2.35", "2.34", "2.34"),
            ("-2.345", "-2.35", "-2.34", "-2.34"),
            ("2.355", "2.36", "2.36", "2.35"),
        ];
        for (text, up, even, down) in cases {
            let number: Decimal = text.parse().unwrap();
            assert_eq!(number.round(2).to_string(), up);
            assert_eq!(number.round_with(2, Rounding::HalfEven).to_string(), even);
            assert_eq!(number.round_with(2, Rounding::Down).to_string(), down);
        }
        assert_eq!(dec!(1.5).round(4).to_string(), "1.5");
    }

    #[test]
    fn rescaling_never_loses_a_digit() {
        assert_eq!(dec!(1.50).rescale(1).unwrap().to_string(), "1.5");
        assert_eq!(dec!(1.55).rescale(1), None);
        assert_eq!(dec!(1.5).rescale(3).unwrap().to_string(), "1.500");
        assert_eq!(Decimal::new(i128::MAX, 0).rescale(1), None);
        assert!(dec!(99.99).fits(4) && !dec!(100.00).fits(4));
    }
}
