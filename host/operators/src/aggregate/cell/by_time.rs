//! `first` and `last`: the value of the row with the smallest or largest event time.
//!
//! Rows of one event time have no order that holds across partitions: of these, `first` keeps the smallest value and
//! `last` the largest.
//!
//! Stored: one byte 0 (no value yet) or 1, then the event time (8 bytes) and the value.

use std::cmp::Ordering;

use super::Cell;
use crate::aggregate::accumulator::Keep;
use crate::aggregate::argument::Argument;
use crate::aggregate::slots::{is_seen, take};
use crate::aggregate::value::{Held, Value};

#[derive(Debug, Clone)]
pub(in crate::aggregate) struct ByTime<T> {
    kept: Option<(i64, T)>,
}

impl<T> Default for ByTime<T> {
    fn default() -> Self {
        Self { kept: None }
    }
}

impl<T: Held> ByTime<T> {
    fn offer(&mut self, keep: Keep, time_us: i64, value: T::Borrowed<'_>) {
        let order = self
            .kept
            .as_ref()
            .map(|(kept_us, kept)| time_us.cmp(kept_us).then_with(|| T::compare(value, kept.borrowed())));
        let replaces = match (order, keep) {
            (None, _) | (Some(Ordering::Less), Keep::Smaller) | (Some(Ordering::Greater), Keep::Larger) => true,
            (Some(_), _) => false,
        };
        if replaces {
            self.kept = Some((time_us, T::held(value)));
        }
    }
}

impl<T: Held> Cell for ByTime<T> {
    type Settings = Keep;

    fn add(&mut self, keep: &Keep, argument: &Argument, row: usize) {
        self.offer(*keep, argument.times_us[row], T::at(&argument.values, row));
    }

    fn merge(&mut self, keep: &Keep, other: &Self) {
        if let Some((time_us, value)) = &other.kept {
            self.offer(*keep, *time_us, value.borrowed());
        }
    }

    fn write(&self, bytes: &mut Vec<u8>) {
        match &self.kept {
            None => bytes.push(0),
            Some((time_us, value)) => {
                bytes.push(1);
                bytes.extend_from_slice(&time_us.to_le_bytes());
                value.write(bytes);
            }
        }
    }

    fn read(_: &Keep, rest: &mut &[u8]) -> Result<Self, String> {
        if !is_seen(rest)? {
            return Ok(Self::default());
        }
        let time_us = i64::from_le_bytes(take(rest)?);
        Ok(Self { kept: Some((time_us, T::read(rest)?)) })
    }

    fn value(&self, _: &Keep) -> Value<'_> {
        self.kept.as_ref().map_or(Value::Null, |(_, value)| value.value())
    }

    fn heap_bytes(&self) -> usize {
        self.kept.as_ref().map_or(0, |(_, value)| value.heap_bytes())
    }
}
