//! `#[aggregate]`

use proc_macro::{Delimiter, TokenStream, TokenTree};

use crate::Result;
use crate::process::implementing;
use crate::template::{fill, tokens};
use crate::transform::identity;

const WANTED: &str = "#[aggregate] is for an implementation: impl Aggregate for AveragePrice { .. }";

pub fn expand(arguments: TokenStream, implementation: TokenStream) -> Result<TokenStream> {
    let plugin = implementing(implementation.clone(), WANTED)?;
    let (name, version) = identity(arguments)?;
    let has = |function: &str| tokens(if defines(&implementation, function) { "true" } else { "false" });
    let (merges, retracts) = (has("merge"), has("retract"));
    let holes = [
        ("implementation", implementation),
        ("plugin", plugin),
        ("name", name),
        ("version", version),
        ("merges", merges),
        ("retracts", retracts),
    ];
    Ok(fill(PLUGIN, &holes))
}

// A function says what it returns more exactly than the trait asks: that is the point of it.
const PLUGIN: &str = "
#[allow(refining_impl_trait)]
#implementation

impl ::weir_sdk::aggregate::Named for #plugin {
    const NAME: &'static str = #name;
    const VERSION: &'static str = #version;
    const MERGES: bool = #merges;
    const RETRACTS: bool = #retracts;
}

::weir_sdk::__export_aggregate!(#plugin);
";

/// Whether the implementation's body has this function.
fn defines(implementation: &TokenStream, function: &str) -> bool {
    let body = implementation.clone().into_iter().filter_map(|token| match token {
        TokenTree::Group(group) if group.delimiter() == Delimiter::Brace => Some(group.stream()),
        _ => None,
    });
    let Some(body) = body.last() else { return false };
    let words: Vec<String> = body.into_iter().map(|token| token.to_string()).collect();
    words.windows(2).any(|pair| pair[0] == "fn" && pair[1] == function)
}
