//! Rust written as text with holes: `#name` stands for tokens that keep their place in the user's file, so that the
//! compiler's messages point there.

use proc_macro::{Group, TokenStream, TokenTree};

/// Fills `#name` with the tokens of that name.
pub fn fill(template: &str, holes: &[(&str, TokenStream)]) -> TokenStream {
    let tokens: TokenStream = template.parse().expect("templates are Rust");
    filled(tokens, holes)
}

fn filled(tokens: TokenStream, holes: &[(&str, TokenStream)]) -> TokenStream {
    let mut output = TokenStream::new();
    let mut tokens = tokens.into_iter().peekable();
    while let Some(token) = tokens.next() {
        let hole = match (&token, tokens.peek()) {
            (TokenTree::Punct(mark), Some(TokenTree::Ident(name))) if mark.as_char() == '#' => {
                let name = name.to_string();
                holes.iter().find(|(hole, _)| *hole == name)
            }
            _ => None,
        };
        if let Some((_, tokens_of_hole)) = hole {
            tokens.next();
            output.extend(tokens_of_hole.clone());
        } else if let TokenTree::Group(group) = token {
            let mut inner = Group::new(group.delimiter(), filled(group.stream(), holes));
            inner.set_span(group.span());
            output.extend([TokenTree::Group(inner)]);
        } else {
            output.extend([token]);
        }
    }
    output
}

/// The tokens of generated text without holes.
pub fn tokens(text: &str) -> TokenStream {
    text.parse().expect("generated text is Rust")
}
