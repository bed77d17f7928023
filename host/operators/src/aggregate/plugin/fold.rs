//! Rows of one table into a user's aggregate and the others beside it.
//!
//! Invariant: a row counts in all aggregates of its step or, as a reject, in none. So the built-in ones take their rows
//! when the function's call for them has held, and rows that may be too much for one of them go on their own.

use arrow_array::{ArrayRef, UInt32Array};
use arrow_select::take::take;
use weir_stream::{Accumulated, FunctionFault, GroupAccumulators, GroupRows, Reject, StateEntries};

use super::column::is_there;
use super::{ACCUMULATOR_BYTES_PER_CALL, Calls, PluginAggregate, PluginColumn, failed_on};
use crate::aggregate::Aggregate;
use crate::aggregate::accumulator::Accumulator;
use crate::aggregate::argument::{Argument, Values};
use crate::aggregate::fold::overflow;
use crate::aggregate::update::Touched;
use crate::operator::StepFault;
use crate::transform::halves;

/// The aggregates of a step in one table, with what a batch brings them.
pub(in crate::aggregate) struct Folding<'a> {
    pub aggregates: &'a [Aggregate],
    pub columns: &'a mut [Accumulator],
    pub arguments: &'a [Argument],
    /// Whether rows are taken back.
    pub back: bool,
}

/// What a call would change.
#[derive(Default)]
struct Staged {
    cells: Vec<(u32, Box<[u8]>)>,
    rejects: Vec<Reject>,
}

/// Why a call did not hold.
enum Failed {
    Function(FunctionFault),
    Step(StepFault),
    /// The accumulators of its groups are too much for one call.
    TooLarge,
}

impl PluginAggregate {
    /// Adds rows to their slots, or takes them back; those that cannot be become rejects.
    pub(in crate::aggregate) fn fold(
        &self,
        number: usize,
        mut folding: Folding<'_>,
        touched: Touched<'_>,
        rejects: &mut Vec<Reject>,
    ) -> Result<(), StepFault> {
        if touched.rows.is_empty() {
            return Ok(());
        }
        let mut calls = self.calls();
        let (mut open, mut searching_ns) = (vec![(0, touched.rows.len())], None);
        while let Some((offset, length)) = open.pop() {
            let part = touched.part(offset, length);
            if !folding.surely_fits(part) {
                if length > 1 {
                    open.extend(halves(offset, length));
                    continue;
                }
                if let Some(refused) = folding.refused(part) {
                    rejects.push(refused);
                    continue;
                }
            }
            match self.call(&mut calls, &folding, number, part) {
                Ok(staged) => folding.take_effect(number, part, staged, rejects),
                Err(Failed::Step(fault)) => return Err(fault),
                Err(Failed::TooLarge) => open.extend(halves(offset, length)),
                Err(Failed::Function(fault)) => {
                    calls.search(&mut searching_ns, &fault)?;
                    if length > 1 {
                        open.extend(halves(offset, length));
                        continue;
                    }
                    calls.budget.charge_row(&fault)?;
                    let reason = failed_on(&folding.aggregates[number].name, &fault);
                    rejects.push(Reject::new(part.rows[0], fault.code(), reason));
                }
            }
        }
        calls.end_search(searching_ns);
        Ok(())
    }

    /// Calls the function for the rows of `part` that are not left out, and changes nothing yet.
    fn call(&self, calls: &mut Calls, folding: &Folding, number: usize, part: Touched) -> Result<Staged, Failed> {
        let (Accumulator::Plugin(column), argument) = (&folding.columns[number], &folding.arguments[number]) else {
            unreachable!("the accumulator was made for a plugin")
        };
        let mut given = Vec::with_capacity(part.rows.len());
        part.each(argument, |row, slot| given.push((row as u32, slot)));
        if given.is_empty() {
            return Ok(Staged::default());
        }
        let mut slots: Vec<u32> = given.iter().map(|(_, slot)| *slot).collect();
        slots.sort_unstable();
        slots.dedup();
        let held = self.held(column, &slots)?;
        let rows = group_rows(argument, &given, &slots).map_err(|error| Failed::Step(error.into()))?;
        let function = &mut calls.running().function;
        let answer = if folding.back { function.retract(&rows, &held) } else { function.accumulate(&rows, &held) };
        self.staged(answer.map_err(Failed::Function)?, &given, &slots).map_err(Failed::Function)
    }

    /// The accumulators of these slots, as far as there are some.
    fn held(&self, column: &PluginColumn, slots: &[u32]) -> Result<GroupAccumulators, Failed> {
        let cells = slots.iter().map(|slot| column.get(*slot));
        if slots.len() > 1 && cells.clone().map(<[u8]>::len).sum::<usize>() > ACCUMULATOR_BYTES_PER_CALL {
            return Err(Failed::TooLarge);
        }
        self.decode(cells).map_err(Failed::Step)
    }

    /// Cells as columns, those without an accumulator left out.
    pub(super) fn decode<'b>(
        &self,
        cells: impl Iterator<Item = &'b [u8]> + Clone,
    ) -> Result<GroupAccumulators, StepFault> {
        let numbered = (0..).zip(cells.clone()).filter(|(_, cell): &(u32, &[u8])| is_there(cell));
        let groups = numbered.map(|(group, _)| group).collect();
        let entries = self.codec.decode(cells.filter(|cell| is_there(cell))).map_err(StepFault::Internal)?;
        Ok(GroupAccumulators { groups, columns: entries.columns })
    }

    /// Columns as cells.
    pub(super) fn encode(&self, entries: usize, columns: Vec<ArrayRef>) -> Result<Vec<Box<[u8]>>, FunctionFault> {
        let malformed = |what: String| FunctionFault::Malformed(format!("accumulators: {what}"));
        if columns.iter().any(|column| column.len() != entries) {
            return Err(malformed(format!("columns that do not have {entries} entries")));
        }
        let entries = StateEntries { offsets: (0..=entries as u32).collect(), columns };
        let cells = self.codec.encode(&entries).map_err(malformed)?;
        let limit = self.spec.accumulator_bytes;
        if let Some(over) = cells.iter().find(|cell| cell.len() > limit) {
            let what = format!("{} bytes of accumulator for one key", over.len());
            return Err(FunctionFault::TooMuch { what, limit: format!("{limit} bytes") });
        }
        Ok(cells.into_iter().map(Vec::into_boxed_slice).collect())
    }

    fn staged(&self, answer: Accumulated, given: &[(u32, u32)], slots: &[u32]) -> Result<Staged, FunctionFault> {
        let Accumulated { mut rejects, changed: GroupAccumulators { groups, columns } } = answer;
        let misplaced = |groups: &[u32], of: usize| {
            groups.windows(2).any(|pair| pair[0] >= pair[1]) || groups.last().is_some_and(|last| *last as usize >= of)
        };
        if misplaced(&groups, slots.len()) {
            return Err(FunctionFault::Malformed(format!("groups that do not ascend below {}", slots.len())));
        }
        let refused: Vec<u32> = rejects.iter().map(|reject| reject.row).collect();
        if misplaced(&refused, given.len()) {
            return Err(FunctionFault::Malformed(format!("rejects that do not ascend below row {}", given.len())));
        }
        let cells = self.encode(groups.len(), columns)?;
        rejects.iter_mut().for_each(|reject| reject.row = given[reject.row as usize].0);
        Ok(Staged { cells: groups.iter().map(|group| slots[*group as usize]).zip(cells).collect(), rejects })
    }
}

/// The columns of some rows, each with its slot as a group.
fn group_rows(argument: &Argument, given: &[(u32, u32)], slots: &[u32]) -> Result<GroupRows, arrow_schema::ArrowError> {
    let Values::Columns(columns) = &argument.values else { unreachable!("the argument of a plugin is its columns") };
    let rows: UInt32Array = given.iter().map(|(row, _)| *row).collect();
    let columns = columns.iter().map(|column| take(column, &rows, None)).collect::<Result<_, _>>()?;
    let group = |slot: &u32| slots.binary_search(slot).expect("the slots are those of the rows") as u32;
    Ok(GroupRows {
        groups: slots.len(),
        columns,
        group: given.iter().map(|(_, slot)| group(slot)).collect(),
        event_times_us: given.iter().map(|(row, _)| argument.times_us[*row as usize]).collect(),
    })
}

impl Folding<'_> {
    /// Whether no built-in aggregate can find these rows too much.
    fn surely_fits(&mut self, part: Touched) -> bool {
        let mut fits = true;
        for (column, argument) in self.columns.iter_mut().zip(self.arguments) {
            fits &= self.back || column.reserve(argument, part);
        }
        fits
    }

    /// The reject of a row that is on its own, if it is too much for a built-in aggregate.
    fn refused(&self, part: Touched) -> Option<Reject> {
        let (row, slot) = (part.rows[0], part.slots[0]);
        let over =
            self.columns.iter().zip(self.arguments).position(|(column, argument)| !column.fits(argument, row, slot));
        over.map(|over| overflow(row, &self.aggregates[over]))
    }

    fn take_effect(&mut self, number: usize, part: Touched, staged: Staged, rejects: &mut Vec<Reject>) {
        let Staged { cells, rejects: mut refused } = staged;
        let is_refused = |row: &u32| refused.binary_search_by_key(row, |reject| reject.row).is_ok();
        let pairs = part.rows.iter().zip(part.slots).filter(|(row, _)| refused.is_empty() || !is_refused(row));
        let (rows, slots): (Vec<u32>, Vec<u32>) = pairs.unzip();
        let kept = Touched { rows: &rows, slots: &slots };
        for (column, argument) in self.columns.iter_mut().zip(self.arguments) {
            match (column, self.back) {
                (Accumulator::Plugin(_), _) => {}
                (column, false) => column.update(argument, kept),
                (column, true) => column.retract(argument, kept),
            }
        }
        if part.rows.len() == 1 {
            self.columns.iter_mut().for_each(|column| column.note_slot(part.slots[0]));
        }
        if let Accumulator::Plugin(column) = &mut self.columns[number] {
            slots.iter().for_each(|slot| column.touch(*slot));
            cells.into_iter().for_each(|(slot, cell)| column.set(slot, cell));
        }
        let name = &self.aggregates[number].name;
        for reject in &mut refused {
            let colon = if reject.reason.is_empty() { "" } else { ": " };
            reject.reason = format!("`{name}`{colon}{}", reject.reason);
        }
        rejects.append(&mut refused);
    }
}
