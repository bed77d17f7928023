//! `#[derive(Output)]`

use proc_macro::{Group, TokenStream, TokenTree};

use crate::Result;
use crate::attribute::{Attribute, column_name, find, strings};
use crate::item::{Body, Cursor, Error, Field, Item, Variant};
use crate::template::{fill, tokens};

const MAX_PRECISION: u8 = 38;

pub fn derive(input: TokenStream) -> Result<TokenStream> {
    let item = Item::read(input)?;
    match &item.body {
        Body::Struct(fields) => derive_row(&item, fields),
        Body::Enum(variants) => derive_outputs(&item, variants),
    }
}

fn derive_row(item: &Item, fields: &[Field]) -> Result<TokenStream> {
    let about = about(item)?;
    let [mut builders, mut columns, mut made, mut checked, mut pushed, mut filled, mut finished] =
        std::array::from_fn(|_| TokenStream::new());
    for (at, field) in fields.iter().enumerate() {
        let holes = [
            ("name", field.name_tokens()),
            ("type", field.field_type.clone()),
            ("column", tokens(&format!("{:?}", column_name(field)?))),
            ("declared", declared(field)?),
            ("at", tokens(&at.to_string())),
        ];
        let add = |to: &mut TokenStream, template| to.extend(fill(template, &holes));
        add(&mut builders, "<#type as ::weir_sdk::write::WriteValue>::Builder,");
        add(&mut columns, "::weir_sdk::output::OutputColumn::of::<#type>(#column, #declared),");
        add(&mut made, "<#type as ::weir_sdk::write::WriteValue>::builder(&types[#at], rows),");
        add(
            &mut checked,
            "if let ::core::result::Result::Err(misfit) =
                <#type as ::weir_sdk::write::WriteValue>::check(&self.#name, &builders.#at)
            {
                return ::core::result::Result::Err(misfit.inside(#column));
            }",
        );
        add(&mut pushed, "<#type as ::weir_sdk::write::WriteValue>::write(self.#name, &mut builders.#at);");
        add(&mut filled, "<#type as ::weir_sdk::write::WriteValue>::write_null(&mut builders.#at);");
        add(&mut finished, "<#type as ::weir_sdk::write::WriteValue>::finish(builders.#at, &mut columns);");
    }
    let holes = [
        ("generics", item.generics.clone()),
        ("whole", item.whole()),
        ("builders", builders),
        ("columns", columns),
        ("drops", drops(&about)),
        ("keyed", tokens(if about.keyed { "true" } else { "false" })),
        ("made", made),
        ("checked", checked),
        ("pushed", pushed),
        ("filled", filled),
        ("finished", finished),
        ("count", tokens(&fields.len().to_string())),
    ];
    let mut row = fill(ROW, &holes);
    // What says where a row goes is no value in one.
    if about.drops.is_empty() && !about.keyed {
        row.extend(fill("::weir_sdk::__write_struct!([#generics] #whole);", &holes));
    }
    Ok(row)
}

const ROW: &str = "
impl #generics ::weir_sdk::output::OutputRow for #whole {
    type Builders = (#builders);

    fn columns() -> ::std::vec::Vec<::weir_sdk::output::OutputColumn> {
        ::std::vec![#columns]
    }

    fn drops() -> &'static [&'static str] {
        &[#drops]
    }

    fn keyed() -> bool {
        #keyed
    }

    fn builders(types: &[::weir_sdk::types::Type], rows: usize) -> Self::Builders {
        let _ = (types, rows);
        (#made)
    }

    #[inline]
    fn check(&self, builders: &Self::Builders) -> ::core::result::Result<(), ::weir_sdk::write::Misfit> {
        let _ = builders;
        #checked
        ::core::result::Result::Ok(())
    }

    #[inline]
    fn push(self, builders: &mut Self::Builders) {
        let _ = &builders;
        #pushed
    }

    fn fill(builders: &mut Self::Builders) {
        let _ = &builders;
        #filled
    }

    fn finish(builders: Self::Builders) -> ::std::vec::Vec<::weir_sdk::wit::Column> {
        let _ = &builders;
        let mut columns = ::std::vec::Vec::with_capacity(#count);
        let _ = &mut columns;
        #finished
        columns
    }
}

::weir_sdk::__only_output!([#generics] #whole);
";

/// What the field's attribute says of its column's type.
pub fn declared(field: &Field) -> Result<TokenStream> {
    declared_of(&field.attributes, &field.field_type)
}

/// As [`declared`], for a value of `field_type` whose attributes stand elsewhere.
pub fn declared_of(attributes: &[Attribute], field_type: &TokenStream) -> Result<TokenStream> {
    let holes = |arguments| [("type", field_type.clone()), ("arguments", arguments)];
    if let Some(attribute) = find(attributes, "decimal") {
        let mut numbers = attribute.arguments.to_string();
        numbers.retain(|character| character != ' ');
        let mut numbers = numbers.split(',').map(str::parse::<u8>);
        return match (numbers.next(), numbers.next(), numbers.next()) {
            (Some(Ok(precision @ 1..=MAX_PRECISION)), Some(Ok(scale)), None) if scale <= precision => {
                let arguments = tokens(&format!("{precision}, {scale}"));
                Ok(fill("::weir_sdk::write::declared_decimal::<#type>(#arguments)", &holes(arguments)))
            }
            _ => Err(attribute.error("say precision (1 to 38) and scale (at most the precision): #[decimal(12, 2)]")),
        };
    }
    if let Some(attribute) = find(attributes, "timestamp") {
        let unit = match attribute.arguments.to_string().as_str() {
            "s" => "Second",
            "ms" => "Millisecond",
            "us" => "Microsecond",
            "ns" => "Nanosecond",
            _ => return Err(attribute.error("say the unit: #[timestamp(s)], ms, us or ns")),
        };
        let arguments = tokens(&format!("::weir_sdk::Unit::{unit}"));
        return Ok(fill("::weir_sdk::write::declared_timestamp::<#type>(#arguments)", &holes(arguments)));
    }
    Ok(tokens("::weir_sdk::write::Declared::Nothing"))
}

/// What `#[output(..)]` says.
#[derive(Default)]
pub struct About {
    pub drops: Vec<String>,
    pub keyed: bool,
}

pub fn about(item: &Item) -> Result<About> {
    let Some(attribute) = find(&item.attributes, "output") else { return Ok(About::default()) };
    let wrong = || {
        let message =
            "say the columns that do not go on, #[output(drop(\"a\", \"b\"))], or #[output(keyed)] for rows of a key";
        attribute.error(message)
    };
    let mut cursor = Cursor::new(attribute.arguments.clone());
    let (drop, keyed) = (cursor.at_ident("drop"), cursor.at_ident("keyed"));
    cursor.next();
    let names = match cursor.next() {
        None if keyed => return Ok(About { keyed, ..About::default() }),
        Some(TokenTree::Group(group)) if drop && cursor.peek().is_none() => strings(Group::stream(&group)),
        _ => None,
    };
    Ok(About { drops: names.ok_or_else(wrong)?, keyed: false })
}

pub fn drops(about: &About) -> TokenStream {
    tokens(&about.drops.iter().map(|name| format!("{name:?},")).collect::<String>())
}

fn derive_outputs(item: &Item, variants: &[Variant]) -> Result<TokenStream> {
    if variants.is_empty() {
        return Err(Error::at(item.name.span(), "an enum of outputs needs at least one"));
    }
    let [mut sinks, mut specs, mut made, mut checked, mut pushed, mut finished] =
        std::array::from_fn(|_| TokenStream::new());
    for (at, variant) in variants.iter().enumerate() {
        let holes = [
            ("variant", TokenTree::Ident(variant.name.clone()).into()),
            ("row", variant.payload.clone()),
            ("output", tokens(&format!("{:?}", kebab_case(&variant.name.to_string())))),
            ("at", tokens(&at.to_string())),
        ];
        let add = |to: &mut TokenStream, template| to.extend(fill(template, &holes));
        add(&mut sinks, "::weir_sdk::output::Sink<#row>,");
        add(
            &mut specs,
            "::weir_sdk::output::OutputSpec {
                name: #output,
                columns: <#row as ::weir_sdk::output::OutputRow>::columns(),
                drops: <#row as ::weir_sdk::output::OutputRow>::drops(),
                keyed: <#row as ::weir_sdk::output::OutputRow>::keyed(),
            },",
        );
        add(&mut made, "::weir_sdk::output::Sink::new(&types[#at], rows),");
        add(&mut checked, "Self::#variant(row) => sinks.#at.check(row),");
        add(&mut pushed, "Self::#variant(row) => sinks.#at.push(row, source),");
        add(&mut finished, "sinks.#at.finish(#at, input_rows),");
    }
    let holes = [
        ("generics", item.generics.clone()),
        ("whole", item.whole()),
        ("sinks", sinks),
        ("specs", specs),
        ("made", made),
        ("checked", checked),
        ("pushed", pushed),
        ("finished", finished),
    ];
    Ok(fill(OUTPUTS, &holes))
}

const OUTPUTS: &str = "
impl #generics ::weir_sdk::output::Output for #whole {
    type Sinks = (#sinks);

    fn outputs() -> ::std::vec::Vec<::weir_sdk::output::OutputSpec> {
        ::std::vec![#specs]
    }

    fn sinks(types: &[::std::vec::Vec<::weir_sdk::types::Type>], rows: usize) -> Self::Sinks {
        (#made)
    }

    fn check(&self, sinks: &Self::Sinks) -> ::core::result::Result<(), ::weir_sdk::Reject> {
        match self { #checked }
    }

    #[inline]
    fn push(self, source: u32, sinks: &mut Self::Sinks) {
        match self { #pushed }
    }

    fn finish(sinks: Self::Sinks, input_rows: u32) -> ::std::vec::Vec<::weir_sdk::wit::OutputRows> {
        [#finished].into_iter().flatten().collect()
    }
}
";

/// `LargeOrders` is `large-orders`.
pub fn kebab_case(name: &str) -> String {
    let mut output = String::new();
    for (at, character) in name.char_indices() {
        if character.is_uppercase() && at > 0 {
            output.push('-');
        }
        output.extend(character.to_lowercase());
    }
    output
}
