//! Rows that a decoder, plugin, operator or sink refused.

use std::borrow::Cow;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

/// The longest reason that is kept; what is longer is cut at a character.
pub const MAX_REASON_BYTES: usize = 1024;

/// One refused row of a batch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reject {
    /// Row number in the batch (or record number, for a decoder) that was refused.
    pub row: u32,
    /// Machine-readable and stable, kebab-case: `json-syntax`, `amount-too-large`.
    pub code: Cow<'static, str>,
    /// For people: what was wrong, with the offending value where it is short.
    pub reason: String,
}

impl Reject {
    pub fn new(row: u32, code: impl Into<Cow<'static, str>>, reason: impl Into<String>) -> Self {
        let mut reason = reason.into();
        if reason.len() > MAX_REASON_BYTES {
            reason.truncate(reason.floor_char_boundary(MAX_REASON_BYTES));
        }
        Self { row, code: code.into(), reason }
    }
}

/// The rejects of one call, ascending by row, at most one a row.
pub type Rejects = Vec<Reject>;

/// A reject on its way to the dead letters: everything needed to find, understand and replay it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeadLetter {
    pub pipeline: Arc<str>,
    pub epoch: u64,
    /// The step, source or sink that refused the row.
    pub step: Arc<str>,
    /// `decode`, `transform`, `where`, `aggregate`, `sink` ...
    pub stage: Cow<'static, str>,
    pub code: Cow<'static, str>,
    pub reason: String,
    /// Digest of the plugin that refused it, if one did: `sha256:...`.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub plugin: Option<Arc<str>>,
    pub topic: Arc<str>,
    pub partition: u32,
    /// -1 behind a stateful step, where a row has no single record.
    pub offset: i64,
    /// The line of its file on which the record begins, where lines are counted.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub line: Option<u64>,
    /// The record's own timestamp, if it had one.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub timestamp_us: Option<i64>,
    /// The original bytes, unchanged (behind a stateful step: the row as JSON).
    #[serde(with = "payload_text")]
    pub payload: Vec<u8>,
}

/// Bytes as they are when they are UTF-8, otherwise `{"hex": "..."}`: readable and exact.
mod payload_text {
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    #[derive(Serialize, Deserialize)]
    #[serde(untagged)]
    enum Text<'a> {
        Utf8(std::borrow::Cow<'a, str>),
        Bytes { hex: String },
    }

    pub fn serialize<S: Serializer>(bytes: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
        match std::str::from_utf8(bytes) {
            Ok(text) => Text::Utf8(text.into()),
            Err(_) => Text::Bytes { hex: bytes.iter().map(|byte| format!("{byte:02x}")).collect() },
        }
        .serialize(serializer)
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<u8>, D::Error> {
        match Text::deserialize(deserializer)? {
            Text::Utf8(text) => Ok(text.into_owned().into_bytes()),
            Text::Bytes { hex } => hex
                .as_bytes()
                .chunks(2)
                .map(|pair| std::str::from_utf8(pair).ok().and_then(|pair| u8::from_str_radix(pair, 16).ok()))
                .collect::<Option<Vec<u8>>>()
                .ok_or_else(|| serde::de::Error::custom("payload hex is malformed")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reason_is_cut_at_a_character() {
        let reject = Reject::new(0, "x", "é".repeat(MAX_REASON_BYTES));
        assert_eq!(reject.reason.len(), MAX_REASON_BYTES);
        assert_eq!(
            Reject::new(0, "x", format!("a{}", "é".repeat(MAX_REASON_BYTES))).reason.len(),
            MAX_REASON_BYTES - 1
        );
    }

    #[test]
    fn a_dead_letter_keeps_bytes_that_are_not_text() {
        let letter = DeadLetter {
            pipeline: "p".into(),
            epoch: 1,
            step: "events".into(),
            stage: "decode".into(),
            code: "utf8".into(),
            reason: String::new(),
            plugin: None,
            topic: "t".into(),
            partition: 0,
            offset: 7,
            line: None,
            timestamp_us: None,
            payload: vec![0xff, 0x00, b'a'],
        };
        let text = serde_json::to_string(&letter).unwrap();
        assert!(text.contains(r#""payload":{"hex":"ff0061"}"#), "{text}");
        assert_eq!(serde_json::from_str::<DeadLetter>(&text).unwrap(), letter);
    }
}
