//! A table that is kept up to date in a topic: what leaves the table is a record without a value there.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::json;
use weir_chaos::room::{Room, Scene};
use weir_chaos::services::Services;
use weir_chaos::topic;

const BOUND: Duration = Duration::from_secs(60);

const SCENE: Scene = Scene {
    manifest: r#"pipeline: NAME
sources:
  rows: { columns: { id: utf8!, at: timestamp(ms)!, state: utf8! }, event_time: { column: at } }
steps:
  newest: { from: rows, latest: { key: [id], ttl: 1min } }
  open: { from: newest, where: state = 'open' }
sinks:
  table: { from: open, upsert: [id] }
state: { epoch: { max_rows: 1 } }
profiles:
  test:
    rows: { kafka: { brokers: "${TEST_KAFKA}", topic: NAME.rows }, format: json }
    table: { kafka: { brokers: "${TEST_KAFKA}", topic: NAME.table }, format: json }
    dead_letters: { file: { path: dead-letters.jsonl } }
"#,
    plugins: &[],
    topics: &["rows", "table"],
};

#[test]
fn rows_that_leave_a_table_are_records_without_a_value_in_its_topic() {
    let room = Room::of(Services::shared(), &SCENE).unwrap();
    let table = || topic::table(&room.brokers, &room.topic("table")).unwrap();
    let add = |id: &str, at: &str, state: &str| {
        let at: jiff::Timestamp = format!("2026-03-01T{at}Z").parse().unwrap();
        let row = json!({ "id": id, "at": at.to_string(), "state": state }).to_string();
        topic::write(&room.brokers, &room.topic("rows"), &[(row, at.as_microsecond())]).unwrap();
    };
    let run = || {
        let ended = room.spawn("run", &["--until-end"]).unwrap().end(BOUND).unwrap();
        assert!(ended.status.success(), "{}", ended.stderr);
    };
    let row = |id: &str, at: &str| Some(json!({ "id": id, "at": format!("2026-03-01T{at}.000Z"), "state": "open" }));
    let found = || {
        let rows = table().into_iter().map(|(key, value)| {
            let key = serde_json::from_str::<serde_json::Value>(&key).unwrap();
            let value = value.map(|value| serde_json::from_str::<serde_json::Value>(&value).unwrap());
            (key["id"].as_str().unwrap().to_owned(), value)
        });
        rows.collect::<BTreeMap<_, _>>()
    };
    let named = |rows: &[(&str, Option<serde_json::Value>)]| {
        rows.iter().map(|(id, row)| ((*id).to_owned(), row.clone())).collect::<BTreeMap<_, _>>()
    };

    add("closed", "10:00:00", "open");
    add("stays", "10:00:01", "open");
    add("forgotten", "10:00:02", "open");
    add("never open", "10:00:03", "closed");
    add("closed", "10:00:10", "closed");
    run();
    // `where` keeps no state: it cannot know that a row which it leaves out was never there, so it deletes it as well.
    let (closed, never) = (("closed", None), ("never open", None));
    let forgotten = ("forgotten", row("forgotten", "10:00:02"));
    assert_eq!(found(), named(&[closed.clone(), never.clone(), forgotten, ("stays", row("stays", "10:00:01"))]));

    // Time passes: what was not renewed for a minute leaves.
    add("stays", "10:01:00", "open");
    add("last", "10:01:30", "open");
    run();
    let (last, stays) = (("last", row("last", "10:01:30")), ("stays", row("stays", "10:01:00")));
    assert_eq!(found(), named(&[closed, never, ("forgotten", None), last, stays]));
}
