//! `#[derive(Config)]`

use proc_macro::TokenStream;

use crate::Result;
use crate::attribute::{Attribute, find};
use crate::item::{Cursor, Field, Item};
use crate::template::{fill, tokens};

pub fn derive(input: TokenStream) -> Result<TokenStream> {
    let item = Item::read(input)?;
    let [mut known, mut read, mut built, mut properties, mut json] = std::array::from_fn(|_| TokenStream::new());
    for (at, field) in item.fields("Config")?.iter().enumerate() {
        let default = default(field)?;
        let default_json = match &default {
            None => tokens("::core::option::Option::None"),
            Some(value) => fill(
                "::core::option::Option::Some({
                    let default: #type = #value;
                    ::weir_sdk::config::ConfigValue::json(&default)
                })",
                &[("type", field.field_type.clone()), ("value", value.clone())],
            ),
        };
        let reading = match &default {
            None => tokens("::core::option::Option::None"),
            Some(value) => fill("::core::option::Option::Some(|| #value)", &[("value", value.clone())]),
        };
        let holes = [
            ("name", field.name_tokens()),
            ("type", field.field_type.clone()),
            ("local", tokens(&format!("field_{at}"))),
            ("key", tokens(&format!("{:?}", field.plain_name()))),
            ("description", tokens(&format!("{:?}", description(&field.attributes)))),
            ("reading", reading),
            ("default", default_json),
        ];
        let add = |to: &mut TokenStream, template| to.extend(fill(template, &holes));
        add(&mut known, "#key,");
        add(&mut read, "let #local = faults.key::<#type>(entries, #key, #reading);");
        add(&mut built, "#name: #local?,");
        add(&mut json, "(#key, ::weir_sdk::config::ConfigValue::json(&self.#name)),");
        add(
            &mut properties,
            "{
                let default = #default;
                ::weir_sdk::config::Property {
                    key: #key,
                    description: #description,
                    schema: <#type as ::weir_sdk::config::ConfigValue>::schema(),
                    required: default.is_none() && <#type as ::weir_sdk::config::ConfigValue>::absent().is_none(),
                    default,
                }
            },",
        );
    }
    let holes = [
        ("generics", item.generics.clone()),
        ("whole", item.whole()),
        ("known", known),
        ("read", read),
        ("built", built),
        ("properties", properties),
        ("json", json),
    ];
    Ok(fill(CONFIG, &holes))
}

const CONFIG: &str = "
impl #generics ::weir_sdk::config::Config for #whole {}

impl #generics ::weir_sdk::config::ConfigValue for #whole {
    fn read(json: &::weir_sdk::json::Json, faults: &mut ::weir_sdk::config::Faults) -> ::core::option::Option<Self> {
        let entries = faults.object(json, &[#known])?;
        #read
        ::core::option::Option::Some(Self { #built })
    }

    fn schema() -> ::std::string::String {
        ::weir_sdk::config::object_schema(::std::vec![#properties])
    }

    fn json(&self) -> ::std::string::String {
        ::weir_sdk::config::object_json(&[#json])
    }
}
";

/// The expression of `#[config(default = ..)]`.
fn default(field: &Field) -> Result<Option<TokenStream>> {
    let Some(attribute) = find(&field.attributes, "config") else { return Ok(None) };
    let mut cursor = Cursor::new(attribute.arguments.clone());
    let keyword = cursor.at_ident("default");
    cursor.next();
    let assigned = cursor.take_punct('=');
    let value: TokenStream = std::iter::from_fn(|| cursor.next()).collect();
    match (keyword, assigned, value.is_empty()) {
        (true, true, false) => Ok(Some(value)),
        (true, false, true) => Ok(Some(tokens("::core::default::Default::default()"))),
        _ => Err(attribute.error("say #[config(default)] or #[config(default = value)]")),
    }
}

/// The doc comment.
fn description(attributes: &[Attribute]) -> String {
    let lines = attributes.iter().filter(|attribute| attribute.name == "doc").filter_map(Attribute::string);
    lines.map(|line| line.trim().to_owned()).collect::<Vec<_>>().join(" ")
}
