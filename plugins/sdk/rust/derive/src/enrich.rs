//! `#[enrich]`

use proc_macro::TokenStream;

use crate::Result;
use crate::item::{Cursor, Error};
use crate::template::{fill, tokens};
use crate::transform::{Kind, Signature, identity};

pub fn expand(arguments: TokenStream, function: TokenStream) -> Result<TokenStream> {
    let signature = Signature::read(function.clone(), &ENRICH)?;
    let (asks, rest) = asks(arguments)?;
    let mut holes = signature.holes(function, identity(rest)?);
    holes.push(("asks", asks));
    Ok(fill(PLUGIN, &holes))
}

const ENRICH: Kind = Kind {
    not_a_function: "#[enrich] is for a plain function: fn in_eur(payment: Payment, answers: Answers) -> InEur",
    parameters: 2,
    wrong_parameters: "an #[enrich] function takes a row, its answers and, if it needs one, a configuration: \
                       (payment: Payment, answers: Answers, rates: &Rates)",
    what: "an #[enrich] function",
};

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
    const DETERMINISTIC: bool = false;

    fn shape() -> ::weir_sdk::plugin::Shape {
        ::weir_sdk::enrich::#shape(#asks, #plugin)
    }

    fn process(
        opened: &::weir_sdk::plugin::Opened<#config>,
        batch: &::weir_sdk::wit::Batch,
    ) -> ::weir_sdk::wit::Transformed {
        ::weir_sdk::enrich::#each(#asks, #plugin, opened, batch)
    }
}

::weir_sdk::__export!(#plugin, enrich);
";

/// `ask` of `asks = ask`, and the other arguments.
fn asks(arguments: TokenStream) -> Result<(TokenStream, TokenStream)> {
    let mut cursor = Cursor::new(arguments);
    let (mut asks, mut rest) = (TokenStream::new(), TokenStream::new());
    while cursor.peek().is_some() {
        let argument = cursor.until_comma();
        let mut inside = Cursor::new(argument.clone());
        if inside.at_ident("asks") {
            inside.next();
            if inside.take_punct('=') {
                asks = std::iter::from_fn(|| inside.next()).collect();
            }
        } else {
            rest.extend(argument);
            rest.extend(tokens(","));
        }
    }
    if asks.is_empty() {
        let wanted = "say which function asks: #[enrich(asks = ask)], with fn ask(payment: &Payment) -> Request";
        return Err(Error::at(cursor.last, wanted));
    }
    Ok((asks, rest))
}
