//! Misbehaves on the rows whose `kind` it is told to: for tests of limits, quarantine and rollback.
//!
//! Each key of the configuration names a kind. `{"trap": "boom", "spin": "spin"}` traps on rows of kind `boom` and
//! loops for ever on rows of kind `spin`; every other row keeps its kind. Without configuration it is well-behaved.

use std::hint::black_box;

use weir_sdk::prelude::*;

#[derive(Input)]
struct Event<'a> {
    kind: Option<&'a str>,
}

#[derive(Output)]
struct Kept<'a> {
    kind: Option<&'a str>,
}

#[derive(Config, Default)]
struct Misdeeds {
    /// Panics.
    trap: Option<String>,
    /// Never returns.
    spin: Option<String>,
    /// Takes memory without end.
    hog: Option<String>,
    /// Writes a hundred thousand lines to the log, then goes on.
    flood: Option<String>,
    /// Writes one log line of a megabyte, then goes on.
    shout: Option<String>,
    /// Makes 1,100,000 rows of one.
    multiply: Option<String>,
    /// Makes a value of 16 MiB.
    bloat: Option<String>,
    /// Rejects.
    reject: Option<String>,
    /// Calls itself until the stack ends.
    recurse: Option<String>,
    /// Means something to `adversary-next` alone.
    next_rejects_after: Option<u64>,
}

const FLOOD_LINES: u32 = 100_000;
const SHOUT_BYTES: usize = 1_000_000;
const MULTIPLIED_ROWS: usize = 1_100_000;
const BLOAT_BYTES: usize = 16 << 20;
const HOG_STEP_BYTES: usize = 1 << 20;

#[transform]
fn misbehave<'a>(event: Event<'a>, misdeeds: &'a Misdeeds) -> Result<Vec<Kept<'a>>, Reject> {
    let Some(kind) = event.kind else { return Ok(vec![Kept { kind: None }]) };
    let is = |misdeed: &Option<String>| misdeed.as_deref() == Some(kind);
    if is(&misdeeds.trap) {
        panic!("told to trap on {kind}");
    }
    if is(&misdeeds.spin) {
        spin();
    }
    if is(&misdeeds.hog) {
        hog();
    }
    if is(&misdeeds.recurse) {
        recurse(0);
    }
    if is(&misdeeds.flood) {
        (0..FLOOD_LINES).for_each(|line| log::info!("flood line {line}"));
    }
    if is(&misdeeds.shout) {
        log::warn!("{}", "a".repeat(SHOUT_BYTES));
    }
    if is(&misdeeds.reject) {
        return Err(reject!("told-to-reject", "{kind}"));
    }
    if is(&misdeeds.bloat) {
        return Ok(vec![Kept { kind: Some(Box::leak("a".repeat(BLOAT_BYTES).into_boxed_str())) }]);
    }
    let copies = if is(&misdeeds.multiply) { MULTIPLIED_ROWS } else { 1 };
    Ok((0..copies).map(|_| Kept { kind: Some(kind) }).collect())
}

fn spin() {
    let mut turns = 0u64;
    while black_box(true) {
        turns = black_box(turns.wrapping_add(1));
    }
}

fn hog() {
    let mut taken: Vec<Vec<u8>> = Vec::new();
    while black_box(true) {
        taken.push(vec![1; HOG_STEP_BYTES]);
        black_box(&taken);
    }
}

fn recurse(depth: u64) -> u64 {
    let frame = black_box([depth; 128]);
    if black_box(true) { recurse(depth + 1) + frame[(depth % 128) as usize] } else { depth }
}

#[cfg(test)]
mod tests {
    use super::*;
    use weir_sdk::testing::Instance;

    #[test]
    fn without_configuration_every_row_is_kept() {
        let plugin = Instance::<misbehave>::open("", &[("kind", "utf8")]).unwrap();
        let outcome = plugin.process(&[[Some("boom")], [None], [Some("spin")]]);
        assert_eq!(outcome.sources("main"), [0, 1, 2]);
    }

    #[test]
    #[should_panic = "told to trap on boom"]
    fn a_named_kind_traps() {
        let misdeeds = Misdeeds { trap: Some("boom".into()), ..Default::default() };
        let _ = misbehave(Event { kind: Some("boom") }, &misdeeds);
    }

    #[test]
    fn rows_multiply_and_rejects_are_told() {
        let config = r#"{"multiply": "many", "reject": "bad"}"#;
        let plugin = Instance::<misbehave>::open(config, &[("kind", "utf8")]).unwrap();
        let outcome = plugin.process(&[[Some("many")], [Some("bad")]]);
        assert_eq!(outcome.rows("main").len(), MULTIPLIED_ROWS);
        assert_eq!(outcome.rejects, [(1, "told-to-reject: bad".to_owned())]);
    }
}
