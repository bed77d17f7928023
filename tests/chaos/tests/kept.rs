//! A savepoint that is older than its targets is begun from, with targets that stay as they are: a topic and a table of
//! real services get what they do not hold yet, and nothing twice.

use std::time::Duration;

use serde_json::json;
use weir_chaos::found::postgres_rows;
use weir_chaos::room::{Room, Scene};
use weir_chaos::services::Services;
use weir_chaos::topic;

const BOUND: Duration = Duration::from_secs(60);

const SCENE: Scene = Scene {
    manifest: r#"pipeline: NAME
sources:
  rows: { columns: { id: int64!, at: timestamp(ms)! }, event_time: { column: at } }
steps:
  even: { from: rows, where: id % 2 = 0 }
sinks:
  appended: { from: rows, append: true }
  table: { from: even, append: true }
state: { epoch: { max_rows: 7 } }
profiles:
  test:
    rows: { kafka: { brokers: "${TEST_KAFKA}", topic: NAME.rows }, format: json }
    appended: { kafka: { brokers: "${TEST_KAFKA}", topic: NAME.appended }, format: json }
    table: { postgres: { url: "${TEST_POSTGRES}", table: NAME_table } }
    dead_letters: { kafka: { brokers: "${TEST_KAFKA}", topic: NAME.letters }, format: json }
"#,
    plugins: &[],
    topics: &["rows", "appended", "letters"],
};

/// Writes rows of these numbers, and one that is no row.
fn add(room: &Room, ids: std::ops::Range<i64>) {
    let row = |id: i64| (json!({ "id": id, "at": "2026-03-01T10:00:00Z" }).to_string(), 1_772_359_200_000_000 + id);
    let mut rows: Vec<_> = ids.map(row).collect();
    rows.push(("no row".to_owned(), 1_772_359_200_000_000));
    topic::write(&room.brokers, &room.topic("rows"), &rows).unwrap();
}

fn run(room: &Room, state: &str, more: &[&str]) {
    let ended = room.spawn_on(state, "run", &[&["--until-end"], more].concat()).unwrap().end(BOUND).unwrap();
    assert!(ended.status.success() || !more.is_empty(), "{}", ended.stderr);
}

/// A command about savepoints of the room's pipeline, which must succeed.
fn savepoint(room: &Room, arguments: &[&str]) {
    let mut command = room.weir.command();
    command.arg("savepoint").args(arguments).current_dir(room.path("."));
    let output = command.env("TEST_KAFKA", &room.brokers).env("TEST_POSTGRES", &room.postgres).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

/// Every row's number in the topic and in the table, sorted, and the number of dead letters.
fn held(room: &Room) -> (Vec<i64>, Vec<i64>, usize) {
    let read = |name| topic::read(&room.brokers, &room.topic(name)).unwrap();
    let id = |record: &topic::Record| {
        serde_json::from_slice::<serde_json::Value>(&record.value).unwrap()["id"].as_i64().unwrap()
    };
    let mut appended: Vec<i64> = read("appended").iter().map(id).collect();
    let rows = postgres_rows(room, &format!("{}_table", room.name)).unwrap();
    let mut table: Vec<i64> = rows.iter().map(|row| row["id"].as_ref().unwrap().parse().unwrap()).collect();
    appended.sort_unstable();
    table.sort_unstable();
    (appended, table, read("letters").len())
}

fn expected(rows: i64, letters: usize) -> (Vec<i64>, Vec<i64>, usize) {
    ((0..rows).collect(), (0..rows).filter(|id| id % 2 == 0).collect(), letters)
}

#[test]
fn a_topic_and_a_table_that_hold_more_than_a_savepoint_get_the_rest_alone() {
    let room = Room::of(Services::shared(), &SCENE).unwrap();
    add(&room, 0..100);
    run(&room, "state", &[]);
    savepoint(&room, &["create", "one", "--state", "state"]);
    add(&room, 100..200);
    run(&room, "state", &[]);
    assert_eq!(held(&room), expected(200, 2), "the run that is given up");

    let keep = ["appended", "table", "dead_letters"].map(|sink| format!("{sink}=keep-from-epoch"));
    let keep = keep.iter().flat_map(|sink| ["--sink", sink]);
    let base = ["restore", "one", "pipeline.yaml", "--profile", "test", "--state", "again"];
    savepoint(&room, &base.into_iter().chain(keep).collect::<Vec<_>>());
    add(&room, 200..250);
    // Killed while it makes again what the targets hold, and behind that.
    for point in ["durable", "exposed"] {
        for epoch in [18, 24, 30, 36] {
            run(&room, "again", &["--crash-at", &format!("{point}:{epoch}")]);
        }
    }
    run(&room, "again", &[]);
    assert_eq!(held(&room), expected(250, 3));
}
