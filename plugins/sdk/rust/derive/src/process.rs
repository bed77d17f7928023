//! `#[process]`

use proc_macro::{Delimiter, TokenStream};

use crate::Result;
use crate::item::{Cursor, Error};
use crate::template::fill;
use crate::transform::identity;

const WANTED: &str = "#[process] is for an implementation: impl Process for Sessions { .. }";

pub fn expand(arguments: TokenStream, implementation: TokenStream) -> Result<TokenStream> {
    let plugin = implementing(implementation.clone(), WANTED)?;
    let (name, version) = identity(arguments)?;
    let holes = [("implementation", implementation), ("plugin", plugin), ("name", name), ("version", version)];
    Ok(fill(PLUGIN, &holes))
}

// A function says what it returns more exactly than the trait asks: that is the point of it.
const PLUGIN: &str = "
#[allow(refining_impl_trait)]
#implementation

impl ::weir_sdk::process::Named for #plugin {
    const NAME: &'static str = #name;
    const VERSION: &'static str = #version;
}

::weir_sdk::__export_process!(#plugin);
";

/// `Sessions` of `impl Process for Sessions { .. }`.
pub fn implementing(implementation: TokenStream, wanted: &str) -> Result<TokenStream> {
    let wanted = |span| Error::at(span, wanted);
    let mut cursor = Cursor::new(implementation);
    cursor.attributes()?;
    if !cursor.at_ident("impl") {
        cursor.next();
        return Err(wanted(cursor.last));
    }
    while !cursor.at_ident("for") {
        if cursor.next().is_none() {
            return Err(wanted(cursor.last));
        }
    }
    cursor.next();
    let mut plugin = TokenStream::new();
    while cursor.take_group(Delimiter::Brace).is_none() {
        match cursor.next() {
            Some(token) => plugin.extend([token]),
            None => return Err(wanted(cursor.last)),
        }
    }
    Ok(plugin)
}
