//! A scripted database behind a plugin's table.

use std::sync::atomic::{AtomicUsize, Ordering};

use arrow_array::cast::AsArray;
use arrow_array::{Int64Array, StringArray};
use arrow_schema::{DataType, Field, Schema};
use weir_connectors::sql::{AnsweredRow, TableReader};
use weir_operators::RowFormat;
use weir_operators::lookup::{AnswerCache, LookupTable, RemoteTable};
use weir_stream::SourceError;

use super::*;
use crate::lookup::Board;

struct Scripted<F>(F);

impl<F: FnMut(&[ArrayRef]) -> Result<Vec<AnsweredRow>, SourceError> + Send> TableReader for Scripted<F> {
    fn ask(&mut self, keys: &[ArrayRef]) -> Result<Vec<AnsweredRow>, SourceError> {
        (self.0)(keys)
    }

    fn target(&self) -> &str {
        "shop-db"
    }
}

fn shape() -> TableShape {
    let fields = vec![Field::new("n", DataType::Int64, false), Field::new("city", DataType::Utf8, true)];
    TableShape { schema: Arc::new(Schema::new(fields)), key: vec![0], several: false }
}

fn keys(keys: &[Option<i64>]) -> Vec<ArrayRef> {
    vec![Arc::new(Int64Array::from(keys.to_vec()))]
}

fn table(answer: impl Fn() -> Result<Vec<AnsweredRow>, SourceError> + Send + Sync + Clone + 'static) -> GrantedTable {
    let make = move || {
        let city = Arc::new(Schema::new(vec![Field::new("city", DataType::Utf8, true)]));
        let remote = RemoteTable::new(RowFormat::new(&city).unwrap(), AnswerCache::new(0, 0));
        let answer = answer.clone();
        Desk::new(
            &"rated.cities".into(),
            Box::new(Scripted(move |_: &[ArrayRef]| answer())),
            remote,
            false,
            Board::default(),
        )
    };
    GrantedTable::of_database("cities", &shape(), Box::new(make))
}

#[test]
fn a_connection_is_used_again_and_each_key_gets_its_row() {
    let made = Arc::new(AtomicUsize::new(0));
    let asked = Arc::clone(&made);
    let table = table(move || {
        asked.fetch_add(1, Ordering::Relaxed);
        Ok(vec![AnsweredRow { key: 1, row: r#"{"city":"Bonn"}"#.into() }])
    });
    for _ in 0..2 {
        let answer = table.look_up(&keys(&[Some(1), None, Some(2), Some(2)]), 4).unwrap();
        assert_eq!(answer.keys, [2, 3]);
        assert_eq!(answer.columns[0].as_string::<i32>(), &StringArray::from(vec!["Bonn", "Bonn"]));
    }
    assert_eq!(made.load(Ordering::Relaxed), 2);
    let Kept::Database { idle, .. } = &table.kept else { panic!("it is one") };
    assert_eq!(idle.lock().unwrap().len(), 1);
}

#[test]
fn a_database_that_is_away_is_not_waited_for_when_nobody_waits_for_the_answer() {
    let table = table(|| Err(SourceError::Retry("connection refused".into())));
    let fault = table.look_up(&keys(&[Some(1)]), 1).unwrap_err();
    assert_eq!(fault.message, "table `cities`: shop-db does not answer");
}

#[test]
fn a_file_gives_the_row_of_each_key() {
    let slot = Arc::new(TableSlot::default());
    let table = GrantedTable::of_file("cities", &shape(), Arc::clone(&slot));
    assert!(table.look_up(&keys(&[Some(1)]), 1).is_err(), "nothing was loaded");
    let columns: Vec<ArrayRef> =
        vec![Arc::new(Int64Array::from(vec![1, 2])), Arc::new(StringArray::from(vec![Some("Bonn"), None]))];
    let rows = arrow_array::RecordBatch::try_new(shape().schema, columns).unwrap();
    slot.put(LookupTable::new(&shape(), &rows).unwrap());
    let answer = table.look_up(&keys(&[Some(2), Some(3), None, Some(1)]), 4).unwrap();
    assert_eq!(answer.keys, [0, 3]);
    assert_eq!(answer.columns[0].as_string::<i32>(), &StringArray::from(vec![None, Some("Bonn")]));
}
