//! A savepoint of a running pipeline, from the command line: taken, looked into, refused where something is left unsaid,
//! and begun from so that upserts are written over, a fresh target gets what came behind it, and targets that stay as they
//! are get nothing twice.

use std::path::Path;
use std::process::Output;
use std::time::{Duration, Instant};

use weir_golden::outputs;
use weir_services::Weir;

const BOUND: Duration = Duration::from_secs(60);

/// A run from this state to the end of the input.
fn run(state: &str) -> [&str; 10] {
    ["run", "pipeline.yaml", "--profile", "test", "--state", state, "--until-end", "-q", "--admin", "127.0.0.1:0"]
}

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
        self.succeeds(&run(state));
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

/// Sums of both runs together, each window once, and late rows beside them.
const APPENDED: &str = r"
pipeline: savepoints
sources:
  events:
    columns: { at: 'timestamp(ms)!', k: 'utf8!', n: 'int64!' }
    event_time: { column: at, disorder: 0s }
state: { epoch: { max_rows: 100 } }
steps:
  sums: { from: events, key: [k], window: { tumbling: 1min }, aggregate: { rows: count(), total: sum(n) } }
  even: { from: events, where: n % 2 = 0 }
sinks:
  totals: { from: sums, upsert: [window_start, k] }
  closed: { from: sums, append: true }
  raw: { from: even, append: true }
profiles:
  test:
    events: { file: { path: in.jsonl }, format: json }
    totals: { sqlite: { path: out/sums.db, table: sums } }
    closed: { parquet: { path: out/closed, roll: { every: 1ms } } }
    raw: { file: { path: out/raw.jsonl }, format: json }
    dead_letters: { file: { path: out/dead-letters.jsonl }, format: json }
";

const KEPT: [&str; 8] = [
    "--sink",
    "totals=keep-from-epoch",
    "--sink",
    "closed=keep-from-epoch",
    "--sink",
    "raw=keep-from-epoch",
    "--sink",
    "dead_letters=keep-from-epoch",
];

impl Room {
    fn of(pipeline: &str) -> Self {
        let room = Self { weir: Weir::find().unwrap(), folder: tempfile::tempdir().unwrap() };
        std::fs::write(room.path("pipeline.yaml"), pipeline).unwrap();
        room
    }

    fn restore(&self, pipeline: &str, state: &str) -> Vec<String> {
        let base = ["savepoint", "restore", "one", pipeline, "--profile", "test", "--state", state];
        base.iter().chain(&KEPT).map(|argument| (*argument).to_owned()).collect()
    }

    /// Everything that the targets hold, in an order of its own.
    fn all(&self) -> serde_json::Map<String, serde_json::Value> {
        let mut all = outputs::read(self.folder.path()).unwrap();
        for rows in all.values_mut().filter_map(serde_json::Value::as_array_mut) {
            rows.sort_by_key(ToString::to_string);
        }
        all.into_iter().collect()
    }
}

#[test]
fn an_older_savepoint_is_begun_from_and_targets_that_are_further_get_nothing_twice() {
    let room = Room::of(APPENDED);
    let late = "{\"at\":\"2026-03-01T00:00:01Z\",\"k\":\"k0\",\"n\":-1}\nno json\n";
    std::fs::write(room.path("in.jsonl"), events(0, 1000)).unwrap();
    room.to_the_end("state");
    room.succeeds(&["savepoint", "create", "one", "--state", "state"]);
    append(&room.path("in.jsonl"), &format!("{}{late}", events(1000, 1000)));
    room.to_the_end("state");
    let further = room.all();
    assert_eq!(room.lines("out/raw.jsonl"), 1000, "the run that is given up went on");
    let input = std::fs::read_to_string(room.path("in.jsonl")).unwrap();

    // Killed while it makes again what the targets hold, and again behind that.
    let restore = room.restore("pipeline.yaml", "again");
    room.succeeds(&restore.iter().map(String::as_str).collect::<Vec<_>>());
    assert_eq!(room.all(), further, "a restore only looks at targets");
    append(&room.path("in.jsonl"), &format!("{late}{}", events(2000, 500)));
    let first = epoch_of(&room.succeeds(&["savepoint", "inspect", "one"])) + 1;
    for point in ["durable", "exposed", "sealed", "durable", "exposed"].iter().zip([2, 5, 9, 13, 16]) {
        let at = format!("{}:{}", point.0, first + point.1);
        let output = room.weir(&[&run("again")[..], &["--crash-at", &at]].concat());
        assert!(output.status.code().is_none_or(|code| code == 0), "{at}: {}", String::from_utf8_lossy(&output.stderr));
    }
    room.to_the_end("again");

    // What the targets should hold: both inputs in one run, from nothing.
    let whole = Room::of(APPENDED);
    for _ in 0..3 {
        // As often ended as the others, so that windows close where theirs did.
        let cut = match whole.lines("in.jsonl") {
            0 => events(0, 1000).len(),
            1000 => input.len(),
            _ => usize::MAX,
        };
        let all = std::fs::read_to_string(room.path("in.jsonl")).unwrap();
        std::fs::write(whole.path("in.jsonl"), &all[..cut.min(all.len())]).unwrap();
        whole.to_the_end("state");
    }
    let (kept, wanted) = (room.all(), whole.all());
    assert_eq!(kept.keys().collect::<Vec<_>>(), wanted.keys().collect::<Vec<_>>());
    for (name, rows) in &wanted {
        if name.contains("dead") {
            let count = |of: &serde_json::Value| of.as_array().unwrap().len();
            assert_eq!(count(&kept[name]), count(rows), "{name}");
        } else {
            assert_eq!(&kept[name], rows, "{name}");
        }
    }
}

fn epoch_of(said: &str) -> u64 {
    let epoch = said.split_once("epoch ").unwrap().1.split_whitespace().next().unwrap();
    epoch.replace(',', "").parse().unwrap()
}

#[test]
fn targets_that_are_further_are_not_kept_by_another_manifest_or_another_input() {
    let room = Room::of(APPENDED);
    std::fs::write(room.path("in.jsonl"), events(0, 1000)).unwrap();
    room.to_the_end("state");
    room.succeeds(&["savepoint", "create", "one", "--state", "state"]);
    append(&room.path("in.jsonl"), &events(1000, 1000));
    room.to_the_end("state");

    let refused = |pipeline: &str| {
        let restore = room.restore(pipeline, "again");
        let said = room.refused(&restore.iter().map(String::as_str).collect::<Vec<_>>());
        assert!(!room.path("again").exists(), "nothing was written");
        said
    };
    std::fs::write(room.path("other.yaml"), APPENDED.replace("n % 2 = 0", "n % 2 = 1")).unwrap();
    let said = refused("other.yaml");
    assert!(
        said.contains(
            "sink `raw`: its target's rows were made by another `even` than the manifest's; restore with the manifest of \
             then, or choose overwrite or fresh"
        ) && !said.contains("sink `closed`"),
        "{said}"
    );
    let progress = room.path("out/raw.jsonl.progress");
    let told = std::fs::read_to_string(&progress).unwrap();
    let mut silent: serde_json::Value = serde_json::from_str(&told).unwrap();
    silent.as_object_mut().unwrap().remove("cut");
    std::fs::write(&progress, silent.to_string()).unwrap();
    let said = refused("pipeline.yaml");
    assert!(
        said.contains("how far the sources were read by then is not kept there; choose overwrite or fresh"),
        "{said}"
    );
    std::fs::write(&progress, told).unwrap();

    // A row more before the place where the targets' rows end.
    let restore = room.restore("pipeline.yaml", "again");
    room.succeeds(&restore.iter().map(String::as_str).collect::<Vec<_>>());
    let input = std::fs::read_to_string(room.path("in.jsonl")).unwrap();
    let odd = input.replace("\"n\":1501}", "\"n\":1502}");
    std::fs::write(room.path("in.jsonl"), odd).unwrap();
    let before = room.all();
    let said = room.refused(&run("again"));
    assert!(
        said.contains("sink `raw`: up to epoch ")
            && said.contains(" its target got 1000 rows, made again they are 1001"),
        "{said}"
    );
    assert_eq!(room.all(), before, "nothing was written");
}

#[test]
fn a_target_whose_rows_go_by_the_clock_is_not_kept_when_it_is_further() {
    let throttled = APPENDED
        .replace("tumbling: 1min }", "tumbling: 1min, emit: on_update, throttle: 1s }")
        .replace("  closed: { from: sums, append: true }\n", "")
        .replace("    closed: { parquet: { path: out/closed, roll: { every: 1ms } } }\n", "");
    let room = Room::of(&throttled);
    std::fs::write(room.path("in.jsonl"), events(0, 1000)).unwrap();
    room.to_the_end("state");
    room.succeeds(&["savepoint", "create", "one", "--state", "state"]);
    append(&room.path("in.jsonl"), &events(1000, 1000));
    room.to_the_end("state");
    let restore = room.restore("pipeline.yaml", "again");
    let kept: Vec<&str> =
        restore.iter().map(String::as_str).filter(|argument| !argument.starts_with("closed=")).collect();
    let mut kept = kept;
    let doubled = kept.windows(2).position(|pair| pair == ["--sink", "--sink"]).unwrap();
    kept.remove(doubled);
    let said = room.refused(&kept);
    assert!(
        said.contains(
            "sink `totals`: step `sums` goes by the clock, so rows may come out otherwise; choose overwrite or fresh"
        ) && !said.contains("sink `raw`"),
        "{said}"
    );
}
