//! A table that is elsewhere: what must be asked for many keys, and what is kept of the answers.
//!
//! Invariant: each key is asked at most once, however many rows have it, and not at all while an answer about it is kept. A
//! key with a null in it is not asked: it equals nothing. Nothing here asks, waits or looks at a clock.

use std::sync::Arc;

use arrow_array::{ArrayRef, UInt32Array};
use arrow_schema::SchemaRef;
use arrow_select::take::take;
use hashbrown::HashTable;
use weir_stream::{Reject, TableAnswer};

use super::cache::AnswerCache;
use super::{MAX_KEY_BYTES, MAX_ROWS_PER_KEY};
use crate::key::{KeyBatch, has_null};
use crate::row::RowFormat;

/// What is known of a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KeyAnswer {
    /// Its rows, as [`RowFormat`] writes them.
    Rows(Vec<Box<[u8]>>),
    /// Why what is there cannot be used, for people.
    Unusable(String),
}

impl KeyAnswer {
    /// Bytes held.
    pub(super) fn byte_size(&self) -> usize {
        match self {
            Self::Rows(rows) => rows.iter().map(|row| row.len() + size_of::<Box<[u8]>>()).sum(),
            Self::Unusable(reason) => reason.len(),
        }
    }

    /// The rows of a key, if they are few and small enough.
    pub fn of(rows: Vec<Box<[u8]>>, several: bool) -> Self {
        if rows.len() > 1 && !several {
            return Self::Unusable("the table has several rows of this key".into());
        }
        if rows.len() > MAX_ROWS_PER_KEY {
            return Self::Unusable(format!("the table has more than {MAX_ROWS_PER_KEY} rows of this key"));
        }
        if rows.iter().map(|row| row.len()).sum::<usize>() > MAX_KEY_BYTES {
            return Self::Unusable(format!("the table's rows of this key have more than {MAX_KEY_BYTES} bytes"));
        }
        Self::Rows(rows)
    }
}

/// A table that is elsewhere, as far as it is known.
#[derive(Debug)]
pub struct RemoteTable {
    /// Of the columns that come out.
    values: RowFormat,
    cache: AnswerCache,
}

/// The keys of some rows, of which some may have no answer yet.
#[derive(Debug)]
pub struct Questions {
    keys: KeyBatch,
    /// The number of each row's key, none for a key that matches nothing or could not be evaluated.
    pub(super) key_of: Vec<Option<u32>>,
    /// A row of each key.
    examples: Vec<u32>,
    answers: Vec<Option<Arc<KeyAnswer>>>,
    /// Numbers of the keys to be asked, and what they are asked with.
    missing: Vec<usize>,
    asked_with: Vec<ArrayRef>,
}

impl Questions {
    /// The keys without an answer, an array for each of the key's columns.
    pub fn asked_with(&self) -> &[ArrayRef] {
        &self.asked_with
    }

    /// How many keys have no answer.
    pub fn missing(&self) -> usize {
        self.missing.len()
    }
}

/// All answers to some questions.
pub(super) struct Answered {
    pub(super) answers: Vec<Arc<KeyAnswer>>,
    /// Of each key with rows: where they begin.
    pub(super) firsts: Vec<u32>,
    /// The rows of all keys, one behind the other.
    pub(super) values: Vec<ArrayRef>,
    pub(super) widest_row_bytes: usize,
}

impl RemoteTable {
    /// `values`: the columns that come out.
    pub fn new(values: RowFormat, cache: AnswerCache) -> Self {
        Self { values, cache }
    }

    /// The columns that come out.
    pub fn schema(&self) -> &SchemaRef {
        self.values.schema()
    }

    pub fn values(&self) -> &RowFormat {
        &self.values
    }

    /// Looks what is known at `now_ns` of the keys of `rows` rows, an array for each of the key's columns. `without`: rows
    /// that are not asked for, ascending.
    ///
    /// # Errors
    /// For a key of types that none can have.
    pub fn begin(
        &mut self,
        key: &[ArrayRef],
        rows: usize,
        without: &[Reject],
        now_ns: u64,
    ) -> Result<Questions, String> {
        let keys = KeyBatch::of_columns(key, rows)?;
        let (mut key_of, mut examples) = (vec![None; rows], Vec::new());
        let mut numbers: HashTable<u32> = HashTable::new();
        let mut refused = without.iter().map(|reject| reject.row).peekable();
        for row in 0..rows as u32 {
            let key = keys.key(row as usize);
            if refused.next_if_eq(&row).is_some() || has_null(key) {
                continue;
            }
            let hashes = keys.hashes();
            let same = |number: &u32| keys.key(examples[*number as usize] as usize) == key;
            let known = numbers.find(hashes[row as usize], same).copied();
            let number = known.unwrap_or_else(|| {
                let number = examples.len() as u32;
                examples.push(row);
                let hash_of = |number: &u32| hashes[examples[*number as usize] as usize];
                numbers.insert_unique(hashes[row as usize], number, hash_of);
                number
            });
            key_of[row as usize] = Some(number);
        }
        let answers: Vec<_> = examples.iter().map(|row| self.cache.get(keys.key(*row as usize), now_ns)).collect();
        let missing: Vec<usize> = (0..answers.len()).filter(|number| answers[*number].is_none()).collect();
        let rows: UInt32Array = missing.iter().map(|number| examples[*number]).collect::<Vec<u32>>().into();
        let asked_with = key.iter().map(|array| take(array, &rows, None)).collect::<Result<_, _>>();
        let asked_with = asked_with.map_err(|error| error.to_string())?;
        Ok(Questions { keys, key_of, examples, answers, missing, asked_with })
    }

    /// Notes what was answered at `now_ns` for the missing key number `question`, and keeps it for others.
    pub fn learn(&mut self, questions: &mut Questions, question: usize, answer: KeyAnswer, now_ns: u64) {
        let number = questions.missing[question];
        let answer = Arc::new(answer);
        self.cache.put(questions.keys.key(questions.examples[number] as usize), &answer, now_ns);
        questions.answers[number] = Some(answer);
    }

    pub(super) fn answered(&self, answers: Vec<Option<Arc<KeyAnswer>>>) -> Result<Answered, String> {
        let answers = answers.into_iter().collect::<Option<Vec<_>>>().ok_or("a key was not answered")?;
        let (mut rows, mut firsts): (Vec<Option<&[u8]>>, Vec<u32>) = (Vec::new(), Vec::with_capacity(answers.len()));
        for answer in &answers {
            firsts.push(rows.len() as u32);
            if let KeyAnswer::Rows(of_key) = answer.as_ref() {
                rows.extend(of_key.iter().map(|row| Some(&**row)));
            }
        }
        let widest_row_bytes = rows.iter().flatten().map(|row| row.len()).max().unwrap_or(0);
        let values = self.values.decode(&rows)?;
        Ok(Answered { answers, firsts, values, widest_row_bytes })
    }

    /// The first row of each key, once every key has its answer.
    ///
    /// # Errors
    /// For a key without one.
    pub fn finish(&self, questions: Questions) -> Result<TableAnswer, String> {
        let Answered { answers, firsts, values, .. } = self.answered(questions.answers)?;
        let (mut keys, mut places, mut refused) = (Vec::new(), Vec::new(), Vec::new());
        for (row, number) in (0..).zip(&questions.key_of) {
            let Some(number) = number.map(|number| number as usize) else { continue };
            match answers[number].as_ref() {
                KeyAnswer::Unusable(reason) => refused.push((row, reason.clone())),
                KeyAnswer::Rows(rows) if !rows.is_empty() => {
                    keys.push(row);
                    places.push(firsts[number]);
                }
                KeyAnswer::Rows(_) => {}
            }
        }
        let places = UInt32Array::from(places);
        let columns = values.iter().map(|array| take(array, &places, None)).collect::<Result<_, _>>();
        Ok(TableAnswer { keys, columns: columns.map_err(|error| error.to_string())?, refused })
    }
}

impl Questions {
    pub(super) fn into_answers(self) -> (Vec<Option<u32>>, Vec<Option<Arc<KeyAnswer>>>) {
        (self.key_of, self.answers)
    }
}
