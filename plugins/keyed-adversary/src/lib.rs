//! A keyed plugin that misbehaves on the rows whose `kind` it is told to: for tests of limits and quarantine.
//!
//! Every other row is counted by key and gives a row of the count so far. Each key of the configuration names a kind.

use std::hint::black_box;

use weir_sdk::prelude::*;

#[derive(Input)]
struct Event {
    kind: Option<String>,
}

#[derive(Output)]
#[output(keyed)]
struct Counted {
    count: i64,
}

#[derive(State)]
struct Held {
    count: Value<i64>,
    ballast: List<String>,
}

#[derive(Timer)]
enum Alarm {
    Later,
}

#[derive(Config)]
struct Misdeeds {
    /// Panics, after it changed its state.
    trap: Option<String>,
    /// Sets a timer that panics when it fires.
    trap_later: Option<String>,
    /// Sets a billion timers.
    timers: Option<String>,
    /// Sets a few more timers than a key may have.
    many_timers: Option<String>,
    /// Keeps a megabyte.
    bloat: Option<String>,
    /// Sets a timer that sets itself again, at the same time, for ever.
    again: Option<String>,
    /// Sets a timer that sets itself again a second later, for ever.
    every_second: Option<String>,
    /// Never returns.
    spin: Option<String>,
}

const BILLION: i64 = 1_000_000_000;
const MANY_TIMERS: i64 = 1_001;
const BALLAST_BYTES: usize = 1 << 20;
const SECOND_US: i64 = 1_000_000;

#[process]
impl Process for Misdeeds {
    type Row = Event;
    type State = Held;
    type Timer = Alarm;
    type Output = Counted;

    fn on_row(&self, event: Event, held: &mut Held, timers: &mut Timers<Alarm>) -> Counted {
        let is = |misdeed: &Option<String>| misdeed.is_some() && *misdeed == event.kind;
        let count = held.count.unwrap_or(0) + 1;
        *held.count = Some(count);
        let after = |seconds: i64| Timestamp::from_micros(timers.time().micros() + seconds * SECOND_US);
        if is(&self.trap) {
            panic!("told to trap at {count}");
        }
        if is(&self.bloat) {
            held.ballast.push_back("a".repeat(BALLAST_BYTES));
        }
        while is(&self.spin) {
            black_box(count);
        }
        let (later, every) = (after(1), is(&self.trap_later) || is(&self.again) || is(&self.every_second));
        let times = if is(&self.timers) { BILLION } else { MANY_TIMERS };
        if is(&self.timers) || is(&self.many_timers) {
            (0..times).for_each(|time| timers.set(Alarm::Later, Timestamp::from_micros(time)));
        } else if every {
            timers.set(Alarm::Later, later);
        }
        Counted { count }
    }

    fn on_timer(&self, alarm: Alarm, held: &mut Held, timers: &mut Timers<Alarm>) -> Option<Counted> {
        if self.trap_later.is_some() {
            panic!("told to trap later");
        }
        let step_us = if self.again.is_some() { 0 } else { SECOND_US };
        timers.set(alarm, Timestamp::from_micros(timers.time().micros() + step_us));
        held.count.map(|count| Counted { count: -count })
    }
}
