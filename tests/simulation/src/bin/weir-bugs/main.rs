//! Tests the tests: puts one bug after the other into the engine and sees that something notices. Without a bug nothing
//! may. Ends with 1 when a bug goes through.
//!
//! `weir-bugs run|forget MANIFEST PROFILE STATE` runs a pipeline to the end of its input, with the log or with one that
//! keeps nothing: what a log costs is the difference.

mod alignment;
mod live;
mod manifest;
mod stale_owner;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::ExitCode;

use weir_simulation::simulate_all;
use weir_stream::Bug;

/// Seeds of the simulation for each bug: the rarest needs some dozens.
const SEEDS: u64 = 400;

/// As in the product, since its cost is measured here too.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

type Scenario = (&'static str, fn() -> Result<(), String>);

const SCENARIOS: [Scenario; 4] = [
    ("the simulation", || simulate_all(1, SEEDS).map(drop)),
    ("the manifest's tests, killed at every epoch", manifest::run),
    ("two owners of one file", stale_owner::run),
    ("a slow source beside a fast one", alignment::run),
];

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match &arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        [] => campaign(),
        [verb @ ("run" | "forget"), manifest, profile, state] => {
            let bug = (*verb == "forget").then_some(Bug::KeepNothing);
            let ended = live::run(manifest.as_ref(), profile, state.as_ref(), bug);
            ended.map_or_else(|error| failed(&error), |()| ExitCode::SUCCESS)
        }
        _ => failed("usage: weir-bugs [run|forget MANIFEST PROFILE STATE]"),
    }
}

fn failed(error: &str) -> ExitCode {
    eprintln!("Error: {error}");
    ExitCode::FAILURE
}

fn campaign() -> ExitCode {
    // A bug may break an assertion too: that is one way to be caught, and its text is told below.
    std::panic::set_hook(Box::new(|_| {}));
    if let Some((name, why)) = caught(None) {
        eprintln!("without a bug {name} fails: {why}");
        return ExitCode::FAILURE;
    }
    let mut missed = 0;
    for bug in Bug::ALL {
        match caught(Some(bug)) {
            Some((name, why)) => {
                println!("caught  {bug:?} by {name}: {}", why.lines().next().unwrap_or_default());
            }
            None => {
                missed += 1;
                println!("MISSED  {bug:?}");
            }
        }
    }
    println!("{} bugs, {missed} missed", Bug::ALL.len());
    if missed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// The first scenario that notices, and what it says.
fn caught(bug: Option<Bug>) -> Option<(&'static str, String)> {
    Bug::put_in(bug);
    let noticed = SCENARIOS.iter().find_map(|(name, scenario)| {
        let ran = catch_unwind(AssertUnwindSafe(scenario));
        let ran = ran.unwrap_or_else(|panic| {
            let text = panic.downcast_ref::<String>().cloned();
            Err(text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned())).unwrap_or_default())
        });
        ran.err().map(|why| (*name, why))
    });
    Bug::put_in(None);
    noticed
}
