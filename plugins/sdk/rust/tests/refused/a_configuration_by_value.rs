use weir_sdk::prelude::*;

#[derive(Input)]
struct Event {
    n: i64,
}

#[derive(Config)]
struct Rules {
    max: i64,
}

#[transform]
fn keep(event: Event, rules: Rules) -> bool {
    event.n < rules.max
}
