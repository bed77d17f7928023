use weir_sdk::prelude::*;

#[derive(InputColumns)]
struct Number {
    n: i64,
}

#[derive(OutputColumns)]
struct Twice {
    twice: Vec<i64>,
}
