//! `weir-soak`: sixty kills and two hundred swaps of the shop's pipeline, and two hundred kills of one with every stateful
//! step, under load on real services, in rounds that each end with a verdict.
//!
//! It goes on where it was stopped: finished rounds of this commit are kept in a state file beside the built programs.
//! Its result, with commit, seed and figures, is written to `tests/chaos/results/`. `--short` does one round of each.

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use weir_chaos::room::{Load, Room};
use weir_chaos::services::Services;
use weir_chaos::{engine, kills, seed, swaps};

const ROUNDS: usize = 10;
const KILLS_A_ROUND: u32 = 6;
const SWAPS_A_ROUND: u32 = 20;
const ENGINE_KILLS_A_ROUND: u32 = 20;

const KINDS: [&str; 3] = ["engine", "kills", "swaps"];

fn main() -> ExitCode {
    match soak() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("Error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn soak() -> Result<()> {
    let rounds = if std::env::args().any(|argument| argument == "--short") { 1 } else { ROUNDS };
    let commit = commit()?;
    let state = state_file(&commit)?;
    let mut done = read_state(&state, &commit)?;
    let seed = done["seed"].as_u64().context("the state file has no seed")?;
    eprintln!("commit {commit}, seed {seed}, state {}", state.display());
    let services = Services::find_or_start()?;
    for kind in KINDS {
        for round in rounds_done(&done, kind)..rounds {
            let result = one(kind, &services, seed + round as u64)?;
            eprintln!("{kind} round {} of {rounds}: {result}", round + 1);
            done[kind].as_array_mut().context("the state file is damaged: delete it")?.push(result);
            std::fs::write(&state, done.to_string())?;
        }
    }
    let results = weir_services::repository().join("tests/chaos/results");
    let date = jiff::Zoned::now().date();
    let path = results.join(format!("{date}-{commit}.json"));
    std::fs::write(&path, format!("{:#}\n", summary(&done, &commit, seed)))?;
    println!("{}", path.display());
    Ok(())
}

fn one(kind: &str, services: &Services, seed: u64) -> Result<Value> {
    let began = std::time::Instant::now();
    let made = match kind {
        "engine" => engine_round(services, seed),
        "kills" => kills_round(services, seed),
        _ => swaps_round(services, seed),
    };
    let mut result = made.with_context(|| format!("{kind} round with seed {seed}"))?;
    result["seconds"] = began.elapsed().as_secs().into();
    result["seed"] = seed.into();
    Ok(result)
}

fn engine_round(services: &Services, seed: u64) -> Result<Value> {
    let room = Room::of(services, &engine::SCENE)?;
    let killed = engine::round(&room, seed, ENGINE_KILLS_A_ROUND)?;
    let figures = killed.figures;
    Ok(json!({ "kills": killed.kills, "figures": {
        "records": figures.records, "passed": figures.passed, "windows": figures.windows, "pairs": figures.pairs,
        "judged": figures.judged, "silences": figures.silences, "dead_letters": figures.dead_letters,
    }}))
}

fn kills_round(services: &Services, seed: u64) -> Result<Value> {
    let load = Load { seed, events: 48_000, per_second: 4_000 };
    let killed = kills::round(&Room::new(services)?, load, KILLS_A_ROUND)?;
    Ok(json!({ "kills": killed.kills, "under_load": killed.under_load, "figures": figures(&killed.figures) }))
}

fn swaps_round(services: &Services, seed: u64) -> Result<Value> {
    let load = Load { seed, events: 90_000, per_second: 4_000 };
    let swapped = swaps::round(&Room::new(services)?, load, SWAPS_A_ROUND)?;
    Ok(json!({
        "kept": swapped.kept, "refused": swapped.refused, "rolled_back": swapped.rolled_back,
        "pauses_us": swapped.pauses_us, "figures": figures(&swapped.figures),
    }))
}

fn figures(figures: &weir_chaos::verdict::Figures) -> Value {
    json!({
        "records": figures.records, "rows": figures.rows, "windows": figures.windows,
        "dead_letters": figures.dead_letters, "late": figures.late, "by_next": figures.by_next,
    })
}

/// The commit that is tried; with `-changed` when the checkout is not just that.
fn commit() -> Result<String> {
    let git = |arguments: &[&str]| {
        let output = Command::new("git").arg("-C").arg(weir_services::repository()).args(arguments).output()?;
        ensure!(output.status.success(), "git {}: {}", arguments.join(" "), String::from_utf8_lossy(&output.stderr));
        anyhow::Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
    };
    let changed = !git(&["status", "--porcelain", "--untracked-files=no"])?.is_empty();
    Ok(git(&["rev-parse", "--short=12", "HEAD"])? + if changed { "-changed" } else { "" })
}

fn state_file(commit: &str) -> Result<PathBuf> {
    let this = std::env::current_exe()?;
    Ok(this.with_file_name(format!("weir-soak-{commit}.json")))
}

fn read_state(path: &Path, commit: &str) -> Result<Value> {
    if !path.exists() {
        return Ok(json!({ "commit": commit, "seed": seed::printed(), "engine": [], "kills": [], "swaps": [] }));
    }
    serde_json::from_str(&std::fs::read_to_string(path)?).with_context(|| format!("{}: delete it", path.display()))
}

fn rounds_done(done: &Value, kind: &str) -> usize {
    done[kind].as_array().map_or(0, Vec::len)
}

fn summary(done: &Value, commit: &str, seed: u64) -> Value {
    let sum = |kind: &str, pointer: &str| -> u64 {
        let rounds = done[kind].as_array().into_iter().flatten();
        rounds.filter_map(|round| round.pointer(pointer).and_then(Value::as_u64)).sum()
    };
    let mut pauses: Vec<u64> = Vec::new();
    for round in done["swaps"].as_array().into_iter().flatten() {
        pauses.extend(round["pauses_us"].as_array().into_iter().flatten().filter_map(Value::as_u64));
    }
    pauses.sort_unstable();
    let percentile = |percent: usize| pauses.get((pauses.len() * percent / 100).min(pauses.len().saturating_sub(1)));
    json!({
        "commit": commit,
        "seed": seed,
        "lost": 0,
        "doubled": 0,
        "engine_kills": sum("engine", "/kills"),
        "engine_seconds": sum("engine", "/seconds"),
        "engine_records": sum("engine", "/figures/records"),
        "engine_windows": sum("engine", "/figures/windows"),
        "engine_pairs": sum("engine", "/figures/pairs"),
        "engine_silences": sum("engine", "/figures/silences"),
        "kills": sum("kills", "/kills"),
        "kills_under_load": sum("kills", "/under_load"),
        "swaps": sum("swaps", "/kept") + sum("swaps", "/refused") + sum("swaps", "/rolled_back"),
        "swaps_kept": sum("swaps", "/kept"),
        "swaps_refused": sum("swaps", "/refused"),
        "swaps_rolled_back": sum("swaps", "/rolled_back"),
        "records": sum("kills", "/figures/records") + sum("swaps", "/figures/records"),
        "dead_letters": sum("kills", "/figures/dead_letters") + sum("swaps", "/figures/dead_letters"),
        "windows": sum("kills", "/figures/windows") + sum("swaps", "/figures/windows"),
        "late": sum("kills", "/figures/late") + sum("swaps", "/figures/late"),
        "pause_p50_us": percentile(50),
        "pause_p99_us": percentile(99),
        "rounds": done,
    })
}
