//! Windows that a user's function gives out: a transform whose rows say, in two columns, which window they are in. A row
//! that comes out several times is in several windows, one that does not come out is in none.
//!
//! Invariant: what leaves has a window of sound bounds; a row of which any window is not sound, or that is in too many, is
//! rejected whole. The host keeps time and state: the function only ever says where a row belongs.

use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::TimestampMicrosecondType;
use arrow_array::{ArrayRef, UInt32Array};
use arrow_schema::{ArrowError, DataType, Field, FieldRef, TimeUnit};
use arrow_select::take::take;
use weir_stream::{
    Batch, FunctionFault, OutputContract, Reject, Selection, Transform, TransformContract, TransformFactory,
    Transformed,
};

/// The columns that say which window a row is in.
pub const ASSIGNED_COLUMNS: [&str; 2] = ["window_start", "window_end"];

/// How far behind its row a window may end: its state must be let go some day.
pub const MAX_WINDOW_REACH_US: i64 = 366 * 86_400_000_000;

/// A function that assigns windows, its contract fit for that.
pub struct Assigner {
    function: Arc<dyn TransformFactory>,
    windows: Windows,
}

/// What of an answer are the windows, and how many a row may be in.
#[derive(Debug, Clone, Copy)]
struct Windows {
    start: usize,
    end: usize,
    most: usize,
}

impl Assigner {
    /// `most`: windows that a row may be in.
    ///
    /// # Errors
    /// What the function lacks to be one that assigns windows.
    pub fn new(function: Arc<dyn TransformFactory>, most: usize) -> Result<Self, Vec<String>> {
        let [output] = function.contract().outputs.as_slice() else {
            return Err(vec!["a plugin that assigns windows has one output".to_owned()]);
        };
        let mut faults = Vec::new();
        let [start, end] = ASSIGNED_COLUMNS.map(|name| column(output, name, &mut faults));
        let (Some(start), Some(end), true) = (start, end, faults.is_empty()) else { return Err(faults) };
        Ok(Self { windows: Windows { start, end, most }, function })
    }
}

/// The place of a column among those that the function writes.
fn column(output: &OutputContract, name: &str, faults: &mut Vec<String>) -> Option<usize> {
    let wanted = DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()));
    let wants = |field: &FieldRef| *field.data_type() == wanted && !Field::is_nullable(field);
    match output.writes.iter().position(|field| field.name() == name) {
        Some(place) if wants(&output.writes[place]) => Some(place),
        found => {
            let but = if found.is_some() { "it writes another type" } else { "it does not" };
            faults.push(format!("column `{name}`: a plugin that assigns windows writes it as timestamp(us)!, {but}"));
            None
        }
    }
}

impl TransformFactory for Assigner {
    fn contract(&self) -> &TransformContract {
        self.function.contract()
    }

    fn waits(&self) -> bool {
        self.function.waits()
    }

    fn digest(&self) -> &Arc<str> {
        self.function.digest()
    }

    fn instantiate(&self) -> Result<Box<dyn Transform>, FunctionFault> {
        Ok(Box::new(Assigning { function: self.function.instantiate()?, windows: self.windows }))
    }
}

struct Assigning {
    function: Box<dyn Transform>,
    windows: Windows,
}

impl Transform for Assigning {
    fn process(&mut self, input: &Batch) -> Result<Transformed, FunctionFault> {
        let mut made = self.function.process(input)?;
        let Some(assigned) = made.outputs.first_mut() else { return Ok(made) };
        let rows: Vec<u32> = match &assigned.selection {
            Selection::All => (0..input.rows() as u32).collect(),
            Selection::Rows(rows) => rows.clone(),
        };
        let refused = self.windows.refused(input, &rows, &assigned.columns);
        if refused.is_empty() {
            return Ok(made);
        }
        let is_sound = |row: &u32| refused.binary_search_by_key(row, |reject| reject.row).is_err();
        let kept: UInt32Array = (0..).zip(&rows).filter(|(_, row)| is_sound(row)).map(|(entry, _)| entry).collect();
        let columns: Result<Vec<ArrayRef>, ArrowError> =
            assigned.columns.iter().map(|column| take(column, &kept, None)).collect();
        assigned.columns = columns.map_err(|error| FunctionFault::Malformed(error.to_string()))?;
        assigned.selection = Selection::Rows(rows.into_iter().filter(is_sound).collect());
        made.rejects.extend(refused);
        made.rejects.sort_by_key(|reject| reject.row);
        Ok(made)
    }
}

impl Windows {
    /// The rows with a window that is not sound, ascending, each with its first fault. `rows` are those that the entries of
    /// `columns` came of, ascending.
    fn refused(self, input: &Batch, rows: &[u32], columns: &[ArrayRef]) -> Vec<Reject> {
        let times = |column: usize| columns[column].as_primitive::<TimestampMicrosecondType>().values();
        let (starts, ends) = (times(self.start), times(self.end));
        let mut refused = Vec::new();
        let mut entry = 0;
        for windows in rows.chunk_by(|one, other| one == other) {
            let row = windows[0];
            let bounds = starts[entry..entry + windows.len()].iter().zip(&ends[entry..]);
            entry += windows.len();
            let time_us = input.event_times_us[row as usize];
            refused.extend(self.fault(time_us, bounds).map(|(code, reason)| Reject::new(row, code, reason)));
        }
        refused
    }

    fn fault<'a>(
        self,
        time_us: i64,
        mut bounds: impl ExactSizeIterator<Item = (&'a i64, &'a i64)>,
    ) -> Option<(&'static str, String)> {
        let (count, most) = (bounds.len(), self.most);
        if count > most {
            let reason = format!("the plugin put the row into {count} windows, `output_rows_per_row` allows {most}");
            return Some(("window-count", reason));
        }
        bounds.find_map(|(start, end)| {
            if start >= end {
                let reason = format!("the plugin gave a window from {start} us to {end} us, which holds no time");
                return Some(("window-bounds", reason));
            }
            (end.saturating_sub(time_us) > MAX_WINDOW_REACH_US).then(|| {
                let reason = format!("the plugin gave a window to {end} us, more than 366 days behind its row");
                ("window-far", reason)
            })
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WINDOWS: Windows = Windows { start: 0, end: 1, most: 2 };

    fn code(time_us: i64, bounds: &[(i64, i64)]) -> Option<&'static str> {
        let (starts, ends): (Vec<i64>, Vec<i64>) = bounds.iter().copied().unzip();
        WINDOWS.fault(time_us, starts.iter().zip(&ends)).map(|(code, _)| code)
    }

    #[test]
    fn a_window_must_hold_time_and_end_within_a_year_of_its_row() {
        assert_eq!(code(5, &[(0, 10), (5, 20)]), None);
        assert_eq!(code(5, &[(0, 10), (20, 20)]), Some("window-bounds"));
        assert_eq!(code(5, &[(10, 0)]), Some("window-bounds"));
        assert_eq!(code(5, &[(0, MAX_WINDOW_REACH_US + 5)]), None);
        assert_eq!(code(5, &[(0, MAX_WINDOW_REACH_US + 6)]), Some("window-far"));
        assert_eq!(code(i64::MIN, &[(0, i64::MAX)]), Some("window-far"));
    }

    #[test]
    fn a_row_is_in_no_more_windows_than_allowed() {
        assert_eq!(code(0, &[(0, 1), (1, 2)]), None);
        assert_eq!(code(0, &[(0, 1), (1, 2), (2, 3)]), Some("window-count"));
    }
}
