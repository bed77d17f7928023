//! Cells of lists and structs: JSON whose innermost values are cells of their own types. Numbers and booleans stand bare,
//! everything else in quotes; a struct's fields that are null, or left out, are `null`.

use super::{Cell, decode, encode, part_of};
use crate::json::Json;
use crate::types::Part;
use crate::wit::{Column, DataType, Values};

/// The fields of `struct(..)`.
pub fn fields_of(arguments: &str) -> Option<Vec<Part>> {
    let mut depth = 0_usize;
    let outside = |letter: char| {
        match letter {
            '(' => depth += 1,
            ')' => depth = depth.saturating_sub(1),
            _ => {}
        }
        letter == ',' && depth == 0
    };
    let field = |text: &str| {
        let (name, text) = text.trim().split_once(' ')?;
        part_of(name, text)
    };
    arguments.split(outside).map(field).collect()
}

pub fn encode_lists(field: &Part, cells: &[Option<&str>], columns: &mut Vec<Column>) {
    let (mut offsets, mut items) = (vec![0], Vec::new());
    for cell in cells {
        match cell.map(|cell| parsed(field, cell)) {
            None => {}
            Some(Json::List(values)) => items.extend(values.iter().map(cell_of)),
            Some(other) => panic!("column `{}`: {} is no list", field.name, other.kind()),
        }
        offsets.push(items.len() as i32);
    }
    columns.push(Column { validity: validity(field, cells), values: Values::ListOffsets(offsets) });
    let items: Vec<Option<&str>> = items.iter().map(Option::as_deref).collect();
    encode(&field.of.children[0], &items, columns);
}

pub fn encode_structs(field: &Part, cells: &[Option<&str>], columns: &mut Vec<Column>) {
    columns.push(Column { validity: validity(field, cells), values: Values::Nothing });
    let whole: Vec<Option<Json>> = cells.iter().map(|cell| cell.map(|cell| parsed(field, cell))).collect();
    for child in &field.of.children {
        // Below a null anything may stand: here a null, even where the field has none.
        let lenient = Part { nullable: child.nullable || field.nullable, ..child.clone() };
        let value = |whole: &Option<Json>| match whole {
            Some(Json::Object(entries)) => {
                let value = entries.iter().find(|(key, _)| *key == child.name).and_then(|(_, value)| cell_of(value));
                assert!(value.is_some() || child.nullable, "column `{}`: a null, declared not null", child.name);
                value
            }
            None => None,
            Some(other) => panic!("column `{}`: {} is no struct", field.name, other.kind()),
        };
        let values: Vec<Cell> = whole.iter().map(value).collect();
        encode(&lenient, &values.iter().map(Option::as_deref).collect::<Vec<_>>(), columns);
    }
}

fn parsed(field: &Part, cell: &str) -> Json {
    Json::parse(cell).unwrap_or_else(|fault| panic!("column `{}`: {fault}: {cell}", field.name))
}

fn validity(field: &Part, cells: &[Option<&str>]) -> Option<Vec<u8>> {
    if cells.iter().all(Option::is_some) {
        return None;
    }
    assert!(field.nullable, "column `{}`: a null, declared not null", field.name);
    let bit = |row: usize| u8::from(cells.get(row).is_some_and(Option::is_some));
    Some((0..cells.len().div_ceil(8)).map(|byte| (0..8).map(|at| bit(byte * 8 + at) << at).sum()).collect())
}

fn cell_of(json: &Json) -> Cell {
    match json {
        Json::Null => None,
        Json::Text(text) => Some(text.clone()),
        other => Some(written(other)),
    }
}

fn written(json: &Json) -> String {
    match json {
        Json::Null => "null".into(),
        Json::Bool(bit) => bit.to_string(),
        Json::Number(text) => text.clone(),
        Json::Text(text) => quoted(text),
        Json::List(values) => format!("[{}]", values.iter().map(written).collect::<Vec<_>>().join(",")),
        Json::Object(entries) => {
            let entries = entries.iter().map(|(key, value)| format!("{}:{}", quoted(key), written(value)));
            format!("{{{}}}", entries.collect::<Vec<_>>().join(","))
        }
    }
}

fn quoted(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n").replace('\t', "\\t"))
}

fn is_null(column: &Column, row: usize) -> bool {
    column.validity.as_ref().is_some_and(|bits| bits[row / 8] >> (row % 8) & 1 == 0)
}

/// A cell as it stands in a list or struct.
fn inside(field: &Part, cell: &Cell) -> String {
    match (cell, &field.of.data_type) {
        (None, _) => "null".into(),
        (Some(text), DataType::Utf8 | DataType::Binary) => quoted(text),
        (Some(text), _) => text.clone(),
    }
}

pub fn decode_lists(
    field: &Part,
    column: &Column,
    columns: &mut std::slice::Iter<'_, Column>,
    rows: usize,
) -> Vec<Cell> {
    let Values::ListOffsets(offsets) = &column.values else { panic!("column `{}` is no list", field.name) };
    assert_eq!(offsets.len(), rows + 1, "column `{}`: an offset more than rows", field.name);
    let item = &field.of.children[0];
    let items = decode(item, columns, offsets[rows] as usize);
    let cell = |row: usize| {
        let items = &items[offsets[row] as usize..offsets[row + 1] as usize];
        let items: Vec<String> = items.iter().map(|cell| inside(item, cell)).collect();
        (!is_null(column, row)).then(|| format!("[{}]", items.join(",")))
    };
    (0..rows).map(cell).collect()
}

pub fn decode_structs(
    field: &Part,
    column: &Column,
    columns: &mut std::slice::Iter<'_, Column>,
    rows: usize,
) -> Vec<Cell> {
    assert!(matches!(column.values, Values::Nothing), "column `{}` is no struct", field.name);
    let children: Vec<(&Part, Vec<Cell>)> =
        field.of.children.iter().map(|child| (child, decode(child, columns, rows))).collect();
    let cell = |row: usize| {
        let entry =
            |(child, cells): &(&Part, Vec<Cell>)| format!("{}:{}", quoted(&child.name), inside(child, &cells[row]));
        let entries: Vec<String> = children.iter().map(entry).collect();
        (!is_null(column, row)).then(|| format!("{{{}}}", entries.join(",")))
    };
    (0..rows).map(cell).collect()
}
