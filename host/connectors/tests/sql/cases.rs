//! What every SQL sink must do, whatever the database.

use std::sync::Arc;

use arrow_array::*;
use arrow_schema::{Field, Schema};
use weir_connectors::SinkIdentity;
use weir_connectors::sql::{CreateTable, SqlTarget, WriteMode};
use weir_stream::{ChangeKind, Changes, Held, RowBlock, SinkData, SinkEpoch, SinkError, SinkPosition};

use crate::rows::{entry, insert, of_blocks, schema};
use crate::targets::{Target, append, upsert};

fn fatal_text<T>(result: Result<T, SinkError>) -> String {
    match result {
        Err(SinkError::Fatal { message, next }) => format!("{message}; next: {next}"),
        Err(other) => panic!("expected a fatal error, got {other:?}"),
        Ok(_) => panic!("expected a fatal error"),
    }
}

pub fn a_crash_between_any_two_calls_loses_and_doubles_nothing(target: &dyn Target) {
    let sales = append("sales", schema());
    assert_eq!(target.sink(&sales).unwrap().recover(0).unwrap(), SinkPosition::Absent);
    // Crashed after the first contact: the target knows the sink, and holds nothing.
    assert_eq!(target.sink(&sales).unwrap().recover(0).unwrap(), SinkPosition::Epoch(0));
    let entries =
        [entry(2, 0, &[insert(1, "a", 100)]), entry(3, 2, &[insert(2, "b", 200)]), entry(7, 3, &[insert(3, "c", 300)])];
    for (number, next) in entries.iter().enumerate() {
        let mut sink = target.sink(&sales).unwrap();
        assert_eq!(sink.recover(0).unwrap(), SinkPosition::Epoch(next.previous));
        assert_eq!(sink.expose(next).unwrap().exposed, Some(next.epoch));
        // Crashed before the store heard of it: the target says that it is there, and refuses it twice.
        drop(sink);
        let mut sink = target.sink(&sales).unwrap();
        assert_eq!(sink.recover(next.previous).unwrap(), SinkPosition::Epoch(next.epoch));
        assert!(fatal_text(sink.expose(next)).contains(&format!("holds epoch {}", next.epoch)));
        assert_eq!(target.lines("sales", "id").len(), number + 1);
    }
    assert_eq!(target.lines("sales", "id"), ["1|a|1.00", "2|b|2.00", "3|c|3.00"]);
}

pub fn what_the_target_holds_is_seen_without_taking_it_over(target: &dyn Target) {
    let sales = append("sales", schema());
    let held = || target.sink(&sales).unwrap().held().unwrap();
    assert_eq!(held(), None);
    let mut sink = target.open(&sales);
    assert_eq!(held(), Some(Held { epoch: 0, cut: None, rejects: 0 }));
    for (epoch, previous) in [(2, 0), (5, 2)] {
        sink.expose(&entry(epoch, previous, &[insert(epoch as i64, "a", 100)])).unwrap();
        assert_eq!(held(), Some(Held { epoch, cut: Some(format!("cut {epoch}").into()), rejects: 0 }));
    }
    let cut = Some("cut 5".into());
    assert_eq!(target.sink(&sales).unwrap().recover(5).unwrap(), SinkPosition::Epoch(5));
    assert_eq!(held(), Some(Held { epoch: 5, cut, rejects: 0 }), "the next owner leaves it");
}

pub fn the_older_of_two_instances_is_fenced_and_changes_nothing(target: &dyn Target) {
    let sales = upsert("sales");
    let (mut old, mut new) = (target.open(&sales), target.open(&sales));
    assert!(matches!(old.expose(&entry(1, 0, &[insert(1, "old", 1)])), Err(SinkError::Fenced(_))));
    assert!(matches!(old.recover(0), Err(SinkError::Fenced(_))), "a fenced instance must not take the target back");
    new.expose(&entry(1, 0, &[insert(1, "new", 1)])).unwrap();
    assert_eq!(target.lines("sales", "id"), ["1|new|0.01"]);
    // The same instance may recover as often as it needs to.
    assert_eq!(new.recover(1).unwrap(), SinkPosition::Epoch(1));
    new.expose(&entry(2, 1, &[insert(2, "more", 1)])).unwrap();
}

pub fn the_last_operation_on_a_key_counts(target: &dyn Target) {
    use ChangeKind::{Delete, Insert, UpdateAfter, UpdateBefore};
    let mut sink = target.open(&upsert("sales"));
    let first = [
        (Insert, 1, "a", 1),
        (UpdateAfter, 2, "b", 2),
        (Insert, 3, "c", 3),
        (UpdateAfter, 1, "A", 10),
        (Delete, 3, "", 0),
    ];
    sink.expose(&entry(1, 0, &first)).unwrap();
    assert_eq!(target.lines("sales", "id"), ["1|A|0.10", "2|b|0.02"]);
    // A retraction moves a row to another key; another one is put back with the same key.
    let second = [
        (UpdateBefore, 1, "A", 10),
        (UpdateAfter, 4, "A", 10),
        (UpdateBefore, 2, "b", 2),
        (UpdateAfter, 2, "B", 20),
        (Delete, 9, "", 0),
    ];
    sink.expose(&entry(2, 1, &second)).unwrap();
    assert_eq!(target.lines("sales", "id"), ["2|B|0.20", "4|A|0.10"]);
}

pub fn an_append_table_takes_every_row_and_refuses_updates(target: &dyn Target) {
    let mut sink = target.open(&append("sales", schema()));
    sink.expose(&entry(1, 0, &[insert(1, "a", 1), insert(1, "a", 1)])).unwrap();
    assert_eq!(target.lines("sales", "id"), ["1|a|0.01", "1|a|0.01"]);
    let text = fatal_text(sink.expose(&entry(2, 1, &[(ChangeKind::Delete, 1, "a", 1)])));
    assert!(text.contains("appended to, but an update or a delete came") && text.contains("write `upsert:"), "{text}");
    assert_eq!(target.lines("sales", "id").len(), 2);
}

pub fn every_type_is_stored_exactly(target: &dyn Target) {
    let decimal = |value, precision, scale| {
        Decimal128Array::from(vec![Some(value), None]).with_precision_and_scale(precision, scale).unwrap()
    };
    let columns: Vec<(&str, ArrayRef, [&str; 2])> = vec![
        ("c_bool", Arc::new(BooleanArray::from(vec![Some(true), None])), ["true", "1"]),
        ("c_i8", Arc::new(Int8Array::from(vec![Some(i8::MIN), None])), ["-128"; 2]),
        ("c_i16", Arc::new(Int16Array::from(vec![Some(i16::MIN), None])), ["-32768"; 2]),
        ("c_i32", Arc::new(Int32Array::from(vec![Some(i32::MIN), None])), ["-2147483648"; 2]),
        ("c_i64", Arc::new(Int64Array::from(vec![Some(i64::MIN), None])), ["-9223372036854775808"; 2]),
        ("c_u8", Arc::new(UInt8Array::from(vec![Some(u8::MAX), None])), ["255"; 2]),
        ("c_u16", Arc::new(UInt16Array::from(vec![Some(u16::MAX), None])), ["65535"; 2]),
        ("c_u32", Arc::new(UInt32Array::from(vec![Some(u32::MAX), None])), ["4294967295"; 2]),
        ("c_u64", Arc::new(UInt64Array::from(vec![Some(i64::MAX as u64), None])), ["9223372036854775807"; 2]),
        ("c_f32", Arc::new(Float32Array::from(vec![Some(0.5), None])), ["0.5"; 2]),
        ("c_f64", Arc::new(Float64Array::from(vec![Some(-1.25e300), None])), ["-1.25e+300"; 2]),
        ("c_text", Arc::new(StringArray::from(vec![Some("a'\"\\\u{1F30A}"), None])), ["a'\"\\\u{1F30A}"; 2]),
        ("c_view", Arc::new(StringViewArray::from(vec![Some("view"), None])), ["view"; 2]),
        ("c_large", Arc::new(LargeStringArray::from(vec![Some("large"), None])), ["large"; 2]),
        ("c_bytes", Arc::new(BinaryArray::from(vec![Some(b"\x00\xff".as_slice()), None])), ["\\x00ff", "00FF"]),
        ("c_cents", Arc::new(decimal(-5, 12, 2)), ["-0.05"; 2]),
        ("c_wide", Arc::new(decimal(10_i128.pow(38) - 1, 38, 19)), ["9999999999999999999.9999999999999999999"; 2]),
        ("c_small", Arc::new(decimal(1, 38, 38)), ["0.00000000000000000000000000000000000001"; 2]),
        ("c_big", Arc::new(decimal(123_456_789, 38, 0)), ["123456789"; 2]),
        ("c_date", Arc::new(Date32Array::from(vec![Some(-1), None])), ["1969-12-31"; 2]),
        (
            "c_sec",
            Arc::new(TimestampSecondArray::from(vec![Some(1), None]).with_timezone("UTC")),
            ["1970-01-01 00:00:01+00", "1970-01-01T00:00:01Z"],
        ),
        (
            "c_ms",
            Arc::new(TimestampMillisecondArray::from(vec![Some(-1), None]).with_timezone("UTC")),
            ["1969-12-31 23:59:59.999+00", "1969-12-31T23:59:59.999Z"],
        ),
        (
            "c_us",
            Arc::new(TimestampMicrosecondArray::from(vec![Some(1_772_359_200_000_001), None])),
            ["2026-03-01 10:00:00.000001", "2026-03-01T10:00:00.000001"],
        ),
    ];
    let fields = columns.iter().map(|(name, column, _)| Field::new(*name, column.data_type().clone(), true));
    let schema = Arc::new(Schema::new(fields.collect::<Vec<_>>()));
    let arrays = columns.iter().map(|(_, column, _)| Arc::clone(column)).collect();
    let rows = RecordBatch::try_new(Arc::clone(&schema), arrays).unwrap();
    if target.is_postgres() {
        target.run("ALTER ROLE CURRENT_USER SET timezone = 'UTC'");
    }
    let mut sink = target.open(&append("types", schema));
    let outcome = sink.expose(&of_blocks(1, 0, vec![RowBlock { rows, changes: Changes::Inserts }])).unwrap();
    assert_eq!(outcome.rejects, []);
    let found = target.read("types", &["c_bool"]).unwrap();
    let full = found.rows.iter().find(|row| row[0].is_some()).unwrap();
    let none = found.rows.iter().find(|row| row[0].is_none()).unwrap();
    assert!(none.iter().all(Option::is_none), "{none:?}");
    for ((name, _, expected), value) in columns.iter().zip(full) {
        assert_eq!(value.as_deref(), Some(expected[usize::from(!target.is_postgres())]), "{name}");
    }
}

fn constrained(target: &dyn Target) {
    let (text, price) = if target.is_postgres() { ("text", "numeric(12, 2)") } else { ("TEXT", "TEXT") };
    target.run(&format!(
        "CREATE TABLE sales (id bigint PRIMARY KEY, name {text} NOT NULL UNIQUE CHECK (length(name) < 9), price {price})"
    ));
}

pub fn rows_that_break_a_constraint_are_rejected_and_their_neighbours_stay(target: &dyn Target) {
    constrained(target);
    let mut sink = target.open(&upsert("sales"));
    let names: Vec<String> =
        (0..1_000).map(|id| if id % 250 == 100 { format!("too-long-{id}") } else { format!("n{id}") }).collect();
    let changes: Vec<_> = names.iter().enumerate().map(|(id, name)| insert(id as i64, name, 100)).collect();
    let outcome = sink.expose(&entry(1, 0, &changes)).unwrap();
    assert_eq!(outcome.exposed, Some(1));
    let rejects: Vec<_> =
        outcome.rejects.iter().map(|reject| (reject.epoch, reject.row, reject.code.as_str())).collect();
    assert_eq!(rejects, [100, 350, 600, 850].map(|row| (1, row, "sql-constraint")));
    let payload: serde_json::Value = serde_json::from_slice(&outcome.rejects[0].payload).unwrap();
    assert_eq!(payload, serde_json::json!({ "id": 100, "name": "too-long-100", "price": "1.00" }));
    assert!(outcome.rejects[0].reason.to_lowercase().contains("check"), "{}", outcome.rejects[0].reason);
    assert_eq!(target.lines("sales", "id").len(), 996);
    // A name that another row has; and in the same epoch one that a deleted row gives free.
    let delete = (ChangeKind::Delete, 2, "", 0);
    let outcome = sink.expose(&entry(2, 1, &[insert(5_000, "n1", 1), delete, insert(5_001, "n2", 1)])).unwrap();
    assert_eq!(outcome.rejects.iter().map(|reject| reject.row).collect::<Vec<_>>(), [0]);
    assert_eq!(target.lines("sales", "id").len(), 996);
}

pub fn a_refused_operation_leaves_its_key_to_the_one_before(target: &dyn Target) {
    constrained(target);
    let mut sink = target.open(&upsert("sales"));
    let changes =
        [insert(1, "good", 1), insert(1, "much-too-long", 2), insert(1, "far-much-too-long", 3), insert(2, "other", 4)];
    let outcome = sink.expose(&entry(1, 0, &changes)).unwrap();
    assert_eq!(outcome.rejects.iter().map(|reject| reject.row).collect::<Vec<_>>(), [1, 2]);
    assert_eq!(target.lines("sales", "id"), ["1|good|0.01", "2|other|0.04"]);
}

pub fn rejects_are_remembered_until_they_are_forgotten(target: &dyn Target) {
    constrained(target);
    let mut sink = target.open(&upsert("sales"));
    let first = sink.expose(&entry(1, 0, &[insert(1, "much-too-long", 1)])).unwrap().rejects;
    let second = sink.expose(&entry(2, 1, &[insert(2, "ok", 1), insert(3, "too-long-as-well", 1)])).unwrap().rejects;
    let mut next = target.open(&upsert("sales"));
    assert_eq!(next.remembered_rejects().unwrap(), [first, second.clone()].concat());
    next.forget_rejects(1).unwrap();
    assert_eq!(next.remembered_rejects().unwrap(), second);
    let mut other = target.open(&SqlTarget { identity: SinkIdentity::new("shop", "other"), ..upsert("sales") });
    assert_eq!(other.remembered_rejects().unwrap(), []);
    other.forget_rejects(9).unwrap();
    assert_eq!(next.remembered_rejects().unwrap(), second);
    next.forget_rejects(2).unwrap();
    assert_eq!(target.lines("weir_rejected", "epoch"), [""; 0]);
}

pub fn a_table_of_which_every_row_is_refused_stops_the_sink(target: &dyn Target) {
    target.run("CREATE TABLE sales (id bigint PRIMARY KEY, name text, price text CHECK (id < 0))");
    let schema = Arc::new(Schema::new(schema().fields()[..2].to_vec()));
    let mut sink = target.open(&SqlTarget { schema: Arc::clone(&schema), ..upsert("sales") });
    let ids: ArrayRef = Arc::new(Int64Array::from_iter_values(0..10_100));
    let names: ArrayRef = Arc::new(StringArray::from_iter_values((0..10_100).map(|id| id.to_string())));
    let rows = RecordBatch::try_new(schema, vec![ids, names]).unwrap();
    let text = fatal_text(sink.expose(&of_blocks(1, 0, vec![RowBlock { rows, changes: Changes::Inserts }])));
    assert!(
        text.contains("refused more than 10000 rows of one epoch")
            && text.contains("nothing of this epoch was written"),
        "{text}"
    );
    assert_eq!(target.open(&upsert("sales_too")).recover(0).unwrap(), SinkPosition::Epoch(0));
}

pub fn hostile_names_never_reach_the_database(target: &dyn Target) {
    let long = "x".repeat(64);
    for name in [
        "a;DROP TABLE b",
        "a\"b",
        "",
        "1a",
        "a b",
        "a--",
        "\u{0}",
        "\u{e4}",
        "a.b.c",
        &long,
        "weir_progress",
        "WEIR_REJECTED",
        "sqlite_x",
    ] {
        let text = fatal_text(target.sink(&upsert(name)));
        assert!(
            text.contains("next: use letters") || text.contains("next: give the sink another `table`"),
            "{name:?}: {text}"
        );
        let fields = vec![
            Field::new("id", arrow_schema::DataType::Int64, false),
            Field::new(name, arrow_schema::DataType::Utf8, true),
        ];
        let hostile = SqlTarget { schema: Arc::new(Schema::new(fields)), ..upsert("sales") };
        let allowed = name.starts_with("weir") || name.starts_with("WEIR") || name.starts_with("sqlite");
        assert_eq!(target.sink(&hostile).is_ok(), allowed, "{name:?}");
    }
    let twice = Schema::new(vec![schema().field(0).clone(), schema().field(0).clone().with_name("ID")]);
    assert!(
        fatal_text(target.sink(&SqlTarget { schema: Arc::new(twice), ..upsert("sales") })).contains("is there twice")
    );
    let keyless = SqlTarget { mode: WriteMode::Upsert { key: vec!["nothing".into()] }, ..upsert("sales") };
    assert!(fatal_text(target.sink(&keyless)).contains("name one of id, name, price"));
    let list = Field::new_list("list", Field::new("item", arrow_schema::DataType::Int64, true), true);
    let unsupported = SqlTarget { schema: Arc::new(Schema::new(vec![list])), ..append("sales", schema()) };
    assert!(fatal_text(target.sink(&unsupported)).contains("which this database cannot hold; next: cast it"));
    // Words of SQL are fine as names.
    let fields = vec![
        Field::new("select", arrow_schema::DataType::Int64, false),
        Field::new("order", arrow_schema::DataType::Utf8, true),
    ];
    let words = SqlTarget {
        schema: Arc::new(Schema::new(fields)),
        mode: WriteMode::Upsert { key: vec!["select".into()] },
        ..upsert("table")
    };
    target.open(&words);
    assert_eq!(target.read("table", &["select"]).unwrap().columns, ["select", "order"]);
}

pub fn without_ddl_what_is_missing_is_named(target: &dyn Target) {
    constrained(target);
    let never = SqlTarget { create: CreateTable::Never, ..upsert("sales") };
    for table in ["weir_progress", "weir_rejected"] {
        let text = fatal_text(target.sink(&never).unwrap().recover(0));
        let statement = text
            .split("create it: ")
            .nth(1)
            .and_then(|rest| rest.split(';').next())
            .unwrap_or_else(|| panic!("{text}"));
        assert!(statement.starts_with(&format!("CREATE TABLE IF NOT EXISTS {table}")), "{text}");
        target.run(statement);
    }
    target.open(&never).expose(&entry(1, 0, &[insert(1, "a", 1)])).unwrap();
    assert!(
        fatal_text(target.sink(&SqlTarget { table: "missing".into(), ..never }).unwrap().recover(0))
            .contains("no table \"missing\"")
    );
}

pub fn a_table_of_other_columns_is_refused(target: &dyn Target) {
    target.run("CREATE TABLE sales (id bigint PRIMARY KEY, label text)");
    let text = fatal_text(target.sink(&upsert("sales")).unwrap().recover(0));
    assert!(text.contains("name") && text.contains("next: let the table's columns"), "{text}");
    target.run("CREATE TABLE keyless (id bigint, name text, price text)");
    let keyless = SqlTarget { schema: Arc::new(Schema::new(schema().fields()[..2].to_vec())), ..upsert("keyless") };
    let text = fatal_text(target.sink(&keyless).unwrap().recover(0));
    assert!(text.contains("ON CONFLICT") && text.contains("unique"), "{text}");
}

pub fn a_target_that_was_lost_is_left_alone(target: &dyn Target) {
    assert_eq!(target.sink(&upsert("sales")).unwrap().recover(5).unwrap(), SinkPosition::Absent);
    assert!(target.read("weir_progress", &[]).is_err(), "nothing may be made in a target that lost its epochs");
    target.open(&SqlTarget { identity: SinkIdentity::new("shop", "other"), ..upsert("sales") });
    let mut sink = target.sink(&upsert("sales")).unwrap();
    assert_eq!(sink.recover(5).unwrap(), SinkPosition::Absent);
    assert!(matches!(sink.expose(&entry(6, 5, &[])), Err(SinkError::Retry(_))));
    assert_eq!(target.lines("weir_progress", "sink").len(), 1);
}

pub fn large_epochs_take_many_statements(target: &dyn Target) {
    let mut sink = target.open(&upsert("sales"));
    let names: Vec<String> = (0..25_000).map(|id| format!("name {id}")).collect();
    let changes: Vec<_> =
        names.iter().enumerate().map(|(id, name)| insert(id as i64 % 20_011, name, id as i128)).collect();
    let blocks = changes.chunks(1_024).map(crate::rows::block).collect();
    sink.expose(&of_blocks(1, 0, blocks)).unwrap();
    let rows = target.lines("sales", "id");
    assert_eq!(
        (rows.len(), rows[0].as_str(), rows[20_010].as_str()),
        (20_011, "0|name 20011|200.11", "20010|name 20010|200.10")
    );
    let deletes: Vec<_> = (0..20_000).map(|id| (ChangeKind::Delete, id, "", 0)).collect();
    sink.expose(&entry(2, 1, &deletes)).unwrap();
    assert_eq!(target.lines("sales", "id").len(), 11);
    let empty = SinkEpoch { epoch: 3, previous: 2, cut: None, data: Arc::new(SinkData::Rows(Vec::new())) };
    assert_eq!(sink.expose(&empty).unwrap().exposed, Some(3));
}
