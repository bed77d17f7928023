//! The scanner: JSON's grammar over one payload, every byte of it validated, nothing interpreted.
//!
//! Invariant: the text goes on behind the payload with a NUL at least (the arena puts one there), and NUL is valid
//! nowhere in JSON; so every loop ends there, and no token reaches beyond the payload. Nesting is bounded before
//! it is entered.

use crate::codec::reject_code;
use crate::column_set::Fault;

/// A fault on its way out; boxed, so that the good road carries one pointer.
pub(crate) type Stop = Box<Fault>;

/// A number's text, and its value where that is exact and cheap.
pub(crate) struct Number<'p> {
    pub text: &'p str,
    /// The value of an integer of at most 18 digits, unless it is `-0`.
    pub integer: Option<i64>,
    /// The value of a fraction of few digits and no exponent.
    pub float: Option<f64>,
}

/// Digits that an `f64` holds exactly, and powers of ten that it holds exactly: a quotient of the two is rounded
/// once, hence correctly (Clinger, "How to Read Floating Point Numbers Accurately").
const EXACT_DIGITS: usize = 15;
const EXACT_POWERS: [f64; EXACT_DIGITS + 1] =
    [1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15];

/// Integers of this many digits fit an `i64`.
const INTEGER_DIGITS: usize = 18;

/// One payload being read.
#[derive(Clone)]
pub(crate) struct Scanner<'p> {
    /// The payload, the NUL behind it and whatever follows.
    text: &'p str,
    /// Where the payload ends: the NUL's position.
    end: usize,
    at: usize,
    max_depth: usize,
}

impl<'p> Scanner<'p> {
    pub(crate) fn new(text: &'p str, end: usize, max_depth: usize) -> Self {
        debug_assert_eq!(text.as_bytes()[end], 0, "a NUL stands behind every payload");
        Self { text, end, at: 0, max_depth }
    }

    pub(crate) fn position(&self) -> usize {
        self.at
    }

    pub(crate) fn text_from(&self, start: usize) -> &'p str {
        &self.text[start..self.at]
    }

    #[inline]
    pub(crate) fn peek(&self) -> u8 {
        self.text.as_bytes()[self.at]
    }

    #[inline]
    pub(crate) fn advance(&mut self, bytes: usize) {
        self.at += bytes;
    }

    /// The bytes ahead, those behind the payload included.
    #[inline]
    pub(crate) fn ahead(&self) -> &'p [u8] {
        &self.text.as_bytes()[self.at..]
    }

    #[cold]
    pub(crate) fn expected(&self, what: &str) -> Stop {
        let found = match self.text[self.at.min(self.end)..self.end].chars().next() {
            Some(character) => format!("found {character:?}"),
            None => "the payload ends".into(),
        };
        let reason = format!("not valid JSON: expected {what} at byte {}, {found}", self.at);
        Box::new(Fault { code: reject_code::JSON_SYNTAX, reason })
    }

    #[cold]
    fn too_deep(&self) -> Stop {
        let reason = format!("arrays and objects nested deeper than {}", self.max_depth);
        Box::new(Fault { code: reject_code::TOO_DEEP, reason })
    }

    #[inline]
    pub(crate) fn skip_space(&mut self) {
        while matches!(self.peek(), b' ' | b'\n' | b'\r' | b'\t') {
            self.at += 1;
        }
    }

    /// Enters an array or object that is the `depth`-th around what is inside it, up to its first token.
    pub(crate) fn open(&mut self, depth: usize) -> Result<(), Stop> {
        if depth > self.max_depth {
            return Err(self.too_deep());
        }
        self.at += 1;
        self.skip_space();
        Ok(())
    }

    /// Behind an element: whether another one follows, or the container ends with `close`.
    #[inline]
    pub(crate) fn another(&mut self, close: u8) -> Result<bool, Stop> {
        self.skip_space();
        let byte = self.peek();
        if byte != b',' && byte != close {
            return Err(self.expected(if close == b'}' { "`,` or `}`" } else { "`,` or `]`" }));
        }
        self.at += 1;
        if byte == b',' {
            self.skip_space();
        }
        Ok(byte == b',')
    }

    pub(crate) fn colon(&mut self) -> Result<(), Stop> {
        self.skip_space();
        if self.peek() != b':' {
            return Err(self.expected("`:`"));
        }
        self.at += 1;
        Ok(())
    }

    pub(crate) fn end_document(&mut self) -> Result<(), Stop> {
        self.skip_space();
        if self.at == self.end { Ok(()) } else { Err(self.expected("the end of the payload")) }
    }

    #[inline]
    pub(crate) fn literal(&mut self, literal: &'static str) -> Result<(), Stop> {
        if !self.ahead().starts_with(literal.as_bytes()) {
            return Err(self.expected("a value"));
        }
        self.at += literal.len();
        Ok(())
    }

    /// Moves on to the next quote, backslash or control character.
    #[inline]
    fn run(&mut self) {
        let bytes = self.text.as_bytes();
        while let Some(word) = bytes[self.at..].first_chunk::<8>() {
            match first_special(u64::from_le_bytes(*word)) {
                8 => self.at += 8,
                index => {
                    self.at += index;
                    return;
                }
            }
        }
        while !is_special(bytes[self.at]) {
            self.at += 1;
        }
    }

    /// The content of a string whose quote is next; `scratch` holds it when it had escapes.
    #[inline]
    pub(crate) fn string<'s>(&mut self, scratch: &'s mut String) -> Result<&'s str, Stop>
    where
        'p: 's,
    {
        self.at += 1;
        let start = self.at;
        self.run();
        if self.peek() != b'"' {
            return self.escaped_string(start, scratch);
        }
        let content = &self.text[start..self.at];
        self.at += 1;
        Ok(content)
    }

    #[cold]
    fn escaped_string<'s>(&mut self, mut start: usize, scratch: &'s mut String) -> Result<&'s str, Stop> {
        scratch.clear();
        loop {
            scratch.push_str(&self.text[start..self.at]);
            match self.peek() {
                b'"' => break,
                b'\\' => scratch.push(self.escape()?),
                _ => return Err(self.expected("`\"` or an escape")),
            }
            start = self.at;
            self.run();
        }
        self.at += 1;
        Ok(scratch)
    }

    /// The character that an escape stands for.
    fn escape(&mut self) -> Result<char, Stop> {
        let character = match self.ahead().get(1) {
            Some(b'n') => '\n',
            Some(b't') => '\t',
            Some(b'r') => '\r',
            Some(b'b') => '\u{8}',
            Some(b'f') => '\u{c}',
            Some(byte @ (b'"' | b'\\' | b'/')) => char::from(*byte),
            Some(b'u') => return self.unicode_escape(),
            _ => return Err(self.expected("an escape")),
        };
        self.at += 2;
        Ok(character)
    }

    fn unicode_escape(&mut self) -> Result<char, Stop> {
        let first = code_unit(self.ahead()).ok_or_else(|| self.expected("`\\u` and four hex digits"))?;
        let second = match first {
            0xd800..=0xdbff => code_unit(&self.ahead()[6..]),
            _ => None,
        };
        let units = [first, second.unwrap_or_default()];
        let length = if second.is_some() { 2 } else { 1 };
        match char::decode_utf16(units[..length].iter().copied()).next() {
            Some(Ok(character)) => {
                self.at += 6 * length;
                Ok(character)
            }
            _ => Err(self.expected("a whole surrogate pair")),
        }
    }

    #[inline]
    fn skip_string(&mut self) -> Result<(), Stop> {
        self.at += 1;
        loop {
            self.run();
            match self.peek() {
                b'"' => break,
                b'\\' => drop(self.escape()?),
                _ => return Err(self.expected("`\"` or an escape")),
            }
        }
        self.at += 1;
        Ok(())
    }

    /// Digits: their value, wrapping, and their number.
    #[inline]
    fn digits(&mut self, mut value: u64) -> (u64, usize) {
        let start = self.at;
        let bytes = self.text.as_bytes();
        while let digit @ 0..=9 = bytes[self.at].wrapping_sub(b'0') {
            value = value.wrapping_mul(10).wrapping_add(u64::from(digit));
            self.at += 1;
        }
        (value, self.at - start)
    }

    /// A number, whose first byte is next.
    #[inline]
    pub(crate) fn number(&mut self) -> Result<Number<'p>, Stop> {
        let start = self.at;
        let negative = self.peek() == b'-';
        self.at += usize::from(negative);
        let zero = self.peek() == b'0';
        let (value, whole) = self.digits(0);
        if whole == 0 || (zero && whole > 1) {
            return Err(self.expected("a number without leading zeros"));
        }
        if !matches!(self.peek(), b'.' | b'e' | b'E') {
            let signed = (value as i64).wrapping_mul(if negative { -1 } else { 1 });
            let integer = (whole <= INTEGER_DIGITS && !(negative && zero)).then_some(signed);
            return Ok(Number { text: self.text_from(start), integer, float: None });
        }
        let (mut value, mut places) = (value, 0);
        if self.peek() == b'.' {
            self.at += 1;
            (value, places) = self.digits(value);
            if places == 0 {
                return Err(self.expected("a digit"));
            }
        }
        let exact = !self.exponent()? && whole + places <= EXACT_DIGITS;
        let float = exact.then(|| value as f64 / EXACT_POWERS[places] * if negative { -1.0 } else { 1.0 });
        Ok(Number { text: self.text_from(start), integer: None, float })
    }

    /// Whether an exponent follows; it is skipped then.
    fn exponent(&mut self) -> Result<bool, Stop> {
        if !matches!(self.peek(), b'e' | b'E') {
            return Ok(false);
        }
        self.at += 1;
        if matches!(self.peek(), b'+' | b'-') {
            self.at += 1;
        }
        if self.digits(0).1 == 0 {
            return Err(self.expected("a digit"));
        }
        Ok(true)
    }

    /// Skips a value of any kind; `depth` containers are around it.
    pub(crate) fn skip(&mut self, depth: usize) -> Result<(), Stop> {
        match self.peek() {
            b'"' => self.skip_string(),
            b'n' => self.literal("null"),
            b't' => self.literal("true"),
            b'f' => self.literal("false"),
            b'-' | b'0'..=b'9' => self.number().map(drop),
            b'{' => self.skip_object(depth + 1),
            b'[' => self.skip_array(depth + 1),
            _ => Err(self.expected("a value")),
        }
    }

    fn skip_array(&mut self, depth: usize) -> Result<(), Stop> {
        self.open(depth)?;
        if self.peek() == b']' {
            self.at += 1;
            return Ok(());
        }
        loop {
            self.skip(depth)?;
            if !self.another(b']')? {
                return Ok(());
            }
        }
    }

    fn skip_object(&mut self, depth: usize) -> Result<(), Stop> {
        self.open(depth)?;
        if self.peek() == b'}' {
            self.at += 1;
            return Ok(());
        }
        loop {
            if self.peek() != b'"' {
                return Err(self.expected("a key"));
            }
            self.skip_string()?;
            self.colon()?;
            self.skip_space();
            self.skip(depth)?;
            if !self.another(b'}')? {
                return Ok(());
            }
        }
    }
}

/// Whether a byte ends a run of a string's plain characters.
fn is_special(byte: u8) -> bool {
    byte < 0x20 || byte == b'"' || byte == b'\\'
}

/// Index of the first special byte of a little-endian word, 8 when there is none.
///
/// Each term sets the top bit of the bytes that it looks for. A borrow can set it in a byte above a true one, never
/// below, so that the lowest is right.
#[inline]
fn first_special(word: u64) -> usize {
    const ONES: u64 = u64::from_le_bytes([0x01; 8]);
    const TOPS: u64 = u64::from_le_bytes([0x80; 8]);
    let zeros = |word: u64| word.wrapping_sub(ONES) & !word;
    let quotes = zeros(word ^ (ONES * b'"' as u64));
    let backslashes = zeros(word ^ (ONES * b'\\' as u64));
    let controls = word.wrapping_sub(ONES * 0x20) & !word;
    ((quotes | backslashes | controls) & TOPS).trailing_zeros() as usize / 8
}

/// The UTF-16 code unit of the `\uXXXX` that `text` begins with.
fn code_unit(text: &[u8]) -> Option<u16> {
    let [b'\\', b'u', digits @ ..] = text.get(..6)? else { return None };
    digits.iter().try_fold(0, |value, digit| Some(value * 16 + char::from(*digit).to_digit(16)? as u16))
}

#[cfg(test)]
#[path = "scan/tests.rs"]
mod tests;
