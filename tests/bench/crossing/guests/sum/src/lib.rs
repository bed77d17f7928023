//! Two numbers in, their sum out: the least that a plugin can do, so that what is measured is the crossing.

use weir_sdk::prelude::*;

#[derive(Input)]
struct Pair {
    left: i64,
    right: i64,
}

#[derive(Output)]
struct Sum {
    sum: i64,
}

#[transform]
fn sum(pair: Pair) -> Sum {
    Sum { sum: pair.left.wrapping_add(pair.right) }
}
