//! A service that is away, a disk that is full: the pipeline waits, says so, loses nothing, and can be ended all the same.

use std::time::{Duration, Instant};

use weir_chaos::kills;
use weir_chaos::room::{Load, Room};
use weir_chaos::services::Services;
use weir_chaos::small_disk::SmallDisk;
use weir_chaos::swaps::BOUND;
use weir_services::{Postgres, Run};

const SOME: Load = Load { seed: 11, events: 12_000, per_second: 4_000 };

/// Twenty seconds of it: a sink that is sent nothing does not notice that its database is away.
const LONG: Load = Load { seed: 12, events: 30_000, per_second: 1_500 };

/// Ten seconds: epochs follow each other while the disk is full.
const STEADY: Load = Load { seed: 13, events: 15_000, per_second: 1_500 };

/// How long a pipeline may take to end on SIGTERM.
const STOP_BOUND: Duration = Duration::from_secs(5);

fn wait_not_ready(run: &Run, sink: &str) {
    let until = Instant::now() + BOUND;
    loop {
        match run.not_ready().unwrap() {
            Some(why) if why.contains(sink) => return,
            why => assert!(Instant::now() < until, "ready says {why:?}, not that {sink} waits"),
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn wait_ready(run: &Run) {
    let until = Instant::now() + BOUND;
    while let Some(why) = run.not_ready().unwrap() {
        assert!(Instant::now() < until, "still {why}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn stop(run: Run) -> String {
    run.process.signal(libc::SIGTERM);
    let ended = run.end(STOP_BOUND).unwrap();
    assert_eq!(ended.status.code(), Some(0), "{}", ended.stderr);
    ended.stderr
}

#[test]
fn a_database_that_is_down_at_the_start_is_waited_for() {
    let mut postgres = Postgres::prepare().unwrap();
    let room = Room::with_postgres(Services::shared(), &postgres.url()).unwrap();
    let mut producer = room.produce(SOME).unwrap();
    let mut run = room.start("run", &[]).unwrap();
    wait_not_ready(&run, "_server");
    run.wait_for("durable epochs", BOUND, |status| status["durable_epoch"].as_u64() > Some(2)).unwrap();
    postgres.resume().unwrap();
    wait_ready(&run);
    assert!(producer.wait_end(BOUND).unwrap().success());
    stop(run);
    kills::finish(&room).unwrap();
}

#[test]
fn a_database_that_goes_away_in_the_middle_is_waited_for() {
    let mut postgres = Postgres::start().unwrap();
    let room = Room::with_postgres(Services::shared(), &postgres.url()).unwrap();
    let mut producer = room.produce(LONG).unwrap();
    let mut run = room.start("run", &[]).unwrap();
    let exposed = |status: &serde_json::Value| status["sinks"]["paid_server"]["exposed_epoch"].as_u64();
    run.wait_for("rows in the database", BOUND, |status| exposed(status) > Some(1)).unwrap();
    for _ in 0..2 {
        postgres.kill();
        wait_not_ready(&run, "paid_server");
        postgres.resume().unwrap();
        wait_ready(&run);
    }
    assert!(producer.wait_end(BOUND).unwrap().success());
    stop(run);
    kills::finish(&room).unwrap();
}

#[test]
fn a_pipeline_whose_sink_is_down_ends_in_time_and_names_what_is_owed() {
    let mut postgres = Postgres::start().unwrap();
    let room = Room::with_postgres(Services::shared(), &postgres.url()).unwrap();
    let mut producer = room.produce(SOME).unwrap();
    let mut run = room.start("run", &[]).unwrap();
    let exposed = |status: &serde_json::Value| status["sinks"]["paid_server"]["exposed_epoch"].as_u64();
    run.wait_for("rows in the database", BOUND, |status| exposed(status) > Some(1)).unwrap();
    postgres.kill();
    wait_not_ready(&run, "paid_server");
    let said = stop(run);
    assert!(said.contains("sink paid_server is still owed"), "{said}");
    assert!(producer.wait_end(BOUND).unwrap().success());
    postgres.resume().unwrap();
    kills::finish(&room).unwrap();
}

#[test]
fn a_full_disk_is_waited_for_and_nothing_is_lost() {
    let room = Room::new(Services::shared()).unwrap();
    let Some(disk) = SmallDisk::mount(&room.path("state"), 48 << 20).unwrap() else {
        eprintln!("only root can make a small disk; the simulation fills its own");
        return;
    };
    let mut producer = room.produce(STEADY).unwrap();
    let mut run = room.start("run", &[]).unwrap();
    let durable = |status: &serde_json::Value| status["durable_epoch"].as_u64().unwrap_or(0);
    for _ in 0..2 {
        let before = durable(&run.status().unwrap());
        run.wait_for("durable epochs", BOUND, |status| durable(status) > before + 2).unwrap();
        disk.fill().unwrap();
        wait_not_ready(&run, "no space left");
        let stands = durable(&run.status().unwrap());
        disk.make_room().unwrap();
        run.wait_for("epochs behind it", BOUND, |status| durable(status) > stands).unwrap();
        wait_ready(&run);
    }
    assert!(producer.wait_end(BOUND).unwrap().success());
    stop(run);
    kills::finish(&room).unwrap();
}

#[test]
fn a_topic_that_is_not_there_is_an_error_that_names_it() {
    let room = Room::new(Services::shared()).unwrap();
    let manifest = std::fs::read_to_string(room.manifest()).unwrap();
    std::fs::write(room.manifest(), manifest.replace(&room.events(), "nowhere.events")).unwrap();
    let ended = room.spawn("run", &[]).unwrap().end(BOUND).unwrap();
    assert_eq!(ended.status.code(), Some(69), "{}", ended.stderr);
    let said = format!("{}{}", ended.stderr, ended.report);
    assert!(said.contains("nowhere.events"), "{said}");
    assert!(ended.report["next"].is_string(), "{said}");
}

#[test]
fn a_state_folder_serves_one_process_and_one_pipeline() {
    let room = Room::new(Services::shared()).unwrap();
    let mut first = room.start("first", &[]).unwrap();
    first.wait_for("a running pipeline", BOUND, |status| status["state"] == "running").unwrap();
    let second = room.spawn("second", &[]).unwrap().end(BOUND).unwrap();
    let said = second.report["error"].as_str().unwrap_or_default().to_owned();
    assert_eq!(second.status.code(), Some(1), "{said}");
    assert!(said.contains("in use"), "{said}");
    stop(first);

    let manifest = std::fs::read_to_string(room.manifest()).unwrap();
    let other = format!("pipeline: other_{}", room.name);
    std::fs::write(room.manifest(), manifest.replace(&format!("pipeline: {}", room.name), &other)).unwrap();
    let other = room.spawn("other", &[]).unwrap().end(BOUND).unwrap();
    let said = other.report["error"].as_str().unwrap_or_default().to_owned();
    assert_eq!(other.status.code(), Some(1), "{said}");
    assert!(said.contains(&room.name), "{said}");
}
