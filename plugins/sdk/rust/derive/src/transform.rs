//! `#[transform]`

use proc_macro::{Delimiter, Ident, TokenStream, TokenTree};

use crate::Result;
use crate::attribute::string_value;
use crate::item::{Cursor, Error};
use crate::template::{fill, tokens};

/// What a function is called with.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Style {
    /// One row.
    Rows,
    /// Views and builders of columns, and what becomes of the rows.
    Columns,
}

impl Style {
    /// Takes `columns` off the attribute's arguments.
    fn read(arguments: TokenStream) -> (Self, TokenStream) {
        let mut cursor = Cursor::new(arguments.clone());
        if !cursor.at_ident("columns") {
            return (Self::Rows, arguments);
        }
        cursor.next();
        cursor.take_punct(',');
        (Self::Columns, std::iter::from_fn(|| cursor.next()).collect())
    }

    /// The SDK's module that calls such functions.
    fn module(self) -> &'static str {
        match self {
            Self::Rows => "plugin",
            Self::Columns => "columns",
        }
    }

    fn kind(self) -> &'static Kind {
        match self {
            Self::Rows => &ROWS,
            Self::Columns => &COLUMNS,
        }
    }
}

/// What is needed of a function's signature.
pub struct Signature {
    pub name: Ident,
    /// The configuration's type, without `&`.
    pub config: Option<TokenStream>,
}

/// What a plugin's function is to look like.
pub struct Kind {
    pub what: &'static str,
    pub not_a_function: &'static str,
    /// Those before the configuration.
    pub parameters: usize,
    pub wrong_parameters: &'static str,
}

const ROWS: Kind = Kind {
    what: "a #[transform] function",
    not_a_function: "#[transform] is for a plain function: fn clean(event: Event) -> Clean",
    parameters: 1,
    wrong_parameters: "a #[transform] function takes a row and, if it needs one, a configuration: (event: Event, rules: &Rules)",
};

const COLUMNS: Kind = Kind {
    parameters: 3,
    wrong_parameters: "a #[transform(columns)] function takes columns, builders, rows and, if it needs one, a configuration: \
                       (readings: Readings, judged: &mut Judged, rows: &mut Rows, rules: &Rules)",
    ..ROWS
};

pub fn expand(arguments: TokenStream, function: TokenStream) -> Result<TokenStream> {
    let (style, arguments) = Style::read(arguments);
    let signature = Signature::read(function.clone(), style.kind())?;
    let mut holes = signature.holes(function, identity(arguments)?);
    holes.push(("style", tokens(style.module())));
    Ok(fill(PLUGIN, &holes))
}

const PLUGIN: &str = "
#function

#[doc(hidden)]
#[allow(non_camel_case_types, dead_code)]
enum #plugin {}

impl ::weir_sdk::plugin::Plugin for #plugin {
    type Config = #config;
    type Rows = ::weir_sdk::wit::Batch;
    const NAME: &'static str = #name;
    const VERSION: &'static str = #version;

    fn shape() -> ::weir_sdk::plugin::Shape {
        ::weir_sdk::#style::#shape(#plugin)
    }

    fn process(
        opened: &::weir_sdk::plugin::Opened<#config>,
        batch: &::weir_sdk::wit::Batch,
    ) -> ::weir_sdk::wit::Transformed {
        ::weir_sdk::#style::#each(#plugin, opened, batch)
    }
}

::weir_sdk::__export!(#plugin, transform);
";

impl Signature {
    /// What every plugin of rows has for its template.
    pub fn holes(
        self,
        function: TokenStream,
        (name, version): (TokenStream, TokenStream),
    ) -> Vec<(&'static str, TokenStream)> {
        let with = if self.config.is_some() { "_with" } else { "" };
        vec![
            ("function", function),
            ("plugin", TokenTree::Ident(self.name).into()),
            ("config", self.config.unwrap_or_else(|| tokens("()"))),
            ("name", name),
            ("version", version),
            ("shape", tokens(&format!("shape{with}"))),
            ("each", tokens(&format!("each{with}"))),
        ]
    }

    pub fn read(function: TokenStream, kind: &Kind) -> Result<Self> {
        let mut cursor = Cursor::new(function);
        cursor.attributes()?;
        cursor.visibility();
        if !cursor.at_ident("fn") {
            cursor.next();
            return Err(Error::at(cursor.last, kind.not_a_function));
        }
        cursor.next();
        let name = cursor.ident("a name")?;
        cursor.lifetimes(kind.what)?;
        let Some(parameters) = cursor.take_group(Delimiter::Parenthesis) else {
            return Err(Error::at(cursor.last, "expected parameters"));
        };
        let mut inside = Cursor::new(parameters.stream());
        let missing = (0..kind.parameters).any(|_| inside.until_comma().is_empty());
        let config = inside.until_comma();
        if missing || inside.peek().is_some() {
            return Err(Error::at(parameters.span(), kind.wrong_parameters));
        }
        let config = if config.is_empty() { None } else { Some(referenced(config)?) };
        Ok(Self { name, config })
    }
}

/// `Rules` of `rules: &Rules`.
fn referenced(parameter: TokenStream) -> Result<TokenStream> {
    let mut cursor = Cursor::new(parameter);
    while !cursor.take_punct(':') {
        if cursor.next().is_none() {
            return Err(Error::at(cursor.last, "expected `:` and a type"));
        }
    }
    if !cursor.take_punct('&') {
        return Err(Error::at(cursor.last, "the configuration is borrowed: rules: &Rules"));
    }
    if cursor.take_punct('\'') {
        cursor.next();
    }
    Ok(std::iter::from_fn(|| cursor.next()).collect())
}

/// The plugin's name and version: the crate's, unless the attribute says others.
pub fn identity(arguments: TokenStream) -> Result<(TokenStream, TokenStream)> {
    let mut name = tokens("::core::env!(\"CARGO_PKG_NAME\")");
    let mut version = tokens("::core::env!(\"CARGO_PKG_VERSION\")");
    let mut cursor = Cursor::new(arguments);
    while cursor.peek().is_some() {
        let key = cursor.ident("`name` or `version`")?;
        let assigned = cursor.take_punct('=');
        let value = cursor.next();
        let text = match &value {
            Some(TokenTree::Literal(literal)) if assigned => string_value(literal),
            _ => None,
        };
        let value = value.filter(|_| text.is_some_and(|text| !text.is_empty()));
        match (key.to_string().as_str(), value) {
            ("name", Some(value)) => name = value.into(),
            ("version", Some(value)) => version = value.into(),
            _ => return Err(Error::at(key.span(), "the attribute takes name = \"..\" and version = \"..\"")),
        }
        cursor.take_punct(',');
    }
    Ok((name, version))
}
