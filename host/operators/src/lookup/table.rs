//! A table in memory with its rows by key: made once, then only read.
//!
//! Invariant: every row whose key has no null is found by its key, in the order of the table. What one row of a stream can
//! match is bounded, so that a batch cannot grow without limit.

use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::{Array, ArrayRef, RecordBatch, UInt32Array};
use arrow_schema::DataType;
use arrow_select::take::take;
use hashbrown::HashTable;
use weir_stream::TableAnswer;

use super::TableShape;
use crate::key::{KeyBatch, has_null};

/// Rows of one key, where it may have several.
pub const MAX_ROWS_PER_KEY: usize = 100;

/// Bytes of text and binary in the rows of one key together.
pub const MAX_KEY_BYTES: usize = 64 << 10;

/// Behind the last row of a key.
const END: u32 = u32::MAX;

/// Why rows are no table to look up in. Row numbers are those of the rows given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TableFault {
    /// Two rows have one key, and only one may.
    Duplicate { first: usize, second: usize },
    /// This row is one too many for its key.
    TooManyRows { row: usize },
    /// This row makes its key's rows too large.
    TooLarge { row: usize },
    /// For people.
    Unsupported(String),
}

/// Rows by key.
#[derive(Debug)]
pub struct LookupTable {
    /// The columns that come out.
    values: Vec<ArrayRef>,
    keys: KeyBatch,
    /// The first row of each key.
    firsts: HashTable<u32>,
    /// The row of the same key behind each row, or [`END`].
    nexts: Vec<u32>,
    widest_row_bytes: usize,
}

impl LookupTable {
    /// # Errors
    /// See [`TableFault`]; of several duplicates the one whose first row stands furthest down.
    pub fn new(shape: &TableShape, rows: &RecordBatch) -> Result<Self, TableFault> {
        let count = rows.num_rows();
        let key: Vec<ArrayRef> = shape.key.iter().map(|column| Arc::clone(rows.column(*column))).collect();
        let keys = KeyBatch::of_columns(&key, count).map_err(TableFault::Unsupported)?;
        let values: Vec<ArrayRef> = shape.values().into_iter().map(|column| Arc::clone(rows.column(column))).collect();
        let mut table = Self {
            values,
            keys,
            firsts: HashTable::with_capacity(count),
            nexts: vec![END; count],
            widest_row_bytes: 0,
        };
        // From the last row to the first, so that each key's rows are linked in their order.
        for row in (0..count).rev() {
            table.insert(row as u32, shape.several)?;
        }
        Ok(table)
    }

    fn insert(&mut self, row: u32, several: bool) -> Result<(), TableFault> {
        let bytes = row_bytes(&self.values, row as usize);
        if bytes > MAX_KEY_BYTES {
            return Err(TableFault::TooLarge { row: row as usize });
        }
        self.widest_row_bytes = self.widest_row_bytes.max(bytes);
        let key = self.keys.key(row as usize);
        if has_null(key) {
            return Ok(());
        }
        let hashes = self.keys.hashes();
        let hash = hashes[row as usize];
        let keys = &self.keys;
        let same = |other: &u32| keys.key(*other as usize) == key;
        let next = match self.firsts.find_mut(hash, same) {
            None => {
                self.firsts.insert_unique(hash, row, |other| hashes[*other as usize]);
                return Ok(());
            }
            Some(first) if !several => {
                return Err(TableFault::Duplicate { first: row as usize, second: *first as usize });
            }
            Some(first) => std::mem::replace(first, row),
        };
        self.nexts[row as usize] = next;
        self.check_key(row)
    }

    /// Whether the rows of the key that `row` is now the first of are few and small enough.
    fn check_key(&self, row: u32) -> Result<(), TableFault> {
        if self.rows_from(row).nth(MAX_ROWS_PER_KEY).is_some() {
            return Err(TableFault::TooManyRows { row: row as usize });
        }
        let bytes: usize = self.rows_from(row).map(|row| row_bytes(&self.values, row as usize)).sum();
        if bytes > MAX_KEY_BYTES {
            return Err(TableFault::TooLarge { row: row as usize });
        }
        Ok(())
    }

    /// The first row of a key. `hash`: [`weir_stream::key::hash`] of it.
    #[inline]
    pub fn find(&self, hash: u64, key: &[u8]) -> Option<u32> {
        self.firsts.find(hash, |row| self.keys.key(*row as usize) == key).copied()
    }

    /// A row and those of the same key behind it.
    #[inline]
    pub fn rows_from(&self, row: u32) -> impl Iterator<Item = u32> {
        std::iter::successors(Some(row), |row| Some(self.nexts[*row as usize]).filter(|next| *next != END))
    }

    /// The first row of each of these keys, an array for each of the key's columns.
    ///
    /// # Errors
    /// For a key of types that none can have.
    pub fn look_up(&self, key: &[ArrayRef], rows: usize) -> Result<TableAnswer, String> {
        let asked = KeyBatch::of_columns(key, rows)?;
        let (mut keys, mut places) = (Vec::new(), Vec::new());
        for row in (0..rows as u32).filter(|row| !has_null(asked.key(*row as usize))) {
            if let Some(place) = self.find(asked.hashes()[row as usize], asked.key(row as usize)) {
                keys.push(row);
                places.push(place);
            }
        }
        let places = UInt32Array::from(places);
        let columns = self.values.iter().map(|array| take(array, &places, None)).collect::<Result<_, _>>();
        Ok(TableAnswer { keys, columns: columns.map_err(|error| error.to_string())?, refused: Vec::new() })
    }

    pub fn rows(&self) -> usize {
        self.nexts.len()
    }

    /// The columns that come out.
    pub(super) fn values(&self) -> &[ArrayRef] {
        &self.values
    }

    /// Text and binary of the widest row.
    pub(super) fn widest_row_bytes(&self) -> usize {
        self.widest_row_bytes
    }

    /// Bytes held.
    pub fn byte_size(&self) -> usize {
        let values: usize = self.values.iter().map(|column| column.get_array_memory_size()).sum();
        values + self.keys.byte_size() + self.nexts.len() * size_of::<u32>() + self.firsts.allocation_size()
    }
}

/// Text and binary of one row.
fn row_bytes(columns: &[ArrayRef], row: usize) -> usize {
    let bytes = |column: &ArrayRef| match column.data_type() {
        DataType::Utf8 => column.as_string::<i32>().value_length(row) as usize,
        DataType::Binary => column.as_binary::<i32>().value_length(row) as usize,
        _ => 0,
    };
    columns.iter().map(bytes).sum()
}
