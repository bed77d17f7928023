//! An attribution that misbehaves on left rows of whose pairs one has the `kind` that it is told to: for tests of limits and
//! quarantine.
//!
//! Of every other left row each pair goes on, with how many there are. Each key of the configuration names a kind.

use std::hint::black_box;

use weir_sdk::prelude::*;

#[derive(Input)]
struct Event<'a> {
    kind: Option<&'a str>,
}

#[derive(Output)]
struct Met {
    met: i64,
}

#[derive(Config)]
struct Misdeeds {
    /// Panics.
    trap: Option<String>,
    /// Is rejected.
    refuse: Option<String>,
    /// Never returns.
    spin: Option<String>,
    /// Asks for more memory than there is.
    bloat: Option<String>,
    /// Answers one pair less than there are.
    forget: Option<String>,
    /// None of its pairs goes on.
    keep_none: Option<String>,
}

#[attribute]
fn misbehave(pairs: Vec<Pair<Event>>, misdeeds: &Misdeeds) -> Result<Vec<Option<Met>>, Reject> {
    let is =
        |misdeed: &Option<String>| misdeed.is_some() && pairs.iter().any(|pair| pair.row.kind == misdeed.as_deref());
    if is(&misdeeds.trap) {
        panic!("told to trap on {} pairs", pairs.len());
    }
    if is(&misdeeds.refuse) {
        return Err(reject!("told-to-refuse"));
    }
    while is(&misdeeds.spin) {
        black_box(pairs.len());
    }
    if is(&misdeeds.bloat) {
        let mut hoard = Vec::new();
        loop {
            hoard.push(black_box(vec![1_u8; 1 << 20]));
        }
    }
    let answers = if is(&misdeeds.forget) { pairs.len() - 1 } else { pairs.len() };
    let met = pairs.len() as i64;
    let goes_on = !is(&misdeeds.keep_none);
    Ok((0..answers).map(|_| goes_on.then_some(Met { met })).collect())
}
