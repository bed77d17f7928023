//! `weir explain` beside a running pipeline: a silent source is named, then counts as idle and holds nobody.

use std::process::{Child, Command};
use std::time::{Duration, Instant};

const PATIENCE: Duration = Duration::from_secs(30);

const PIPELINE: &str = r#"pipeline: explained
sources:
  spoken:
    columns: { key: utf8!, at: timestamp(ms)! }
    event_time: { column: at, idle_after: 1h }
  silent:
    columns: { key: utf8!, at: timestamp(ms)! }
    event_time: { column: at, idle_after: 3s }
steps:
  counts: { from: [spoken, silent], key: [key], window: { tumbling: 1min }, aggregate: { n: count() } }
sinks:
  table: { from: counts, append: true }
profiles:
  only:
    spoken: { file: { path: spoken.jsonl } }
    silent: { file: { path: silent.jsonl } }
    table: { file: { path: table.jsonl } }
    dead_letters: { file: { path: letters.jsonl } }
"#;

struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn a_window_that_waits_names_who_holds_it_until_nobody_does() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).unwrap();
    write("explained.yaml", PIPELINE);
    let row = |at: &str| format!("{{\"key\":\"a\",\"at\":\"2026-03-01T{at}Z\"}}\n");
    write("spoken.jsonl", &(row("10:00:01") + &row("10:00:30") + &row("10:01:07")));
    write("silent.jsonl", "");
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
    let weir = || {
        let mut command = Command::new(env!("CARGO_BIN_EXE_weir"));
        command.current_dir(folder.path()).env("WEIR_ADMIN", &free);
        command
    };
    let run = weir().args(["run", "explained.yaml", "--quiet", "--admin", &free]).spawn().unwrap();
    let _running = Running(run);
    let explain = |more: &[&str]| {
        let output = weir().args(["explain", "counts"]).args(more).output().unwrap();
        String::from_utf8(output.stdout).unwrap()
    };
    let until = |more: &[&str], part: &str| {
        let began = Instant::now();
        loop {
            let said = explain(more);
            if said.contains(part) {
                return said;
            }
            assert!(began.elapsed() < PATIENCE, "no {part:?} in\n{said}");
            std::thread::sleep(Duration::from_millis(50));
        }
    };
    let waiting = until(&[], "2 panes");
    assert!(waiting.contains("  needs   watermark 2026-03-01T10:01:00Z, has none yet"), "{waiting}");
    assert!(waiting.contains("  held by silent[0], no event yet, last record "), "{waiting}");
    assert!(waiting.contains("; counts as idle in "), "{waiting}");
    assert!(waiting.contains("  then    watermark 2026-03-01T10:01:07Z"), "{waiting}");
    let of_key = explain(&["--key", "a"]);
    let (first, second) =
        ("2026-03-01T10:00:00Z to 2026-03-01T10:01:00Z", "2026-03-01T10:01:00Z to 2026-03-01T10:02:00Z");
    assert!(of_key.starts_with("counts, key a: 2 held, watermark none yet\n"), "{of_key}");
    assert!(of_key.contains(&format!("  window {first}: fires at watermark 2026-03-01T10:01:00Z")), "{of_key}");
    assert!(of_key.contains(&format!("  window {second}: fires at watermark 2026-03-01T10:02:00Z")), "{of_key}");
    assert!(of_key.contains("  needs   watermark 2026-03-01T10:01:00Z\n  held by silent[0], "), "{of_key}");
    let machine = explain(&["--key", "a", "--window", "2026-03-01T10:02:00Z", "-o", "json"]);
    let machine: serde_json::Value = serde_json::from_str(&machine).unwrap();
    assert_eq!(machine["key"]["entries"].as_array().unwrap().len(), 1);
    assert_eq!(machine["needs_us"], 1_772_359_320_000_000_i64);
    assert!(explain(&["--key", "nobody"]).starts_with("counts, key nobody: nothing is held, watermark none yet\n"));
    let output = weir().args(["explain", "counts", "--key", "a", "--key", "b"]).output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.starts_with("Error: the key is of 1 columns (key utf8), not of 2\n"), "{said}");
    let end = "2026-03-01T10:01:00Z";
    let fired = until(&["--window", end], "the window that ends 2026-03-01T10:01:00Z has fired");
    assert!(fired.contains("  passed  watermark 2026-03-01T10:01:07Z"), "{fired}");
    assert!(fired.contains("silent[0], no event yet, idle since "), "{fired}");
    let output = weir().args(["explain", "spoken"]).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.starts_with("Error: no step `spoken` that works in time; the pipeline has counts\n"), "{said}");
}
