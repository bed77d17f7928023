//! Places in the manifest's texts, and values that remember theirs.
//!
//! Invariant: a [`Span`] lies within the text of its file, on character boundaries; a value that no file holds
//! has the empty span at the file's start.

use std::borrow::Cow;
use std::fmt;
use std::marker::PhantomData;
use std::ops::{Deref, Range};

use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::de::{Deserialize, Deserializer, SeqAccess, Visitor};

/// The name by which [`Spanned`] asks the manifest's deserializer for a place beside the value.
pub(crate) const SPANNED: &str = "$weir::Spanned";

/// A range of bytes in one of the texts that a manifest was read from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Span {
    /// 0: the manifest; overlays follow in their order.
    pub file: u32,
    pub start: u32,
    pub end: u32,
}

impl Span {
    pub fn new(file: u32, range: Range<usize>) -> Self {
        Self { file, start: range.start as u32, end: range.end as u32 }
    }

    pub fn range(&self) -> Range<usize> {
        self.start as usize..self.end as usize
    }
}

/// A value and where it was written.
#[derive(Clone)]
pub struct Spanned<T> {
    pub value: T,
    pub span: Span,
    /// Where the value's text begins behind the span's start, if the file holds it letter for letter.
    inset: Option<u32>,
}

impl<T> Spanned<T> {
    /// A value that no file holds: a default, or one made by a test.
    pub fn unplaced(value: T) -> Self {
        Self { value, span: Span::default(), inset: None }
    }

    pub fn map<U>(self, map: impl FnOnce(T) -> U) -> Spanned<U> {
        Spanned { value: map(self.value), span: self.span, inset: self.inset }
    }

    /// The place of a part of the value's text, such as one column in an expression. `part` counts bytes of the
    /// value. The whole value's place when its text is not in the file as it is (escapes, folded lines, `${}`).
    pub fn part(&self, part: Range<usize>) -> Span {
        let Some(inset) = self.inset else { return self.span };
        let start = self.span.start + inset + part.start as u32;
        let end = self.span.start + inset + part.end as u32;
        if start > end || end > self.span.end { self.span } else { Span { file: self.span.file, start, end } }
    }
}

impl<T> Deref for Spanned<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.value
    }
}

/// The value alone: places would drown it.
impl<T: fmt::Debug> fmt::Debug for Spanned<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.value.fmt(f)
    }
}

impl<T: fmt::Display> fmt::Display for Spanned<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.value.fmt(f)
    }
}

/// Equality of values: two manifests with other line breaks are equal.
impl<T: PartialEq> PartialEq for Spanned<T> {
    fn eq(&self, other: &Self) -> bool {
        self.value == other.value
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Spanned<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Parts<T>(PhantomData<T>);

        impl<'de, T: Deserialize<'de>> Visitor<'de> for Parts<T> {
            type Value = Spanned<T>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a value with its place")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut parts: A) -> Result<Self::Value, A::Error> {
                let missing = || serde::de::Error::custom("a value without its place");
                let mut number = || parts.next_element::<u32>()?.ok_or_else(missing);
                let (file, start, end, inset) = (number()?, number()?, number()?, number()?);
                let value = parts.next_element::<T>()?.ok_or_else(missing)?;
                let inset = (inset != u32::MAX).then_some(inset);
                Ok(Spanned { value, span: Span { file, start, end }, inset })
            }
        }

        deserializer.deserialize_newtype_struct(SPANNED, Parts(PhantomData))
    }
}

/// In the schema a place does not show.
impl<T: JsonSchema> JsonSchema for Spanned<T> {
    fn inline_schema() -> bool {
        T::inline_schema()
    }

    fn schema_name() -> Cow<'static, str> {
        T::schema_name()
    }

    fn schema_id() -> Cow<'static, str> {
        T::schema_id()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        T::json_schema(generator)
    }
}
