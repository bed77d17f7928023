//! The exactly-once promise of a file of lines, crashed between every two steps.

use std::fs;
use std::sync::Arc;

use weir_stream::{PayloadBlock, Payloads};

use super::*;

fn entry(epoch: u64, previous: u64, lines: &[&str]) -> SinkEpoch {
    let values: Payloads = lines.iter().map(|line| line.as_bytes()).collect();
    let timestamps_us = vec![0; lines.len()];
    let block = PayloadBlock { values, keys: None, timestamps_us };
    SinkEpoch {
        epoch,
        previous,
        cut: Some(format!("cut {epoch}").into()),
        data: Arc::new(SinkData::Payloads(vec![block])),
    }
}

fn sink(path: &Path) -> JsonLinesSink {
    JsonLinesSink::new(SinkIdentity::new("shop", "raw"), path)
}

fn fatal_text(result: Result<impl std::fmt::Debug, SinkError>) -> String {
    match result.unwrap_err() {
        SinkError::Fatal { message, next } => format!("{message}; next: {next}"),
        other => panic!("expected a fatal error, got {other:?}"),
    }
}

#[test]
fn a_crash_at_any_byte_of_a_write_loses_and_doubles_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("out/raw.jsonl");
    let mut owner = sink(&path);
    assert_eq!(owner.recover(0).unwrap(), SinkPosition::Absent);
    owner.expose(&entry(3, 0, &["a", "b"])).unwrap();
    let (before, second) = (fs::read(&path).unwrap(), entry(4, 3, &["c", "dd"]));
    for torn in 0..=b"c\ndd\n".len() {
        // The lines were written up to a byte, the progress was not.
        let mut bytes = before.clone();
        bytes.extend_from_slice(&b"c\ndd\n"[..torn]);
        fs::write(&path, bytes).unwrap();
        let mut next = sink(&path);
        assert_eq!(next.recover(3).unwrap(), SinkPosition::Epoch(3), "torn after {torn} bytes");
        assert_eq!(fs::read(&path).unwrap(), before);
    }
    let mut next = sink(&path);
    next.recover(3).unwrap();
    assert_eq!(next.expose(&second).unwrap().exposed, Some(4));
    // Crashed behind the progress, before the store heard of it.
    let mut last = sink(&path);
    assert_eq!(last.recover(3).unwrap(), SinkPosition::Epoch(4));
    assert_eq!(fs::read_to_string(&path).unwrap(), "a\nb\nc\ndd\n");
}

#[test]
fn what_the_file_holds_is_seen_without_taking_it_over() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("raw.jsonl");
    assert_eq!(sink(&path).held().unwrap(), None);
    let mut owner = sink(&path);
    owner.recover(0).unwrap();
    owner.expose(&entry(3, 0, &["a"])).unwrap();
    let held = Some(Held { epoch: 3, cut: Some("cut 3".into()), rejects: 0 });
    assert_eq!(sink(&path).held().unwrap(), held);
    owner.expose(&entry(4, 3, &["b"])).unwrap();
    sink(&path).recover(4).unwrap();
    let held = Some(Held { epoch: 4, cut: Some("cut 4".into()), rejects: 0 });
    assert_eq!(sink(&path).held().unwrap(), held, "the next owner leaves it");
}

#[test]
fn the_older_of_two_instances_is_fenced_and_writes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("raw.jsonl");
    let (mut old, mut new) = (sink(&path), sink(&path));
    old.recover(0).unwrap();
    new.recover(0).unwrap();
    assert!(matches!(old.expose(&entry(1, 0, &["old"])), Err(SinkError::Fenced(_))));
    assert!(matches!(old.recover(0), Err(SinkError::Fenced(_))), "a fenced instance must not take the file back");
    new.expose(&entry(1, 0, &["new"])).unwrap();
    assert_eq!(fs::read_to_string(&path).unwrap(), "new\n");
}

#[test]
fn an_existing_file_is_appended_to() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("raw.jsonl");
    fs::write(&path, "kept\n").unwrap();
    let mut owner = sink(&path);
    assert_eq!(owner.recover(0).unwrap(), SinkPosition::Absent);
    owner.expose(&entry(1, 0, &["added"])).unwrap();
    assert_eq!(fs::read_to_string(&path).unwrap(), "kept\nadded\n");
}

#[test]
fn a_file_that_lost_epochs_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("raw.jsonl");
    let mut owner = sink(&path);
    owner.recover(0).unwrap();
    owner.expose(&entry(1, 0, &["line"])).unwrap();
    fs::write(&path, "li").unwrap();
    let text = fatal_text(sink(&path).recover(1));
    assert!(text.contains("is 2 bytes long, its progress says 5: it lost epochs"), "{text}");
    fs::remove_file(&path).unwrap();
    assert!(fatal_text(owner.expose(&entry(2, 1, &["x"]))).contains("is gone: it lost epochs"));
    fs::remove_file(path.with_file_name("raw.jsonl.progress")).unwrap();
    assert_eq!(sink(&path).recover(1).unwrap(), SinkPosition::Absent);
    assert!(!path.exists(), "a target that lost everything is left as it is");
}

#[test]
fn a_file_of_another_sink_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("raw.jsonl");
    sink(&path).recover(0).unwrap();
    let text = fatal_text(JsonLinesSink::new(SinkIdentity::new("shop", "other"), &path).recover(0));
    assert!(
        text.contains("belongs to sink `raw` of pipeline `shop`; next: give this sink a file of its own"),
        "{text}"
    );
}

#[test]
fn an_entry_of_another_history_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let mut owner = sink(&folder.path().join("raw.jsonl"));
    owner.recover(0).unwrap();
    owner.expose(&entry(5, 0, &["x"])).unwrap();
    assert!(fatal_text(owner.expose(&entry(9, 7, &["y"]))).contains("holds epoch 5, but the entry"));
}

#[test]
fn a_payload_that_is_no_line_stops_the_sink() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("raw.jsonl");
    let mut owner = sink(&path);
    owner.recover(0).unwrap();
    assert!(fatal_text(owner.expose(&entry(1, 0, &["ok", "a\nb"]))).contains("holds a newline"));
    assert_eq!(fs::read(&path).unwrap(), b"");
}
