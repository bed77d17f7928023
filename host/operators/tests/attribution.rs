//! What an attribution by a native function makes of groups: whom a fault or a reject costs, what an answer may not be, and
//! how large a group may be.

mod oracle;

use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::{Float64Type, Int64Type};
use arrow_array::{Array, ArrayRef, Float64Array, Int64Array, RecordBatch, UInt32Array};
use arrow_schema::{DataType, Field, Schema, SchemaRef};
use weir_operators::join::{LEFT, MAX_CANDIDATES, RIGHT};
use weir_operators::{
    Attribution, BisectionBudget, Bounds, JoinKind, JoinSpec, KeyEncoder, KeyedOperator, Operator, Outputs, RowOrigin,
    StreamJoin, TransformStep, split,
};
use weir_stream::pairs::{Groups, group_columns};
use weir_stream::time::{END_OF_TIME, NO_WATERMARK};
use weir_stream::{
    Batch, Cardinality, Changes, FunctionFault, Origin, OutputContract, OutputRows, Reject, Selection, Transform,
    TransformContract, TransformFactory, Transformed,
};

type Answer = fn(&Batch) -> Result<Transformed, FunctionFault>;

/// A function that gives each batch this answer.
struct Native(TransformContract, Answer);

impl Native {
    fn factory(outputs: &[&str], answer: Answer) -> Arc<dyn TransformFactory> {
        let credit = vec![Arc::new(Field::new("credit", DataType::Float64, false))];
        let output = |name: &&str| OutputContract { name: (*name).into(), writes: credit.clone(), drops: Vec::new() };
        let contract = TransformContract {
            name: "native".into(),
            version: "1.0.0".into(),
            reads: vec!["click".into()],
            cardinality: Cardinality::Filter,
            outputs: outputs.iter().map(output).collect(),
            deterministic: true,
        };
        Arc::new(Self(contract, answer))
    }
}

impl TransformFactory for Native {
    fn contract(&self) -> &TransformContract {
        &self.0
    }

    fn digest(&self) -> &Arc<str> {
        unreachable!("nobody asks")
    }

    fn instantiate(&self) -> Result<Box<dyn Transform>, FunctionFault> {
        Ok(Box::new(Self(self.0.clone(), self.1)))
    }
}

impl Transform for Native {
    fn process(&mut self, input: &Batch) -> Result<Transformed, FunctionFault> {
        (self.1)(input)
    }
}

fn schema(names: &[&str]) -> SchemaRef {
    let columns = names.iter().map(|name| Field::new(*name, DataType::Int64, *name == "click"));
    Arc::new(Schema::new(columns.collect::<Vec<_>>()))
}

/// Of each group the clicks; `None` closes it. The order's number is the group's, ten times.
fn pairs(groups: &[&[Option<i64>]]) -> Batch {
    let rows: Vec<(u32, Option<i64>)> =
        (0..).zip(groups).flat_map(|(group, clicks)| clicks.iter().map(move |click| (group, *click))).collect();
    let orders: Vec<i64> = rows.iter().map(|(group, _)| i64::from(*group) * 10).collect();
    let clicks: Int64Array = rows.iter().map(|(_, click)| *click).collect();
    let columns: Vec<ArrayRef> = vec![
        Arc::new(Int64Array::from(orders.clone())),
        Arc::new(clicks.clone()),
        Arc::new(UInt32Array::from_iter_values(rows.iter().map(|(group, _)| *group))),
        Arc::new(Int64Array::from(orders)),
        Arc::new(clicks),
    ];
    let pair = schema(&["order", "click"]);
    let fields = pair.fields().iter().cloned().chain(group_columns().map(Arc::new));
    let columns = RecordBatch::try_new(Arc::new(Schema::new(fields.collect::<Vec<_>>())), columns).unwrap();
    Batch {
        event_times_us: vec![777; columns.num_rows()].into(),
        watermarks_us: vec![NO_WATERMARK; columns.num_rows()].into(),
        columns,
        origin: Origin::Step("join".into()),
        changes: Changes::Inserts,
    }
}

fn decide(answer: Answer, keeps_left: bool, batch: Batch) -> Outputs {
    let factory = Attribution::new(Native::factory(&["main"], answer), keeps_left).unwrap();
    let budget = BisectionBudget::new(Arc::new(|| 0));
    let pair = schema(&["order", "click"]);
    let step = TransformStep::new(factory.instantiate().unwrap(), factory.contract(), &pair, budget).unwrap();
    let mut out = Outputs::default();
    step.by_group(Some(schema(&["order"]))).process(batch, &mut out).unwrap();
    out
}

/// Order, click and credit.
fn rows(out: &Outputs) -> Vec<(i64, Option<i64>, Option<f64>)> {
    let of = |batch: &Batch| {
        let (order, click) = (batch.columns.column(0).clone(), batch.columns.column(1).clone());
        let credit = batch.columns.column_by_name("credit").unwrap().clone();
        let row = move |row: usize| {
            let (click, credit) = (click.as_primitive::<Int64Type>(), credit.as_primitive::<Float64Type>());
            let order = order.as_primitive::<Int64Type>().value(row);
            let click = click.is_valid(row).then(|| click.value(row));
            (order, click, credit.is_valid(row).then(|| credit.value(row)))
        };
        (0..batch.rows()).map(row).collect::<Vec<_>>()
    };
    out.batches.iter().flat_map(|(_, batch)| of(batch)).collect()
}

/// Code, whether the function failed, and the refused row: columns, order and event time.
fn refused(out: &Outputs) -> Vec<(String, bool, usize, i64, i64)> {
    let of = |reject: &weir_operators::RejectedRow| {
        let RowOrigin::Row(row) = &reject.origin else { panic!("the left row was lost") };
        let order = row.columns.column(0).as_primitive::<Int64Type>().value(0);
        (reject.code.to_string(), reject.quarantined, row.columns.num_columns(), order, row.event_times_us[0])
    };
    out.rejects.iter().map(of).collect()
}

/// The last click of each group that is no 0; -1 is refused, 13 traps.
fn last(input: &Batch) -> Result<Transformed, FunctionFault> {
    let groups = Groups::of(input);
    let clicks = input.columns.column(1).as_primitive::<Int64Type>();
    let (mut chosen, mut rejects) = (Vec::new(), Vec::new());
    for group in groups.starts().windows(2) {
        let of = &clicks.values()[group[0]..group[1]];
        match of.last() {
            _ if of.contains(&13) => return Err(FunctionFault::Trap("unlucky".into())),
            _ if of.contains(&-1) => rejects.push(Reject::new(group[0] as u32, "negative", "")),
            Some(0) | None => {}
            Some(_) => chosen.push(group[1] as u32 - 1),
        }
    }
    let credits: ArrayRef = Arc::new(Float64Array::from(vec![1.0; chosen.len()]));
    let outputs = vec![OutputRows { output: 0, selection: Selection::Rows(chosen), columns: vec![credits] }];
    Ok(Transformed { outputs, rejects })
}

#[test]
fn a_left_row_that_is_kept_comes_out_alone_where_none_of_its_pairs_does() {
    let groups = pairs(&[&[Some(1), Some(2), None], &[None], &[Some(3), Some(0), None], &[Some(4), None]]);
    let expected = [(0, Some(2), Some(1.0)), (10, None, None), (20, None, None), (30, Some(4), Some(1.0))];
    assert_eq!(rows(&decide(last, true, groups)), expected);
    let groups = pairs(&[&[Some(1), Some(2)], &[Some(3), Some(0)], &[Some(4)]]);
    assert_eq!(rows(&decide(last, false, groups)), [(0, Some(2), Some(1.0)), (20, Some(4), Some(1.0))]);
    assert_eq!(rows(&decide(last, true, pairs(&[&[None], &[None]]))), [(0, None, None), (10, None, None)]);
}

#[test]
fn a_fault_or_a_reject_costs_the_left_row_alone() {
    for guilty in 0..5 {
        let mut groups: Vec<Vec<Option<i64>>> = (0..5).map(|group| vec![Some(1), Some(group + 2), None]).collect();
        groups[guilty].insert(1, Some(13));
        groups[(guilty + 2) % 5].insert(0, Some(-1));
        let out = decide(last, true, pairs(&groups.iter().map(Vec::as_slice).collect::<Vec<_>>()));
        let (trapped, negative) = (guilty as i64 * 10, (guilty as i64 + 2) % 5 * 10);
        let kept = (0..5).map(|group| group * 10).filter(|order| ![trapped, negative].contains(order));
        let kept: Vec<_> = kept.map(|order| (order, Some(order / 10 + 2), Some(1.0))).collect();
        assert_eq!(rows(&out), kept);
        let mut refused = refused(&out);
        refused.sort();
        let negative = ("negative".to_owned(), false, 1, negative, negative);
        assert_eq!(refused, [negative, ("plugin-trap".to_owned(), true, 1, trapped, trapped)]);
    }
}

#[test]
fn answers_that_do_not_fit_the_groups_are_faults_of_the_function() {
    fn answer(rows: Vec<u32>, credits: usize, rejects: &[u32]) -> Result<Transformed, FunctionFault> {
        let columns: Vec<ArrayRef> = vec![Arc::new(Float64Array::from(vec![1.0; credits]))];
        let outputs = vec![OutputRows { output: 0, selection: Selection::Rows(rows), columns }];
        Ok(Transformed { outputs, rejects: rejects.iter().map(|row| Reject::new(*row, "x", "")).collect() })
    }
    let answers: [Answer; 6] = [
        // A pair of a group that is refused, two rejects of a group, rows that are not there, columns too short.
        |_| answer(vec![0], 1, &[1]),
        |_| answer(vec![], 0, &[0, 1]),
        |_| answer(vec![2], 1, &[]),
        |_| answer(vec![], 0, &[2]),
        |_| answer(vec![0, 1], 1, &[]),
        |_| answer(vec![1, 0], 2, &[]),
    ];
    for (number, given) in answers.into_iter().enumerate() {
        for keeps_left in [false, true] {
            let group: &[Option<i64>] = if keeps_left { &[Some(1), Some(2), None] } else { &[Some(1), Some(2)] };
            let out = decide(given, keeps_left, pairs(&[group]));
            let malformed = ("plugin-malformed".to_owned(), true, 1, 0, 0);
            assert_eq!((rows(&out), refused(&out)), (vec![], vec![malformed]), "answer {number}, {keeps_left}");
        }
    }
}

#[test]
fn a_function_with_several_outputs_attributes_nothing() {
    let several = Attribution::new(Native::factory(&["main", "other"], last), false);
    assert_eq!(several.err().unwrap(), ["a plugin that attributes has one output"]);
}

fn gathering(sides: &[SchemaRef; 2]) -> StreamJoin {
    let spec = JoinSpec {
        step: "join".into(),
        kind: JoinKind::Left,
        bounds: Bounds::Interval { before_us: 1_000_000, after_us: 0, lateness_us: 0 },
        prefix: String::new(),
        filter: Some("click <> 31".into()),
        gathers: true,
    };
    StreamJoin::new(&spec, [&sides[LEFT], &sides[RIGHT]], 0..1).unwrap()
}

/// Passes rows whose key is the last digit of their column.
fn put(join: &mut StreamJoin, side: usize, column: &SchemaRef, rows: &[(i64, i64)], out: &mut Outputs) {
    let key = format!("{} % 10", column.field(0).name());
    let encoder = KeyEncoder::new(&[("0".into(), key)], column, 1).unwrap();
    let values: ArrayRef = Arc::new(Int64Array::from_iter_values(rows.iter().map(|(value, _)| *value)));
    let batch = Batch {
        columns: RecordBatch::try_new(column.clone(), vec![values]).unwrap(),
        event_times_us: rows.iter().map(|(_, time_us)| *time_us).collect(),
        watermarks_us: vec![NO_WATERMARK; rows.len()].into(),
        origin: Origin::Step("source".into()),
        changes: Changes::Inserts,
    };
    let keyed = encoder.encode(batch, out).unwrap();
    let part = split(keyed, 1, 1).unwrap().remove(0).unwrap();
    join.process(side, &part, out).unwrap();
}

#[test]
fn a_left_row_that_was_let_go_before_a_restart_comes_out_no_second_time_beside_one_in_its_place() {
    let sides = [schema(&["order"]), schema(&["click"])];
    let (mut deltas, mut out) = (oracle::Deltas::default(), Outputs::default());
    let mut before = gathering(&sides);
    put(&mut before, LEFT, &sides[LEFT], &[(1, 100), (2, 200)], &mut out);
    before.seal(&mut deltas);
    before.advance(END_OF_TIME, &mut out).unwrap();
    before.seal(&mut deltas);
    assert_eq!(out.batches.len(), 1);
    // Of the end of time nothing is stored: the step starts again from where its input had come.
    for order in [(1, 100), (1, 150)] {
        let (mut after, mut out) = (gathering(&sides), Outputs::default());
        deltas.restore(&mut after, 0..1, None);
        after.restore_watermark(50);
        put(&mut after, LEFT, &sides[LEFT], &[order], &mut out);
        after.advance(END_OF_TIME, &mut out).unwrap();
        let given: Vec<(usize, i64)> =
            out.batches.iter().map(|(_, batch)| (batch.rows(), batch.event_times_us[0])).collect();
        assert_eq!(given, [(1, order.1)]);
    }
}

#[test]
fn a_left_row_that_meets_more_than_are_looked_at_is_refused_and_the_rest_comes_out_whole() {
    let sides = [schema(&["order"]), schema(&["click"])];
    let (mut join, mut out) = (gathering(&sides), Outputs::default());
    // Orders 1 and 3 meet as many as may be, the first beside one that does not fulfil the condition; order 2 meets one more.
    put(&mut join, LEFT, &sides[LEFT], &[(1, 100), (2, 100), (3, 100)], &mut out);
    let most = MAX_CANDIDATES as i64;
    for (order, clicks) in [(1, most + 1), (2, most + 1), (3, most)] {
        let clicks: Vec<(i64, i64)> = (0..clicks).map(|click| (click * 10 + order, 100 - click % 7)).collect();
        put(&mut join, RIGHT, &sides[RIGHT], &clicks, &mut out);
    }
    join.advance(END_OF_TIME, &mut out).unwrap();
    assert_eq!(refused(&out), [("too-many-candidates".to_owned(), false, 1, 2, 100)]);
    let orders = |batch: &Batch| batch.columns.column(0).as_primitive::<Int64Type>().value(0);
    let given: Vec<(i64, usize, usize)> = out
        .batches
        .iter()
        .map(|(_, batch)| (orders(batch), batch.rows(), Groups::of(batch).starts().len() - 1))
        .collect();
    assert_eq!(given, [(1, MAX_CANDIDATES + 1, 1), (3, MAX_CANDIDATES + 1, 1)]);
}
