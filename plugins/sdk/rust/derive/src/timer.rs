//! `#[derive(Timer)]`

use proc_macro::{Delimiter, TokenStream, TokenTree};

use crate::Result;
use crate::attribute::find;
use crate::item::{Cursor, Error};
use crate::output::kebab_case;
use crate::template::{fill, tokens};

pub fn derive(input: TokenStream) -> Result<TokenStream> {
    let mut cursor = Cursor::new(input);
    cursor.attributes()?;
    cursor.visibility();
    let keyword = cursor.ident("an enum")?;
    let name = cursor.ident("a name")?;
    let group = match cursor.take_group(Delimiter::Brace) {
        Some(group) if keyword.to_string() == "enum" => group,
        _ => {
            return Err(Error::at(
                name.span(),
                "#[derive(Timer)] is for enums without values: `enum Alarm { Silent }`",
            ));
        }
    };
    let mut inside = Cursor::new(group.stream());
    let [mut kinds, mut numbers, mut names] = std::array::from_fn(|_| TokenStream::new());
    let mut at = 0;
    while inside.peek().is_some() {
        let attributes = inside.attributes()?;
        let variant = inside.ident("a timer")?;
        if !inside.take_punct(',') && inside.peek().is_some() {
            return Err(Error::at(variant.span(), "a timer has no value: `Silent`"));
        }
        let processing = match find(&attributes, "timer") {
            None => false,
            Some(attribute) if attribute.arguments.to_string() == "processing" => true,
            Some(attribute) => return Err(attribute.error("say #[timer(processing)], or nothing for event time")),
        };
        let holes = [
            ("timer", tokens(&format!("{:?}", kebab_case(&variant.to_string())))),
            ("variant", TokenTree::Ident(variant).into()),
            ("processing", tokens(if processing { "true" } else { "false" })),
            ("at", tokens(&at.to_string())),
        ];
        kinds.extend(fill("(#timer, #processing),", &holes));
        numbers.extend(fill("Self::#variant => #at,", &holes));
        names.extend(fill("#at => Self::#variant,", &holes));
        at += 1;
    }
    if at == 0 {
        return Err(Error::at(name.span(), "an enum of timers needs at least one; NoTimer is for none"));
    }
    let holes = [("whole", TokenTree::Ident(name).into()), ("kinds", kinds), ("numbers", numbers), ("names", names)];
    Ok(fill(TIMER, &holes))
}

const TIMER: &str = "
impl ::core::clone::Clone for #whole {
    fn clone(&self) -> Self {
        *self
    }
}

impl ::core::marker::Copy for #whole {}

impl ::weir_sdk::process::Timer for #whole {
    const KINDS: &'static [(&'static str, bool)] = &[#kinds];

    fn number(self) -> u32 {
        match self { #numbers }
    }

    fn of(number: u32) -> Self {
        match number {
            #names
            other => panic!(\"the host fires timer {other}, which `describe` did not tell of\"),
        }
    }
}
";
