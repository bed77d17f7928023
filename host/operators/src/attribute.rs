//! Which pairs of a join go on, as a user's function decides: a transform that sees all pairs of a left row together.
//!
//! Invariant: the function decides on whole groups. A reject refuses a left row with all of its pairs. Where left rows are
//! kept, one of which no pair goes on goes on by itself, with nulls in place of the right row and of what is written.
//! The host gathers the pairs and keeps time and state: `join` does, in front of this.

use std::sync::Arc;

use arrow_array::{Array, ArrayRef, UInt32Array, new_null_array};
use arrow_schema::{ArrowError, FieldRef};
use arrow_select::concat::concat;
use arrow_select::take::take;
use weir_stream::pairs::Groups;
use weir_stream::{
    Batch, FunctionFault, OutputContract, OutputRows, Reject, Selection, Transform, TransformContract,
    TransformFactory, Transformed,
};

/// A function that decides on pairs, its contract fit for that.
pub struct Attribution {
    function: Arc<dyn TransformFactory>,
    /// As the step promises it.
    contract: TransformContract,
}

impl Attribution {
    /// `keeps_left`: left rows of which no pair goes on come out by themselves.
    ///
    /// # Errors
    /// What the function lacks to be one that decides on pairs.
    pub fn new(function: Arc<dyn TransformFactory>, keeps_left: bool) -> Result<Self, Vec<String>> {
        let [output] = function.contract().outputs.as_slice() else {
            return Err(vec!["a plugin that attributes has one output".to_owned()]);
        };
        let nullable = |field: &FieldRef| -> FieldRef { Arc::new(field.as_ref().clone().with_nullable(true)) };
        let writes = match keeps_left {
            true => output.writes.iter().map(nullable).collect(),
            false => output.writes.clone(),
        };
        let outputs = vec![OutputContract { writes, ..output.clone() }];
        let contract = TransformContract { outputs, ..function.contract().clone() };
        Ok(Self { function, contract })
    }
}

impl TransformFactory for Attribution {
    fn contract(&self) -> &TransformContract {
        &self.contract
    }

    fn digest(&self) -> &Arc<str> {
        self.function.digest()
    }

    fn instantiate(&self) -> Result<Box<dyn Transform>, FunctionFault> {
        let writes = self.contract.outputs[0].writes.clone();
        Ok(Box::new(Attributing { function: self.function.instantiate()?, writes }))
    }
}

struct Attributing {
    function: Box<dyn Transform>,
    writes: Vec<FieldRef>,
}

impl Transform for Attributing {
    fn process(&mut self, input: &Batch) -> Result<Transformed, FunctionFault> {
        let groups = Groups::of(input);
        let pairs: Vec<u32> = (0..input.rows() as u32).filter(|row| groups.is_pair(*row as usize)).collect();
        if pairs.len() == input.rows() {
            let made = self.function.process(input)?;
            decided(&groups, &made)?;
            return Ok(made);
        }
        let made = match pairs.is_empty() {
            true => Transformed::default(),
            false => self.function.process(&input.take(&pairs).map_err(|error| misfit(&error))?)?,
        };
        let made = renumbered(made, &pairs)?;
        let decided = decided(&groups, &made)?;
        let alone = (0..input.rows() as u32).filter(|row| !groups.is_pair(*row as usize));
        let alone = alone.filter(|row| !decided[groups.numbers[*row as usize] as usize]).collect();
        self.with(made, alone)
    }

    fn last_call_cpu_ns(&self) -> u64 {
        self.function.last_call_cpu_ns()
    }
}

impl Attributing {
    /// Puts left rows by themselves among the pairs that go on, in their order.
    fn with(&self, mut made: Transformed, alone: Vec<u32>) -> Result<Transformed, FunctionFault> {
        if alone.is_empty() {
            return Ok(made);
        }
        let nothing = || self.writes.iter().map(|field| new_null_array(field.data_type(), 0)).collect();
        let (rows, columns) = match made.outputs.pop() {
            Some(OutputRows { selection: Selection::Rows(rows), columns, .. }) => (rows, columns),
            _ => (Vec::new(), nothing()),
        };
        if let Some(short) = columns.iter().find(|column: &&ArrayRef| column.len() != rows.len()) {
            return Err(FunctionFault::Malformed(format!(
                "a column of {} values for {} rows",
                short.len(),
                rows.len()
            )));
        }
        let mut order: Vec<(u32, u32)> = rows.iter().chain(&alone).copied().zip(0..).collect();
        order.sort_unstable();
        let places: UInt32Array = order.iter().map(|(_, place)| *place).collect();
        let column = |column: &ArrayRef| {
            let absent = new_null_array(column.data_type(), alone.len());
            take(&concat(&[column.as_ref(), absent.as_ref()])?, &places, None)
        };
        let columns = columns.iter().map(column).collect::<Result<_, _>>().map_err(|error| misfit(&error))?;
        let selection = Selection::Rows(order.into_iter().map(|(row, _)| row).collect());
        made.outputs.push(OutputRows { output: 0, selection, columns });
        Ok(made)
    }
}

/// An answer about `pairs` as one about the batch that they were taken of. `All` becomes `Rows`.
fn renumbered(made: Transformed, pairs: &[u32]) -> Result<Transformed, FunctionFault> {
    let number = |row: u32| {
        let beyond = || FunctionFault::Malformed(format!("row {row} of {} pairs", pairs.len()));
        pairs.get(row as usize).copied().ok_or_else(beyond)
    };
    let output = |rows: OutputRows| {
        let selected = match rows.selection {
            Selection::All => pairs.to_vec(),
            Selection::Rows(rows) => rows.into_iter().map(number).collect::<Result<_, _>>()?,
        };
        Ok(OutputRows { selection: Selection::Rows(selected), ..rows })
    };
    let reject = |reject: Reject| Ok(Reject { row: number(reject.row)?, ..reject });
    Ok(Transformed {
        outputs: made.outputs.into_iter().map(output).collect::<Result<_, FunctionFault>>()?,
        rejects: made.rejects.into_iter().map(reject).collect::<Result<_, FunctionFault>>()?,
    })
}

/// By number of the group, whether a pair of it goes on or its left row is refused; nothing may be both.
fn decided(groups: &Groups, made: &Transformed) -> Result<Vec<bool>, FunctionFault> {
    let group = |row: u32| {
        let number = groups.numbers.get(row as usize).map(|number| *number as usize);
        number.ok_or_else(|| FunctionFault::Malformed(format!("row {row} of {} pairs", groups.numbers.len())))
    };
    let count = groups.numbers.last().map_or(0, |last| *last as usize + 1);
    let mut goes_on = vec![false; count];
    for output in &made.outputs {
        match &output.selection {
            Selection::All => goes_on.fill(true),
            Selection::Rows(rows) => rows.iter().try_for_each(|row| group(*row).map(|group| goes_on[group] = true))?,
        }
    }
    for reject in &made.rejects {
        if std::mem::replace(&mut goes_on[group(reject.row)?], true) {
            let what = "of whose group another row goes on or is refused: a reject is of a whole group";
            return Err(FunctionFault::Malformed(format!("a reject of row {}, {what}", reject.row)));
        }
    }
    Ok(goes_on)
}

fn misfit(error: &ArrowError) -> FunctionFault {
    FunctionFault::Malformed(error.to_string())
}
