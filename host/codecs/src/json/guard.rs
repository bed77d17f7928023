//! What must hold of a payload before the parser sees it: bounded nesting, because the parser recurses on it, and
//! well-formed escapes, because the parser does not look at those of values that it skips (and would take a quote
//! behind a short `\u` for a part of it).
//!
//! Invariant: up to the first byte at which a parser must stop, brackets and strings are seen as the parser sees
//! them, so that its recursion is never deeper than what is measured here.

/// Why a payload does not reach the parser.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Refusal {
    TooDeep,
    /// A backslash at this byte does not begin an escape, or begins half a surrogate pair.
    Escape {
        at: usize,
    },
}

/// Checks one payload against a nesting limit.
pub(crate) fn check(payload: &[u8], max_depth: usize) -> Result<(), Refusal> {
    let (brackets, backslashes) = survey(payload);
    // Most payloads have fewer opening brackets than the limit, in strings or not, and no backslash.
    if brackets > max_depth && depth(payload, max_depth) > max_depth {
        return Err(Refusal::TooDeep);
    }
    match backslashes.then(|| bad_escape(payload)).flatten() {
        Some(at) => Err(Refusal::Escape { at }),
        None => Ok(()),
    }
}

/// The number of opening brackets, and whether there is a backslash. No branch per byte, and counts in single
/// bytes, so that the compiler uses whole vector registers.
fn survey(payload: &[u8]) -> (usize, bool) {
    let (mut brackets, mut backslashes) = (0, false);
    for chunk in payload.chunks(255) {
        let (mut count, mut any) = (0u8, 0u8);
        for byte in chunk {
            // '[' and '{' differ in bit 5 alone.
            count = count.wrapping_add(u8::from(byte | 0x20 == b'{'));
            any |= u8::from(*byte == b'\\');
        }
        brackets += usize::from(count);
        backslashes |= any != 0;
    }
    (brackets, backslashes)
}

/// Position of the first backslash that is no valid escape.
fn bad_escape(payload: &[u8]) -> Option<usize> {
    let mut at = 0;
    while let Some(next) = payload[at..].iter().position(|byte| *byte == b'\\') {
        at += next;
        match escape_length(&payload[at..]) {
            Some(length) => at += length,
            None => return Some(at),
        }
    }
    None
}

/// Length of the escape that `text` begins with.
fn escape_length(text: &[u8]) -> Option<usize> {
    match text.get(1)? {
        b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't' => Some(2),
        b'u' => match code_unit(text)? {
            0xd800..=0xdbff => matches!(code_unit(&text[6..])?, 0xdc00..=0xdfff).then_some(12),
            0xdc00..=0xdfff => None,
            _ => Some(6),
        },
        _ => None,
    }
}

/// The UTF-16 code unit of a `\uXXXX`.
fn code_unit(text: &[u8]) -> Option<u32> {
    let [b'\\', b'u', digits @ ..] = text.get(..6)? else { return None };
    digits.iter().try_fold(0, |value, digit| Some(value * 16 + char::from(*digit).to_digit(16)?))
}

/// The deepest nesting, measured until it passes `limit`.
fn depth(payload: &[u8], limit: usize) -> usize {
    let (mut depth, mut deepest) = (0usize, 0usize);
    let (mut in_string, mut escaped) = (false, false);
    for byte in payload {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if in_string => escaped = true,
            b'"' => in_string = !in_string,
            b'[' | b'{' if !in_string => {
                depth += 1;
                deepest = deepest.max(depth);
                if deepest > limit {
                    break;
                }
            }
            b']' | b'}' if !in_string => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    deepest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn depth_is_counted_exactly_at_the_limit() {
        for (open, close) in [("[", "]"), ("{\"a\":", "}")] {
            let nested = |n: usize| format!("{}1{}", open.repeat(n), close.repeat(n));
            assert_eq!(check(nested(64).as_bytes(), 64), Ok(()));
            assert_eq!(check(nested(65).as_bytes(), 64), Err(Refusal::TooDeep));
        }
    }

    #[test]
    fn brackets_in_strings_and_beside_each_other_do_not_nest() {
        let in_string = format!(r#"{{"a":"\"{}"}}"#, "[".repeat(500));
        assert_eq!(check(in_string.as_bytes(), 64), Ok(()));
        let beside = format!("[{}1]", "[],".repeat(500));
        assert_eq!(check(beside.as_bytes(), 64), Ok(()));
    }

    #[test]
    fn brackets_and_backslashes_are_counted_across_chunks() {
        for n in [0, 1, 254, 255, 256, 1000] {
            let brackets: Vec<u8> = b"[{".iter().copied().cycle().take(n).collect();
            assert_eq!(survey(&[&brackets[..], b"]}\";["].concat()), (n + 1, false));
            assert_eq!(survey(&[&brackets[..], b"\\"].concat()), (n, true));
        }
    }

    #[test]
    fn an_escape_is_whole_or_refused_where_it_begins() {
        for good in [r#"\"\\\/\b\f\n\r\t"#, r"\u0000\uFFFF\ud800\udc00\\u12", r"a\\\\x"] {
            assert_eq!(check(good.as_bytes(), 64), Ok(()), "{good}");
        }
        for bad in
            [r"\", r"\x", r"\u12", r"\u12g4", r"\u+123", r"\ud800", r"\ud800\n", r"\ud800\u0041", r"\udc00", r"\\\"]
        {
            let text = format!("ab{bad}");
            let at = if bad == r"\\\" { 4 } else { 2 };
            assert_eq!(check(text.as_bytes(), 64), Err(Refusal::Escape { at }), "{bad}");
        }
    }
}
