//! Gives the rows of some kinds windows that make no sense, as its configuration says; all others get their minute.

use weir_sdk::prelude::*;

const MINUTE_US: i64 = 60_000_000;

/// More windows than a row may be in, and more than a whole answer may hold.
const MANY: i64 = 17;
const FAR_TOO_MANY: i64 = 1_100_000;

#[derive(Input)]
struct Event<'a> {
    at: Timestamp,
    kind: &'a str,
}

#[derive(Output)]
struct Window {
    window_start: Timestamp,
    window_end: Timestamp,
}

#[derive(Config, Default)]
struct Misdeeds {
    /// Ends before it starts.
    backwards: Option<String>,
    /// Ends where it starts.
    empty: Option<String>,
    /// Ends at the end of time.
    far: Option<String>,
    /// Is in 17 windows.
    many: Option<String>,
    /// Is in 1,100,000 windows.
    multiply: Option<String>,
    /// Is in its minute, and in one that ends before it starts.
    half: Option<String>,
    /// Is in none.
    none: Option<String>,
}

#[transform]
fn windows(event: Event, misdeeds: &Misdeeds) -> Vec<Window> {
    let is = |misdeed: &Option<String>| misdeed.as_deref() == Some(event.kind);
    let start = event.at.micros().div_euclid(MINUTE_US) * MINUTE_US;
    let window = |start: i64, end: i64| Window {
        window_start: Timestamp::from_micros(start),
        window_end: Timestamp::from_micros(end),
    };
    let minutes = |count: i64| (0..count).map(|at| window(start, start + (at + 1) * MINUTE_US)).collect();
    if is(&misdeeds.backwards) {
        vec![window(start + MINUTE_US, start)]
    } else if is(&misdeeds.empty) {
        vec![window(start, start)]
    } else if is(&misdeeds.far) {
        vec![window(start, i64::MAX)]
    } else if is(&misdeeds.many) {
        minutes(MANY)
    } else if is(&misdeeds.multiply) {
        minutes(FAR_TOO_MANY)
    } else if is(&misdeeds.half) {
        vec![window(start, start + MINUTE_US), window(start + MINUTE_US, start)]
    } else if is(&misdeeds.none) {
        vec![]
    } else {
        minutes(1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use weir_sdk::testing::Instance;

    #[test]
    fn a_row_is_in_its_minute_unless_its_kind_is_told_otherwise() {
        let columns = [("at", "timestamp(ms)!"), ("kind", "utf8!")];
        let plugin = Instance::<windows>::open(r#"{"many": "many", "none": "none"}"#, &columns).unwrap();
        let outcome = plugin.process(&[
            [Some("61000"), Some("plain")],
            [Some("61000"), Some("none")],
            [Some("61000"), Some("many")],
        ]);
        assert_eq!(outcome.rows("main")[0], [Some("60000000".to_owned()), Some("120000000".to_owned())]);
        assert_eq!(outcome.sources("main"), [&[0][..], &[2; MANY as usize]].concat());
    }
}
