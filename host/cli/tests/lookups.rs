//! Look-up tables in files, beside a running pipeline: a changed file counts from then on, a broken one changes nothing
//! but what the status says, and without one nothing starts.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::time::{Duration, Instant};

use serde_json::Value;

const PATIENCE: Duration = Duration::from_secs(30);

const PIPELINE: &str = r#"pipeline: looked_up
sources:
  orders: { columns: { id: int32!, currency: utf8 } }
steps:
  priced:
    from: orders
    lookup:
      in: { file: { path: rates.csv } }
      columns: { code: utf8!, rate: "decimal(8, 4)" }
      on: { currency: code }
      kind: left
sinks:
  out: { from: priced, append: true }
profiles:
  only:
    orders: { file: { path: orders.jsonl } }
    out: { file: { path: out.jsonl } }
    dead_letters: { file: { path: letters.jsonl } }
"#;

struct Room {
    folder: tempfile::TempDir,
    admin: String,
}

struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Room {
    fn new() -> Self {
        let admin = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
        let room = Self { folder: tempfile::tempdir().unwrap(), admin };
        std::fs::write(room.path("looked_up.yaml"), PIPELINE).unwrap();
        std::fs::write(room.path("orders.jsonl"), "").unwrap();
        room
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn weir(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_weir"));
        command.current_dir(self.folder.path()).env("WEIR_ADMIN", &self.admin).args(args);
        command
    }

    fn start(&self) -> Running {
        Running(self.weir(&["run", "looked_up.yaml", "--quiet", "--admin", &self.admin]).spawn().unwrap())
    }

    /// Puts a file in the place of the one before, whole.
    fn replace(&self, text: &str) {
        std::fs::write(self.path("rates.new"), text).unwrap();
        std::fs::rename(self.path("rates.new"), self.path("rates.csv")).unwrap();
    }

    /// The status of the look-up, once it is as wanted.
    fn until(&self, wanted: impl Fn(&Value) -> bool) -> Value {
        let mut last = Value::Null;
        wait(|| {
            let output = self.weir(&["status", "-o", "json"]).output().unwrap();
            last = serde_json::from_slice::<Value>(&output.stdout).unwrap_or_default()["lookups"]["priced"].take();
            wanted(&last)
        });
        assert!(wanted(&last), "{last}");
        last
    }

    /// Sends an order and answers the rate that it got.
    fn rate_of(&self, id: usize, currency: &str) -> Value {
        let mut orders = std::fs::OpenOptions::new().append(true).open(self.path("orders.jsonl")).unwrap();
        writeln!(orders, "{{\"id\":{id},\"currency\":\"{currency}\"}}").unwrap();
        wait(|| lines(&self.path("out.jsonl")).len() >= id);
        let mut rows = lines(&self.path("out.jsonl"));
        assert_eq!((rows.len(), rows[id - 1]["id"].as_u64()), (id, Some(id as u64)), "{rows:?}");
        rows[id - 1]["rate"].take()
    }
}

/// Waits until a condition holds, and not for ever; who needs it looks again.
fn wait(mut condition: impl FnMut() -> bool) {
    let began = Instant::now();
    while !condition() && began.elapsed() < PATIENCE {
        std::thread::sleep(Duration::from_millis(50));
    }
}

fn lines(path: &Path) -> Vec<Value> {
    let text = std::fs::read_to_string(path).unwrap_or_default();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn trouble(status: &Value) -> &str {
    status["trouble"].as_str().unwrap_or_default()
}

#[test]
fn a_changed_file_counts_from_then_on_and_a_broken_one_changes_nothing() {
    let room = Room::new();
    room.replace("code,rate\nEUR,1.08\nUSD,1\nGBP,1.27\n");
    let _running = room.start();
    room.until(|status| status["rows"] == 3 && status["loads"] == 1);
    assert_eq!(room.rate_of(1, "EUR"), "1.0800");

    room.replace("code,rate\nEUR,1.09\nUSD,1\nCHF,1.12\n");
    room.until(|status| status["loads"] == 2);
    assert_eq!((room.rate_of(2, "EUR"), room.rate_of(3, "GBP")), ("1.0900".into(), Value::Null));

    room.replace("code,rate\nEUR,1.10\nUSD,one\n");
    let broken = room.until(|status| !trouble(status).is_empty());
    let said = "rates.csv: line 3: field `rate`: expected decimal(8, 4), found `one`; the table before stays in use; \
                correct the line, or `columns`";
    assert!(trouble(&broken).ends_with(said), "{broken}");
    assert_eq!((room.rate_of(4, "EUR"), &broken["loads"]), ("1.0900".into(), &Value::from(2)));
    let text = String::from_utf8(room.weir(&["status"]).output().unwrap().stdout).unwrap();
    assert!(text.contains("  priced             table of 3 rows, ") && text.contains(" found `one`; "), "{text}");

    std::fs::write(room.path("rates.csv"), "code,rate\nEUR,1.11\n").unwrap();
    room.until(|status| trouble(status).contains("1 rows, where the table has 3: more than 50 % are gone"));
    std::fs::remove_file(room.path("rates.csv")).unwrap();
    room.until(|status| trouble(status).contains("rates.csv: No such file or directory"));
    assert_eq!(room.rate_of(5, "CHF"), "1.1200");

    room.replace("code,rate\nEUR,1.12\nUSD,1\nCHF,1.13\n");
    room.until(|status| status["loads"] == 3 && status["trouble"].is_null());
    assert_eq!(room.rate_of(6, "CHF"), "1.1300");
    assert_eq!(room.weir(&["stop"]).status().unwrap().code(), Some(0));
}

#[test]
fn without_a_sound_table_nothing_starts() {
    let room = Room::new();
    let said = || {
        let output = room.weir(&["run", "looked_up.yaml", "--quiet", "--admin", "127.0.0.1:0"]).output().unwrap();
        (output.status.code(), String::from_utf8(output.stderr).unwrap())
    };
    let (code, text) = said();
    assert!(text.contains("look-up `priced`: rates.csv: No such file or directory (os error 2)\n"), "{text}");
    assert!(text.contains("  next: put it there, readable for this user, or correct `path`\n"), "{text}");
    assert_eq!(code, Some(69));
    room.replace("code,rate\nEUR,1.08\nEUR,1.09\n");
    let (_, text) = said();
    assert!(text.contains("look-up `priced`: rates.csv: lines 2 and 3 have the same key\n"), "{text}");
    assert!(!room.path("out.jsonl").exists());
}
