//! Nexmark's q14: how often a character is in the column `extra`.

use weir_sdk::prelude::*;

#[derive(Input)]
struct Bid<'a> {
    extra: Option<&'a str>,
}

#[derive(Output)]
struct Counted {
    c_counts: i64,
}

#[derive(Config)]
struct Wanted {
    /// One ASCII character.
    character: String,
}

#[transform]
fn count_char(bid: Bid, wanted: &Wanted) -> Counted {
    let character = wanted.character.as_bytes().first().copied().unwrap_or_default();
    let found = |text: &str| text.bytes().filter(|byte| *byte == character).count();
    Counted { c_counts: bid.extra.map_or(0, found) as i64 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_character_is_counted() {
        let count = |extra| count_char(Bid { extra }, &Wanted { character: "c".to_owned() }).c_counts;
        assert_eq!([count(Some("cabcc")), count(Some("ab")), count(None)], [3, 0, 0]);
    }
}
