//! A savepoint of a running pipeline, from the command line: taken, looked into, refused where something is left unsaid,
//! and begun from so that upserts are written over and a fresh target gets what came behind it.

use std::path::Path;
use std::process::Output;
use std::time::{Duration, Instant};

use weir_golden::outputs;
use weir_services::Weir;

const BOUND: Duration = Duration::from_secs(60);

const PIPELINE: &str = r"
pipeline: savepoints
sources:
  events:
    columns: { at: 'timestamp(ms)!', k: 'utf8!', n: 'int64!' }
    event_time: { column: at, disorder: 0s }
steps:
  sums: { from: events, key: [k], window: { tumbling: 1min }, aggregate: { rows: count(), total: sum(n) } }
sinks:
  totals: { from: sums, upsert: [window_start, k] }
  raw: { from: events, append: true }
profiles:
  test:
    events: { file: { path: in.jsonl }, format: json }
    totals: { sqlite: { path: out/sums.db, table: sums } }
    raw: { file: { path: out/raw.jsonl }, format: json }
    dead_letters: { file: { path: out/dead-letters.jsonl }, format: json }
";

/// `count` events from number `first` on, ten a minute.
fn events(first: usize, count: usize) -> String {
    let event = |number: usize| {
        let (hour, minute, second) = (number / 600, number / 10 % 60, number % 10);
        let key = number % 3;
        format!("{{\"at\":\"2026-03-01T{hour:02}:{minute:02}:{second:02}Z\",\"k\":\"k{key}\",\"n\":{number}}}\n")
    };
    (first..first + count).map(event).collect()
}

struct Room {
    weir: Weir,
    folder: tempfile::TempDir,
}

impl Room {
    fn path(&self, name: &str) -> std::path::PathBuf {
        self.folder.path().join(name)
    }

    fn weir(&self, arguments: &[&str]) -> Output {
        self.weir.command().current_dir(self.folder.path()).args(arguments).output().unwrap()
    }

    fn succeeds(&self, arguments: &[&str]) -> String {
        let output = self.weir(arguments);
        assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }

    fn refused(&self, arguments: &[&str]) -> String {
        let output = self.weir(arguments);
        assert!(!output.status.success(), "{arguments:?} was not refused");
        String::from_utf8(output.stderr).unwrap()
    }

    fn to_the_end(&self, state: &str) {
        self.succeeds(&[
            "run",
            "pipeline.yaml",
            "--profile",
            "test",
            "--state",
            state,
            "--until-end",
            "-q",
            "--admin",
            "127.0.0.1:0",
        ]);
    }

    fn lines(&self, name: &str) -> usize {
        std::fs::read_to_string(self.path(name)).map_or(0, |text| text.lines().count())
    }

    /// Rows of the table of sums, and the sum of their counts and totals.
    fn sums(&self) -> (usize, i64, i64) {
        let outputs = outputs::read(self.folder.path()).unwrap();
        let rows = outputs["sums.sums"].as_array().unwrap().clone();
        let number = |value: &serde_json::Value| value.to_string().trim_matches('"').parse::<i64>().unwrap();
        let sum = |column: &str| rows.iter().map(|row| number(&row[column])).sum();
        (rows.len(), sum("rows"), sum("total"))
    }
}

fn append(path: &Path, text: &str) {
    use std::io::Write;
    std::fs::OpenOptions::new().append(true).open(path).unwrap().write_all(text.as_bytes()).unwrap();
}

#[test]
fn a_savepoint_of_a_running_pipeline_is_begun_from_and_the_upserts_come_out_the_same() {
    let room = Room { weir: Weir::find().unwrap(), folder: tempfile::tempdir().unwrap() };
    std::fs::write(room.path("pipeline.yaml"), PIPELINE).unwrap();
    std::fs::write(room.path("in.jsonl"), events(0, 1000)).unwrap();
    let run = room.weir.run("savepoints", room.folder.path(), |command| {
        command.current_dir(room.folder.path()).args(["pipeline.yaml", "--profile", "test", "--state", "state"]);
    });
    let mut run = run.unwrap();
    let until = Instant::now() + BOUND;
    while room.lines("out/raw.jsonl") < 1000 {
        assert!(Instant::now() < until, "{}", run.process.log());
        std::thread::yield_now();
    }
    let made = room.succeeds(&["savepoint", "create", "one", "--admin", &run.admin]);
    assert!(made.starts_with("savepoints · epoch "), "{made}");
    append(&room.path("in.jsonl"), &events(1000, 1000));
    while room.lines("out/raw.jsonl") < 2000 {
        assert!(Instant::now() < until, "{}", run.process.log());
        std::thread::yield_now();
    }
    room.succeeds(&["stop", "--admin", &run.admin]);
    run.process.wait_end(BOUND).unwrap();
    room.to_the_end("state");
    let before = room.sums();

    let base = ["savepoint", "restore", "one", "pipeline.yaml", "--profile", "test", "--state", "again"];
    let said = room.refused(&base);
    assert!(
        said.contains("sink `raw`: say what becomes of it: --sink raw=overwrite, fresh or keep-from-epoch"),
        "{said}"
    );
    let kept = ["--sink", "totals=overwrite", "--sink", "dead_letters=keep-from-epoch", "--sink"];
    let said = room.refused(&[&base[..], &kept, &["raw=overwrite"]].concat());
    assert!(said.contains("rows that are appended cannot be written over; choose fresh or keep-from-epoch"), "{said}");
    assert!(!room.path("again").exists(), "nothing was written");

    std::fs::rename(room.path("out/raw.jsonl"), room.path("raw.old")).unwrap();
    std::fs::remove_file(room.path("out/raw.jsonl.progress")).unwrap();
    let said = room.succeeds(&[&base[..], &kept, &["raw=fresh"]].concat());
    assert!(said.contains("as generation 2"), "{said}");
    room.to_the_end("again");
    assert_eq!(room.sums(), before);
    assert_eq!(room.lines("out/raw.jsonl"), 1000, "what came behind the savepoint");

    let changed = PIPELINE.replace("rows: count(), total: sum(n)", "rows: count()");
    std::fs::write(room.path("changed.yaml"), changed).unwrap();
    let fresh = ["--sink", "totals=fresh", "--sink", "raw=fresh", "--sink", "dead_letters=fresh"];
    let base = ["savepoint", "restore", "one", "changed.yaml", "--profile", "test", "--state", "third"];
    let said = room.refused(&[&base[..], &fresh].concat());
    assert!(said.contains("step `sums`: its stored state is `") && said.contains("--drop-state-of sums"), "{said}");
    room.succeeds(&[&base[..], &fresh, &["--drop-state-of", "sums"]].concat());
}
