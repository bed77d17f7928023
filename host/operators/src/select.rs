//! `select`: makes columns by expression, either instead of the input's columns or beside them.
//!
//! A row for which one of the expressions fails is one reject, with the first expression's reason.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow_array::{ArrayRef, RecordBatch, RecordBatchOptions};
use arrow_schema::{FieldRef, Schema, SchemaRef};
use weir_stream::{Batch, Reject};

use crate::expression::{Expression, ExpressionError};
use crate::operator::{Operator, Outputs, StepFault, rows_left};

/// The stage of its rejects.
pub const STAGE: &str = "select";

/// Columns by expression.
#[derive(Debug, Clone)]
pub struct Select {
    /// One per output column, in order.
    columns: Vec<Expression>,
    output: SchemaRef,
}

impl Select {
    /// Exactly the named columns, in this order.
    ///
    /// # Errors
    /// The position of a faulty expression, with its [`ExpressionError`]; also for a name that is given twice.
    pub fn only(columns: &[(String, String)], input: &SchemaRef) -> Result<Self, (usize, ExpressionError)> {
        let compiled = compile(columns, input)?;
        let fields: Vec<FieldRef> = columns.iter().zip(&compiled).map(|((name, _), made)| made.field(name)).collect();
        Ok(Self { columns: compiled, output: Arc::new(Schema::new(fields)) })
    }

    /// The input's columns, with the named ones in the place of their namesakes or, when new, behind them. All
    /// expressions see the input's columns, not each other's.
    ///
    /// # Errors
    /// As [`Select::only`].
    pub fn adding(columns: &[(String, String)], input: &SchemaRef) -> Result<Self, (usize, ExpressionError)> {
        let compiled = compile(columns, input)?;
        let mut made: Vec<(FieldRef, Expression)> = Vec::with_capacity(input.fields().len() + columns.len());
        for field in input.fields() {
            let same = Expression::compile(&quoted(field.name()), input).map_err(|error| (0, error))?;
            made.push((Arc::clone(field), same));
        }
        for ((name, _), expression) in columns.iter().zip(compiled) {
            let field = expression.field(name);
            match input.index_of(name) {
                Ok(place) => made[place] = (field, expression),
                Err(_) => made.push((field, expression)),
            }
        }
        let (fields, columns): (Vec<FieldRef>, Vec<Expression>) = made.into_iter().unzip();
        Ok(Self { columns, output: Arc::new(Schema::new(fields)) })
    }

    pub fn output_schema(&self) -> &SchemaRef {
        &self.output
    }
}

fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

fn compile(columns: &[(String, String)], input: &SchemaRef) -> Result<Vec<Expression>, (usize, ExpressionError)> {
    let named = |(place, (name, text)): (usize, &(String, String))| {
        if columns[..place].iter().any(|(earlier, _)| earlier == name) {
            let message = format!("column `{name}` is given twice");
            return Err((place, ExpressionError { message, span: None, suggestion: None }));
        }
        Expression::compile(text, input).map_err(|error| (place, error))
    };
    columns.iter().enumerate().map(named).collect()
}

impl Operator for Select {
    fn process(&mut self, batch: Batch, out: &mut Outputs) -> Result<(), StepFault> {
        let mut rejects: BTreeMap<u32, Reject> = BTreeMap::new();
        let mut arrays: Vec<ArrayRef> = Vec::with_capacity(self.columns.len());
        for expression in &self.columns {
            let evaluated = expression.evaluate(&batch);
            for reject in evaluated.rejects {
                rejects.entry(reject.row).or_insert(reject);
            }
            arrays.push(evaluated.array);
        }
        let rejects: Vec<Reject> = rejects.into_values().collect();
        if rejects.is_empty() {
            out.push(0, batch.with_columns(Arc::clone(&self.output), arrays)?);
            return Ok(());
        }
        let rows = rows_left(batch.rows(), &rejects);
        out.reject(STAGE, &batch, rejects)?;
        let selected = select_rows(&batch, &rows, &arrays, &self.output)?;
        out.push(0, selected);
        Ok(())
    }
}

/// The rows `rows` of `batch` with columns taken from `arrays`. Rejected rows are null in `arrays` even where the
/// schema allows no null, so the columns are taken before they meet the schema.
fn select_rows(batch: &Batch, rows: &[u32], arrays: &[ArrayRef], output: &SchemaRef) -> Result<Batch, StepFault> {
    let indices = arrow_array::UInt32Array::from(rows.to_vec());
    let taken: Result<Vec<ArrayRef>, _> =
        arrays.iter().map(|array| arrow_select::take::take(array, &indices, None)).collect();
    let options = RecordBatchOptions::new().with_row_count(Some(rows.len()));
    Ok(Batch {
        columns: RecordBatch::try_new_with_options(Arc::clone(output), taken?, &options)?,
        event_times_us: rows.iter().map(|row| batch.event_times_us[*row as usize]).collect(),
        watermarks_us: rows.iter().map(|row| batch.watermarks_us[*row as usize]).collect(),
        origin: batch.origin.take(rows),
        changes: batch.changes.take(rows),
    })
}
