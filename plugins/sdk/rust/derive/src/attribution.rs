//! `#[attribute]`

use proc_macro::TokenStream;

use crate::Result;
use crate::template::fill;
use crate::transform::{Kind, Signature, identity};

pub fn expand(arguments: TokenStream, function: TokenStream) -> Result<TokenStream> {
    let signature = Signature::read(function.clone(), &ATTRIBUTE)?;
    let holes = signature.holes(function, identity(arguments)?);
    Ok(fill(PLUGIN, &holes))
}

const ATTRIBUTE: Kind = Kind {
    what: "an #[attribute] function",
    not_a_function: "#[attribute] is for a plain function: fn last(pairs: Vec<Pair<Touch>>) -> Vec<Option<Credit>>",
    parameters: 1,
    wrong_parameters: "an #[attribute] function takes a left row's pairs and, if it needs one, a configuration: \
                       (pairs: Vec<Pair<Touch>>, rules: &Rules)",
};

const PLUGIN: &str = "
#function

#[doc(hidden)]
#[allow(non_camel_case_types, dead_code)]
enum #plugin {}

impl ::weir_sdk::plugin::Plugin for #plugin {
    type Config = #config;
    type Rows = ::weir_sdk::attribute::Pairs;
    const NAME: &'static str = #name;
    const VERSION: &'static str = #version;

    fn shape() -> ::weir_sdk::plugin::Shape {
        ::weir_sdk::attribute::#shape(#plugin)
    }

    fn process(
        opened: &::weir_sdk::plugin::Opened<#config>,
        pairs: &::weir_sdk::attribute::Pairs,
    ) -> ::weir_sdk::wit::Transformed {
        ::weir_sdk::attribute::#each(#plugin, opened, pairs)
    }
}

::weir_sdk::__export!(#plugin, attribute);
";
