//! What is said of files that are no table, and that the table before stays.

use arrow_schema::{DataType, Field, Schema};

use super::*;

struct Room {
    folder: tempfile::TempDir,
    file: TableFile,
    slot: Arc<TableSlot>,
}

fn room(change: impl FnOnce(&mut TableFileSpec)) -> Room {
    let folder = tempfile::tempdir().unwrap();
    let fields = vec![Field::new("code", DataType::Utf8, true), Field::new("rate", DataType::Decimal128(8, 4), false)];
    let mut spec = TableFileSpec {
        step: "priced".into(),
        path: folder.path().join("rates.csv"),
        format: TableFormat::Csv,
        shape: TableShape { schema: Arc::new(Schema::new(fields)), key: vec![0], several: false },
        memory_bytes: 1 << 20,
        max_loss: 0.5,
    };
    change(&mut spec);
    let slot = Arc::new(TableSlot::default());
    Room { folder, file: TableFile::new(spec, Arc::clone(&slot)), slot }
}

impl Room {
    fn write(&self, text: &str) {
        std::fs::write(&self.file.spec.path, text).unwrap();
    }

    /// The refusal without the folder's name.
    fn refused(&self) -> (String, String) {
        let Refused { message, next, .. } = self.file.load().unwrap_err();
        (message.replace(&format!("{}/", self.folder.path().display()), ""), next)
    }

    fn rows(&self) -> usize {
        self.slot.get().map_or(0, |table| table.rows())
    }
}

#[test]
fn a_file_that_is_no_table_says_why_where_and_what_to_do() {
    let room = room(|_| ());
    let (message, next) = room.refused();
    assert_eq!(message, "rates.csv: No such file or directory (os error 2)");
    assert_eq!(next, "put it there, readable for this user, or correct `path`");
    for (text, message, next) in [
        (
            "code,rate\nEUR,1\nUSD,x\n",
            "rates.csv: line 3: field `rate`: expected decimal(8, 4), found `x`",
            "correct the line, or `columns`",
        ),
        (
            "code,rate\nEUR,1\nUSD,2\n\nEUR,3\n",
            "rates.csv: lines 2 and 5 have the same key",
            "leave one of them out, or write `matches: all`: each gives a row then",
        ),
    ] {
        room.write(text);
        assert_eq!(room.refused(), (message.to_owned(), next.to_owned()));
    }
    assert!(!room.file.is_loaded() && room.file.taken().is_none());
    room.write("code,rate\n,1\n,2\nEUR,3\n");
    assert_eq!(room.file.load().unwrap().rows, 3, "rows without a key are no duplicates");
}

#[test]
fn a_file_beyond_the_limits_is_refused() {
    let tiny = room(|spec| spec.memory_bytes = 20);
    tiny.write("code,rate\nEUR,1.08\n");
    let (message, next) = tiny.refused();
    assert!(message.starts_with("rates.csv: the table takes ") && message.ends_with(" the limit is 20"), "{message}");
    assert_eq!(next, "make it smaller, or raise `memory` of the look-up");
    tiny.write("code,rate\nEUR,1.0800\n");
    assert_eq!(tiny.refused().0, "rates.csv: 21 bytes, the limit is 20");
    let several = room(|spec| spec.shape.several = true);
    several.write(&format!("code,rate\n{}", "EUR,1\n".repeat(MAX_ROWS_PER_KEY + 1)));
    assert_eq!(several.refused().0, "rates.csv: line 2: more than 100 rows from here on have this key");
}

#[test]
fn what_is_refused_later_leaves_the_table_of_before() {
    let room = room(|_| ());
    room.write("code,rate\nA,1\nB,2\nC,3\nD,4\n");
    room.file.load().unwrap();
    let taken = room.file.taken();
    room.write("code,rate\nA,1\n");
    let (message, next) = room.refused();
    assert_eq!(message, "rates.csv: 1 rows, where the table has 4: more than 50 % are gone");
    assert_eq!(next, "make it whole again, or restart to take it as it is");
    for text in ["", "code,rate\n", "code,rate\nA,one\n"] {
        room.write(text);
        room.file.take().unwrap_err();
    }
    assert_eq!((room.rows(), room.file.taken()), (4, taken));
    room.write("code,rate\nA,1\nB,2\n");
    assert_eq!(room.file.take().unwrap().rows, 2);
    assert_eq!((room.rows(), room.file.taken()), (2, room.file.stamp()));
}

#[test]
fn with_a_whole_loss_allowed_an_empty_table_is_one() {
    let room = room(|spec| spec.max_loss = 1.0);
    room.write("code,rate\nA,1\n");
    room.file.load().unwrap();
    room.write("code,rate\n");
    assert_eq!(room.file.take().unwrap().rows, 0);
}
