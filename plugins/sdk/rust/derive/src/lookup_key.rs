//! `#[derive(LookupKey)]`

use proc_macro::{TokenStream, TokenTree};

use crate::Result;
use crate::attribute::{column_name, find, string_value};
use crate::item::{Cursor, Error, Item};
use crate::template::{fill, tokens};

pub fn derive(input: TokenStream) -> Result<TokenStream> {
    let item = Item::read(input)?;
    let (table, row) = table_and_row(&item)?;
    let [mut builders, mut declared, mut made, mut checked, mut pushed, mut finished] =
        std::array::from_fn(|_| TokenStream::new());
    for (at, field) in item.fields("LookupKey")?.iter().enumerate() {
        let holes = [
            ("name", field.name_tokens()),
            ("type", field.field_type.clone()),
            ("column", tokens(&format!("{:?}", column_name(field)?))),
            ("at", tokens(&at.to_string())),
        ];
        let add = |to: &mut TokenStream, template| to.extend(fill(template, &holes));
        add(&mut builders, "<#type as ::weir_sdk::write::WriteValue>::Builder,");
        add(&mut declared, "::weir_sdk::input::InputColumn::of::<#type>(#column),");
        add(&mut made, "<#type as ::weir_sdk::write::WriteValue>::builder(&types[#at], 0),");
        add(
            &mut checked,
            "<#type as ::weir_sdk::write::WriteValue>::check(&self.#name, &builders.#at)
                .map_err(|misfit| misfit.inside(#column).reject())?;",
        );
        add(&mut pushed, "<#type as ::weir_sdk::write::WriteValue>::write(self.#name, &mut builders.#at);");
        add(&mut finished, "<#type as ::weir_sdk::write::WriteValue>::finish(builders.#at, &mut columns);");
    }
    let holes = [
        ("generics", item.generics.clone()),
        ("whole", item.whole()),
        ("table", table),
        ("row", row),
        ("builders", builders),
        ("declared", declared),
        ("made", made),
        ("checked", checked),
        ("pushed", pushed),
        ("finished", finished),
    ];
    Ok(fill(KEY, &holes))
}

const KEY: &str = "
impl #generics ::weir_sdk::tables::LookupKey for #whole {
    type Row = #row;
    type Builders = (#builders);
    const TABLE: &'static str = #table;

    fn key() -> ::std::vec::Vec<::weir_sdk::input::InputColumn> {
        ::std::vec![#declared]
    }

    fn builders(types: &[::weir_sdk::types::Type]) -> Self::Builders {
        let _ = types;
        (#made)
    }

    fn check(&self, builders: &Self::Builders) -> ::core::result::Result<(), ::weir_sdk::Reject> {
        let _ = builders;
        #checked
        ::core::result::Result::Ok(())
    }

    fn push(self, builders: &mut Self::Builders) {
        let _ = &builders;
        #pushed
    }

    fn finish(builders: Self::Builders) -> ::std::vec::Vec<::weir_sdk::wit::Column> {
        let _ = &builders;
        let mut columns = ::std::vec::Vec::new();
        let _ = &mut columns;
        #finished
        columns
    }
}
";

/// `\"rates\"` and `Rate` of `#[lookup(table = \"rates\", row = Rate)]`.
fn table_and_row(item: &Item) -> Result<(TokenStream, TokenStream)> {
    const WANTED: &str =
        "say which table is asked and what its rows are read as: #[lookup(table = \"rates\", row = Rate)]";
    let Some(attribute) = find(&item.attributes, "lookup") else {
        return Err(Error::at(item.name.span(), WANTED));
    };
    let mut cursor = Cursor::new(attribute.arguments.clone());
    let (mut table, mut row) = (TokenStream::new(), TokenStream::new());
    while cursor.peek().is_some() {
        let key = cursor.ident("`table` or `row`")?.to_string();
        if !cursor.take_punct('=') {
            return Err(attribute.error(WANTED));
        }
        let value = cursor.until_comma();
        match (key.as_str(), value.clone().into_iter().next()) {
            ("table", Some(TokenTree::Literal(literal)))
                if string_value(&literal).is_some_and(|name| !name.is_empty()) =>
            {
                table = value;
            }
            ("row", Some(_)) => row = value,
            _ => return Err(attribute.error(WANTED)),
        }
    }
    if table.is_empty() || row.is_empty() { Err(attribute.error(WANTED)) } else { Ok((table, row)) }
}
