//! Scalars with a text form of their own: durations, sizes, rates, shares, instants.
//!
//! Each is parsed by [`std::str::FromStr`], whose error is the sentence that the user reads, and shown in
//! the same form. The schema names the parser as `x-format`, so that the structural check uses it too.

use std::fmt;
use std::str::FromStr;

/// How a scalar that is written as text appears in the schema.
pub(crate) trait TextScalar: FromStr<Err = String> {
    /// The schema's `x-format`.
    const FORMAT: &'static str;
    /// A regular expression for editors; the parser is the judge.
    const PATTERN: &'static str;
    const DESCRIPTION: &'static str;
}

macro_rules! text_scalar {
    ($type:ty, $name:literal, $format:literal, $pattern:literal, $description:literal) => {
        impl $crate::scalar::TextScalar for $type {
            const FORMAT: &'static str = $format;
            const PATTERN: &'static str = $pattern;
            const DESCRIPTION: &'static str = $description;
        }

        impl<'de> serde::Deserialize<'de> for $type {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = String::deserialize(deserializer)?;
                text.parse().map_err(serde::de::Error::custom)
            }
        }

        impl schemars::JsonSchema for $type {
            fn schema_name() -> std::borrow::Cow<'static, str> {
                $name.into()
            }

            fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
                use $crate::scalar::TextScalar as Text;
                schemars::json_schema!({
                    "type": "string",
                    "x-format": <$type as Text>::FORMAT,
                    "pattern": <$type as Text>::PATTERN,
                    "description": <$type as Text>::DESCRIPTION,
                })
            }
        }
    };
}
pub(crate) use text_scalar;

/// A length of time, at microsecond resolution.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Duration {
    us: i64,
}

text_scalar!(
    Duration,
    "Duration",
    "duration",
    r"^[0-9][0-9_]*(\.[0-9]+)?\s*(us|ms|s|m|min|h|d)$",
    "A length of time: 200ms, 5s, 1min, 2h, 1d."
);

const DURATION_UNITS: [(&str, i64); 7] = [
    ("us", 1),
    ("ms", 1_000),
    ("s", 1_000_000),
    ("min", 60_000_000),
    ("m", 60_000_000),
    ("h", 3_600_000_000),
    ("d", 86_400_000_000),
];

impl Duration {
    pub const fn from_ms(ms: i64) -> Self {
        Self { us: ms * 1_000 }
    }

    pub const fn from_secs(secs: i64) -> Self {
        Self { us: secs * 1_000_000 }
    }

    pub const fn as_us(self) -> i64 {
        self.us
    }

    pub const fn as_std(self) -> std::time::Duration {
        std::time::Duration::from_micros(self.us as u64)
    }
}

impl FromStr for Duration {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let expected = || format!("`{text}` is not a duration; write one such as 200ms, 5s, 1min, 2h or 1d");
        let (number, unit) = split_unit(text).ok_or_else(expected)?;
        let (_, unit_us) = DURATION_UNITS.into_iter().find(|(name, _)| *name == unit).ok_or_else(expected)?;
        let us = scaled(&number, unit_us as u64).and_then(|us| i64::try_from(us).ok());
        us.map(|us| Self { us }).ok_or_else(|| format!("`{text}` is finer than 1us or longer than 292,000 years"))
    }
}

impl fmt::Display for Duration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let exact = DURATION_UNITS.iter().rev().filter(|(name, _)| *name != "m");
        let (name, unit_us) = exact.into_iter().find(|(_, us)| self.us % us == 0).unwrap_or(&("us", 1));
        if self.us == 0 { f.write_str("0s") } else { write!(f, "{}{name}", self.us / unit_us) }
    }
}

/// How long a key without new rows is held, in event time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TimeToLive {
    /// None: for ever.
    pub limit: Option<Duration>,
}

text_scalar!(
    TimeToLive,
    "TimeToLive",
    "time-to-live",
    r"^(never|[0-9][0-9_]*(\.[0-9]+)?\s*(us|ms|s|m|min|h|d))$",
    "How long a key without new rows is held: 30min, 1d; `never`: it is never let go."
);

impl FromStr for TimeToLive {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "never" {
            return Ok(Self { limit: None });
        }
        let limit: Duration = text.parse().map_err(|error| format!("{error}; `never` holds every key for ever"))?;
        if limit.us == 0 {
            return Err("a time to live is longer than 0s; `never` holds every key for ever".to_owned());
        }
        Ok(Self { limit: Some(limit) })
    }
}

impl fmt::Display for TimeToLive {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.limit {
            Some(limit) => limit.fmt(f),
            None => f.write_str("never"),
        }
    }
}

/// A number of bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Size {
    bytes: u64,
}

text_scalar!(
    Size,
    "Size",
    "size",
    r"^[0-9][0-9_]*(\.[0-9]+)?\s*(B|KiB|MiB|GiB|TiB)$",
    "A number of bytes: 512B, 64KiB, 32MiB, 1GiB."
);

const SIZE_UNITS: [(&str, u64); 5] = [("B", 1), ("KiB", 1 << 10), ("MiB", 1 << 20), ("GiB", 1 << 30), ("TiB", 1 << 40)];

impl Size {
    pub const fn from_bytes(bytes: u64) -> Self {
        Self { bytes }
    }

    pub const fn from_kib(kib: u64) -> Self {
        Self { bytes: kib << 10 }
    }

    pub const fn from_mib(mib: u64) -> Self {
        Self { bytes: mib << 20 }
    }

    pub const fn bytes(self) -> u64 {
        self.bytes
    }
}

impl FromStr for Size {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let expected = || format!("`{text}` is not a size; write one such as 512B, 64KiB, 32MiB or 1GiB");
        let (number, unit) = split_unit(text).ok_or_else(expected)?;
        let unit_bytes = SIZE_UNITS.into_iter().find(|(name, _)| *name == unit);
        let (_, unit_bytes) = unit_bytes.ok_or_else(expected)?;
        let bytes = scaled(&number, unit_bytes);
        bytes.map(|bytes| Self { bytes }).ok_or_else(|| format!("`{text}` is no whole number of bytes below 16 EiB"))
    }
}

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut exact = SIZE_UNITS.iter().rev();
        let (name, unit_bytes) = exact.find(|(_, bytes)| self.bytes.is_multiple_of(*bytes)).unwrap_or(&("B", 1));
        if self.bytes == 0 { f.write_str("0B") } else { write!(f, "{}{name}", self.bytes / unit_bytes) }
    }
}

/// Events per time.
#[derive(Debug, Clone, Copy, PartialEq, PartialOrd)]
pub struct Rate {
    per_second: f64,
}

text_scalar!(Rate, "Rate", "rate", r"^[0-9][0-9_]*(\.[0-9]+)?\s*/\s*(s|min|h)$", "Events per time: 20000/s, 90/min.");

impl Rate {
    pub const fn from_per_second(per_second: f64) -> Self {
        Self { per_second }
    }

    pub fn per_second(self) -> f64 {
        self.per_second
    }
}

impl FromStr for Rate {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let expected = || format!("`{text}` is not a rate; write one such as 20000/s or 90/min");
        let (number, unit) = text.split_once('/').ok_or_else(expected)?;
        let number = digits(number.trim()).ok_or_else(expected)?;
        let count: f64 = number.parse().map_err(|_| expected())?;
        let seconds = match unit.trim() {
            "s" => 1.0,
            "min" => 60.0,
            "h" => 3600.0,
            _ => return Err(expected()),
        };
        if count <= 0.0 {
            Err(format!("`{text}` is no rate: it must be above 0"))
        } else {
            Ok(Self { per_second: count / seconds })
        }
    }
}

impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/s", self.per_second)
    }
}

/// A share of a whole, 0 to 1.
#[derive(Debug, Clone, Copy, PartialEq, PartialOrd)]
pub struct Share(f64);

text_scalar!(Share, "Share", "share", r"^[0-9]+(\.[0-9]+)?\s*%$", "A share: 0.5%, 2%.");

impl Share {
    pub(crate) const fn from_percent(percent: f64) -> Self {
        Self(percent / 100.0)
    }

    /// 0 to 1.
    pub fn fraction(self) -> f64 {
        self.0
    }
}

impl FromStr for Share {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let number = text.strip_suffix('%').and_then(|number| digits(number.trim()));
        let percent = number.and_then(|number| number.parse::<f64>().ok()).filter(|percent| *percent <= 100.0);
        let share = percent.map(|percent| Self(percent / 100.0));
        share.ok_or_else(|| format!("`{text}` is not a share; write one from 0% to 100%, such as 0.5%"))
    }
}

/// A point in time, RFC 3339.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Instant {
    us: i64,
}

text_scalar!(
    Instant,
    "Instant",
    "instant",
    r"^[0-9]{4}-[0-9]{2}-[0-9]{2}[Tt ].*$",
    "A point in time, RFC 3339: 2026-03-01T10:00:00Z."
);

impl Instant {
    pub fn from_us(us: i64) -> Self {
        Self { us }
    }

    /// Microseconds since the Unix epoch.
    pub fn as_us(self) -> i64 {
        self.us
    }
}

impl fmt::Display for Instant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match jiff::Timestamp::from_microsecond(self.us) {
            Ok(instant) => instant.fmt(f),
            // Beyond the calendar.
            Err(_) => write!(f, "{} us", self.us),
        }
    }
}

impl FromStr for Instant {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let instant: Result<jiff::Timestamp, _> = text.parse();
        let instant = instant.map_err(|_| format!("`{text}` is no point in time such as 2026-03-01T10:00:00Z"))?;
        Ok(Self { us: instant.as_microsecond() })
    }
}

/// `5_000.5 ms` to (`5000.5`, `ms`).
fn split_unit(text: &str) -> Option<(String, &str)> {
    let unit = text.find(|c: char| c.is_ascii_alphabetic())?;
    Some((digits(text[..unit].trim())?, &text[unit..]))
}

/// Digits with an optional fraction, underscores taken out; nothing else is a number here.
fn digits(text: &str) -> Option<String> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, "0"));
    let is_number = whole.starts_with(|c: char| c.is_ascii_digit())
        && whole.chars().all(|c| c.is_ascii_digit() || c == '_')
        && !fraction.is_empty()
        && fraction.chars().all(|c| c.is_ascii_digit());
    is_number.then(|| text.replace('_', ""))
}

/// `number * unit` if that is a whole number that fits: `1.5` of 1000 is 1500.
fn scaled(number: &str, unit: u64) -> Option<u64> {
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    let whole = whole.parse::<u64>().ok()?.checked_mul(unit)?;
    let fraction = fraction.trim_end_matches('0');
    if fraction.is_empty() {
        return Some(whole);
    }
    let denominator = 10u128.checked_pow(fraction.len() as u32)?;
    let numerator = fraction.parse::<u128>().ok()?.checked_mul(u128::from(unit))?;
    let exact = numerator.is_multiple_of(denominator).then_some(numerator / denominator)?;
    whole.checked_add(u64::try_from(exact).ok()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_exact_microseconds() {
        for (text, us, shown) in [
            ("5s", 5_000_000, "5s"),
            ("1min", 60_000_000, "1min"),
            ("90s", 90_000_000, "90s"),
            ("5m", 300_000_000, "5min"),
            ("1.5ms", 1_500, "1500us"),
            ("2_000 ms", 2_000_000, "2s"),
            ("1d", 86_400_000_000, "1d"),
            ("0s", 0, "0s"),
        ] {
            let duration: Duration = text.parse().unwrap();
            assert_eq!((duration.as_us(), duration.to_string().as_str()), (us, shown), "{text}");
        }
    }

    #[test]
    fn what_is_not_a_duration_says_what_one_looks_like() {
        for text in ["5", "s", "-5s", "5 sec", "1.5us", "", "5.s", "1e3s", "_5s", "99999999999999d"] {
            let error = text.parse::<Duration>().unwrap_err();
            assert!(error.contains("duration") || error.contains("finer"), "{text}: {error}");
        }
    }

    #[test]
    fn sizes_are_binary_and_megabytes_are_refused_as_ambiguous() {
        assert_eq!("32MiB".parse::<Size>().unwrap().bytes(), 32 << 20);
        assert_eq!("1.5KiB".parse::<Size>().unwrap().to_string(), "1536B");
        assert!("32MB".parse::<Size>().is_err());
        assert!("99999999TiB".parse::<Size>().is_err());
    }

    #[test]
    fn rates_and_shares_are_positive_numbers_with_a_unit() {
        assert_eq!("20_000/s".parse::<Rate>().unwrap().per_second(), 20_000.0);
        assert_eq!("90 / min".parse::<Rate>().unwrap().per_second(), 1.5);
        assert!("0/s".parse::<Rate>().is_err() && "20000".parse::<Rate>().is_err() && "NaN/s".parse::<Rate>().is_err());
        assert_eq!("0.5%".parse::<Share>().unwrap().fraction(), 0.005);
        assert!("101%".parse::<Share>().is_err() && "0.5".parse::<Share>().is_err());
    }
}
