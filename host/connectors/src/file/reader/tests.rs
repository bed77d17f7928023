//! Reading lines: positions, limits, growing and shrinking files.

use std::fs::{self, OpenOptions};
use std::io::Write;

use weir_stream::Source;

use super::super::{FileSource, RowFraming};
use super::*;

const LIMIT: usize = 16;

fn source(path: &Path, follow: bool) -> FileSource {
    let paths = vec![path.to_owned()];
    let framing = Framing::Lines;
    FileSource::new(FileSourceConfig { source: "events".into(), paths, follow, framing, max_record_bytes: LIMIT })
}

/// Everything up to the end or the first time nothing comes: (offset, line), and the position behind.
fn read(reader: &mut dyn PartitionReader, max_records: usize) -> (Vec<(i64, String)>, Option<i64>, Poll) {
    let (mut lines, mut position) = (Vec::new(), None);
    loop {
        match reader.poll(max_records, 1 << 20).unwrap() {
            Poll::Records(records) => {
                assert!(records.len() <= max_records && !records.is_empty());
                let texts = records.values.iter().map(|line| String::from_utf8_lossy(line).into_owned());
                lines.extend(records.offsets.iter().copied().zip(texts));
                position = Some(records.next_offset);
            }
            other => return (lines, position, other),
        }
    }
}

fn fatal_text<T>(result: Result<T, SourceError>) -> String {
    match result {
        Err(SourceError::Fatal { message, next }) => format!("{message}; next: {next}"),
        Err(other) => panic!("expected a fatal error, got {other:?}"),
        Ok(_) => panic!("expected a fatal error"),
    }
}

#[test]
fn every_position_that_was_answered_reads_on_without_loss() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("in.jsonl");
    fs::write(&path, "one\r\n\n\ntwo\nthree\n  four\nlast").unwrap();
    let (all, _, end) = read(&mut *source(&path, false).open(0, None).unwrap(), 1000);
    assert!(matches!(end, Poll::End));
    let expected = [(0, "one"), (7, "two"), (11, "three"), (17, "  four"), (24, "last")];
    assert_eq!(all, expected.map(|(offset, line)| (offset, line.to_owned())));
    let mut position = None;
    for (number, expected) in all.iter().enumerate() {
        let mut reader = source(&path, false).open(0, position.map(Position::from)).unwrap();
        let Poll::Records(records) = reader.poll(1, 1 << 20).unwrap() else { panic!("record {number} was lost") };
        assert_eq!((records.offsets[0], records.values.get(0)), (expected.0, expected.1.as_bytes()));
        position = Some(records.next_offset);
    }
    assert!(matches!(
        source(&path, false).open(0, position.map(Position::from)).unwrap().poll(1, 1).unwrap(),
        Poll::End
    ));
}

#[test]
fn a_long_line_is_cut_for_the_codec_to_refuse_and_its_neighbours_are_whole() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("in.jsonl");
    let exact = "e".repeat(LIMIT);
    let huge = "h".repeat(3 * READ_BYTES);
    for end in ["\n", "\r\n"] {
        fs::write(&path, [exact.as_str(), &huge, "next", &"u".repeat(LIMIT + 5), &huge].join(end)).unwrap();
        let (lines, position, _) = read(&mut *source(&path, false).open(0, None).unwrap(), 2);
        let texts: Vec<_> = lines.iter().map(|(_, line)| line.as_str()).collect();
        let cut = |letter: &str| letter.repeat(LIMIT + 1);
        assert_eq!(texts, [exact.as_str(), &cut("h"), "next", &cut("u"), &cut("h")]);
        assert_eq!(lines[1].0, (LIMIT + end.len()) as i64);
        assert_eq!(position, Some(fs::metadata(&path).unwrap().len() as i64));
    }
}

#[test]
fn memory_stays_bounded_while_a_line_without_end_is_skipped() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("in.jsonl");
    let file = fs::File::create(&path).unwrap();
    file.set_len(4 * MAX_BYTES_PER_POLL as u64).unwrap();
    let config = FileSourceConfig {
        source: "s".into(),
        paths: vec![path.clone()],
        follow: false,
        framing: Framing::Lines,
        max_record_bytes: LIMIT,
    };
    let mut reader = FileReader::open(&config, &path, 0, 0).unwrap();
    let mut pending = 0;
    let records = loop {
        match reader.poll(10, 1 << 20).unwrap() {
            Poll::Pending { caught_up } => {
                assert!(!caught_up);
                pending += 1;
            }
            Poll::Records(records) => break records,
            Poll::End => panic!("the line was lost"),
        }
        assert!(reader.buffer.capacity() <= 4 * READ_BYTES, "{} bytes are held", reader.buffer.capacity());
    };
    assert!(pending >= 3, "a poll must not read without bound");
    assert_eq!((records.len(), records.values.get(0).len()), (1, LIMIT + 1));
}

#[test]
fn following_waits_for_the_end_of_the_line() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("in.jsonl");
    fs::write(&path, "one\ntw").unwrap();
    let mut reader = source(&path, true).open(0, None).unwrap();
    let (lines, position, end) = read(&mut *reader, 10);
    assert_eq!((lines, position), (vec![(0, "one".to_owned())], Some(4)));
    assert!(matches!(end, Poll::Pending { caught_up: true }));
    OpenOptions::new().append(true).open(&path).unwrap().write_all(b"o\nthree\n").unwrap();
    assert_eq!(read(&mut *reader, 10).0, [(4, "two".to_owned()), (8, "three".to_owned())]);
}

#[test]
fn a_file_that_is_not_what_was_read_stops_the_source() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("in.jsonl");
    assert!(fatal_text(source(&path, false).partitions()).contains("No such file"));
    assert!(fatal_text(source(folder.path(), false).open(0, None)).contains("is a folder"));
    fs::write(&path, "one\ntwo\n").unwrap();
    let text = fatal_text(source(&path, false).open(0, Some(9.into())));
    assert!(text.contains("was read up to byte 9 but is now 8 bytes long; next: restore"), "{text}");
    assert!(fatal_text(source(&path, false).open(0, Some(2.into()))).contains("in the middle of a line"));
    let mut reader = source(&path, true).open(0, None).unwrap();
    read(&mut *reader, 10);
    fs::write(&path, "new\n").unwrap();
    assert!(fatal_text(reader.poll(1, 1)).contains("is now 4 bytes long"));
    let mut reader = source(&path, true).open(0, None).unwrap();
    read(&mut *reader, 10);
    fs::write(folder.path().join("other"), "one\ntwo\nthree\n").unwrap();
    fs::rename(folder.path().join("other"), &path).unwrap();
    assert!(fatal_text(reader.poll(1, 1)).contains("was replaced by another file"));
}

/// Rows of CSV with `;`, under a header that must be `a;b` and whatever more.
fn rows(paths: Vec<PathBuf>, follow: bool) -> FileSource {
    let check = |header: &[u8]| {
        if header.starts_with(b"a;b") { Ok(()) } else { Err(format!("no, {}", String::from_utf8_lossy(header))) }
    };
    let framing = Framing::Rows(RowFraming { delimiter: b';', header: Some(Arc::new(check)) });
    FileSource::new(FileSourceConfig { source: "events".into(), paths, follow, framing, max_record_bytes: LIMIT })
}

fn row_texts(text: &str) -> Vec<(i64, u64, String)> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("in.csv");
    fs::write(&path, text).unwrap();
    let mut all = Vec::new();
    let mut position = None;
    // One record a reader: every position must do to begin at.
    loop {
        let mut reader = rows(vec![path.clone()], false).open(0, position).unwrap();
        let Poll::Records(records) = reader.poll(1, 1).unwrap() else { return all };
        assert_eq!(records.header.as_deref(), Some(b"a;b".as_slice()));
        all.push((records.offsets[0], records.lines[0], String::from_utf8_lossy(records.values.get(0)).into_owned()));
        position = Some(records.next_offset.into());
    }
}

#[test]
fn a_row_of_csv_ends_where_no_quote_is_open() {
    let rows = row_texts("\u{feff}a;b\r\n1;\"x\ny\"\r\n\n2;\"\"\"\n\"\"\"\n3;it\"s\n4;end");
    let expected = [(8, 2, "1;\"x\ny\""), (18, 5, "2;\"\"\"\n\"\"\""), (28, 7, "3;it\"s"), (35, 8, "4;end")];
    assert_eq!(rows, expected.map(|(offset, line, text)| (offset, line, text.to_owned())));
}

#[test]
fn a_row_that_is_too_long_or_never_ends_costs_its_first_line() {
    let huge = "h".repeat(2 * READ_BYTES);
    let text = format!("a;b\n1;\"open\n2;two\n3;\"q {huge}\nrest\"\n4;four\n{huge}\n5;\"last\n6;six");
    let texts: Vec<String> = row_texts(&text).into_iter().map(|(_, _, text)| text).collect();
    let cut = |text: &str| format!("{text}{huge}")[..=LIMIT].to_owned();
    let expected =
        ["1;\"open", "2;two", &cut("3;\"q "), "rest\"", "4;four", &cut(""), "5;\"last", "6;six"].map(str::to_owned);
    assert_eq!(texts, expected);
}

#[test]
fn a_header_that_does_not_fit_stops_the_source_with_file_and_cause() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("in.csv");
    fs::write(&path, "x;y\n1;2\n").unwrap();
    let text = fatal_text(rows(vec![path.clone()], false).open(0, None));
    assert!(text.contains("in.csv: no, x;y; next: correct the file's first row"), "{text}");
    fs::write(&path, "x".repeat(2 * LIMIT)).unwrap();
    let text = fatal_text(rows(vec![path.clone()], false).open(0, None));
    assert!(text.contains("no header row within 21 bytes"), "{text}");
    fs::write(&path, "a;").unwrap();
    let Err(SourceError::Retry(text)) = rows(vec![path], true).open(0, None) else { panic!("it may still come") };
    assert!(text.contains("no whole header row yet"), "{text}");
}
