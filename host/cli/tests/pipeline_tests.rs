//! `weir test` from outside: what it says when tests pass, when one fails, and when they make no sense.

use std::process::Command;

const PIPELINE: &str = r#"pipeline: sums
sources:
  events:
    columns: { key: utf8!, at: timestamp(ms)!, amount: "decimal(9, 2)" }
    event_time: { column: at, disorder: 1s, idle_after: 30s }
  other:
    columns: { key: utf8!, at: timestamp(ms)!, amount: "decimal(9, 2)" }
    event_time: { column: at, idle_after: 30s }
steps:
  sums:
    from: [events, other]
    key: [key]
    window: { tumbling: 10s }
    aggregate: { n: count(), total: sum(amount) }
sinks:
  table: { from: sums, upsert: [window_start, key] }
  lines: { from: events, append: true }
tests:
"#;

struct Said {
    code: i32,
    stdout: String,
    stderr: String,
}

fn weir_test(tests: &str, more: &[&str]) -> Said {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("sums.yaml"), format!("{PIPELINE}{tests}")).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_weir"));
    let output = command.current_dir(folder.path()).args(["test", "sums.yaml"]).args(more).output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    Said { code: output.status.code().unwrap(), stdout: text(output.stdout), stderr: text(output.stderr) }
}

/// Without what differs from run to run.
fn without_seconds(text: &str) -> String {
    let line = |line: &str| match line.rsplit_once(", ") {
        Some((head, seconds)) if seconds.ends_with(" s") => head.to_owned(),
        _ => line.to_owned(),
    };
    text.lines().map(line).collect::<Vec<_>>().join("\n")
}

const WAITED: &str = r#"  a_silent_source_holds_the_window_until_it_is_idle:
    feed:
      - events: |
          {"key":"a","at":"2026-03-01T10:00:01Z","amount":"1.10"}
          {"key":"a","at":"2026-03-01T10:00:09Z","amount":2}
          {"key":"a","at":"2026-03-01T10:00:11Z"}
      - 30s
      - events: |
          {"key":"late","at":"2026-03-01T10:00:02Z","amount":2}
    crash: at_every_epoch
    expect:
      table: [{ window_start: "2026-03-01T11:00:00+01:00", key: a, n: 2, total: 3.1 }]
      late: [{ key: late }]
"#;

#[test]
fn a_test_that_passes_says_so_in_one_line_killed_at_every_epoch() {
    let said = weir_test(WAITED, &[]);
    assert_eq!((said.code, said.stderr.as_str()), (0, ""), "{}", said.stdout);
    let line = without_seconds(&said.stdout);
    let (head, epochs) = line.split_once(" · ").unwrap();
    assert_eq!(head, "ok      a_silent_source_holds_the_window_until_it_is_idle");
    assert!(epochs.contains(" epochs, killed "), "{line}");
}

#[test]
fn without_the_wait_the_silent_source_holds_everything() {
    let said = weir_test(&WAITED.replace("      - 30s\n", ""), &[]);
    assert_eq!(said.code, 1);
    let wanted = r#"FAILED  a_silent_source_holds_the_window_until_it_is_idle · sums.yaml:19
  table, sums.yaml:29: missing { key: a, n: 2, total: "3.10", window_start: "2026-03-01T10:00:00.000000Z" }"#;
    assert_eq!(without_seconds(&said.stdout), wanted);
    assert_eq!(said.stderr, "Error: 1 of 1 tests failed\n");
}

const WRONG: &str = r#"  sums:
    feed:
      events: |
        {"key":"a","at":"2026-03-01T10:00:01Z","amount":"1.10"}
        {"key":"b","at":"2026-03-01T10:00:02Z","amount":"1"}
        not json
    finish: true
    expect:
      table:
        - { window_start: "2026-03-01T10:00:00Z", key: a, n: 1, total: 1.100 }
        - { window_start: "2026-03-01T10:00:00Z", key: b, n: 2, total: 2 }
      lines:
        - { key: a, amount: null }
"#;

#[test]
fn a_test_that_fails_names_the_line_the_column_and_both_values() {
    let said = weir_test(WRONG, &[]);
    assert_eq!(said.code, 1);
    let wanted = r#"FAILED  sums · sums.yaml:19
  dead_letters: not expected { code: json-syntax, reason: "byte 0: expected an object", row: "not json", stage: decode, step: events }
  lines, sums.yaml:31: the row is another
    amount: expected null, found "1.10"
  lines: not expected { amount: "1.00", at: "2026-03-01T10:00:02.000Z", key: b }
  table, sums.yaml:29: the row is another
    n: expected 2, found 1
    total: expected "2.00", found "1.00""#;
    let found = without_seconds(&said.stdout);
    let reason = |text: &str| {
        let (before, rest) = text.split_once("reason: \"").unwrap();
        format!("{before}{}", rest.split_once("\", ").unwrap().1)
    };
    assert_eq!(reason(&found), reason(wanted));
}

#[test]
fn machines_read_the_same() {
    let said = weir_test(WRONG, &["-o", "json"]);
    assert_eq!((said.code, said.stderr.as_str()), (1, ""));
    let answer: serde_json::Value = serde_json::from_str(&said.stdout).unwrap();
    assert_eq!((&answer["passed"], &answer["failed"]), (&0.into(), &1.into()));
    let test = &answer["tests"][0];
    assert_eq!((&test["name"], &test["line"], &test["kills"]), (&"sums".into(), &19.into(), &0.into()));
    let wanted = serde_json::json!({ "of": "lines", "row": { "differs": {
        "line": 31, "columns": [{ "column": "amount", "expected": null, "found": "1.10" }] } } });
    assert!(test["faults"].as_array().unwrap().contains(&wanted), "{test}");
}

#[test]
fn rows_that_cannot_be_are_faults_of_the_manifest() {
    let tests = WRONG.replace("n: 2, total: 2", "n: 2.5, totl: 2").replace("amount: null", "amount: 1.005");
    let said = weir_test(&tests, &[]);
    assert_eq!(said.code, 78);
    for part in [
        "sums.yaml:29:62\n",
        "`n` is int64",
        "no column `totl` in what this sink gets; did you mean `total`?",
        "`amount` is decimal(9, 2): 1.005 does not fit decimal(9, 2)",
        "3 faults, nothing was started",
    ] {
        assert!(said.stderr.contains(part), "no {part:?} in\n{}", said.stderr);
    }
}

#[test]
fn a_manifest_without_the_wanted_test_tests_nothing() {
    let said = weir_test(WRONG, &["--only", "no_such"]);
    assert_eq!(said.code, 78);
    assert!(said.stderr.starts_with("Error: sums.yaml: no test with `no_such` in its name; nothing was tested\n"));
}
