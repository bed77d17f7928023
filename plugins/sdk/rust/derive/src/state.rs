//! `#[derive(State)]`

use proc_macro::TokenStream;

use crate::Result;
use crate::attribute::find;
use crate::item::{Field, Item};
use crate::output::declared_of;
use crate::template::{fill, tokens};

pub fn derive(input: TokenStream) -> Result<TokenStream> {
    let item = Item::read(input)?;
    let [mut bounds, mut changes, mut specs, mut bound, mut loaded, mut made, mut stored, mut finished] =
        std::array::from_fn(|_| TokenStream::new());
    for (at, field) in item.fields("State")?.iter().enumerate() {
        let holes = [
            ("name", field.name_tokens()),
            ("type", field.field_type.clone()),
            ("state", tokens(&format!("{:?}", field.plain_name()))),
            ("declared", declared_inside(field)?),
            ("ttl", ttl_ms(field)?),
            ("at", tokens(&at.to_string())),
        ];
        let add = |to: &mut TokenStream, template| to.extend(fill(template, &holes));
        add(&mut bounds, "::weir_sdk::state::Bound<'weir, #type>,");
        add(&mut changes, "::weir_sdk::state::Change<#type>,");
        add(&mut specs, "::weir_sdk::state::StateSpec::of::<#type>(#state, #declared, #ttl),");
        add(&mut bound, "::weir_sdk::state::Bound::new(&held[#at], &types[#at]),");
        add(&mut loaded, "#name: bound.#at.load(key),");
        add(&mut made, "::weir_sdk::state::Change::new(&types[#at]),");
        add(&mut stored, "changes.#at.store(key, self.#name);");
        add(&mut finished, "changes.#at.finish(#at),");
    }
    let holes = [
        ("whole", item.whole()),
        ("bounds", bounds),
        ("changes", changes),
        ("specs", specs),
        ("bound", bound),
        ("loaded", loaded),
        ("made", made),
        ("stored", stored),
        ("finished", finished),
    ];
    Ok(fill(STATE, &holes))
}

const STATE: &str = "
impl ::weir_sdk::state::State for #whole {
    type Bound<'weir> = (#bounds);
    type Changes = (#changes);

    fn declared() -> ::std::vec::Vec<::weir_sdk::state::StateSpec> {
        ::std::vec![#specs]
    }

    fn bind<'weir>(
        held: &'weir [::weir_sdk::state::Held],
        types: &[::weir_sdk::state::StateTypes],
    ) -> Self::Bound<'weir> {
        let _ = (held, types);
        (#bound)
    }

    fn load(bound: &Self::Bound<'_>, key: usize) -> Self {
        let _ = (bound, key);
        Self { #loaded }
    }

    fn changes(types: &[::weir_sdk::state::StateTypes]) -> Self::Changes {
        let _ = types;
        (#made)
    }

    fn store(self, key: u32, changes: &mut Self::Changes) {
        let _ = (key, &changes);
        #stored
    }

    fn finish(
        changes: Self::Changes,
    ) -> ::std::vec::Vec<::weir_sdk::process_bindings::exports::weir::plugin::process::StateChange> {
        let _ = &changes;
        [#finished].into_iter().flatten().collect()
    }
}
";

/// What `#[decimal(..)]` or `#[timestamp(..)]` says of the value inside the field.
fn declared_inside(field: &Field) -> Result<TokenStream> {
    // The attribute's own check is of the bare type, which here stands inside Value<..>.
    let inside = if find(&field.attributes, "decimal").is_some() { "Decimal" } else { "Timestamp" };
    declared_of(&field.attributes, &tokens(&format!("::weir_sdk::{inside}")))
}

/// `Some(86_400_000)` for `#[state(ttl = "1d")]`.
fn ttl_ms(field: &Field) -> Result<TokenStream> {
    const WANTED: &str = "say how long it is kept: #[state(ttl = \"90s\")], with ms, s, min, h or d";
    let Some(attribute) = find(&field.attributes, "state") else {
        return Ok(tokens("::core::option::Option::None"));
    };
    let arguments = attribute.arguments.to_string();
    let text = arguments.strip_prefix("ttl").map(str::trim_start).and_then(|rest| rest.strip_prefix('='));
    let text = text.map(|text| text.trim().trim_matches('"'));
    let ms = text.and_then(milliseconds).ok_or_else(|| attribute.error(WANTED))?;
    Ok(tokens(&format!("::core::option::Option::Some({ms})")))
}

fn milliseconds(text: &str) -> Option<u64> {
    let digits = text.find(|character: char| !character.is_ascii_digit())?;
    let (number, unit) = text.split_at(digits);
    let unit_ms = match unit.trim() {
        "ms" => 1,
        "s" => 1_000,
        "min" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        _ => return None,
    };
    number.parse::<u64>().ok()?.checked_mul(unit_ms).filter(|ms| *ms > 0)
}
