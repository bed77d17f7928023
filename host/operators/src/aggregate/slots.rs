//! All aggregates of one key table, and how a key's values are stored.
//!
//! A stored value is one byte [`VALUE_VERSION`], then each aggregate in order:
//! a count is a number; anything else is one byte 0 (no value yet) or 1, and with 1 the value: a number (see `number`), an
//! average's count as another, text as a little-endian u32 length and bytes. What a cell stores, and what the accumulator
//! of a user's function, is said in its file.
//!
//! Version 1, which is still read, had numbers of fixed width: 8 bytes, little-endian, and 16 for decimals and for the
//! sum of an integer average.

use weir_state::table::Slots;

use super::accumulator::{Accumulator, Fold, Mean, Sum};
use super::number::Number;

/// Version of the stored value.
pub(super) const VALUE_VERSION: u8 = 2;

/// Numbers were of fixed width.
const WHOLE_NUMBERS: u8 = 1;

/// Of the layouts that name it: one for all versions that are read.
pub(super) const LAYOUT_VERSION: u8 = 1;

/// One accumulator per aggregate of the step.
#[derive(Debug, Clone)]
pub(super) struct Accumulators {
    pub columns: Vec<Accumulator>,
}

impl Slots for Accumulators {
    fn resize(&mut self, slots: usize) {
        self.columns.iter_mut().for_each(|column| column.resize(slots));
    }

    fn write(&self, slot: usize, value: &mut Vec<u8>) {
        value.push(VALUE_VERSION);
        self.columns.iter().for_each(|column| write(column, slot, value));
    }

    fn read(&mut self, slot: usize, value: &[u8]) -> Result<(), String> {
        let mut rest = value;
        let whole = match take::<1>(&mut rest)? {
            [VALUE_VERSION] => false,
            [WHOLE_NUMBERS] => true,
            [version] => {
                return Err(format!("it is of version {version}, this Weir reads {WHOLE_NUMBERS} to {VALUE_VERSION}"));
            }
        };
        for column in &mut self.columns {
            read(column, slot, whole, &mut rest)?;
        }
        if rest.is_empty() { Ok(()) } else { Err(format!("{} bytes are left over", rest.len())) }
    }

    fn prefetch(&self, slot: usize) {
        self.columns.iter().for_each(|column| column.prefetch(slot));
    }

    fn byte_size(&self) -> usize {
        self.columns.iter().map(Accumulator::byte_size).sum()
    }
}

pub(super) fn take<const N: usize>(rest: &mut &[u8]) -> Result<[u8; N], String> {
    let (head, tail) = rest.split_first_chunk::<N>().ok_or("it ends too early")?;
    *rest = tail;
    Ok(*head)
}

pub(super) fn is_seen(rest: &mut &[u8]) -> Result<bool, String> {
    match take::<1>(rest)? {
        [0] => Ok(false),
        [1] => Ok(true),
        [other] => Err(format!("{other} stands where 0 or 1 must")),
    }
}

fn write_fold<T: Number>(fold: &Fold<T>, slot: usize, value: &mut Vec<u8>) {
    match fold.get(slot) {
        None => value.push(0),
        Some(folded) => {
            value.push(1);
            folded.write(value);
        }
    }
}

fn read_number<T: Number>(whole: bool, rest: &mut &[u8]) -> Result<T, String> {
    if whole { T::read_whole(rest) } else { T::read(rest) }
}

/// Answers whether there is a value.
fn read_fold<T: Number>(fold: &mut Fold<T>, slot: usize, whole: bool, rest: &mut &[u8]) -> Result<bool, String> {
    let seen = is_seen(rest)?;
    if seen {
        fold.set(slot, read_number(whole, rest)?);
    }
    Ok(seen)
}

fn write_mean<T: Number>(mean: &Mean<T>, slot: usize, value: &mut Vec<u8>) {
    write_fold(&mean.sum.fold, slot, value);
    if mean.sum.fold.seen.get(slot) {
        mean.counts[slot].write(value);
    }
}

fn read_mean<T: Number>(mean: &mut Mean<T>, slot: usize, whole: bool, rest: &mut &[u8]) -> Result<(), String> {
    if read_fold(&mut mean.sum.fold, slot, whole, rest)? {
        mean.counts[slot] = read_number(whole, rest)?;
        if mean.counts[slot] == 0 {
            return Err("an average of no values has a sum".to_owned());
        }
    }
    Ok(())
}

fn write(column: &Accumulator, slot: usize, value: &mut Vec<u8>) {
    match column {
        Accumulator::Count(counts) => counts[slot].write(value),
        Accumulator::SumI64(Sum { fold, .. }) | Accumulator::ExtremeI64(fold, _) => write_fold(fold, slot, value),
        Accumulator::SumU64(Sum { fold, .. }) | Accumulator::ExtremeU64(fold, _) => write_fold(fold, slot, value),
        Accumulator::SumF64(fold) | Accumulator::ExtremeF64(fold, _) => write_fold(fold, slot, value),
        Accumulator::SumI128(Sum { fold, .. }) | Accumulator::ExtremeI128(fold, _) => write_fold(fold, slot, value),
        Accumulator::MeanInteger(mean) | Accumulator::MeanI128 { mean, .. } => write_mean(mean, slot, value),
        Accumulator::MeanF64(mean) => write_mean(mean, slot, value),
        Accumulator::Cells(column) => column.write(slot, value),
        Accumulator::Plugin(column) => column.write(slot, value),
        Accumulator::ExtremeBytes { values, .. } => match &values[slot] {
            None => value.push(0),
            Some(text) => {
                value.push(1);
                value.extend_from_slice(&(text.len() as u32).to_le_bytes());
                value.extend_from_slice(text);
            }
        },
    }
}

fn read(column: &mut Accumulator, slot: usize, whole: bool, rest: &mut &[u8]) -> Result<(), String> {
    match column {
        Accumulator::Count(counts) => counts[slot] = read_number(whole, rest)?,
        Accumulator::SumI64(sum) => drop(read_fold(&mut sum.fold, slot, whole, rest)?),
        Accumulator::SumU64(sum) => drop(read_fold(&mut sum.fold, slot, whole, rest)?),
        Accumulator::SumI128(sum) => drop(read_fold(&mut sum.fold, slot, whole, rest)?),
        Accumulator::ExtremeI64(fold, _) => drop(read_fold(fold, slot, whole, rest)?),
        Accumulator::ExtremeU64(fold, _) => drop(read_fold(fold, slot, whole, rest)?),
        Accumulator::ExtremeI128(fold, _) => drop(read_fold(fold, slot, whole, rest)?),
        Accumulator::SumF64(fold) | Accumulator::ExtremeF64(fold, _) => drop(read_fold(fold, slot, whole, rest)?),
        Accumulator::MeanInteger(mean) | Accumulator::MeanI128 { mean, .. } => read_mean(mean, slot, whole, rest)?,
        Accumulator::MeanF64(mean) => read_mean(mean, slot, whole, rest)?,
        Accumulator::Cells(column) => column.read(slot, rest)?,
        Accumulator::Plugin(column) => column.read(slot, rest)?,
        Accumulator::ExtremeBytes { values, bytes, .. } => {
            if is_seen(rest)? {
                let length = u32::from_le_bytes(take(rest)?) as usize;
                let (text, tail) = rest.split_at_checked(length).ok_or("it ends too early")?;
                *rest = tail;
                *bytes = *bytes + length - values[slot].as_ref().map_or(0, |old| old.len());
                values[slot] = Some(text.into());
            }
        }
    }
    column.note_slot(slot as u32);
    Ok(())
}
