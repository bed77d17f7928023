//! Three texts in, one of them out in capitals.

use weir_sdk::prelude::*;

#[derive(Input)]
struct Texts<'a> {
    first: &'a str,
    second: &'a str,
    third: &'a str,
}

#[derive(Output)]
struct Upper {
    upper: String,
}

#[transform]
fn upper(texts: Texts) -> Upper {
    // The other two are looked at, so that all three must cross.
    let longest = texts.second.len().max(texts.third.len());
    let text = if longest == usize::MAX { texts.second } else { texts.first };
    Upper { upper: text.to_ascii_uppercase() }
}
