//! Typed structs from nodes: a serde deserializer over [`Node`].
//!
//! Two additions to serde's model: [`SPANNED`] gives a value with its place, and an enum whose variants are named
//! `#text`, `#list` and `#map` is chosen by the kind of node. The structural check has been here before: an error
//! is a fault of this crate, yet it too has a place.

use std::fmt;

use serde::de::value::{MapDeserializer, SeqDeserializer, StringDeserializer, U32Deserializer};
use serde::de::{
    DeserializeSeed, Deserializer, EnumAccess, Error as _, IntoDeserializer, SeqAccess, VariantAccess, Visitor,
};
use serde::forward_to_deserialize_any;

use super::node::{Node, TextOrigin, Value};
use crate::span::{SPANNED, Span};

/// Why a node did not fit a struct.
#[derive(Debug)]
pub(crate) struct TypedError {
    pub message: String,
    /// The innermost node that is known.
    pub place: Option<Span>,
}

impl fmt::Display for TypedError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for TypedError {}

impl serde::de::Error for TypedError {
    fn custom<T: fmt::Display>(message: T) -> Self {
        Self { message: message.to_string(), place: None }
    }
}

impl<'a> IntoDeserializer<'a, TypedError> for &'a Node {
    type Deserializer = Self;

    fn into_deserializer(self) -> Self {
        self
    }
}

impl Node {
    fn at<T>(&self, result: Result<T, TypedError>) -> Result<T, TypedError> {
        result.map_err(|error| TypedError { place: error.place.or(Some(self.span)), ..error })
    }

    fn visit<'de, V: Visitor<'de>>(&'de self, visitor: V) -> Result<V::Value, TypedError> {
        self.at(match &self.value {
            Value::Null => visitor.visit_unit(),
            Value::Bool(value) => visitor.visit_bool(*value),
            Value::Integer(value) => match (u64::try_from(*value), i64::try_from(*value)) {
                (Ok(value), _) => visitor.visit_u64(value),
                (_, Ok(value)) => visitor.visit_i64(value),
                _ => visitor.visit_i128(*value),
            },
            Value::Float(value) => visitor.visit_f64(*value),
            Value::Text(text) => visitor.visit_borrowed_str(text),
            Value::List(items) => visitor.visit_seq(SeqDeserializer::new(items.iter())),
            Value::Map(pairs) => visitor.visit_map(MapDeserializer::new(pairs.iter().map(|(k, v)| (k, v)))),
        })
    }

    /// Text from `${}` where a number or a boolean is wanted.
    fn visit_interpolated<'de, V: Visitor<'de>>(&'de self, visitor: V) -> Result<V::Value, TypedError> {
        match self.interpolated_scalar() {
            Some(Value::Integer(value)) if value < 0 => self.at(visitor.visit_i64(value as i64)),
            Some(Value::Integer(value)) => self.at(visitor.visit_u64(value as u64)),
            Some(Value::Float(value)) => self.at(visitor.visit_f64(value)),
            Some(Value::Bool(value)) => self.at(visitor.visit_bool(value)),
            _ => self.visit(visitor),
        }
    }

    /// The number or boolean that text from `${}` spells, if it does.
    pub fn interpolated_scalar(&self) -> Option<Value> {
        let text = if self.origin == TextOrigin::Interpolated { self.as_text()?.trim() } else { return None };
        let integer = text.parse::<i64>().ok().map(|value| Value::Integer(value.into()));
        let boolean = || text.parse().ok().map(Value::Bool);
        integer.or_else(boolean).or_else(|| text.parse().ok().map(Value::Float))
    }
}

macro_rules! scalar_from_interpolated {
    ($($method:ident)*) => {
        $(fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, TypedError> {
            self.visit_interpolated(visitor)
        })*
    };
}

impl<'de> Deserializer<'de> for &'de Node {
    type Error = TypedError;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, TypedError> {
        self.visit(visitor)
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, TypedError> {
        visitor.visit_some(self)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        visitor: V,
    ) -> Result<V::Value, TypedError> {
        if name == SPANNED {
            return self.at(visitor.visit_seq(SpannedParts { node: self, next: 0 }));
        }
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _name: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, TypedError> {
        let by_kind = variants.iter().all(|variant| variant.starts_with('#'));
        let variant = match &self.value {
            Value::List(_) if by_kind => "#list",
            Value::Map(_) if by_kind => "#map",
            _ if by_kind => "#text",
            Value::Text(text) => text,
            other => return self.at(Err(TypedError::custom(format!("{} where a word is wanted", other.kind())))),
        };
        self.at(visitor.visit_enum(Variant { variant, node: self }))
    }

    scalar_from_interpolated! {
        deserialize_bool deserialize_i8 deserialize_i16 deserialize_i32 deserialize_i64 deserialize_u8 deserialize_u16
        deserialize_u32 deserialize_u64 deserialize_f32 deserialize_f64
    }

    forward_to_deserialize_any! {
        i128 u128 char str string bytes byte_buf unit unit_struct seq tuple tuple_struct map struct identifier
        ignored_any
    }
}

/// File, start, end and inset of a node, then its value.
struct SpannedParts<'a> {
    node: &'a Node,
    next: usize,
}

impl<'de> SeqAccess<'de> for SpannedParts<'de> {
    type Error = TypedError;

    fn next_element_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<Option<T::Value>, TypedError> {
        let Node { span, inset, .. } = self.node;
        let numbers = [span.file, span.start, span.end, inset.unwrap_or(u32::MAX)];
        let part = match numbers.get(self.next) {
            Some(number) => seed.deserialize(U32Deserializer::<TypedError>::new(*number)),
            None => seed.deserialize(self.node),
        };
        self.next += 1;
        part.map(Some)
    }
}

struct Variant<'a> {
    variant: &'a str,
    node: &'a Node,
}

impl<'de> EnumAccess<'de> for Variant<'de> {
    type Error = TypedError;
    type Variant = Self;

    fn variant_seed<V: DeserializeSeed<'de>>(self, seed: V) -> Result<(V::Value, Self), TypedError> {
        let name = StringDeserializer::new(self.variant.to_owned());
        Ok((seed.deserialize(name)?, self))
    }
}

impl<'de> VariantAccess<'de> for Variant<'de> {
    type Error = TypedError;

    fn unit_variant(self) -> Result<(), TypedError> {
        Ok(())
    }

    fn newtype_variant_seed<T: DeserializeSeed<'de>>(self, seed: T) -> Result<T::Value, TypedError> {
        seed.deserialize(self.node)
    }

    fn tuple_variant<V: Visitor<'de>>(self, _len: usize, visitor: V) -> Result<V::Value, TypedError> {
        self.node.visit(visitor)
    }

    fn struct_variant<V: Visitor<'de>>(
        self,
        _fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, TypedError> {
        self.node.visit(visitor)
    }
}
