//! A pipeline whose plugin asks a real HTTP server: slow, failing, oversized, sending on where it may not. Rows keep their
//! order, what fails costs its row, and a kill at every epoch changes nothing.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use serde_json::Value;
use weir_services::Weir;
use weir_services::http::{HttpServer, Seen, response};
use weir_services::process::aborted;

const BOUND: Duration = Duration::from_secs(120);

fn pipeline(plugin: &Path, port: u16, allow: u16) -> String {
    format!(
        r#"
pipeline: enriched
sources:
  payments:
    columns: {{ id: 'int64!', currency: utf8, amount: 'decimal(12, 2)!' }}
state: {{ epoch: {{ max_rows: 60 }} }}
steps:
  rated:
    from: payments
    plugin:
      use: {}
      config: {{ url: "http://127.0.0.1:{port}" }}
      http: {{ allow: ["127.0.0.1:{allow}"], timeout: 2s, total: 30s, retries: 1, response: 1KiB, concurrency: 16 }}
sinks:
  out: {{ from: rated, append: true }}
profiles:
  test:
    payments: {{ file: {{ path: in.jsonl }}, format: json }}
    out: {{ file: {{ path: out/rated.jsonl }}, format: json }}
    dead_letters: {{ file: {{ path: out/dead-letters.jsonl }}, format: json }}
"#,
        plugin.display()
    )
}

/// The later a currency stands in its alphabet, the sooner it is answered.
fn service(seen: &Seen, forbidden: u16) -> Vec<u8> {
    let currency = seen.path.rsplit('/').next().unwrap_or_default();
    match currency {
        "SLOW" => {
            std::thread::sleep(Duration::from_secs(6));
            response(200, "", "1")
        }
        "GONE" => response(404, "", ""),
        "BROKEN" => response(500, "", ""),
        "LARGE" => response(200, "", vec![b'1'; 2048]),
        "AWAY" => response(302, &format!("location: http://127.0.0.1:{forbidden}/eur/USD\r\n"), ""),
        "NEAR" => response(302, "location: /eur/USD\r\n", ""),
        currency => {
            std::thread::sleep(Duration::from_millis(u64::from(b'Z' - currency.as_bytes()[0])));
            response(200, "", "0.5")
        }
    }
}

const CURRENCIES: [&str; 10] = ["USD", "GONE", "CHF", "BROKEN", "LARGE", "AUD", "AWAY", "NEAR", "EUR", "JPY"];

fn payments(rows: usize) -> String {
    let row = |id: usize| {
        let currency = if id == 77 { "SLOW" } else { CURRENCIES[id % CURRENCIES.len()] };
        format!("{{\"id\":{id},\"currency\":\"{currency}\",\"amount\":\"{id}.00\"}}\n")
    };
    (0..rows).map(row).collect()
}

fn lines(path: &Path) -> Vec<Value> {
    let text = std::fs::read_to_string(path).unwrap_or_default();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

struct Room {
    weir: Weir,
    folder: tempfile::TempDir,
}

impl Room {
    fn new(manifest: &str, rows: usize) -> Self {
        let room = Self { weir: Weir::find().unwrap(), folder: tempfile::tempdir().unwrap() };
        std::fs::write(room.folder.path().join("pipeline.yaml"), manifest).unwrap();
        std::fs::write(room.folder.path().join("in.jsonl"), payments(rows)).unwrap();
        room
    }

    /// Runs to the end; answers whether it was killed at the epoch.
    fn run(&self, crash_at: Option<&str>) -> bool {
        let name = crash_at.unwrap_or("whole").replace(':', "-");
        let run = self.weir.spawn(&name, self.folder.path(), |command| {
            command.current_dir(self.folder.path());
            command.args(["pipeline.yaml", "--profile", "test", "--state", "state", "--until-end"]);
            if let Some(point) = crash_at {
                command.args(["--crash-at", point]);
            }
        });
        let ended = run.unwrap().end(BOUND).unwrap();
        let killed = crash_at.is_some() && aborted(ended.status);
        assert!(killed || ended.status.success(), "{}", ended.stderr);
        killed
    }

    fn rows(&self) -> Vec<(i64, String)> {
        let rows = lines(&self.folder.path().join("out/rated.jsonl"));
        let text = |value: &Value| value.to_string().trim_matches('"').to_owned();
        rows.iter().map(|row| (row["id"].as_i64().unwrap(), text(&row["amount_eur"]))).collect()
    }

    /// How many rows were refused for each reason.
    fn refused(&self) -> BTreeMap<String, usize> {
        let mut codes = BTreeMap::new();
        for letter in lines(&self.folder.path().join("out/dead-letters.jsonl")) {
            *codes.entry(letter["code"].as_str().unwrap().to_owned()).or_default() += 1;
        }
        codes
    }
}

/// Of each payment that has a rate: half of its amount, or all of it in euros.
fn expected(rows: usize) -> Vec<(i64, String)> {
    let rated = (0..rows).filter(|id| *id != 77 && ![1, 3, 4, 6].contains(&(id % 10)));
    let half = |id: usize| if id % 10 == 8 { format!("{id}.00") } else { format!("{:.2}", id as f64 / 2.0) };
    rated.map(|id| (id as i64, half(id))).collect()
}

#[test]
fn rows_keep_their_order_what_fails_costs_its_row_and_a_kill_at_every_epoch_changes_nothing() {
    let weir = Weir::find().unwrap();
    let plugin = weir.build_plugin("service-rates").unwrap();
    let forbidden = HttpServer::start(|_| response(200, "", "1")).unwrap();
    let port = forbidden.port;
    let server = HttpServer::start(move |seen| service(seen, port)).unwrap();
    let manifest = pipeline(&plugin, server.port, server.port);

    let whole = Room::new(&manifest, 300);
    whole.run(None);
    assert_eq!(whole.rows(), expected(300));
    let refused = [
        ("currency-unknown", 30),
        ("http-not-allowed", 30),
        ("http-timeout", 1),
        ("http-too-large", 30),
        ("service-failed", 30),
    ];
    assert_eq!(whole.refused(), refused.map(|(code, rows)| (code.to_owned(), rows)).into());
    assert_eq!(forbidden.paths(), [""; 0], "a host that is not allowed was asked");

    let killed = Room::new(&manifest, 300);
    let mut kills = 0;
    for epoch in 1.. {
        let points = ["sealed", "durable", "exposed"];
        if !killed.run(Some(&format!("{}:{epoch}", points[epoch % points.len()]))) {
            break;
        }
        kills += 1;
    }
    assert!(kills >= 4, "{kills} kills");
    assert_eq!(killed.rows(), expected(300));
    assert_eq!(killed.refused(), whole.refused());
}

#[test]
fn a_swap_between_two_epochs_loses_and_doubles_no_row_that_waits() {
    let weir = Weir::find().unwrap();
    let plugin = weir.build_plugin("service-rates").unwrap();
    let server = HttpServer::start(|seen| service(seen, 1)).unwrap();
    let room = Room::new(&pipeline(&plugin, server.port, server.port), 70);
    // Another version: the same with a custom section, which changes its digest alone.
    let mut next = std::fs::read(&plugin).unwrap();
    next.extend_from_slice(b"\x00\x05\x04note");
    std::fs::write(room.folder.path().join("next.wasm"), next).unwrap();
    let run = room.weir.run("swapped", room.folder.path(), |command| {
        command.current_dir(room.folder.path()).args(["pipeline.yaml", "--profile", "test", "--state", "state"]);
    });
    let mut run = run.unwrap();
    let rows = |rows: usize| expected(rows).len() as u64;
    let written = |status: &Value, rows: u64| status["steps"]["rated"]["rows_out"].as_u64() >= Some(rows);
    run.wait_for("the first rows", BOUND, |status| written(status, rows(70))).unwrap();
    let mut swap = room.weir.command();
    let swapped = swap
        .current_dir(room.folder.path())
        .args(["swap", "rated", "next.wasm", "--admin", &run.admin])
        .output()
        .unwrap();
    assert!(swapped.status.success(), "{}", String::from_utf8_lossy(&swapped.stderr));
    let more = payments(140).lines().skip(70).map(|line| format!("{line}\n")).collect::<String>();
    let mut input = std::fs::OpenOptions::new().append(true).open(room.folder.path().join("in.jsonl")).unwrap();
    std::io::Write::write_all(&mut input, more.as_bytes()).unwrap();
    run.wait_for("the rows behind the swap", BOUND, |status| written(status, rows(140))).unwrap();
    let stopped = room.weir.command().args(["stop", "--admin", &run.admin]).output().unwrap();
    assert!(stopped.status.success(), "{}", String::from_utf8_lossy(&stopped.stderr));
    run.process.wait_end(BOUND).unwrap();
    assert_eq!(room.rows(), expected(140));
}

#[test]
fn a_step_that_may_ask_another_host_alone_refuses_every_row_that_asks() {
    let weir = Weir::find().unwrap();
    let plugin = weir.build_plugin("service-rates").unwrap();
    let server = HttpServer::start(|seen| service(seen, 1)).unwrap();
    let room = Room::new(&pipeline(&plugin, server.port, 1), 20);
    room.run(None);
    assert_eq!(room.rows(), [(8, "8.00".to_owned()), (18, "18.00".to_owned())], "euros need no service");
    assert_eq!(room.refused(), BTreeMap::from([("http-not-allowed".to_owned(), 18)]));
    assert_eq!(server.paths(), [""; 0]);
}
