//! `#[derive(InputColumns)]` and `#[derive(OutputColumns)]`

use proc_macro::TokenStream;

use crate::Result;
use crate::attribute::column_name;
use crate::input::batch_lifetime;
use crate::item::{Field, Item};
use crate::output::{about, declared, drops};
use crate::template::{fill, tokens};

pub fn derive_input(input: TokenStream) -> Result<TokenStream> {
    let item = Item::read(input)?;
    let batch = batch_lifetime(&item)?;
    let (mut columns, mut bound) = (TokenStream::new(), TokenStream::new());
    for (at, field) in item.fields("InputColumns")?.iter().enumerate() {
        let mut holes = of_field(at, field)?;
        holes.push(("batch", batch.clone()));
        let add = |to: &mut TokenStream, template| to.extend(fill(template, &holes));
        add(&mut columns, "<#type as ::weir_sdk::columns::ViewField<#batch>>::declared(#column),");
        add(&mut bound, "#name: <#type as ::weir_sdk::columns::ViewField<#batch>>::bind(&nodes.take(), rows),");
    }
    let holes = [("batch", batch), ("whole", item.whole()), ("columns", columns), ("bound", bound)];
    Ok(fill(
        "impl<#batch> ::weir_sdk::columns::InputColumns<#batch> for #whole {
            fn columns() -> ::std::vec::Vec<::weir_sdk::input::InputColumn> {
                ::std::vec![#columns]
            }

            fn bind(nodes: &mut ::weir_sdk::input::Nodes<#batch, '_>, rows: usize) -> Self {
                let _ = (&nodes, rows);
                Self { #bound }
            }
        }

        ::weir_sdk::__struct_view!([#batch] #whole);",
        &holes,
    ))
}

pub fn derive_output(input: TokenStream) -> Result<TokenStream> {
    let item = Item::read(input)?;
    let about = about(&item)?;
    let [mut columns, mut made, mut finished] = std::array::from_fn(|_| TokenStream::new());
    for (at, field) in item.fields("OutputColumns")?.iter().enumerate() {
        let mut holes = of_field(at, field)?;
        holes.push(("declared", declared(field)?));
        let add = |to: &mut TokenStream, template| to.extend(fill(template, &holes));
        add(&mut columns, "<#type as ::weir_sdk::columns::BuilderField>::declared(#column, #declared),");
        add(&mut made, "#name: <#type as ::weir_sdk::columns::BuilderField>::new(#column, &types[#at], rows),");
        add(&mut finished, "<#type as ::weir_sdk::columns::BuilderField>::finish(self.#name),");
    }
    let holes = [
        ("generics", item.generics.clone()),
        ("whole", item.whole()),
        ("columns", columns),
        ("drops", drops(&about)),
        ("made", made),
        ("finished", finished),
    ];
    Ok(fill(
        "impl #generics ::weir_sdk::columns::OutputColumns for #whole {
            fn columns() -> ::std::vec::Vec<::weir_sdk::output::OutputColumn> {
                ::std::vec![#columns]
            }

            fn drops() -> &'static [&'static str] {
                &[#drops]
            }

            fn new(types: &[::weir_sdk::types::Type], rows: usize) -> Self {
                let _ = (types, rows);
                Self { #made }
            }

            fn finish(self) -> ::std::vec::Vec<::weir_sdk::columns::Finished> {
                ::std::vec![#finished]
            }
        }",
        &holes,
    ))
}

fn of_field(at: usize, field: &Field) -> Result<Vec<(&'static str, TokenStream)>> {
    Ok(vec![
        ("name", field.name_tokens()),
        ("type", field.field_type.clone()),
        ("column", tokens(&format!("{:?}", column_name(field)?))),
        ("at", tokens(&at.to_string())),
    ])
}
