//! State of which too much cannot leave memory, at its budget: the pipeline stops reading, says so and is not ready; with
//! more memory it goes on where it stopped.

use std::time::{Duration, Instant};

use weir_connectors::sql::read_sqlite_table;
use weir_services::Weir;

const BOUND: Duration = Duration::from_secs(60);

/// Each is a key of its own. It leaves memory but for a dozen bytes, by which it is found again: those alone are too many.
const ROWS: usize = 200_000;

const MANIFEST: &str = r#"pipeline: budget
sources:
  rows: { columns: { id: utf8!, at: timestamp(ms)! }, event_time: { column: at } }
steps:
  newest: { from: rows, latest: { key: [id] } }
sinks:
  table: { from: newest, upsert: [id] }
state: { memory: MEMORY, epoch: { interval: 100ms, max_rows: 1000 } }
profiles:
  only:
    rows: { file: { path: rows.jsonl } }
    table: { sqlite: { path: table.db, table: newest } }
    dead_letters: { file: { path: dead-letters.jsonl } }
"#;

#[test]
fn a_step_at_its_budget_stops_reading_says_so_is_not_ready_and_goes_on_with_more_memory() {
    let weir = Weir::find().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    let row = |id| format!("{{\"id\":\"{id:0>80}\",\"at\":\"2026-03-01T10:00:00Z\"}}\n");
    std::fs::write(path("rows.jsonl"), (0..ROWS).map(row).collect::<String>()).unwrap();
    let spawn = |log: &str, memory: &str, more: &[&str]| {
        std::fs::write(path("budget.yaml"), MANIFEST.replace("MEMORY", memory)).unwrap();
        let state = path("state");
        weir.run(log, folder.path(), |command| {
            command.arg(path("budget.yaml")).arg("--state").arg(state).args(more);
        })
        .unwrap()
    };
    let mut run = spawn("small", "2MiB", &[]);
    let until = Instant::now() + BOUND;
    let why = loop {
        let why = run.not_ready().unwrap().filter(|why| why.contains("state in memory"));
        if let Some(why) = why {
            break why;
        }
        assert!(Instant::now() < until, "it never came to its budget: {:#}", run.status().unwrap());
        std::thread::sleep(Duration::from_millis(20));
    };
    assert!(why.contains("2 MiB are allowed; nothing more is read: raise state.memory"), "{why}");
    let read = |status: &serde_json::Value| status["steps"]["rows"]["rows_in"].as_u64().unwrap();
    // What was read before the pause runs through; then an epoch covers it and nothing comes behind it.
    let mut before = 0;
    let mut settled = |status: &serde_json::Value| std::mem::replace(&mut before, read(status)) == read(status);
    let mut looks = 0;
    let stopped = run.wait_for("no more rows", BOUND, |status| {
        looks = if settled(status) { looks + 1 } else { 0 };
        looks > 50
    });
    let stopped = read(&stopped.unwrap());
    assert!((1..ROWS as u64).contains(&stopped), "{stopped} rows were read");
    run.process.signal(libc::SIGTERM);
    let ended = run.end(BOUND).unwrap();
    assert_eq!(ended.status.code(), Some(0), "{}", ended.stderr);

    let run = spawn("large", "256MiB", &["--until-end"]);
    let ended = run.end(BOUND).unwrap();
    assert_eq!(ended.status.code(), Some(0), "{}", ended.stderr);
    let table = read_sqlite_table(&path("table.db"), "newest", &[]).unwrap();
    assert_eq!(table.rows.len(), ROWS);
}
