//! Reads the attributes that the derives know: `#[column("name")]`, `#[decimal(12, 2)]`, `#[config(default = 3)]`.

use proc_macro::{Delimiter, Group, Literal, Span, TokenStream, TokenTree};

use crate::Result;
use crate::item::{Cursor, Error};

pub struct Attribute {
    pub name: String,
    pub span: Span,
    /// What stands in its parentheses, or behind its `=`.
    pub arguments: TokenStream,
}

impl Attribute {
    /// Reads what stands in the brackets.
    pub fn read(group: Group) -> Result<Self> {
        let mut cursor = Cursor::new(group.stream());
        let mut name = cursor.ident("an attribute")?.to_string();
        while cursor.take_punct(':') {
            cursor.take_punct(':');
            name = cursor.ident("an attribute")?.to_string();
        }
        let arguments = match cursor.take_group(Delimiter::Parenthesis) {
            Some(arguments) => arguments.stream(),
            None if cursor.take_punct('=') => std::iter::from_fn(|| cursor.next()).collect(),
            None => TokenStream::new(),
        };
        Ok(Self { name, span: group.span(), arguments })
    }

    pub fn error(&self, message: impl Into<String>) -> Error {
        Error::at(self.span, message)
    }

    /// The arguments, if they are one string.
    pub fn string(&self) -> Option<String> {
        let mut arguments = self.arguments.clone().into_iter();
        match (arguments.next(), arguments.next()) {
            (Some(TokenTree::Literal(literal)), None) => string_value(&literal),
            _ => None,
        }
    }
}

/// The one attribute of that name.
pub fn find<'a>(attributes: &'a [Attribute], name: &str) -> Option<&'a Attribute> {
    attributes.iter().find(|attribute| attribute.name == name)
}

/// The value of a string literal; `None` for other literals and for strings with escapes that names do not need.
pub fn string_value(literal: &Literal) -> Option<String> {
    let text = literal.to_string();
    if let Some(raw) = text.strip_prefix('r') {
        return raw.trim_matches('#').strip_prefix('"')?.strip_suffix('"').map(str::to_owned);
    }
    let inside = text.strip_prefix('"')?.strip_suffix('"')?;
    let mut value = String::new();
    let mut characters = inside.chars();
    while let Some(character) = characters.next() {
        value.push(match character {
            '\\' => match characters.next()? {
                'n' => '\n',
                't' => '\t',
                plain @ ('"' | '\\' | '\'') => plain,
                _ => return None,
            },
            plain => plain,
        });
    }
    Some(value)
}

/// Strings joined by commas.
pub fn strings(tokens: TokenStream) -> Option<Vec<String>> {
    let mut cursor = Cursor::new(tokens);
    let mut values = Vec::new();
    while let Some(token) = cursor.next() {
        let TokenTree::Literal(literal) = token else { return None };
        values.push(string_value(&literal)?);
        if !cursor.take_punct(',') && cursor.peek().is_some() {
            return None;
        }
    }
    Some(values)
}

/// The column of a field: its name, or that of `#[column("...")]`.
pub fn column_name(field: &crate::item::Field) -> Result<String> {
    match find(&field.attributes, "column") {
        None => Ok(field.plain_name()),
        Some(attribute) => match attribute.string() {
            Some(name) if !name.is_empty() => Ok(name),
            _ => Err(attribute.error("say the column's name: #[column(\"event-kind\")]")),
        },
    }
}
