//! The rows that a call gives out: input rows with other columns, or rows of the key.

use arrow_array::{RecordBatch, RecordBatchOptions};
use weir_stream::{Batch, Changes, FunctionFault, Keeps, Origin, OutputRows, Selection};

use super::ProcessStep;
use super::call::{CalledKey, Failed};
use crate::operator::StepFault;

/// What the rows of a call's outputs come from.
pub(super) enum Sources<'a> {
    Rows {
        batch: &'a Batch,
        keys: &'a [CalledKey<'a>],
        of_row: &'a [u32],
    },
    /// Firings as rows; firing and key have the same number.
    Firings {
        batch: &'a Batch,
        keys: &'a [CalledKey<'a>],
    },
}

impl Sources<'_> {
    pub(super) fn batch(&self) -> &Batch {
        match self {
            Self::Rows { batch, .. } | Self::Firings { batch, .. } => batch,
        }
    }

    fn key(&self, source: u32) -> &[u8] {
        match self {
            Self::Rows { keys, of_row, .. } => keys[of_row[source as usize] as usize].1,
            Self::Firings { keys, .. } => keys[source as usize].1,
        }
    }
}

impl ProcessStep {
    pub(super) fn build(&self, outputs: Vec<OutputRows>, sources: &Sources<'_>) -> Result<Vec<(usize, Batch)>, Failed> {
        let running = self.running.as_ref().expect("a call was made just now");
        let mut built = Vec::with_capacity(outputs.len());
        for rows in outputs {
            let number = rows.output;
            let Some((keeps, plan)) = running.outputs.get(number) else {
                let message = format!("rows for output {number} of {}", running.outputs.len());
                return Err(FunctionFault::Malformed(message).into());
            };
            let batch = match (keeps, sources) {
                (Keeps::Row, Sources::Rows { batch, .. }) => plan.build(batch, rows),
                (Keeps::Row, Sources::Firings { .. }) => {
                    let name = &self.spec.contract.outputs[number].output.name;
                    Err(format!("rows for output `{name}`, which keeps input rows, for a timer, which has none"))
                }
                (Keeps::Key, _) => {
                    let OutputRows { output, selection, columns } = rows;
                    let keys = self.key_rows(&selection, sources)?;
                    plan.build(&keys, OutputRows { output, selection: Selection::All, columns })
                }
            };
            built.push((number, batch.map_err(FunctionFault::Malformed)?));
        }
        Ok(built)
    }

    /// A row of the key's columns for each selected row or firing, with its times.
    fn key_rows(&self, selection: &Selection, sources: &Sources<'_>) -> Result<Batch, Failed> {
        let batch = sources.batch();
        let selected: Vec<u32> = match selection {
            Selection::All => (0..batch.rows() as u32).collect(),
            Selection::Rows(selected) => selected.clone(),
        };
        if selected.last().is_some_and(|last| *last as usize >= batch.rows()) || !selected.is_sorted() {
            let message = format!("sources that are not ascending below {}", batch.rows());
            return Err(FunctionFault::Malformed(message).into());
        }
        let columns = self.decoder.decode(selected.iter().map(|source| sources.key(*source)));
        let options = RecordBatchOptions::new().with_row_count(Some(selected.len()));
        let columns = columns.map_err(StepFault::Internal)?;
        let columns = RecordBatch::try_new_with_options(self.key_schema.clone(), columns, &options);
        Ok(Batch {
            columns: columns.map_err(StepFault::from)?,
            event_times_us: selected.iter().map(|source| batch.event_times_us[*source as usize]).collect(),
            watermarks_us: selected.iter().map(|source| batch.watermarks_us[*source as usize]).collect(),
            origin: Origin::Step(self.spec.step.clone()),
            changes: Changes::Inserts,
        })
    }
}
