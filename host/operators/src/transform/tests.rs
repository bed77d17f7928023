//! Native transforms behind the trait: outputs, faults, and the search for guilty rows.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arrow_array::cast::AsArray;
use arrow_array::types::Int64Type;
use arrow_array::{ArrayRef, Int64Array, RecordBatch, StringArray};
use arrow_schema::{DataType, Field, Schema};
use weir_stream::{
    Cardinality, Changes, Origin, OutputContract, OutputRows, Reject, Selection, SourceRecords, Transformed,
};

use super::*;
use crate::operator::RowOrigin;

fn input() -> SchemaRef {
    Arc::new(Schema::new(vec![
        Field::new("n", DataType::Int64, false),
        Field::new("text", DataType::Utf8, false),
        Field::new("gone", DataType::Int64, false),
    ]))
}

fn batch(values: Vec<i64>) -> Batch {
    let rows = values.len();
    let columns: Vec<ArrayRef> = vec![
        Arc::new(Int64Array::from(values)),
        Arc::new(StringArray::from_iter_values((0..rows).map(|row| format!("row {row}")))),
        Arc::new(Int64Array::from(vec![0; rows])),
    ];
    let records = SourceRecords { offsets: (100..100 + rows as i64).collect(), ..SourceRecords::default() };
    Batch {
        columns: RecordBatch::try_new(input(), columns).unwrap(),
        event_times_us: (0..rows as i64).collect(),
        watermarks_us: vec![0; rows].into(),
        origin: Origin::Records { records: Arc::new(records), rows: (0..rows as u32).collect() },
        changes: Changes::Inserts,
    }
}

fn contract() -> TransformContract {
    let double = Arc::new(Field::new("double", DataType::Int64, false));
    let n = Arc::new(Field::new("n", DataType::Int64, false));
    let output = |name: &str, writes, drops: &[&str]| OutputContract {
        name: name.to_owned(),
        writes,
        drops: drops.iter().map(|name| (*name).to_owned()).collect(),
    };
    TransformContract {
        name: "native".into(),
        version: "1.0.0".into(),
        reads: vec!["n".into()],
        cardinality: Cardinality::Many,
        outputs: vec![output("main", vec![double, n], &["gone"]), output("odd", vec![], &["text", "gone"])],
        deterministic: true,
    }
}

/// Doubles `n` into `double`, adds 1 to `n`; rejects negative rows, traps on 13, sends odd rows to the second output.
struct Native;

impl Transform for Native {
    fn process(&mut self, input: &Batch) -> Result<Transformed, FunctionFault> {
        let values = input.columns.column(0).as_primitive::<Int64Type>().values();
        if values.contains(&13) {
            return Err(FunctionFault::Trap("unlucky".into()));
        }
        let rejected = (0u32..).zip(values.iter()).filter(|(_, value)| **value < 0);
        let rejects = rejected.map(|(row, _)| Reject::new(row, "negative", "below zero")).collect();
        let rows: Vec<u32> = (0u32..).zip(values.iter()).filter(|(_, n)| **n >= 0).map(|(row, _)| row).collect();
        let odd: Vec<u32> = rows.iter().copied().filter(|row| values[*row as usize] % 2 == 1).collect();
        let column = |value: &dyn Fn(i64) -> i64| -> ArrayRef {
            Arc::new(rows.iter().map(|row| Some(value(values[*row as usize]))).collect::<Int64Array>())
        };
        let columns = vec![column(&|n| n * 2), column(&|n| n + 1)];
        let selection = if rows.len() == input.rows() { Selection::All } else { Selection::Rows(rows.clone()) };
        let outputs = vec![
            OutputRows { output: 0, selection, columns },
            OutputRows { output: 1, selection: Selection::Rows(odd), columns: vec![] },
        ];
        Ok(Transformed { outputs, rejects })
    }
}

/// A transform that gives one fixed answer.
struct Fixed(Transformed);

impl Transform for Fixed {
    fn process(&mut self, _: &Batch) -> Result<Transformed, FunctionFault> {
        Ok(self.0.clone())
    }
}

fn budget() -> BisectionBudget {
    BisectionBudget::new(Arc::new(|| 0))
}

fn step(transform: impl Transform + 'static, budget: BisectionBudget) -> TransformStep {
    TransformStep::new(Box::new(transform), &contract(), &input(), budget).unwrap()
}

fn numbers(out: &Outputs, output: usize, column: &str) -> Vec<i64> {
    let batches = out.batches.iter().filter(|(number, _)| *number == output);
    batches
        .flat_map(|(_, batch)| {
            batch.columns.column_by_name(column).unwrap().as_primitive::<Int64Type>().values().to_vec()
        })
        .collect()
}

fn offset(reject: &crate::RejectedRow) -> i64 {
    let RowOrigin::Record { records, record } = &reject.origin else { panic!("the record was lost") };
    records.offsets[*record as usize]
}

#[test]
fn written_columns_replace_or_join_and_untouched_ones_are_not_copied() {
    let mut out = Outputs::default();
    let input = batch(vec![4, 6]);
    let text = Arc::clone(input.columns.column(1));
    step(Native, budget()).process(input, &mut out).unwrap();
    let (output, made) = &out.batches[0];
    let schema = made.schema();
    let names: Vec<&str> = schema.fields().iter().map(|field| field.name().as_str()).collect();
    assert_eq!((*output, names), (0, vec!["n", "text", "double"]));
    assert_eq!((numbers(&out, 0, "n"), numbers(&out, 0, "double")), (vec![5, 7], vec![8, 12]));
    assert!(Arc::ptr_eq(made.columns.column(1), &text));
    assert_eq!(out.batches.len(), 1, "an empty output is no batch");
}

#[test]
fn rejects_and_named_outputs_keep_their_source_rows() {
    let mut out = Outputs::default();
    step(Native, budget()).process(batch(vec![1, -5, 2, 3]), &mut out).unwrap();
    assert_eq!(numbers(&out, 0, "double"), [2, 4, 6]);
    let (_, odd) = &out.batches[1];
    assert_eq!((numbers(&out, 1, "n"), &odd.event_times_us[..]), (vec![1, 3], [0i64, 3].as_slice()));
    assert_eq!(out.rejects.len(), 1);
    let reject = &out.rejects[0];
    assert_eq!(
        (offset(reject), reject.stage, &*reject.code, reject.quarantined),
        (101, "transform", "negative", false)
    );
}

#[test]
fn a_trap_costs_the_guilty_row_alone_and_order_is_kept() {
    for guilty in 0..9 {
        let mut values: Vec<i64> = (0..9).map(|n| n * 2).collect();
        values[guilty] = 13;
        values[(guilty + 3) % 9] = -1;
        let mut out = Outputs::default();
        step(Native, budget()).process(batch(values.clone()), &mut out).unwrap();
        let kept: Vec<i64> = values.iter().filter(|n| **n != 13 && **n >= 0).map(|n| n * 2).collect();
        assert_eq!(numbers(&out, 0, "double"), kept);
        let mut rejected: Vec<(i64, &str, bool)> =
            out.rejects.iter().map(|reject| (offset(reject), &*reject.code, reject.quarantined)).collect();
        rejected.sort_unstable();
        let mut expected =
            vec![(100 + guilty as i64, "plugin-trap", true), (100 + ((guilty + 3) % 9) as i64, "negative", false)];
        expected.sort_unstable();
        assert_eq!(rejected, expected);
    }
}

#[test]
fn past_sixteen_poisoned_rows_the_step_fails_and_a_new_epoch_starts_afresh() {
    let mut step = step(Native, budget());
    let mut out = Outputs::default();
    step.process(batch(vec![13; MAX_POISONED_ROWS as usize]), &mut out).unwrap();
    assert_eq!(out.rejects.len(), MAX_POISONED_ROWS as usize);
    let mut failed = Outputs::default();
    let error = step.process(batch(vec![2, 13]), &mut failed).unwrap_err();
    assert_eq!(error.to_string(), "the function trapped: unlucky; it failed on more than 16 rows of this epoch");
    assert!(failed.batches.is_empty() && failed.rejects.is_empty(), "a failed step gives nothing of the batch");
    step.budget().renew();
    step.process(batch(vec![2, 13]), &mut failed).unwrap();
    assert_eq!(failed.rejects.len(), 1);
}

#[test]
fn past_two_seconds_of_searching_the_step_fails() {
    let clock = Arc::new(AtomicU64::new(0));
    let ticking = Arc::clone(&clock);
    let half_a_second = move || ticking.fetch_add(500_000_000, Ordering::Relaxed);
    let mut step = step(Native, BisectionBudget::new(Arc::new(half_a_second)));
    let error = step.process(batch(vec![13; 8]), &mut Outputs::default()).unwrap_err();
    assert!(error.to_string().ends_with("finding its rows took this epoch's 2000 ms"), "{error}");
}

#[test]
fn while_a_version_is_watched_a_fault_is_answered_at_once() {
    let mut step = step(Native, budget());
    step.budget().set_watching(true);
    let mut out = Outputs::default();
    let error = step.process(batch(vec![2, 13]), &mut out).unwrap_err();
    assert!(matches!(error, StepFault::Function(FunctionFault::Trap(_))));
    assert!(out.batches.is_empty() && out.rejects.is_empty());
}

#[test]
fn answers_that_do_not_fit_the_batch_are_faults_of_the_function() {
    let rows = |selection, columns| Transformed {
        outputs: vec![OutputRows { output: 0, selection, columns }],
        rejects: vec![],
    };
    let column = |rows: usize| Arc::new(Int64Array::from(vec![1; rows])) as ArrayRef;
    let text = Arc::new(StringArray::from(vec!["a"])) as ArrayRef;
    let answers = [
        rows(Selection::Rows(vec![7]), vec![column(1), column(1)]),
        rows(Selection::Rows(vec![0, 0]), vec![column(1), column(2)]),
        rows(Selection::All, vec![column(1)]),
        rows(Selection::All, vec![text, column(1)]),
        rows(Selection::All, vec![column(5), column(5)]),
        Transformed {
            outputs: vec![OutputRows { output: 9, selection: Selection::All, columns: vec![] }],
            rejects: vec![],
        },
        Transformed { outputs: vec![], rejects: vec![Reject::new(3, "x", "y")] },
    ];
    for answer in answers {
        let mut out = Outputs::default();
        step(Fixed(answer.clone()), budget()).process(batch(vec![1]), &mut out).unwrap();
        assert_eq!((out.rejects.len(), out.batches.len()), (1, 0), "{answer:?}");
        assert_eq!((&*out.rejects[0].code, out.rejects[0].quarantined), ("plugin-malformed", true), "{answer:?}");
    }
}
