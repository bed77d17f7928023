//! A version that rejects everything: refused where its self-test shows it, and where only time does, taken back, with
//! every row in the output once.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::Value;
use weir_services::{Run, Weir, repository};

const BOUND: Duration = Duration::from_secs(60);

/// At this many a second the run lasts long enough to swap in, and more than a window of rejects goes through.
const EVENTS: usize = 40_000;

const MANIFEST: &str = "
pipeline: swaps
sources:
  events:
    columns: { event_id: utf8!, kind: utf8, occurred_at: timestamp(ms)! }
    event_time: { column: occurred_at, disorder: 5s }
steps:
  check:
    from: events
    plugin: { use: PLUGINS/adversary, config: { next_rejects_after: AFTER } }
sinks:
  kept: { from: check, append: true }
until: end
state: { epoch: { interval: 100ms } }
swap: { watch: 1min, more_rejects: 10%, rows: 100 }
profiles:
  test:
    events: { generate: { preset: ecommerce, events: EVENTS, rate: 5000/s, seed: 7, partitions: 2 } }
    kept: { file: { path: out/kept.jsonl } }
    dead_letters: { file: { path: out/dead-letters.jsonl } }
";

struct Room {
    weir: Weir,
    folder: tempfile::TempDir,
    next: PathBuf,
}

impl Room {
    fn new(next_rejects_after: u64) -> Self {
        let weir = Weir::find().unwrap();
        weir.build_plugin("adversary").unwrap();
        let next = weir.build_plugin("adversary-next").unwrap();
        let folder = tempfile::tempdir().unwrap();
        let plugins = repository().join("plugins").canonicalize().unwrap();
        let manifest = MANIFEST.replace("PLUGINS", &plugins.display().to_string());
        let manifest =
            manifest.replace("AFTER", &next_rejects_after.to_string()).replace("EVENTS", &EVENTS.to_string());
        std::fs::write(folder.path().join("pipeline.yaml"), manifest).unwrap();
        Self { weir, folder, next }
    }

    /// A run that has written some rows.
    fn start(&self) -> Run {
        let path = |name: &str| self.folder.path().join(name);
        let configure = |command: &mut std::process::Command| {
            command.arg(path("pipeline.yaml")).arg("--state").arg(path("state"));
        };
        let mut run = self.weir.run("run", self.folder.path(), configure).unwrap();
        run.wait_for("rows", BOUND, |status| status["steps"]["check"]["rows_out"].as_u64() > Some(2000)).unwrap();
        run
    }

    /// What `weir swap` answers, and whether it went well.
    fn swap(&self, run: &Run) -> (Value, bool) {
        let next = self.next.display().to_string();
        let mut command = self.weir.command();
        let output = command.args(["swap", "check", &next, "--admin", &run.admin, "-o", "json"]).output().unwrap();
        (serde_json::from_slice(&output.stdout).unwrap(), output.status.success())
    }

    fn lines(&self, path: &str) -> Vec<Value> {
        let text = std::fs::read_to_string(self.folder.path().join(Path::new("out").join(path))).unwrap_or_default();
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }
}

fn running(status: &Value) -> &str {
    status["plugins"]["check"]["running"].as_str().unwrap()
}

#[test]
fn a_version_that_rejects_what_the_running_one_kept_fails_its_self_test() {
    let room = Room::new(0);
    let run = room.start();
    let before = run.status().unwrap();
    let (answer, swapped) = room.swap(&run);
    let said = answer.to_string();
    assert!(!swapped && said.contains("self-test failed on step `check`"), "{said}");
    assert!(said.contains("the version before 0 of") && said.contains("`swap.more_rejects` is 10 %"), "{said}");
    assert_eq!(running(&run.status().unwrap()), running(&before));
    assert!(run.end(BOUND).unwrap().status.success());
}

#[test]
fn a_version_that_begins_to_reject_everything_gives_way_to_the_old_one_and_every_row_is_there_once() {
    // A self-test sees fewer rows than these.
    let room = Room::new(2500);
    let mut run = room.start();
    let before = run.status().unwrap();
    let (answer, swapped) = room.swap(&run);
    assert!(swapped, "{answer:#}");
    let test = &answer["self_test"];
    assert!(test["rows"].as_u64() > Some(0), "{answer:#}");
    assert_eq!((&test["rejected"], &test["running_rejected"]), (&Value::from(0), &Value::from(0)));
    assert_eq!(answer["more_rejects_percent"], 10.0);

    let back = run.wait_for("the version before", BOUND, |status| status["rollbacks"] == 1).unwrap();
    let verdict = back["last_swap"]["verdict"].as_str().unwrap();
    assert!(verdict.starts_with("rolled back: ") && verdict.contains("`swap.more_rejects`"), "{verdict}");
    let back = run.wait_for("a running pipeline", BOUND, |status| status["state"] == "running").unwrap();
    assert_eq!(running(&back), running(&before));
    assert!(run.end(BOUND).unwrap().status.success());

    let (kept, letters) = (room.lines("kept.jsonl"), room.lines("dead-letters.jsonl"));
    let refused: Vec<&Value> = letters.iter().filter(|letter| letter["code"] == "turned-sour").collect();
    // In each of two tasks fewer than a burst may be in an epoch that was durable before it.
    assert!(refused.len() <= 2 * 10, "{} rows were refused for good", refused.len());
    let ids: BTreeSet<&str> = kept.iter().map(|row| row["event_id"].as_str().unwrap()).collect();
    assert_eq!(ids.len(), kept.len(), "a row is there twice");
    assert_eq!(kept.len() + letters.len(), EVENTS, "a row is lost or doubled");
}
