//! `max_by` and `min_by`: the value of the row of the largest or smallest rank; `last` and `first` are these with the event
//! time as rank.
//!
//! Rows of one rank have no order that holds across partitions: of these, the smallest rank keeps the smallest value and
//! the largest rank the largest.
//!
//! Stored: one byte 0 (no value yet) or 1, then the rank (of a time 8 bytes) and the value.

use std::cmp::Ordering;

use super::Cell;
use crate::aggregate::accumulator::Keep;
use crate::aggregate::argument::Argument;
use crate::aggregate::slots::is_seen;
use crate::aggregate::value::{Held, Value};

#[derive(Debug, Clone)]
pub(in crate::aggregate) struct Extreme<R, T> {
    kept: Option<(R, T)>,
}

impl<R, T> Default for Extreme<R, T> {
    fn default() -> Self {
        Self { kept: None }
    }
}

impl<R: Held, T: Held> Extreme<R, T> {
    fn offer(&mut self, keep: Keep, rank: R::Borrowed<'_>, value: T::Borrowed<'_>) {
        let order = self.kept.as_ref().map(|(kept_rank, kept)| {
            R::compare(rank, kept_rank.borrowed()).then_with(|| T::compare(value, kept.borrowed()))
        });
        let replaces = match (order, keep) {
            (None, _) | (Some(Ordering::Less), Keep::Smaller) | (Some(Ordering::Greater), Keep::Larger) => true,
            (Some(_), _) => false,
        };
        if replaces {
            self.kept = Some((R::held(rank), T::held(value)));
        }
    }
}

impl<R: Held, T: Held> Cell for Extreme<R, T> {
    type Settings = Keep;

    fn add(&mut self, keep: &Keep, argument: &Argument, row: usize) {
        self.offer(*keep, R::at(&argument.ranks, row), T::at(&argument.values, row));
    }

    fn merge(&mut self, keep: &Keep, other: &Self) {
        if let Some((rank, value)) = &other.kept {
            self.offer(*keep, rank.borrowed(), value.borrowed());
        }
    }

    fn write(&self, bytes: &mut Vec<u8>) {
        match &self.kept {
            None => bytes.push(0),
            Some((rank, value)) => {
                bytes.push(1);
                rank.write(bytes);
                value.write(bytes);
            }
        }
    }

    fn read(_: &Keep, rest: &mut &[u8]) -> Result<Self, String> {
        if !is_seen(rest)? {
            return Ok(Self::default());
        }
        let rank = R::read(rest)?;
        Ok(Self { kept: Some((rank, T::read(rest)?)) })
    }

    fn value(&self, _: &Keep) -> Value<'_> {
        self.kept.as_ref().map_or(Value::Null, |(_, value)| value.value())
    }

    fn heap_bytes(&self) -> usize {
        self.kept.as_ref().map_or(0, |(rank, value)| rank.heap_bytes() + value.heap_bytes())
    }
}
