//! Runs every folder of `cases/`. `CASE=name` runs one, `UPDATE=1` writes what came out as expected, `EVICT=1` lets state leave
//! memory at every barrier in every way, `WEIR_SEED=n` repeats the choice of ways, `WEIR_GOLDEN=all` takes every way.

use std::sync::Mutex;

use anyhow::{Context, Result};
use weir_golden::case::{Case, Killed, Way, all, compare};
use weir_services::Weir;

#[test]
fn every_case_gives_what_it_expects_also_killed_at_every_epoch() {
    let wanted = std::env::var("CASE").ok();
    let cases: Vec<Case> =
        all().unwrap().into_iter().filter(|case| wanted.as_ref().is_none_or(|wanted| case.name == *wanted)).collect();
    assert!(!cases.is_empty(), "no case {wanted:?}");
    let weir = Weir::find().unwrap();
    let mut plugins: Vec<String> = cases.iter().flat_map(|case| case.plugins().unwrap()).collect();
    plugins.sort();
    plugins.dedup();
    plugins.iter().for_each(|plugin| drop(weir.build_plugin(plugin).unwrap()));

    let seed = printed_seed();
    let left = Mutex::new(cases.into_iter());
    let faults = Mutex::new(Vec::new());
    let threads = std::thread::available_parallelism().map_or(2, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                loop {
                    let Some(case) = left.lock().unwrap().next() else { return };
                    if let Err(fault) = check(&weir, &case, seed) {
                        faults.lock().unwrap().push(format!("{}: {fault:#}", case.name));
                    }
                }
            });
        }
    });
    let faults = faults.into_inner().unwrap();
    assert!(faults.is_empty(), "{}", faults.join("\n\n"));
}

/// In which numbers of tasks, killed where, and with state in memory or out of it a case is run: with two tasks killed
/// everywhere; with one and four, and out of memory, where the seed says, or everywhere with `WEIR_GOLDEN=all`.
fn ways(seed: u64, case: &Case) -> Vec<Way> {
    let evict = std::env::var_os("EVICT").is_some();
    let all = std::env::var("WEIR_GOLDEN").is_ok_and(|wanted| wanted == "all");
    let name = case.name.bytes().fold(seed, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3));
    let chosen = |tasks: u32, byte: u32| (tasks, Killed::ALL[(name >> byte) as usize % 4]);
    let everywhere = |tasks| Killed::ALL.map(|killed| (tasks, killed));
    let (in_memory, out_of_it) = match all {
        true => ([1, 2, 4].map(everywhere).concat(), everywhere(2).to_vec()),
        false => ([&everywhere(2)[..], &[chosen(1, 8), chosen(4, 16)]].concat(), vec![chosen(2, 24)]),
    };
    let way = |evict: bool| move |(tasks, killed)| Way { tasks, killed, evict };
    in_memory.into_iter().map(way(evict)).chain(out_of_it.into_iter().map(way(true))).collect()
}

/// `WEIR_SEED`, or another one each second.
fn printed_seed() -> u64 {
    let named = std::env::var("WEIR_SEED").ok().and_then(|seed| seed.parse().ok());
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    let seed = named.unwrap_or_else(|| since.map_or(0, |since| since.as_secs() % 100_000));
    eprintln!("WEIR_SEED={seed}");
    seed
}

fn check(weir: &Weir, case: &Case, seed: u64) -> Result<()> {
    if std::env::var_os("UPDATE").is_some() {
        let found = case.run(weir, Way { tasks: 1, killed: Killed::Never, evict: false })?;
        return found.iter().try_for_each(|found| case.update(found));
    }
    let expected = case.expected()?;
    for way in ways(seed, case) {
        let found = case.run(weir, way);
        let checked = found.and_then(|found| found.iter().try_for_each(|found| compare(&expected, found)));
        checked.with_context(|| format!("{way:?}; again with WEIR_SEED={seed}"))?;
    }
    Ok(())
}
