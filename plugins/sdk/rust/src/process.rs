//! Keyed plugins: a struct that is the plugin's configuration, with a function for rows and one for timers.
//!
//! ```
//! use weir_sdk::prelude::*;
//!
//! #[derive(Input)]
//! struct Click { page: i64 }
//!
//! /// What is kept for each key, in the host.
//! #[derive(State)]
//! struct Visit {
//!     #[state(ttl = "1d")]
//!     clicks: Value<i64>,
//! }
//!
//! #[derive(Timer)]
//! enum Alarm { Over }
//!
//! /// `keyed`: the key's columns and these, so that timers can write it too.
//! #[derive(Output)]
//! #[output(keyed)]
//! struct Session { clicks: i64 }
//!
//! #[derive(Config)]
//! struct Sessions {
//!     #[config(default = 1800)]
//!     gap_s: i64,
//! }
//!
//! #[process(name = "sessions", version = "1.0.0")]
//! impl Process for Sessions {
//!     type Row = Click;
//!     type State = Visit;
//!     type Timer = Alarm;
//!     type Output = Session;
//!
//!     fn on_row(&self, _: Click, visit: &mut Visit, timers: &mut Timers<Alarm>) -> Option<Session> {
//!         *visit.clicks = Some(visit.clicks.unwrap_or(0) + 1);
//!         timers.reset(Alarm::Over, Timestamp::from_micros(timers.time().micros() + self.gap_s * 1_000_000));
//!         None
//!     }
//!
//!     fn on_timer(&self, _: Alarm, visit: &mut Visit, _: &mut Timers<Alarm>) -> Option<Session> {
//!         visit.clicks.take().map(|clicks| Session { clicks })
//!     }
//! }
//! # fn main() {}
//! ```
//!
//! What the functions return is what a transform may return. A call of the host brings rows of many keys with all of
//! their state; what was changed goes back when the call returns, so a trap changes nothing. State that a function
//! changed before it rejected the row stays changed.

use std::marker::PhantomData;

use crate::config::{self, Config};
use crate::input::{self, Input};
use crate::output::{Output, OutputSpec};
use crate::plugin::{self, column_fault, fault_text, field, names, read_fault, written};
use crate::process_bindings::exports::weir::plugin::process::{
    self as keyed, Contract, Firings, Keeps, Keys, Processed, Rows, TimeDomain, TimerAction, TimerChange,
};
use crate::returned::{Collector, Returned};
use crate::state::{Held, State, StateSpec, StateTypes};
use crate::time::Timestamp;
use crate::types::{Part, Type};
use crate::wit::{Fault, Field};

/// A keyed plugin. The type is its configuration; `#[process]` on the implementation exports it.
pub trait Process: Config {
    /// The columns that the plugin reads: a struct that owns what it reads, without a lifetime.
    type Row: for<'a> Input<'a>;
    /// What is kept for each key.
    type State: State;
    /// The kinds of timers, or [`NoTimer`].
    type Timer: Timer;
    type Output: Output;

    /// One row, with the state of its key.
    fn on_row(
        &self,
        row: Self::Row,
        state: &mut Self::State,
        timers: &mut Timers<Self::Timer>,
    ) -> impl Returned<Output = Self::Output>;

    /// A timer's time has come; [`Timers::time`] is what it was set to. Rows that it returns must be of a `keyed` output.
    fn on_timer(
        &self,
        timer: Self::Timer,
        state: &mut Self::State,
        timers: &mut Timers<Self::Timer>,
    ) -> impl Returned<Output = Self::Output> {
        let _ = (timer, state, timers);
        None::<Self::Output>
    }
}

/// A plugin's name and version. `#[process]` implements it.
pub trait Named {
    const NAME: &'static str;
    const VERSION: &'static str;
}

/// The kinds of timers that a plugin sets. Derived on an enum without values; `#[timer(processing)]` on a variant that
/// waits for the host's clock instead of event time.
pub trait Timer: Copy {
    /// Names, and whether they wait for the clock.
    const KINDS: &'static [(&'static str, bool)];

    fn number(self) -> u32;

    fn of(number: u32) -> Self;
}

/// For plugins without timers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NoTimer {}

impl Timer for NoTimer {
    const KINDS: &'static [(&'static str, bool)] = &[];

    fn number(self) -> u32 {
        match self {}
    }

    fn of(number: u32) -> Self {
        panic!("timer {number} fires in a plugin without timers")
    }
}

/// The time that it is, and the timers of the key at hand.
pub struct Timers<T> {
    key: u32,
    time_us: i64,
    now_us: Option<i64>,
    changes: Vec<TimerChange>,
    kinds: PhantomData<T>,
}

impl<T: Timer> Timers<T> {
    fn new(now_us: Option<i64>) -> Self {
        Self { key: 0, time_us: 0, now_us, changes: Vec::new(), kinds: PhantomData }
    }

    /// The row's event time, or what the timer that fires was set to.
    pub fn time(&self) -> Timestamp {
        Timestamp::from_micros(self.time_us)
    }

    /// The host's clock, for plugins with a timer that waits for it.
    pub fn now(&self) -> Option<Timestamp> {
        self.now_us.map(Timestamp::from_micros)
    }

    /// Fires once more at `at`, whatever is pending.
    pub fn set(&mut self, timer: T, at: Timestamp) {
        self.change(timer, TimerAction::Set(at.micros()));
    }

    pub fn clear(&mut self, timer: T, at: Timestamp) {
        self.change(timer, TimerAction::Clear(at.micros()));
    }

    /// Clears every pending one of this kind.
    pub fn clear_all(&mut self, timer: T) {
        self.change(timer, TimerAction::ClearAll);
    }

    /// Fires at `at` and at no other time.
    pub fn reset(&mut self, timer: T, at: Timestamp) {
        self.clear_all(timer);
        self.set(timer, at);
    }

    fn change(&mut self, timer: T, action: TimerAction) {
        self.changes.push(TimerChange { key: self.key, timer: timer.number(), action });
    }
}

/// A configured plugin and the types that it was opened for.
pub struct Opened<P> {
    plugin: P,
    reads: Vec<Type>,
    writes: Vec<Vec<Type>>,
    states: Vec<StateTypes>,
}

impl<P> Opened<P> {
    pub fn states(&self) -> &[StateTypes] {
        &self.states
    }
}

/// Answers `describe`.
///
/// # Errors
/// Everything that does not fit.
pub fn describe<P: Process + Named>(text: &str, input: &[Field]) -> Result<Contract, Vec<Fault>> {
    let (reads, input) = (<P::Row as Input<'_>>::columns(), &Part::of_schema(input));
    let mut faults: Vec<Fault> = reads.iter().filter_map(|column| read_fault(column, input)).collect();
    let outputs = P::Output::outputs().iter().map(|spec| output(spec, input, &mut faults)).collect();
    let states = P::State::declared().iter().map(|spec| state(spec, &mut faults)).collect();
    if let Err(unfit) = config::read::<P>(text) {
        faults.extend(unfit);
    }
    if !faults.is_empty() {
        return Err(faults);
    }
    let timer = |(name, processing): &(&'static str, bool)| keyed::Timer {
        name: (*name).into(),
        domain: if *processing { TimeDomain::Processing } else { TimeDomain::Event },
    };
    Ok(Contract {
        name: P::NAME.into(),
        version: P::VERSION.into(),
        reads: reads.iter().map(|column| column.name.into()).collect(),
        outputs,
        states,
        timers: P::Timer::KINDS.iter().map(timer).collect(),
        // What the host's clock says is never the same again.
        deterministic: P::Timer::KINDS.iter().all(|(_, processing)| !processing),
        config_schema: config::schema::<P>(),
    })
}

fn output(spec: &OutputSpec, input: &[Part], faults: &mut Vec<Fault>) -> keyed::Output {
    // A row of the key takes nobody's place.
    let below = if spec.keyed { &[][..] } else { input };
    let mut writes = Vec::new();
    for column in &spec.columns {
        match written(column, spec, below) {
            Ok(part) => part.list_into(&mut writes),
            Err(fault) => faults.push(fault),
        }
    }
    let gone = spec.drops.iter().filter(|name| field(below, name).is_none());
    faults.extend(
        gone.map(|name| column_fault(name, format!("dropped by the plugin, not in its input (has: {})", names(below)))),
    );
    keyed::Output {
        name: spec.name.into(),
        keeps: if spec.keyed { Keeps::Key } else { Keeps::Row },
        writes,
        drops: spec.drops.iter().map(|name| (*name).into()).collect(),
    }
}

fn state(spec: &StateSpec, faults: &mut Vec<Fault>) -> keyed::State {
    let mut fields = |columns: &[crate::output::OutputColumn]| {
        let mut fields = Vec::new();
        for column in columns {
            match column.data_type(None) {
                Ok(of) => {
                    Part { name: column.name.into(), nullable: column.nullable, of }.list_into(&mut fields);
                }
                Err(lack) => faults.push(Fault {
                    config_path: None,
                    column: None,
                    message: format!("state `{}`: {}", spec.name, lack.within(column.name).text()),
                }),
            }
        }
        fields
    };
    let (map_key, columns) = (fields(&spec.map_key), fields(&spec.columns));
    keyed::State { name: spec.name.into(), kind: spec.kind, map_key, columns, ttl_ms: spec.ttl_ms }
}

/// Answers `open`.
///
/// # Errors
/// The faults that `describe` finds, in one text.
pub fn open<P: Process + Named>(text: &str, input: &[Field]) -> Result<Opened<P>, String> {
    let in_words = |faults: Vec<Fault>| faults.iter().map(fault_text).collect::<Vec<_>>().join("; ");
    let contract = describe::<P>(text, input).map_err(in_words)?;
    let types = plugin::types;
    let states = contract.states.iter();
    Ok(Opened {
        plugin: config::read(text).map_err(in_words)?,
        reads: plugin::types_of(&contract.reads, input),
        writes: contract.outputs.iter().map(|output| types(&output.writes)).collect(),
        states: states
            .map(|state| StateTypes { map_key: types(&state.map_key), columns: types(&state.columns) })
            .collect(),
    })
}

/// Answers `process`.
pub fn process<P: Process>(opened: &Opened<P>, keys: Keys, rows: Rows) -> Processed {
    let columns = input::bind::<P::Row>(&rows.batch, &opened.reads);
    call(opened, keys, rows.batch.rows, |row, step| {
        let (key, time_us) = (rows.key[row as usize], rows.event_time_us[row as usize]);
        step.at(key, time_us, |state, timers, collector| {
            let row_read = <P::Row as Input<'_>>::read(&columns, row as usize);
            opened.plugin.on_row(row_read, state, timers).collect(row, collector);
        });
    })
}

/// Answers `fire`.
pub fn fire<P: Process>(opened: &Opened<P>, keys: Keys, firings: Firings) -> Processed {
    let count = u32::try_from(firings.timer.len()).expect("firings are numbered by u32");
    call(opened, keys, count, |firing, step| {
        let at = firing as usize;
        step.at(firings.key[at], firings.time_us[at], |state, timers, collector| {
            let timer = P::Timer::of(firings.timer[at]);
            opened.plugin.on_timer(timer, state, timers).collect(firing, collector);
        });
    })
}

/// What a call has in its hands.
struct Step<'a, P: Process> {
    bound: <P::State as State>::Bound<'a>,
    /// By key; loaded when the key is first met.
    states: Vec<Option<P::State>>,
    timers: Timers<P::Timer>,
    collector: Collector<P::Output>,
}

impl<P: Process> Step<'_, P> {
    fn at(
        &mut self,
        key: u32,
        time_us: i64,
        act: impl FnOnce(&mut P::State, &mut Timers<P::Timer>, &mut Collector<P::Output>),
    ) {
        (self.timers.key, self.timers.time_us) = (key, time_us);
        let bound = &self.bound;
        let state = self.states[key as usize].get_or_insert_with(|| P::State::load(bound, key as usize));
        act(state, &mut self.timers, &mut self.collector);
    }
}

fn call<P: Process>(
    opened: &Opened<P>,
    keys: Keys,
    sources: u32,
    mut each: impl FnMut(u32, &mut Step<'_, P>),
) -> Processed {
    let held: Vec<Held> =
        keys.states.into_iter().zip(&opened.states).map(|(state, types)| Held::of(state, types)).collect();
    let mut step = Step::<P> {
        bound: P::State::bind(&held, &opened.states),
        states: (0..keys.count).map(|_| None).collect(),
        timers: Timers::new(keys.now_us),
        collector: Collector::new(&opened.writes, sources as usize),
    };
    (0..sources).for_each(|source| each(source, &mut step));
    let mut changes = P::State::changes(&opened.states);
    for (key, state) in (0..).zip(step.states) {
        if let Some(state) = state {
            state.store(key, &mut changes);
        }
    }
    let transformed = step.collector.finish(sources);
    Processed {
        outputs: transformed.outputs,
        rejects: transformed.rejects,
        states: P::State::finish(changes),
        timers: step.timers.changes,
    }
}

/// Exports a plugin as the component's `process` interface. `#[process]` calls it.
#[doc(hidden)]
#[macro_export]
macro_rules! __export_process {
    ($plugin:ty) => {
        // Natively nothing calls the plugin but tests; this keeps the compiler from calling it dead.
        #[cfg(not(target_arch = "wasm32"))]
        const _: () = {
            use $crate::process::Opened;
            use $crate::process_bindings::exports::weir::plugin::process as keyed;

            const _: fn(&Opened<$plugin>, keyed::Keys, keyed::Rows) -> keyed::Processed = $crate::process::process;
            const _: fn(&Opened<$plugin>, keyed::Keys, keyed::Firings) -> keyed::Processed = $crate::process::fire;
        };

        #[cfg(target_arch = "wasm32")]
        const _: () = {
            use ::std::{string::String, vec::Vec};
            use $crate::process::{self, Opened};
            use $crate::process_bindings::exports::weir::plugin::process as keyed;
            use $crate::wit;

            struct Component;

            ::std::thread_local! {
                static OPENED: ::std::cell::OnceCell<Opened<$plugin>> = const { ::std::cell::OnceCell::new() };
            }

            fn opened<T>(act: impl FnOnce(&Opened<$plugin>) -> T) -> T {
                OPENED.with(|cell| act(cell.get().expect("the host opens before it processes")))
            }

            impl keyed::Guest for Component {
                fn describe(config: String, input: Vec<wit::Field>) -> Result<keyed::Contract, Vec<wit::Fault>> {
                    $crate::plugin::report_panics();
                    process::describe::<$plugin>(&config, &input)
                }

                fn open(config: String, input: Vec<wit::Field>) -> Result<(), String> {
                    $crate::plugin::report_panics();
                    let opened = process::open::<$plugin>(&config, &input)?;
                    OPENED.with(|cell| cell.set(opened)).map_err(|_| "opened twice".into())
                }

                fn process(keys: keyed::Keys, rows: keyed::Rows) -> keyed::Processed {
                    opened(|opened| process::process(opened, keys, rows))
                }

                fn fire(keys: keyed::Keys, firings: keyed::Firings) -> keyed::Processed {
                    opened(|opened| process::fire(opened, keys, firings))
                }
            }

    $crate::process_bindings::export_process!(Component with_types_in $crate::process_bindings);
        };
    };
}
