//! Reads the items that the derives stand on: structs with named fields and enums of one-field variants.
//!
//! Deliberately no more of Rust than that; everything else is an error with its place.

use proc_macro::{Delimiter, Group, Ident, Literal, Punct, Spacing, Span, TokenStream, TokenTree};

use crate::Result;
use crate::attribute::Attribute;

#[derive(Debug)]
pub struct Error {
    span: Span,
    message: String,
}

impl Error {
    pub fn at(span: Span, message: impl Into<String>) -> Self {
        Self { span, message: message.into() }
    }

    /// `compile_error!("..");` at the place.
    pub fn into_tokens(self) -> TokenStream {
        let mut text = Group::new(Delimiter::Parenthesis, TokenTree::Literal(Literal::string(&self.message)).into());
        text.set_span(self.span);
        let mut tokens = [
            TokenTree::Ident(Ident::new("compile_error", self.span)),
            TokenTree::Punct(Punct::new('!', Spacing::Alone)),
            TokenTree::Group(text),
            TokenTree::Punct(Punct::new(';', Spacing::Alone)),
        ];
        tokens.iter_mut().for_each(|token| token.set_span(self.span));
        TokenStream::from_iter(tokens)
    }
}

/// A struct or enum.
pub struct Item {
    pub attributes: Vec<Attribute>,
    pub name: Ident,
    /// `<'a>` or nothing.
    pub generics: TokenStream,
    pub body: Body,
}

pub enum Body {
    Struct(Vec<Field>),
    Enum(Vec<Variant>),
}

/// A field with a name.
pub struct Field {
    pub attributes: Vec<Attribute>,
    pub name: Ident,
    pub field_type: TokenStream,
}

/// A variant that holds one value.
pub struct Variant {
    pub name: Ident,
    pub payload: TokenStream,
}

/// Tokens with one step of look-ahead.
pub struct Cursor {
    tokens: std::iter::Peekable<proc_macro::token_stream::IntoIter>,
    /// Of the last token taken: where "something is missing" points.
    pub last: Span,
}

impl Cursor {
    pub fn new(tokens: TokenStream) -> Self {
        Self { tokens: tokens.into_iter().peekable(), last: Span::call_site() }
    }

    pub fn peek(&mut self) -> Option<&TokenTree> {
        self.tokens.peek()
    }

    pub fn next(&mut self) -> Option<TokenTree> {
        let token = self.tokens.next();
        self.last = token.as_ref().map_or(self.last, TokenTree::span);
        token
    }

    pub fn at_punct(&mut self, wanted: char) -> bool {
        matches!(self.peek(), Some(TokenTree::Punct(punct)) if punct.as_char() == wanted)
    }

    pub fn at_ident(&mut self, wanted: &str) -> bool {
        matches!(self.peek(), Some(TokenTree::Ident(ident)) if ident.to_string() == wanted)
    }

    pub fn take_punct(&mut self, wanted: char) -> bool {
        let there = self.at_punct(wanted);
        if there {
            self.next();
        }
        there
    }

    pub fn take_group(&mut self, delimiter: Delimiter) -> Option<Group> {
        match self.peek() {
            Some(TokenTree::Group(group)) if group.delimiter() == delimiter => {
                let group = group.clone();
                self.next();
                Some(group)
            }
            _ => None,
        }
    }

    pub fn ident(&mut self, wanted: &str) -> Result<Ident> {
        match self.next() {
            Some(TokenTree::Ident(ident)) => Ok(ident),
            other => Err(Error::at(other.map_or(self.last, |token| token.span()), format!("expected {wanted}"))),
        }
    }

    /// The attributes that stand here.
    pub fn attributes(&mut self) -> Result<Vec<Attribute>> {
        let mut attributes = Vec::new();
        while self.take_punct('#') {
            self.take_punct('!');
            match self.take_group(Delimiter::Bracket) {
                Some(group) => attributes.push(Attribute::read(group)?),
                None => return Err(Error::at(self.last, "expected an attribute")),
            }
        }
        Ok(attributes)
    }

    /// Skips `pub`, `pub(crate)`.
    pub fn visibility(&mut self) {
        if self.at_ident("pub") {
            self.next();
            self.take_group(Delimiter::Parenthesis);
        }
    }

    /// `<...>`, if it stands here. Only lifetimes are taken.
    pub fn lifetimes(&mut self, of: &str) -> Result<TokenStream> {
        let mut generics = TokenStream::new();
        if !self.at_punct('<') {
            return Ok(generics);
        }
        while let Some(token) = self.next() {
            match &token {
                TokenTree::Punct(punct) if punct.as_char() == '>' => {
                    generics.extend([token]);
                    return Ok(generics);
                }
                TokenTree::Punct(punct) if "<',".contains(punct.as_char()) => generics.extend([token]),
                TokenTree::Ident(_) if generics.to_string().ends_with('\'') => generics.extend([token]),
                other => return Err(Error::at(other.span(), format!("{of} takes lifetimes only, as in `Event<'a>`"))),
            }
        }
        Err(Error::at(self.last, "expected `>`"))
    }

    /// Everything up to a comma outside angle brackets, and past it.
    pub fn until_comma(&mut self) -> TokenStream {
        let mut depth = 0usize;
        let mut taken = TokenStream::new();
        let mut arrow = false;
        while let Some(token) = self.next() {
            if let TokenTree::Punct(punct) = &token {
                match punct.as_char() {
                    ',' if depth == 0 => break,
                    '<' => depth += 1,
                    '>' if !arrow => depth = depth.saturating_sub(1),
                    _ => {}
                }
                arrow = punct.as_char() == '-' && punct.spacing() == Spacing::Joint;
            }
            taken.extend([token]);
        }
        taken
    }
}

impl Item {
    pub fn read(tokens: TokenStream) -> Result<Self> {
        let mut cursor = Cursor::new(tokens);
        let attributes = cursor.attributes()?;
        cursor.visibility();
        let keyword = cursor.ident("a struct or an enum")?;
        let name = cursor.ident("a name")?;
        let generics = cursor.lifetimes(&name.to_string())?;
        let braces = cursor.take_group(Delimiter::Brace);
        let body = match (keyword.to_string().as_str(), braces) {
            ("struct", Some(group)) => Body::Struct(Field::read_all(group.stream())?),
            ("enum", Some(group)) => Body::Enum(Variant::read_all(group.stream())?),
            _ => return Err(Error::at(name.span(), format!("`{name}` needs named fields in braces, one per column"))),
        };
        Ok(Self { attributes, name, generics, body })
    }

    /// Its fields; an error names the derive when it is an enum.
    pub fn fields(&self, derive: &str) -> Result<&[Field]> {
        match &self.body {
            Body::Struct(fields) => Ok(fields),
            Body::Enum(_) => Err(Error::at(self.name.span(), format!("#[derive({derive})] is for structs"))),
        }
    }

    /// `Event<'a>`
    pub fn whole(&self) -> TokenStream {
        TokenStream::from_iter([TokenStream::from(TokenTree::Ident(self.name.clone())), self.generics.clone()])
    }
}

impl Field {
    fn read_all(tokens: TokenStream) -> Result<Vec<Self>> {
        let mut cursor = Cursor::new(tokens);
        let mut fields = Vec::new();
        while cursor.peek().is_some() {
            let attributes = cursor.attributes()?;
            cursor.visibility();
            let name = cursor.ident("a field")?;
            if !cursor.take_punct(':') {
                return Err(Error::at(cursor.last, "expected `:` and the field's type"));
            }
            fields.push(Self { attributes, name, field_type: cursor.until_comma() });
        }
        Ok(fields)
    }

    /// The name of the column or key: `r#type` is `type`.
    pub fn plain_name(&self) -> String {
        let name = self.name.to_string();
        name.strip_prefix("r#").map(str::to_owned).unwrap_or(name)
    }

    pub fn name_tokens(&self) -> TokenStream {
        TokenTree::Ident(self.name.clone()).into()
    }
}

impl Variant {
    fn read_all(tokens: TokenStream) -> Result<Vec<Self>> {
        let mut cursor = Cursor::new(tokens);
        let mut variants = Vec::new();
        while cursor.peek().is_some() {
            cursor.attributes()?;
            let name = cursor.ident("a variant")?;
            let payload = cursor.take_group(Delimiter::Parenthesis).map(|group| {
                let mut inside = Cursor::new(group.stream());
                (inside.until_comma(), inside.peek().is_none())
            });
            match payload {
                Some((payload, true)) if !payload.is_empty() => variants.push(Self { name, payload }),
                _ => return Err(Error::at(name.span(), "a variant holds one row: `Large(LargeOrder)`")),
            }
            if !cursor.take_punct(',') && cursor.peek().is_some() {
                return Err(Error::at(cursor.last, "expected `,`"));
            }
        }
        Ok(variants)
    }
}
