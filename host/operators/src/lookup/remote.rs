//! A look-up in a table that is elsewhere: what must be asked, and what comes of the answers.
//!
//! Invariant: a row comes out with what was answered for its key, or is a reject that says why there is no such answer;
//! nothing is made up. Each key of a batch is asked at most once. Nothing here asks, waits or looks at a clock.

use std::sync::Arc;

use arrow_array::{ArrayRef, UInt32Array};
use arrow_schema::SchemaRef;
use arrow_select::take::take;
use hashbrown::HashTable;
use weir_stream::{Batch, Reject};

use super::cache::AnswerCache;
use super::rows::Matches;
use super::{LookupKind, MAX_KEY_BYTES, MAX_ROWS_PER_KEY, STAGE};
use crate::expression::ExpressionError;
use crate::filter::without_deletes;
use crate::key::{KeyBatch, KeyEncoder, has_null};
use crate::operator::{Outputs, StepFault};
use crate::row::RowFormat;

/// Code of the rejects of rows whose key has an answer that is none.
pub const REJECT_CODE: &str = "lookup";

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

/// A look-up in a table that is elsewhere.
#[derive(Debug)]
pub struct RemoteLookup {
    keys: KeyEncoder,
    kind: LookupKind,
    output: SchemaRef,
    /// Of the columns that come out of the table.
    values: RowFormat,
    cache: AnswerCache,
}

/// A batch of which some keys may have no answer yet.
#[derive(Debug)]
pub struct Pending {
    batch: Batch,
    keys: KeyBatch,
    rejects: Vec<Reject>,
    /// The number of each row's key, none for a key that matches nothing or could not be evaluated.
    key_of: Vec<Option<u32>>,
    /// A row of each key.
    examples: Vec<u32>,
    answers: Vec<Option<Arc<KeyAnswer>>>,
    /// Numbers of the keys to be asked, and what they are asked with.
    missing: Vec<usize>,
    asked_with: Vec<ArrayRef>,
}

impl Pending {
    /// The keys without an answer, an array for each of the key's columns.
    pub fn questions(&self) -> &[ArrayRef] {
        &self.asked_with
    }

    /// How many keys have no answer.
    pub fn missing(&self) -> usize {
        self.missing.len()
    }
}

impl RemoteLookup {
    /// `on`: the expressions of the input that are the key. `values`: the columns that come out of the table.
    ///
    /// # Errors
    /// The position of a faulty expression, with its [`ExpressionError`].
    pub fn new(
        on: &[String],
        kind: LookupKind,
        input: &SchemaRef,
        output: &SchemaRef,
        values: RowFormat,
        cache: AnswerCache,
    ) -> Result<Self, (usize, ExpressionError)> {
        let named: Vec<(String, String)> = on.iter().enumerate().map(|(at, on)| (at.to_string(), on.clone())).collect();
        Ok(Self { keys: KeyEncoder::new(&named, input, 1)?, kind, output: Arc::clone(output), values, cache })
    }

    pub fn values(&self) -> &RowFormat {
        &self.values
    }

    /// Looks what is known of a batch's keys at `now_ns`.
    ///
    /// # Errors
    /// [`StepFault::Internal`] when the batch is not of the input schema.
    pub fn begin(&mut self, batch: Batch, now_ns: u64) -> Result<Pending, StepFault> {
        let (arrays, rejects) = self.keys.columns_of(&batch);
        let keys = KeyBatch::of_columns(&arrays, batch.rows()).map_err(StepFault::Internal)?;
        let (mut key_of, mut examples) = (vec![None; batch.rows()], Vec::new());
        let mut numbers: HashTable<u32> = HashTable::new();
        let mut refused = rejects.iter().map(|reject| reject.row).peekable();
        for row in 0..batch.rows() as u32 {
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
        let asked_with = arrays.iter().map(|array| take(array, &rows, None)).collect::<Result<_, _>>()?;
        let rejects = without_deletes(&batch.changes, rejects);
        Ok(Pending { batch, keys, rejects, key_of, examples, answers, missing, asked_with })
    }

    /// Notes what was answered at `now_ns` for the missing key number `question`, and keeps it for others.
    pub fn learn(&mut self, pending: &mut Pending, question: usize, answer: KeyAnswer, now_ns: u64) {
        let number = pending.missing[question];
        let answer = Arc::new(answer);
        self.cache.put(pending.keys.key(pending.examples[number] as usize), &answer, now_ns);
        pending.answers[number] = Some(answer);
    }

    /// Gives out a batch of which every key has its answer.
    ///
    /// # Errors
    /// [`StepFault::Internal`] for a key without one.
    pub fn finish(&self, pending: Pending, out: &mut Outputs) -> Result<(), StepFault> {
        let Pending { batch, mut rejects, key_of, answers, .. } = pending;
        let answers = answers.into_iter().collect::<Option<Vec<_>>>();
        let answers = answers.ok_or_else(|| StepFault::Internal("a key was not answered".into()))?;
        let (mut rows, mut firsts): (Vec<Option<&[u8]>>, Vec<u32>) = (Vec::new(), Vec::with_capacity(answers.len()));
        for answer in &answers {
            firsts.push(rows.len() as u32);
            if let KeyAnswer::Rows(of_key) = answer.as_ref() {
                rows.extend(of_key.iter().map(|row| Some(&**row)));
            }
        }
        let widest = rows.iter().flatten().map(|row| row.len()).max().unwrap_or(0);
        let values = self.values.decode(&rows).map_err(StepFault::Internal)?;
        let mut refused: Vec<u32> = rejects.iter().map(|reject| reject.row).collect();
        let mut matches = Matches::with_capacity(batch.rows());
        refused.reverse();
        for (row, key) in (0..batch.rows() as u32).zip(&key_of) {
            if refused.pop_if(|refused| *refused == row).is_some() {
                continue;
            }
            match key.map(|number| (number, answers[number as usize].as_ref())) {
                Some((_, KeyAnswer::Unusable(reason))) => rejects.push(Reject::new(row, REJECT_CODE, reason.clone())),
                Some((number, KeyAnswer::Rows(of_key))) if !of_key.is_empty() => {
                    let first = firsts[number as usize];
                    (0..of_key.len() as u32).for_each(|place| matches.push(row, Some(first + place)));
                }
                _ if self.kind == LookupKind::Left => matches.push(row, None),
                _ => {}
            }
        }
        rejects.sort_by_key(|reject| reject.row);
        out.reject(STAGE, &batch, rejects)?;
        matches.give_out(batch, &values, widest, &self.output, out)
    }
}

#[cfg(test)]
mod tests;
