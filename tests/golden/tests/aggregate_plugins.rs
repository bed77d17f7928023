//! A plugin among a step's aggregates: another version with the same accumulators goes on with those of the version before
//! it, one with others is refused by name; what a step will ask of it and it cannot do is said by `weir validate`.

use std::path::{Path, PathBuf};
use std::process::Output;
use std::time::Duration;

use weir_golden::outputs;
use weir_services::{Run, Weir, repository};

const BOUND: Duration = Duration::from_secs(60);
const EVENTS: usize = 20_000;

const MANIFEST: &str = "
pipeline: aggregate_swaps
sources:
  events:
    columns: { event_id: utf8!, kind: utf8, occurred_at: timestamp(ms)! }
    event_time: { column: occurred_at, disorder: 5s }
steps:
  named: { from: events, select: { kind: \"coalesce(kind, 'none')\" } }
  counted:
    from: named
    key: [kind]
    ttl: never
    aggregate:
      counted: count()
      by_plugin:
        plugin:
          use: PLUGINS/aggregate-adversary
          reads: { kind: kind, price: \"cast(1 as decimal(12, 2))\", quantity: cast(1 as bigint) }
sinks:
  totals: { from: counted, upsert: [kind] }
until: end
state: { epoch: { interval: 100ms } }
swap: { watch: 1s }
profiles:
  test:
    events: { generate: { preset: ecommerce, events: EVENTS, rate: 5000/s, seed: 7, partitions: 2 } }
    totals: { sqlite: { path: out/totals.db, table: totals } }
    dead_letters: { file: { path: out/dead-letters.jsonl } }
";

struct Room {
    weir: Weir,
    folder: tempfile::TempDir,
}

impl Room {
    fn new() -> Self {
        let weir = Weir::find().unwrap();
        let folder = tempfile::tempdir().unwrap();
        let plugins = repository().join("plugins").canonicalize().unwrap();
        let manifest = MANIFEST.replace("PLUGINS", &plugins.display().to_string());
        let manifest = manifest.replace("EVENTS", &EVENTS.to_string());
        std::fs::write(folder.path().join("pipeline.yaml"), manifest).unwrap();
        Self { weir, folder }
    }

    /// A run that has counted some rows.
    fn start(&self) -> Run {
        let path = |name: &str| self.folder.path().join(name);
        let configure = |command: &mut std::process::Command| {
            command.arg(path("pipeline.yaml")).arg("--state").arg(path("state"));
        };
        let mut run = self.weir.run("run", self.folder.path(), configure).unwrap();
        run.wait_for("rows", BOUND, |status| status["steps"]["counted"]["rows_in"].as_u64() > Some(2000)).unwrap();
        run
    }

    fn swap(&self, run: &Run, plugin: &Path) -> Output {
        let plugin = plugin.display().to_string();
        self.weir.command().args(["swap", "counted", &plugin, "--admin", &run.admin]).output().unwrap()
    }
}

/// The same component under another digest: with a section of its own, which says nothing.
fn another_version(component: &Path, folder: &Path) -> PathBuf {
    let mut bytes = std::fs::read(component).unwrap();
    bytes.extend([0, 5, 4, b'n', b'o', b't', b'e']);
    let path = folder.join("another.wasm");
    std::fs::write(&path, bytes).unwrap();
    path
}

#[test]
fn another_version_goes_on_with_the_accumulators_and_one_of_other_accumulators_is_refused_by_name() {
    let room = Room::new();
    let running = room.weir.build_plugin("aggregate-adversary").unwrap();
    let other = room.weir.build_plugin("average-price").unwrap();
    let run = room.start();
    let before = run.status().unwrap()["plugins"]["counted"]["running"].clone();

    let refused = room.swap(&run, &other);
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(!refused.status.success(), "{said}");
    for fault in [
        "column `by_plugin`: `totals` needs int64, this plugin writes decimal(18, 4)",
        "accumulator: the running version keeps version 1 (count int64!, ballast utf8!, traps_in_merge bool!, \
         traps_in_finish bool!), this plugin version 1 (money decimal(38, 6)!, quantity int64!)",
    ] {
        assert!(said.contains(fault), "{said}");
    }
    assert_eq!(run.status().unwrap()["plugins"]["counted"]["running"], before);

    let swapped = room.swap(&run, &another_version(&running, room.folder.path()));
    assert!(swapped.status.success(), "{}", String::from_utf8_lossy(&swapped.stderr));
    let after = run.status().unwrap()["plugins"]["counted"]["running"].clone();
    assert_ne!(after, before);
    assert!(run.end(BOUND).unwrap().status.success());

    let outputs = outputs::read(room.folder.path()).unwrap();
    let totals = outputs["totals.totals"].as_array().unwrap();
    assert!(totals.iter().all(|row| row["by_plugin"] == row["counted"]), "{totals:?}");
    let counted: u64 =
        totals.iter().map(|row| row["counted"].to_string().trim_matches('"').parse::<u64>().unwrap()).sum();
    assert_eq!(counted, EVENTS as u64, "a row is lost or doubled");
}

const UNSOUND: &str = "
pipeline: unsound
sources:
  events:
    columns: { id: utf8!, kind: utf8, at: timestamp(ms)! }
    event_time: { column: at }
steps:
  newest: { from: events, latest: { key: [id] } }
  counted:
    from: newest
    key: [kind]
    ttl: never
    aggregate: { rows: { plugin: { use: PLUGINS/aggregate-adversary } } }
  twice:
    from: events
    key: [kind]
    window: { tumbling: 1min }
    aggregate:
      one: { plugin: { use: PLUGINS/aggregate-adversary } }
      two: { plugin: { use: PLUGINS/aggregate-adversary } }
  rows: { from: events, key: [kind], window: { tumbling: 1min }, aggregate: { n: { plugin: { use: PLUGINS/adversary } } } }
  alone: { from: events, plugin: { use: PLUGINS/aggregate-adversary } }
sinks:
  totals: { from: counted, upsert: [kind] }
  pairs: { from: twice, append: true }
  numbers: { from: rows, append: true }
  kept: { from: alone, append: true }
profiles:
  test:
    events: { file: { path: in.jsonl } }
    totals: { sqlite: { path: totals.db, table: totals } }
    pairs: { stdout: {} }
    numbers: { stdout: {} }
    kept: { stdout: {} }
    dead_letters: { file: { path: dead-letters.jsonl } }
";

#[test]
fn what_a_plugin_cannot_do_in_its_place_is_said_when_the_manifest_is_checked() {
    let weir = Weir::find().unwrap();
    for plugin in ["aggregate-adversary", "adversary"] {
        weir.build_plugin(plugin).unwrap();
    }
    let folder = tempfile::tempdir().unwrap();
    let plugins = repository().join("plugins").canonicalize().unwrap();
    let path = folder.path().join("pipeline.yaml");
    std::fs::write(&path, UNSOUND.replace("PLUGINS", &plugins.display().to_string())).unwrap();
    let output = weir.command().arg("validate").arg(&path).output().unwrap();
    let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
    assert!(!output.status.success(), "{said}");
    for fault in [
        "rows that come into this step are taken back when they change, and the plugin cannot take rows back; give it `retract`",
        "a step has one plugin among its aggregates, and this is the second",
        "a plugin of the world `transform` is no aggregate; one of the world `aggregate` is",
        "a plugin of the world `aggregate` is one of a step's aggregates",
        "4 faults, nothing was started",
    ] {
        assert!(said.contains(fault), "{fault}\n{said}");
    }
}
