//! `#[derive(Input)]`

use proc_macro::{TokenStream, TokenTree};

use crate::Result;
use crate::attribute::column_name;
use crate::item::{Error, Item};
use crate::template::{fill, tokens};

pub fn derive(input: TokenStream) -> Result<TokenStream> {
    let item = Item::read(input)?;
    let batch = batch_lifetime(&item)?;
    let (mut columns, mut declared) = (TokenStream::new(), TokenStream::new());
    let (mut bound, mut read) = (TokenStream::new(), TokenStream::new());
    for (at, field) in item.fields("Input")?.iter().enumerate() {
        let holes = [
            ("batch", batch.clone()),
            ("name", field.name_tokens()),
            ("type", field.field_type.clone()),
            ("column", tokens(&format!("{:?}", column_name(field)?))),
            ("at", tokens(&at.to_string())),
        ];
        let add = |to: &mut TokenStream, template| to.extend(fill(template, &holes));
        add(&mut columns, "<#type as ::weir_sdk::input::ReadValue<#batch>>::Column,");
        add(&mut declared, "::weir_sdk::input::InputColumn::of::<#type>(#column),");
        add(&mut bound, "<#type as ::weir_sdk::input::ReadValue<#batch>>::bind(&nodes.take()),");
        add(&mut read, "#name: <#type as ::weir_sdk::input::ReadValue<#batch>>::read(&columns.#at, row),");
    }
    let holes = [
        ("batch", batch),
        ("whole", item.whole()),
        ("columns", columns),
        ("declared", declared),
        ("bound", bound),
        ("read", read),
    ];
    Ok(fill(
        "impl<#batch> ::weir_sdk::input::Input<#batch> for #whole {
            type Columns = (#columns);

            fn columns() -> ::std::vec::Vec<::weir_sdk::input::InputColumn> {
                ::std::vec![#declared]
            }

            fn bind(nodes: &mut ::weir_sdk::input::Nodes<#batch, '_>) -> Self::Columns {
                let _ = &nodes;
                (#bound)
            }

            #[inline]
            fn read(columns: &Self::Columns, row: usize) -> Self {
                let _ = (columns, row);
                Self { #read }
            }
        }

        ::weir_sdk::__read_struct!([#batch] #whole);",
        &holes,
    ))
}

/// The lifetime of the batch that a row's fields are views into: the struct's own, if it has one.
pub fn batch_lifetime(item: &Item) -> Result<TokenStream> {
    let inside: Vec<TokenTree> = item.generics.clone().into_iter().collect();
    match inside.as_slice() {
        [] => Ok(tokens("'weir")),
        [_, tick, name, _] => Ok(TokenStream::from_iter([tick.clone(), name.clone()])),
        _ => Err(Error::at(item.name.span(), "an input row has one lifetime: that of its batch")),
    }
}
