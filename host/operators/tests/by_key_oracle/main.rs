//! The steps over one value per key against naive oracles: look at all rows at once, recompute.
//!
//! Every case draws rows of several partitions with disorder, splits them into batches, spreads the keys over 1, 2 or 4
//! tasks, lets time go on at random moments, and at random moments seals the state and starts again from the deltas alone
//! with another number of tasks.

mod engine;
#[path = "../oracle/mod.rs"]
mod oracle;
mod oracles;

use std::sync::Arc;

use engine::{Case, Engine, NAME, Rows, rows, schema};
use oracle::{Random, seeds};
use oracles::Outcome;
use weir_operators::WindowTop;
use weir_operators::by_key::PerKey;
use weir_operators::{DedupFirst, DedupLast, KeyEncoder, Latest, Order, Ranks, RowFormat, Sessions, Top, WindowGrid};

const CASES: u64 = 2_000;

fn key() -> Vec<(String, String)> {
    vec![("name".into(), "name".into())]
}

fn fields() -> Vec<arrow_schema::FieldRef> {
    KeyEncoder::new(&key(), &schema(), 1).unwrap().fields().to_vec()
}

fn format() -> RowFormat {
    RowFormat::new(&schema()).unwrap()
}

/// Runs random cases of a step and compares each with its oracle. `tables`: the step gives out changes of a table whose
/// key is the name and, where the step adds one, the number.
fn check<S: PerKey>(
    partitions: u64,
    make: impl Fn(&mut Random) -> (S, i64),
    is_table: bool,
    oracle: impl Fn(&[Rows], i64, i64) -> Outcome,
) {
    let (mut results, mut late) = (0, 0);
    for seed in seeds(CASES) {
        let mut random = Random::new(seed);
        let origin_us = [-500, 0, 1_772_359_200_000_000][random.below(3) as usize];
        let (step, length_us) = make(&mut random);
        let partitions: Vec<Rows> =
            (0..1 + random.below(partitions)).map(|of| rows(&mut random, origin_us, of)).collect();
        // Behind all rows, and near enough for some keys to stay.
        let end_us = origin_us + 720 + random.below(300) as i64;
        let expected = oracle(&partitions, length_us, end_us);
        let outcome = Engine::run(&mut random, Case { step, partitions: &partitions, end_us, is_table });
        assert_eq!(outcome, expected, "WEIR_TEST_SEED={seed}, length {length_us}");
        results += outcome.rows.len();
        late += outcome.late.len();
    }
    assert!(results > 0 && (late > 0 || is_table), "{results} results, {late} late");
}

fn length(random: &mut Random) -> i64 {
    [1, 20, 90, 400][random.below(4) as usize]
}

fn name() -> Arc<str> {
    NAME.into()
}

#[test]
fn dedup_lets_the_first_row_of_each_key_through_once_within_its_ttl() {
    // Which row comes first is the order of arrival, so there is one partition.
    let make = |random: &mut Random| {
        let ttl_us = length(random);
        (DedupFirst::new(&fields(), ttl_us), ttl_us)
    };
    check(1, make, false, |partitions, ttl_us, _| oracles::dedup_first(&partitions[0], ttl_us));
}

#[test]
fn dedup_gives_out_the_last_row_of_each_run_whatever_the_order_of_arrival() {
    let make = |random: &mut Random| {
        let ttl_us = length(random);
        (DedupLast::new(&name(), &fields(), format(), ttl_us), ttl_us)
    };
    check(3, make, false, |partitions, ttl_us, _| oracles::dedup_last(partitions, ttl_us));
}

#[test]
fn latest_ends_with_the_newest_row_of_each_key_whatever_the_order_of_arrival() {
    let make = |random: &mut Random| {
        let ttl_us = length(random);
        (Latest::new(&name(), &fields(), format(), Some(ttl_us)), ttl_us)
    };
    check(3, make, true, |partitions, ttl_us, end_us| oracles::latest(partitions, Some(ttl_us), end_us));
    let forever = |_: &mut Random| (Latest::new(&name(), &fields(), format(), None), 0);
    check(3, forever, true, |partitions, _, end_us| oracles::latest(partitions, None, end_us));
}

#[test]
fn top_ends_with_the_first_rows_of_each_group_whatever_the_order_of_arrival() {
    let make = |random: &mut Random| {
        let order = Order::new(&["price desc".into(), "-n".into()], &schema()).unwrap();
        let most = 1 + random.below(5) as usize;
        (Top::new(&name(), &fields(), format(), (most, order), None, Some("number")), most as i64)
    };
    check(3, make, true, |partitions, most, _| oracles::top(partitions, most as usize));
}

#[test]
fn a_windows_first_rows_come_out_once_when_it_closes_whatever_the_order_of_arrival() {
    for ties in [false, true] {
        for most in [1, 3] {
            let make = |random: &mut Random| {
                let size_us = length(random);
                let order = Order::new(&["price desc".into()], &schema()).unwrap();
                let ranks = Ranks { rows: most, ties };
                let grid = WindowGrid::tumbling(size_us, 0).unwrap();
                (WindowTop::new(&name(), &fields(), format(), (ranks, order), grid, Some("number")), size_us)
            };
            check(3, make, false, |partitions, size_us, _| oracles::window_top(partitions, size_us, most, ties));
        }
    }
}

#[test]
fn sessions_are_numbered_alike_whatever_the_order_of_arrival() {
    let make = |random: &mut Random| {
        let gap_us = length(random);
        (Sessions::new(&name(), &fields(), format(), gap_us, None, "number"), gap_us)
    };
    check(3, make, false, |partitions, gap_us, _| oracles::sessions(partitions, gap_us, None));
    let forgetful = |random: &mut Random| {
        let gap_us = length(random);
        (Sessions::new(&name(), &fields(), format(), gap_us, Some(50), "number"), gap_us)
    };
    check(3, forgetful, false, |partitions, gap_us, _| oracles::sessions(partitions, gap_us, Some(gap_us.max(50))));
}
