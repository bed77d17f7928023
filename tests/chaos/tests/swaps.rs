//! Plugins are replaced in the running pipeline: what fits goes in, what does not is refused, what fails goes back.

use weir_chaos::room::{Load, Room};
use weir_chaos::services::Services;
use weir_chaos::swaps::{BOUND, round, running, wait_ready, write_bad};
use weir_chaos::{kills, seed};

/// A few thousand events at once.
const SOME: Load = Load { seed: 5, events: 6_000, per_second: 0 };

fn room() -> Room {
    Room::new(Services::shared()).unwrap()
}

fn filled(room: &Room) {
    assert!(room.produce(SOME).unwrap().wait_end(BOUND).unwrap().success());
}

#[test]
fn twenty_swaps_under_load_lose_and_double_nothing_and_every_row_has_one_maker() {
    let load = Load { seed: seed::printed(), events: 45_000, per_second: 3_000 };
    let swapped = round(&room(), load, 20).unwrap();
    eprintln!("{swapped:?}");
    assert_eq!(swapped.kept + swapped.refused + swapped.rolled_back, 20);
}

#[test]
fn a_plugin_that_does_not_fit_is_refused_with_every_fault_and_the_running_one_goes_on() {
    let room = room();
    filled(&room);
    let mut run = room.start("run", &[]).unwrap();
    let before = wait_ready(&mut run).unwrap();
    let refusal = room.swap(&run, "clean", &room.component("adversary")).unwrap_err().to_string();
    assert!(refusal.contains("does not fit step `clean`") && refusal.contains("max_amount"), "{refusal}");
    assert_eq!(running(&run.status().unwrap(), "clean"), running(&before, "clean"));
    assert_eq!(run.not_ready().unwrap(), None);
}

/// Swaps a twin of the running plugin in and gives it a row that it fails on.
fn fails_while_watched(kind: &str) {
    let room = room();
    filled(&room);
    let mut run = room.start("run", &[]).unwrap();
    let before = wait_ready(&mut run).unwrap();
    let report = room.swap(&run, "check", &room.salted("adversary", 1).unwrap()).unwrap();
    assert_ne!(report["digest"].as_str().unwrap(), running(&before, "check"));
    write_bad(&room, kind, 1).unwrap();
    let back = run.wait_for("a rollback", BOUND, |status| status["rollbacks"] == 1 && status["state"] == "running");
    let back = back.unwrap();
    assert_eq!(running(&back, "check"), running(&before, "check"));
    assert!(back["last_swap"]["verdict"].as_str().unwrap().starts_with("rolled back: "), "{back:#}");
    // The old version fails on that row too: now it is quarantined, alone.
    run.wait_for("the row's dead letter", BOUND, |status| status["steps"]["check"]["rejected"] == 1).unwrap();
    run.process.signal(libc::SIGTERM);
    assert!(run.end(BOUND).unwrap().status.success());
    kills::finish(&room).unwrap();
}

#[test]
fn a_new_version_that_traps_while_it_is_watched_gives_way_to_the_old_one() {
    fails_while_watched("boom");
}

#[test]
fn a_new_version_that_never_returns_while_it_is_watched_gives_way_to_the_old_one() {
    fails_while_watched("spin");
}

#[test]
fn a_plugin_that_fails_beyond_the_bounds_pauses_the_pipeline_which_is_not_ready_and_says_why() {
    let room = room();
    write_bad(&room, "boom", 400).unwrap();
    let mut run = room.start("run", &[]).unwrap();
    let paused = run.wait_for("a pause", BOUND, |status| status["state"] == "paused").unwrap();
    assert!(paused["reason"].as_str().unwrap().contains("step `check` is paused"), "{paused:#}");
    let why = run.not_ready().unwrap().unwrap();
    assert!(why.contains("check") && why.contains("trap"), "{why}");
    run.process.signal(libc::SIGTERM);
    assert!(run.end(BOUND).unwrap().status.success());
}

#[test]
fn a_manifest_that_names_another_plugin_than_before_swaps_it_in_through_the_gate() {
    let room = room();
    filled(&room);
    let mut run = room.start("first", &[]).unwrap();
    let first =
        run.wait_for("rows", BOUND, |status| status["steps"]["clean"]["rows_out"].as_u64() > Some(1000)).unwrap();
    run.process.signal(libc::SIGTERM);
    assert!(run.end(BOUND).unwrap().status.success());

    room.write_manifest("clean-events-next").unwrap();
    filled(&room);
    let mut run = room.start("second", &[]).unwrap();
    let second = run.wait_for("the manifest's version", BOUND, |status| {
        running(status, "clean") != running(&first, "clean") && status["last_swap"]["step"] == "clean"
    });
    assert_eq!(running(&second.unwrap(), "check"), running(&first, "check"));
    filled(&room);
    run.process.signal(libc::SIGTERM);
    assert!(run.end(BOUND).unwrap().status.success());
    let figures = kills::finish(&room).unwrap();
    assert!(figures.by_next > 0 && figures.by_next < figures.rows, "{figures:?}");
}
