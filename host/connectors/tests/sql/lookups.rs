//! What look-ups ask, of both databases alike: whose row is whose, how values are written, what is an error.

use std::sync::Arc;

use arrow_array::{ArrayRef, Int64Array, StringArray};
use arrow_schema::{DataType, Field};
use weir_connectors::sql::{PostgresReader, Question, SqliteReader, TableReader};
use weir_stream::SourceError;

use crate::postgres_only::Line;
use crate::targets::{PostgresSchema, SqliteFile, Target};

fn question(values: &[(&str, DataType)], rows_per_key: usize) -> Question {
    let field = |(name, data_type): &(&str, DataType)| Arc::new(Field::new(*name, data_type.clone(), true));
    Question {
        table: "shops".into(),
        key: vec!["number".into(), "land".into()],
        values: values.iter().map(field).collect(),
        rows_per_key,
    }
}

fn names() -> Question {
    question(&[("name", DataType::Utf8)], 2)
}

fn keys(pairs: &[(i64, &str)]) -> Vec<ArrayRef> {
    let numbers = Int64Array::from_iter_values(pairs.iter().map(|pair| pair.0));
    vec![Arc::new(numbers), Arc::new(StringArray::from_iter_values(pairs.iter().map(|pair| pair.1)))]
}

/// Each answer as `key row`, sorted.
fn answers(reader: &mut dyn TableReader, pairs: &[(i64, &str)]) -> Vec<String> {
    let row = |text: &str| serde_json::from_str::<serde_json::Value>(text).unwrap();
    let found = reader.ask(&keys(pairs)).unwrap();
    let mut answers: Vec<String> =
        found.iter().map(|answered| format!("{} {}", answered.key, row(&answered.row))).collect();
    answers.sort();
    answers
}

fn shops(target: &dyn Target) {
    target.run("CREATE TABLE shops (number bigint, land text, name text, open boolean, since date)");
    target.run(
        "INSERT INTO shops VALUES (1, 'DE', 'Bonn', true, '2020-02-29'), (1, 'AT', 'Wien', false, NULL), \
         (2, 'DE', NULL, NULL, NULL), (3, 'DE', 'a', NULL, NULL), (3, 'DE', 'a', NULL, NULL), (3, 'DE', 'a', NULL, NULL)",
    );
}

pub fn each_key_is_answered_with_its_own_rows(target: &dyn Target) {
    shops(target);
    let columns = [("name", DataType::Utf8), ("open", DataType::Boolean), ("since", DataType::Date32)];
    let mut reader = target.reader(&question(&columns, 2)).unwrap();
    let asked = [(3, "DE"), (1, "DE"), (9, "DE"), (2, "DE"), (1, "AT")];
    let expected = [
        r#"0 {"name":"a","open":null,"since":null}"#,
        r#"0 {"name":"a","open":null,"since":null}"#,
        r#"1 {"name":"Bonn","open":true,"since":"2020-02-29"}"#,
        r#"3 {"name":null,"open":null,"since":null}"#,
        r#"4 {"name":"Wien","open":false,"since":null}"#,
    ];
    assert_eq!(answers(reader.as_mut(), &asked), expected, "at most two of a key");
    assert_eq!(answers(reader.as_mut(), &[(1, "DE")]), [expected[2].replace("1 ", "0 ")], "asked again");
}

pub fn of_a_key_without_columns_it_is_answered_how_many_rows_there_are(target: &dyn Target) {
    shops(target);
    let mut reader = target.reader(&question(&[], 2)).unwrap();
    let found = reader.ask(&keys(&[(9, "DE"), (1, "DE"), (3, "DE")])).unwrap();
    let mut of_keys: Vec<usize> = found.iter().map(|answered| answered.key).collect();
    of_keys.sort_unstable();
    assert_eq!(of_keys, [1, 2, 2]);
}

pub fn what_is_not_there_is_named(target: &dyn Target) {
    let fatal = |error: SourceError| match error {
        SourceError::Fatal { message, next } => format!("{message}; {next}"),
        other => panic!("{other:?}"),
    };
    target.run("CREATE TABLE shop (number bigint, land text)");
    let no_table = fatal(target.reader(&names()).unwrap().ask(&keys(&[(1, "DE")])).unwrap_err());
    assert!(no_table.contains("shops") && no_table.ends_with("or choose another `table`"), "{no_table}");
    let no_column = Question { table: "shop".into(), ..names() };
    let no_column = fatal(target.reader(&no_column).unwrap().ask(&keys(&[(1, "DE")])).unwrap_err());
    assert!(no_column.contains("name") && no_column.contains("columns"), "{no_column}");
}

pub fn names_that_are_no_names_never_reach_the_database(target: &dyn Target) {
    let column = question(&[("name\" FROM secrets; --", DataType::Utf8)], 1);
    let table = Question { table: "shops; DROP TABLE shops".into(), ..names() };
    let key = Question { key: vec!["1=1 OR".into()], ..names() };
    for question in [column, table, key] {
        let refused = target.reader(&question).err().expect("it is no name");
        assert!(refused.to_string().contains("in SQL"), "{refused}");
    }
}

#[test]
fn a_question_has_a_limit_of_columns_on_either_side() {
    let values = |count: usize| question(&vec![("c", DataType::Utf8); count], 1).check();
    assert_eq!(values(60), Ok(()));
    assert_eq!(values(61).unwrap_err(), "61 columns are looked up, at most 60 can be");
    let key = |count: usize| Question { key: vec!["k".into(); count], ..names() }.check();
    assert_eq!(key(16), Ok(()));
    assert_eq!(key(17).unwrap_err(), "the key has 17 columns, at most 16 can be asked with");
}

#[test]
fn the_most_keys_of_the_most_columns_are_one_question_to_sqlite() {
    let file = SqliteFile::new();
    let names: Vec<String> = (0..16).map(|number| format!("k{number}")).collect();
    file.run(&format!("CREATE TABLE shops ({})", names.join(", ")));
    let mut reader = file.reader(&Question { key: names, ..question(&[], 1) }).unwrap();
    let column: ArrayRef =
        Arc::new(Int64Array::from_iter_values(0..weir_connectors::sql::MAX_KEYS_PER_QUESTION as i64));
    assert_eq!(reader.ask(&vec![column; 16]).unwrap(), []);
}

#[test]
fn a_blob_where_sqlite_should_have_text_is_a_value_of_another_type_and_no_error() {
    let file = SqliteFile::new();
    shops(&file);
    file.run("INSERT INTO shops (number, land, name) VALUES (4, 'DE', x'00ff')");
    let mut reader = file.reader(&names()).unwrap();
    assert_eq!(answers(reader.as_mut(), &[(4, "DE"), (1, "DE")]), [r#"0 {"name":[]}"#, r#"1 {"name":"Bonn"}"#]);
}

#[test]
fn a_sqlite_file_that_is_not_there_is_waited_for_and_not_made() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("shops.db");
    let mut reader = SqliteReader::new(&names(), path.clone()).unwrap();
    let error = reader.ask(&keys(&[(1, "DE")])).unwrap_err();
    assert!(matches!(&error, SourceError::Retry(text) if text.ends_with("is not there")), "{error:?}");
    assert!(!path.exists());
}

#[test]
fn a_lost_postgres_server_is_asked_again_over_a_new_connection_and_nothing_is_written() {
    let (schema, line) = (PostgresSchema::new(), Line::to_server());
    shops(&schema);
    schema.run("CREATE FUNCTION noted() RETURNS text LANGUAGE sql AS 'INSERT INTO shops VALUES (7) RETURNING land'");
    schema.run("CREATE VIEW writing AS SELECT number, land, noted() AS name FROM shops");
    let mut reader = PostgresReader::new(&names(), &schema.url_of(&line.address)).unwrap();
    assert_eq!(answers(&mut reader, &[(1, "DE")]), [r#"0 {"name":"Bonn"}"#]);
    line.cut();
    let error = reader.ask(&keys(&[(1, "DE")])).unwrap_err();
    assert!(matches!(error, SourceError::Retry(_)), "{error:?}");
    line.mend();
    assert_eq!(answers(&mut reader, &[(1, "AT"), (2, "A\0T")]), [r#"0 {"name":"Wien"}"#]);
    let writing = Question { table: "writing".into(), ..names() };
    let error = PostgresReader::new(&writing, &schema.url()).unwrap().ask(&keys(&[(1, "DE")])).unwrap_err();
    assert!(error.to_string().contains("read-only transaction"), "{error}");
}
