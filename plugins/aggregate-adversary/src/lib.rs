//! An aggregate that misbehaves on the rows whose `kind` it is told to: for tests of limits and quarantine.
//!
//! Every other row is counted. Each key of the configuration names a kind.

use std::hint::black_box;

use weir_sdk::prelude::*;

#[derive(Input)]
struct Event {
    kind: Option<String>,
}

#[derive(Input, Output, Default)]
struct Held {
    count: i64,
    ballast: String,
    traps_in_merge: bool,
    traps_in_finish: bool,
}

#[derive(Config)]
struct Misdeeds {
    /// Panics, after it changed its accumulator.
    trap: Option<String>,
    /// Is rejected.
    refuse: Option<String>,
    /// Keeps a megabyte.
    bloat: Option<String>,
    /// Never returns.
    spin: Option<String>,
    /// Panics when its accumulator is merged with another.
    trap_in_merge: Option<String>,
    /// Panics when its accumulator is to give a result.
    trap_in_finish: Option<String>,
}

const BALLAST_BYTES: usize = 1 << 20;

#[aggregate]
impl Aggregate for Misdeeds {
    type Row = Event;
    type Accumulator = Held;
    type Gives = i64;

    fn accumulate(&self, held: &mut Held, event: Event, _: Timestamp) -> Result<(), Reject> {
        let is = |misdeed: &Option<String>| misdeed.is_some() && *misdeed == event.kind;
        if is(&self.refuse) {
            return Err(reject!("told-to-refuse"));
        }
        held.count += 1;
        if is(&self.trap) {
            panic!("told to trap at {}", held.count);
        }
        if is(&self.bloat) {
            held.ballast.push_str(&"a".repeat(BALLAST_BYTES));
        }
        while is(&self.spin) {
            black_box(held.count);
        }
        held.traps_in_merge |= is(&self.trap_in_merge);
        held.traps_in_finish |= is(&self.trap_in_finish);
        Ok(())
    }

    fn merge(&self, held: &mut Held, other: Held) {
        if held.traps_in_merge || other.traps_in_merge {
            panic!("told to trap in merge");
        }
        held.count += other.count;
        held.traps_in_finish |= other.traps_in_finish;
    }

    fn finish(&self, held: &Held) -> i64 {
        if held.traps_in_finish {
            panic!("told to trap in finish");
        }
        held.count
    }
}
