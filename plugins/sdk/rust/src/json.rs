//! A small reader of JSON: configurations are short, and a plugin's build should not pay for a large one.
//!
//! Invariant: numbers keep their text, so a decimal loses no digit. Deliberately no writer and no streaming.

/// Nesting that is read; what is deeper is refused.
const MAX_DEPTH: usize = 64;

#[derive(Debug, Clone, PartialEq)]
pub enum Json {
    Null,
    Bool(bool),
    /// As written.
    Number(String),
    Text(String),
    List(Vec<Json>),
    /// In the order written; keys are unique.
    Object(Vec<(String, Json)>),
}

impl Json {
    /// What it is, for messages.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Null => "null",
            Self::Bool(_) => "a boolean",
            Self::Number(_) => "a number",
            Self::Text(_) => "a string",
            Self::List(_) => "a list",
            Self::Object(_) => "an object",
        }
    }

    /// # Errors
    /// What is wrong and at which byte.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut reader = Reader { text, at: 0 };
        let json = reader.value(0)?;
        reader.space();
        if reader.at < text.len() { Err(reader.fault("nothing more")) } else { Ok(json) }
    }
}

struct Reader<'a> {
    text: &'a str,
    at: usize,
}

impl Reader<'_> {
    fn fault(&self, wanted: &str) -> String {
        let found = self.text[self.at..].chars().next().map_or("the end".into(), |found| format!("{found:?}"));
        format!("not JSON: {wanted} expected at byte {}, found {found}", self.at)
    }

    fn peek(&self) -> u8 {
        self.text.as_bytes().get(self.at).copied().unwrap_or(0)
    }

    fn space(&mut self) {
        while matches!(self.peek(), b' ' | b'\t' | b'\n' | b'\r') {
            self.at += 1;
        }
    }

    fn take(&mut self, token: &str) -> bool {
        let taken = self.text[self.at..].starts_with(token);
        self.at += if taken { token.len() } else { 0 };
        taken
    }

    fn value(&mut self, depth: usize) -> Result<Json, String> {
        if depth > MAX_DEPTH {
            return Err(format!("nested deeper than {MAX_DEPTH} at byte {}", self.at));
        }
        self.space();
        match self.peek() {
            b'{' => self.object(depth),
            b'[' => self.list(depth),
            b'"' => self.string().map(Json::Text),
            b'-' | b'0'..=b'9' => self.number(),
            _ if self.take("null") => Ok(Json::Null),
            _ if self.take("true") => Ok(Json::Bool(true)),
            _ if self.take("false") => Ok(Json::Bool(false)),
            _ => Err(self.fault("a value")),
        }
    }

    fn object(&mut self, depth: usize) -> Result<Json, String> {
        self.at += 1;
        let mut entries: Vec<(String, Json)> = Vec::new();
        self.space();
        if self.take("}") {
            return Ok(Json::Object(entries));
        }
        loop {
            self.space();
            if self.peek() != b'"' {
                return Err(self.fault("a key"));
            }
            let key = self.string()?;
            if entries.iter().any(|(other, _)| *other == key) {
                return Err(format!("key {key:?} stands twice in one object"));
            }
            self.space();
            if !self.take(":") {
                return Err(self.fault("`:`"));
            }
            entries.push((key, self.value(depth + 1)?));
            self.space();
            match self.peek() {
                b',' => self.at += 1,
                b'}' => break self.at += 1,
                _ => return Err(self.fault("`,` or `}`")),
            }
        }
        Ok(Json::Object(entries))
    }

    fn list(&mut self, depth: usize) -> Result<Json, String> {
        self.at += 1;
        let mut items = Vec::new();
        self.space();
        if self.take("]") {
            return Ok(Json::List(items));
        }
        loop {
            items.push(self.value(depth + 1)?);
            self.space();
            match self.peek() {
                b',' => self.at += 1,
                b']' => break self.at += 1,
                _ => return Err(self.fault("`,` or `]`")),
            }
        }
        Ok(Json::List(items))
    }

    fn digits(&mut self) -> Result<(), String> {
        if !self.peek().is_ascii_digit() {
            return Err(self.fault("a digit"));
        }
        while self.peek().is_ascii_digit() {
            self.at += 1;
        }
        Ok(())
    }

    fn number(&mut self) -> Result<Json, String> {
        let start = self.at;
        self.take("-");
        if !self.take("0") {
            self.digits()?;
        }
        if self.take(".") {
            self.digits()?;
        }
        if self.take("e") || self.take("E") {
            let _sign = self.take("+") || self.take("-");
            self.digits()?;
        }
        Ok(Json::Number(self.text[start..self.at].into()))
    }

    fn string(&mut self) -> Result<String, String> {
        self.at += 1;
        let mut value = String::new();
        loop {
            let plain = self.text[self.at..].find(|c: char| c == '"' || c == '\\' || c < ' ');
            let end = self.at + plain.unwrap_or(self.text.len() - self.at);
            value.push_str(&self.text[self.at..end]);
            self.at = end;
            match self.peek() {
                b'"' => {
                    self.at += 1;
                    return Ok(value);
                }
                b'\\' => value.push(self.escape()?),
                _ => return Err(self.fault("the end of a string")),
            }
        }
    }

    fn escape(&mut self) -> Result<char, String> {
        self.at += 1;
        let escaped = match self.peek() {
            b'"' => '"',
            b'\\' => '\\',
            b'/' => '/',
            b'b' => '\u{8}',
            b'f' => '\u{c}',
            b'n' => '\n',
            b'r' => '\r',
            b't' => '\t',
            b'u' => return self.unicode(),
            _ => return Err(self.fault("an escape")),
        };
        self.at += 1;
        Ok(escaped)
    }

    fn unicode(&mut self) -> Result<char, String> {
        let first = self.hex4()?;
        if !(0xd800..0xdc00).contains(&first) {
            return char::from_u32(first).ok_or_else(|| self.fault("a whole surrogate pair before this"));
        }
        if !self.text[self.at..].starts_with("\\u") {
            return Err(self.fault("the second half of a surrogate pair"));
        }
        self.at += 1;
        let second = self.hex4()?;
        let code = 0x10000 + ((first - 0xd800) << 10) + second.wrapping_sub(0xdc00);
        let valid = (0xdc00..0xe000).contains(&second);
        char::from_u32(code).filter(|_| valid).ok_or_else(|| self.fault("a whole surrogate pair before this"))
    }

    /// The four digits behind a `u`.
    fn hex4(&mut self) -> Result<u32, String> {
        self.at += 1;
        let digits = self.text.get(self.at..self.at + 4).filter(|digits| digits.bytes().all(|b| b.is_ascii_hexdigit()));
        let code = digits.and_then(|digits| u32::from_str_radix(digits, 16).ok());
        let code = code.ok_or_else(|| self.fault("four hexadecimal digits"))?;
        self.at += 4;
        Ok(code)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn number(text: &str) -> Json {
        Json::Number(text.into())
    }

    #[test]
    fn every_kind_of_value_is_read() {
        let json = Json::parse(r#" {"a": [1, -2.50, 1e9], "b": null, "c": true, "d": {}, "e": [] } "#).unwrap();
        let expected = [
            ("a", Json::List(vec![number("1"), number("-2.50"), number("1e9")])),
            ("b", Json::Null),
            ("c", Json::Bool(true)),
            ("d", Json::Object(vec![])),
            ("e", Json::List(vec![])),
        ];
        assert_eq!(json, Json::Object(expected.map(|(key, value)| (key.into(), value)).into()));
    }

    #[test]
    fn strings_keep_every_character() {
        let json = Json::parse(r#""tab\t quote\" \u00e9 \ud83d\ude00 é""#).unwrap();
        assert_eq!(json, Json::Text("tab\t quote\" é 😀 é".into()));
    }

    #[test]
    fn what_is_no_json_is_refused_with_its_place() {
        for text in
            ["", "{", "[1,]", "{\"a\":1,}", "01", "1.", "-", "nul", "\"a", "\"\\x\"", "\"\\ud800\"", "1 2", "\"\n\""]
        {
            assert!(Json::parse(text).is_err(), "{text}");
        }
        assert_eq!(Json::parse("[1 2]").unwrap_err(), "not JSON: `,` or `]` expected at byte 3, found '2'");
        assert_eq!(Json::parse(r#"{"a":1,"a":2}"#).unwrap_err(), "key \"a\" stands twice in one object");
        assert!(Json::parse(&"[".repeat(100_000)).unwrap_err().starts_with("nested deeper than 64"));
    }
}
