//! Tokens, one kind at a time; whole documents are tested in `tests/`.

use super::*;

fn scan<T>(payload: &str, read: impl FnOnce(&mut Scanner) -> T) -> (T, usize) {
    let text = format!("{payload}\0");
    let mut scanner = Scanner::new(&text, payload.len(), 64);
    let value = read(&mut scanner);
    (value, scanner.position())
}

#[test]
fn the_first_special_byte_is_found_at_every_place_and_beside_every_byte() {
    for special in [b'"', b'\\', 0, 0x1f] {
        for other in 0..=255u8 {
            for place in 0..8 {
                let mut word = [b'a'; 8];
                word[place] = special;
                if place + 1 < 8 {
                    word[place + 1] = other;
                }
                assert_eq!(first_special(u64::from_le_bytes(word)), place);
                let mut word = [other; 8];
                word[place] = special;
                let first = word.iter().position(|byte| is_special(*byte)).unwrap();
                assert_eq!(first_special(u64::from_le_bytes(word)), first);
            }
            let expected = if is_special(other) { 0 } else { 8 };
            assert_eq!(first_special(u64::from_le_bytes([other; 8])), expected);
        }
    }
}

#[test]
fn numbers_are_exact_or_left_as_text() {
    let number = |text: &'static str| {
        let text: &'static str = Box::leak(format!("{text}\0").into_boxed_str());
        let number = Scanner::new(text, text.len() - 1, 64).number().map_err(|stop| stop.reason)?;
        assert_eq!(number.text.len(), text.len() - 1);
        Ok::<_, String>((number.integer, number.float))
    };
    assert_eq!(number("0"), Ok((Some(0), None)));
    assert_eq!(number("-12"), Ok((Some(-12), None)));
    assert_eq!(number("-0"), Ok((None, None)));
    assert_eq!(number("999999999999999999"), Ok((Some(999_999_999_999_999_999), None)));
    assert_eq!(number("1000000000000000000"), Ok((None, None)));
    assert_eq!(number("0.1"), Ok((None, Some(0.1))));
    assert_eq!(number("-12345.678"), Ok((None, Some(-12345.678))));
    assert_eq!(number("1.5e3"), Ok((None, None)));
    assert_eq!(number("1e3"), Ok((None, None)));
    assert_eq!(number("1234567890123456.5e1"), Ok((None, None)));
    assert_eq!(number("-0.0").unwrap().1.unwrap().to_bits(), (-0.0f64).to_bits());
    for bad in
        ["-", "01", "1.", "1e", "1e+", "1.5e", "00", "-a", "123456789012345678.e1", "1234567890123456.5e", "1.5e3e4"]
    {
        let text = format!("{bad}\0");
        let mut scanner = Scanner::new(&text, bad.len(), 64);
        assert!(scanner.number().is_err() || scanner.end_document().is_err(), "{bad}");
    }
}

#[test]
fn every_quotient_of_the_quick_road_is_the_correctly_rounded_one() {
    for mantissa in (0..1_000_000_000_000_000u64).step_by(7_777_777_777_777) {
        for places in 0..=15usize {
            let digits = format!("{mantissa:016}");
            let (whole, fraction) = digits.split_at(16 - places);
            let text = format!("{}.{}0", whole.trim_start_matches('0').parse::<u64>().unwrap_or(0), fraction);
            let (number, _) = scan(&text, |scanner| scanner.number().map(|number| number.float).ok().flatten());
            if let Some(number) = number {
                assert_eq!(number.to_bits(), text.parse::<f64>().unwrap().to_bits(), "{text}");
            }
        }
    }
}

#[test]
fn an_escape_is_whole_or_refused() {
    let unescaped = |content: &str| {
        let mut scratch = String::new();
        let (text, at) = scan(&format!("\"{content}\""), |scanner| scanner.string(&mut scratch).map(str::to_owned));
        text.map(|text| (text, at)).map_err(|stop| stop.reason)
    };
    let all = r#"a\"\\\/\b\f\n\r\t\u00e9\ud83d\ude00z"#;
    assert_eq!(unescaped(all), Ok(("a\"\\/\u{8}\u{c}\n\r\té😀z".into(), all.len() + 2)));
    for bad in
        [r"\x", r"\u12", r"\u12g4", r"\u+123", r"\ud800", r"\ud800\n", r"\ud800\u0041", r"\udc00", "\u{1f}", "\n"]
    {
        assert!(unescaped(bad).unwrap_err().starts_with("not valid JSON: expected"), "{bad}");
        let (skipped, _) = scan(&format!("\"{bad}\""), |scanner| scanner.skip(0));
        assert!(skipped.is_err(), "{bad}");
    }
}

#[test]
fn a_token_never_reaches_beyond_the_payload() {
    let text = "\"ab\0\",1,2]";
    let stop = Scanner::new(text, 3, 64).skip(0).unwrap_err();
    assert_eq!(stop.reason, "not valid JSON: expected `\"` or an escape at byte 3, the payload ends");
}
