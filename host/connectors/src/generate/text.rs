//! The few pieces of text that generated events are made of, written straight into the payload.

/// Text that needs no escape, or null.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Text {
    Plain(&'static str),
    Null,
}

impl Text {
    pub(super) fn write(self, out: &mut Vec<u8>) {
        match self {
            Self::Plain(text) => {
                out.push(b'"');
                out.extend_from_slice(text.as_bytes());
                out.push(b'"');
            }
            Self::Null => out.extend_from_slice(b"null"),
        }
    }
}

/// Decimal digits, at least `width` of them.
pub(super) fn push_fixed(mut value: u64, width: usize, out: &mut Vec<u8>) {
    let mut digits = [b'0'; 20];
    let mut at = digits.len();
    while value > 0 || digits.len() - at < width {
        at -= 1;
        digits[at] = b'0' + (value % 10) as u8;
        value /= 10;
    }
    out.extend_from_slice(&digits[at..]);
}

/// The lowest `width` hexadecimal digits.
pub(super) fn push_hex(value: u64, width: u32, out: &mut Vec<u8>) {
    for digit in (0..width).rev() {
        out.push(b"0123456789abcdef"[(value >> (digit * 4)) as usize & 15]);
    }
}

/// `2026-03-01T10:00:10.123Z`, for years 0 to 9999.
pub(super) fn push_rfc3339_ms(time_us: i64, out: &mut Vec<u8>) {
    const DAY_US: i64 = 86_400_000_000;
    let (year, month, day) = civil(time_us.div_euclid(DAY_US));
    let ms = time_us.rem_euclid(DAY_US) as u64 / 1_000;
    let mut text = *b"0000-00-00T00:00:00.000Z";
    let mut put = |at: usize, width: usize, mut value: u64| {
        for place in (at..at + width).rev() {
            text[place] = b'0' + (value % 10) as u8;
            value /= 10;
        }
    };
    put(0, 4, year as u64);
    put(5, 2, month);
    put(8, 2, day);
    put(11, 2, ms / 3_600_000);
    put(14, 2, ms / 60_000 % 60);
    put(17, 2, ms / 1_000 % 60);
    put(20, 3, ms % 1_000);
    out.extend_from_slice(&text);
}

/// Year, month and day of a day since 1970-01-01 (Hinnant, "chrono-Compatible Low-Level Date Algorithms").
fn civil(days: i64) -> (i64, u64, u64) {
    let days = days + 719_468;
    let era = days.div_euclid(146_097);
    let day_of_era = days.rem_euclid(146_097);
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    (year_of_era + era * 400 + i64::from(month <= 2), month as u64, day as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_written_as_jiff_writes_them() {
        let seed = 20_260_301_u64;
        let mut state = seed;
        for _ in 0..20_000 {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let time_us =
                (state >> 8) as i64 % 253_402_300_799_000_000 - 60_000_000_000_000_000 * i64::from(state & 1 == 0);
            let Ok(expected) = jiff::Timestamp::from_microsecond(time_us.div_euclid(1_000) * 1_000) else { continue };
            if expected < jiff::Timestamp::from_microsecond(-62_135_596_800_000_000).unwrap() {
                continue;
            }
            let mut out = Vec::new();
            push_rfc3339_ms(time_us, &mut out);
            assert_eq!(String::from_utf8(out).unwrap(), format!("{expected:.3}"), "seed {seed}, {time_us} us");
        }
    }
}
