use weir_sdk::prelude::*;

#[derive(Input)]
struct Event {
    n: i64,
}

#[transform]
fn double(event: Event) -> i64 {
    event.n * 2
}
