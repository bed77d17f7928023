//! What one key may hold: a row that would pass it is a reject (code `too-large`) and leaves all aggregates as they were.

use super::*;

const KIB: usize = 1 << 10;
const MIB: usize = 1 << 20;

/// A count of rows beside one aggregate of the text `s`.
fn limited(kind: AggregateKind, texts: &[String]) -> (Step, Outputs) {
    let columns = vec![k(&vec![1; texts.len()]), ("s", Arc::new(StringArray::from(texts.to_vec())) as ArrayRef)];
    let rows = batch(&(0..texts.len() as i64).collect::<Vec<_>>(), &columns);
    let key = KeyEncoder::new(&[("k".into(), "k".into())], &rows.schema(), 4).unwrap();
    let mut spec = spec(&key, &["count()"]);
    spec.aggregates.push(AggregateSpec::new("limited", kind, Some("s")));
    let windows = WindowAggregate::new(&spec, &hundred(), &rows.schema(), 0..4).unwrap();
    let mut step = Step { key, windows };
    let out = step.process(rows);
    (step, out)
}

/// Row, code and reason of each reject.
fn refusals(out: &Outputs) -> Vec<(u32, &str, &str)> {
    let row = |reject: &crate::operator::RejectedRow| match &reject.origin {
        crate::operator::RowOrigin::Row(row) => row.event_times_us[0] as u32,
        crate::operator::RowOrigin::Record { record, .. } => *record,
    };
    out.rejects.iter().map(|reject| (row(reject), &*reject.code, reject.reason.as_str())).collect()
}

fn texts(sizes: &[(char, usize)]) -> Vec<String> {
    sizes.iter().map(|(letter, size)| letter.to_string().repeat(*size)).collect()
}

#[test]
fn distinct_values_beyond_4_mib_a_key_are_refused_and_known_ones_are_not() {
    let sizes = [('a', MIB), ('b', MIB), ('c', MIB), ('d', MIB), ('a', MIB), ('e', 1)];
    let (mut step, out) = limited(AggregateKind::CountDistinct, &texts(&sizes));
    let reason = "`limited`: with this row count_distinct(s) would pass the 4 MiB that a key's values may take";
    assert_eq!(refusals(&out), [(3, "too-large", reason)]);
    let fired = step.finish();
    let counts = [3, 4].map(|column| fired[0].columns.column(column).as_primitive::<Int64Type>().value(0));
    assert_eq!(counts, [5, 4], "all rows but the refused one, and their values");
}

#[test]
fn collected_and_largest_values_beyond_1_mib_a_key_are_refused_and_smaller_ones_still_fit() {
    let given = texts(&[('a', 400 * KIB), ('b', 400 * KIB), ('c', 400 * KIB), ('d', 1)]);
    let json = |order: [usize; 3]| format!("[{}]", order.map(|place| format!("\"{}\"", given[place])).join(","));
    let cases = [
        (AggregateKind::Collect { values: None }, "collect", json([0, 1, 3])),
        (AggregateKind::Top { values: 10 }, "top", json([3, 1, 0])),
    ];
    for (kind, name, expected) in cases {
        let (mut step, out) = limited(kind, &given);
        let reason = format!("`limited`: with this row {name}(s) would pass the 1 MiB that a key's values may take");
        assert_eq!(refusals(&out), [(2, "too-large", reason.as_str())]);
        let fired = step.finish();
        assert_eq!(fired[0].columns.column(3).as_primitive::<Int64Type>().value(0), 3);
        assert!(fired[0].columns.column(4).as_string::<i32>().value(0) == expected, "{name}");
    }
}

#[test]
fn a_value_beyond_1_mib_is_refused_before_its_key_exists() {
    for kind in [AggregateKind::Collect { values: Some(3) }, AggregateKind::Top { values: 1 }] {
        let (step, out) = limited(kind, &texts(&[('a', MIB)]));
        assert_eq!((refusals(&out)[0].1, step.windows.keys()), ("too-large", 0));
    }
}
