//! Tables for native tests of plugins that look keys up.

use std::rc::Rc;

use super::{Cell, decode_all, encode, schema};
use crate::enrich_bindings::weir::plugin::tables::{Found, Table, TableUse};
use crate::types::Part;
use crate::wit::{Batch, Column};

/// A table with its rows.
#[derive(Debug, Clone)]
pub struct TestTable {
    table: Table,
    key: Vec<Part>,
    columns: Vec<Part>,
    rows: Vec<Vec<Cell>>,
}

impl TestTable {
    /// Names and types as a manifest writes them: first the columns of the key, then the others.
    ///
    /// # Panics
    /// When a type is not one that a manifest can write.
    pub fn new(name: &str, key: &[(&str, &str)], columns: &[(&str, &str)]) -> Self {
        let ((key, key_fields), (columns, fields)) = (schema(key), schema(columns));
        let table = Table { name: name.into(), key: key_fields, columns: fields };
        Self { table, key, columns, rows: Vec::new() }
    }

    /// With one more row: the key's cells, then the others'.
    ///
    /// # Panics
    /// When a cell is not of its column's type.
    pub fn row(mut self, cells: &[Option<&str>]) -> Self {
        assert_eq!(cells.len(), self.key.len() + self.columns.len(), "a cell for each column");
        let parts: Vec<Part> = self.key.iter().chain(&self.columns).cloned().collect();
        let mut columns = Vec::new();
        parts.iter().zip(cells).for_each(|(part, cell)| encode(part, &[*cell], &mut columns));
        // Through the buffers and back, so that `1.5` is found as `1.50` where the column says so.
        self.rows.push(decode_all(&parts, &columns, 1).into_iter().map(|mut column| column.remove(0)).collect());
        self
    }

    pub(super) fn table(&self) -> Table {
        self.table.clone()
    }

    fn look_up(&self, columns: &[String], keys: &Batch) -> Found {
        let cells = decode_all(&self.key, &keys.columns, keys.rows as usize);
        let of_key = |key: u32| {
            let asked = |row: &&Vec<Cell>| {
                let same =
                    |(at, cells): (usize, &Vec<Cell>)| cells[key as usize].is_some() && row[at] == cells[key as usize];
                cells.iter().enumerate().all(same)
            };
            self.rows.iter().find(asked).map(|row| (key, row))
        };
        let found: Vec<(u32, &Vec<Cell>)> = (0..keys.rows).filter_map(of_key).collect();
        let mut answered: Vec<Column> = Vec::new();
        for name in columns {
            let at = self.columns.iter().position(|part| part.name == *name).expect("`describe` found the column");
            let cells: Vec<Option<&str>> = found.iter().map(|(_, row)| row[self.key.len() + at].as_deref()).collect();
            encode(&self.columns[at], &cells, &mut answered);
        }
        Found { keys: found.iter().map(|(key, _)| *key).collect(), columns: answered, refused: Vec::new() }
    }
}

/// Answers look-ups as the host would: `uses` are those of the contract.
pub(super) fn answering(tables: &[TestTable], uses: &[TableUse]) -> Rc<dyn Fn(u32, &Batch) -> Found> {
    let find = |used: &TableUse| tables.iter().find(|table| table.table.name == used.table).cloned();
    let used: Vec<(TestTable, Vec<String>)> =
        uses.iter().map(|used| (find(used).expect("`describe` found the table"), used.columns.clone())).collect();
    Rc::new(move |number, keys| {
        let (table, columns) = &used[number as usize];
        table.look_up(columns, keys)
    })
}
