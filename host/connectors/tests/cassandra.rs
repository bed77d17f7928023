//! What look-ups ask of Cassandra, on a real node that this test starts.
//!
//! One node serves all tests: it takes seconds to start. Each test has a keyspace of its own; the one that kills a node has
//! its own node.

use std::sync::{Arc, LazyLock, Mutex, PoisonError};

use arrow_array::{
    ArrayRef, BooleanArray, Date32Array, Int64Array, StringArray, TimestampMicrosecondArray, UInt8Array,
};
use arrow_schema::{DataType, Field, FieldRef, TimeUnit};
use serde_json::{Value, json};
use weir_connectors::cassandra::{CassandraCluster, CassandraReader};
use weir_connectors::sql::{AnsweredRow, Question, TableReader};
use weir_services::Cassandra;
use weir_stream::SourceError;

/// Statics are not dropped: the node dies with this process.
static NODE: LazyLock<Mutex<Cassandra>> = LazyLock::new(|| Mutex::new(Cassandra::start().unwrap()));

/// A keyspace in the node that the tests share.
struct Space {
    keyspace: &'static str,
    address: String,
}

impl Space {
    fn new(keyspace: &'static str) -> Self {
        let node = NODE.lock().unwrap_or_else(PoisonError::into_inner);
        node.keyspace(keyspace).unwrap();
        Self { keyspace, address: node.address() }
    }

    fn table(&self, table: &str, columns: &str, rows: &[&str]) {
        let table = format!("{}.{table}", self.keyspace);
        let mut statements = vec![format!("CREATE TABLE {table} ({columns})")];
        statements.extend(rows.iter().map(|row| format!("INSERT INTO {table} {row}")));
        let statements: Vec<&str> = statements.iter().map(String::as_str).collect();
        NODE.lock().unwrap_or_else(PoisonError::into_inner).cql(&statements).unwrap();
    }

    fn reader(&self, question: &Question, key: &[FieldRef]) -> CassandraReader {
        reader(self.address.clone(), self.keyspace, question, key)
    }
}

fn reader(address: String, keyspace: &str, question: &Question, key: &[FieldRef]) -> CassandraReader {
    let cluster = CassandraCluster { hosts: vec![address], user: None, password: None };
    CassandraReader::new(question, key, cluster, keyspace).unwrap()
}

fn field(name: &str, data_type: DataType) -> FieldRef {
    Arc::new(Field::new(name, data_type, true))
}

fn question(table: &str, key: &[FieldRef], values: &[FieldRef], rows_per_key: usize) -> Question {
    let key = key.iter().map(|field| field.name().clone()).collect();
    Question { table: table.into(), key, values: values.to_vec(), rows_per_key }
}

/// Number of the key and the row, ordered.
fn answered(rows: Vec<AnsweredRow>) -> Vec<(usize, Value)> {
    let mut rows: Vec<_> = rows.into_iter().map(|row| (row.key, serde_json::from_str(&row.row).unwrap())).collect();
    rows.sort_by_key(|(key, row): &(usize, Value)| (*key, row.to_string()));
    rows
}

fn refused(reader: &mut CassandraReader, keys: &[ArrayRef]) -> String {
    match reader.ask(keys).unwrap_err() {
        SourceError::Fatal { message, next } => format!("{message}; {next}"),
        other => panic!("{other}"),
    }
}

#[test]
fn each_key_is_answered_with_its_own_rows() {
    let space = Space::new("own_rows");
    let rows = [
        "(shop, land, city) VALUES (1, 'DE', 'Bonn')",
        "(shop, land, city) VALUES (1, 'AT', 'Wien')",
        "(shop, land) VALUES (2, 'DE')",
    ];
    space.table("shops", "shop bigint, land text, city text, PRIMARY KEY (shop, land)", &rows);
    let (shop, land) = (field("shop", DataType::Int64), field("land", DataType::Utf8));
    let city = [field("city", DataType::Utf8)];

    let both = [Arc::clone(&shop), land];
    let mut reader = space.reader(&question("shops", &both, &city, 2), &both);
    let keys: Vec<ArrayRef> =
        vec![Arc::new(Int64Array::from(vec![2, 1, 1, 9])), Arc::new(StringArray::from(vec!["DE", "DE", "FR", "DE"]))];
    let found = answered(reader.ask(&keys).unwrap());
    assert_eq!(found, [(0, json!({"city": null})), (1, json!({"city": "Bonn"}))]);

    let mut reader = space.reader(&question("shops", &[Arc::clone(&shop)], &city, 2), &[Arc::clone(&shop)]);
    let keys: Vec<ArrayRef> = vec![Arc::new(Int64Array::from(vec![1]))];
    let found = answered(reader.ask(&keys).unwrap());
    assert_eq!(found, [(0, json!({"city": "Bonn"})), (0, json!({"city": "Wien"}))]);

    let mut reader = space.reader(&question("shops", &[Arc::clone(&shop)], &[], 1), &[shop]);
    let many: Vec<ArrayRef> = vec![Arc::new(Int64Array::from((0..1000).collect::<Vec<i64>>()))];
    let found: Vec<usize> = reader.ask(&many).unwrap().iter().map(|row| row.key).collect();
    assert_eq!(
        {
            let mut found = found;
            found.sort_unstable();
            found
        },
        [1, 2],
        "more keys than are asked at once"
    );
}

#[test]
fn every_type_is_read_exactly_and_asked_with() {
    let space = Space::new("every_type");
    let columns = "id uuid PRIMARY KEY, ok boolean, tiny tinyint, big bigint, huge varint, price decimal, ratio double, \
                   part float, name ascii, bytes blob, day date, at timestamp, address inet";
    let row = "(id, ok, tiny, big, huge, price, ratio, part, name, bytes, day, at, address) VALUES \
               (123e4567-e89b-12d3-a456-426614174000, true, -128, 9223372036854775807, 170141183460469231731687303715884105727, \
               -12.340, 0.1, 0.5, 'plain', 0xff00, '1969-12-31', '2026-03-01T10:00:00.123Z', '127.0.0.1')";
    space.table("all_types", columns, &[row]);
    let utc = || Some("UTC".into());
    let values = [
        field("ok", DataType::Boolean),
        field("tiny", DataType::Int8),
        field("big", DataType::UInt64),
        field("huge", DataType::Decimal128(38, 0)),
        field("price", DataType::Decimal128(10, 3)),
        field("ratio", DataType::Float64),
        field("part", DataType::Float32),
        field("name", DataType::Utf8),
        field("bytes", DataType::Binary),
        field("day", DataType::Date32),
        field("at", DataType::Timestamp(TimeUnit::Millisecond, utc())),
        field("address", DataType::Utf8),
    ];
    let key = [field("id", DataType::Utf8)];
    let mut reader = space.reader(&question("all_types", &key, &values, 2), &key);
    let keys: Vec<ArrayRef> =
        vec![Arc::new(StringArray::from(vec!["123e4567-e89b-12d3-a456-426614174000", "no uuid at all"]))];
    let expected = json!({
        "ok": true, "tiny": -128, "big": 9_223_372_036_854_775_807_i64, "huge": "a number of more than 38 digits",
        "price": "-12.340", "ratio": 0.1, "part": 0.5, "name": "plain", "bytes": "/wA=", "day": "1969-12-31",
        "at": "2026-03-01T10:00:00.123Z", "address": "127.0.0.1",
    });
    assert_eq!(answered(reader.ask(&keys).unwrap()), [(0, expected)]);

    let columns = "tiny tinyint, ok boolean, day date, at timestamp, n int, PRIMARY KEY ((tiny, ok, day, at))";
    space.table(
        "keys",
        columns,
        &["(tiny, ok, day, at, n) VALUES (7, true, '2026-03-01', '2026-03-01T10:00:00.123Z', 1)"],
    );
    let key = [
        field("tiny", DataType::UInt8),
        field("ok", DataType::Boolean),
        field("day", DataType::Date32),
        field("at", DataType::Timestamp(TimeUnit::Microsecond, utc())),
    ];
    let mut reader = space.reader(&question("keys", &key, &[field("n", DataType::Int32)], 2), &key);
    let at = 1_772_359_200_123_000;
    let keys: Vec<ArrayRef> = vec![
        Arc::new(UInt8Array::from(vec![7, 7, 200, 7])),
        Arc::new(BooleanArray::from(vec![true, false, true, true])),
        Arc::new(Date32Array::from(vec![20_513; 4])),
        // The last is between two of Cassandra's moments.
        Arc::new(TimestampMicrosecondArray::from(vec![at, at, at, at + 1]).with_timezone("UTC")),
    ];
    assert_eq!(answered(reader.ask(&keys).unwrap()), [(0, json!({"n": 1}))]);
}

#[test]
fn what_is_not_there_or_of_another_type_is_named() {
    let space = Space::new("not_there");
    space.table("t", "a bigint, b text, c int, m map<text, text>, PRIMARY KEY ((a, b))", &[]);
    let key = [field("a", DataType::Int64), field("b", DataType::Utf8)];
    let keys: Vec<ArrayRef> = vec![Arc::new(Int64Array::from(vec![1])), Arc::new(StringArray::from(vec!["x"]))];
    let said = |table: &str, key: &[FieldRef], values: &[FieldRef], keys: &[ArrayRef]| {
        let mut reader = space.reader(&question(table, key, values, 1), key);
        refused(&mut reader, keys).replace(&space.address, "NODE")
    };
    let number = [field("c", DataType::Int32)];
    assert!(said("u", &key, &number, &keys).starts_with("Cassandra NODE: table u does not exist"));
    assert!(
        said("t", &key, &[field("d", DataType::Int32)], &keys).starts_with("Cassandra NODE: Undefined column name d")
    );
    let part = said("t", &key[..1], &number, &keys[..1]);
    assert!(part.contains("filtering") && part.contains("its whole partition key be looked up by"), "{part}");
    assert_eq!(
        said("t", &key, &[field("c", DataType::Utf8)], &keys),
        "Cassandra NODE: column `c` of not_there.t is int, which cannot be read as Utf8; declare the column as what it is, or \
         leave it out of `columns`"
    );
    assert!(
        said("t", &key, &[field("m", DataType::Utf8)], &keys).contains("column `m` of not_there.t is a collection")
    );
    let texts = [field("a", DataType::Utf8), field("b", DataType::Utf8)];
    let text: ArrayRef = Arc::new(StringArray::from(vec!["1"]));
    let said = said("t", &texts, &number, &[Arc::clone(&text), text]);
    assert!(said.contains("column `a` of not_there.t is bigint, which cannot be looked up by as Utf8"), "{said}");
}

#[test]
fn names_that_are_no_names_never_reach_the_cluster() {
    let cluster = CassandraCluster { hosts: vec!["127.0.0.1:1".into()], user: None, password: None };
    let key = [field("a", DataType::Int64)];
    let refused = |table: &str, keyspace: &str| {
        let made = CassandraReader::new(&question(table, &key, &[], 1), &key, cluster.clone(), keyspace);
        made.err().unwrap().to_string()
    };
    assert!(refused("t; DROP TABLE t", "k").contains("cannot be a table"));
    assert!(refused("t", "k.t").contains("cannot be a keyspace"));
}

#[test]
fn a_node_that_is_away_is_asked_again_when_it_is_back() {
    let mut node = Cassandra::start().unwrap();
    node.keyspace("away").unwrap();
    node.cql(&["CREATE TABLE away.t (a bigint PRIMARY KEY, b text)", "INSERT INTO away.t (a, b) VALUES (1, 'kept')"])
        .unwrap();
    let key = [field("a", DataType::Int64)];
    let keys: Vec<ArrayRef> = vec![Arc::new(Int64Array::from(vec![1]))];
    let mut reader = reader(node.address(), "away", &question("t", &key, &[field("b", DataType::Utf8)], 1), &key);
    assert_eq!(answered(reader.ask(&keys).unwrap()), [(0, json!({"b": "kept"}))]);
    node.kill();
    for _ in 0..2 {
        let error = reader.ask(&keys).unwrap_err();
        assert!(matches!(error, SourceError::Retry(_)), "{error}");
    }
    node.resume().unwrap();
    assert_eq!(answered(reader.ask(&keys).unwrap()), [(0, json!({"b": "kept"}))]);
}
