//! One call of the function, and the search for guilty rows and timers when it fails.

use std::ops::Range;

use weir_state::table::KeyIndex;
use weir_stream::{CallKeys, Firings, FunctionFault, Processed, Reject, TimeDomain};

use super::firing::Firing;
use super::outputs::Sources;
use super::stage::Cause;
use super::{ProcessStep, STAGE, STATE_BYTES_PER_CALL};
use crate::key::KeyedBatch;
use crate::operator::{Outputs, StepFault};
use crate::transform::halves;

/// What a call is about.
#[derive(Clone, Copy)]
pub(super) enum Work<'a> {
    Rows(&'a KeyedBatch),
    Firings(TimeDomain, &'a [Firing]),
}

/// Why a call did not hold.
pub(super) enum Failed {
    /// The function's fault: some row or timer may be guilty.
    Function(FunctionFault),
    Step(StepFault),
}

impl From<FunctionFault> for Failed {
    fn from(fault: FunctionFault) -> Self {
        Self::Function(fault)
    }
}

impl From<StepFault> for Failed {
    fn from(fault: StepFault) -> Self {
        Self::Step(fault)
    }
}

/// A key of a call: its group and its bytes.
pub(super) type CalledKey<'a> = (u16, &'a [u8]);

/// The distinct keys of some rows.
struct Distinct {
    index: KeyIndex,
    key_groups: Vec<u16>,
    /// Number of each row's key.
    of_row: Vec<u32>,
    /// Newest event time of each key's rows.
    newest_us: Vec<i64>,
}

impl Distinct {
    fn of(rows: &KeyedBatch, range: Range<usize>) -> Self {
        let mut distinct =
            Self { index: KeyIndex::default(), key_groups: Vec::new(), of_row: Vec::new(), newest_us: Vec::new() };
        distinct.of_row.reserve(range.len());
        for row in range {
            let number = distinct.index.find_or_insert(rows.keys.hashes()[row], rows.keys.key(row));
            let time_us = rows.batch.event_times_us[row];
            match distinct.newest_us.get_mut(number as usize) {
                Some(newest_us) => *newest_us = time_us.max(*newest_us),
                None => {
                    distinct.newest_us.push(time_us);
                    distinct.key_groups.push(rows.keys.key_groups()[row]);
                }
            }
            distinct.of_row.push(number);
        }
        distinct
    }

    fn keys(&self) -> Vec<CalledKey<'_>> {
        self.key_groups.iter().zip(0..).map(|(group, number)| (*group, self.index.key(number))).collect()
    }
}

impl ProcessStep {
    /// Runs of rows whose keys' state fits into one call.
    pub(super) fn pieces(&self, rows: &KeyedBatch) -> Vec<(usize, usize)> {
        let all = rows.batch.rows();
        if self.table.byte_size() <= STATE_BYTES_PER_CALL {
            return vec![(0, all)];
        }
        let (mut pieces, mut start, mut bytes, mut seen) = (Vec::new(), 0, 0, KeyIndex::default());
        for row in 0..all {
            let key = rows.keys.key(row);
            let known = seen.len();
            seen.find_or_insert(rows.keys.hashes()[row], key);
            if seen.len() == known {
                continue;
            }
            let held = self.table.get(rows.keys.key_groups()[row], key).map_or(0, |held| held.state_bytes());
            if bytes + held > STATE_BYTES_PER_CALL && row > start {
                pieces.push((start, row - start));
                (start, bytes, seen) = (row, 0, KeyIndex::default());
                seen.find_or_insert(rows.keys.hashes()[row], key);
            }
            bytes += held;
        }
        pieces.push((start, all - start));
        pieces
    }

    /// Does a piece of work, or its parts without the guilty ones.
    pub(super) fn work(&mut self, work: Work<'_>, piece: (usize, usize), out: &mut Outputs) -> Result<(), StepFault> {
        let fault = match self.call(work, piece, out) {
            Ok(()) => return Ok(()),
            Err(Failed::Step(fault)) => return Err(fault),
            Err(Failed::Function(fault)) => fault,
        };
        if self.budget.is_watching() {
            return Err(StepFault::Function(fault));
        }
        let started_ns = self.budget.start();
        let mut open = if piece.1 == 1 { vec![piece] } else { halves(piece.0, piece.1) };
        while let Some((offset, length)) = open.pop() {
            self.budget.check_time(started_ns, &fault)?;
            match self.call(work, (offset, length), out) {
                Ok(()) => {}
                Err(Failed::Step(fault)) => return Err(fault),
                Err(Failed::Function(fault)) if length == 1 => {
                    self.budget.charge_row(&fault)?;
                    self.quarantine(work, offset, &fault, out)?;
                }
                Err(Failed::Function(_)) => open.extend(halves(offset, length)),
            }
        }
        self.budget.stop(started_ns);
        Ok(())
    }

    fn call(&mut self, work: Work<'_>, (offset, length): (usize, usize), out: &mut Outputs) -> Result<(), Failed> {
        match work {
            Work::Rows(rows) => self.call_rows(rows, offset, length, out),
            Work::Firings(domain, firings) => self.call_firings(domain, &firings[offset..offset + length], out),
        }
    }

    fn call_rows(&mut self, rows: &KeyedBatch, offset: usize, length: usize, out: &mut Outputs) -> Result<(), Failed> {
        let distinct = Distinct::of(rows, offset..offset + length);
        let keys = distinct.keys();
        let batch = rows.batch.slice(offset, length);
        let call = self.gather(&keys)?;
        let processed = self.running().function.process(&call, &batch, &distinct.of_row)?;
        let sources = Sources::Rows { batch: &batch, keys: &keys, of_row: &distinct.of_row };
        self.take_effect(processed, &keys, &Cause::Rows(&distinct.newest_us), &sources, out)
    }

    fn call_firings(&mut self, domain: TimeDomain, due: &[Firing], out: &mut Outputs) -> Result<(), Failed> {
        let keys: Vec<CalledKey<'_>> = due.iter().map(|firing| (firing.key_group, &*firing.key)).collect();
        let call = self.gather(&keys)?;
        let firings = Firings {
            timers: due.iter().map(|firing| firing.pending.timer).collect(),
            keys: (0..due.len() as u32).collect(),
            times_us: due.iter().map(|firing| firing.pending.time_us).collect(),
        };
        let processed = self.running().function.fire(&call, &firings)?;
        let batch = self.firing_batch(domain, due)?;
        let sources = Sources::Firings { batch: &batch, keys: &keys };
        self.take_effect(processed, &keys, &Cause::Firings(domain, due), &sources, out)
    }

    /// Everything that a call answered, checked whole before anything of it holds.
    fn take_effect(
        &mut self,
        processed: Processed,
        keys: &[CalledKey<'_>],
        cause: &Cause<'_>,
        sources: &Sources<'_>,
        out: &mut Outputs,
    ) -> Result<(), Failed> {
        let Processed { outputs, rejects, states, timers } = processed;
        let batch = sources.batch();
        if let Some(Reject { row, .. }) = rejects.iter().find(|reject| reject.row as usize >= batch.rows()) {
            return Err(FunctionFault::Malformed(format!("a reject of row {row}, of {}", batch.rows())).into());
        }
        let built = self.build(outputs, sources)?;
        let staged = self.stage(keys, cause, states, &timers)?;
        self.apply(keys, cause, staged)?;
        out.reject(STAGE, batch, rejects)?;
        for (output, rows) in built {
            out.push(output, rows);
        }
        Ok(())
    }

    /// All state of the keys.
    fn gather(&self, keys: &[CalledKey<'_>]) -> Result<CallKeys, StepFault> {
        let held: Vec<_> = keys.iter().map(|(key_group, key)| self.table.get(*key_group, key)).collect();
        let entries = |(number, codec): (usize, &super::EntryCodec)| {
            let bytes = held.iter().map(|held| held.and_then(|held| held.states.get(number)).map_or(&[][..], |b| b));
            codec.decode(bytes).map_err(StepFault::Internal)
        };
        let states = self.codecs.iter().enumerate().map(entries).collect::<Result<_, _>>()?;
        let now_us = self.now_us.filter(|_| self.spec.contract.uses(TimeDomain::Processing));
        Ok(CallKeys { count: keys.len(), states, now_us })
    }

    fn quarantine(
        &mut self,
        work: Work<'_>,
        place: usize,
        fault: &FunctionFault,
        out: &mut Outputs,
    ) -> Result<(), StepFault> {
        match work {
            Work::Rows(rows) => out.quarantine(STAGE, &rows.batch, place as u32, fault),
            Work::Firings(domain, firings) => {
                let guilty = &firings[place..=place];
                out.quarantine(STAGE, &self.firing_batch(domain, guilty)?, 0, fault)?;
                self.drop_firing(domain, &guilty[0])
            }
        }
    }
}
