//! Expected rows against those that came out. Order is no part of it; a row is matched by the columns that it names.

use std::collections::{BTreeMap, VecDeque};

use serde::Serialize;
use serde_json::{Map, Value};
use weir_codecs::RowJson;
use weir_stream::{ChangeKind, DeadLetter, RowBlock};

use crate::plan::ExpectedColumns;

pub type Row = Map<String, Value>;

/// One thing that is not as expected.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Difference {
    /// Nothing like this row came out.
    Missing { line: usize, row: Row },
    /// A row came out that is not expected.
    Surplus { row: Row },
    /// The row is there, with other values.
    Differs { line: usize, columns: Vec<ColumnDifference> },
}

#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ColumnDifference {
    pub column: String,
    pub expected: Value,
    pub found: Value,
}

/// The rows that a target holds in the end: all (append), or the last of each key (upsert).
///
/// # Errors
/// A column's type that has no JSON form.
pub fn rows(blocks: &[RowBlock], key: Option<&[String]>) -> Result<Vec<Row>, String> {
    let (mut all, mut table) = (Vec::new(), BTreeMap::new());
    for block in blocks {
        let json = RowJson::new(&block.rows.schema()).map_err(|error| error.to_string())?;
        for number in 0..block.rows.num_rows() {
            let row = json.row(&block.rows, number).map_err(|error| error.to_string())?;
            let row: Row = serde_json::from_slice(&row).map_err(|error| error.to_string())?;
            let kind = block.changes.kind(number);
            match key {
                None => all.push(row),
                Some(key) => change(&mut table, key, row, kind),
            }
        }
    }
    all.extend(table.into_values());
    Ok(all)
}

fn change(table: &mut BTreeMap<String, Row>, key: &[String], row: Row, kind: ChangeKind) {
    let of_key: Vec<&Value> = key.iter().map(|column| row.get(column).unwrap_or(&Value::Null)).collect();
    let of_key = serde_json::to_string(&of_key).expect("plain values always serialise");
    match kind {
        ChangeKind::Insert | ChangeKind::UpdateAfter => drop(table.insert(of_key, row)),
        ChangeKind::Delete => drop(table.remove(&of_key)),
        ChangeKind::UpdateBefore => {}
    }
}

/// A dead letter as a test expects it; `row` is its payload, as an object where it is one.
pub fn letter(letter: &DeadLetter) -> Row {
    let text = String::from_utf8_lossy(&letter.payload).into_owned();
    let row = serde_json::from_str(&text).ok().filter(Value::is_object).unwrap_or(Value::String(text));
    let pairs = [
        ("step", Value::from(&*letter.step)),
        ("stage", Value::from(&*letter.stage)),
        ("code", Value::from(&*letter.code)),
        ("reason", Value::from(letter.reason.as_str())),
        ("row", row),
    ];
    pairs.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}

/// What is not as expected; nothing when all is well.
pub fn compare(expected: &[ExpectedColumns], found: &[Row], key: Option<&[String]>) -> Vec<Difference> {
    let matched = Matching::of(expected, found);
    let mut missing: Vec<&ExpectedColumns> =
        expected.iter().enumerate().filter(|(row, _)| !matched.has_expected(*row)).map(|(_, row)| row).collect();
    let mut surplus: Vec<&Row> =
        found.iter().enumerate().filter(|(row, _)| matched.by_found[*row].is_none()).map(|(_, row)| row).collect();
    let mut differences = Vec::new();
    missing.retain(|expected| {
        let Some(nearest) = nearest(expected, &surplus, key) else { return true };
        differences.push(Difference::Differs { line: expected.line, columns: columns(expected, surplus[nearest]) });
        surplus.remove(nearest);
        false
    });
    let missing = missing.into_iter().map(|row| Difference::Missing { line: row.line, row: row.columns.clone() });
    differences.extend(missing);
    differences.extend(surplus.into_iter().map(|row| Difference::Surplus { row: row.clone() }));
    differences
}

/// Whether every named value is there; objects are compared in the same way.
fn fits(expected: &Value, found: &Value) -> bool {
    match (expected, found) {
        (Value::Object(expected), Value::Object(found)) => {
            expected.iter().all(|(name, value)| fits(value, found.get(name).unwrap_or(&Value::Null)))
        }
        (expected, found) => expected == found,
    }
}

fn row_fits(expected: &ExpectedColumns, found: &Row) -> bool {
    expected.columns.iter().all(|(name, value)| fits(value, found.get(name).unwrap_or(&Value::Null)))
}

fn columns(expected: &ExpectedColumns, found: &Row) -> Vec<ColumnDifference> {
    let pairs = expected.columns.iter().map(|(name, value)| (name, value, found.get(name).unwrap_or(&Value::Null)));
    let unlike = pairs.filter(|(_, expected, found)| !fits(expected, found));
    let difference = |(column, expected, found): (&String, &Value, &Value)| ColumnDifference {
        column: column.clone(),
        expected: expected.clone(),
        found: found.clone(),
    };
    unlike.map(difference).collect()
}

/// The row that was meant: the one of the same key, or the one with most of its values, half of them at least.
fn nearest(expected: &ExpectedColumns, found: &[&Row], key: Option<&[String]>) -> Option<usize> {
    if let Some(key) = key.filter(|key| key.iter().all(|column| expected.columns.contains_key(column))) {
        return found.iter().position(|row| key.iter().all(|column| expected.columns.get(column) == row.get(column)));
    }
    let equal = |row: &Row| expected.columns.len() - columns(expected, row).len();
    let best = found.iter().enumerate().map(|(number, row)| (equal(row), number)).max()?;
    (best.0 * 2 >= expected.columns.len()).then_some(best.1)
}

/// The largest matching of expected rows with found ones that fit (augmenting paths, Kuhn 1955): rows that name few
/// columns may fit several.
struct Matching {
    by_found: Vec<Option<usize>>,
}

impl Matching {
    fn of(expected: &[ExpectedColumns], found: &[Row]) -> Self {
        let mut matching = Self { by_found: vec![None; found.len()] };
        for row in 0..expected.len() {
            matching.place(row, expected, found);
        }
        matching
    }

    fn has_expected(&self, row: usize) -> bool {
        self.by_found.contains(&Some(row))
    }

    /// Looks breadth first for a free row that fits, and lets the rows on the way there each take their next choice.
    fn place(&mut self, row: usize, expected: &[ExpectedColumns], found: &[Row]) {
        let mut reached_by: Vec<Option<usize>> = vec![None; found.len()];
        let mut waiting = VecDeque::from([row]);
        while let Some(row) = waiting.pop_front() {
            for place in 0..found.len() {
                if reached_by[place].is_some() || !row_fits(&expected[row], &found[place]) {
                    continue;
                }
                reached_by[place] = Some(row);
                match self.by_found[place] {
                    Some(other) => waiting.push_back(other),
                    None => return self.shift(place, &reached_by),
                }
            }
        }
    }

    fn shift(&mut self, free: usize, reached_by: &[Option<usize>]) {
        let mut place = Some(free);
        while let Some(to) = place {
            let row = reached_by[to];
            place = self.by_found.iter().position(|holder| *holder == row);
            self.by_found[to] = row;
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn row(value: Value) -> Row {
        value.as_object().cloned().unwrap()
    }

    fn expected(line: usize, value: Value) -> ExpectedColumns {
        ExpectedColumns { line, columns: row(value) }
    }

    #[test]
    fn a_row_that_names_few_columns_gives_way_to_one_that_names_more() {
        let found = [row(json!({ "a": 1, "b": 1 })), row(json!({ "a": 1, "b": 2 }))];
        let vague_first = [expected(1, json!({ "a": 1 })), expected(2, json!({ "a": 1, "b": 1 }))];
        assert_eq!(compare(&vague_first, &found, None), []);
        let three = [vague_first.as_slice(), &[expected(3, json!({ "a": 1 }))]].concat();
        let missing = Difference::Missing { line: 3, row: row(json!({ "a": 1 })) };
        assert_eq!(compare(&three, &found, None), [missing]);
    }

    #[test]
    fn the_row_that_was_meant_is_the_one_of_the_same_key() {
        let found = [row(json!({ "k": "a", "n": 1, "m": 5 })), row(json!({ "k": "b", "n": 2, "m": 6 }))];
        let wanted = [expected(7, json!({ "k": "b", "n": 1, "m": 5 }))];
        let key = ["k".to_owned()];
        let columns = [("m", 5, 6), ("n", 1, 2)].map(|(column, expected, found)| ColumnDifference {
            column: column.into(),
            expected: expected.into(),
            found: found.into(),
        });
        let differs = Difference::Differs { line: 7, columns: columns.to_vec() };
        assert_eq!(compare(&wanted, &found, Some(&key)), [differs, Difference::Surplus { row: found[0].clone() }]);
    }

    #[test]
    fn the_final_table_has_the_last_row_of_each_key_and_none_that_was_deleted() {
        use arrow_array::{Int64Array, RecordBatch, StringArray};
        use arrow_schema::{DataType, Field, Schema};
        let schema = Schema::new(vec![Field::new("k", DataType::Utf8, false), Field::new("n", DataType::Int64, true)]);
        let keys = StringArray::from(vec!["a", "b", "a", "b"]);
        let values = Int64Array::from(vec![Some(1), Some(2), None, Some(2)]);
        let rows_of = RecordBatch::try_new(schema.into(), vec![keys.into_array(), values.into_array()]).unwrap();
        let kinds = [ChangeKind::Insert, ChangeKind::Insert, ChangeKind::UpdateAfter, ChangeKind::Delete];
        let changes = weir_stream::Changes::PerRow(kinds.map(|kind| kind as u8).to_vec().into());
        let blocks = [RowBlock { rows: rows_of, changes }];
        assert_eq!(rows(&blocks, Some(&["k".to_owned()])).unwrap(), [row(json!({ "k": "a", "n": null }))]);
        assert_eq!(rows(&blocks, None).unwrap().len(), 4);
    }

    trait IntoArray {
        fn into_array(self) -> arrow_array::ArrayRef;
    }

    impl<A: arrow_array::Array + 'static> IntoArray for A {
        fn into_array(self) -> arrow_array::ArrayRef {
            std::sync::Arc::new(self)
        }
    }
}
