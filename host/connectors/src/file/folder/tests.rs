//! Folders: order, what counts as a file, positions, files that come and go.

use std::fs;
use std::sync::{Arc, Mutex};

use weir_stream::Source;

use super::super::{FileSource, Framing};
use super::*;

struct Inbox {
    folder: tempfile::TempDir,
    now: Arc<Mutex<Duration>>,
}

impl Inbox {
    fn new(files: &[(&str, &str)]) -> Self {
        let inbox = Self { folder: tempfile::tempdir().unwrap(), now: Arc::default() };
        files.iter().for_each(|(name, text)| inbox.put(name, text));
        inbox
    }

    fn put(&self, name: &str, text: &str) {
        let hidden = self.folder.path().join(format!(".{name}"));
        fs::write(&hidden, text).unwrap();
        fs::rename(hidden, self.folder.path().join(name)).unwrap();
    }

    fn take(&self, name: &str) {
        fs::remove_file(self.folder.path().join(name)).unwrap();
    }

    fn open(&self, follow: bool, position: Option<Position>) -> Result<Box<dyn PartitionReader>, SourceError> {
        let now = Arc::clone(&self.now);
        let config = FileSourceConfig {
            source: "events".into(),
            paths: vec![self.folder.path().join("*.txt")],
            follow,
            framing: Framing::Lines,
            max_record_bytes: 64,
        };
        FileSource::with_clock(config, Arc::new(move || *now.lock().unwrap())).open(0, position)
    }

    /// After a second has passed.
    fn look_again(&self) {
        *self.now.lock().unwrap() += LOOK_INTERVAL;
    }
}

/// Everything there is now, and where reading goes on.
fn read(reader: &mut dyn PartitionReader, max_records: usize) -> (Vec<String>, Option<Position>, Poll) {
    let (mut lines, mut position) = (Vec::new(), None);
    loop {
        match reader.poll(max_records, 1 << 20).unwrap() {
            Poll::Records(records) => {
                let file = records.file.clone();
                let texts = records.values.iter().map(|line| String::from_utf8_lossy(line).into_owned());
                lines.extend(texts.map(|text| format!("{}:{text}", file.as_deref().unwrap_or_default())));
                position = Some(Position { offset: records.next_offset, file });
            }
            other => return (lines, position, other),
        }
    }
}

#[test]
fn files_are_read_in_the_order_of_their_names_and_every_position_does_to_begin_at() {
    let inbox = Inbox::new(&[
        ("b.txt", "3\n4"),
        ("a.txt", "1\n2\n"),
        ("c.txt", ""),
        ("d.txt", "5\n"),
        ("x.csv", "no\n"),
        ("e.txt.part", "no\n"),
    ]);
    let expected = ["a.txt:1", "a.txt:2", "b.txt:3", "b.txt:4", "d.txt:5"];
    let (lines, _, end) = read(&mut *inbox.open(false, None).unwrap(), 100);
    assert_eq!(lines, expected);
    assert!(matches!(end, Poll::End));
    let mut position = None;
    for line in expected {
        let mut reader = inbox.open(false, position).unwrap();
        let Poll::Records(records) = reader.poll(1, 1 << 20).unwrap() else { panic!("{line} was lost") };
        assert_eq!(records.values.get(0), &line.as_bytes()[6..]);
        position = Some(Position { offset: records.next_offset, file: records.file });
    }
    assert_eq!(position, Some(Position { offset: Position::END_OF_FILE, file: Some("d.txt".into()) }));
    assert!(matches!(inbox.open(false, position).unwrap().poll(1, 1).unwrap(), Poll::End));
}

#[test]
fn a_file_that_comes_is_read_when_it_has_its_name() {
    let inbox = Inbox::new(&[("b.txt", "1\n")]);
    let mut reader = inbox.open(true, None).unwrap();
    let (lines, _, end) = read(&mut *reader, 100);
    assert_eq!(lines, ["b.txt:1"]);
    assert!(matches!(end, Poll::Pending { caught_up: true }));
    fs::write(inbox.folder.path().join(".c.txt"), "ha").unwrap();
    inbox.look_again();
    assert!(read(&mut *reader, 100).0.is_empty());
    inbox.put("c.txt", "2\n");
    inbox.put("a.txt", "too early a name\n");
    assert!(read(&mut *reader, 100).0.is_empty(), "the folder is looked at once a second");
    inbox.look_again();
    assert_eq!(read(&mut *reader, 100).0, ["c.txt:2"]);
}

#[test]
fn a_bounded_run_reads_what_was_there_at_its_start() {
    let inbox = Inbox::new(&[("a.txt", "1\n"), ("c.txt", "3\n")]);
    let mut reader = inbox.open(false, None).unwrap();
    inbox.put("d.txt", "4\n");
    let (lines, _, end) = read(&mut *reader, 100);
    assert_eq!(lines, ["a.txt:1", "c.txt:3"]);
    assert!(matches!(end, Poll::End));
}

#[test]
fn a_file_may_go_once_it_was_read_and_not_before() {
    let inbox = Inbox::new(&[("a.txt", "1\n2\n"), ("b.txt", "3\n")]);
    let mut reader = inbox.open(false, None).unwrap();
    let Poll::Records(half) = reader.poll(1, 1 << 20).unwrap() else { panic!() };
    let half = Position { offset: half.next_offset, file: half.file };
    let Poll::Records(whole) = reader.poll(100, 1 << 20).unwrap() else { panic!() };
    let whole = Position { offset: whole.next_offset, file: whole.file };
    inbox.take("a.txt");
    assert_eq!(read(&mut *inbox.open(false, Some(whole)).unwrap(), 100).0, ["b.txt:3"]);
    let Err(SourceError::Fatal { message, next }) = inbox.open(false, Some(half)) else { panic!("a row was lost") };
    assert!(message.ends_with("a.txt was read up to byte 2 and is gone"), "{message}");
    assert_eq!(next, "put it back, or start with a new state folder");
}

#[test]
fn a_file_that_shrinks_while_it_is_read_stops_the_source() {
    let inbox = Inbox::new(&[("a.txt", &"x\n".repeat(10))]);
    let mut reader = inbox.open(false, None).unwrap();
    let Poll::Records(records) = reader.poll(1, 1 << 20).unwrap() else { panic!() };
    fs::write(inbox.folder.path().join("a.txt"), "").unwrap();
    let position = Position { offset: records.next_offset, file: records.file };
    let Err(SourceError::Fatal { message, .. }) = inbox.open(false, Some(position)) else { panic!() };
    assert!(message.contains("was read up to byte 2 but is now 0 bytes long"), "{message}");
}

#[test]
fn a_file_is_not_taken_for_a_folder_that_was_read_before() {
    let inbox = Inbox::new(&[("a.txt", "1\n")]);
    let Err(SourceError::Fatal { message, .. }) = inbox.open(false, Some(2.into())) else { panic!() };
    assert!(message.ends_with("was one file when it was last read"), "{message}");
}

#[test]
fn a_name_fits_a_pattern_as_in_a_shell() {
    let fits = |pattern: &str, name: &str| matches(pattern.as_bytes(), name.as_bytes());
    for (pattern, name) in [("*", ""), ("*.csv", "a.csv"), ("a*b*c", "aXbbYc"), ("?.txt", "a.txt"), ("**", "x")] {
        assert!(fits(pattern, name), "{pattern} {name}");
    }
    for (pattern, name) in [("*.csv", "a.csv.part"), ("a*b", "ab1"), ("?", ""), ("a", "b"), ("a?", "a")] {
        assert!(!fits(pattern, name), "{pattern} {name}");
    }
    let pattern = Pattern { folder: PathBuf::new(), name: "*".into() };
    assert!(pattern.fits("a") && !pattern.fits(".a"));
    assert_eq!(Pattern::of(Path::new("in/a.csv")), None);
    assert_eq!(Pattern::of(Path::new("in/")), Some(Pattern { folder: "in/".into(), name: "*".into() }));
    assert_eq!(Pattern::of(Path::new("in/a?")), Some(Pattern { folder: "in".into(), name: "a?".into() }));
}
