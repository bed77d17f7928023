//! Questions that a plugin may send, and the limits of answers.

use arrow_array::{Int64Array, StringArray};
use arrow_schema::{DataType, Field, FieldRef};
use weir_stream::TableFault;

use super::*;
use crate::wire::{OwnedColumn, OwnedValues, OwnedVarBytes};

/// Answers every key with a text of so many bytes, the first key with a refusal; or is away.
struct Cities {
    key: Vec<FieldRef>,
    columns: Vec<FieldRef>,
    bytes: Option<usize>,
}

impl KeyedTable for Cities {
    fn name(&self) -> &str {
        "cities"
    }

    fn key(&self) -> &[FieldRef] {
        &self.key
    }

    fn columns(&self) -> &[FieldRef] {
        &self.columns
    }

    fn look_up(&self, keys: &[ArrayRef], rows: usize) -> Result<TableAnswer, TableFault> {
        assert_eq!(keys[0].len(), rows);
        let away = || TableFault { message: "shop-db is away".into(), next: "start it".into() };
        let text = "x".repeat(self.bytes.ok_or_else(away)?);
        let answered: Vec<u32> = (1..rows as u32).collect();
        let numbers: ArrayRef = Arc::new(Int64Array::from(vec![7; answered.len()]));
        let texts: ArrayRef = Arc::new(StringArray::from(vec![text.as_str(); answered.len()]));
        Ok(TableAnswer { keys: answered, columns: vec![numbers, texts], refused: vec![(0, "twice".into())] })
    }
}

fn cities(bytes: Option<usize>) -> Vec<UsedTable> {
    let field = |name: &str, of: DataType| Arc::new(Field::new(name, of, true));
    let table = Cities {
        key: vec![field("land", DataType::Utf8)],
        columns: vec![field("people", DataType::Int64), field("name", DataType::Utf8)],
        bytes,
    };
    vec![UsedTable { table: Arc::new(table), columns: vec![1] }]
}

fn texts(offsets: &[i32], data: &[u8]) -> OwnedColumn {
    let bytes = OwnedVarBytes { offsets: offsets.to_vec(), data: data.to_vec() };
    OwnedColumn { validity: None, values: OwnedValues::Bytes(bytes) }
}

fn keys(rows: u32) -> wire::OwnedBatch {
    let offsets: Vec<i32> = (0..=rows as i32).collect();
    wire::OwnedBatch { rows, columns: vec![texts(&offsets, &vec![b'a'; rows as usize])] }
}

#[test]
fn an_answer_has_the_columns_of_the_contract_alone() {
    let found = ask(&cities(Some(2)), 0, keys(3)).unwrap();
    assert_eq!((found.keys, found.columns.len()), (vec![1, 2], 1));
    let OwnedValues::Bytes(bytes) = &found.columns[0].values else { panic!("the name is text") };
    assert_eq!((bytes.offsets.as_slice(), bytes.data.as_slice()), ([0, 2, 4].as_slice(), b"xxxx".as_slice()));
    assert_eq!((found.refused[0].key, found.refused[0].reason.as_str()), (0, "twice"));
}

#[test]
fn a_question_that_is_none_is_the_plugins_fault() {
    let fault = |number, keys| ask(&cities(Some(1)), number, keys).unwrap_err().to_string();
    assert_eq!(fault(1, keys(1)), "returned a question to table 1: the contract has 1");
    let no_column = wire::OwnedBatch { rows: 1, columns: Vec::new() };
    assert_eq!(fault(0, no_column), "returned a key of table `cities`: 0 columns, the table's key has 1");
    let number = OwnedColumn { validity: None, values: OwnedValues::Int64(vec![1]) };
    let of_numbers = wire::OwnedBatch { rows: 1, columns: vec![number] };
    let said = "returned a key of table `cities` column `land`: buffers of int64, writes Utf8";
    assert_eq!(fault(0, of_numbers), said);
    let no_text = wire::OwnedBatch { rows: 1, columns: vec![texts(&[0, 1], &[0xff])] };
    assert_eq!(fault(0, no_text), "returned a key of table `cities` column `land` row 0: not UTF-8");
}

#[test]
fn too_many_keys_and_too_large_answers_are_refused() {
    assert!(ask(&cities(Some(0)), 0, keys(LOOK_UP_KEYS as u32)).is_ok());
    let fault = ask(&cities(Some(0)), 0, keys(LOOK_UP_KEYS as u32 + 1)).unwrap_err();
    assert_eq!(fault.to_string(), "returned 65537 keys in one look-up, over its limit of 65536");
    let fault = ask(&cities(Some(LOOK_UP_BYTES)), 0, keys(2)).unwrap_err();
    let said = "returned keys whose rows in table `cities` have 16777224 bytes, over its limit of 16777216 bytes";
    assert_eq!(fault.to_string(), said);
}

#[test]
fn a_table_that_gives_no_answer_is_nobodys_fault_here() {
    let fault = ask(&cities(None), 0, keys(1)).unwrap_err();
    let outside = FunctionFault::Outside { message: "shop-db is away".into(), next: "start it".into() };
    assert_eq!(fault, outside);
}
