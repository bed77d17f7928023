//! What only a server can do: go away, come back, hold values narrower than ours.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use weir_connectors::sql::{PostgresSink, SqlTarget};
use weir_stream::{Sink, SinkError, SinkPosition};

use crate::rows::{entry, insert};
use crate::targets::{PostgresSchema, Target, append, run_postgres, server_url, upsert};

/// A line to the real server that can be cut and mended.
pub struct Line {
    pub address: String,
    up: Arc<AtomicBool>,
    streams: Arc<Mutex<Vec<TcpStream>>>,
}

impl Line {
    pub fn to_server() -> Self {
        let server = server_url();
        let authority = server.split("://").nth(1).unwrap().split(['/', '?']).next().unwrap().to_owned();
        let host = authority.rsplit('@').next().unwrap().to_owned();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = server.replace(&host, &listener.local_addr().unwrap().to_string());
        let (up, streams) = (Arc::new(AtomicBool::new(true)), Arc::new(Mutex::new(Vec::new())));
        let line = Self { address, up: Arc::clone(&up), streams: Arc::clone(&streams) };
        thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                if !up.load(Ordering::SeqCst) {
                    continue;
                }
                let server = TcpStream::connect(&host).unwrap();
                for (from, to) in [(client.try_clone().unwrap(), server.try_clone().unwrap()), (server, client)] {
                    streams.lock().unwrap().push(from.try_clone().unwrap());
                    thread::spawn(move || carry(from, to));
                }
            }
        });
        line
    }

    pub fn cut(&self) {
        self.up.store(false, Ordering::SeqCst);
        for stream in self.streams.lock().unwrap().drain(..) {
            let _ = stream.shutdown(Shutdown::Both);
        }
    }

    pub fn mend(&self) {
        self.up.store(true, Ordering::SeqCst);
    }
}

fn carry(mut from: TcpStream, mut to: TcpStream) {
    let mut bytes = [0; 8192];
    while let Ok(count) = from.read(&mut bytes) {
        if count == 0 || to.write_all(&bytes[..count]).is_err() {
            break;
        }
    }
    let _ = to.shutdown(Shutdown::Both);
}

fn retry_text<T: std::fmt::Debug>(result: Result<T, SinkError>) -> String {
    match result.unwrap_err() {
        SinkError::Retry(text) => text,
        other => panic!("expected to be asked to try again, got {other:?}"),
    }
}

#[test]
fn a_lost_server_is_waited_for_and_nothing_is_lost_or_doubled() {
    let (schema, line) = (PostgresSchema::new(), Line::to_server());
    let mut sink = PostgresSink::new(&upsert("sales"), &schema.url_of(&line.address)).unwrap();
    sink.recover(0).unwrap();
    sink.expose(&entry(1, 0, &[insert(1, "a", 1)])).unwrap();
    line.cut();
    retry_text(sink.expose(&entry(2, 1, &[insert(2, "b", 2)])));
    retry_text(sink.recover(1));
    retry_text(sink.expose(&entry(2, 1, &[insert(2, "b", 2)])));
    line.mend();
    assert_eq!(sink.recover(1).unwrap(), SinkPosition::Epoch(1));
    sink.expose(&entry(2, 1, &[insert(2, "b", 2)])).unwrap();
    assert_eq!(schema.lines("sales", "id"), ["1|a|0.01", "2|b|0.02"]);
}

#[test]
fn a_backend_killed_at_any_moment_leaves_whole_epochs() {
    const EPOCHS: u64 = 200;
    let schema = PostgresSchema::new();
    let sales = append("sales", crate::rows::schema());
    let mut sink = PostgresSink::new(&sales, &schema.url()).unwrap();
    let names: Vec<String> = (0..50).map(|name| name.to_string()).collect();
    let done = Arc::new(AtomicBool::new(false));
    let seed = std::process::id();
    println!("seed {seed}");
    let killer = {
        let (done, url) = (Arc::clone(&done), schema.url());
        thread::spawn(move || {
            let mut state = seed;
            while !done.load(Ordering::SeqCst) {
                state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                thread::sleep(Duration::from_micros(u64::from(state >> 16) % 20_000));
                // Only this schema's sink: its search path is in the connection's settings, told by its lock or query.
                run_postgres(
                    &url,
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'weir' \
                    AND pid IN (SELECT pid FROM pg_locks WHERE relation = to_regclass('weir_progress'))",
                );
            }
        })
    };
    let (mut exposed, mut lost, start) = (0, 0, Instant::now());
    let mut connected = false;
    while exposed < EPOCHS {
        assert!(start.elapsed() < Duration::from_secs(120), "{exposed} epochs after {lost} losses");
        if !connected {
            match sink.recover(exposed) {
                Ok(SinkPosition::Absent) => exposed = 0,
                Ok(SinkPosition::Epoch(epoch)) => exposed = epoch,
                Err(SinkError::Retry(_)) => continue,
                Err(other) => panic!("{other:?}"),
            }
            connected = true;
            // The target may hold more than was heard of.
            continue;
        }
        let changes: Vec<_> = names.iter().map(|name| insert(exposed as i64, name, 1)).collect();
        match sink.expose(&entry(exposed + 1, exposed, &changes)) {
            Ok(outcome) => exposed = outcome.exposed.unwrap(),
            Err(SinkError::Retry(_)) => (connected, lost) = (false, lost + 1),
            Err(other) => panic!("{other:?}"),
        }
    }
    done.store(true, Ordering::SeqCst);
    killer.join().unwrap();
    assert_eq!(schema.lines("sales", "id").len() as u64, EPOCHS * 50, "after {lost} losses");
    assert!(lost > 0, "no connection was ever lost: the test showed nothing");
    println!("{lost} connections lost");
}

#[test]
fn values_that_postgres_cannot_hold_are_rejected_alone() {
    let schema = PostgresSchema::new();
    schema.run("CREATE TABLE sales (id bigint PRIMARY KEY, name varchar(6), price numeric(4, 2))");
    let mut sink = schema.open(&upsert("sales"));
    let changes = [
        insert(1, "fine", 1),
        insert(2, "n\0l", 1),
        insert(3, "too long", 1),
        insert(4, "dear", 10_000),
        insert(5, "last", 9_999),
    ];
    let rejects = sink.expose(&entry(1, 0, &changes)).unwrap().rejects;
    let found: Vec<_> = rejects.iter().map(|reject| (reject.row, reject.code.as_str())).collect();
    assert_eq!(found, [(1, "sql-text-nul"), (2, "sql-value"), (3, "sql-value")]);
    assert!(rejects[2].reason.contains("numeric field overflow"), "{}", rejects[2].reason);
    assert_eq!(schema.lines("sales", "id"), ["1|fine|0.01", "5|last|99.99"]);
}

#[test]
fn a_deferred_constraint_still_finds_its_row() {
    let schema = PostgresSchema::new();
    schema.run(
        "CREATE TABLE parents (id bigint PRIMARY KEY); INSERT INTO parents VALUES (1), (2); \
        CREATE TABLE sales (id bigint PRIMARY KEY, name text, price numeric, \
        FOREIGN KEY (id) REFERENCES parents DEFERRABLE INITIALLY DEFERRED)",
    );
    let mut sink = schema.open(&upsert("sales"));
    let rejects =
        sink.expose(&entry(1, 0, &[insert(1, "a", 1), insert(7, "b", 1), insert(2, "c", 1)])).unwrap().rejects;
    assert_eq!(rejects.iter().map(|reject| reject.row).collect::<Vec<_>>(), [1]);
    assert_eq!(schema.lines("sales", "id").len(), 2);
}

#[test]
fn two_keys_that_the_table_takes_for_one_are_applied_in_order() {
    let schema = PostgresSchema::new();
    schema.run(
        "CREATE COLLATION folded (provider = icu, locale = 'und-u-ks-level2', deterministic = false); \
        CREATE TABLE sales (id bigint, name text COLLATE folded PRIMARY KEY, price numeric)",
    );
    let by_name =
        SqlTarget { mode: weir_connectors::sql::WriteMode::Upsert { key: vec!["name".into()] }, ..upsert("sales") };
    let mut sink = schema.open(&by_name);
    sink.expose(&entry(1, 0, &[insert(1, "Books", 1), insert(2, "BOOKS", 2), insert(3, "toys", 3)])).unwrap();
    assert_eq!(schema.lines("sales", "id"), ["2|Books|0.02", "3|toys|0.03"]);
}

#[test]
fn several_instances_starting_at_once_leave_one_owner() {
    let schema = PostgresSchema::new();
    let sinks: Vec<_> = (0..8)
        .map(|_| {
            let url = schema.url();
            thread::spawn(move || {
                let mut sink = PostgresSink::new(&upsert("sales"), &url).unwrap();
                for _ in 0..8 {
                    match sink.recover(0) {
                        Ok(_) => return sink,
                        Err(SinkError::Retry(_)) => {}
                        Err(other) => panic!("{other:?}"),
                    }
                }
                panic!("no other instance is left, and yet the target is busy")
            })
        })
        .collect();
    let mut owners = 0;
    for sink in sinks {
        let mut sink = sink.join().unwrap();
        owners += usize::from(sink.expose(&entry(1, 0, &[insert(1, "a", 1)])).is_ok());
    }
    assert_eq!(owners, 1);
}

#[test]
fn credentials_are_in_no_text() {
    let schema = PostgresSchema::new();
    let canary = "canary-hunter2";
    let (free, wrong_port) = {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        (port, format!("postgres://weir:{canary}@127.0.0.1:{port}/shop"))
    };
    let text = retry_text(PostgresSink::new(&upsert("sales"), &wrong_port).unwrap().recover(0));
    assert!(text.contains(&format!("PostgreSQL 127.0.0.1:{free}/shop")) && !text.contains(canary), "{text}");
    for broken in [
        format!("postgres://weir:{canary}@127.0.0.1:99999999/shop"),
        format!("postgres://u:{canary}@h/d?sslmode={canary}"),
        canary.into(),
    ] {
        let Err(error) = PostgresSink::new(&upsert("sales"), &broken) else { panic!("{broken} was taken") };
        assert!(!format!("{error:?}").contains(canary), "{error:?}");
    }
    let missing = schema.url().replace("/postgres?", "/no_such_database?");
    let Err(SinkError::Fatal { next, .. }) = PostgresSink::new(&upsert("sales"), &missing).unwrap().recover(0) else {
        panic!("{missing}")
    };
    assert!(next.contains("create the database"), "{next}");
}
