//! The YAML text as a tree in which every node and every key knows its place.
//!
//! The YAML itself is `serde-saphyr`'s work, under a budget that stops bombs. Duplicate keys are kept, so that
//! all of them can be reported. Nothing here knows what a manifest is.

use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_saphyr::{DuplicateKeyPolicy, Location, MergeKeyPolicy, Spanned};

use super::syntax;
use crate::fault::Fault;
use crate::span::Span;

/// The largest manifest.
pub const MAX_FILE_BYTES: usize = 1 << 20;
/// The most scalars, lists and maps, aliases counted out.
pub const MAX_NODES: usize = 50_000;
/// The deepest nesting.
pub const MAX_DEPTH: usize = 32;
/// The most aliases (`*name`).
pub const MAX_ALIASES: usize = 1_000;

/// A value and its place.
#[derive(Debug, Clone)]
pub(crate) struct Node {
    pub value: Value,
    pub span: Span,
    /// Where the value's text begins behind the span's start, if the file holds it letter for letter.
    pub inset: Option<u32>,
    pub origin: TextOrigin,
}

/// How a node's text came to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum TextOrigin {
    #[default]
    Written,
    /// Put together from `${}`: it may stand for a number or a boolean, and messages must not show it.
    Interpolated,
    /// Holds a `${}` that is not looked up, because its profile was not chosen: fits everywhere.
    Deferred,
    /// Could not be looked up: reported, taken out by the structural check.
    Unresolved,
}

#[derive(Debug, Clone)]
pub(crate) enum Value {
    Null,
    Bool(bool),
    Integer(i128),
    Float(f64),
    Text(String),
    List(Vec<Node>),
    Map(Vec<(Node, Node)>),
}

impl Value {
    /// What it is, for messages.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Null => "nothing",
            Self::Bool(_) => "a boolean",
            Self::Integer(_) | Self::Float(_) => "a number",
            Self::Text(_) => "text",
            Self::List(_) => "a list",
            Self::Map(_) => "a map",
        }
    }
}

impl Node {
    pub fn text(text: &str) -> Self {
        Self { value: Value::Text(text.to_owned()), span: Span::default(), inset: None, origin: TextOrigin::Written }
    }

    pub fn as_text(&self) -> Option<&str> {
        if let Value::Text(text) = &self.value { Some(text) } else { None }
    }

    pub fn as_map(&self) -> Option<&[(Self, Self)]> {
        if let Value::Map(pairs) = &self.value { Some(pairs) } else { None }
    }

    pub fn get(&self, key: &str) -> Option<&Self> {
        self.as_map()?.iter().find(|(name, _)| name.as_text() == Some(key)).map(|(_, value)| value)
    }
}

/// Reads a text as one YAML document.
pub(crate) fn parse(file: u32, text: &str) -> Result<Node, Fault> {
    if text.len() > MAX_FILE_BYTES {
        let message = format!("{} bytes; a manifest has at most {MAX_FILE_BYTES}", text.len());
        return Err(Fault::of_file("too-large", message));
    }
    let options = serde_saphyr::options! {
        budget: serde_saphyr::budget! {
            max_nodes: MAX_NODES,
            max_events: MAX_NODES * 4,
            max_depth: MAX_DEPTH,
            flow_nesting_limit: MAX_DEPTH,
            max_aliases: MAX_ALIASES,
            max_documents: 1,
            max_merge_keys: MAX_ALIASES,
        },
        duplicate_keys: DuplicateKeyPolicy::PassThrough,
        merge_keys: MergeKeyPolicy::Merge,
        strict_booleans: true,
        emit_comments: false,
        with_snippet: false,
    };
    let raw: Spanned<Raw> =
        serde_saphyr::from_str_with_options(text, options).map_err(|error| syntax::fault(file, text, &error))?;
    Ok(place(file, text, raw))
}

/// A node as the YAML reader hands it over.
enum Raw {
    Scalar(Value),
    List(Vec<Spanned<Raw>>),
    Map(Vec<(Spanned<Raw>, Spanned<Raw>)>),
}

impl<'de> Deserialize<'de> for Raw {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Any;

        impl<'de> Visitor<'de> for Any {
            type Value = Raw;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a value")
            }

            fn visit_unit<E>(self) -> Result<Raw, E> {
                Ok(Raw::Scalar(Value::Null))
            }

            fn visit_bool<E>(self, value: bool) -> Result<Raw, E> {
                Ok(Raw::Scalar(Value::Bool(value)))
            }

            fn visit_i64<E>(self, value: i64) -> Result<Raw, E> {
                Ok(Raw::Scalar(Value::Integer(value.into())))
            }

            fn visit_u64<E>(self, value: u64) -> Result<Raw, E> {
                Ok(Raw::Scalar(Value::Integer(value.into())))
            }

            fn visit_f64<E>(self, value: f64) -> Result<Raw, E> {
                Ok(Raw::Scalar(Value::Float(value)))
            }

            fn visit_str<E>(self, value: &str) -> Result<Raw, E> {
                Ok(Raw::Scalar(Value::Text(value.to_owned())))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Raw, A::Error> {
                let mut items = Vec::new();
                while let Some(item) = seq.next_element()? {
                    items.push(item);
                }
                Ok(Raw::List(items))
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Raw, A::Error> {
                let mut pairs = Vec::new();
                while let Some(pair) = map.next_entry()? {
                    pairs.push(pair);
                }
                Ok(Raw::Map(pairs))
            }
        }

        deserializer.deserialize_any(Any)
    }
}

fn place(file: u32, text: &str, raw: Spanned<Raw>) -> Node {
    let span = span_of(file, text, raw.defined);
    let value = match raw.value {
        Raw::Scalar(value) => value,
        Raw::List(items) => Value::List(items.into_iter().map(|item| place(file, text, item)).collect()),
        Raw::Map(pairs) => Value::Map(
            pairs.into_iter().map(|(key, value)| (place(file, text, key), place(file, text, value))).collect(),
        ),
    };
    let inset = match &value {
        Value::Text(value) => inset(&text[span.range()], value),
        _ => None,
    };
    Node { value, span, inset, origin: TextOrigin::Written }
}

/// Where `value` begins in its source text, if it is there letter for letter: plain, or quoted without escapes.
fn inset(source: &str, value: &str) -> Option<u32> {
    let quoted = || source.strip_prefix(['"', '\''])?.strip_suffix(['"', '\'']);
    if source == value { Some(0) } else { (quoted() == Some(value)).then_some(1) }
}

fn span_of(file: u32, text: &str, location: Location) -> Span {
    let start = location.span().byte_offset().map_or(0, |offset| offset as usize);
    let start = text.floor_char_boundary(start.min(text.len()));
    let length = location.span().byte_len().map_or(0, |length| length as usize);
    let end = text.floor_char_boundary((start + length).min(text.len())).max(start);
    // A plain scalar's span may reach into the white space behind it.
    let end = start + text[start..end].trim_end().len();
    Span::new(file, start..end)
}
