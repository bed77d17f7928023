//! Runs every folder of `cases/` in every way. `CASE=name` runs one, `UPDATE=1` writes what came out as expected,
//! `EVICT=1` lets state leave memory at every barrier.

use std::sync::Mutex;

use anyhow::{Context, Result};
use weir_golden::case::{Case, Killed, all, compare};
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

    let left = Mutex::new(cases.into_iter());
    let faults = Mutex::new(Vec::new());
    let threads = std::thread::available_parallelism().map_or(2, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                loop {
                    let Some(case) = left.lock().unwrap().next() else { return };
                    if let Err(fault) = check(&weir, &case) {
                        faults.lock().unwrap().push(format!("{}: {fault:#}", case.name));
                    }
                }
            });
        }
    });
    let faults = faults.into_inner().unwrap();
    assert!(faults.is_empty(), "{}", faults.join("\n\n"));
}

fn check(weir: &Weir, case: &Case) -> Result<()> {
    if std::env::var_os("UPDATE").is_some() {
        let found = case.run(weir, Killed::Never, 1)?;
        return found.iter().try_for_each(|found| case.update(found));
    }
    let expected = case.expected()?;
    for workers in [1, 2] {
        for killed in Killed::ALL {
            let found = case.run(weir, killed, workers);
            let checked = found.and_then(|found| found.iter().try_for_each(|found| compare(&expected, found)));
            checked.with_context(|| format!("with {workers} workers, killed: {killed:?}"))?;
        }
    }
    Ok(())
}
